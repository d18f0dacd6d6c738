// coil/timers/sleep.h
//
// Sleep() suspends a task for a time, SleepUntil() until a point of the loop's
// clock, Yield() for one turn of the loop.
//
// Example:
//   coil::Co<std::string> Later() {
//     co_await coil::Sleep(absl::Milliseconds(5));
//     co_await coil::Yield();
//     co_return co_await coil::Sleep(absl::Hours(1), std::string("done"));
//   }
//
// Ordering: sleepers wake in order of (deadline, start of the sleep). A sleep
// of zero
//   or less, and Yield(), are exactly one turn of the loop.
// Cancellation: CancelledError is thrown at once and the timer is gone.
// Threads: the loop's thread only.
// Lifetime: the timer lives in the awaiter, so in the frame: nothing is
// allocated.
//
// Never early; an infinite duration sleeps until the task is cancelled.
// asyncio: sleep (A78, A79).

#ifndef COIL_TIMERS_SLEEP_H_
#define COIL_TIMERS_SLEEP_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil {
namespace internal {

// "timer in 3s", appended to `out`.
void DescribeTimer(LoopCore& loop, LoopTime until, std::string* out);

class YieldAwaiter final : public LeafAwaiter<YieldAwaiter> {
 public:
  YieldAwaiter() = default;
  bool Ready() noexcept { return false; }
  void Arm() noexcept { this->GrantNextTurn(); }
  void Unlink() noexcept {}
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void DescribeWait(std::string* out) const override { out->append("yield"); }
};

// The timer half of a sleep; `Derived` says what it results in.
template <class Derived>
class SleepBase : public LeafAwaiter<Derived>, private TimerNode {
 public:
  bool Ready() noexcept { return false; }
  void Arm() noexcept {
    LoopCore& loop = this->task_->loop();
    if (!absolute_ && delay_ <= absl::ZeroDuration()) {
      this->GrantNextTurn();
      return;
    }
    if (!absolute_) until_ = loop.Now() + delay_;
    // An infinite sleep needs no timer: only a cancel ends it.
    if (until_ != LoopTime::InfiniteFuture()) loop.Arm(this, until_);
  }
  void Unlink() noexcept { this->task_->loop().Disarm(this); }
  void GiveBack() noexcept {}
  void DescribeWait(std::string* out) const override {
    DescribeTimer(this->task_->loop(), until_, out);
  }

 protected:
  explicit SleepBase(absl::Duration delay) : delay_(delay) {}
  explicit SleepBase(LoopTime until) : until_(until), absolute_(true) {}
  SleepBase(SleepBase&& other) noexcept
      : LeafAwaiter<Derived>(std::move(other)),
        TimerNode(),
        delay_(other.delay_),
        until_(other.until_),
        absolute_(other.absolute_) {}
  ~SleepBase() = default;

 private:
  void Fire() noexcept override { this->Grant(); }

  absl::Duration delay_;
  LoopTime until_;
  bool absolute_ = false;
};

class SleepAwaiter final : public SleepBase<SleepAwaiter> {
 public:
  explicit SleepAwaiter(absl::Duration delay) : SleepBase(delay) {}
  explicit SleepAwaiter(LoopTime until) : SleepBase(until) {}
  SleepAwaiter(SleepAwaiter&&) = default;
  ~SleepAwaiter() { Dispose(); }
  void Take() noexcept {}
};

template <class T>
class SleepForAwaiter final : public SleepBase<SleepForAwaiter<T>> {
 public:
  SleepForAwaiter(absl::Duration delay, T result)
      : SleepBase<SleepForAwaiter>(delay), result_(std::move(result)) {}
  SleepForAwaiter(SleepForAwaiter&&) = default;
  ~SleepForAwaiter() { this->Dispose(); }
  T Take() { return std::move(result_); }

 private:
  T result_;
};

}  // namespace internal

// Gives way for exactly one turn of the loop: everything that is ready now runs
// before the task goes on. asyncio: sleep(0) (A79).
[[nodiscard("co_await it")]] inline internal::YieldAwaiter Yield() {
  return internal::YieldAwaiter();
}

// Suspends for `delay`, which counts from the await.
[[nodiscard("co_await it")]] inline internal::SleepAwaiter Sleep(
    absl::Duration delay) {
  return internal::SleepAwaiter(delay);
}

// Suspends for `delay` and results in `result`.
template <class T>
[[nodiscard("co_await it")]] internal::SleepForAwaiter<T> Sleep(
    absl::Duration delay, T result) {
  return internal::SleepForAwaiter<T>(delay, std::move(result));
}

// Suspends until `when`; a point in the past is due on the next turn.
[[nodiscard("co_await it")]] inline internal::SleepAwaiter SleepUntil(
    LoopTime when) {
  return internal::SleepAwaiter(when);
}

}  // namespace coil

#endif  // COIL_TIMERS_SLEEP_H_
