// What everything else rests on: awaiting, tasks, cancellation, order, the
// stack.

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/invoke.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

Co<int> Child(int i) { co_return i + 1; }

Co<int> Fails() {
  co_await Yield();
  throw std::runtime_error("no");
}

TEST(CoTest, AwaitReturnsTheValue) {
  auto main = []() -> Co<int> {
    int a = co_await Child(1);
    co_return co_await Child(a);
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 3);
}

TEST(CoTest, ErrorComesOutOfTheAwait) {
  auto main = []() -> Co<std::string> {
    std::string what;
    try {
      co_await Fails();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    co_return what;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), "no");
}

TEST(CoTest, AwaitedTwiceNamesTheRule) {
  auto main = []() -> Co<void> {
    Co<int> child = Child(1);
    co_await child;
    EXPECT_THROW(co_await child, std::runtime_error);
  };
  coil::Run(main, kVirtual);
}

Co<int> Deep(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await Deep(n - 1);
}

TEST(CoTest, DeepChainDoesNotOverflowTheStack) {
  auto main = []() -> Co<int> { co_return co_await Deep(100000); };
  EXPECT_EQ(coil::Run(main, kVirtual), 100000);
}

Co<void> DeepSleep(int n) {
  if (n == 0) {
    co_await Sleep(absl::Hours(1));
  } else {
    co_await DeepSleep(n - 1);
  }
}

TEST(CoTest, DeepChainIsCancelledAndUnwound) {
  auto main = []() -> Co<bool> {
    Task<void> task = CreateTask(DeepSleep(1000));
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    co_await Sleep(absl::Seconds(1));
    co_return task.Cancelled();
  };
  EXPECT_TRUE(coil::Run(main, kVirtual));
}

TEST(TaskTest, RunsInOrderOfCreation) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    auto worker = [&order](int i) -> Co<void> {
      order.push_back(i);
      co_await Yield();
      order.push_back(i + 10);
    };
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(worker(i)));
    for (auto& task : tasks) co_await task;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 10, 11, 12}));
}

TEST(TaskTest, CancelledBeforeItsFirstStepNeverRuns) {
  bool ran = false;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask([&ran]() -> Co<void> {
      ran = true;
      co_return;
    });
    EXPECT_TRUE(task.Cancel("why"));
    std::string message;
    try {
      co_await task;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "why");
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_FALSE(ran);
}

TEST(TaskTest, CancelPassesThroughAChainOfTasks) {
  auto main = []() -> Co<void> {
    Task<void> inner = CreateTask(Sleep(absl::Hours(1)));
    Task<void> outer = CreateTask([inner]() -> Co<void> { co_await inner; });
    co_await Yield();
    co_await Yield();
    outer.Cancel();
    co_await Settle(outer);
    EXPECT_TRUE(inner.Cancelled());
    EXPECT_TRUE(outer.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, FutureWakesItsWaiters) {
  auto main = []() -> Co<int> {
    Future<int> future;
    EventLoop::Current().CallLater(absl::Seconds(5),
                                   [future] { future.SetResult(7); });
    co_return co_await future;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 7);
}

TEST(TaskTest, SettleKeepsTheError) {
  auto main = []() -> Co<void> {
    Outcome<int> outcome = co_await Settle(Fails());
    EXPECT_FALSE(outcome.Ok());
    absl::StatusOr<int> status = co_await AsStatus(Fails());
    EXPECT_EQ(status.status().message(), "std::runtime_error: no");
    Task<int> task = CreateTask(Fails());
    Outcome<int> of_task = co_await Settle(task);
    EXPECT_FALSE(of_task.Ok());
  };
  coil::Run(main, kVirtual);
}

Co<long> ManyAwaits(int n) {
  long sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await Child(i);
  co_return sum;
}

TEST(CoTest, MillionAwaitsThatCompleteAtOnce) {
  EXPECT_EQ(coil::Run(ManyAwaits(1000000), kVirtual), 500000500000);
}

TEST(TaskTest, LoopIsClosedWithReadyAndSuspendedTasks) {
  int reports = 0;
  int destroyed = 0;
  struct Counted {
    explicit Counted(int* count) : count(count) {}
    Counted(Counted&& other) noexcept
        : count(std::exchange(other.count, nullptr)) {}
    ~Counted() {
      if (count != nullptr) ++*count;
    }
    int* count;
  };
  EventLoop loop;
  loop.SetExceptionHandler([&](const ExceptionContext&) { ++reports; });
  auto sleeper = [](Counted) -> Co<void> { co_await Sleep(absl::Hours(1)); };
  auto main = [&]() -> Co<void> {
    CreateTask(sleeper(Counted(&destroyed)));  // suspended
    co_await Yield();
    Task<void> inner = CreateTask(sleeper(Counted(&destroyed)));
    CreateTask([inner]() -> Co<void> { co_await inner; });  // waits for a task
    CreateTask(sleeper(Counted(&destroyed)));  // ready, never started
  };
  loop.RunUntilComplete(main());
  loop.Close();
  EXPECT_EQ(reports, 4);
  EXPECT_EQ(destroyed, 3);
}

}  // namespace
}  // namespace coil
