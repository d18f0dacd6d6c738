#include "coil/timers/interval.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/task/internal/task_core.h"
#include "coil/timers/sleep.h"

namespace coil {
namespace {

absl::Duration CheckedPeriod(absl::Duration period) {
  if (period <= absl::ZeroDuration() || period == absl::InfiniteDuration()) {
    throw std::invalid_argument(
        absl::StrCat("Interval: the period must be positive and finite, got ",
                     absl::FormatDuration(period)));
  }
  return period;
}

}  // namespace

Interval::Interval(absl::Duration period, IntervalOptions options)
    : loop_(&internal::RequireLoop("Interval")),
      loop_id_(loop_->id()),
      next_(loop_->RecentNow()),
      period_(internal::DelayNanoseconds(CheckedPeriod(period))),
      missed_(options.missed) {
  if (!options.immediate) next_ = internal::AfterNanoseconds(next_, period_);
}

Interval::~Interval() {
  if (waiter_ != nullptr) waiter_->Orphan();
}

void Interval::Reset() {
  if (!internal::LoopCore::Exists(loop_, loop_id_)) {
    internal::ThrowWrongLoop("Interval::Reset");
  }
  const LoopTime was_due = next_;
  next_ = internal::AfterNanoseconds(loop_->RecentNow(), period_);
  if (waiter_ != nullptr) waiter_->Rearm(was_due);
}

int64_t Interval::Tolerance() const {
  constexpr int64_t kJitter = 5'000'000;
  return std::min(kJitter, period_ / 2);
}

LoopTime Interval::TakeTick(LoopTime now) {
  const LoopTime tick = next_;
  const int64_t late = now.Nanoseconds() - tick.Nanoseconds();
  switch (missed_) {
    case MissedTicks::kBurst:
      next_ = internal::AfterNanoseconds(tick, period_);
      break;
    case MissedTicks::kSkip:
      next_ = internal::AfterNanoseconds(now, period_ - late % period_);
      break;
    case MissedTicks::kDelay:
      next_ =
          internal::AfterNanoseconds(late > Tolerance() ? now : tick, period_);
      break;
  }
  return tick;
}

namespace internal {

void TickAwaiter::Validate() const {
  if (interval_->loop_id_ != task_->loop().id())
    ThrowWrongLoop("Interval::Tick");
}

bool TickAwaiter::Ready() noexcept {
  busy_ = interval_->waiter_ != nullptr;
  return busy_ || interval_->next_ <= task_->loop().RecentNow();
}

void TickAwaiter::Arm() noexcept {
  interval_->waiter_ = this;
  if (interval_->next_ != LoopTime::InfiniteFuture()) {
    task_->loop().Arm(this, interval_->next_);
  }
}

void TickAwaiter::ArmGivingWay() noexcept {
  busy_ = interval_->waiter_ != nullptr;
  if (busy_) return Grant();
  Arm();  // a deadline in the past is met on the next pass
}

void TickAwaiter::Unlink() noexcept {
  task_->loop().Disarm(this);
  Detach();
}

void TickAwaiter::Detach() noexcept {
  if (interval_ != nullptr && interval_->waiter_ == this) {
    interval_->waiter_ = nullptr;
  }
}

LoopTime TickAwaiter::Take() {
  if (interval_ == nullptr) {
    throw std::runtime_error(
        "Interval::Tick: the Interval was destroyed while a task waited for a "
        "tick");
  }
  if (busy_) {
    throw std::runtime_error(
        "Interval::Tick: another task waits for the next tick already; each "
        "task needs an Interval of its own");
  }
  Detach();
  if (ticked_) return tick_;
  return interval_->TakeTick(task_->loop().RecentNow());
}

void TickAwaiter::DescribeWait(std::string* out) const {
  out->append("interval, ");
  DescribeTimer(task_->loop(), When(), out);
}

void TickAwaiter::Rearm(LoopTime was_due) noexcept {
  if (LeafBase::Armed()) {
    task_->loop().Disarm(this);
    Arm();
  } else if (!ticked_) {
    ticked_ = true;
    tick_ = was_due;
  }
}

void TickAwaiter::Orphan() noexcept {
  interval_ = nullptr;
  if (!LeafBase::Armed()) return;
  task_->loop().Disarm(this);
  Grant();
}

}  // namespace internal
}  // namespace coil
