// WaitFor(): parity row A75.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/future.h"
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

using timers_testing::EndOf;
using timers_testing::HowEnded;
using timers_testing::Stopwatch;

constexpr absl::Duration kSecond = absl::Seconds(1);

Co<int> Slow(absl::Duration delay, int n) {
  co_await Sleep(delay);
  co_return n;
}

// Takes a second to end after it was cancelled, and ends as it is told.
Co<int> Stubborn(std::string how) {
  bool cancelled = false;
  try {
    co_await Sleep(absl::Hours(1));
  } catch (const CancelledError&) {
    cancelled = true;
  }
  if (cancelled) co_await Sleep(kSecond);
  if (how == "error") throw std::logic_error("stubborn");
  if (how == "cancelled") throw CancelledError("stubborn");
  co_return 13;
}

CORO_TEST(WaitForTest, GivesTheResultInTime) {
  EXPECT_EQ(co_await WaitFor(Slow(kSecond, 1), absl::Minutes(1)), 1);
  EXPECT_EQ(co_await WaitFor(Sleep(kSecond, 2), absl::Minutes(1)), 2);
  EXPECT_EQ(co_await WaitFor(CreateTask(Slow(kSecond, 3)), absl::Minutes(1)),
            3);
}

CORO_TEST(WaitForTest, RunsInTheSameTask) {
  auto body = []() -> Co<AnyTask> { co_return CurrentTask(); };
  EXPECT_TRUE(co_await WaitFor(body(), kSecond) == CurrentTask());
}

CORO_TEST(WaitForTest, NoLimit) {
  EXPECT_EQ(
      co_await WaitFor(Slow(absl::Hours(1000), 1), absl::InfiniteDuration()),
      1);
}

CORO_TEST(WaitForTest, ExpiryCancelsATaskAndWaitsForItsEnd) {
  Stopwatch watch;
  Task<int> task = CreateTask(Stubborn("cancelled"));
  EXPECT_EQ(co_await EndOf(WaitFor(task, kSecond)), "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond * 2);
  EXPECT_EQ(HowEnded(task), "cancelled: stubborn");
}

CORO_TEST(WaitForTest, ResultOfATaskThatSwallowsTheCancelIsReturned) {
  Stopwatch watch;
  EXPECT_EQ(co_await WaitFor(CreateTask(Stubborn("value")), kSecond), 13);
  EXPECT_EQ(watch.Elapsed(), kSecond * 2);
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(WaitForTest, ResultOfACoroutineThatSwallowsTheCancelIsReturned) {
  EXPECT_EQ(co_await WaitFor(Stubborn("value"), kSecond), 13);
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(WaitForTest, ErrorOfTheCleanupPropagates) {
  EXPECT_EQ(co_await EndOf(WaitFor(CreateTask(Stubborn("error")), kSecond)),
            "stubborn");
  EXPECT_EQ(co_await EndOf(WaitFor(Stubborn("error"), kSecond)), "stubborn");
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(WaitForTest, CancelFromOutsideIsPassedOn) {
  Task<int> inner = CreateTask(Slow(absl::Hours(1), 1));
  Task<int> outer = CreateTask(WaitFor(inner, absl::Minutes(1)));
  co_await Sleep(kSecond);
  outer.Cancel("outside");
  EXPECT_EQ(co_await EndOf(outer), "cancelled: outside");
  EXPECT_EQ(HowEnded(inner), "cancelled: outside");
}

// CPython 86296, 84849: the task is done and the waiter is cancelled before it
// has gone on.
CORO_TEST(WaitForTest, OwnCancelIsNotSwallowedByTheCompletion) {
  Future<int> future;
  Task<int> waiter = CreateTask(WaitFor(future, absl::Minutes(1)));
  co_await Yield();
  future.SetResult(1);
  waiter.Cancel("own");
  EXPECT_EQ(co_await EndOf(waiter), "cancelled: own");
  EXPECT_EQ(future.Result(), 1);  // and the result is not lost
}

CORO_TEST(WaitForTest, ResultThatComesWithTheDeadlineIsNotLost) {
  Future<int> future;
  EventLoop::Current().CallLater(kSecond, [future] {
    if (!future.Done()) future.SetResult(1);
  });
  const std::string end = co_await EndOf(WaitFor(future, kSecond));
  EXPECT_EQ(end, "timeout");
  EXPECT_TRUE(future.Done());
}

// ---- timeout <= 0 ---------------------------------------------------------

CORO_TEST(WaitForZeroTest, DoneFutureGivesItsResult) {
  Future<int> future;
  future.SetResult(4);
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(co_await WaitFor(future, absl::ZeroDuration()), 4);
  EXPECT_EQ(co_await WaitFor(future, -absl::InfiniteDuration()), 4);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

CORO_TEST(WaitForZeroTest, DoneTaskGivesItsErrorOrItsCancellation) {
  Future<int> failed;
  failed.SetException(std::logic_error("done"));
  EXPECT_EQ(co_await EndOf(WaitFor(failed, absl::ZeroDuration())), "done");
  Future<int> cancelled;
  cancelled.Cancel("done");
  EXPECT_EQ(co_await EndOf(WaitFor(cancelled, absl::ZeroDuration())),
            "cancelled: done");
}

CORO_TEST(WaitForZeroTest, CoroutineIsNeverStartedAndNotReported) {
  bool started = false;
  auto body = [&started]() -> Co<int> {
    started = true;
    co_return 1;
  };
  EXPECT_EQ(co_await EndOf(WaitFor(body(), absl::ZeroDuration())), "timeout");
  EXPECT_EQ(co_await EndOf(WaitFor(body(), -kSecond)), "timeout");
  EXPECT_FALSE(started);
  EXPECT_TRUE(TakeReports().empty());
}

CORO_TEST(WaitForZeroTest, OtherOperationsAreNeverStarted) {
  EXPECT_EQ(co_await EndOf(WaitFor(Yield(), absl::ZeroDuration())), "timeout");
}

CORO_TEST(WaitForZeroTest, GivesWayForOneTurn) {
  // Polling with a timeout of zero lets the others run.
  bool done = false;
  auto worker = [&done]() -> Co<void> {
    for (int i = 0; i < 10; ++i) co_await Yield();
    done = true;
  };
  Task<void> task = CreateTask(worker());
  int polls = 0;
  while (!done) {
    EXPECT_EQ(co_await EndOf(WaitFor(Yield(), absl::ZeroDuration())),
              "timeout");
    ++polls;
  }
  EXPECT_LE(polls, 12);
  co_await task;
}

CORO_TEST(WaitForZeroTest, TaskIsCancelledAndWaitedFor) {
  Stopwatch watch;
  Task<int> task = CreateTask(Stubborn("cancelled"));
  co_await Sleep(kSecond);
  EXPECT_EQ(co_await EndOf(WaitFor(task, absl::ZeroDuration())), "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond * 2);
  EXPECT_EQ(HowEnded(task), "cancelled: stubborn");
}

CORO_TEST(WaitForZeroTest, TaskThatHasNotBegunNeverRuns) {
  bool started = false;
  auto body = [&started]() -> Co<void> {
    started = true;
    co_return;
  };
  Task<void> task = CreateTask(body());
  EXPECT_EQ(co_await EndOf(WaitFor(task, absl::ZeroDuration())), "timeout");
  EXPECT_FALSE(started);
}

CORO_TEST(WaitForZeroTest, ResultOrErrorOfTheCancelledTaskCounts) {
  Task<int> value = CreateTask(Stubborn("value"));
  Task<int> error = CreateTask(Stubborn("error"));
  co_await Sleep(kSecond);
  EXPECT_EQ(co_await WaitFor(value, absl::ZeroDuration()), 13);
  EXPECT_EQ(co_await EndOf(WaitFor(error, absl::ZeroDuration())), "stubborn");
}

// As in asyncio, the wait for the end of a cancelled task is itself cancelled
// at once, and the task is not cancelled a second time.
CORO_TEST(WaitForZeroTest, CancelOfTheWaitEndsItAtOnce) {
  Task<int> task = CreateTask(Stubborn("value"));
  co_await Sleep(kSecond);
  Task<int> waiter = CreateTask(WaitFor(task, absl::ZeroDuration()));
  co_await Sleep(kSecond / 2);
  Stopwatch watch;
  waiter.Cancel("own");
  EXPECT_EQ(co_await EndOf(waiter), "cancelled: own");
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
  EXPECT_EQ(task.Cancelling(), 1);
  EXPECT_EQ(co_await task, 13);
}

CORO_TEST(WaitForZeroTest, PendingFutureIsCancelled) {
  Future<int> future;
  EXPECT_EQ(co_await EndOf(WaitFor(future, absl::ZeroDuration())), "timeout");
  EXPECT_TRUE(future.Cancelled());
}

CORO_TEST(WaitForZeroTest, WaitingForOneselfNamesTheRule) {
  auto body = []() -> Co<std::string> {
    std::string text;
    AnyTask self = CurrentTask();
    try {
      static_cast<void>(
          co_await WaitFor(Task<std::string>(AnyTask::Core::Share(self.core())),
                           absl::ZeroDuration()));
    } catch (const std::runtime_error& e) {
      text = e.what();
    }
    co_return text;
  };
  EXPECT_NE(co_await CreateTask(body), "");
}

// A task that is cancelled by itself, just when its limit passes, makes a
// TimeoutError of it, as in asyncio.
TEST(WaitForTest, CancelAtEveryAwaitLeavesNothing) {
  auto scenario = []() -> Co<void> {
    Task<int> task = CreateTask(Stubborn("value"));
    static_cast<void>(co_await WaitFor(task, kSecond));
    Task<int> again = CreateTask(Stubborn("value"));
    co_await Sleep(kSecond);
    static_cast<void>(co_await WaitFor(again, absl::ZeroDuration()));
    static_cast<void>(co_await WaitFor(Slow(kSecond, 1), absl::Minutes(1)));
  };
  SweepResult result = ForEachCancellationPoint(
      scenario,
      SweepOptions().SecondCancel().Seeds(3).AllowError<TimeoutError>());
  EXPECT_GT(result.cancelled, 5u);
}

TEST(WaitForTest, ClosingTheLoopLeavesNothing) {
  auto scenario = []() -> Co<void> {
    Task<int> task = CreateTask(Stubborn("value"));
    static_cast<void>(co_await WaitFor(task, kSecond));
    Task<int> again = CreateTask(Stubborn("value"));
    co_await Sleep(kSecond);
    static_cast<void>(co_await WaitFor(again, absl::ZeroDuration()));
  };
  SweepResult result = ForEachDestructionPoint(scenario);
  EXPECT_GT(result.points, 4u);
}

}  // namespace
}  // namespace coil
