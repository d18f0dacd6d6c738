#include "coil/sync/condition.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace coil {

using internal::ConditionAwaiter;
using internal::Waiter;

Condition::~Condition() {
  const uint32_t count = waiters_.Count();
  while (waiters_.HasWaiting()) {
    auto* awaiter = static_cast<ConditionAwaiter*>(waiters_.FirstWaiting());
    waiters_.Remove(awaiter);
    awaiter->condition_ = nullptr;
    awaiter->number_ = count;
    awaiter->JoinLine(ConditionAwaiter::Phase::kOrphaned);
  }
  if (in_line_ == 0) return;
  // They resume as they would have, but have nobody to pass a notification to.
  lock_->hand_off_.list().ForEach([this](Waiter* waiter) {
    auto* awaiter = dynamic_cast<ConditionAwaiter*>(waiter);
    if (awaiter != nullptr && awaiter->condition_ == this) {
      awaiter->condition_ = nullptr;
    }
  });
}

void Condition::CheckLocked(const char* operation) const {
  if (lock_->Locked()) return;
  throw std::runtime_error(absl::StrCat(
      operation, ": the lock is not held; acquire it before you notify"));
}

void Condition::NotifyFirst() noexcept {
  if (!waiters_.HasWaiting()) return;
  auto* awaiter = static_cast<ConditionAwaiter*>(waiters_.FirstWaiting());
  waiters_.Remove(awaiter);
  awaiter->JoinLine(ConditionAwaiter::Phase::kNotified);
}

void Condition::Notify(int64_t n) {
  if (n < 0) {
    throw std::invalid_argument(
        absl::StrCat("Condition::Notify: n is ", n, "; it is at least 0"));
  }
  CheckLocked("Condition::Notify");
  for (; n > 0 && waiters_.HasWaiting(); --n) NotifyFirst();
}

void Condition::NotifyAll() {
  CheckLocked("Condition::NotifyAll");
  while (waiters_.HasWaiting()) NotifyFirst();
}

namespace internal {

void ConditionAwaiter::Validate() const {
  if (guard_->lock_ == lock_) [[likely]]
    return;
  throw std::runtime_error(
      "Condition::Wait: the guard does not hold the lock of this condition");
}

void ConditionAwaiter::Arm() noexcept {
  phase_ = Phase::kWaiting;
  condition_->waiters_.Append(this);
  if (guard_->lock_ == lock_) guard_->Unlock();
}

void ConditionAwaiter::JoinLine(Phase phase) noexcept {
  phase_ = phase;
  if (condition_ != nullptr) ++condition_->in_line_;
  lock_->HandedTo(lock_->hand_off_.Join(this));
}

bool ConditionAwaiter::LeaveLine() noexcept {
  if (condition_ != nullptr) --condition_->in_line_;
  if (!Linked()) return false;
  lock_->hand_off_.Accept(this);
  lock_->holder_ = task_->id();
  *guard_ = Lock::Guard(*lock_);
  return true;
}

// While it is armed, so from Dispose(): the frame goes away.
void ConditionAwaiter::Unlink() noexcept {
  if (phase_ == Phase::kWaiting) {
    condition_->waiters_.Remove(this);
    return;
  }
  lock_->hand_off_.StopWaiting(this);
  if (condition_ == nullptr) return;
  --condition_->in_line_;
  if (phase_ == Phase::kNotified) condition_->NotifyFirst();
}

bool ConditionAwaiter::OnCancel() noexcept {
  if (phase_ == Phase::kWaiting) {
    condition_->waiters_.Remove(this);
    JoinLine(Phase::kLeaving);
  }
  // Delivered when the lock is held again.
  task_->RequestMustCancel();
  return false;
}

// A cancel is delivered: the lock stays with the guard, and the notification
// goes on to the next.
void ConditionAwaiter::GiveBack() noexcept {
  if (phase_ == Phase::kHolding) return;
  if (LeaveLine() && phase_ == Phase::kNotified && condition_ != nullptr) {
    condition_->NotifyFirst();
  }
}

void ConditionAwaiter::Take() {
  const char* const name = phase_ == Phase::kOrphaned ? "Condition" : "Lock";
  if (end_ == WaitEnd::kWrongLoop) [[unlikely]]
    Fail(name, "Condition::Wait");
  if (!LeaveLine()) [[unlikely]]
    Fail(name, "Condition::Wait");
  if (phase_ == Phase::kOrphaned) [[unlikely]]
    Fail(name, "Condition::Wait");
}

void ConditionAwaiter::DescribeWait(std::string* out) const {
  if (phase_ == Phase::kWaiting) {
    out->append("Condition");
  } else {
    lock_->Describe(*this, out);
  }
}

}  // namespace internal
}  // namespace coil
