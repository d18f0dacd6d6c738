#include "coil/timers/internal/token_bucket.h"

#include <algorithm>
#include <cmath>

namespace coil::internal {
namespace {

// What rounding may have added to a number of nanoseconds or of tokens.
constexpr double kNothing = 1e-6;

// From here on, a number of nanoseconds does not fit.
constexpr double kForever = 9.2e18;

constexpr double kNanosecondsPerSecond = 1e9;

}  // namespace

double TokenBucket::Level(LoopTime now) const {
  const double passed =
      static_cast<double>(now.Nanoseconds()) - static_cast<double>(since_);
  return static_cast<double>(level_) + passed * (rate_ / kNanosecondsPerSecond);
}

LoopTime TokenBucket::ReadyAt(int64_t n) const {
  if (n <= level_) return LoopTime::FromNanoseconds(since_);
  const double missing = static_cast<double>(n) - static_cast<double>(level_);
  const double wait = missing / rate_ * kNanosecondsPerSecond;
  if (!(wait < kForever)) return LoopTime::InfiniteFuture();
  int64_t at = 0;
  if (__builtin_add_overflow(
          since_, static_cast<int64_t>(std::ceil(wait - kNothing)), &at)) {
    return LoopTime::InfiniteFuture();
  }
  return LoopTime::FromNanoseconds(at);
}

int64_t TokenBucket::Available(LoopTime now) const {
  const double level = std::floor(Level(now) + kNothing);
  if (level >= static_cast<double>(burst_)) return burst_;
  return static_cast<int64_t>(std::max(level, -kForever));
}

void TokenBucket::Take(int64_t n, LoopTime now) {
  // A full bucket begins anew; but not for the fraction of a nanosecond by
  // which its time was rounded up, or a steady stream would be slower than the
  // rate.
  const double too_much = Level(now) - static_cast<double>(burst_);
  if (too_much >= std::min(1.0, rate_ / kNanosecondsPerSecond)) {
    level_ = burst_;
    since_ = now.Nanoseconds();
  }
  if (__builtin_sub_overflow(level_, n, &level_)) {
    level_ = std::numeric_limits<int64_t>::min();
  }
}

void TokenBucket::GiveBack(int64_t n) {
  if (__builtin_add_overflow(level_, n, &level_)) {
    level_ = std::numeric_limits<int64_t>::max();
  }
}

}  // namespace coil::internal
