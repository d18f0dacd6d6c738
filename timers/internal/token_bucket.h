// coil/timers/internal/token_bucket.h
//
// TokenBucket is the arithmetic of a RateLimiter: tokens come at a constant
// rate until the bucket is full. No timer fills it; how many tokens there are
// follows from one point of time and what was taken since:
//
//   tokens at t  =  level + (t - since) * rate,  and at most burst
//
// The point moves only when the bucket is full, so roundings do not add up.
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
  // Full. REQUIRES: rate (per second) > 0 and finite, burst > 0.
  TokenBucket(double rate, int64_t burst)
      : rate_(rate), burst_(burst), level_(burst) {}

  // From when on `n` tokens are there, if nobody takes any meanwhile; rounded
  // up, never early. REQUIRES: n <= burst.
  LoopTime ReadyAt(int64_t n) const;
  // How many whole tokens there are; less than zero if more were taken.
  int64_t Available(LoopTime now) const;
  // Takes `n` tokens, whether they are there or not.
  void Take(int64_t n, LoopTime now);
  // Puts back `n` tokens that were taken.
  void GiveBack(int64_t n);

  double rate() const { return rate_; }
  int64_t burst() const { return burst_; }

 private:
  // How many tokens there are, with a fraction, and without the limit.
  double Level(LoopTime now) const;

  double rate_;
  int64_t burst_;
  int64_t level_;
  int64_t since_ = std::numeric_limits<int64_t>::min();  // nanoseconds
};

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_TOKEN_BUCKET_H_
