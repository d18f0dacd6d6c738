// coil/timers/rate_limiter.h
//
// RateLimiter lets things happen at a given rate: a token bucket, which fills
// with `rate` tokens a second and holds `burst` of them. It limits how often;
// how many at once is the business of a Semaphore (coil/sync/semaphore.h).
//
// Example:
//   coil::Co<void> SendAll(coil::RateLimiter& limiter, int messages) {
//     for (int i = 0; i < messages; ++i) {
//       co_await limiter.Acquire();
//       std::cout << "sent " << i << "\n";
//     }
//   }
//   coil::Co<void> TenInASecond() {
//     coil::RateLimiter limiter(/*rate=*/10, /*burst=*/3);
//     co_await SendAll(limiter, 20);
//   }
//
// Ordering: strictly first in, first out, whatever the amounts: a task that
//   wants few tokens waits behind one that wants many. Acquire() does not
//   suspend while nobody waits and the tokens are there.
// Cancellation: if CancelledError is delivered, no token was taken: the place
//   in the line and what was granted already go to those behind.
// Threads: the loop's thread only; it belongs to the loop of its first use.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait, each
//   of them gets std::runtime_error. Nothing is allocated.
//
// Never early: in any time t, at most burst + rate * t tokens are taken.
// asyncio has no such thing.

#ifndef COIL_TIMERS_RATE_LIMITER_H_
#define COIL_TIMERS_RATE_LIMITER_H_

#include <cstdint>
#include <string>

#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/timers/internal/token_bucket.h"

namespace coil {

namespace internal {

class TokenAwaiter;

// A list of waiters, first in, first out; they are linked through themselves.
struct TokenLine {
  void Append(TokenAwaiter* waiter) noexcept;
  void Remove(TokenAwaiter* waiter) noexcept;

  TokenAwaiter* first = nullptr;
  TokenAwaiter* last = nullptr;
};

}  // namespace internal

class RateLimiter final : private internal::TimerNode {
 public:
  // The bucket is full at first. Throws std::invalid_argument unless `rate`
  // (tokens per second) is positive and finite, and `burst` is positive.
  RateLimiter(double rate, int64_t burst);
  // Whoever waits gets std::runtime_error.
  ~RateLimiter();
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  // co_await limiter.Acquire(n) takes `n` tokens, once they are there. Throws
  // std::invalid_argument if n is less than one or more than the burst, which
  // would never be there; std::runtime_error on a second loop. Cancellation: no
  // token was taken.
  [[nodiscard("co_await it")]] internal::TokenAwaiter Acquire(int64_t n = 1);

  // Takes `n` tokens if nobody waits and they are there. Throws as Acquire(),
  // and std::runtime_error without a running loop.
  [[nodiscard]] bool TryAcquire(int64_t n = 1);

  // How many tokens TryAcquire() would find, were nobody waiting.
  // Throws std::runtime_error without a running loop.
  int64_t Available() const;

  double Rate() const { return bucket_.rate(); }
  int64_t Burst() const { return bucket_.burst(); }

 private:
  friend class internal::TokenAwaiter;

  void CheckAmount(const char* operation, int64_t n) const;
  void Bind(internal::LoopCore& loop, const char* operation);
  bool TryTake(int64_t n);
  // Grants what is there to those in front, and sets the timer for the next.
  void Serve() noexcept;
  void Fire() noexcept override { Serve(); }

  internal::TokenBucket bucket_;
  internal::LoopCore* loop_ = nullptr;
  uint64_t loop_id_ = 0;  // may outlive the loop: compared instead of `loop_`
  internal::TokenLine waiting_;
  internal::TokenLine granted_;  // and not resumed yet
};

// ---- public interface ends here ----

namespace internal {

class TokenAwaiter final : public LeafAwaiter<TokenAwaiter> {
 public:
  TokenAwaiter(RateLimiter& limiter, int64_t n) : limiter_(&limiter), n_(n) {}
  TokenAwaiter(TokenAwaiter&&) = default;
  ~TokenAwaiter() { Dispose(); }

  void Validate() const;
  bool Ready() noexcept { return limiter_->TryTake(n_); }
  void Arm() noexcept;
  void ArmGivingWay() noexcept { Arm(); }
  void Unlink() noexcept;
  void GiveBack() noexcept;
  void Take();
  void DescribeWait(std::string* out) const override;

 private:
  friend class coil::RateLimiter;
  friend struct TokenLine;

  RateLimiter* limiter_;
  int64_t n_;
  TokenAwaiter* previous_ = nullptr;
  TokenAwaiter* next_ = nullptr;
  bool linked_ = false;  // in one of the lines of the limiter
  bool orphan_ = false;  // the limiter was destroyed first
};

}  // namespace internal

inline internal::TokenAwaiter RateLimiter::Acquire(int64_t n) {
  CheckAmount("Acquire", n);
  return internal::TokenAwaiter(*this, n);
}

}  // namespace coil

#endif  // COIL_TIMERS_RATE_LIMITER_H_
