// Counts what is constructed and destroyed, for the probes of compilers. A
// Tracked owns nothing, so that one which a compiler destroys twice, or never,
// is counted and does no harm.

#ifndef COIL_TESTS_COMPILER_TRACKED_H_
#define COIL_TESTS_COMPILER_TRACKED_H_

#include <utility>

#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil::compiler {

class Tracked {
 public:
  explicit Tracked(int value = 0) : value_(value) { ++constructed; }
  Tracked(const Tracked& other) : value_(other.value_) { ++constructed; }
  Tracked(Tracked&& other) noexcept : value_(other.value_) { ++constructed; }
  Tracked& operator=(const Tracked&) = default;
  Tracked& operator=(Tracked&&) = default;
  ~Tracked() { ++destroyed; }
  int value() const { return value_; }

  static inline int constructed = 0;
  static inline int destroyed = 0;

 private:
  int value_;
};

// Runs `shape`, a coroutine function that returns a Co<int>, checks that it
// gives `expected`, and returns how many more Trackeds were destroyed than
// constructed: zero if the compiler got it right.
template <class F>
int Surplus(F shape, int expected) {
  const SimulationOptions simulation;
  Tracked::constructed = Tracked::destroyed = 0;
  EXPECT_EQ(coil::Run(shape, {.simulation = &simulation}), expected);
  EXPECT_GT(Tracked::constructed, 0) << "the probe probes nothing";
  return Tracked::destroyed - Tracked::constructed;
}

// Children that suspend, as an inlined one would hide a mistake.
template <class F>
Co<int> Call(F f) {
  co_await Yield();
  co_return f();
}
inline Co<int> Take(Tracked tracked) {
  co_await Yield();
  co_return tracked.value();
}
inline Co<Tracked> Make(int value) {
  co_await Yield();
  co_return Tracked(value);
}

// Which shapes this compiler is known to get wrong: the list of g++ 12.
#if defined(__clang__) || __GNUC__ != 12
inline constexpr bool kGcc12 = false;
#else
inline constexpr bool kGcc12 = true;
#endif

// A shape that g++ 12 destroys once too often. Where this fails on a newer
// compiler, the rules of coil can be relaxed for it.
#define EXPECT_DESTROYED_TWICE_BY_GCC_12(shape, expected)     \
  if (::coil::compiler::kGcc12) {                             \
    EXPECT_GT(::coil::compiler::Surplus(shape, expected), 0)  \
        << "g++ 12 has been fixed here";                      \
  } else {                                                    \
    EXPECT_EQ(::coil::compiler::Surplus(shape, expected), 0); \
  }

// What to write instead: right on every compiler.
#define EXPECT_RIGHT(shape, expected) \
  EXPECT_EQ(::coil::compiler::Surplus(shape, expected), 0)

}  // namespace coil::compiler

#endif  // COIL_TESTS_COMPILER_TRACKED_H_
