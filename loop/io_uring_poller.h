// coil/loop/io_uring_poller.h
//
// IoUringPoller is a Poller on Linux's io_uring: what changed since the last
// pass is handed over by the same system call that waits, so that a pass costs
// one call, or none where nothing has come. It does what EpollPoller does, and
// is no faster for every program: docs/benchmarks.md says where.
//
// Example:
//   void RunOnIoUring() {
//     std::unique_ptr<coil::Poller> poller = coil::MakeIoUringPollerOrEpoll();
//     coil::LoopOptions options;
//     options.poller = poller.get();
//     coil::EventLoop loop(options);
//     loop.CallSoon([&loop] { loop.Stop(); });
//     loop.RunForever();
//   }
//
//   // The same for all loops that are made from here on.
//   int Program() {
//     coil::PreferIoUring();
//     return coil::Run([]() -> coil::Co<int> { co_return 0; });
//   }
//
// io_uring may not be there: containers deny it by default, and so does
// kernel.io_uring_disabled. An IoUringPoller that is asked for by its name
// throws then; everything else falls back to epoll without a word.
//
// In a program that links this target, COIL_POLLER in the environment chooses
// for the loops that are not given a poller: "epoll", "io_uring" (where it is
// to be had, otherwise epoll), "auto" (as if it were not set: what the program
// prefers, or what coil does, which is epoll). Other programs do not look at
// it.
//
// Ordering: the events of one Poll() in the order of the kernel, at most 256 at
//   once; the rest comes with the next.
// Cancellation: as with EpollPoller: Remove() also silences an event that is
//   part of the batch being delivered, and one of an earlier owner of the same
//   descriptor number. The kernel has let go of the file when it returns, so
//   that the close() behind it closes.
// Threads: the loop's thread only. It may move to another thread between two
//   calls; the first call there makes the rings anew. What is removed there
//   before is let go of a moment after Remove(). A loop that stops running
//   stops what the kernel receives, so that no bytes are left behind.
// Lifetime: watches are borrowed until Remove(). In a forked child only
//   Remove() and the destructor may be called, and do not touch the parent's.
//
// asyncio: ProactorEventLoop is the nearest thing (A320).

#ifndef COIL_LOOP_IO_URING_POLLER_H_
#define COIL_LOOP_IO_URING_POLLER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/file_ring.h"
#include "coil/loop/internal/io_uring.h"
#include "coil/loop/internal/stream_ring.h"
#include "coil/loop/internal/uring_files.h"
#include "coil/loop/internal/uring_streams.h"
#include "coil/loop/poller.h"

namespace coil {

struct IoUringOptions {
  // The kernel receives and accepts for streams and servers by itself, where it
  // can (6.0): a message costs no system call of its own, but a copy. Not for
  // peers that send urgent data: what lies behind it may wait until something
  // else comes.
  bool streams = true;
  // The memory for that, of which there are a power of two and at most 32768.
  uint32_t buffers = 256;
  uint32_t buffer_size = 16 << 10;
};

class IoUringPoller final : public Poller,
                            private internal::FileRing,
                            private internal::StreamRing {
 public:
  // Whether this process may use io_uring and the kernel (5.13 or newer) can do
  // what is needed: found out by a trial, once. Any thread.
  static bool Available() noexcept;

  // Throws OsError: EPERM or ENOSYS where Available() is false.
  IoUringPoller();
  explicit IoUringPoller(const IoUringOptions& options);
  ~IoUringPoller() override;

  void Add(Watch& watch, int fd, IoEvents interest, Trigger trigger) override;
  void Modify(Watch& watch, IoEvents interest, Trigger trigger) override;
  void Remove(Watch& watch) noexcept override;
  int Poll(absl::Duration timeout) override;
  const char* Name() const noexcept override { return "io_uring"; }

  // ---- public interface ends here ----
  internal::FileRing* Files() noexcept override { return this; }
  internal::StreamRing* Streams() noexcept override {
    return options_.streams ? this : nullptr;
  }

 private:
  using FileOperation = internal::FileRing::Operation;
  using StreamOperation = internal::StreamRing::Operation;
  static constexpr size_t kBatch = 256;

  // Indexed by descriptor: numbers are small and dense.
  struct Slot {
    Watch* watch = nullptr;
    uint32_t generation = 0;
    uint16_t in_batch = 0;  // its place in events_, counted from 1
    IoEvents interest = 0;
    Trigger trigger = Trigger::kLevel;
    bool armed = false;  // a poll of this generation is with the kernel
    bool multi = false;  // and goes on after it has told something
    bool quiet = false;  // by level, but what is ready is not wanted
    bool dirty = false;  // in dirty_
  };
  struct Event {
    uint32_t fd;
    uint32_t generation;
    uint32_t mask;
  };
  // An operation on a file is done: Poll() has returned, and looks by itself.
  class FilesWatch final : public Watch {
   public:
    void OnReady(IoEvents) noexcept override {}
  };

  bool Begin(FileOperation& operation) noexcept override;
  void AskToStop(FileOperation& operation) noexcept override;
  int32_t Abort(FileOperation& operation, bool ask) noexcept override;
  void FinishAll() noexcept override;
  bool OpenFiles() noexcept;
  int DeliverFiles() noexcept;

  bool Attach(StreamOperation& operation, int fd) noexcept override;
  void Detach(StreamOperation& operation) noexcept override;
  void Start(StreamOperation& operation) noexcept override;
  void Stop(StreamOperation& operation) noexcept override;
  void GiveBack(Chunk& chunk) noexcept override;
  void StopAll() noexcept override;
  bool OpenStreams() noexcept;
  bool TakeOfStreams(const internal::UringCqe& told) noexcept;
  void ReapStopped() noexcept;
  void Recover();

  bool Forked() const noexcept;
  void OpenAnew();
  void MarkDirty(uint32_t fd) noexcept;
  void HandOver();
  bool Arm(uint32_t fd) noexcept;
  void Cancel(uint64_t poll) noexcept;
  void Flush() noexcept;
  void Disarm(uint32_t fd) noexcept;
  Slot* SlotOf(uint64_t user_data) noexcept;
  void DiscardStale() noexcept;
  void Reap(bool before) noexcept;
  void ReapAll(bool before) noexcept;
  void Enter(absl::Duration timeout);
  int Deliver() noexcept;

  internal::IoUring ring_;
  internal::UringFiles files_;  // opened when it is needed
  FilesWatch files_watch_;
  internal::UringStreams streams_;
  IoUringOptions options_;
  bool lost_ = false;  // completions were, and the ring is to be made anew
  uint64_t opener_;    // the thread that has opened it
  // The rings are shared with a forked child, who must not touch them.
  uint32_t fork_generation_;
  std::vector<Slot> slots_;
  std::vector<uint32_t>
      dirty_;  // has room for every descriptor that is watched
  size_t batch_ = 0;
  std::array<Event, kBatch> events_;
};

// An IoUringPoller, or an EpollPoller where io_uring is not to be had. Throws
// OsError if the system refuses that, too.
std::unique_ptr<Poller> MakeIoUringPollerOrEpoll();

// Whether loops that are made from here on and not given a poller try io_uring
// first; COIL_POLLER has the last word. Any thread.
void PreferIoUring(bool on = true) noexcept;

}  // namespace coil

#endif  // COIL_LOOP_IO_URING_POLLER_H_
