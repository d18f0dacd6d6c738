// WithTimeout(), WithTimeoutAt(), Timeout: parity rows A82 to A91.

#include "coil/timers/timeout.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/loop_time.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
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

constexpr absl::Duration kSecond = absl::Seconds(1);

Co<int> Quick(int n) { co_return n; }
Co<int> Slow(absl::Duration delay, int n) {
  co_await Sleep(delay);
  co_return n;
}
Co<int> Fails(absl::Duration delay) {
  co_await Sleep(delay);
  throw std::logic_error("broken");
}

// ---- what it is given, and what it gives ----------------------------------

CORO_TEST(WithTimeoutTest, GivesTheResultOfACoroutine) {
  EXPECT_EQ(co_await WithTimeout(kSecond, Quick(3)), 3);
  EXPECT_EQ(co_await WithTimeout(kSecond, Slow(kSecond / 2, 4)), 4);
}

CORO_TEST(WithTimeoutTest, CancelsWhatTakesTooLong) {
  Stopwatch watch;
  bool cleaned_up = false;
  auto slow = [&cleaned_up]() -> Co<void> {
    struct Mark {
      bool& flag;
      ~Mark() { flag = true; }
    } mark{cleaned_up};
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_THROW(co_await WithTimeout(kSecond, slow()), TimeoutError);
  EXPECT_TRUE(cleaned_up);
  EXPECT_EQ(watch.Elapsed(), kSecond);
}

CORO_TEST(WithTimeoutTest, TakesALeafOperation) {
  EXPECT_EQ(co_await WithTimeout(kSecond, Sleep(kSecond / 2, 5)), 5);
  EXPECT_THROW(co_await WithTimeout(kSecond, Sleep(kSecond * 2, 5)),
               TimeoutError);
}

CORO_TEST(WithTimeoutTest, TakesATaskAndCancelsItOnExpiry) {
  Task<int> task = CreateTask(Slow(absl::Hours(1), 1));
  EXPECT_THROW(co_await WithTimeout(kSecond, task), TimeoutError);
  EXPECT_EQ(HowEnded(task), "cancelled: ");
}

CORO_TEST(WithTimeoutTest, ResultOfATaskIsCopiedIfItIsStillHeld) {
  auto make = []() -> Co<std::string> { co_return "text"; };
  Task<std::string> task = CreateTask(make());
  std::string text = co_await WithTimeout(kSecond, task);
  EXPECT_EQ(text, "text");
  EXPECT_EQ(task.Result(), "text");
}

CORO_TEST(WithTimeoutTest, TakesAFutureAndCancelsIt) {
  Future<int> late;
  EXPECT_THROW(co_await WithTimeout(kSecond, late), TimeoutError);
  EXPECT_TRUE(late.Cancelled());
  Future<int> early;
  EventLoop::Current().CallLater(kSecond / 2, [early] { early.SetResult(8); });
  EXPECT_EQ(co_await WithTimeout(kSecond, early), 8);
}

CORO_TEST(WithTimeoutTest, ShieldedWorkGoesOn) {
  Task<int> task = CreateTask(Slow(kSecond * 3, 6));
  EXPECT_THROW(co_await WithTimeout(kSecond, Shield(task)), TimeoutError);
  EXPECT_EQ(HowEnded(task), "pending");
  EXPECT_EQ(co_await task, 6);
}

CORO_TEST(WithTimeoutTest, TakesABody) {
  EXPECT_EQ(co_await WithTimeout(
                kSecond, [&]() -> Co<int> { co_return co_await Quick(1); }),
            1);
  EXPECT_THROW(
      co_await WithTimeout(
          kSecond, [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); }),
      TimeoutError);
}

CORO_TEST(WithTimeoutTest, TakesABodyThatIsNoCoroutine) {
  EXPECT_EQ(co_await WithTimeout(kSecond, [&] { return 9; }), 9);
  int calls = 0;
  co_await WithTimeout(kSecond, [&] { ++calls; });
  co_await WithTimeout(kSecond, [&](TimeoutScope&) { ++calls; });
  EXPECT_EQ(calls, 2);
}

CORO_TEST(WithTimeoutTest, TakesANamedBodyByReference) {
  auto kept = std::make_unique<int>(11);
  auto body = [kept = std::move(kept)]() -> Co<int> {
    co_await Yield();
    co_return *kept;
  };
  EXPECT_EQ(co_await WithTimeout(kSecond, body), 11);
  EXPECT_EQ(co_await WithTimeout(kSecond, body), 11);
}

CORO_TEST(WithTimeoutTest, OwnsABodyThatIsGivenToATask) {
  Task<int> task;
  {
    int n = 21;
    auto body = [n]() -> Co<int> {
      co_await Sleep(kSecond / 2);
      co_return 2 * n;
    };
    task = CreateTask(WithTimeout(kSecond, std::move(body)));
  }
  EXPECT_EQ(co_await task, 42);
}

CORO_TEST(WithTimeoutTest, ResultMayBeMoveOnly) {
  auto make = []() -> Co<std::unique_ptr<int>> {
    co_await Sleep(kSecond / 2);
    co_return std::make_unique<int>(12);
  };
  std::unique_ptr<int> got = co_await WithTimeout(kSecond, make());
  EXPECT_EQ(*got, 12);
}

CORO_TEST(WithTimeoutTest, ResultMayBeAReference) {
  int value = 1;
  auto refer = [&value]() -> Co<int&> { co_return value; };
  int& got = co_await WithTimeout(kSecond, refer());
  EXPECT_EQ(&got, &value);
}

CORO_TEST(WithTimeoutTest, IsACoroutineForEveryPurpose) {
  Co<int> stored = WithTimeout(kSecond, Quick(1));
  EXPECT_EQ(co_await std::move(stored), 1);
  std::vector<Co<int>> several;
  several.push_back(WithTimeout(kSecond, Slow(kSecond / 2, 2)));
  several.push_back(WithTimeoutAt(Now() + kSecond, Quick(3)));
  EXPECT_EQ(co_await std::move(several[0]), 2);
  EXPECT_EQ(co_await std::move(several[1]), 3);
  EXPECT_EQ(co_await CreateTask(WithTimeout(kSecond, Quick(4))), 4);
}

TEST(WithTimeoutTest, MayBeTheMainProgram) {
  EXPECT_EQ(coil::Run(WithTimeout(kSecond, Quick(5)), timers_testing::kVirtual),
            5);
  EXPECT_THROW(coil::Run(WithTimeout(kSecond, Slow(absl::Hours(1), 5)),
                         timers_testing::kVirtual),
               TimeoutError);
}

CORO_TEST(WithTimeoutTest, DroppedWithoutAnAwaitIsReported) {
  {
    auto dropped = WithTimeout(kSecond, Quick(1));
  }
  std::vector<std::string> reports = TakeReports();
  CO_ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("was never awaited"), std::string::npos);
  co_return;
}

CORO_TEST(WithTimeoutTest, AwaitedTwiceNamesTheRule) {
  auto once = WithTimeout(kSecond, Quick(1));
  EXPECT_EQ(co_await std::move(once), 1);
  EXPECT_THROW(co_await std::move(once), std::runtime_error);
}

// ---- A82: how long --------------------------------------------------------

CORO_TEST(WithTimeoutTest, InfiniteIsNoLimit) {
  Stopwatch watch;
  EXPECT_EQ(co_await WithTimeout(absl::InfiniteDuration(),
                                 Slow(absl::Hours(24 * 365), 1)),
            1);
  Task<int> task =
      CreateTask(WithTimeout(absl::InfiniteDuration(), Slow(kSecond, 2)));
  co_await Yield();
  co_await Yield();
  EXPECT_EQ(ArmedTimers(), 1u);  // that of the sleep
  EXPECT_EQ(co_await task, 2);
}

CORO_TEST(WithTimeoutTest, CountsFromTheAwait) {
  auto limited = WithTimeout(kSecond, Slow(kSecond / 2, 1));
  co_await Sleep(absl::Hours(1));
  EXPECT_EQ(co_await std::move(limited), 1);
}

CORO_TEST(WithTimeoutTest, ZeroFiresAtTheNextSuspension) {
  EXPECT_EQ(co_await WithTimeout(absl::ZeroDuration(), Quick(1)), 1);
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(
      co_await EndOf(WithTimeout(absl::ZeroDuration(), Sleep(absl::Hours(1)))),
      "timeout");
  EXPECT_EQ(EventLoop::Current().Iterations(), before + 1);
}

CORO_TEST(WithTimeoutTest, NegativeIsAsZero) {
  Stopwatch watch;
  for (absl::Duration delay :
       {-absl::Nanoseconds(1), -absl::Hours(1), -absl::InfiniteDuration()}) {
    EXPECT_EQ(co_await WithTimeout(delay, Quick(1)), 1);
    EXPECT_EQ(co_await EndOf(WithTimeout(delay, Yield())), "timeout");
  }
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(WithTimeoutTest, HugeLimitsDoNotOverflow) {
  co_await Sleep(kSecond);
  for (absl::Duration delay :
       {absl::Nanoseconds(std::numeric_limits<int64_t>::max()),
        absl::Hours(24 * 365 * 1000), absl::Milliseconds(int64_t{1} << 32)}) {
    EXPECT_EQ(co_await WithTimeout(delay, Slow(absl::Hours(24), 1)), 1);
  }
}

// ---- A83: timeout_at ------------------------------------------------------

CORO_TEST(WithTimeoutAtTest, CancelsAtThatPoint) {
  const LoopTime when = Now() + kSecond;
  co_await Sleep(kSecond / 4);
  EXPECT_EQ(co_await EndOf(WithTimeoutAt(when, Sleep(absl::Hours(1)))),
            "timeout");
  EXPECT_EQ(Now(), when);
}

CORO_TEST(WithTimeoutAtTest, ThePastIsDueOnTheNextTurn) {
  Stopwatch watch;
  const LoopTime past = Now() - absl::Hours(1);
  EXPECT_EQ(co_await WithTimeoutAt(past, Quick(1)), 1);
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(co_await EndOf(WithTimeoutAt(past, Sleep(absl::Hours(1)))),
            "timeout");
  EXPECT_EQ(EventLoop::Current().Iterations(), before + 1);
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(WithTimeoutAtTest, InfiniteFutureIsNoLimit) {
  EXPECT_EQ(co_await WithTimeoutAt(LoopTime::InfiniteFuture(),
                                   Slow(absl::Hours(24), 1)),
            1);
}

CORO_TEST(WithTimeoutAtTest, TakesABody) {
  auto body = [&](TimeoutScope& scope) -> Co<LoopTime> {
    co_return scope.When();
  };
  const LoopTime when = Now() + kSecond;
  EXPECT_EQ(co_await WithTimeoutAt(when, body), when);
}

// ---- A84 to A86: the scope ------------------------------------------------

CORO_TEST(TimeoutScopeTest, KnowsItsDeadline) {
  co_await WithTimeout(kSecond, [&](TimeoutScope& scope) -> Co<void> {
    EXPECT_EQ(scope.When(), Now() + kSecond);
    EXPECT_FALSE(scope.Expired());
    co_return;
  });
  co_await WithTimeout(absl::InfiniteDuration(), [&](TimeoutScope& scope) {
    EXPECT_EQ(scope.When(), LoopTime::InfiniteFuture());
  });
}

CORO_TEST(TimeoutScopeTest, RescheduleMovesTheDeadlineLater) {
  Stopwatch watch;
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    co_await Sleep(kSecond / 2);
    scope.Reschedule(scope.When() + kSecond * 2);
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond * 3);
}

CORO_TEST(TimeoutScopeTest, RescheduleMovesTheDeadlineSooner) {
  Stopwatch watch;
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    scope.Reschedule(Now() + kSecond);
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(absl::Minutes(1), body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond);
}

CORO_TEST(TimeoutScopeTest, RescheduleToThePastIsDueOnTheNextTurn) {
  Stopwatch watch;
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    scope.Reschedule(Now() - absl::Hours(1));
    co_await Yield();
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(absl::Minutes(1), body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), absl::ZeroDuration());
}

CORO_TEST(TimeoutScopeTest, RescheduleToTheInfiniteFutureTakesTheLimitAway) {
  auto body = [&](TimeoutScope& scope) -> Co<int> {
    co_await Yield();
    EXPECT_EQ(ArmedTimers(), 1u);
    scope.Reschedule(LoopTime::InfiniteFuture());
    EXPECT_EQ(ArmedTimers(), 0u);
    EXPECT_EQ(scope.When(), LoopTime::InfiniteFuture());
    co_return co_await Slow(absl::Hours(1), 1);
  };
  EXPECT_EQ(co_await WithTimeout(kSecond, body), 1);
}

CORO_TEST(TimeoutScopeTest, RescheduleGivesALimitWhereThereWasNone) {
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    scope.Reschedule(Now() + kSecond);
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(absl::InfiniteDuration(), body)),
            "timeout");
}

CORO_TEST(TimeoutScopeTest, AnotherTaskMayReschedule) {
  std::optional<TimeoutScope> scope;
  auto body = [&scope](TimeoutScope& given) -> Co<void> {
    scope = given;
    co_await Sleep(absl::Hours(1));
  };
  Stopwatch watch;
  Task<std::string> task = CreateTask(EndOf(WithTimeout(kSecond, body)));
  co_await Sleep(kSecond / 2);
  scope->Reschedule(Now() + absl::Minutes(1));
  EXPECT_EQ(co_await task, "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond / 2 + absl::Minutes(1));
}

CORO_TEST(TimeoutScopeTest, RescheduleWhileExpiringNamesTheRule) {
  std::string text;
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    bool cancelled = false;
    try {
      co_await Sleep(absl::Hours(1));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    EXPECT_TRUE(cancelled);
    EXPECT_TRUE(scope.Expired());
    text = timers_testing::TextOf<std::runtime_error>(
        [&] { scope.Reschedule(Now() + kSecond); });
  };
  co_await WithTimeout(kSecond, body);
  EXPECT_EQ(text,
            "Reschedule: the timeout is expiring, it has cancelled its task");
}

// ---- A87: whose cancellation ----------------------------------------------

CORO_TEST(TimeoutRuleTest, CancelFromOutsideIsCancelledError) {
  Task<int> task = CreateTask(WithTimeout(kSecond, Slow(absl::Hours(1), 1)));
  co_await Sleep(kSecond / 2);
  task.Cancel("outside");
  EXPECT_EQ(co_await EndOf(task), "cancelled: outside");
}

CORO_TEST(TimeoutRuleTest, CancelFromOutsideInTheSameIterationWins) {
  Task<int> first = CreateTask(WithTimeout(kSecond, Slow(absl::Hours(1), 1)));
  // Due together with the limit, after it, and before the task has run.
  EventLoop::Current().CallLater(kSecond,
                                 [&first] { first.Cancel("outside"); });
  EXPECT_EQ(co_await EndOf(first), "cancelled: outside");
  EXPECT_EQ(first.Cancelling(), 1);
}

CORO_TEST(TimeoutRuleTest, CountAtEntryIsKept) {
  // A stale request from before the entry does not turn the timeout into a
  // cancellation.
  std::string end;
  auto body = [&]() -> Co<void> {
    CurrentTask().Cancel("stale");
    EXPECT_EQ(co_await EndOf(Yield()), "cancelled: stale");
    EXPECT_EQ(CurrentTask().Cancelling(), 1);
    end = co_await EndOf(WithTimeout(kSecond, Sleep(absl::Hours(1))));
    EXPECT_EQ(CurrentTask().Cancelling(), 1);
  };
  co_await CreateTask(body);
  EXPECT_EQ(end, "timeout");
}

CORO_TEST(TimeoutRuleTest, RequestTakenBackInTheBodyDoesNotCount) {
  std::string end;
  auto limited = [&]() -> Co<void> {
    std::string first = co_await EndOf(Sleep(absl::Hours(1)));
    EXPECT_EQ(first, "cancelled: outside");
    EXPECT_EQ(CurrentTask().Uncancel(), 0);
    co_await Sleep(absl::Hours(1));
  };
  auto body = [&]() -> Co<void> {
    end = co_await EndOf(WithTimeout(kSecond, limited));
  };
  Task<void> task = CreateTask(body);
  co_await Sleep(kSecond / 2);
  task.Cancel("outside");
  co_await task;
  EXPECT_EQ(end, "timeout");
}

CORO_TEST(TimeoutRuleTest, CountIsBackAfterATimeout) {
  auto body = [&]() -> Co<void> {
    EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, Sleep(absl::Hours(1)))),
              "timeout");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Sleep(kSecond);  // is not cancelled
  };
  co_await CreateTask(body);
}

CORO_TEST(TimeoutRuleTest, ErrorsOfTheBodyPassThrough) {
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, Fails(kSecond / 2))), "broken");
  auto body = [&]() -> Co<void> {
    throw std::logic_error("at once");
    co_return;
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, body)), "at once");
  EXPECT_EQ(co_await EndOf(WithTimeout(
                kSecond, [&]() -> int { throw std::logic_error("plain"); })),
            "plain");
  EXPECT_EQ(ArmedTimers(), 0u);
}

CORO_TEST(TimeoutRuleTest, ErrorThrownInsteadOfTheCancelPassesThrough) {
  auto body = [&]() -> Co<void> {
    bool cancelled = false;
    try {
      co_await Sleep(absl::Hours(1));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    if (cancelled) throw std::logic_error("instead");
  };
  auto runner = [&]() -> Co<void> {
    EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, body)), "instead");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  co_await CreateTask(runner);
}

CORO_TEST(TimeoutRuleTest, OperationThatEndsAtTheDeadlineIsGivenBack) {
  // Both timers are due in one iteration, and that of the sleep was armed
  // first.
  auto body = [&]() -> Co<void> {
    auto sleep = Sleep(kSecond, 1);
    EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, std::move(sleep))),
              "timeout");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  co_await CreateTask(body);
}

CORO_TEST(TimeoutRuleTest, ChildCancelledByAnotherIsNoTimeout) {
  Task<int> child = CreateTask(Slow(absl::Hours(1), 1));
  EventLoop::Current().CallLater(kSecond / 2, [child] { child.Cancel("it"); });
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, child)), "cancelled: it");
}

// ---- A88: nesting ---------------------------------------------------------

CORO_TEST(TimeoutNestingTest, InnerLimitRaisesInside) {
  std::string inner;
  auto body = [&]() -> Co<int> {
    inner = co_await EndOf(WithTimeout(kSecond, Sleep(absl::Hours(1))));
    co_return 1;
  };
  EXPECT_EQ(co_await WithTimeout(absl::Minutes(1), body), 1);
  EXPECT_EQ(inner, "timeout");
}

CORO_TEST(TimeoutNestingTest, OuterLimitIsACancellationInside) {
  std::string inner;
  auto innermost = [&]() -> Co<void> {
    inner =
        co_await EndOf(WithTimeout(absl::Minutes(1), Sleep(absl::Hours(1))));
    CurrentTask();
    throw CancelledError(inner);
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, innermost)), "timeout");
  EXPECT_EQ(inner, "cancelled: ");
}

CORO_TEST(TimeoutNestingTest, SameDeadlineRaisesOnlyOutside) {
  std::vector<std::string> ends;
  const LoopTime when = Now() + kSecond;
  auto level2 = [&]() -> Co<void> {
    std::exception_ptr error;
    try {
      co_await WithTimeoutAt(when, Sleep(absl::Hours(1)));
    } catch (...) {
      error = std::current_exception();
    }
    ends.push_back(timers_testing::Describe(error));
    std::rethrow_exception(error);
  };
  auto level1 = [&]() -> Co<void> {
    std::exception_ptr error;
    try {
      co_await WithTimeoutAt(when, level2);
    } catch (...) {
      error = std::current_exception();
    }
    ends.push_back(timers_testing::Describe(error));
    std::rethrow_exception(error);
  };
  auto runner = [&]() -> Co<void> {
    ends.push_back(co_await EndOf(WithTimeoutAt(when, level1)));
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  co_await CreateTask(runner);
  EXPECT_EQ(ends, (std::vector<std::string>{
                      "cancelled: ", "cancelled: ", "timeout"}));
}

// The inner limit is armed at another time than the outer one, with the same
// deadline: entered in a later step, or moved there.
CORO_TEST(TimeoutNestingTest, SameDeadlineEnteredLaterRaisesOnlyOutside) {
  std::vector<std::string> ends;
  const LoopTime when = Now() + kSecond;
  auto body = [&]() -> Co<void> {
    co_await Sleep(kSecond / 2);
    auto move = [&](TimeoutScope& scope) -> Co<void> {
      scope.Reschedule(when);
      co_await Sleep(absl::Hours(1));
    };
    ends.push_back(co_await EndOf(WithTimeout(absl::Hours(2), move)));
    throw CancelledError("passed on");
  };
  ends.push_back(co_await EndOf(WithTimeoutAt(when, body)));
  EXPECT_EQ(ends, (std::vector<std::string>{"cancelled: ", "timeout"}));
}

CORO_TEST(TimeoutNestingTest, MovedInTheStepOfItsEntryStaysBehindTheOuterOne) {
  std::vector<std::string> ends;
  const LoopTime when = Now() + kSecond;
  auto move = [&](TimeoutScope& scope) -> Co<void> {
    scope.Reschedule(when);
    co_await Sleep(absl::Hours(1));
  };
  auto body = [&]() -> Co<void> {
    ends.push_back(co_await EndOf(WithTimeout(absl::Hours(2), move)));
    throw CancelledError("passed on");
  };
  ends.push_back(co_await EndOf(WithTimeoutAt(when, body)));
  EXPECT_EQ(ends, (std::vector<std::string>{"cancelled: ", "timeout"}));
}

CORO_TEST(TimeoutNestingTest, LimitsInThePastRaiseOnlyOutside) {
  std::string inner;
  auto body = [&]() -> Co<void> {
    inner = co_await EndOf(
        WithTimeoutAt(Now() - absl::Hours(5), Sleep(absl::Hours(1))));
    throw CancelledError(inner);
  };
  EXPECT_EQ(co_await EndOf(WithTimeoutAt(Now() - kSecond, body)), "timeout");
  EXPECT_EQ(inner, "cancelled: ");
}

CORO_TEST(TimeoutNestingTest, WrappedDirectly) {
  auto twice = WithTimeout(absl::Minutes(1), WithTimeout(kSecond, Quick(1)));
  EXPECT_EQ(co_await std::move(twice), 1);
  EXPECT_EQ(co_await EndOf(WithTimeout(
                absl::Minutes(1), WithTimeout(kSecond, Sleep(absl::Hours(1))))),
            "timeout");
  EXPECT_EQ(co_await EndOf(WithTimeout(
                kSecond, WithTimeout(absl::Minutes(1), Sleep(absl::Hours(1))))),
            "timeout");
}

CORO_TEST(TimeoutNestingTest, HundredThousandLimitsInOneStep) {
  struct Nest {
    static Co<int> Down(int n) {
      if (n == 0) {
        co_await Yield();
        co_return 0;
      }
      co_return 1 + co_await WithTimeout(absl::Hours(1), Down(n - 1));
    }
  };
  EXPECT_EQ(co_await Nest::Down(100000), 100000);
  EXPECT_EQ(ArmedTimers(), 0u);
}

// ---- A89: the body swallows the cancel ------------------------------------

CORO_TEST(TimeoutRuleTest, BodyThatSwallowsTheCancelSucceeds) {
  bool expired = false;
  auto body = [&](TimeoutScope& scope) -> Co<int> {
    EXPECT_EQ(co_await EndOf(Sleep(absl::Hours(1))), "cancelled: ");
    expired = scope.Expired();
    co_await Sleep(kSecond);  // and may go on waiting
    co_return 7;
  };
  auto runner = [&]() -> Co<void> {
    EXPECT_EQ(co_await WithTimeout(kSecond, body), 7);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Sleep(kSecond);
  };
  co_await CreateTask(runner);
  EXPECT_TRUE(expired);
}

// The limit passes while the body has given way in the midst of a long run of
// awaits that complete at once, and none of its awaits blocks afterwards.
CORO_TEST(TimeoutRuleTest, RequestThatWasNotDeliveredDoesNotHitTheNextAwait) {
  auto runner = [&](int stale) -> Co<void> {
    for (int i = 0; i < stale; ++i) {
      CurrentTask().Cancel("stale");
      EXPECT_EQ(co_await EndOf(Yield()), "cancelled: stale");
    }
    auto body = [&](TimeoutScope& scope) -> Co<int> {
      [[maybe_unused]] long sum = 0;
      while (!scope.Expired()) {
        timers_testing::Stall(absl::Milliseconds(100));
        for (int i = 0; i < 5000; ++i) sum += co_await Quick(1);
      }
      co_return 5;
    };
    EXPECT_EQ(co_await WithTimeout(kSecond, body), 5);
    EXPECT_EQ(CurrentTask().Cancelling(), stale);
    EXPECT_EQ(co_await EndOf(Yield()), "ok");
  };
  co_await CreateTask(runner(0));
  co_await CreateTask(runner(1));
}

// The same with a request that waits to be delivered already: that one is not
// the limit's, and the next await that blocks delivers it.
CORO_TEST(TimeoutRuleTest, RequestThatWaitedAtTheEntryIsNotLost) {
  auto runner = [&]() -> Co<void> {
    CurrentTask().Cancel("outside");
    auto body = [&](TimeoutScope& scope) -> Co<int> {
      [[maybe_unused]] long sum = 0;
      while (!scope.Expired()) {
        timers_testing::Stall(absl::Milliseconds(100));
        for (int i = 0; i < 5000; ++i) sum += co_await Quick(1);
      }
      co_return 5;
    };
    EXPECT_EQ(co_await WithTimeout(kSecond, body), 5);
    EXPECT_EQ(CurrentTask().Cancelling(), 1);
    EXPECT_EQ((co_await EndOf(Yield())).substr(0, 9), "cancelled");
  };
  co_await CreateTask(runner());
}

TEST(TimeoutNestingTest, LimitsOfOneStepPassInTheOrderOfEntry) {
  timers_testing::RunVirtually([]() -> Co<void> {
    std::string order;
    Task<void> second;
    auto sleeps = [&]() -> Co<void> {
      EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, Sleep(absl::Hours(1)))),
                "timeout");
      order += '2';
    };
    // The other one enters its limit later, in the same step.
    auto body = [&]() -> Co<void> {
      second = CreateTask(sleeps(), {.eager_start = true});
      co_await Sleep(absl::Hours(1));
    };
    EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, body)), "timeout");
    order += '1';
    co_await second;
    EXPECT_EQ(order, "12");
  });
}

// ---- outcomes without exceptions ------------------------------------------

CORO_TEST(WithTimeoutTest, AsStatusIsDeadlineExceeded) {
  absl::StatusOr<int> late =
      co_await AsStatus(WithTimeout(kSecond, Slow(absl::Hours(1), 1)));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  absl::StatusOr<int> leaf =
      co_await AsStatus(WithTimeout(kSecond, Sleep(absl::Hours(1), 1)));
  EXPECT_EQ(leaf.status().code(), absl::StatusCode::kDeadlineExceeded);
  absl::StatusOr<int> in_time =
      co_await AsStatus(WithTimeout(kSecond, Quick(1)));
  EXPECT_EQ(*in_time, 1);
}

CORO_TEST(WithTimeoutTest, SettleThrowsACancelFromOutside) {
  auto body = [&]() -> Co<void> {
    static_cast<void>(
        co_await Settle(WithTimeout(kSecond, Slow(absl::Hours(1), 1))));
  };
  Task<void> task = CreateTask(body);
  co_await Sleep(kSecond / 2);
  task.Cancel("outside");
  EXPECT_EQ(co_await EndOf(task), "cancelled: outside");
}

// ---- timers ---------------------------------------------------------------

CORO_TEST(WithTimeoutTest, TimerIsArmedOnlyWhileTheTaskWaits) {
  Task<int> task = CreateTask(WithTimeout(kSecond, Slow(kSecond / 2, 1)));
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await Sleep(kSecond / 4);
  EXPECT_EQ(ArmedTimers(), 2u);
  co_await task;
  EXPECT_EQ(ArmedTimers(), 0u);
}

CORO_TEST(WithTimeoutTest, EagerChildrenDoNotDisturbTheLimit) {
  auto body = [&]() -> Co<void> {
    Task<int> child = CreateTask(WithTimeout(kSecond * 2, Slow(kSecond, 1)),
                                 {.eager_start = true});
    EXPECT_EQ(co_await child, 1);
    co_await Sleep(absl::Hours(1));
  };
  Stopwatch watch;
  EXPECT_EQ(co_await EndOf(WithTimeout(absl::Minutes(1), body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), absl::Minutes(1));
}

CORO_TEST(WithTimeoutTest, WaitIsThatOfTheOperation) {
  Task<void> task = CreateTask(WithTimeout(kSecond, Sleep(absl::Minutes(1))));
  co_await Yield();
  EXPECT_EQ(WaitOf(task), "timer in 1m");
  co_await CancelAndWait(task);
}

TEST(WithTimeoutTest, ClosingTheLoopLeavesNothing) {
  auto scenario = []() -> Co<void> {
    auto body = []() -> Co<void> {
      co_await WithTimeout(absl::Minutes(1), Slow(kSecond, 1));
      co_await WithTimeout(absl::Minutes(1), Sleep(kSecond));
    };
    Task<void> a = CreateTask(WithTimeout(absl::Minutes(2), body));
    Task<void> b = CreateTask(WithTimeout(absl::Minutes(2), a));
    static_cast<void>(co_await EndOf(b));
  };
  SweepResult result = ForEachDestructionPoint(scenario);
  EXPECT_GE(result.points, 4u);
}

TEST(WithTimeoutTest, CancelAtEveryAwaitLeavesNothing) {
  auto scenario = []() -> Co<void> {
    auto body = [](TimeoutScope& scope) -> Co<void> {
      static_cast<void>(
          co_await WithTimeout(absl::Minutes(1), Slow(kSecond, 1)));
      scope.Reschedule(scope.When() + kSecond);
      co_await WithTimeout(absl::Minutes(1), Sleep(kSecond));
    };
    Task<void> task = CreateTask(WithTimeout(absl::Minutes(2), body));
    co_await WithTimeout(absl::Minutes(3), task);
    Task<int> slow = CreateTask(Slow(absl::Hours(1), 1));
    std::exception_ptr error;
    try {
      static_cast<void>(co_await WithTimeout(kSecond, slow));
    } catch (const TimeoutError&) {
    }
  };
  SweepResult result = ForEachCancellationPoint(
      scenario, SweepOptions().SecondCancel().Seeds(3));
  EXPECT_GT(result.cancelled, 10u);
}

}  // namespace
}  // namespace coil
