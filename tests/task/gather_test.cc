// Gather and GatherSettled: asyncio's gather, rows A67 to A69.

#include "coil/task/gather.h"

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "coil/task/future.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

Co<int> At(std::vector<int>* order, int id) {
  order->push_back(id);
  co_await Yield();
  order->push_back(id + 10);
  co_return id;
}

Co<std::unique_ptr<int>> Boxed(int value) {
  co_await Yield();
  co_return std::make_unique<int>(value);
}

TEST(GatherTest, ResultsAreInTheOrderOfTheArguments) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    auto [a, b, c] = co_await Gather(After(3, 1), After(1, 2), After(2, 3));
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    EXPECT_EQ(c, 3);
    EXPECT_EQ(SecondsSince(start), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, VectorKeepsItsOrder) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    for (int i = 0; i < 5; ++i) all.push_back(After(5 - i, i));
    std::vector<int> results = co_await Gather(std::move(all));
    EXPECT_EQ(results, (std::vector<int>{0, 1, 2, 3, 4}));
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, StartsWhenItIsAwaitedInTheOrderOfTheArguments) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    auto gather = Gather(At(&order, 1), At(&order, 2), At(&order, 3));
    co_await Yield();
    EXPECT_TRUE(order.empty());
    co_await std::move(gather);
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 11, 12, 13}));
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, CoroutinesOfAVectorBecomeTasksInOrder) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    std::vector<Co<int>> all;
    for (int i = 1; i <= 3; ++i) all.push_back(At(&order, i));
    co_await Gather(std::move(all));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 11, 12, 13}));
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, VoidIsMonostateInATuple) {
  auto main = []() -> Co<void> {
    auto result = co_await Gather(Pause(1), After(1, 7));
    static_assert(
        std::is_same_v<decltype(result), std::tuple<std::monostate, int>>);
    EXPECT_EQ(std::get<1>(result), 7);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, VoidsOnlyGiveNothing) {
  auto main = []() -> Co<void> {
    static_assert(
        std::is_same_v<decltype(Gather(Pause(1), Pause(2))), Co<void>>);
    const LoopTime start = EventLoop::Current().Now();
    co_await Gather(Pause(1), Pause(2));
    EXPECT_EQ(SecondsSince(start), 2);
    std::vector<Co<void>> all;
    static_assert(std::is_same_v<decltype(Gather(std::move(all))), Co<void>>);
    all.push_back(Pause(1));
    all.push_back(Pause(3));
    co_await Gather(std::move(all));
    EXPECT_EQ(SecondsSince(start), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, NothingGivesAnEmptyResultWithoutGivingWay) {
  auto main = []() -> Co<void> {
    bool other = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    std::vector<int> results = co_await Gather(std::vector<Co<int>>());
    EXPECT_TRUE(results.empty());
    std::tuple<> none = co_await Gather();
    static_cast<void>(none);
    co_await Gather(std::vector<Task<void>>());
    EXPECT_FALSE(other);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, TakesTasksFuturesAndLeafOperations) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(After(1, 1));
    Future<int> future;
    EventLoop::Current().CallLater(absl::Seconds(2),
                                   [future] { future.SetResult(2); });
    auto [a, b, c, d] = co_await Gather(
        task, future, Sleep(absl::Seconds(1), 3), Sleep(absl::Seconds(1)));
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    EXPECT_EQ(c, 3);
    static_assert(std::is_same_v<decltype(d), std::monostate>);
    EXPECT_EQ(task.Result(), 1);
    EXPECT_EQ(future.Result(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, DoneArgumentsAreTakenWithoutGivingWay) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(1, 1));
    Task<int> b = CreateTask(After(1, 2));
    co_await Gather(a, b);
    bool other = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    auto [x, y] = co_await Gather(a, b);
    EXPECT_EQ(x + y, 3);
    EXPECT_FALSE(other);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, TheSameTaskTwiceRunsOnceAndIsThereTwice) {
  auto main = []() -> Co<void> {
    int runs = 0;
    auto work = [&]() -> Co<std::string> {
      ++runs;
      co_await Sleep(absl::Seconds(1));
      co_return "value";
    };
    Task<std::string> task = CreateTask(work());
    auto [a, b] = co_await Gather(task, task);
    EXPECT_EQ(a, "value");
    EXPECT_EQ(b, "value");
    std::vector<Task<std::string>> twice = {task, task, task};
    task = CreateTask(work());
    twice.push_back(task);
    std::vector<std::string> all = co_await Gather(std::move(twice));
    EXPECT_EQ(all, (std::vector<std::string>(4, "value")));
    EXPECT_EQ(runs, 2);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, MoveOnlyResultsAreMovedOut) {
  auto main = []() -> Co<void> {
    auto [a, b] = co_await Gather(Boxed(1), Boxed(2));
    EXPECT_EQ(*a + *b, 3);
    std::vector<Co<std::unique_ptr<int>>> all;
    all.push_back(Boxed(3));
    std::vector<std::unique_ptr<int>> results = co_await Gather(std::move(all));
    EXPECT_EQ(*results[0], 3);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, MoveOnlyResultIsGoneFromTheTask) {
  auto main = []() -> Co<void> {
    Task<std::unique_ptr<int>> task = CreateTask(Boxed(1));
    auto [box] = co_await Gather(task);
    EXPECT_EQ(*box, 1);
    EXPECT_THROW(task.Result(), InvalidStateError);
    // Nor can it be had twice.
    Task<std::unique_ptr<int>> other = CreateTask(Boxed(1));
    EXPECT_THROW(co_await Gather(other, other), InvalidStateError);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, ResultIsCopiedWhereSomebodyElseHasTheTask) {
  auto main = []() -> Co<void> {
    Task<std::string> task =
        CreateTask([]() -> Co<std::string> { co_return "kept"; });
    auto [a] = co_await Gather(task);
    EXPECT_EQ(a, "kept");
    EXPECT_EQ(task.Result(), "kept");
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, ReferencesStayReferences) {
  auto main = []() -> Co<void> {
    int x = 1;
    int y = 2;
    auto ref = [](int& r) -> Co<int&> { co_return r; };
    auto result = co_await Gather(ref(x), ref(y));
    static_assert(std::is_same_v<decltype(result), std::tuple<int&, int&>>);
    std::get<0>(result) = 10;
    EXPECT_EQ(x, 10);
    std::vector<Co<int&>> all;
    all.push_back(ref(y));
    std::vector<std::reference_wrapper<int>> refs =
        co_await Gather(std::move(all));
    refs[0].get() = 20;
    EXPECT_EQ(y, 20);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, FirstErrorIsThrownAtOnceAndTheOthersGoOn) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<int> slow = CreateTask(After(5, 7));
    std::string what;
    try {
      co_await Gather(slow, FailAfter(2, "second"), FailAfter(1, "first"));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "first");
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(co_await slow, 7);
    EXPECT_EQ(slow.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, OfErrorsThatAreThereAlreadyTheFirstArgumentsIsThrown) {
  auto main = []() -> Co<void> {
    Task<int> b = CreateTask(FailAfter(1, "b"));
    Task<int> a = CreateTask(FailAfter(2, "a"));
    co_await Sleep(absl::Seconds(3));
    EXPECT_EQ(TextOf(co_await Settle(Gather(a, b))), "std::runtime_error: a");
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, TheSameErrorObjectIsThrown) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(FailAfter(1, "no"));
    std::exception_ptr thrown;
    try {
      co_await Gather(task, After(2, 1));
    } catch (...) {
      thrown = std::current_exception();
    }
    EXPECT_EQ(thrown, task.Exception());
    std::exception_ptr again;
    try {
      co_await Gather(task);
    } catch (...) {
      again = std::current_exception();
    }
    EXPECT_EQ(thrown, again);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, LateErrorsCountAsRetrieved) {
  auto main = []() -> Co<void> {
    Reports reports;
    Task<int> held = CreateTask(FailAfter(3, "late and held"));
    EXPECT_THROW(co_await Gather(FailAfter(1, "first"), FailAfter(2, "late"),
                                 FailAfter(1, "same time"), held),
                 std::runtime_error);
    held = Task<int>();
    co_await Sleep(absl::Seconds(10));
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, LateErrorsOfAVectorCountAsRetrieved) {
  auto main = []() -> Co<void> {
    Reports reports;
    std::vector<Co<int>> parts;
    parts.push_back(FailAfter(1, "first"));
    parts.push_back(FailAfter(2, "late"));
    EXPECT_THROW(co_await Gather(std::move(parts)), std::runtime_error);
    co_await Sleep(absl::Seconds(10));
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, OnceAnErrorWasThrownNobodyWaitsForTheOthers) {
  auto main = []() -> Co<void> {
    Task<int> sibling = CreateTask(After(2, 1));
    EXPECT_THROW(co_await Gather(FailAfter(1, "first"), sibling),
                 std::runtime_error);
    EXPECT_EQ(internal::StateOf(sibling)->FirstDone(), nullptr);
    EXPECT_EQ(co_await sibling, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, AnErrorThatIsNotGatheredIsStillReported) {
  auto main = []() -> Co<void> {
    Reports reports;
    CreateTask(FailAfter(1, "nobody reads this"));
    co_await Sleep(absl::Seconds(10));
    EXPECT_EQ(reports.texts.size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, ChildCancelledElsewhereIsAnError) {
  auto main = []() -> Co<void> {
    Task<int> child = CreateTask(After(10, 1));
    Task<int> sibling = CreateTask(After(10, 2));
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [child] { child.Cancel("elsewhere"); });
    std::string message;
    try {
      co_await Gather(sibling, child);
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "elsewhere");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    EXPECT_FALSE(sibling.Done());
    EXPECT_EQ(co_await sibling, 2);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, CancelledFutureIsAnError) {
  auto main = []() -> Co<void> {
    Future<int> future;
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [future] { future.Cancel(); });
    EXPECT_THROW(co_await Gather(future, After(9, 1)), CancelledError);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

// ---- settled
// -----------------------------------------------------------------

TEST(GatherSettledTest, WaitsForAllAndKeepsTheirErrors) {
  auto main = []() -> Co<void> {
    Reports reports;
    const LoopTime start = EventLoop::Current().Now();
    Task<int> cancelled = CreateTask(After(10, 1));
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [cancelled] { cancelled.Cancel("x"); });
    auto [a, b, c, d] = co_await GatherSettled(After(5, 1), FailAfter(1, "no"),
                                               cancelled, Pause(1));
    EXPECT_EQ(SecondsSince(start), 5);
    EXPECT_EQ(a.Value(), 1);
    EXPECT_EQ(TextOf(b), "std::runtime_error: no");
    EXPECT_TRUE(c.Cancelled());
    EXPECT_TRUE(d.Ok());
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherSettledTest, VectorForm) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    all.push_back(After(2, 1));
    all.push_back(FailAfter(1, "no"));
    std::vector<Outcome<int>> outcomes = co_await GatherSettled(std::move(all));
    EXPECT_EQ(outcomes[0].Value(), 1);
    EXPECT_EQ(TextOf(outcomes[1]), "std::runtime_error: no");
    EXPECT_TRUE((co_await GatherSettled(std::vector<Co<int>>())).empty());
    std::vector<Co<void>> voids;
    voids.push_back(Pause(1));
    std::vector<Outcome<void>> of_voids =
        co_await GatherSettled(std::move(voids));
    EXPECT_TRUE(of_voids[0].Ok());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherSettledTest, OwnCancelIsThrownOnceAllHaveEnded) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> gathering = CreateTask([&]() -> Co<void> {
      std::vector<Co<int>> all;
      all.push_back(CleansUp(5, &cancels));
      all.push_back(Refuses(7, 1));
      all.push_back(FailAfter(100, "never"));
      co_await GatherSettled(std::move(all));
      ADD_FAILURE() << "must not return";
    });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel();
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 8);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherSettledTest, TheSameTaskTwice) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(FailAfter(1, "no"));
    auto [a, b] = co_await GatherSettled(task, task);
    EXPECT_EQ(a.Exception(), b.Exception());
    EXPECT_FALSE(a.Ok());
  };
  coil::Run(main, kVirtual);
}

// ---- size and shape
// ------------------------------------------------------------

TEST(GatherTest, TenThousandChildren) {
  auto main = []() -> Co<void> {
    std::vector<Co<int>> all;
    for (int i = 0; i < 10000; ++i) all.push_back(After(i % 7, i));
    std::vector<int> results = co_await Gather(std::move(all));
    long sum = 0;
    for (int value : results) sum += value;
    EXPECT_EQ(sum, 10000L * 9999 / 2);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, TenThousandChildrenAreCancelled) {
  auto main = []() -> Co<void> {
    Task<std::vector<int>> gathering = CreateTask([]() -> Co<std::vector<int>> {
      std::vector<Co<int>> all;
      for (int i = 0; i < 10000; ++i) all.push_back(After(100, i));
      co_return co_await Gather(std::move(all));
    });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel();
    co_await Settle(gathering);
    EXPECT_TRUE(gathering.Cancelled());
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

Co<int> Nested(int depth) {
  if (depth == 0) {
    co_await Sleep(absl::Hours(1));
    co_return 1;
  }
  auto [value] = co_await Gather(Nested(depth - 1));
  co_return value + 1;
}

TEST(GatherTest, DeepNestingIsCancelledWithoutRecursion) {
  constexpr int kDepth = 20000;
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Nested(kDepth));
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(AllTasks().size(), kDepth + 2u);
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_EQ(AllTasks().size(), 1u);
    Task<int> other = CreateTask(Nested(kDepth));
    EXPECT_EQ(co_await other, kDepth + 1);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, ReportsNameTheLineOfTheAwait) {
  auto main = []() -> Co<void> {
    Reports reports;
    std::string where;
    auto child = [&]() -> Co<void> {
      where =
          static_cast<internal::TaskCore*>(CurrentTask().core())->Describe();
      co_return;
    };
    const int line = __LINE__ + 1;
    co_await Gather(child());
    EXPECT_NE(where.find("gather_test.cc:" + std::to_string(line)),
              std::string::npos)
        << where;
  };
  coil::Run(main, kVirtual);
}

// ---- misuse
// ------------------------------------------------------------------

TEST(GatherTest, RefusesTheAwaitingTaskItself) {
  auto main = []() -> Co<void> {
    Task<int> task;
    task = CreateTask([&]() -> Co<int> {
      auto [value] = co_await Gather(task);
      co_return value;
    });
    Outcome<int> outcome = co_await Settle(task);
    EXPECT_NE(TextOf(outcome).find("a task cannot await itself"),
              std::string::npos)
        << TextOf(outcome);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, RefusesBeforeAnythingIsStarted) {
  auto main = []() -> Co<void> {
    Reports reports;
    bool started = false;
    auto child = [&]() -> Co<int> {
      started = true;
      co_return 1;
    };
    Task<int> empty;
    Outcome<std::tuple<int, int>> outcome =
        co_await Settle(Gather(child(), empty));
    EXPECT_NE(TextOf(outcome).find("the handle is empty"), std::string::npos);
    std::vector<Co<int>> all;
    all.push_back(child());
    all.push_back(child());
    co_await all[1];
    started = false;
    Outcome<std::vector<int>> second = co_await Settle(Gather(std::move(all)));
    EXPECT_NE(TextOf(second).find("awaited twice"), std::string::npos);
    co_await Sleep(absl::Seconds(1));
    EXPECT_FALSE(started);
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, RefusesATaskOfAnotherLoop) {
  Task<int> foreign;
  EventLoop other(LoopOptions{.simulation = &kSimulation});
  other.SetExceptionHandler([](const ExceptionContext&) {});
  other.RunUntilComplete([&]() -> Co<void> {
    foreign = CreateTask(After(1, 1));
    co_return;
  }());
  auto main = [&]() -> Co<void> {
    Outcome<std::tuple<int>> outcome = co_await Settle(Gather(foreign));
    EXPECT_NE(TextOf(outcome).find("belongs to another event loop"),
              std::string::npos)
        << TextOf(outcome);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherTest, PartsAreNotReportedWhenTheLoopIsClosed) {
  std::vector<std::string> reports;
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([&](const ExceptionContext& context) {
      reports.push_back(context.message + ": " + context.task);
    });
    auto main = [&]() -> Co<void> {
      auto gathers = []() -> Co<void> {
        co_await Gather(After(3600, 1), After(3600, 2));
      };
      TaskOptions options;
      options.name = "the user's";
      Task<void> task = CreateTask(gathers(), options);
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
  }
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].substr(0, 48),
            "Task was destroyed but it is pending: the user's");
}

TEST(GatherTest, LoopThatIsClosedWhileGatheringLetsGoOfAll) {
  auto tracker = std::make_shared<int>(0);
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    auto main = [&]() -> Co<void> {
      auto child = [](std::shared_ptr<int>) -> Co<int> {
        co_await Sleep(absl::Hours(1));
        co_return 1;
      };
      Task<int> older = CreateTask(child(tracker));
      auto gathers = [&]() -> Co<void> {
        co_await Gather(older, child(tracker), child(tracker));
      };
      CreateTask(gathers());
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

}  // namespace
}  // namespace coil
