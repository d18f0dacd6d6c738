#include "coil/timers/internal/token_bucket.h"

#include <algorithm>
#include <cmath>

namespace coil::internal {
namespace {

// Beyond it, a sum of nanoseconds is no number of nanoseconds any more.
constexpr double kForever = 9.2e18;

// What rounding may have added to the fraction of a nanosecond.
constexpr double kNothing = 1e-6;

}  // namespace

TokenBucket::TokenBucket(double rate, int64_t burst)
    : rate_(rate), burst_(burst), period_(std::min(1e9 / rate, kForever)) {}

TokenBucket::Instant TokenBucket::Add(Instant instant, double nanoseconds) {
  const double floor = std::floor(std::clamp(nanoseconds, -kForever, kForever));
  instant.part += std::clamp(nanoseconds, -kForever, kForever) - floor;
  int64_t whole = static_cast<int64_t>(floor);
  if (instant.part >= 1) {
    instant.part -= 1;
    ++whole;
  }
  if (__builtin_add_overflow(instant.whole, whole, &instant.whole)) {
    instant.whole = whole > 0 ? std::numeric_limits<int64_t>::max()
                              : std::numeric_limits<int64_t>::min();
    instant.part = 0;
  }
  return instant;
}

LoopTime TokenBucket::ReadyAt(int64_t n) const {
  if (full_at_.whole == std::numeric_limits<int64_t>::max()) {
    return LoopTime::InfiniteFuture();
  }
  const Instant at = Add(full_at_, -static_cast<double>(burst_ - n) * period_);
  const int64_t up = at.part > kNothing ? 1 : 0;
  return LoopTime::FromNanoseconds(at.whole) + absl::Nanoseconds(up);
}

int64_t TokenBucket::Available(LoopTime now) const {
  if (full_at_.whole <= now.Nanoseconds()) return burst_;
  const double missing =
      (static_cast<double>(full_at_.whole - now.Nanoseconds()) +
       full_at_.part) /
      period_;
  return burst_ - static_cast<int64_t>(
                      std::ceil(std::min(missing - kNothing, kForever)));
}

void TokenBucket::Take(int64_t n, LoopTime now) {
  if (full_at_.whole < now.Nanoseconds()) {
    full_at_ = Instant{now.Nanoseconds(), 0};
  }
  full_at_ = Add(full_at_, static_cast<double>(n) * period_);
}

void TokenBucket::GiveBack(int64_t n) {
  full_at_ = Add(full_at_, -static_cast<double>(n) * period_);
}

}  // namespace coil::internal
