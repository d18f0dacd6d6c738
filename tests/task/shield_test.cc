// Shield and CancelAndWait: asyncio's shield, row A70.

#include "coil/task/shield.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/future.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

TEST(ShieldTest, ReturnsTheResult) {
  auto main = []() -> Co<void> {
    EXPECT_EQ(co_await Shield(After(1, 4)), 4);
    Task<int> task = CreateTask(After(1, 5));
    EXPECT_EQ(co_await Shield(task), 5);
    EXPECT_EQ(task.Result(), 5);
    co_await Shield(Pause(1));
    EXPECT_EQ(co_await Shield(Sleep(absl::Seconds(1), 6)), 6);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ErrorIsThrown) {
  auto main = []() -> Co<void> {
    Outcome<int> outcome = co_await Settle(Shield(FailAfter(1, "no")));
    EXPECT_EQ(TextOf(outcome), "std::runtime_error: no");
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ReferencesAndMoveOnlyValues) {
  auto main = []() -> Co<void> {
    int x = 1;
    auto ref = [&]() -> Co<int&> { co_return x; };
    (co_await Shield(ref())) = 3;
    EXPECT_EQ(x, 3);
    auto box = []() -> Co<std::unique_ptr<int>> {
      co_return std::make_unique<int>(4);
    };
    EXPECT_EQ(*(co_await Shield(box())), 4);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, CancelIsThrownAtOnceAndTheInnerTaskGoesOn) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<int> inner = CreateTask(After(10, 7));
    Task<void> outer = CreateTask([&]() -> Co<void> {
      co_await Shield(inner);
      ADD_FAILURE() << "must not return";
    });
    co_await Sleep(absl::Seconds(1));
    outer.Cancel("why");
    std::string message;
    try {
      co_await outer;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "why");
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(co_await inner, 7);
    EXPECT_EQ(inner.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, CoroutineGoesOnWithoutAHandle) {
  auto main = []() -> Co<void> {
    bool ended = false;
    auto inner = [&]() -> Co<void> {
      co_await Sleep(absl::Seconds(10));
      ended = true;
    };
    Task<void> outer =
        CreateTask([&]() -> Co<void> { co_await Shield(inner()); });
    co_await Sleep(absl::Seconds(1));
    outer.Cancel();
    co_await Settle(outer);
    EXPECT_FALSE(ended);
    co_await Sleep(absl::Seconds(10));
    EXPECT_TRUE(ended);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ShieldsAFuture) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<int> outer = CreateTask(Shield(future));
    co_await Yield();
    outer.Cancel();
    co_await Settle(outer);
    EXPECT_TRUE(outer.Cancelled());
    EXPECT_FALSE(future.Done());
    future.SetResult(1);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, InnerCancelledElsewhereThrowsButDoesNotCancelTheOuter) {
  auto main = []() -> Co<void> {
    Task<int> inner = CreateTask(After(10, 7));
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [inner] { inner.Cancel("elsewhere"); });
    std::string message;
    try {
      co_await Shield(inner);
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "elsewhere");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ErrorAfterTheOuterWasCancelledIsReportedOnce) {
  auto main = []() -> Co<void> {
    Reports reports;
    Task<int> outer = CreateTask(Shield(FailAfter(5, "late")));
    co_await Sleep(absl::Seconds(1));
    outer.Cancel();
    co_await Settle(outer);
    outer = Task<int>();
    co_await Sleep(absl::Seconds(10));
    EXPECT_EQ(reports.texts,
              (std::vector<std::string>{"Task exception was never retrieved: "
                                        "std::runtime_error: late"}));
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ErrorThatAHolderOfTheHandleReadsIsNotReported) {
  auto main = []() -> Co<void> {
    Reports reports;
    {
      Task<int> inner = CreateTask(FailAfter(5, "late"));
      Task<int> outer = CreateTask(Shield(inner));
      co_await Sleep(absl::Seconds(1));
      outer.Cancel();
      co_await Settle(outer);
      EXPECT_THROW(co_await inner, std::runtime_error);
    }
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, DoneInnerIsReturnedWithoutGivingWay) {
  auto main = []() -> Co<void> {
    Task<int> inner = CreateTask(After(1, 7));
    co_await inner;
    bool other = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    EXPECT_EQ(co_await Shield(inner), 7);
    EXPECT_FALSE(other);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, CancelInTheTurnOfTheResultIsNotLost) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<int> outer = CreateTask(Shield(future));
    co_await Yield();
    future.SetResult(5);
    outer.Cancel();
    co_await Settle(outer);
    EXPECT_TRUE(outer.Cancelled());
    EXPECT_EQ(future.Result(), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, ARequestFromBeforeStillStartsTheCoroutine) {
  auto main = []() -> Co<void> {
    bool ended = false;
    auto inner = [&]() -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      ended = true;
    };
    Task<void> outer = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      co_await Shield(inner());
    });
    co_await Settle(outer);
    EXPECT_TRUE(outer.Cancelled());
    co_await Sleep(absl::Seconds(2));
    EXPECT_TRUE(ended);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, SecondAwaitAfterACancelGetsTheResult) {
  auto main = []() -> Co<void> {
    Task<int> inner = CreateTask(After(5, 7));
    Task<int> outer = CreateTask([&]() -> Co<int> {
      try {
        co_await Shield(inner);
      } catch (const CancelledError&) {
      }
      co_return co_await Shield(inner);
    });
    co_await Sleep(absl::Seconds(1));
    outer.Cancel();
    EXPECT_EQ(co_await outer, 7);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, RefusesTheAwaitingTaskItself) {
  auto main = []() -> Co<void> {
    Task<int> task;
    task = CreateTask([&]() -> Co<int> { co_return co_await Shield(task); });
    Outcome<int> outcome = co_await Settle(task);
    EXPECT_NE(TextOf(outcome).find("a task cannot await itself"),
              std::string::npos);
  };
  coil::Run(main, kVirtual);
}

TEST(ShieldTest, LoopThatIsClosedMeanwhileLetsGoOfAll) {
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
      CreateTask(Shield(older));
      CreateTask(Shield(child(tracker)));
      CreateTask(CancelAndWait(CreateTask(Refuses(9999, 1))));
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

// ---- CancelAndWait
// -------------------------------------------------------------

TEST(CancelAndWaitTest, CancelsAndWaitsForTheEnd) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<int> task = CreateTask(CleansUp(5, &cancels));
    co_await Yield();
    co_await CancelAndWait(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_EQ(cancels, 1);
    EXPECT_EQ(SecondsSince(start), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, DoneTargetReturnsAtOnce) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(After(1, 3));
    co_await task;
    bool other = false;
    Task<void> yields = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    co_await CancelAndWait(task);
    EXPECT_FALSE(other);
    EXPECT_EQ(task.Result(), 3);
    co_await yields;
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, TargetThatHasNotStartedNeverRuns) {
  auto main = []() -> Co<void> {
    bool ran = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      ran = true;
      co_return;
    });
    co_await CancelAndWait(task);
    EXPECT_FALSE(ran);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, TargetThatRefusesIsAwaited) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<int> task = CreateTask(Refuses(8, 2));
    co_await Yield();
    co_await CancelAndWait(task);
    EXPECT_EQ(SecondsSince(start), 8);
    EXPECT_EQ(task.Result(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, ErrorOfTheTargetIsNotThrownAndStaysWithTheHandle) {
  auto main = []() -> Co<void> {
    Reports reports;
    auto fails = []() -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      throw std::runtime_error("cleanup failed");
    };
    {
      Task<void> read = CreateTask(fails());
      co_await Yield();
      co_await CancelAndWait(read);
      EXPECT_NE(read.Exception(), nullptr);
    }
    EXPECT_TRUE(reports.texts.empty());
    {
      Task<void> unread = CreateTask(fails());
      co_await Yield();
      co_await CancelAndWait(unread);
    }
    EXPECT_EQ(reports.texts.size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, FutureIsCancelled) {
  auto main = []() -> Co<void> {
    Future<int> future;
    co_await CancelAndWait(future);
    EXPECT_TRUE(future.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, OwnCancelIsThrownAtOnceAndTheRequestStands) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<int> target = CreateTask(CleansUp(5, &cancels));
    co_await Yield();
    Task<void> waiting = CreateTask(CancelAndWait(target));
    co_await Sleep(absl::Seconds(1));
    waiting.Cancel("enough");
    Outcome<void> outcome = co_await Settle(waiting);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_FALSE(target.Done());
    EXPECT_EQ(target.Cancelling(), 1) << "not cancelled a second time";
    co_await Settle(target);
    EXPECT_EQ(SecondsSince(start), 5);
    EXPECT_EQ(cancels, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, OwnCancelInTheTurnOfTheEndIsNotSwallowed) {
  auto main = []() -> Co<void> {
    Task<int> target = CreateTask(After(9, 1));
    co_await Yield();
    Task<void> waiting = CreateTask(CancelAndWait(target));
    // Sees the end of the target before the one who waits for it does.
    while (!target.Done()) co_await Yield();
    EXPECT_FALSE(waiting.Done());
    EXPECT_TRUE(waiting.Cancel());
    Outcome<void> outcome = co_await Settle(waiting);
    EXPECT_TRUE(target.Cancelled());
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelAndWaitTest, RefusesTheTaskItselfAndAnEmptyHandle) {
  auto main = []() -> Co<void> {
    Outcome<void> outcome = co_await Settle(CancelAndWait(CurrentTask()));
    EXPECT_NE(TextOf(outcome).find("a task cannot await itself"),
              std::string::npos);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    Outcome<void> empty = co_await Settle(CancelAndWait(AnyTask()));
    EXPECT_NE(TextOf(empty).find("the handle is empty"), std::string::npos);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
