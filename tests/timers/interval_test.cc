// Interval: the beat, missed ticks, cancellation, misuse, lifetime, and
// reliability row T38.

#include "coil/timers/interval.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using timers_testing::ArmedTimers;
using timers_testing::EndOf;
using timers_testing::HowEnded;
using timers_testing::Now;
using timers_testing::Stall;
using timers_testing::TextOf;
using timers_testing::WaitOf;

constexpr absl::Duration kSecond = absl::Seconds(1);

// Seconds since the start of the clock, for tests whose times are round.
double Seconds(LoopTime t) {
  return absl::ToDoubleSeconds(absl::Nanoseconds(t.Nanoseconds()));
}

// When each of `n` ticks was due, and when it was taken.
struct Ticks {
  std::vector<double> due;
  std::vector<double> taken;
};
Co<void> Take(Interval& interval, int n, Ticks& ticks) {
  for (int i = 0; i < n; ++i) {
    ticks.due.push_back(Seconds(co_await interval.Tick()));
    ticks.taken.push_back(Seconds(Now()));
  }
}

using Times = std::vector<double>;

CORO_TEST(IntervalTest, FirstTickIsAfterOnePeriod) {
  Interval interval(kSecond);
  EXPECT_EQ(interval.Next(), Now() + kSecond);
  EXPECT_EQ(interval.Period(), kSecond);
  Ticks ticks;
  co_await Take(interval, 3, ticks);
  EXPECT_EQ(ticks.due, (Times{1, 2, 3}));
  EXPECT_EQ(ticks.taken, (Times{1, 2, 3}));
}

CORO_TEST(IntervalTest, ImmediateTicksAtOnceWithoutSuspending) {
  Interval interval(kSecond, {.immediate = true});
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(co_await interval.Tick(), Now());
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1);
}

CORO_TEST(IntervalTest, WorkBetweenTheTicksDoesNotShiftTheBeat) {
  for (MissedTicks missed :
       {MissedTicks::kSkip, MissedTicks::kBurst, MissedTicks::kDelay}) {
    Interval interval(kSecond, {.missed = missed});
    const LoopTime start = Now();
    for (int i = 1; i <= 5; ++i) {
      EXPECT_EQ(co_await interval.Tick(), start + kSecond * i);
      co_await Sleep(kSecond * 0.7);
    }
  }
}

CORO_TEST(IntervalTest, CountsFromItsMaking) {
  Interval interval(kSecond);
  co_await Sleep(kSecond / 2);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1);
}

// The row of the header: due at 1, 2, 3, 4 ..., the first is taken at 3.5.
Co<Ticks> AfterADelay(MissedTicks missed) {
  Ticks ticks;
  Interval interval(kSecond, {.missed = missed});
  co_await Sleep(kSecond * 3.5);
  co_await Take(interval, 5, ticks);
  co_return ticks;
}

CORO_TEST(IntervalTest, SkipLeavesOutWhatWasMissed) {
  Ticks ticks = co_await AfterADelay(MissedTicks::kSkip);
  EXPECT_EQ(ticks.due, (Times{1, 4, 5, 6, 7}));
  EXPECT_EQ(ticks.taken, (Times{3.5, 4, 5, 6, 7}));
}

CORO_TEST(IntervalTest, BurstCatchesUp) {
  Ticks ticks = co_await AfterADelay(MissedTicks::kBurst);
  EXPECT_EQ(ticks.due, (Times{1, 2, 3, 4, 5}));
  EXPECT_EQ(ticks.taken, (Times{3.5, 3.5, 3.5, 4, 5}));
}

CORO_TEST(IntervalTest, DelayBeginsANewBeat) {
  Ticks ticks = co_await AfterADelay(MissedTicks::kDelay);
  EXPECT_EQ(ticks.due, (Times{1, 4.5, 5.5, 6.5, 7.5}));
  EXPECT_EQ(ticks.taken, (Times{3.5, 4.5, 5.5, 6.5, 7.5}));
}

CORO_TEST(IntervalTest, SkipTakesATickThatIsDueExactlyNowAsMissed) {
  Interval interval(kSecond);
  co_await Sleep(kSecond * 3);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 4);
}

CORO_TEST(IntervalTest, DelayDoesNotDriftWithJitter) {
  Interval interval(kSecond, {.missed = MissedTicks::kDelay});
  for (int i = 1; i <= 10; ++i) {
    EXPECT_EQ(Seconds(co_await interval.Tick()), i);
    co_await Sleep(interval.Next() + absl::Milliseconds(3) - Now());
  }
}

CORO_TEST(IntervalTest, DelayOfAShortPeriodKeepsTheDistance) {
  // Half a period late is late, whatever the jitter that a second may have.
  Interval interval(absl::Milliseconds(4), {.missed = MissedTicks::kDelay});
  co_await Sleep(absl::Milliseconds(7));
  const LoopTime taken = Now();
  static_cast<void>(co_await interval.Tick());
  EXPECT_EQ(co_await interval.Tick(), taken + absl::Milliseconds(4));
}

CORO_TEST(IntervalTest, ResetBeginsANewBeat) {
  Interval interval(kSecond);
  co_await Sleep(kSecond / 2);
  interval.Reset();
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1.5);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 2.5);
}

CORO_TEST(IntervalTest, ResetMovesATickThatIsWaitedFor) {
  Interval interval(kSecond);
  Ticks ticks;
  Task<void> task = CreateTask(Take(interval, 2, ticks));
  co_await Sleep(kSecond * 0.75);
  interval.Reset();
  co_await task;
  EXPECT_EQ(ticks.due, (Times{1.75, 2.75}));
  EXPECT_EQ(ticks.taken, (Times{1.75, 2.75}));
}

CORO_TEST(IntervalTest, ResetTakesNoTickBackThatHasCome) {
  Interval interval(kSecond * 2);
  Ticks ticks;
  Task<void> task = CreateTask(Take(interval, 3, ticks));
  // Due together with the tick, and runs before the task does.
  EventLoop::Current().CallLater(kSecond * 2, [&interval] {
    interval.Reset();
    interval.Reset();
  });
  co_await task;
  EXPECT_EQ(ticks.due, (Times{2, 4, 6}));
  EXPECT_EQ(ticks.taken, (Times{2, 4, 6}));
}

CORO_TEST(IntervalTest, CancelledTickStaysDue) {
  Interval interval(kSecond);
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond / 2, interval.Tick())),
            "timeout");
  EXPECT_EQ(ArmedTimers(), 0u);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1);
}

CORO_TEST(IntervalTest, TickCancelledAfterItFiredStaysDue) {
  Interval interval(kSecond);
  Ticks ticks;
  Task<void> task = CreateTask(Take(interval, 1, ticks));
  // Due together with the tick, and runs before the task does.
  EventLoop::Current().CallLater(kSecond, [&task] { task.Cancel(); });
  EXPECT_EQ(co_await EndOf(task), "cancelled: ");
  EXPECT_EQ(interval.Next(), LoopTime() + kSecond);
  EXPECT_EQ(Seconds(co_await interval.Tick()), 1);
}

CORO_TEST(IntervalTest, PeriodMustBePositiveAndFinite) {
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [] { Interval interval(absl::ZeroDuration()); }),
            "Interval: the period must be positive and finite, got 0");
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Interval interval(-kSecond); }),
            "Interval: the period must be positive and finite, got -1s");
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [] { Interval interval(absl::InfiniteDuration()); }),
            "Interval: the period must be positive and finite, got inf");
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [] { Interval interval(-absl::InfiniteDuration()); }),
            "Interval: the period must be positive and finite, got -inf");
  co_return;
}

TEST(IntervalTest, NeedsARunningLoop) {
  EXPECT_NE(TextOf<std::runtime_error>([] {
              Interval interval(kSecond);
            }).find("Interval: no running event loop"),
            std::string::npos);
}

CORO_TEST(IntervalTest, SecondWaiterNamesTheRule) {
  Interval interval(kSecond);
  Ticks ticks;
  Task<void> task = CreateTask(Take(interval, 1, ticks));
  co_await Yield();
  EXPECT_EQ(co_await EndOf(interval.Tick()),
            "Interval::Tick: another task waits for the next tick already; "
            "each task needs an Interval of its own");
  co_await task;
  EXPECT_EQ(ticks.due, (Times{1}));
}

TEST(IntervalTest, AnotherLoopNamesTheRule) {
  std::optional<Interval> interval;
  std::string text;
  EventLoop first({.simulation = &timers_testing::kSimulation});
  auto make = [&interval]() -> Co<void> {
    interval.emplace(kSecond);
    co_return;
  };
  first.RunUntilComplete(make());
  auto use = [&]() -> Co<void> { text = co_await EndOf(interval->Tick()); };
  timers_testing::RunVirtually(use);
  EXPECT_NE(text.find("Interval::Tick: the object belongs to another event "
                      "loop"),
            std::string::npos)
      << text;
}

TEST(IntervalTest, ResetNeedsItsLoop) {
  std::optional<Interval> interval;
  auto make = [&interval]() -> Co<void> {
    interval.emplace(kSecond);
    co_return;
  };
  timers_testing::RunVirtually(make);
  EXPECT_THROW(interval->Reset(), std::runtime_error);
}

TEST(IntervalTest, LoopInThePlaceOfItsOwnIsAnotherOne) {
  std::optional<Interval> interval;
  std::optional<EventLoop> loop;
  auto tick = [&]() -> Co<void> {
    if (!interval.has_value()) interval.emplace(kSecond);
    co_await interval->Tick();
  };
  loop.emplace(LoopOptions{.simulation = &timers_testing::kSimulation});
  loop->RunUntilComplete(tick());
  loop.emplace(LoopOptions{.simulation = &timers_testing::kSimulation});
  EXPECT_THROW(loop->RunUntilComplete(tick()), std::runtime_error);
}

CORO_TEST(IntervalTest, DestroyedWhileATaskWaitsNamesTheRule) {
  auto interval = std::make_unique<Interval>(kSecond);
  Task<std::string> task = CreateTask(EndOf(interval->Tick()));
  co_await Yield();
  interval.reset();
  EXPECT_EQ(ArmedTimers(), 0u);
  EXPECT_EQ(co_await task,
            "Interval::Tick: the Interval was destroyed while a task waited "
            "for a tick");
}

CORO_TEST(IntervalTest, DestroyedAfterTheTickHasFired) {
  auto interval = std::make_unique<Interval>(kSecond);
  Task<std::string> task = CreateTask(EndOf(interval->Tick()));
  // Due together with the tick, and runs before the task does.
  EventLoop::Current().CallLater(kSecond, [&] { interval.reset(); });
  EXPECT_EQ(co_await task,
            "Interval::Tick: the Interval was destroyed while a task waited "
            "for a tick");
}

CORO_TEST(IntervalTest, HugePeriodsDoNotOverflow) {
  co_await Sleep(kSecond);
  Interval interval(absl::Nanoseconds(std::numeric_limits<int64_t>::max() - 1));
  EXPECT_EQ(interval.Next(), LoopTime::InfiniteFuture());
  Task<void> task = CreateTask([&interval]() -> Co<void> {
    static_cast<void>(co_await interval.Tick());
  });
  co_await Sleep(absl::Hours(24 * 365 * 100));
  EXPECT_EQ(HowEnded(task), "pending");
  co_await CancelAndWait(task);
}

CORO_TEST(IntervalTest, DumpSaysWhenTheTickIsDue) {
  Interval interval(absl::Seconds(10));
  Ticks ticks;
  Task<void> task = CreateTask(Take(interval, 1, ticks));
  co_await Sleep(absl::Seconds(4));
  EXPECT_EQ(WaitOf(task), "interval, timer in 6s");
  co_await task;
}

TEST(IntervalTest, CancelAtEveryAwaitLeavesNothing) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto interval = std::make_shared<Interval>(kSecond);
    run.AtEnd([interval] {});
    Ticks ticks;
    co_await Take(*interval, 3, ticks);
    EXPECT_EQ(ticks.due, (Times{1, 2, 3}));
  };
  SweepResult result =
      ForEachCancellationPoint(scenario, SweepOptions().SecondCancel());
  EXPECT_GT(result.cancelled, 2u);
}

TEST(IntervalTest, ClosingTheLoopLeavesNothing) {
  auto scenario = []() -> Co<void> {
    Interval interval(kSecond);
    Ticks ticks;
    Task<void> task = CreateTask(Take(interval, 3, ticks));
    co_await task;
  };
  SweepResult result = ForEachDestructionPoint(scenario);
  EXPECT_GT(result.points, 2u);
}

// ---- reliability T38: the process is stopped for a while ------------------

CORO_TEST(ReliabilityT38, SkipDoesNotBurstAfterAStall) {
  Interval interval(absl::Milliseconds(100));
  const LoopTime start = Now();
  int ticks = 0;
  LoopTime last = start;
  for (int stall = 0; stall < 10; ++stall) {
    for (int i = 0; i < 5; ++i) {
      const LoopTime due = co_await interval.Tick();
      EXPECT_LE(due, Now());  // never early
      EXPECT_GT(due, last);
      EXPECT_EQ((due - start) % absl::Milliseconds(100), absl::ZeroDuration());
      last = due;
      ++ticks;
    }
    Stall(absl::Seconds(5));
    co_await Yield();
  }
  // 50 ticks in as many periods, or one late one for each stall.
  EXPECT_EQ(ticks, 50);
  EXPECT_GE(Now() - start, absl::Seconds(50));
}

CORO_TEST(ReliabilityT38, BurstLosesNoTickInAStall) {
  Interval interval(absl::Milliseconds(100), {.missed = MissedTicks::kBurst});
  const LoopTime start = Now();
  for (int i = 1; i <= 1000; ++i) {
    if (i % 100 == 0) {
      Stall(absl::Seconds(5));
      co_await Yield();
    }
    const LoopTime due = co_await interval.Tick();
    EXPECT_EQ(due, start + absl::Milliseconds(100) * i);
    EXPECT_LE(due, Now());
  }
}

CORO_TEST(ReliabilityT38, DelayKeepsAPeriodBetweenTicksAfterAStall) {
  Interval interval(absl::Milliseconds(100), {.missed = MissedTicks::kDelay});
  LoopTime last = Now();
  for (int i = 1; i <= 200; ++i) {
    if (i % 20 == 0) {
      Stall(absl::Seconds(5));
      co_await Yield();
    }
    static_cast<void>(co_await interval.Tick());
    EXPECT_GE(Now() - last, absl::Milliseconds(100));
    last = Now();
  }
}

CORO_TEST(ReliabilityT38, SleepsAreLateButNeverEarlyAfterAStall) {
  std::vector<absl::Duration> late;
  auto sleeper = [&late](absl::Duration delay) -> Co<void> {
    const LoopTime due = Now() + delay;
    co_await Sleep(delay);
    late.push_back(Now() - due);
  };
  std::vector<Task<void>> tasks;
  for (int i = 1; i <= 100; ++i) {
    tasks.push_back(CreateTask(sleeper(absl::Milliseconds(100 * i))));
  }
  for (int i = 0; i < 5; ++i) {
    co_await Sleep(absl::Milliseconds(250));
    Stall(absl::Seconds(1));
  }
  for (auto& task : tasks) co_await task;
  for (absl::Duration d : late) {
    EXPECT_GE(d, absl::ZeroDuration());
    EXPECT_LE(d, absl::Seconds(1));
  }
}

}  // namespace
}  // namespace coil
