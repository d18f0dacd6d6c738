// coil/loop/internal/loop_impl.h
//
// The outer half of an EventLoop: what is not touched on every step. Included
// by the sources of event_loop only.

#ifndef COIL_LOOP_INTERNAL_LOOP_IMPL_H_
#define COIL_LOOP_INTERNAL_LOOP_IMPL_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/handle_state.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/random.h"
#include "coil/loop/internal/signals.h"
#include "coil/loop/internal/stall_probe.h"
#include "coil/loop/poller.h"
#include "coil/loop/thread_pool.h"

namespace coil::internal {

// The wake descriptor is edge-triggered and only ever written, so nobody reads
// it: that a poll returned is all there is to know.
class WakeWatch final : public Poller::Watch {
 public:
  void OnReady(IoEvents) noexcept override {}
};

// The reader and the writer of one descriptor; they share its registration.
class DescriptorWatch final : public Poller::Watch {
 public:
  void OnReady(IoEvents events) noexcept override;
  IoEvents Interest() const noexcept;

  HandleRef reader;
  HandleRef writer;
};

}  // namespace coil::internal

namespace coil {

struct EventLoop::Impl {
  static constexpr char kForkedText[] =
      "the event loop belongs to the parent of this forked process; make a new "
      "one in the child";

  explicit Impl(EventLoop& loop) : loop(loop), core(loop.core_) {}

  void Run();
  void RunOnce();
  bool BeginQuietTurn(internal::LoopCore& core, const internal::Inbox& inbox);
  void RunPass();
  void RunPassObserved(const void* mark);
  void RunObserved(internal::Runnable* node);
  void RunWatched(internal::Runnable* node);
  void ShuffleReady();
  void PollWithoutWaiting();
  int Poll(absl::Duration timeout);
  int PollObserved(absl::Duration timeout);
  void WaitForWork();
  void WaitVirtually(LoopTime wake);
  bool SpinForWork(LoopTime wake);
  void Sleep(LoopTime wake);
  void SleepFor(absl::Duration timeout);
  void FireTimers();
  void UpdateObserved() noexcept;
  void AttachProbe(internal::StallProbe* attached);
  void DetachProbe() noexcept;
  void CheckThread(const char* operation) const;
  void AddDescriptor(int fd, Callback f, Where where, bool reader);
  bool RemoveDescriptor(int fd, bool reader);
  bool ShutDownPool(ThreadPool& ending, absl::Duration timeout);

  bool HasDescriptors() const { return poller->WatchCount() > 1; }

  EventLoop& loop;
  internal::LoopCore& core;

  Poller* poller = nullptr;
  bool stopping = false;
  // Each pass has to be looked at: debug mode, a watchdog, or a seed.
  bool observed = false;
  uint32_t fork_generation = 0;
  uint64_t iterations = 0;

  std::unique_ptr<Clock> own_clock;
  std::unique_ptr<Poller> own_poller;
  internal::WakeWatch wake_watch;
  bool closed = false;
  std::atomic<bool> running{false};

  // Simulation.
  bool virtual_time = false;
  bool shuffle = false;
  int idle_polls = 0;
  internal::Random random;
  bool random_seeded = false;
  std::vector<internal::Runnable*> shuffled;
  std::vector<size_t> places;

  // Spinning before sleep: `spin` is what is left of `busy_poll`.
  absl::Duration busy_poll;
  absl::Duration spin;

  // Debug mode.
  absl::Duration slow_callback = absl::Milliseconds(100);
  internal::StallProbe* probe = nullptr;

  ExceptionHandler exception_handler;
  uint64_t exception_handlers_set = 0;  // how often
  // Not a hash map of abseil, which does not survive a failed allocation.
  std::unordered_map<int, std::unique_ptr<internal::DescriptorWatch>>
      descriptors;
  internal::LoopSignals signals;

  std::unique_ptr<ThreadPool> own_pool;
  ThreadPool* pool = nullptr;
  bool pool_shut_down = false;
};

}  // namespace coil

#endif  // COIL_LOOP_INTERNAL_LOOP_IMPL_H_
