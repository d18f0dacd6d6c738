// AsCompleted: asyncio's as_completed, rows A76 and A77.

#include "coil/task/as_completed.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/for_await.h"
#include "coil/task/future.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

std::vector<Task<int>> ThreeTasks() {
  return {CreateTask(After(3, 1)), CreateTask(After(1, 2)),
          CreateTask(After(2, 3))};
}

TEST(AsCompletedTest, GivesTheTasksInTheOrderOfCompletion) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = ThreeTasks();
    std::vector<Task<int>> order;
    auto range = AsCompleted(tasks);
    while (auto task = co_await range.Next()) {
      EXPECT_TRUE(task->Done());
      order.push_back(*task);
    }
    EXPECT_EQ(order, (std::vector<Task<int>>{tasks[1], tasks[2], tasks[0]}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, CoroutinesBecomeTasksWhenTheRangeIsMade) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Co<int>> all;
    all.push_back(After(2, 1));
    all.push_back(After(1, 2));
    auto range = AsCompleted(std::move(all));
    co_await Sleep(absl::Seconds(5));
    std::vector<int> order;
    while (auto task = co_await range.Next()) order.push_back(task->Result());
    EXPECT_EQ(order, (std::vector<int>{2, 1}));
    EXPECT_EQ(SecondsSince(start), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, WorksWithForAwait) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    COIL_FOR_AWAIT(auto task, AsCompleted(ThreeTasks())) {
      order.push_back(task.Result());
      if (order.size() == 2) break;
    }
    EXPECT_EQ(order, (std::vector<int>{2, 3}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, LeavingTheLoopCancelsNothing) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = ThreeTasks();
    {
      auto range = AsCompleted(tasks, absl::Milliseconds(2500));
      std::optional<Task<int>> first = co_await range.Next();
      EXPECT_EQ(first->Result(), 2);
    }
    EXPECT_EQ(co_await tasks[0], 1);
    EXPECT_EQ(co_await tasks[2], 3);
    EXPECT_EQ(tasks[0].Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, WhatIsDoneAlreadyComesFirstInTheOrderOfTheArguments) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = ThreeTasks();
    co_await Sleep(absl::Seconds(4));
    tasks.insert(tasks.begin(), CreateTask(After(1, 9)));
    auto range = AsCompleted(tasks);
    bool other = false;
    Task<void> yields = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) {
      order.push_back((co_await range.Next())->Result());
    }
    EXPECT_FALSE(other) << "what is done is given without giving way";
    order.push_back((co_await range.Next())->Result());
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 9}));
    co_await yields;
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, SeveralThatEndInOneTurnAllCome) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    for (int i = 0; i < 5; ++i) all.push_back(After(1, i));
    std::vector<int> order;
    auto range = AsCompleted(std::move(all));
    while (auto task = co_await range.Next()) order.push_back(task->Result());
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, DuplicatesAreCollapsed) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(2, 1));
    Task<int> b = CreateTask(After(1, 2));
    Task<int> done = CreateTask(After(0, 3));
    co_await done;
    auto range = AsCompleted(std::vector<Task<int>>{a, done, b, a, done, a});
    std::vector<int> order;
    while (auto task = co_await range.Next()) order.push_back(task->Result());
    EXPECT_EQ(order, (std::vector<int>{3, 2, 1}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, ErrorsAndCancelledTasksAreGivenNotThrown) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks = {CreateTask(FailAfter(1, "no")),
                                    CreateTask(After(9, 1))};
    tasks[1].Cancel();
    auto range = AsCompleted(tasks);
    std::optional<Task<int>> first = co_await range.Next();
    EXPECT_TRUE(first->Cancelled());
    std::optional<Task<int>> second = co_await range.Next();
    EXPECT_THROW(second->Result(), std::runtime_error);
    EXPECT_FALSE((co_await range.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, ErrorsThatAreNotReadAreReported) {
  auto main = []() -> Co<void> {
    Reports reports;
    {
      std::vector<Co<int>> all;
      all.push_back(FailAfter(1, "unread"));
      auto range = AsCompleted(std::move(all));
      co_await range.Next();
    }
    EXPECT_EQ(reports.texts.size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, NothingIsAtItsEndAtOnce) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(std::vector<Task<int>>(), absl::Seconds(1));
    EXPECT_FALSE((co_await range.Next()).has_value());
    EXPECT_FALSE((co_await range.Next()).has_value());
    auto coroutines = AsCompleted(std::vector<Co<void>>());
    EXPECT_FALSE((co_await coroutines.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, TakesFuturesAndTasksOfAnyType) {
  auto main = []() -> Co<void> {
    Future<int> a;
    Future<int> b;
    EventLoop::Current().CallLater(absl::Seconds(1), [=] { b.SetResult(2); });
    EventLoop::Current().CallLater(absl::Seconds(2), [=] { a.SetResult(1); });
    auto futures = AsCompleted(std::vector<Future<int>>{a, b});
    EXPECT_EQ((co_await futures.Next())->Result(), 2);
    EXPECT_EQ((co_await futures.Next())->Result(), 1);
    Task<void> task = CreateTask(Pause(1));
    auto any = AsCompleted(std::vector<AnyTask>{task, a});
    EXPECT_EQ(*(co_await any.Next()), a);
    EXPECT_EQ(*(co_await any.Next()), task);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, ItMayBeMoved) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks());
    EXPECT_EQ((co_await range.Next())->Result(), 2);
    auto moved = std::move(range);
    EXPECT_EQ((co_await moved.Next())->Result(), 3);
    std::string what;
    try {
      co_await range.Next();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "AsCompleted: the range was moved from");
    EXPECT_EQ((co_await moved.Next())->Result(), 1);
    EXPECT_FALSE((co_await moved.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, TenThousandTasks) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    for (int i = 0; i < 10000; ++i) all.push_back(After(i % 10, i));
    auto range = AsCompleted(std::move(all));
    int last = 0;
    int count = 0;
    while (auto task = co_await range.Next()) {
      EXPECT_LE(last, task->Result() % 10);
      last = task->Result() % 10;
      ++count;
    }
    EXPECT_EQ(count, 10000);
  };
  coil::Run(main, kVirtual);
}

// ---- several callers
// -----------------------------------------------------------

TEST(AsCompletedTest, CallersAreServedInTheirOrder) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks());
    std::vector<std::string> order;
    auto consumer = [&](std::string name) -> Co<void> {
      while (auto task = co_await range.Next()) {
        order.push_back(name + std::to_string(task->Result()));
      }
      order.push_back(name + "end");
    };
    Task<void> a = CreateTask(consumer("a"));
    Task<void> b = CreateTask(consumer("b"));
    co_await a;
    co_await b;
    EXPECT_EQ(order,
              (std::vector<std::string>{"a2", "b3", "a1", "aend", "bend"}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, MoreCallersThanTasksAllEnd) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    all.push_back(After(1, 5));
    auto range = AsCompleted(std::move(all));
    int tasks = 0;
    int ends = 0;
    auto consumer = [&]() -> Co<void> {
      std::optional<Task<int>> task = co_await range.Next();
      ++(task.has_value() ? tasks : ends);
    };
    std::vector<Task<void>> consumers;
    for (int i = 0; i < 4; ++i) consumers.push_back(CreateTask(consumer()));
    for (const Task<void>& task : consumers) co_await task;
    EXPECT_EQ(tasks, 1);
    EXPECT_EQ(ends, 3);
  };
  coil::Run(main, kVirtual);
}

// ---- cancellation
// --------------------------------------------------------------

TEST(AsCompletedCancelTest, ACancelledNextHasTakenNothing) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks());
    Task<void> waiting = CreateTask([&]() -> Co<void> {
      co_await range.Next();
      ADD_FAILURE() << "must not return";
    });
    co_await Yield();
    waiting.Cancel();
    co_await Settle(waiting);
    EXPECT_EQ((co_await range.Next())->Result(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedCancelTest,
     InTheTurnOfTheCompletionTheTaskGoesToTheNextCaller) {
  auto main = []() -> Co<void> {
    Future<int> a;
    Future<int> b;
    auto range = AsCompleted(std::vector<Future<int>>{a, b});
    auto next = [&]() -> Co<int> {
      co_return (co_await range.Next())->Result();
    };
    Task<int> first = CreateTask(next());
    Task<int> second = CreateTask(next());
    co_await Yield();
    a.SetResult(1);
    first.Cancel();
    EXPECT_EQ(co_await second, 1);
    EXPECT_TRUE(first.Cancelled());
    b.SetResult(2);
    EXPECT_EQ(co_await next(), 2);
    EXPECT_FALSE((co_await range.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedCancelTest, WhatIsReturnedComesFirstAgain) {
  auto main = []() -> Co<void> {
    Future<int> a;
    Future<int> b;
    auto range = AsCompleted(std::vector<Future<int>>{b, a});
    Task<void> waiting =
        CreateTask([&]() -> Co<void> { co_await range.Next(); });
    co_await Yield();
    a.SetResult(1);
    b.SetResult(2);
    waiting.Cancel();
    co_await Settle(waiting);
    EXPECT_EQ((co_await range.Next())->Result(), 1);
    EXPECT_EQ((co_await range.Next())->Result(), 2);
  };
  coil::Run(main, kVirtual);
}

// ---- timeout
// -------------------------------------------------------------------

TEST(AsCompletedTimeoutTest, NextThrowsAndTheTasksRunOn) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Task<int>> tasks = ThreeTasks();
    auto range = AsCompleted(tasks, absl::Milliseconds(1500));
    EXPECT_EQ((co_await range.Next())->Result(), 2);
    std::string what;
    try {
      co_await range.Next();
    } catch (const TimeoutError& e) {
      what = e.what();
    }
    EXPECT_EQ(what,
              "AsCompleted: the timeout has passed and not all tasks are done");
    EXPECT_EQ(SecondsSince(start), 1.5);
    EXPECT_EQ(co_await tasks[0], 1);
    EXPECT_EQ(tasks[0].Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, WhatWasDoneByThenComesBeforeTheError) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks(), absl::Milliseconds(2500));
    co_await Sleep(absl::Seconds(10));
    EXPECT_EQ((co_await range.Next())->Result(), 2);
    EXPECT_EQ((co_await range.Next())->Result(), 3);
    EXPECT_THROW(co_await range.Next(), TimeoutError);
    EXPECT_FALSE((co_await range.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, IsGoneOnceTheTasksAreDone) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks(), absl::Hours(1));
    co_await Sleep(absl::Seconds(10));
    // A timer left behind would wake the loop in the midst of this sleep.
    const uint64_t before = EventLoop::Current().Iterations();
    co_await Sleep(absl::Hours(2));
    EXPECT_EQ(EventLoop::Current().Iterations() - before, 1u);
    int results = 0;
    while ((co_await range.Next()).has_value()) ++results;
    EXPECT_EQ(results, 3);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, CountsFromTheMakingOfTheRange) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<Co<int>> all;
    all.push_back(After(9, 1));
    auto range = AsCompleted(std::move(all), absl::Seconds(3));
    co_await Sleep(absl::Seconds(2));
    EXPECT_THROW(co_await range.Next(), TimeoutError);
    EXPECT_EQ(SecondsSince(start), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, IsThrownForEachTaskThatWasNotDone) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks(), absl::Milliseconds(500));
    auto next = [&]() -> Co<void> { co_await range.Next(); };
    std::vector<Task<void>> callers;
    for (int i = 0; i < 4; ++i) callers.push_back(CreateTask(next()));
    int timeouts = 0;
    for (const Task<void>& caller : callers) {
      Outcome<void> outcome = co_await Settle(caller);
      if (!outcome.Ok()) ++timeouts;
    }
    EXPECT_EQ(timeouts, 3) << "the fourth caller is told of the end";
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, ZeroAndNegativeStillGiveWhatIsDone) {
  for (absl::Duration timeout :
       {absl::ZeroDuration(), absl::Seconds(-1), -absl::InfiniteDuration()}) {
    SCOPED_TRACE(absl::FormatDuration(timeout));
    auto main = [&]() -> Co<void> {
      Task<int> done = CreateTask(After(0, 7));
      co_await done;
      Task<int> slow = CreateTask(After(5, 1));
      auto range = AsCompleted(std::vector<Task<int>>{slow, done}, timeout);
      EXPECT_EQ((co_await range.Next())->Result(), 7);
      EXPECT_THROW(co_await range.Next(), TimeoutError);
      EXPECT_FALSE((co_await range.Next()).has_value());
    };
    coil::Run(main, kVirtual);
  }
}

TEST(AsCompletedTimeoutTest,
     CancelInTheTurnOfTheTimeoutLeavesTheErrorToTheNext) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<void> first;
    // Its timer is the older one: it runs between the timeout and the one told.
    Task<void> canceller = CreateTask([&]() -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      first.Cancel();
    });
    co_await Yield();
    auto range =
        AsCompleted(std::vector<Future<int>>{future}, absl::Seconds(1));
    first = CreateTask([&]() -> Co<void> { co_await range.Next(); });
    co_await Settle(first);
    EXPECT_TRUE(first.Cancelled());
    EXPECT_THROW(co_await range.Next(), TimeoutError);
    EXPECT_FALSE((co_await range.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTimeoutTest, TheTimerIsGoneOnceAllAreDone) {
  auto main = []() -> Co<void> {
    auto range = AsCompleted(ThreeTasks(), absl::Hours(1));
    while (auto task = co_await range.Next()) {
    }
    co_await Sleep(absl::Hours(2));
    EXPECT_FALSE((co_await range.Next()).has_value());
  };
  coil::Run(main, kVirtual);
}

// ---- lifetime and misuse
// -------------------------------------------------------

TEST(AsCompletedTest, RangeThatIsDestroyedTellsThoseWhoWait) {
  auto main = []() -> Co<void> {
    auto range = std::make_unique<AsCompletedRange<Task<int>>>(
        AsCompleted(ThreeTasks()));
    auto next = [&]() -> Co<void> { co_await range->Next(); };
    Task<void> a = CreateTask(next());
    Task<void> b = CreateTask(next());
    co_await Yield();
    range.reset();
    Outcome<void> first = co_await Settle(a);
    Outcome<void> second = co_await Settle(b);
    EXPECT_EQ(TextOf(first),
              "std::runtime_error: AsCompleted: the range was destroyed while "
              "Next() waited");
    EXPECT_FALSE(second.Ok());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, ATaskThatWasGivenOutlivesTheRange) {
  auto main = []() -> Co<void> {
    Future<int> future;
    auto range = std::make_unique<AsCompletedRange<Future<int>>>(
        AsCompleted(std::vector<Future<int>>{future}));
    auto next = [&]() -> Co<int> {
      std::optional<Future<int>> got = co_await range->Next();
      co_return got->Result();
    };
    Task<int> task = CreateTask(next());
    co_await Yield();
    future.SetResult(3);
    range.reset();
    EXPECT_EQ(co_await task, 3);
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, NeedsARunningLoop) {
  std::string what;
  try {
    AsCompleted(std::vector<Co<int>>());
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("AsCompleted: no running event loop"), std::string::npos);
  EXPECT_THROW(AsCompleted(std::vector<Task<int>>()), std::runtime_error);
}

TEST(AsCompletedTest, LoopInThePlaceOfItsOwnIsAnotherOne) {
  std::optional<EventLoop> loop;
  std::vector<Task<int>> tasks;
  auto start = [&]() -> Co<void> {
    tasks.push_back(CreateTask(After(1, 1)));
    co_await tasks[0];
  };
  loop.emplace();
  loop->RunUntilComplete(start());
  auto complete = [&]() -> Co<void> {
    AsCompleted(tasks);
    co_return;
  };
  loop->RunUntilComplete(complete());
  loop.emplace();
  EXPECT_THROW(loop->RunUntilComplete(complete()), std::runtime_error);
}

TEST(AsCompletedTest, RefusesEmptyHandlesAndAwaitedCoroutines) {
  auto main = []() -> Co<void> {
    Reports reports;
    EXPECT_THROW(AsCompleted(std::vector<Task<int>>(1)), std::runtime_error);
    std::vector<Co<int>> all;
    all.push_back(After(1, 1));
    all.push_back(After(1, 2));
    co_await all[1];
    EXPECT_THROW(AsCompleted(std::move(all)), std::runtime_error);
    EXPECT_EQ(AllTasks().size(), 1u) << "nothing was started";
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(AsCompletedTest, LoopThatIsClosedMeanwhileLetsGoOfAll) {
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
      auto loops = [](std::vector<Task<int>> tasks,
                      std::shared_ptr<int>) -> Co<void> {
        auto range = AsCompleted(std::move(tasks), absl::Hours(2));
        while (auto task = co_await range.Next()) {
        }
      };
      CreateTask(loops(older, tracker));
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

}  // namespace
}  // namespace coil
