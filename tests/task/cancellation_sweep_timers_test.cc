// The package timers, cancelled and destroyed wherever it waits.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/sync/event.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/gather.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "coil/task/with.h"
#include "coil/tests/task/sweep_scenario.h"
#include "coil/timers/interval.h"
#include "coil/timers/rate_limiter.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

Co<int> Later(int seconds) {
  co_await Sleep(absl::Seconds(seconds));
  co_await Yield();
  co_return seconds;
}

SWEEP_SCENARIO(SleepsAndYields) {
  co_await Sleep(absl::Seconds(1));
  co_await Yield();
  co_await Sleep(absl::ZeroDuration());
  EXPECT_EQ(co_await Sleep(absl::Seconds(1), std::string("done")), "done");
  co_await SleepUntil(EventLoop::Current().Now() + absl::Seconds(1));
}

SWEEP_SCENARIO(SleepersWithOneDeadline) {
  co_await Gather(Later(1), Later(1), Later(1));
}

SWEEP_SCENARIO(TimeoutThatDoesNotPass) {
  EXPECT_EQ(co_await WithTimeout(absl::Seconds(5), Later(1)), 1);
}

SWEEP_SCENARIO(TimeoutThatPasses) {
  bool late = false;
  try {
    co_await WithTimeout(absl::Seconds(1), Later(5));
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_TRUE(late);
}

// The end of the operation and the limit come in the same turn.
SWEEP_SCENARIO(TimeoutThatPassesJustThen) {
  try {
    co_await WithTimeout(absl::Seconds(1), Sleep(absl::Seconds(1)));
  } catch (const TimeoutError&) {
  }
}

SWEEP_SCENARIO(TimeoutOfZero) {
  bool late = false;
  try {
    co_await WithTimeout(absl::ZeroDuration(), Later(1));
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_TRUE(late);
}

SWEEP_SCENARIO(TimeoutWithoutALimit) {
  EXPECT_EQ(co_await WithTimeout(absl::InfiniteDuration(), Later(1)), 1);
}

SWEEP_SCENARIO(TimeoutWithinATimeout) {
  int late = 0;
  try {
    co_await WithTimeout(absl::Seconds(3), [&]() -> Co<void> {
      try {
        co_await WithTimeout(absl::Seconds(1), Later(9));
      } catch (const TimeoutError&) {
        ++late;
      }
      co_await Later(9);
    });
  } catch (const TimeoutError&) {
    ++late;
  }
  EXPECT_EQ(late, 2);
}

SWEEP_SCENARIO(TimeoutsThatPassAtOnce) {
  int late = 0;
  try {
    co_await WithTimeout(absl::Seconds(1),
                         WithTimeout(absl::Seconds(1), Later(9)));
  } catch (const TimeoutError&) {
    ++late;
  }
  EXPECT_EQ(late, 1);
}

SWEEP_SCENARIO(TimeoutThatIsMoved) {
  co_await WithTimeout(absl::Seconds(1), [](TimeoutScope& scope) -> Co<void> {
    scope.Reschedule(scope.When() + absl::Seconds(5));
    co_await Later(3);
    EXPECT_FALSE(scope.Expired());
  });
}

SWEEP_SCENARIO(TimeoutWhoseBodyCleansUp) {
  auto cleaned = std::make_shared<int>(0);
  auto begun = std::make_shared<int>(0);
  bool late = false;
  try {
    co_await WithTimeout(absl::Seconds(1), [&]() -> Co<void> {
      ++*begun;
      std::exception_ptr error;
      try {
        co_await Later(9);
      } catch (...) {
        error = std::current_exception();
      }
      ++*cleaned;
      co_await Yield();
      if (error != nullptr) std::rethrow_exception(error);
    });
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_EQ(*begun, *cleaned);
  EXPECT_TRUE(late);
}

SWEEP_SCENARIO(TimeoutObject) {
  Timeout timeout(absl::Seconds(1));
  bool late = false;
  try {
    co_await With(timeout, []() -> Co<void> { co_await Later(9); });
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_TRUE(late);
  EXPECT_TRUE(timeout.Expired());
}

SWEEP_SCENARIO(WaitForATask) {
  Task<int> task = CreateTask(Later(9));
  bool late = false;
  try {
    co_await WaitFor(task, absl::Seconds(1));
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_TRUE(late);
  EXPECT_TRUE(task.Done());
}

SWEEP_SCENARIO(TimeoutAroundAShield) {
  Task<int> task = CreateTask(Later(3));
  bool late = false;
  try {
    co_await WithTimeout(absl::Seconds(1), Shield(task));
  } catch (const TimeoutError&) {
    late = true;
  }
  // The task itself may have been cancelled.
  EXPECT_TRUE(late);
  EXPECT_EQ(co_await task, 3);
}

SWEEP_SCENARIO(TimeoutAroundATaskGroup) {
  bool late = false;
  try {
    co_await WithTimeout(absl::Seconds(1), [&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        group.CreateTask(Later(5));
        group.CreateTask(Later(6));
        co_return;
      });
    });
  } catch (const TimeoutError&) {
    late = true;
  }
  // Cancelled one by one, the tasks may all have ended before the limit.
  EXPECT_TRUE(late || run.Injects());
}

SWEEP_SCENARIO(TimeoutAroundAGather) {
  bool late = false;
  try {
    co_await WithTimeout(absl::Seconds(1), Gather(Later(5), Later(6)));
  } catch (const TimeoutError&) {
    late = true;
  }
  EXPECT_TRUE(late);
}

Co<void> EndWithin(std::shared_ptr<Event> event, absl::Duration limit) {
  try {
    co_await WithTimeout(limit, event->Wait());
  } catch (const TimeoutError&) {
  }
}

SWEEP_SCENARIO(TimeoutsOfManyAtOneEvent) {
  auto event = std::make_shared<Event>();
  auto set = [](std::shared_ptr<Event> e) -> Co<void> {
    co_await Sleep(absl::Seconds(2));
    e->Set();
  };
  co_await Gather(EndWithin(event, absl::Seconds(1)),
                  EndWithin(event, absl::Seconds(2)),
                  EndWithin(event, absl::Seconds(3)), set(event));
}

SWEEP_SCENARIO(IntervalOfThreeTicks) {
  auto interval = std::make_shared<Interval>(absl::Seconds(1));
  LoopTime last = EventLoop::Current().Now();
  for (int i = 0; i < 3; ++i) {
    const LoopTime due = co_await interval->Tick();
    EXPECT_EQ(due - last, absl::Seconds(1));
    last = due;
  }
}

SWEEP_SCENARIO(IntervalThatIsLate) {
  Interval interval(absl::Seconds(1), {.missed = MissedTicks::kBurst});
  co_await Sleep(absl::Milliseconds(3500));
  for (int i = 0; i < 4; ++i) co_await interval.Tick();
}

Co<void> TakeTokens(std::shared_ptr<RateLimiter> limiter, int n) {
  co_await limiter->Acquire(n);
}

SWEEP_SCENARIO(RateLimiterWithALine) {
  auto limiter = std::make_shared<RateLimiter>(1, 3);
  co_await Gather(TakeTokens(limiter, 3), TakeTokens(limiter, 2),
                  TakeTokens(limiter, 1), TakeTokens(limiter, 3));
  // Nothing was lost: after a while the bucket is full again.
  co_await Sleep(absl::Seconds(10));
  EXPECT_EQ(limiter->Available(), 3);
}

Co<void> TakeWithin(std::shared_ptr<RateLimiter> limiter, int n) {
  try {
    co_await WithTimeout(absl::Milliseconds(1500), limiter->Acquire(n));
  } catch (const TimeoutError&) {
  }
}

SWEEP_SCENARIO(RateLimiterUnderTimeouts) {
  auto limiter = std::make_shared<RateLimiter>(1, 2);
  co_await Gather(TakeWithin(limiter, 2), TakeWithin(limiter, 2),
                  TakeWithin(limiter, 1), TakeWithin(limiter, 1));
  co_await Sleep(absl::Seconds(10));
  EXPECT_EQ(limiter->Available(), 2);
}

}  // namespace
}  // namespace coil
