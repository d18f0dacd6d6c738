// Waiting allocates nothing: no timer, no limit, no place in a line.

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/interval.h"
#include "coil/timers/rate_limiter.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using coil_testing::AllocationCount;
using timers_testing::RunVirtually;

constexpr absl::Duration kSecond = absl::Seconds(1);

// Frames come from the pool, so that a second round needs no new ones; under
// AddressSanitizer there is no pool, and only operations without frames count.
constexpr bool kPooledFrames = COIL_FRAME_POOL;

TEST(TimersAllocationTest, SleepAllocatesNothing) {
  RunVirtually([]() -> Co<void> {
    co_await Sleep(kSecond);
    const long before = AllocationCount();
    for (int i = 0; i < 100; ++i) {
      co_await Sleep(kSecond);
      static_cast<void>(co_await Sleep(kSecond, i));
      co_await SleepUntil(timers_testing::Now() + kSecond);
    }
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

TEST(TimersAllocationTest, YieldAllocatesNothing) {
  RunVirtually([]() -> Co<void> {
    co_await Yield();
    const long before = AllocationCount();
    for (int i = 0; i < 100; ++i) co_await Yield();
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

TEST(TimersAllocationTest, TimeoutAroundALeafAllocatesNothing) {
  RunVirtually([]() -> Co<void> {
    co_await WithTimeout(kSecond, Yield());
    const long before = AllocationCount();
    for (int i = 0; i < 100; ++i) {
      co_await WithTimeout(kSecond, Yield());
      co_await WithTimeout(kSecond, Sleep(kSecond / 2));
      co_await WithTimeoutAt(LoopTime::InfiniteFuture(), Sleep(kSecond));
      co_await WithTimeout(kSecond, WithTimeout(kSecond, Yield()));
    }
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

Co<int> Child(int i) {
  co_await Yield();
  co_return i;
}

TEST(TimersAllocationTest, TimeoutAroundACoroutineCostsNoFrameOfItsOwn) {
  RunVirtually([]() -> Co<void> {
    static_cast<void>(co_await Child(0));
    long before = AllocationCount();
    for (int i = 0; i < 100; ++i) static_cast<void>(co_await Child(i));
    const long plain = AllocationCount() - before;
    before = AllocationCount();
    for (int i = 0; i < 100; ++i) {
      static_cast<void>(co_await WithTimeout(kSecond, Child(i)));
    }
    EXPECT_EQ(AllocationCount() - before, plain);
    if (kPooledFrames) {
      EXPECT_EQ(plain, 0);
    }
  });
}

TEST(TimersAllocationTest, WaitForReusesItsFrame) {
  if (!kPooledFrames) return;  // nothing is reused there
  RunVirtually([]() -> Co<void> {
    static_cast<void>(co_await WaitFor(Child(0), kSecond));
    const long before = AllocationCount();
    for (int i = 0; i < 100; ++i) {
      static_cast<void>(co_await WaitFor(Child(i), kSecond));
    }
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

TEST(TimersAllocationTest, IntervalAllocatesNothing) {
  RunVirtually([]() -> Co<void> {
    const long before = AllocationCount();
    Interval interval(kSecond);
    for (int i = 0; i < 100; ++i) static_cast<void>(co_await interval.Tick());
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

TEST(TimersAllocationTest, RateLimiterAllocatesNothing) {
  RunVirtually([]() -> Co<void> {
    const long before = AllocationCount();
    RateLimiter limiter(10, 2);
    for (int i = 0; i < 100; ++i) co_await limiter.Acquire();
    EXPECT_EQ(AllocationCount() - before, 0);
  });
}

}  // namespace
}  // namespace coil
