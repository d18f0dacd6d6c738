// coil/loop/internal/loop_core.h
//
// The inner half of an EventLoop: what the packages above touch on every step.
// Small and inline, because a yield costs a few nanoseconds. EventLoop is the
// public half.
//
// Threads: the loop's thread only, but for `remote`.
// Lifetime: part of its EventLoop; `remote` outlives it for as long as another
//   thread holds it.

#ifndef COIL_LOOP_INTERNAL_LOOP_CORE_H_
#define COIL_LOOP_INTERNAL_LOOP_CORE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "coil/loop/clock.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/ready_queue.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"

namespace coil {
class EventLoop;
struct ExceptionContext;
}  // namespace coil

namespace coil::internal {

class LoopSignals;

// What another thread may hold of a loop, also after the loop is gone.
class LoopRemote {
 public:
  LoopRemote();  // throws OsError if no wake descriptor is to be had
  ~LoopRemote();
  LoopRemote(const LoopRemote&) = delete;
  LoopRemote& operator=(const LoopRemote&) = delete;

  // Hands `node` to the loop. False if the loop is closed: then the node was
  // not taken. Any thread.
  [[nodiscard]] bool Post(PostNode* node) noexcept {
    switch (inbox_.Push(node)) {
      case PushResult::kQueued:
        return true;
      case PushResult::kWake:
        Wake();
        return true;
      case PushResult::kClosed:
        return false;
    }
    return false;
  }

  // Makes the current or next poll return. Any thread, and a signal handler.
  void Wake() noexcept;

  int WakeDescriptor() const { return wake_fd_; }
  Inbox& inbox() { return inbox_; }

 private:
  Inbox inbox_;
  int wake_fd_ = -1;
};

// A node in the loop's list of what it owns while it runs: the tasks.
class OwnedRunnable : public Runnable {
 public:
  // The loop is being closed with this still in its list. Must unlink.
  virtual void OnLoopClose() noexcept = 0;

  OwnedRunnable* NextOwned() const { return next_owned_; }
  // LoopCore::id() of its loop. REQUIRES: it is not in the list.
  uint64_t LoopId() const { return loop_id_; }

 protected:
  explicit OwnedRunnable(uint64_t loop_id = 0) noexcept : loop_id_(loop_id) {}
  ~OwnedRunnable() = default;

 private:
  friend class LoopCore;
  OwnedRunnable* prev_owned_ = nullptr;
  union {
    OwnedRunnable* next_owned_;  // while it is in the list
    uint64_t loop_id_;
  };
};

// Something outside of all tasks that must let go of the loop before it goes: a
// descriptor that is registered with its poller.
class LoopResource {
 public:
  LoopResource() = default;
  LoopResource(const LoopResource&) = delete;
  LoopResource& operator=(const LoopResource&) = delete;

  // The loop begins to close, and its tasks are still there: lets go the
  // threads that wait for one of them. May detach itself; runs no user code.
  virtual void OnLoopClosing() noexcept {}
  // The loop is closing; its tasks are gone, the poller is still there. The
  // resource was detached.
  virtual void OnLoopClose() noexcept = 0;

 protected:
  ~LoopResource() = default;

 private:
  friend class LoopCore;
  LoopResource* previous_resource_ = nullptr;
  LoopResource* next_resource_ = nullptr;
};

class LoopCore {
 public:
  explicit LoopCore(EventLoop* loop);
  ~LoopCore();
  LoopCore(const LoopCore&) = delete;
  LoopCore& operator=(const LoopCore&) = delete;

  // False once the loop is gone: asked by who may have outlived it. Slow;
  // `core` is compared only. Any thread.
  static bool Exists(const LoopCore* core, uint64_t id) noexcept;
  // Its own in the process: another loop may come to lie at the same address.
  uint64_t id() const { return id_; }

  // The loop that runs in this thread, or null. Not for coroutine bodies.
  static LoopCore* Current() noexcept { return t_current; }
  // In the child of a fork: no loop runs here.
  static void ForgetCurrent() noexcept { t_current = nullptr; }

  EventLoop& loop() const { return *loop_; }

  // Puts `node` at the end of the ready FIFO. REQUIRES: it is not queued.
  void Schedule(Runnable* node) noexcept { ready_.Push(node); }
  // What is scheduled in this scope runs before what is ready already.
  ReadyQueue::FrontScope ScheduleFirst() { return {ready_}; }

  // Timers. Deadlines in the past fire on the next iteration.
  void Arm(TimerNode* node, LoopTime when) noexcept { timers_.Arm(node, when); }
  void Disarm(TimerNode* node) noexcept { timers_.Disarm(node); }

  // The time as of this iteration: read when it is first asked for, since a
  // pass of a few steps costs less than a look at the clock. asyncio:
  // loop.time().
  LoopTime Now() const noexcept {
    if (!now_valid_) [[unlikely]]
      ReadClock();
    return now_;
  }
  // The same for what counts from now, as a delay does: a step may have
  // computed for long since the iteration began. A reading that is a few
  // microseconds old is used again, since another one would cost more than
  // arming a timer.
  LoopTime RecentNow() const noexcept {
    if (!now_valid_ || !counts_ticks_ ||
        CpuTicks() - now_ticks_ > kRecentTicks) {
      ReadClock();
    }
    return now_;
  }
  // Reads the clock in any case.
  LoopTime ExactNow() const noexcept {
    ReadClock();
    return now_;
  }
  // The last time that was read, in milliseconds; for the ages of tasks.
  uint32_t LastMilliseconds() const { return now_ms_; }
  Clock& clock() const { return *clock_; }

  // What is owned by the loop while it runs, oldest first.
  void Own(OwnedRunnable* node) noexcept {
    node->prev_owned_ = owned_last_;
    node->next_owned_ = nullptr;
    (owned_last_ != nullptr ? owned_last_->next_owned_ : owned_first_) = node;
    owned_last_ = node;
    ++owned_count_;
  }
  void Disown(OwnedRunnable* node) noexcept {
    (node->prev_owned_ != nullptr ? node->prev_owned_->next_owned_
                                  : owned_first_) = node->next_owned_;
    (node->next_owned_ != nullptr ? node->next_owned_->prev_owned_
                                  : owned_last_) = node->prev_owned_;
    node->loop_id_ = id_;
    --owned_count_;
  }
  OwnedRunnable* FirstOwned() const { return owned_first_; }
  size_t OwnedCount() const { return owned_count_; }

  // For tests and tools: timers that are armed, and whether anything is ready.
  size_t TimerCount() const { return timers_.size(); }
  bool HasReady() const { return !ready_.empty(); }

  // Resources, to be detached before they die, or by the close of the loop.
  void Attach(LoopResource* node) noexcept;
  void Detach(LoopResource* node) noexcept;
  void TellResourcesOfClosing() noexcept;

  // Work that runs outside of the loop (a thread) and will post. While it is
  // pending a virtual clock does not skip ahead.
  void BeginExternal() noexcept { ++external_; }
  void EndExternal() noexcept { --external_; }

  // True if other threads have posted; a post of this moment may be missed.
  bool HasPosts() const noexcept { return !remote_->inbox().LooksEmpty(); }
  // Takes in what other threads have posted.
  void DrainInbox() noexcept {
    for (PostNode* node = remote_->inbox().Drain(); node != nullptr;) {
      PostNode* next = node->next_post;  // the node may die
      node->Deliver(ready_);
      node = next;
    }
  }

  const std::shared_ptr<LoopRemote>& remote() const { return remote_; }
  LoopSignals& signals() const { return *signals_; }

  bool debug() const { return debug_; }
  // How many nanoseconds a task may go on with awaits that complete at once.
  int64_t time_slice() const { return time_slice_; }

  // Reports an error that nobody can receive to the loop's exception handler.
  void Report(const ExceptionContext& context) noexcept;

 private:
  friend class coil::EventLoop;
  // Constant-initialised in sight of all, so that reading it takes no guard.
  static inline constinit thread_local LoopCore* t_current = nullptr;

  // Counts on at 1 to 5 GHz. Without such a counter no reading is recent.
#if defined(__x86_64__)
  static constexpr bool kHasTicks = true;
  static uint64_t CpuTicks() noexcept { return __builtin_ia32_rdtsc(); }
#else
  static constexpr bool kHasTicks = false;
  static uint64_t CpuTicks() noexcept { return 0; }
#endif
  static constexpr uint64_t kRecentTicks = 4096;

  void ReadClock() const noexcept {
    if (counts_ticks_) now_ticks_ = CpuTicks();
    // Clamped here too: an injected clock may go back, timers must not see it.
    const LoopTime now = clock_->Now();
    if (now > now_) now_ = now;
    now_ms_ = static_cast<uint32_t>(now_.Nanoseconds() / 1000000);
    now_valid_ = running_;
  }

  EventLoop* loop_;
  uint64_t id_;
  ReadyQueue ready_;
  mutable LoopTime now_ =
      LoopTime::FromNanoseconds(std::numeric_limits<int64_t>::min());
  mutable uint64_t now_ticks_ = 0;
  mutable uint32_t now_ms_ = 0;
  mutable bool now_valid_ = false;
  // The clock is the system's, so that the counter says how old a reading is.
  bool counts_ticks_ = false;
  // A loop that does not run has no iteration: each look reads the clock.
  bool running_ = false;
  int64_t time_slice_ = 10'000'000;
  bool debug_ = false;
  int external_ = 0;
  size_t owned_count_ = 0;
  OwnedRunnable* owned_first_ = nullptr;
  OwnedRunnable* owned_last_ = nullptr;
  LoopResource* resources_ = nullptr;
  Clock* clock_ = nullptr;
  TimerQueue timers_;
  std::shared_ptr<LoopRemote> remote_;
  LoopSignals* signals_ = nullptr;
};

// An exception that derives from this leaves the loop instead of being
// reported: RunForever() throws it, and what was ready stays ready.
class LeavesLoop {
 protected:
  LeavesLoop() = default;
  LeavesLoop(const LeavesLoop&) = default;
  LeavesLoop& operator=(const LeavesLoop&) = default;
  ~LeavesLoop() = default;
};

// Adds to the report of a simulation that is stuck: a dump of the tasks. A
// plain function, set once by the package that knows tasks.
using DeadlockDescriber = std::string (*)(EventLoop& loop);
void SetDeadlockDescriber(DeadlockDescriber describer) noexcept;
DeadlockDescriber GetDeadlockDescriber() noexcept;

// For the packages above: the inner half of `loop`.
LoopCore& CoreOf(EventLoop& loop) noexcept;
// Throws std::runtime_error, as RunForever() would, if `loop` cannot run in
// this thread now. `operation` begins the message.
void CheckCanRun(const EventLoop& loop, const char* operation);

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_LOOP_CORE_H_
