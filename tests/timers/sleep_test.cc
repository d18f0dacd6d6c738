// Sleep(), SleepUntil() and Yield(): parity rows A78 and A79.

#include "coil/timers/sleep.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using timers_testing::ArmedTimers;
using timers_testing::EndOf;
using timers_testing::HowEnded;
using timers_testing::Now;
using timers_testing::Stopwatch;
using timers_testing::WaitOf;

Co<void> Record(std::vector<int>& order, int id, absl::Duration delay) {
  co_await Sleep(delay);
  order.push_back(id);
}

CORO_TEST(SleepTest, TakesItsTime) {
  Stopwatch watch;
  co_await Sleep(absl::Hours(24));
  EXPECT_EQ(watch.Elapsed(), absl::Hours(24));
}

CORO_TEST(SleepTest, ZeroIsExactlyOneTurn) {
  Stopwatch watch;
  const uint64_t before = EventLoop::Current().Iterations();
  co_await Sleep(absl::ZeroDuration());
  EXPECT_EQ(EventLoop::Current().Iterations(), before + 1);
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(SleepTest, NegativeIsExactlyOneTurn) {
  Stopwatch watch;
  const uint64_t before = EventLoop::Current().Iterations();
  co_await Sleep(-absl::Seconds(3));
  co_await Sleep(-absl::InfiniteDuration());
  EXPECT_EQ(EventLoop::Current().Iterations(), before + 2);
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(SleepTest, GivesItsResult) {
  EXPECT_EQ(co_await Sleep(absl::Seconds(1), 7), 7);
  EXPECT_EQ(co_await Sleep(absl::ZeroDuration(), std::string("now")), "now");
}

CORO_TEST(SleepTest, ResultMayBeMoveOnly) {
  std::unique_ptr<int> given = std::make_unique<int>(5);
  std::unique_ptr<int> got = co_await Sleep(absl::Seconds(1), std::move(given));
  EXPECT_EQ(*got, 5);
}

CORO_TEST(SleepTest, PartOfANanosecondRoundsUp) {
  Stopwatch watch;
  co_await Sleep(absl::Nanoseconds(1) / 4);
  EXPECT_EQ(watch.Elapsed(), absl::Nanoseconds(1));
}

TEST(SleepTest, EqualDeadlinesWakeInOrderOfStart) {
  std::vector<int> order;
  timers_testing::RunVirtually([&order]() -> Co<void> {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(CreateTask(Record(order, i, absl::Seconds(1))));
    }
    for (auto& task : tasks) co_await task;
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

CORO_TEST(SleepTest, EarlierDeadlinesWakeFirst) {
  std::vector<int> order;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 50; ++i) {
    tasks.push_back(
        CreateTask(Record(order, i, absl::Milliseconds(1000 - 7 * i))));
  }
  for (auto& task : tasks) co_await task;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[i], 49 - i);
}

CORO_TEST(SleepTest, CountsFromTheAwait) {
  Stopwatch watch;
  auto sleep = Sleep(absl::Seconds(2));
  co_await Sleep(absl::Seconds(5));
  co_await std::move(sleep);
  EXPECT_EQ(watch.Elapsed(), absl::Seconds(7));
}

CORO_TEST(SleepTest, CancelEndsItAtOnceAndRemovesTheTimer) {
  Stopwatch watch;
  Task<void> task = CreateTask(Sleep(absl::Hours(1)));
  co_await Yield();
  EXPECT_EQ(ArmedTimers(), 1u);
  task.Cancel("enough");
  EXPECT_EQ(ArmedTimers(), 0u);
  EXPECT_EQ(co_await EndOf(task), "cancelled: enough");
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

// The timer has fired, the task has not run yet: the cancel still counts.
CORO_TEST(SleepTest, CancelAfterTheDeadlineButBeforeTheResumeWins) {
  auto sleeper = []() -> Co<std::string> {
    co_return co_await EndOf(Sleep(absl::Seconds(1), 1));
  };
  Task<std::string> task = CreateTask(sleeper());
  // Due in the same iteration, and runs before the sleeper does.
  EventLoop::Current().CallLater(absl::Seconds(1),
                                 [&task] { task.Cancel("late"); });
  EXPECT_EQ(co_await task, "cancelled: late");
}

CORO_TEST(SleepTest, CancelledBeforeItBeginsArmsNoTimer) {
  auto body = []() -> Co<std::string> {
    CurrentTask().Cancel("me");
    co_return co_await EndOf(Sleep(absl::Hours(1)));
  };
  Stopwatch watch;
  Task<std::string> task = CreateTask(body());
  EXPECT_EQ(co_await task, "cancelled: me");
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(SleepTest, InfiniteSleepsUntilItIsCancelledAndArmsNoTimer) {
  Task<void> task = CreateTask(Sleep(absl::InfiniteDuration()));
  co_await Sleep(absl::Hours(24 * 365 * 200));
  EXPECT_EQ(HowEnded(task), "pending");
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await CancelAndWait(task);
  EXPECT_EQ(HowEnded(task), "cancelled: ");
}

CORO_TEST(SleepTest, UntilAPointOfTheClock) {
  const LoopTime when = Now() + absl::Minutes(3);
  co_await SleepUntil(when);
  EXPECT_EQ(Now(), when);
}

CORO_TEST(SleepTest, UntilThePastIsDueOnTheNextTurn) {
  Stopwatch watch;
  const uint64_t before = EventLoop::Current().Iterations();
  co_await SleepUntil(Now() - absl::Hours(1));
  EXPECT_EQ(EventLoop::Current().Iterations(), before + 1);
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(SleepTest, UntilTheInfiniteFutureNeverEnds) {
  Task<void> task = CreateTask(SleepUntil(LoopTime::InfiniteFuture()));
  co_await Sleep(absl::Hours(24 * 365 * 200));
  EXPECT_EQ(HowEnded(task), "pending");
  co_await CancelAndWait(task);
}

CORO_TEST(SleepTest, DumpSaysHowLongIsLeft) {
  Task<void> task = CreateTask(Sleep(absl::Seconds(10)));
  Task<void> forever = CreateTask(Sleep(absl::InfiniteDuration()));
  co_await Sleep(absl::Seconds(7));
  EXPECT_EQ(WaitOf(task), "timer in 3s");
  EXPECT_EQ(WaitOf(forever), "a timer that never fires");
  co_await CancelAndWait(task);
  co_await CancelAndWait(forever);
}

TEST(SleepTest, ClosingTheLoopInTheMidstOfASleepLeavesNothing) {
  auto scenario = []() -> Co<void> {
    Task<void> a = CreateTask(Sleep(absl::Seconds(1)));
    Task<int> b = CreateTask(Sleep(absl::Seconds(2), 1));
    Task<void> c = CreateTask(Sleep(absl::InfiniteDuration()));
    co_await b;
    co_await a;
    co_await CancelAndWait(c);
  };
  SweepResult result = ForEachDestructionPoint(scenario);
  EXPECT_GT(result.points, 4u);
}

TEST(SleepTest, CancelAtEveryAwaitLeavesNothing) {
  auto scenario = []() -> Co<void> {
    Task<int> a = CreateTask(Sleep(absl::Seconds(2), 1));
    co_await Sleep(absl::Seconds(1));
    co_await Yield();
    co_await SleepUntil(Now() + absl::Seconds(5));
    static_cast<void>(co_await a);
  };
  SweepResult result = ForEachCancellationPoint(
      scenario, SweepOptions().SecondCancel().Seeds(5));
  EXPECT_GT(result.cancelled, 10u);
}

#if defined(NDEBUG) || defined(__OPTIMIZE__)
TEST(SleepTest, AwaiterIsSmall) {
  EXPECT_LE(sizeof(internal::SleepAwaiter), 88u);
  EXPECT_LE(sizeof(internal::YieldAwaiter), 24u);
}
#endif

TEST(YieldTest, IsExactlyOneTurn) {
  timers_testing::RunVirtually([]() -> Co<void> {
    std::vector<int> order;
    auto worker = [&order](int id) -> Co<void> {
      for (int i = 0; i < 3; ++i) {
        order.push_back(10 * i + id);
        co_await Yield();
      }
    };
    Task<void> a = CreateTask(worker(1));
    Task<void> b = CreateTask(worker(2));
    co_await a;
    co_await b;
    EXPECT_EQ(order, (std::vector<int>{1, 2, 11, 12, 21, 22}));
  });
}

CORO_TEST(YieldTest, UsesNoTimer) {
  Task<void> task = CreateTask(Yield());
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await Yield();
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await task;
}

CORO_TEST(YieldTest, CancelDuringATurnIsThrown) {
  auto body = []() -> Co<std::string> { co_return co_await EndOf(Yield()); };
  Task<std::string> task = CreateTask(body());
  task.Cancel("before");  // before its first step: the body never runs
  EXPECT_EQ(co_await EndOf(task), "cancelled: before");

  Task<std::string>* self = nullptr;
  auto other = [&self]() -> Co<std::string> {
    // Scheduled before the yield, so it runs while the task has given way.
    EventLoop::Current().CallSoon([&self] { self->Cancel("meanwhile"); });
    co_return co_await EndOf(Yield());
  };
  Task<std::string> second = CreateTask(other());
  self = &second;
  EXPECT_EQ(co_await second, "cancelled: meanwhile");
}

CORO_TEST(YieldTest, CallbacksScheduledBeforeItRunBeforeItReturns) {
  int ran = 0;
  for (int i = 0; i < 10; ++i) {
    EventLoop::Current().CallSoon([&ran] { ++ran; });
  }
  co_await Yield();
  EXPECT_EQ(ran, 10);
}

// A task that only yields must not keep the descriptors from being looked at.
TEST(YieldTest, DoesNotStarveDescriptors) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto main = [&ends]() -> Co<int> {
    bool seen = false;
    EventLoop& loop = EventLoop::Current();
    loop.AddReader(ends[0], [&seen] { seen = true; });
    EXPECT_EQ(write(ends[1], "x", 1), 1);
    int turns = 0;
    for (; !seen && turns < 1000; ++turns) co_await Yield();
    loop.RemoveReader(ends[0]);
    co_return turns;
  };
  EXPECT_LE(coil::Run(main), 3);
  close(ends[0]);
  close(ends[1]);
}

// ---- reliability T36: overflow and rounding -------------------------------

CORO_TEST(ReliabilityT36, ExtremeDurationsFireOnTimeOrNever) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const absl::Duration delays[] = {
      absl::ZeroDuration(),
      absl::Nanoseconds(1),
      -absl::Nanoseconds(1),
      absl::Milliseconds((int64_t{1} << 31) - 1),
      absl::Milliseconds((int64_t{1} << 31) + 1),
      absl::Milliseconds(int64_t{1} << 32),
      absl::Nanoseconds(kMost / 4),
      absl::Nanoseconds(kMost),
      absl::InfiniteDuration(),
      -absl::InfiniteDuration(),
  };
  co_await Sleep(absl::Seconds(1));  // so that a sum overflows
  for (absl::Duration delay : delays) {
    SCOPED_TRACE(absl::FormatDuration(delay));
    Stopwatch watch;
    Task<void> task = CreateTask(Sleep(delay));
    if (delay >= absl::Nanoseconds(kMost)) {
      co_await Sleep(absl::Hours(24 * 365 * 10));
      EXPECT_EQ(HowEnded(task), "pending");
      co_await CancelAndWait(task);
    } else {
      co_await task;
      EXPECT_EQ(watch.Elapsed(), std::max(delay, absl::ZeroDuration()));
    }
  }
}

CORO_TEST(ReliabilityT36, NoneOfAHundredThousandTimersIsEarly) {
  constexpr int kTimers = 100000;
  int64_t early = 0;
  int64_t late = 0;
  auto sleeper = [&](absl::Duration delay) -> Co<void> {
    Stopwatch watch;
    co_await Sleep(delay);
    if (watch.Elapsed() < delay) ++early;
    if (watch.Elapsed() > delay) ++late;
  };
  uint64_t random = 42;
  std::vector<Task<void>> tasks;
  tasks.reserve(kTimers);
  for (int i = 0; i < kTimers; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    // From nanoseconds to days, all magnitudes alike.
    const int bits = static_cast<int>((random >> 58) % 47);
    const auto nanoseconds =
        static_cast<int64_t>((random >> 8) & ((uint64_t{1} << bits) - 1));
    tasks.push_back(CreateTask(sleeper(absl::Nanoseconds(nanoseconds + 1))));
  }
  for (auto& task : tasks) co_await task;
  EXPECT_EQ(early, 0);
  EXPECT_EQ(late, 0);
}

}  // namespace
}  // namespace coil
