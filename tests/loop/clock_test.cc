#include "coil/loop/clock.h"

#include <ctime>
#include <thread>
#include <vector>

#include "coil/loop/internal/syscalls.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

// Example of clock.h.
absl::Duration Elapsed() {
  coil::VirtualClock clock;
  coil::LoopTime start = clock.Now();
  clock.AdvanceTo(start + absl::Hours(24));
  return clock.Now() - start;
}

int64_t g_fake_seconds = 0;

int FakeClockGettime(clockid_t, timespec* now) {
  now->tv_sec = g_fake_seconds;
  now->tv_nsec = 0;
  return 0;
}

clockid_t g_asked = -1;

int RecordClockGettime(clockid_t clock, timespec* now) {
  g_asked = clock;
  return ::clock_gettime(clock, now);
}

TEST(VirtualClockTest, ExampleOfTheHeader) {
  EXPECT_EQ(Elapsed(), absl::Hours(24));
}

TEST(VirtualClockTest, StandsStillUntilItIsMoved) {
  VirtualClock clock;
  EXPECT_EQ(clock.Now(), LoopTime());
  EXPECT_EQ(clock.Now(), LoopTime());
}

TEST(VirtualClockTest, DoesNotGoBack) {
  VirtualClock clock;
  clock.AdvanceTo(LoopTime() + absl::Seconds(5));
  clock.AdvanceTo(LoopTime() + absl::Seconds(3));
  EXPECT_EQ(clock.Now(), LoopTime() + absl::Seconds(5));
}

TEST(VirtualClockTest, SkipsWhenItsLoopIsIdle) {
  VirtualClock clock;
  EXPECT_TRUE(clock.SkipTo(LoopTime() + absl::Hours(1)));
  EXPECT_EQ(clock.Now(), LoopTime() + absl::Hours(1));
}

TEST(MonotonicClockTest, CannotSkip) {
  MonotonicClock clock;
  EXPECT_FALSE(clock.SkipTo(clock.Now() + absl::Hours(1)));
}

TEST(MonotonicClockTest, NeverGoesBackInAThread) {
  MonotonicClock clock;
  LoopTime last = clock.Now();
  for (int i = 0; i < 10'000; ++i) {
    const LoopTime now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(MonotonicClockTest, HidesThatTheSystemClockWentBack) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.clock_gettime = FakeClockGettime;
  internal::ScopedSyscalls scope(&table);
  MonotonicClock clock;
  g_fake_seconds = 100;
  const LoopTime first = clock.Now();
  g_fake_seconds = 40;
  EXPECT_EQ(clock.Now(), first);
  g_fake_seconds = 101;
  EXPECT_EQ(clock.Now() - first, absl::Seconds(1));
}

TEST(MonotonicClockTest, DoesNotAskForTheTimeOfDay) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.clock_gettime = RecordClockGettime;
  internal::ScopedSyscalls scope(&table);
  MonotonicClock clock;
  clock.Now();
  EXPECT_EQ(g_asked, CLOCK_MONOTONIC);
}

TEST(ClockThreadsTest, MayBeReadFromManyThreads) {
  MonotonicClock monotonic;
  VirtualClock virtual_clock;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        monotonic.Now();
        virtual_clock.Now();
      }
    });
  }
  for (int i = 0; i < 1000; ++i) {
    virtual_clock.AdvanceTo(LoopTime() + absl::Seconds(i));
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(virtual_clock.Now(), LoopTime() + absl::Seconds(999));
}

}  // namespace
}  // namespace coil
