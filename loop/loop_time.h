// coil/loop/loop_time.h
//
// LoopTime is a point on the clock of one event loop. It is a type of its own
// so that it is never mistaken for a date: the clock is monotonic, starts
// anywhere, and stands still while a virtual clock waits.
//
// Example:
//   coil::LoopTime Deadline(coil::LoopTime now) {
//     return now + absl::Seconds(5);
//   }
//
// Ordering: totally ordered; LoopTime::InfiniteFuture() is after every other.
// Cancellation: does not apply, a LoopTime is a value.
// Threads: a value, safe to copy and to read everywhere. Points of two loops
//   with different clocks must not be compared.
// Lifetime: a value without references.
//
// Arithmetic saturates: adding an hour to the infinite future is the infinite
// future, and no deadline overflows. asyncio: loop.time() (A160).

#ifndef COIL_LOOP_LOOP_TIME_H_
#define COIL_LOOP_LOOP_TIME_H_

#include <compare>
#include <cstdint>
#include <limits>
#include <ostream>

#include "absl/time/time.h"
#include "coil/loop/internal/language.h"

namespace coil {

class LoopTime {
 public:
  // The origin of the clock.
  constexpr LoopTime() = default;

  // The point `nanoseconds` after the origin.
  static constexpr LoopTime FromNanoseconds(int64_t nanoseconds) {
    return LoopTime(nanoseconds);
  }

  // Later than every other point. A timer there never fires.
  static constexpr LoopTime InfiniteFuture() {
    return LoopTime(std::numeric_limits<int64_t>::max());
  }

  constexpr int64_t Nanoseconds() const { return nanoseconds_; }

  friend constexpr auto operator<=>(LoopTime, LoopTime) = default;

  // Saturates at both ends. absl::InfiniteDuration() gives InfiniteFuture(). A
  // part of a nanosecond rounds up, so that no timer fires early.
  friend LoopTime operator+(LoopTime t, absl::Duration d) {
    return LoopTime(SaturatingAdd(t.nanoseconds_, CeilNanoseconds(d)));
  }
  friend LoopTime operator+(absl::Duration d, LoopTime t) { return t + d; }
  friend LoopTime operator-(LoopTime t, absl::Duration d) { return t + -d; }
  friend absl::Duration operator-(LoopTime a, LoopTime b) {
    if (a == InfiniteFuture() && b != InfiniteFuture()) {
      return absl::InfiniteDuration();
    }
    return absl::Nanoseconds(a.nanoseconds_) -
           absl::Nanoseconds(b.nanoseconds_);
  }
  LoopTime& operator+=(absl::Duration d) { return *this = *this + d; }
  LoopTime& operator-=(absl::Duration d) { return *this = *this - d; }

  friend std::ostream& operator<<(std::ostream& out, LoopTime t) {
    if (t == InfiniteFuture()) return out << "infinite-future";
    return out << absl::FormatDuration(absl::Nanoseconds(t.nanoseconds_));
  }

 private:
  explicit constexpr LoopTime(int64_t nanoseconds)
      : nanoseconds_(nanoseconds) {}

  static constexpr int64_t SaturatingAdd(int64_t a, int64_t b) {
    int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) {
      return b > 0 ? std::numeric_limits<int64_t>::max()
                   : std::numeric_limits<int64_t>::min();
    }
    // The infinite future absorbs every finite step back.
    return a == std::numeric_limits<int64_t>::max() ? a : sum;
  }

  static int64_t CeilNanoseconds(absl::Duration d) {
    int64_t n = absl::ToInt64Nanoseconds(d);  // saturates, rounds to zero
    if (n >= 0 && n != std::numeric_limits<int64_t>::max() &&
        absl::Nanoseconds(n) < d) {
      ++n;
    }
    return n;
  }

  int64_t nanoseconds_ = 0;
};

}  // namespace coil

#endif  // COIL_LOOP_LOOP_TIME_H_
