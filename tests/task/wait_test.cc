// Wait: asyncio's wait, rows A71 to A74.

#include "coil/task/wait.h"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/task/future.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

std::vector<Task<int>> ThreeTasks() {
  return {CreateTask(After(3, 1)), CreateTask(After(1, 2)),
          CreateTask(After(2, 3))};
}

TEST(WaitTest, AllCompletedWaitsForTheLast) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    auto [done, pending, timed_out] = co_await Wait(tasks);
    EXPECT_EQ(done, tasks);
    EXPECT_TRUE(pending.empty());
    EXPECT_FALSE(timed_out);
    EXPECT_EQ(SecondsSince(start), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstCompletedReturnsWithTheFirst) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(result.done, (std::vector<Task<int>>{tasks[1]}));
    EXPECT_EQ(result.pending, (std::vector<Task<int>>{tasks[0], tasks[2]}));
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(result.done[0].Result(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstCompletedLoopSeesEachTaskOnce) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> pending = ThreeTasks();
    std::vector<int> order;
    const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
    while (!pending.empty()) {
      WaitResult<Task<int>> result = co_await Wait(std::move(pending), options);
      for (const Task<int>& task : result.done) order.push_back(task.Result());
      pending = std::move(result.pending);
    }
    EXPECT_EQ(order, (std::vector<int>{2, 3, 1}));
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstCompletedCountsACancelledTask) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = ThreeTasks();
    tasks[2].Cancel();
    const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(result.done, (std::vector<Task<int>>{tasks[2]}));
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, SetsAreComputedOnResume) {
  auto main = []() -> Co<void> {
    Future<int> a;
    Future<int> b;
    Future<int> c;
    EventLoop::Current().CallLater(absl::Seconds(1), [a, b] {
      a.SetResult(1);
      b.SetResult(2);
    });
    const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
    std::vector<Future<int>> futures = {a, b, c};
    WaitResult<Future<int>> result = co_await Wait(futures, options);
    EXPECT_EQ(result.done.size(), 2u);
    EXPECT_EQ(result.pending.size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstExceptionReturnsOnTheFirstError) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = {CreateTask(After(1, 1)),
                                    CreateTask(FailAfter(2, "no")),
                                    CreateTask(After(3, 3))};
    const WaitOptions options = {.return_when = ReturnWhen::kFirstException};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(SecondsSince(start), 2);
    EXPECT_EQ(result.done.size(), 2u);
    EXPECT_EQ(result.pending, (std::vector<Task<int>>{tasks[2]}));
    EXPECT_THROW(tasks[1].Result(), std::runtime_error);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstExceptionIsNotTriggeredByACancelledTask) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    EventLoop::Current().CallLater(absl::Milliseconds(500),
                                   [&] { tasks[1].Cancel(); });
    const WaitOptions options = {.return_when = ReturnWhen::kFirstException};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(SecondsSince(start), 3);
    EXPECT_EQ(result.done.size(), 3u);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, FirstExceptionReturnsAtOnceForAnOldError) {
  auto main = []() -> Co<void> {
    Task<int> failed = CreateTask(FailAfter(1, "old"));
    co_await Settle(failed);
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = {CreateTask(After(9, 1)), failed};
    const WaitOptions options = {.return_when = ReturnWhen::kFirstException};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(SecondsSince(start), 0);
    EXPECT_EQ(result.done, (std::vector<Task<int>>{failed}));
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, NothingIsThrownOrCancelled) {
  auto main = []() -> Co<void> {
    Task<int> failed = CreateTask(FailAfter(1, "no"));
    Task<int> cancelled = CreateTask(After(9, 1));
    cancelled.Cancel();
    std::vector<AnyTask> tasks = {failed, cancelled};
    WaitResult<AnyTask> result = co_await Wait(tasks);
    EXPECT_EQ(result.done.size(), 2u);
    EXPECT_THROW(failed.Result(), std::runtime_error);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, ErrorsDoNotCountAsRetrieved) {
  auto main = []() -> Co<void> {
    Reports reports;
    {
      std::vector<Task<int>> tasks = {CreateTask(FailAfter(1, "unread"))};
      co_await Wait(std::move(tasks));
    }
    EXPECT_EQ(reports.texts.size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, TakesTasksOfDifferentTypes) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(1, 1));
    Task<void> b = CreateTask(Pause(2));
    Future<std::string> c;
    const WaitOptions options = {.timeout = absl::Seconds(3)};
    WaitResult<AnyTask> result = co_await Wait(options, a, b, c);
    EXPECT_EQ(result.done, (std::vector<AnyTask>{a, b}));
    EXPECT_EQ(result.pending, (std::vector<AnyTask>{c}));
    EXPECT_TRUE(result.timed_out);
    c.SetResult("");
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, DuplicatesAreCollapsed) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(1, 1));
    Task<int> b = CreateTask(After(2, 1));
    std::vector<Task<int>> tasks = {a, b, a, a, b};
    const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(result.done, (std::vector<Task<int>>{a}));
    EXPECT_EQ(result.pending, (std::vector<Task<int>>{b}));
    WaitResult<Task<int>> all = co_await Wait(tasks);
    EXPECT_EQ(all.done, (std::vector<Task<int>>{a, b}));
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, DoneFromTheStartReturnsWithoutGivingWay) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(1, 1));
    co_await a;
    bool other = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    WaitResult<Task<int>> result = co_await Wait(std::vector<Task<int>>(1, a));
    EXPECT_EQ(result.done.size(), 1u);
    EXPECT_FALSE(other);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, TenThousandTasks) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 10000; ++i)
      tasks.push_back(CreateTask(After(i % 5, i)));
    const WaitOptions options = {.timeout = absl::Milliseconds(2500)};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(result.done.size(), 6000u);
    EXPECT_EQ(result.pending.size(), 4000u);
    WaitResult<Task<int>> rest = co_await Wait(std::move(result.pending));
    EXPECT_EQ(rest.done.size(), 4000u);
  };
  coil::Run(main, kVirtual);
}

// ---- timeout
// -----------------------------------------------------------------

TEST(WaitTimeoutTest, ReturnsWhatIsDoneAndLeavesTheRestRunning) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    const WaitOptions options = {.timeout = absl::Milliseconds(1500)};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_EQ(SecondsSince(start), 1.5);
    EXPECT_TRUE(result.timed_out);
    EXPECT_EQ(result.done, (std::vector<Task<int>>{tasks[1]}));
    EXPECT_EQ(result.pending.size(), 2u);
    EXPECT_EQ(co_await tasks[0], 1);
    EXPECT_EQ(tasks[0].Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, IsGoneOnceTheTasksAreDone) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    const WaitOptions options = {.timeout = absl::Hours(1)};
    WaitResult<Task<int>> result = co_await Wait(tasks, options);
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(SecondsSince(start), 3);
    // A timer left behind would wake the task out of this sleep.
    co_await Sleep(absl::Hours(2));
    EXPECT_EQ(SecondsSince(start), 7203);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, ZeroAndNegativeTakeOneTurn) {
  for (absl::Duration timeout :
       {absl::ZeroDuration(), absl::Seconds(-5), -absl::InfiniteDuration()}) {
    SCOPED_TRACE(absl::FormatDuration(timeout));
    auto main = [&]() -> Co<void> {
      const LoopTime start = EventLoop::Current().Now();
      Task<int> quick = CreateTask([]() -> Co<int> { co_return 1; });
      Task<int> slow = CreateTask(After(1, 2));
      std::vector<Task<int>> tasks = {slow, quick};
      WaitOptions options;
      options.timeout = timeout;
      WaitResult<Task<int>> result = co_await Wait(tasks, options);
      EXPECT_TRUE(result.timed_out);
      EXPECT_EQ(result.done, (std::vector<Task<int>>{quick}))
          << "it was ready when the wait began, and ran in that turn";
      EXPECT_EQ(result.pending, (std::vector<Task<int>>{slow}));
      EXPECT_EQ(SecondsSince(start), 0);
    };
    coil::Run(main, kVirtual);
  }
}

TEST(WaitTimeoutTest, ZeroKeepsItsPlaceAmongThoseWhoGiveWay) {
  auto main = []() -> Co<void> {
    std::string order;
    Task<int> slow = CreateTask(After(1, 1));
    auto waits = [&]() -> Co<void> {
      const WaitOptions options = {.timeout = absl::ZeroDuration()};
      co_await Wait(std::vector<Task<int>>(1, slow), options);
      order += "wait ";
    };
    auto yields = [&]() -> Co<void> {
      co_await Yield();
      order += "yield ";
    };
    Task<void> first = CreateTask(waits());
    Task<void> second = CreateTask(yields());
    co_await first;
    co_await second;
    EXPECT_EQ(order, "wait yield ");
    co_await slow;
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, ZeroWithAllDoneIsNotATimeout) {
  auto main = []() -> Co<void> {
    Task<int> quick = CreateTask([]() -> Co<int> { co_return 1; });
    co_await quick;
    const WaitOptions options = {.timeout = absl::ZeroDuration()};
    WaitResult<Task<int>> result =
        co_await Wait(std::vector<Task<int>>(1, quick), options);
    EXPECT_FALSE(result.timed_out);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, CompletionInTheTurnOfTheTimeoutCounts) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(After(1, 1));
    co_await Yield();
    const WaitOptions options = {.timeout = absl::Seconds(1)};
    WaitResult<Task<int>> result =
        co_await Wait(std::vector<Task<int>>(1, task), options);
    EXPECT_EQ(result.done.size(), 1u);
    EXPECT_FALSE(result.timed_out);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, FutureThatIsDoneBetweenTheTimersCounts) {
  auto main = []() -> Co<void> {
    Future<int> future;
    // This limit passes first, and cancels the future right there, before the
    // timer of the Wait() is looked at.
    Task<int> limited = CreateTask([&]() -> Co<int> {
      co_return co_await WithTimeout(absl::Seconds(1), future);
    });
    co_await Yield();
    std::vector<Future<int>> futures(1, future);
    const WaitOptions options = {.timeout = absl::Seconds(1)};
    WaitResult<Future<int>> result = co_await Wait(futures, options);
    EXPECT_EQ(result.done.size(), 1u);
    EXPECT_FALSE(result.timed_out);
    EXPECT_TRUE(future.Cancelled());
    Outcome<int> outcome = co_await Settle(limited);
    EXPECT_FALSE(outcome.Ok());
    co_await Sleep(absl::Seconds(1));
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTimeoutTest, InfiniteIsNone) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    const WaitOptions options = {.timeout = absl::InfiniteDuration()};
    WaitResult<Task<int>> result = co_await Wait(
        std::vector<Task<int>>(1, CreateTask(After(1000000, 1))), options);
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(SecondsSince(start), 1000000);
  };
  coil::Run(main, kVirtual);
}

// ---- cancellation
// --------------------------------------------------------------

TEST(WaitCancelTest, IsThrownAtOnceAndTheTasksGoOn) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    Task<void> waiting = CreateTask([&]() -> Co<void> {
      const WaitOptions options = {.timeout = absl::Seconds(60)};
      co_await Wait(tasks, options);
      ADD_FAILURE() << "must not return";
    });
    co_await Sleep(absl::Milliseconds(1500));
    waiting.Cancel("enough");
    std::string message;
    try {
      co_await waiting;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "enough");
    EXPECT_EQ(SecondsSince(start), 1.5);
    EXPECT_EQ(co_await tasks[0], 1);
    EXPECT_EQ(tasks[0].Cancelling(), 0);
    EXPECT_EQ(tasks[1].Result(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitCancelTest, InTheTurnOfTheCompletionIsNotLost) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<void> waiting = CreateTask([&]() -> Co<void> {
      co_await Wait(std::vector<Future<int>>(1, future));
    });
    co_await Yield();
    future.SetResult(1);
    waiting.Cancel();
    Outcome<void> outcome = co_await Settle(waiting);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(future.Result(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitCancelTest, ARequestFromBeforeIsDelivered) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(After(1, 1));
    Task<void> waiting = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      co_await Wait(std::vector<Task<int>>(1, task));
    });
    Outcome<void> outcome = co_await Settle(waiting);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(co_await task, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitCancelTest, TwoWaitersOfTheSameTasksDoNotDisturbEachOther) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = ThreeTasks();
    Task<void> first = CreateTask([&]() -> Co<void> { co_await Wait(tasks); });
    Task<size_t> second = CreateTask([&]() -> Co<size_t> {
      WaitResult<Task<int>> result = co_await Wait(tasks);
      co_return result.done.size();
    });
    co_await Sleep(absl::Milliseconds(1500));
    first.Cancel();
    EXPECT_EQ(co_await second, 3u);
  };
  coil::Run(main, kVirtual);
}

// ---- misuse
// ------------------------------------------------------------------

TEST(WaitTest, AnEmptySetIsRefused) {
  auto main = []() -> Co<void> {
    std::string what;
    try {
      co_await Wait(std::vector<Task<int>>());
    } catch (const std::invalid_argument& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "Wait: the set of tasks is empty");
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, AnUnknownConditionIsRefused) {
  auto main = []() -> Co<void> {
    WaitOptions options;
    options.return_when = static_cast<ReturnWhen>(9);
    std::string what;
    try {
      co_await Wait(options, CurrentTask());
    } catch (const std::invalid_argument& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "Wait: 9 is not a value of ReturnWhen");
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, TheAwaitingTaskItselfIsRefused) {
  auto main = []() -> Co<void> {
    const WaitOptions options;
    Outcome<WaitResult<AnyTask>> outcome =
        co_await Settle(Wait(options, CurrentTask()));
    EXPECT_NE(TextOf(outcome).find("a task cannot await itself"),
              std::string::npos);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, AnEmptyHandleIsRefused) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks(1);
    Outcome<WaitResult<Task<int>>> outcome = co_await Settle(Wait(tasks));
    EXPECT_NE(TextOf(outcome).find("the handle is empty"), std::string::npos);
  };
  coil::Run(main, kVirtual);
}

TEST(WaitTest, LoopThatIsClosedMeanwhileLetsGoOfAll) {
  auto tracker = std::make_shared<int>(0);
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    auto main = [&]() -> Co<void> {
      auto child = [](std::shared_ptr<int>) -> Co<int> {
        co_await Sleep(absl::Hours(1));
        co_return 1;
      };
      std::vector<Task<int>> older = {CreateTask(child(tracker))};
      auto waits = [](std::vector<Task<int>> tasks,
                      std::shared_ptr<int>) -> Co<void> {
        const WaitOptions options = {.timeout = absl::Hours(2)};
        co_await Wait(std::move(tasks), options);
      };
      CreateTask(waits(older, tracker));
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

static_assert(std::is_trivially_destructible_v<WaitOptions>);

}  // namespace
}  // namespace coil
