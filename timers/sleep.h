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
//   of zero or less, and Yield(), are exactly one turn of the loop.
// Cancellation: CancelledError is thrown at once and the timer is gone.
// Threads: the loop's thread only.
// Lifetime: the timer lives in the awaiter, so in the frame: nothing is
//   allocated.
//
// Never early; an infinite duration sleeps until the task is cancelled.
// asyncio: sleep (A78, A79).

#ifndef COIL_TIMERS_SLEEP_H_
#define COIL_TIMERS_SLEEP_H_

#include <cstdint>
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

// `delay` in nanoseconds, rounded up, so that no timer is early; the largest
// number stands for ever.
inline int64_t DelayNanoseconds(absl::Duration delay) {
  return (LoopTime() + delay).Nanoseconds();
}
// REQUIRES: delay >= 0. A sum that overflows is the infinite future.
inline LoopTime AfterNanoseconds(LoopTime now, int64_t delay) {
  int64_t sum = 0;
  if (delay == LoopTime::InfiniteFuture().Nanoseconds() ||
      __builtin_add_overflow(now.Nanoseconds(), delay, &sum)) {
    return LoopTime::InfiniteFuture();
  }
  return LoopTime::FromNanoseconds(sum);
}

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
    if (!absolute_) {
      if (time_ <= 0) {
        this->GrantNextTurn();
        return;
      }
      time_ = AfterNanoseconds(loop.RecentNow(), time_).Nanoseconds();
    }
    // An infinite sleep needs no timer: only a cancel ends it.
    if (until() != LoopTime::InfiniteFuture()) loop.Arm(this, until());
  }
  void Unlink() noexcept { this->task_->loop().Disarm(this); }
  void GiveBack() noexcept {}
  void DescribeWait(std::string* out) const override {
    DescribeTimer(this->task_->loop(), until(), out);
  }

 protected:
  explicit SleepBase(absl::Duration delay)
      : absolute_(false), time_(DelayNanoseconds(delay)) {}
  explicit SleepBase(LoopTime until)
      : absolute_(true), time_(until.Nanoseconds()) {}
  SleepBase(SleepBase&& other) noexcept
      : LeafAwaiter<Derived>(std::move(other)),
        TimerNode(),
        absolute_(other.absolute_),
        time_(other.time_) {}
  ~SleepBase() = default;

 private:
  void Fire() noexcept override { this->Grant(); }
  LoopTime until() const { return LoopTime::FromNanoseconds(time_); }

  // In this order: the flag lies in the padding of the node.
  const bool absolute_;
  int64_t time_;  // the delay; once armed, and if absolute, the deadline
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

// Suspends for `delay`, which counts from the await. asyncio: sleep (A78).
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
