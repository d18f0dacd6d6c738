// The iteration of an EventLoop: drain the inbox, poll, fire timers, run a
// pass.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/file_ring.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/loop_impl.h"
#include "coil/loop/internal/stream_ring.h"

namespace coil {

using internal::LoopCore;
using internal::PostNode;
using internal::ReadyQueue;
using internal::Runnable;
using internal::TimerNode;

namespace {

// The kernel's limit lies higher, but asyncio's is enough: the loop just looks
// again (A161).
constexpr absl::Duration kLongestPoll = absl::Hours(24);

// How many steps of a pass run before the descriptors are looked at again.
constexpr int kStepsBetweenPolls = 64;

// In virtual time, descriptors of the real world get this long to become ready
// before time moves on.
constexpr absl::Duration kIdlePoll = absl::Milliseconds(1);
constexpr int kIdlePolls = 3;

[[noreturn]] void ThrowRunsElsewhere(const char* operation) {
  throw std::runtime_error(
      std::string(operation) +
      ": this event loop is already running in another thread");
}

}  // namespace

void EventLoop::RunForever() {
  internal::CheckCanRun(*this, "RunForever");
  impl_->Run();
}

void internal::CheckCanRun(const EventLoop& loop, const char* operation) {
  loop.CheckUsable(operation);
  if (const LoopCore* current = LoopCore::Current()) {
    throw std::runtime_error(
        std::string(operation) +
        (current == &loop.core_
             ? ": this event loop is already running"
             : ": another event loop is running in this thread"));
  }
  if (loop.IsRunning()) ThrowRunsElsewhere(operation);
}

void EventLoop::Stop() noexcept { impl_->stopping = true; }

inline int EventLoop::Impl::Poll(absl::Duration timeout) {
  if (core.debug_) [[unlikely]]
    return PollObserved(timeout);
  return poller->Poll(timeout);
}

inline void EventLoop::Impl::FireTimers() {
  const LoopTime now = core.Now();
  while (TimerNode* timer = core.timers_.PopDue(now)) timer->Fire();
}

// Most turns between two passes have nothing else to look at: then the next
// pass begins at once, which is a third of the cost of a step.
inline bool EventLoop::Impl::BeginQuietTurn(LoopCore& core,
                                            const internal::Inbox& inbox) {
  if (core.ready_.empty() || !core.timers_.empty() || HasDescriptors() ||
      (stopping | observed) || !inbox.LooksEmpty() ||
      fork_generation != internal::ForkGeneration()) {
    return false;
  }
  ++iterations;
  core.now_valid_ = false;
  return true;
}

// Exactly what was ready when the pass began (A161). A step that throws leaves
// the rest where it is.
inline void EventLoop::Impl::RunPass() {
  // What is found through members would be looked up again after each step.
  LoopCore& loop_core = core;
  const internal::Inbox& inbox = loop_core.remote_->inbox();
  ReadyQueue& ready = loop_core.ready_;
  if (ready.empty()) return;
  const void* mark = ready.Mark();
  if (observed) [[unlikely]] {
    RunPassObserved(mark);
    return;
  }
  int budget = kStepsBetweenPolls;
  for (;;) {
    Runnable* node = ready.PopFirst();
    // Asked first, the node may be gone afterwards.
    const bool last = ReadyQueue::EndsPass(node, mark);
    node->Run();
    if (last) {
      if (!BeginQuietTurn(loop_core, inbox)) return;
      mark = ready.Mark();
    }
    if (--budget == 0) [[unlikely]] {
      budget = kStepsBetweenPolls;
      PollWithoutWaiting();
    }
  }
}

inline void EventLoop::Impl::RunOnce() {
  if (fork_generation != internal::ForkGeneration()) [[unlikely]] {
    // A callback forked, and this is the child: the next poll would take events
    // from the parent.
    throw std::runtime_error(kForkedText);
  }
  ++iterations;
  core.now_valid_ = false;
  core.DrainInbox();
  if (core.ready_.empty() && !stopping) {
    WaitForWork();
  } else if (HasDescriptors()) {
    Poll(absl::ZeroDuration());
  }
  if (!core.timers_.empty()) FireTimers();
  RunPass();
}

void EventLoop::Impl::Run() {
  if (running.exchange(true, std::memory_order_acq_rel)) {
    ThrowRunsElsewhere("RunForever");
  }
  struct Restore {
    Impl& d;
    LoopCore* const around;
    ~Restore() {
      d.stopping = false;
      // Only this thread can: the loop may go on in another one, or end.
      if (internal::FileRing* files = d.poller->Files()) files->FinishAll();
      if (internal::StreamRing* s = d.poller->Streams()) s->StopAll();
      d.core.running_ = false;
      d.core.now_valid_ = false;
      LoopCore::t_current = nullptr;
      internal::t_loop_around = around;
      if (d.probe != nullptr) {
        d.probe->thread.store(0, std::memory_order_release);
      }
      d.running.store(false, std::memory_order_release);
    }
  } restore{*this, internal::t_loop_around};
  core.running_ = true;
  LoopCore::t_current = &core;
  internal::t_loop_around = &core;
  // Each task and each callback brings its own.
  const internal::ContextScope context(nullptr);
  if (probe != nullptr) {
    probe->thread.store(::gettid(), std::memory_order_release);
  }
  do {
    RunOnce();
  } while (!stopping);
}

// In the middle of a long pass. What becomes ready here runs in the next pass.
void EventLoop::Impl::PollWithoutWaiting() {
  core.DrainInbox();
  if (HasDescriptors()) Poll(absl::ZeroDuration());
}

// The same pass for debug mode, a watchdog, or a seeded order.
void EventLoop::Impl::RunPassObserved(const void* mark) {
  ReadyQueue& ready = core.ready_;
  if (shuffle) {
    ShuffleReady();
    mark = ready.Mark();
  }
  int budget = kStepsBetweenPolls;
  for (;;) {
    Runnable* node = ready.Pop();
    const bool last = ReadyQueue::EndsPass(node, mark);
    RunObserved(node);
    if (last) return;
    if (--budget == 0) {
      budget = kStepsBetweenPolls;
      PollWithoutWaiting();
    }
  }
}

// A sleep is not slow, but to sleep for longer than one may is: the machine is
// overloaded, or what the poller does with its events takes long.
int EventLoop::Impl::PollObserved(absl::Duration timeout) {
  const LoopTime start = core.clock_->Now();
  const int told = poller->Poll(timeout);
  const absl::Duration taken = core.clock_->Now() - start;
  if (taken - timeout < slow_callback) return told;
  try {
    WriteDiagnostic("coil: polling for " + absl::FormatDuration(timeout) +
                    " took " + absl::FormatDuration(taken) +
                    ", events: " + std::to_string(told));
  } catch (...) {
    WriteDiagnostic("coil: a slow poll, and no memory to say more");
  }
  return told;
}

void EventLoop::Impl::RunObserved(Runnable* node) {
  if (!core.debug_) return RunWatched(node);
  // The name first: the node may be gone afterwards.
  std::string name;
  try {
    name = node->Describe();
  } catch (...) {  // out of memory is no reason to lose the node
  }
  const LoopTime start = core.clock_->Now();
  RunWatched(node);
  const absl::Duration taken = core.clock_->Now() - start;
  if (taken < slow_callback) return;
  try {
    WriteDiagnostic("coil: executing " + name + " took " +
                    absl::FormatDuration(taken));
  } catch (...) {
    WriteDiagnostic("coil: a slow callback, and no memory to say more");
  }
}

// The watchdog looks at the node, so it must not outlast the node's Run().
void EventLoop::Impl::RunWatched(Runnable* node) {
  if (probe == nullptr) return node->Run();
  struct Scope {
    Impl& d;
    internal::StallProbe* entered;
    // The watchdog may have been destroyed by this very step.
    ~Scope() {
      if (d.probe == entered) entered->Leave();
    }
  } scope{*this, probe};
  probe->Enter(node);
  node->Run();
}

// Permutes those that may be permuted among the places that they have.
void EventLoop::Impl::ShuffleReady() {
  shuffled.clear();
  places.clear();
  // Room first, so that no node is in nobody's hands when memory runs out.
  const size_t count = core.ready_.CountSlowly();
  shuffled.reserve(count);
  places.reserve(count);
  while (Runnable* node = core.ready_.Pop()) {
    if (node->Shuffles()) places.push_back(shuffled.size());
    shuffled.push_back(node);
  }
  for (size_t i = places.size(); i > 1; --i) {
    const size_t j = random.Below(i);
    std::swap(shuffled[places[i - 1]], shuffled[places[j]]);
  }
  for (Runnable* node : shuffled) core.ready_.Push(node);
}

// ---- waiting
// ------------------------------------------------------------------

void EventLoop::Impl::WaitForWork() {
  const LoopTime wake = core.timers_.NextWake();
  if (wake != LoopTime::InfiniteFuture() && wake <= core.Now()) {
    if (HasDescriptors()) Poll(absl::ZeroDuration());
    return;
  }
  if (virtual_time) {
    WaitVirtually(wake);
  } else if (!SpinForWork(wake)) {
    Sleep(wake);
  }
  core.now_valid_ = false;
  // Read at once: it also dates the tasks that are made in this iteration.
  static_cast<void>(core.Now());
}

void EventLoop::Impl::Sleep(LoopTime wake) {
  // Without a timer without an end: the system need not arm one either.
  absl::Duration timeout = absl::InfiniteDuration();
  if (wake != LoopTime::InfiniteFuture()) {
    timeout = std::min(kLongestPoll, wake - core.Now());
  }
  if (busy_poll == absl::ZeroDuration()) return SleepFor(timeout);
  const LoopTime start = core.Now();
  SleepFor(timeout);
  core.now_valid_ = false;
  // Had it spun for a little longer, it would not have had to sleep: spinning
  // is worth it again. Otherwise it is worth less and less.
  spin = core.Now() - start <= busy_poll ? busy_poll : spin / 2;
}

void EventLoop::Impl::SleepFor(absl::Duration timeout) {
  if (core.remote_->inbox().Park()) Poll(timeout);
  core.DrainInbox();  // also takes the mark of the sleeper away
}

// True if work came, or a timer is due.
bool EventLoop::Impl::SpinForWork(LoopTime wake) {
  if (spin < absl::Microseconds(1)) return false;
  Clock& clock = *core.clock_;
  const LoopTime end = std::min(wake, clock.Now() + spin);
  do {
    if (HasDescriptors() && Poll(absl::ZeroDuration()) > 0) return true;
    core.DrainInbox();
    if (!core.ready_.empty() || stopping) return true;
  } while (clock.Now() < end);
  if (end == wake) return true;
  return false;
}

// Time moves only when nothing in the real world is under way.
void EventLoop::Impl::WaitVirtually(LoopTime wake) {
  const bool watches = HasDescriptors();
  if (watches && Poll(absl::ZeroDuration()) > 0) {
    idle_polls = 0;
    return;
  }
  core.DrainInbox();
  // What was posted may have been to stop.
  if (!core.ready_.empty() || stopping) return;
  const bool timer = wake != LoopTime::InfiniteFuture();
  if (core.external_ > 0 || (watches && !timer)) {
    SleepFor(kLongestPoll);
    return;
  }
  if (watches && idle_polls < kIdlePolls) {
    ++idle_polls;
    SleepFor(kIdlePoll);
    if (!core.ready_.empty()) idle_polls = 0;
    return;
  }
  idle_polls = 0;
  if (timer) {
    core.clock_->SkipTo(wake);
    return;
  }
  if (!signals.empty()) {
    SleepFor(kLongestPoll);
    return;
  }
  std::string message =
      "simulation: deadlock, nothing is ready and nothing can become ready: no "
      "timer, no descriptor, no work outside of the loop, no signal handler";
  if (internal::DeadlockDescriber describe = internal::GetDeadlockDescriber()) {
    message += "\n" + describe(loop);
  }
  throw std::runtime_error(message);
}

}  // namespace coil
