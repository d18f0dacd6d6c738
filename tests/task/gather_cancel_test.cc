// Gather() under cancellation; gather_test.cc has the rest.

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

Co<int> Wrapped(Co<int> inner) { co_return co_await std::move(inner); }

// ---- cancellation
// ------------------------------------------------------------

TEST(GatherCancelTest, CancelsAndAwaitsAllUnfinishedChildren) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels[3] = {};
    Task<int> done = CreateTask(After(1, 1));
    Task<void> gathering = CreateTask([&]() -> Co<void> {
      co_await Gather(done, CleansUp(5, &cancels[0]), CleansUp(9, &cancels[1]),
                      CleansUp(2, &cancels[2]));
    });
    co_await Sleep(absl::Seconds(2));
    EXPECT_TRUE(gathering.Cancel("stop"));
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 11);
    EXPECT_EQ(cancels[0], 1);
    EXPECT_EQ(cancels[1], 1);
    EXPECT_EQ(cancels[2], 1);
    EXPECT_FALSE(done.Cancelled());
    EXPECT_EQ(done.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, MessageReachesTheChildrenAndTheCaller) {
  auto main = []() -> Co<void> {
    Task<int> child = CreateTask(After(10, 1));
    std::string message;
    Task<void> gathering = CreateTask([&]() -> Co<void> {
      try {
        co_await Gather(child, After(20, 2));
      } catch (const CancelledError& e) {
        message = e.message();
        throw;
      }
    });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel("why");
    co_await Settle(gathering);
    EXPECT_EQ(message, "why");
    std::string child_message;
    try {
      child.Result();
    } catch (const CancelledError& e) {
      child_message = e.message();
    }
    EXPECT_EQ(child_message, "why");
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ChildrenAreCancelledInOrder) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    auto child = [&order](int id) -> Co<void> {
      bool cancelled = false;
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
        cancelled = true;
      }
      EXPECT_TRUE(cancelled);
      order.push_back(id);
    };
    auto inner = [&]() -> Co<void> { co_await Gather(child(2), child(3)); };
    auto outer = [&]() -> Co<void> {
      co_await Gather(child(1), inner(), child(4));
    };
    Task<void> task = CreateTask(outer());
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    co_await Settle(task);
    // Depth first, as the recursion would.
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ASecondCancelIsPassedOnToo) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    Task<void> gathering = CreateTask([&]() -> Co<void> {
      co_await Gather(CleansUp(100, &cancels), CleansUp(100, &cancels));
    });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel();
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(cancels, 2);
    gathering.Cancel();
    co_await Yield();
    co_await Yield();
    co_await Yield();
    EXPECT_EQ(cancels, 4);
    EXPECT_TRUE(gathering.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ChildrenThatRefuseAreAwaitedAndTheirResultsDropped) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<void> gathering = CreateTask([]() -> Co<void> {
      co_await Gather(Refuses(7, 1), Refuses(3, 2));
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

TEST(GatherCancelTest, ErrorsOfTheCleanupDoNotReplaceTheCancel) {
  auto main = []() -> Co<void> {
    Reports reports;
    auto fails = [](int seconds) -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      co_await Sleep(absl::Seconds(seconds));
      throw std::runtime_error("cleanup failed");
    };
    const LoopTime start = EventLoop::Current().Now();
    Task<void> gathering =
        CreateTask([&]() -> Co<void> { co_await Gather(fails(1), fails(4)); });
    co_await Yield();
    co_await Yield();
    gathering.Cancel();
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 4);
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, VectorFormCancelsAndAwaitsToo) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> gathering = CreateTask([&]() -> Co<void> {
      std::vector<Co<int>> all;
      for (int i = 0; i < 10; ++i) all.push_back(CleansUp(i, &cancels));
      co_await Gather(std::move(all));
    });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel();
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(cancels, 10);
    EXPECT_EQ(SecondsSince(start), 10);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, CancelOfFuturesEndsItAtOnce) {
  auto main = []() -> Co<void> {
    Future<int> a;
    Future<int> b;
    Task<void> gathering =
        CreateTask([&]() -> Co<void> { co_await Gather(a, b); });
    co_await Yield();
    gathering.Cancel();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_TRUE(b.Cancelled());
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ARequestFromBeforeIsDeliveredAndReachesTheChildren) {
  auto main = []() -> Co<void> {
    int started = 0;
    auto child = [&]() -> Co<void> {
      ++started;
      co_await Sleep(absl::Hours(1));
    };
    Task<void> running = CreateTask(child());
    co_await Yield();
    Task<void> task = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel("myself");
      co_await Gather(running, child());
    });
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_TRUE(running.Cancelled());
    EXPECT_EQ(started, 1)
        << "the second one was cancelled before its first step";
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ARequestFromBeforeIsNotDeliveredByWhatDoesNotBlock) {
  auto main = []() -> Co<void> {
    Task<int> done = CreateTask(After(1, 5));
    co_await done;
    Task<int> task = CreateTask([&]() -> Co<int> {
      CurrentTask().Cancel();
      auto [value] = co_await Gather(done);
      CurrentTask().Uncancel();
      co_return value;
    });
    EXPECT_EQ(co_await task, 5);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, CancelAfterTheErrorLeavesTheSiblingsAlone) {
  auto main = []() -> Co<void> {
    Task<int> sibling = CreateTask(After(10, 3));
    Future<int> failing;
    Task<void> gathering =
        CreateTask([&]() -> Co<void> { co_await Gather(sibling, failing); });
    co_await Sleep(absl::Seconds(1));
    // In one turn: the error ends the gather, then the cancel comes.
    failing.SetException(std::runtime_error("no"));
    EXPECT_TRUE(gathering.Cancel());
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(co_await sibling, 3);
    EXPECT_EQ(sibling.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, CancelInTheTurnOfTheLastResultIsNotLost) {
  auto main = []() -> Co<void> {
    Future<int> last;
    Task<void> gathering =
        CreateTask([&]() -> Co<void> { co_await Gather(After(1, 1), last); });
    co_await Sleep(absl::Seconds(2));
    last.SetResult(1);
    EXPECT_TRUE(gathering.Cancel());
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, CancelOnceDoneDoesNothing) {
  auto main = []() -> Co<void> {
    Task<std::tuple<int>> gathering = CreateTask(Gather(After(1, 1)));
    co_await gathering;
    EXPECT_FALSE(gathering.Cancel());
    EXPECT_EQ(std::get<0>(gathering.Result()), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, UncancelWhileWaitingDoesNotUndoTheDelivery) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    Task<void> gathering = CreateTask(
        [&]() -> Co<void> { co_await Gather(CleansUp(5, &cancels)); });
    co_await Sleep(absl::Seconds(1));
    gathering.Cancel();
    gathering.Uncancel();
    Outcome<void> outcome = co_await Settle(gathering);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, ACircleThroughAGatherIsBroken) {
  auto main = []() -> Co<void> {
    Task<void> parent;
    Task<void> child = CreateTask([&]() -> Co<void> {
      co_await Yield();
      co_await parent;
    });
    parent =
        CreateTask([&]() -> Co<void> { co_await Gather(child, After(50, 1)); });
    co_await Sleep(absl::Seconds(1));
    parent.Cancel();
    Outcome<void> outcome = co_await Settle(parent);
    EXPECT_TRUE(outcome.Cancelled());
    Outcome<void> of_child = co_await Settle(child);
    EXPECT_TRUE(of_child.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(GatherCancelTest, CoroutinesOfAGatherThatNeverBeganAreNotReported) {
  auto main = []() -> Co<void> {
    Reports reports;
    Task<std::tuple<int, int>> never =
        CreateTask(Gather(After(1, 1), Wrapped(After(1, 2))));
    never.Cancel();
    co_await Settle(never);
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
    Co<int> disposed = Wrapped(After(1, 2));
    disposed.Dispose();
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
