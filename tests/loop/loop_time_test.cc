#include "coil/loop/loop_time.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "gtest/gtest.h"

namespace coil {
namespace {

// Example of loop_time.h.
LoopTime Deadline(LoopTime now) { return now + absl::Seconds(5); }

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

TEST(LoopTimeTest, ExampleOfTheHeader) {
  EXPECT_EQ(Deadline(LoopTime::FromNanoseconds(7)).Nanoseconds(),
            5'000'000'007);
}

TEST(LoopTimeTest, DefaultIsTheOrigin) {
  EXPECT_EQ(LoopTime().Nanoseconds(), 0);
}

TEST(LoopTimeTest, IsTotallyOrderedWithTheInfiniteFutureLast) {
  const LoopTime a = LoopTime::FromNanoseconds(kMin);
  const LoopTime b = LoopTime::FromNanoseconds(-1);
  const LoopTime c;
  const LoopTime d = LoopTime::FromNanoseconds(kMax - 1);
  const LoopTime e = LoopTime::InfiniteFuture();
  EXPECT_LT(a, b);
  EXPECT_LT(b, c);
  EXPECT_LT(c, d);
  EXPECT_LT(d, e);
  EXPECT_EQ(e, LoopTime::InfiniteFuture());
}

TEST(LoopTimeTest, AddingSaturatesAtTheInfiniteFuture) {
  const LoopTime late = LoopTime::FromNanoseconds(kMax - 5);
  EXPECT_EQ(late + absl::Seconds(1), LoopTime::InfiniteFuture());
  EXPECT_EQ(late + absl::InfiniteDuration(), LoopTime::InfiniteFuture());
}

TEST(LoopTimeTest, SubtractingSaturatesAtTheStart) {
  const LoopTime early = LoopTime::FromNanoseconds(kMin + 5);
  EXPECT_EQ((early - absl::Seconds(1)).Nanoseconds(), kMin);
  EXPECT_EQ((LoopTime() - absl::InfiniteDuration()).Nanoseconds(), kMin);
}

TEST(LoopTimeTest, InfiniteFutureAbsorbsFiniteSteps) {
  EXPECT_EQ(LoopTime::InfiniteFuture() - absl::Hours(1),
            LoopTime::InfiniteFuture());
  EXPECT_EQ(LoopTime::InfiniteFuture() + absl::Hours(1),
            LoopTime::InfiniteFuture());
}

TEST(LoopTimeTest, PartOfANanosecondRoundsUpSoThatNothingIsEarly) {
  EXPECT_EQ((LoopTime() + absl::Nanoseconds(1) / 4).Nanoseconds(), 1);
  EXPECT_EQ((LoopTime() + absl::Nanoseconds(1.25)).Nanoseconds(), 2);
  EXPECT_EQ((LoopTime() + absl::Nanoseconds(2)).Nanoseconds(), 2);
}

TEST(LoopTimeTest, DifferenceIsADuration) {
  const LoopTime a = LoopTime::FromNanoseconds(1'000);
  EXPECT_EQ(a - LoopTime(), absl::Nanoseconds(1'000));
  EXPECT_EQ(LoopTime() - a, -absl::Nanoseconds(1'000));
  EXPECT_EQ(LoopTime::InfiniteFuture() - a, absl::InfiniteDuration());
}

TEST(LoopTimeTest, DifferenceOfTheExtremesDoesNotOverflow) {
  const LoopTime low = LoopTime::FromNanoseconds(kMin);
  const LoopTime high = LoopTime::FromNanoseconds(kMax - 1);
  EXPECT_GT(high - low, absl::Hours(24 * 365 * 500));
  EXPECT_LT(low - high, -absl::Hours(24 * 365 * 500));
}

TEST(LoopTimeTest, NotANumberBecomesInfiniteAndNotNow) {
  const LoopTime never = LoopTime() + absl::Seconds(std::nan(""));
  EXPECT_TRUE(never == LoopTime::InfiniteFuture() ||
              never.Nanoseconds() == kMin);
}

TEST(LoopTimeTest, CompoundAssignmentMoves) {
  LoopTime t;
  t += absl::Seconds(2);
  t -= absl::Seconds(1);
  EXPECT_EQ(t.Nanoseconds(), 1'000'000'000);
  EXPECT_EQ(absl::Seconds(1) + t, t + absl::Seconds(1));
}

TEST(LoopTimeTest, PrintsReadably) {
  std::ostringstream out;
  out << LoopTime() + absl::Milliseconds(1500) << " "
      << LoopTime::InfiniteFuture();
  EXPECT_EQ(out.str(), "1.5s infinite-future");
}

}  // namespace
}  // namespace coil
