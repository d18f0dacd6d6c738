// Cancellation of tasks: counting, delivery, chains (A18 to A23).

#include <stdexcept>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

using Log = std::vector<std::string>;

Co<int> Gives(int value) {
  co_await Yield();
  co_return value;
}

Co<void> Forever() { co_await Sleep(absl::InfiniteDuration()); }

TEST(CancelTest, ReturnsFalseForWhatIsDone) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Gives(1));
    co_await task;
    EXPECT_FALSE(task.Cancel());
    EXPECT_EQ(task.Cancelling(), 0);
    EXPECT_EQ(task.Result(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, EveryCallCountsAndUncancelTakesOneBack) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Forever());
    co_await Yield();
    EXPECT_EQ(task.Cancelling(), 0);
    EXPECT_TRUE(task.Cancel());
    EXPECT_TRUE(task.Cancel());
    EXPECT_EQ(task.Cancelling(), 2);
    EXPECT_EQ(task.Uncancel(), 1);
    EXPECT_EQ(task.Uncancel(), 0);
    EXPECT_EQ(task.Uncancel(), 0);  // never below
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());  // it was delivered already
  };
  coil::Run(main, kVirtual);
}

// The small count in the task, and what is more beside it.
TEST(CancelTest, AThousandCallsCount) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask([]() -> Co<void> { co_return; });
    for (int i = 1; i <= 1000; ++i) {
      EXPECT_TRUE(task.Cancel());
      EXPECT_EQ(task.Cancelling(), i);
    }
    for (int i = 999; i >= 0; --i) EXPECT_EQ(task.Uncancel(), i);
    co_await task;  // the request was dropped
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, UncancelToZeroDropsARequestThatWasNotDelivered) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask([]() -> Co<int> {
      CurrentTask().Cancel();
      EXPECT_EQ(CurrentTask().Uncancel(), 0);
      co_await Sleep(absl::Seconds(1));
      co_return 5;
    });
    EXPECT_EQ(co_await task, 5);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, SwallowingDoesNotLowerTheCount) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask([]() -> Co<int> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      co_await Sleep(absl::Seconds(1));  // not cancelled again
      co_return CurrentTask().Cancelling();
    });
    co_await Yield();
    task.Cancel();
    EXPECT_FALSE(task.Cancelled());  // pending
    EXPECT_EQ(co_await task, 1);
    EXPECT_FALSE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ASecondRequestIsDeliveredAgain) {
  auto main = []() -> Co<void> {
    int caught = 0;
    Task<void> task = CreateTask([&caught]() -> Co<void> {
      while (caught < 3) {
        try {
          co_await Sleep(absl::InfiniteDuration());
        } catch (const CancelledError&) {
          ++caught;
        }
      }
    });
    for (int i = 0; i < 3; ++i) {
      co_await Sleep(absl::Seconds(1));
      task.Cancel();
    }
    co_await task;
    EXPECT_EQ(caught, 3);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, TwoRequestsBeforeTheDeliveryAreOneCancellation) {
  auto main = []() -> Co<void> {
    int caught = 0;
    Task<void> task = CreateTask([&caught]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        ++caught;
      }
      co_await Sleep(absl::Seconds(1));
    });
    co_await Yield();
    task.Cancel();
    task.Cancel();
    co_await task;
    EXPECT_EQ(caught, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ARequestIsNotDeliveredByAnAwaitThatDoesNotBlock) {
  auto main = []() -> Co<void> {
    Log log;
    Task<void> task = CreateTask([&log]() -> Co<void> {
      CurrentTask().Cancel();
      Future<int> ready;
      ready.SetResult(1);
      co_await ready;
      log.push_back("ready");
      co_await Yield();
      log.push_back("not reached");
    });
    co_await Settle(task);
    EXPECT_EQ(log, (Log{"ready"}));
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ARunnableTaskIsCancelledAtItsResume) {
  auto main = []() -> Co<void> {
    Future<int> future;
    bool reached = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await future;
      reached = true;
    });
    co_await Yield();
    future.SetResult(1);
    task.Cancel();  // it is in the queue, with its result
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_FALSE(reached);
    EXPECT_EQ(future.Result(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ACancelOfOneselfBeforeTheReturnDropsTheValue) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask([]() -> Co<int> {
      CurrentTask().Cancel("late");
      co_return 5;
    });
    auto outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ACancelOfOneselfBeforeAnErrorLeavesTheError) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask([]() -> Co<int> {
      CurrentTask().Cancel();
      throw std::range_error("error");
      co_return 5;
    });
    auto outcome = co_await Settle(task);
    EXPECT_THROW(outcome.Rethrow(), std::range_error);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, AnInnerTaskMayRefuseAndTheOuterGoesOn) {
  auto main = []() -> Co<void> {
    Task<int> inner = CreateTask([]() -> Co<int> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      co_return 8;
    });
    Task<int> outer =
        CreateTask([inner]() -> Co<int> { co_return co_await inner + 1; });
    co_await Sleep(absl::Seconds(1));
    outer.Cancel();
    EXPECT_EQ(co_await outer, 9);
    EXPECT_EQ(outer.Cancelling(), 1);
    EXPECT_EQ(inner.Cancelling(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ACancelOfAnInnerTaskEndsTheOuterWithCancelledError) {
  auto main = []() -> Co<void> {
    Task<void> inner = CreateTask(Forever());
    Task<void> outer = CreateTask([inner]() -> Co<void> { co_await inner; });
    co_await Sleep(absl::Seconds(1));
    inner.Cancel("inner");
    auto outcome = co_await Settle(outer);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(outer.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, TheLastMessageCounts) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Forever());
    co_await Yield();
    task.Cancel("first");
    task.Cancel("second");
    std::string message;
    try {
      co_await task;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "second");
  };
  coil::Run(main, kVirtual);
}

TEST(CancelTest, ACircleOfTasksIsBroken) {
  auto main = []() -> Co<void> {
    Task<void> a;
    Task<void> b;
    auto of_a = [&]() -> Co<void> { co_await b; };
    auto of_b = [&]() -> Co<void> { co_await a; };
    a = CreateTask(of_a);
    b = CreateTask(of_b);
    co_await Sleep(absl::Seconds(1));
    a.Cancel();
    co_await Settle(a);
    co_await Settle(b);
    EXPECT_TRUE(a.Cancelled());
    EXPECT_TRUE(b.Cancelled());
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
