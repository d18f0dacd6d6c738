// coil/timers/interval.h
//
// Interval ticks at a fixed rate: the time between two ticks does not grow by
// what is done in between, as it would with a Sleep() in a loop. What happens
// to ticks that are missed, because the task or the whole process was held up,
// is a choice.
//
// Example:
//   coil::Co<void> Report() {
//     coil::Interval every(absl::Seconds(10));
//     for (int i = 0; i < 3; ++i) {
//       coil::LoopTime due = co_await every.Tick();
//       std::cout << "due at " << due << "\n";
//     }
//   }
//
// Ordering: ticks come in their order; one that is due already does not
//   suspend.
// Cancellation: a cancelled Tick() has consumed nothing: the tick stays due.
// Threads: the loop's thread only; an Interval belongs to the loop that runs
//   where it is made.
// Lifetime: one task at a time waits for a tick. If the Interval is destroyed
//   meanwhile, that task gets std::runtime_error. Nothing is allocated.
//
// Never early. asyncio has no such thing; these are the rules of tokio's
// interval.

#ifndef COIL_TIMERS_INTERVAL_H_
#define COIL_TIMERS_INTERVAL_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil {

// What comes after a tick that was taken late. In a row of ticks due at 1, 2,
// 3, 4 ..., of which the first is taken at 3.5:
enum class MissedTicks : uint8_t {
  kSkip,   // 4, 5, 6: those that were missed do not come, the beat stays
  kBurst,  // 2, 3 at once, then 4, 5: as many ticks as there were periods
  kDelay,  // 4.5, 5.5, 6.5: a whole period after each tick, a new beat
};

// All members are trivially destructible and copied at once.
struct IntervalOptions {
  MissedTicks missed = MissedTicks::kSkip;
  bool immediate = false;  // the first tick is due at once, not in a period
};

namespace internal {
class TickAwaiter;
}  // namespace internal

class Interval {
 public:
  // The first tick is due in `period` from now. Throws std::invalid_argument
  // unless it is positive and finite, std::runtime_error without a running
  // loop.
  explicit Interval(absl::Duration period, IntervalOptions options = {});
  // Whoever waits for a tick gets std::runtime_error.
  ~Interval();
  Interval(const Interval&) = delete;
  Interval& operator=(const Interval&) = delete;

  // co_await interval.Tick() waits for the next tick and gives the time at
  // which it was due. Throws std::runtime_error if another task is waiting, or
  // on another loop. Cancellation: the tick stays due.
  [[nodiscard("co_await it")]] internal::TickAwaiter Tick();

  // When the next tick is due; in the past if it was not taken yet.
  LoopTime Next() const { return next_; }
  absl::Duration Period() const { return absl::Nanoseconds(period_); }
  // A new beat: the next tick is due in one period from now, also for a task
  // that is waiting. A tick that has come already, although the task that
  // waited for it has not run since, is not taken back.
  void Reset();

 private:
  friend class internal::TickAwaiter;

  // How late a tick may be taken and still count as taken in time by kDelay,
  // which would otherwise drift with each wake-up.
  int64_t Tolerance() const;
  // Takes the tick that is due, and returns its time.
  LoopTime TakeTick(LoopTime now);

  internal::LoopCore* loop_;
  uint64_t loop_id_;  // may outlive the loop: compared instead of `loop_`
  internal::TickAwaiter* waiter_ = nullptr;
  LoopTime next_;
  int64_t period_;  // nanoseconds
  MissedTicks missed_;
};

// ---- public interface ends here ----

namespace internal {

class TickAwaiter final : public LeafAwaiter<TickAwaiter>, private TimerNode {
 public:
  explicit TickAwaiter(Interval& interval) : interval_(&interval) {}
  TickAwaiter(TickAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        TimerNode(),
        interval_(other.interval_) {}
  ~TickAwaiter() { Dispose(); }

  void Validate() const;
  bool Ready() noexcept;
  void Arm() noexcept;
  void ArmGivingWay() noexcept;
  void Unlink() noexcept;
  void GiveBack() noexcept {
    if (!busy_) Detach();
  }
  LoopTime Take();
  void DescribeWait(std::string* out) const override;

 private:
  friend class coil::Interval;

  void Fire() noexcept override { Grant(); }
  void Detach() noexcept;
  // The interval has another beat, or is about to die.
  void Rearm(LoopTime was_due) noexcept;
  void Orphan() noexcept;

  Interval* interval_;   // null once it is gone
  bool busy_ = false;    // another task waits already
  bool ticked_ = false;  // before the interval had another beat, at `tick_`
  LoopTime tick_;
};

}  // namespace internal

inline internal::TickAwaiter Interval::Tick() {
  return internal::TickAwaiter(*this);
}

}  // namespace coil

#endif  // COIL_TIMERS_INTERVAL_H_
