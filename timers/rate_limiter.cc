#include "coil/timers/rate_limiter.h"

#include <cmath>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/loop_time.h"
#include "coil/task/internal/task_core.h"

namespace coil {
namespace {

double CheckedRate(double rate) {
  if (!(rate > 0) || !std::isfinite(rate)) {
    throw std::invalid_argument(absl::StrCat(
        "RateLimiter: the rate must be positive and finite, got ", rate));
  }
  return rate;
}

int64_t CheckedBurst(int64_t burst) {
  if (burst < 1) {
    throw std::invalid_argument(
        absl::StrCat("RateLimiter: the burst must be positive, got ", burst));
  }
  return burst;
}

}  // namespace

RateLimiter::RateLimiter(double rate, int64_t burst)
    : bucket_(CheckedRate(rate), CheckedBurst(burst)) {}

RateLimiter::~RateLimiter() {
  if (Armed()) loop_->Disarm(this);
  // What was granted is theirs.
  while (internal::TokenAwaiter* waiter = granted_.first) {
    granted_.Remove(waiter);
  }
  while (internal::TokenAwaiter* waiter = waiting_.first) {
    waiting_.Remove(waiter);
    waiter->orphan_ = true;
    waiter->Grant();
  }
}

void RateLimiter::CheckAmount(const char* operation, int64_t n) const {
  if (n >= 1 && n <= Burst()) return;
  throw std::invalid_argument(absl::StrCat(
      "RateLimiter::", operation,
      ": the amount must be between 1 and the burst ", Burst(), ", got ", n));
}

void RateLimiter::Bind(internal::LoopCore& loop, const char* operation) {
  if (loop_id_ == loop.id()) [[likely]]
    return;
  if (loop_ != nullptr) internal::ThrowWrongLoop(operation);
  loop_ = &loop;
  loop_id_ = loop.id();
}

bool RateLimiter::TryTake(int64_t n) {
  if (waiting_.first != nullptr) return false;
  const LoopTime now = loop_->RecentNow();
  if (bucket_.ReadyAt(n) > now) return false;
  bucket_.Take(n, now);
  return true;
}

bool RateLimiter::TryAcquire(int64_t n) {
  CheckAmount("TryAcquire", n);
  Bind(internal::RequireLoop("RateLimiter::TryAcquire"),
       "RateLimiter::TryAcquire");
  return TryTake(n);
}

int64_t RateLimiter::Available() const {
  const int64_t available = bucket_.Available(
      internal::RequireLoop("RateLimiter::Available").RecentNow());
  return available > 0 ? available : 0;
}

void RateLimiter::Serve() noexcept {
  const LoopTime now = loop_->RecentNow();
  if (Armed()) loop_->Disarm(this);
  while (internal::TokenAwaiter* waiter = waiting_.first) {
    const LoopTime ready = bucket_.ReadyAt(waiter->n_);
    if (ready > now) {
      if (ready != LoopTime::InfiniteFuture()) loop_->Arm(this, ready);
      return;
    }
    bucket_.Take(waiter->n_, now);
    waiting_.Remove(waiter);
    granted_.Append(waiter);
    waiter->Grant();
  }
}

namespace internal {

void TokenLine::Append(TokenAwaiter* waiter) noexcept {
  waiter->previous_ = last;
  waiter->next_ = nullptr;
  (last != nullptr ? last->next_ : first) = waiter;
  last = waiter;
  waiter->linked_ = true;
}

void TokenLine::Remove(TokenAwaiter* waiter) noexcept {
  (waiter->previous_ != nullptr ? waiter->previous_->next_ : first) =
      waiter->next_;
  (waiter->next_ != nullptr ? waiter->next_->previous_ : last) =
      waiter->previous_;
  waiter->linked_ = false;
}

void TokenAwaiter::Validate() const {
  limiter_->Bind(task_->loop(), "RateLimiter::Acquire");
}

void TokenAwaiter::Arm() noexcept {
  limiter_->waiting_.Append(this);
  if (limiter_->waiting_.first == this) limiter_->Serve();
}

void TokenAwaiter::Unlink() noexcept {
  const bool was_first = limiter_->waiting_.first == this;
  limiter_->waiting_.Remove(this);
  if (was_first) limiter_->Serve();
}

void TokenAwaiter::GiveBack() noexcept {
  // Not linked: the limiter is gone.
  if (!linked_) return;
  limiter_->granted_.Remove(this);
  limiter_->bucket_.GiveBack(n_);
  limiter_->Serve();
}

void TokenAwaiter::Take() {
  if (orphan_) {
    throw std::runtime_error(
        "RateLimiter::Acquire: the RateLimiter was destroyed while tasks "
        "waited "
        "for it");
  }
  if (linked_) limiter_->granted_.Remove(this);
}

void TokenAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "RateLimiter, ", n_, " of ", limiter_->Burst(),
                  " tokens");
}

}  // namespace internal
}  // namespace coil
