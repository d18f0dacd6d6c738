// coil/timers/internal/token_bucket.h
//
// TokenBucket is the arithmetic of a RateLimiter: tokens come at a constant
// rate until the bucket is full. It keeps one number, the time at which the
// bucket is full, so that nothing drifts and no timer is needed to fill it.
//
//   tokens at t  =  burst - (full_at - t) * rate,  and burst once t >= full_at
//
// Threads: a value.
// Lifetime: no references.

#ifndef COIL_TIMERS_INTERNAL_TOKEN_BUCKET_H_
#define COIL_TIMERS_INTERNAL_TOKEN_BUCKET_H_

#include <cstdint>
#include <limits>

#include "coil/loop/loop_time.h"

namespace coil::internal {

class TokenBucket {
 public:
  // Full. REQUIRES: rate > 0 and finite, burst > 0.
  TokenBucket(double rate, int64_t burst);

  // From when on `n` tokens are there, if nobody takes any meanwhile; rounded
  // up, never early. REQUIRES: n <= burst.
  LoopTime ReadyAt(int64_t n) const;
  // How many whole tokens there are; may be less than zero.
  int64_t Available(LoopTime now) const;
  // Takes `n` tokens, whether they are there or not.
  void Take(int64_t n, LoopTime now);
  // Puts back `n` tokens that were taken.
  void GiveBack(int64_t n);

  double rate() const { return rate_; }
  int64_t burst() const { return burst_; }

 private:
  // A time in nanoseconds with its fraction: a double alone loses nanoseconds
  // after some months.
  struct Instant {
    int64_t whole = std::numeric_limits<int64_t>::min();
    double part = 0;  // [0, 1)
  };
  static Instant Add(Instant instant, double nanoseconds);

  double rate_;
  int64_t burst_;
  double period_;  // nanoseconds for one token
  Instant full_at_;
};

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_TOKEN_BUCKET_H_
