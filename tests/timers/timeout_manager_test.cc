// Timeout in a With(): parity rows A82 to A91 for the manager.

#include <memory>
#include <stdexcept>
#include <string>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "coil/task/testing.h"
#include "coil/task/with.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using timers_testing::ArmedTimers;
using timers_testing::EndOf;
using timers_testing::Now;
using timers_testing::Stopwatch;
using timers_testing::TextOf;

constexpr absl::Duration kSecond = absl::Seconds(1);

CORO_TEST(TimeoutManagerTest, BodyInTimeDoesNotExpire) {
  Timeout limit(kSecond);
  co_await With(limit, [&]() -> Co<void> { co_await Sleep(kSecond / 2); });
  EXPECT_FALSE(limit.Expired());
  EXPECT_EQ(ArmedTimers(), 0u);
}

CORO_TEST(TimeoutManagerTest, GivesTheResultOfTheBody) {
  Timeout limit(kSecond);
  EXPECT_EQ(co_await With(limit, [&]() -> Co<int> { co_return 3; }), 3);
}

CORO_TEST(TimeoutManagerTest, ExpiryIsTimeoutError) {
  Timeout limit(kSecond);
  auto body = [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); };
  EXPECT_THROW(co_await With(limit, body), TimeoutError);
  EXPECT_TRUE(limit.Expired());
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(TimeoutManagerTest, CountsFromWhereItIsMade) {
  Stopwatch watch;
  Timeout limit(kSecond);
  EXPECT_EQ(limit.When(), Now() + kSecond);
  co_await Sleep(kSecond / 2);
  auto body = [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); };
  EXPECT_EQ(co_await EndOf(With(limit, body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), kSecond);
}

CORO_TEST(TimeoutManagerTest, MayBeAPointOfTheClock) {
  Timeout limit(Now() + kSecond);
  auto body = [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); };
  EXPECT_EQ(co_await EndOf(With(limit, body)), "timeout");
}

CORO_TEST(TimeoutManagerTest, BodyMayTakeTheScope) {
  Timeout limit(kSecond);
  Stopwatch watch;
  auto body = [&](TimeoutScope& scope) -> Co<void> {
    EXPECT_EQ(scope.When(), limit.When());
    scope.Reschedule(Now() + absl::Minutes(1));
    EXPECT_EQ(scope.When(), limit.When());
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_EQ(co_await EndOf(With(limit, body)), "timeout");
  EXPECT_EQ(watch.Elapsed(), absl::Minutes(1));
}

CORO_TEST(TimeoutManagerTest, ExpiredStaysTrueIfTheBodySwallowsTheCancel) {
  Timeout limit(kSecond);
  auto body = [&]() -> Co<void> {
    EXPECT_EQ(co_await EndOf(Sleep(absl::Hours(1))), "cancelled: ");
    EXPECT_TRUE(limit.Expired());
  };
  co_await With(limit, body);
  EXPECT_TRUE(limit.Expired());
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(TimeoutManagerTest, RescheduleInAWrongStateNamesTheRule) {
  Timeout limit(kSecond);
  auto reschedule = [&] { limit.Reschedule(Now() + kSecond); };
  EXPECT_EQ(TextOf<std::runtime_error>(reschedule),
            "Reschedule: the timeout has not been entered yet");
  co_await With(limit, [&]() -> Co<void> {
    reschedule();
    co_return;
  });
  EXPECT_EQ(TextOf<std::runtime_error>(reschedule),
            "Reschedule: the timeout is over, it was left");
  Timeout passed(kSecond);
  auto body = [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); };
  EXPECT_EQ(co_await EndOf(With(passed, body)), "timeout");
  EXPECT_EQ(TextOf<std::runtime_error>([&] { passed.Reschedule(Now()); }),
            "Reschedule: the timeout has expired");
}

CORO_TEST(TimeoutManagerTest, EnteredTwiceNamesTheRule) {
  Timeout limit(kSecond);
  co_await With(limit, [&]() -> Co<void> { co_return; });
  auto body = [&]() -> Co<void> { co_return; };
  EXPECT_EQ(co_await EndOf(With(limit, body)),
            "Timeout: it has been entered already; make one for each With()");
}

TEST(TimeoutManagerTest, NeedsARunningLoop) {
  EXPECT_NE(TextOf<std::runtime_error>([] {
              Timeout limit(kSecond);
            }).find("Timeout: no running event loop"),
            std::string::npos);
}

CORO_TEST(TimeoutManagerTest, InfiniteIsNoLimit) {
  Timeout limit(absl::InfiniteDuration());
  EXPECT_EQ(limit.When(), LoopTime::InfiniteFuture());
  co_await With(limit, [&]() -> Co<void> { co_await Sleep(absl::Hours(99)); });
  EXPECT_FALSE(limit.Expired());
}

CORO_TEST(TimeoutManagerTest, NegativeFiresAtTheNextSuspension) {
  Timeout limit(-absl::InfiniteDuration());
  auto body = [&]() -> Co<void> { co_await Yield(); };
  EXPECT_EQ(co_await EndOf(With(limit, body)), "timeout");
}

CORO_TEST(TimeoutManagerTest, CancelFromOutsideWins) {
  Timeout limit(kSecond);
  auto body = [&]() -> Co<void> { co_await Sleep(absl::Hours(1)); };
  Task<void> task = CreateTask(With(limit, body));
  EventLoop::Current().CallLater(kSecond, [&task] { task.Cancel("outside"); });
  EXPECT_EQ(co_await EndOf(task), "cancelled: outside");
  EXPECT_TRUE(limit.Expired());
}

CORO_TEST(TimeoutManagerTest, NestedInAnyOrderOfLeaving) {
  // An exit stack may leave limits in another order than it entered them.
  Timeout first(kSecond * 2);
  Timeout second(kSecond);
  static_cast<void>(co_await first.AEnter());
  static_cast<void>(co_await second.AEnter());
  co_await first.AExit(nullptr);
  EXPECT_EQ(ArmedTimers(), 1u);
  EXPECT_EQ(co_await EndOf(Sleep(absl::Hours(1))), "cancelled: ");
  EXPECT_TRUE(second.Expired());
  EXPECT_EQ(
      co_await EndOf(second.AExit(std::make_exception_ptr(CancelledError()))),
      "timeout");
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(TimeoutManagerTest, MayDieBeforeItIsLeft) {
  {
    Timeout dropped(kSecond);
    static_cast<void>(co_await dropped.AEnter());
    co_await Yield();
    EXPECT_EQ(ArmedTimers(), 1u);
  }
  {
    Timeout dropped(kSecond);
    static_cast<void>(co_await dropped.AEnter());
  }
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await Sleep(absl::Hours(1));
}

// The frame of the With() dies with its loop, the Timeout lives on.
TEST(TimeoutManagerTest, OutlivesItsLoop) {
  auto limit = std::make_unique<std::unique_ptr<Timeout>>();
  {
    EventLoop loop({.simulation = &timers_testing::kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    loop.CallSoon([&] {
      *limit = std::make_unique<Timeout>(absl::Hours(1));
      auto body = []() -> Co<void> { co_await Sleep(absl::Hours(2)); };
      CreateTask([&limit, body]() -> Co<void> {
        auto named = body;
        co_await With(**limit, named);
      });
    });
    loop.CallLater(kSecond, [&loop] { loop.Stop(); });
    loop.RunForever();
  }
  EXPECT_FALSE((*limit)->Expired());
}

// ---- A90: with a task group -----------------------------------------------

CORO_TEST(TimeoutGroupTest, LimitCancelsTheGroup) {
  int cancelled = 0;
  auto body = [&](TaskGroup& group) -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      group.CreateTask([&cancelled]() -> Co<void> {
        if (co_await EndOf(Sleep(absl::Hours(1))) == "cancelled: ") ++cancelled;
      });
    }
    co_return;
  };
  EXPECT_EQ(co_await EndOf(WithTimeout(kSecond, WithTaskGroup(body))),
            "timeout");
  EXPECT_EQ(cancelled, 3);
  EXPECT_EQ(CurrentTask().Cancelling(), 0);
}

CORO_TEST(TimeoutGroupTest, ErrorsOfTheChildrenWin) {
  auto child = []() -> Co<void> {
    static_cast<void>(co_await EndOf(Sleep(absl::Hours(1))));
    throw std::logic_error("cleanup failed");
  };
  auto body = [&](TaskGroup& group) -> Co<void> {
    group.CreateTask(child);
    co_return;
  };
  auto runner = [&]() -> Co<void> {
    bool grouped = false;
    try {
      co_await WithTimeout(kSecond, WithTaskGroup(body));
    } catch (const ExceptionGroup& group) {
      grouped = group.Contains<std::logic_error>();
    }
    EXPECT_TRUE(grouped);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    EXPECT_EQ(co_await EndOf(Yield()), "ok");
  };
  co_await CreateTask(runner);
}

CORO_TEST(TimeoutGroupTest, LimitsInTheChildrenAreTheirOwn) {
  auto child = [](absl::Duration limit) -> Co<void> {
    co_await WithTimeout(limit, Sleep(kSecond));
  };
  auto body = [&](TaskGroup& group) -> Co<void> {
    group.CreateTask(child(kSecond * 2));
    group.CreateTask(child(kSecond / 2));
    co_return;
  };
  bool timeout = false;
  try {
    co_await WithTimeout(absl::Minutes(1), WithTaskGroup(body));
  } catch (const ExceptionGroup& group) {
    timeout = group.Contains<TimeoutError>();
  }
  EXPECT_TRUE(timeout);
}

}  // namespace
}  // namespace coil
