// Timers of the public loop: CallLater() and CallAt().

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;
using Log = std::vector<std::string>;

TEST(TimersTest, RunWhenTheirTimeHasCome) {
  SimulatedLoop loop;
  std::vector<absl::Duration> at;
  const LoopTime start = loop->Now();
  loop->CallLater(absl::Seconds(3), [&] {
    at.push_back(loop->Now() - start);
    loop->Stop();
  });
  loop->CallLater(absl::Seconds(1), [&] { at.push_back(loop->Now() - start); });
  loop->RunForever();
  EXPECT_EQ(at,
            (std::vector<absl::Duration>{absl::Seconds(1), absl::Seconds(3)}));
}

TEST(TimersTest, EqualTimesRunInTheOrderOfTheCalls) {
  SimulatedLoop loop;
  std::vector<int> order;
  const LoopTime when = loop->Now() + absl::Seconds(1);
  for (int i = 0; i < 100; ++i) {
    loop->CallAt(when, [&order, i] { order.push_back(i); });
  }
  loop->CallAt(when, [&] { loop->Stop(); });
  loop->RunForever();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(TimersTest, NegativeDelayIsDueAtOnceInTheOrderOfTime) {
  SimulatedLoop loop;
  Log log;
  loop->CallLater(-absl::Seconds(1), [&] { log.push_back("-1"); });
  loop->CallLater(-absl::Seconds(2), [&] { log.push_back("-2"); });
  loop->CallLater(absl::ZeroDuration(), [&] { log.push_back("0"); });
  loop->CallLater(-absl::InfiniteDuration(), [&] { log.push_back("-inf"); });
  RunOnePass(*loop);
  EXPECT_EQ(log, (Log{"-inf", "-2", "-1", "0"}));
}

TEST(TimersTest, InfiniteDelayNeverRuns) {
  SimulatedLoop loop;
  loop->CallLater(absl::InfiniteDuration(), [] { ADD_FAILURE(); });
  loop->CallAt(LoopTime::InfiniteFuture(), [] { ADD_FAILURE(); });
  loop->CallLater(absl::Hours(24 * 365 * 200), [&] { loop->Stop(); });
  loop->RunForever();
}

TEST(TimersTest, TimeInThePastIsDueAtOnce) {
  SimulatedLoop loop;
  loop->CallLater(absl::Hours(1),
                  [&] { loop->CallAt(LoopTime(), [&] { loop->Stop(); }); });
  loop->RunForever();
  EXPECT_EQ(loop->Now() - LoopTime(), absl::Hours(1));
}

TEST(TimersTest, ZeroDelayWaitsForTheNextPass) {
  SimulatedLoop loop;
  Log log;
  loop->CallSoon([&] {
    loop->CallLater(absl::ZeroDuration(), [&] { log.push_back("later"); });
    log.push_back("first");
  });
  loop->CallSoon([&] { log.push_back("second"); });
  RunOnePass(*loop);
  EXPECT_EQ(log, (Log{"first", "second"}));
  RunOnePass(*loop);
  EXPECT_EQ(log, (Log{"first", "second", "later"}));
}

TEST(TimersTest, TimerThatRearmsItselfAtZeroDoesNotStarveOthers) {
  SimulatedLoop loop;
  int ticks = 0;
  std::function<void()> again = [&] {
    if (++ticks < 1000) {
      loop->CallLater(absl::ZeroDuration(), [&] { again(); });
    }
  };
  loop->CallLater(absl::ZeroDuration(), [&] { again(); });
  int seen = -1;
  loop->CallSoon([&] { loop->CallSoon([&] { seen = ticks; }); });
  loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(ticks, 1000);
  EXPECT_LE(seen, 2);
}

TEST(TimersTest, WhenTellsTheDeadline) {
  SimulatedLoop loop;
  const LoopTime now = loop->Now();
  EXPECT_EQ(loop->CallLater(absl::Seconds(5), [] {}).When(),
            now + absl::Seconds(5));
  EXPECT_EQ(loop->CallAt(now + absl::Hours(1), [] {}).When(),
            now + absl::Hours(1));
  EXPECT_EQ(TimerHandle().When(), LoopTime());
}

TEST(TimersTest, CancelledTimerDoesNotRunAndDropsItsCaptureAtOnce) {
  SimulatedLoop loop;
  auto token = std::make_shared<int>(1);
  TimerHandle timer =
      loop->CallLater(absl::Seconds(1), [token] { ADD_FAILURE(); });
  EXPECT_EQ(token.use_count(), 2);
  timer.Cancel();
  EXPECT_TRUE(timer.Cancelled());
  EXPECT_EQ(token.use_count(), 1);
  loop->CallLater(absl::Seconds(2), [&] { loop->Stop(); });
  loop->RunForever();
}

TEST(TimersTest, CancelledTimerDoesNotKeepVirtualTimeBusy) {
  SimulatedLoop loop;
  loop->CallLater(absl::Hours(5), [] {}).Cancel();
  loop->CallLater(absl::Seconds(2), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(loop->Now() - LoopTime(), absl::Seconds(2));
}

TEST(TimersTest, TimerCancelledByAnotherOfTheSameMomentDoesNotRun) {
  SimulatedLoop loop;
  Log log;
  TimerHandle second;
  loop->CallLater(absl::Seconds(1), [&] {
    log.push_back("first");
    second.Cancel();
  });
  second = loop->CallLater(absl::Seconds(1), [&] { log.push_back("second"); });
  loop->CallLater(absl::Seconds(2), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(log, (Log{"first"}));
}

TEST(TimersTest, CancelAfterTheRunDoesNothing) {
  SimulatedLoop loop;
  TimerHandle timer = loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
  loop->RunForever();
  timer.Cancel();
  EXPECT_FALSE(timer.Cancelled());
}

TEST(TimersTest, DroppingTheHandleDoesNotCancel) {
  SimulatedLoop loop;
  {
    TimerHandle timer =
        loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
  }
  loop->RunForever();
  EXPECT_EQ(loop->Now() - LoopTime(), absl::Seconds(1));
}

TEST(TimersTest, HandleMayOutliveItsLoop) {
  TimerHandle timer;
  Handle handle;
  Handle posted;
  {
    SimulatedLoop loop;
    timer = loop->CallLater(absl::Seconds(1), [] {});
    handle = loop->CallSoon([] {});
    posted = loop->CallSoonThreadSafe([] {});
  }
  timer.Cancel();
  handle.Cancel();
  posted.Cancel();
  EXPECT_FALSE(timer.Cancelled());
  EXPECT_FALSE(handle.Cancelled());
}

TEST(TimersTest, WallClockTimersAreNeverEarly) {
  EventLoop loop;
  std::vector<absl::Duration> early;
  int left = 200;
  for (int i = 0; i < 200; ++i) {
    const LoopTime due = loop.Now() + absl::Microseconds(37 * i);
    loop.CallAt(due, [&, due] {
      MonotonicClock clock;
      if (clock.Now() < due) early.push_back(due - clock.Now());
      if (--left == 0) loop.Stop();
    });
  }
  loop.RunForever();
  EXPECT_TRUE(early.empty());
}

TEST(TimersTest, YearOfSleepsTakesNoTime) {
  SimulatedLoop loop;
  int days = 0;
  std::function<void()> next_day = [&] {
    if (++days == 365) {
      loop->Stop();
    } else {
      loop->CallLater(absl::Hours(24), [&] { next_day(); });
    }
  };
  loop->CallLater(absl::Hours(24), [&] { next_day(); });
  loop->RunForever();
  EXPECT_EQ(loop->Now() - LoopTime(), absl::Hours(24 * 365));
}

}  // namespace
}  // namespace coil
