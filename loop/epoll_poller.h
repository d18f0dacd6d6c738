// coil/loop/epoll_poller.h
//
// EpollPoller is the default Poller: readiness by epoll, level- or
// edge-triggered.
//
// Example:
//   void RunOnEpoll() {
//     coil::EpollPoller poller;
//     coil::LoopOptions options;
//     options.poller = &poller;
//     coil::EventLoop loop(options);
//     loop.CallSoon([&loop] { loop.Stop(); });
//     loop.RunForever();
//   }
//
// Ordering: events of one Poll() in the order of the kernel, at most 256 at
//   once; the rest comes with the next.
// Cancellation: Remove() also silences an event that is part of the batch being
//   delivered, and one of an earlier owner of the same descriptor number: each
//   registration has a generation.
// Threads: the loop's thread only.
// Lifetime: watches are borrowed until Remove().

#ifndef COIL_LOOP_EPOLL_POLLER_H_
#define COIL_LOOP_EPOLL_POLLER_H_

#include <sys/epoll.h>

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/poller.h"

namespace coil {

class EpollPoller final : public Poller {
 public:
  // Throws OsError.
  EpollPoller();
  ~EpollPoller() override;

  void Add(Watch& watch, int fd, IoEvents interest, Trigger trigger) override;
  void Modify(Watch& watch, IoEvents interest, Trigger trigger) override;
  void Remove(Watch& watch) noexcept override;
  int Poll(absl::Duration timeout) override;
  const char* Name() const noexcept override { return "epoll"; }

 private:
  static constexpr int kBatch = 256;
  static constexpr int kAhead = 6;

  // Indexed by descriptor: numbers are small and dense.
  struct Slot {
    Watch* watch = nullptr;
    uint32_t generation = 0;
    IoEvents interest = 0;
  };

  int Wait(absl::Duration timeout);
  void Control(int operation, int fd, uint32_t generation, IoEvents interest,
               Trigger trigger);

  int epoll_fd_ = -1;
  bool has_pwait2_ = true;
  // An epoll descriptor is shared with a forked child, who must not touch it.
  uint32_t fork_generation_;
  std::vector<Slot> slots_;
  epoll_event events_[kBatch];
};

}  // namespace coil

#endif  // COIL_LOOP_EPOLL_POLLER_H_
