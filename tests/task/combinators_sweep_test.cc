// T9 for the combinators: each scenario is cancelled wherever one of its tasks
// waits, and again during the cleanup; nothing is lost and nothing is left.

#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "coil/sync/queue.h"
#include "coil/sync/semaphore.h"
#include "coil/task/as_completed.h"
#include "coil/task/gather.h"
#include "coil/task/race.h"
#include "coil/task/shield.h"
#include "coil/task/task_group.h"
#include "coil/task/testing_sweep.h"
#include "coil/task/wait.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

// Holds a permit for a second, in which it gives way now and then.
Co<int> Worker(Semaphore* slots) {
  Semaphore::Permit permit = co_await slots->Acquire();
  co_await Yield();
  co_await Sleep(absl::Seconds(1));
  co_return 1;
}

Co<int> FailingWorker(Semaphore* slots) {
  Semaphore::Permit permit = co_await slots->Acquire();
  co_await Sleep(absl::Seconds(1));
  throw std::runtime_error("worker");
}

std::shared_ptr<Semaphore> Slots(SweepRun& run, int n) {
  auto slots = std::make_shared<Semaphore>(n);
  run.AtEnd([slots, n] {
    for (int i = 0; i < n; ++i) EXPECT_TRUE(slots->TryAcquire().has_value());
  });
  return slots;
}

SweepOptions Hard() { return SweepOptions().SecondCancel().Seeds(3); }

TEST(ReliabilityT9, Gather) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 1);
    std::vector<Co<int>> more;
    for (int i = 0; i < 2; ++i) more.push_back(Worker(slots.get()));
    co_await Gather(Worker(slots.get()), Worker(slots.get()),
                    Gather(std::move(more)));
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 20u);
}

TEST(ReliabilityT9, GatherSettled) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 1);
    co_await GatherSettled(Worker(slots.get()), FailingWorker(slots.get()),
                           Worker(slots.get()));
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

TEST(ReliabilityT9, GatherOfAFailure) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 2);
    Outcome<std::tuple<int, int>> outcome = co_await Settle(
        Gather(FailingWorker(slots.get()), Worker(slots.get())));
    co_await Sleep(absl::Seconds(5));
    EXPECT_TRUE(run.Injects() || !outcome.Ok());
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

TEST(ReliabilityT9, Race) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 1);
    auto queue = std::make_shared<Queue<int>>();
    auto got = std::make_shared<int>(0);
    run.AtEnd([queue, got] {
      if (queue->TryGet().has_value()) ++*got;
      EXPECT_TRUE(*got <= 1 && queue->Empty());
    });
    auto put = [](std::shared_ptr<Queue<int>> q) -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      co_await q->Put(7);
    };
    Task<void> producer = CreateTask(put(queue));
    auto result = co_await Race(queue->Get(), Sleep(absl::Seconds(1)),
                                Worker(slots.get()));
    if (result.index() == 0) ++*got;
    co_await producer;
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

TEST(ReliabilityT9, Wait) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 1);
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(CreateTask(Worker(slots.get())));
    const WaitOptions first = {.return_when = ReturnWhen::kFirstCompleted};
    WaitResult<Task<int>> result = co_await Wait(tasks, first);
    const WaitOptions late = {.timeout = absl::Milliseconds(1500)};
    if (!result.pending.empty()) {
      co_await Wait(std::move(result.pending), late);
    }
    co_await Wait(std::move(tasks));
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 20u);
}

TEST(ReliabilityT9, AsCompleted) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 2);
    std::vector<Co<int>> all;
    for (int i = 0; i < 3; ++i) all.push_back(Worker(slots.get()));
    int count = 0;
    auto range = AsCompleted(std::move(all), absl::Seconds(60));
    while (auto task = co_await range.Next()) ++count;
    EXPECT_EQ(count, 3);
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

TEST(ReliabilityT9, ShieldAndCancelAndWait) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 1);
    Task<int> first = CreateTask(Worker(slots.get()));
    Task<int> second = CreateTask(Worker(slots.get()));
    co_await Yield();
    co_await CancelAndWait(second);
    co_await Shield(first);
    co_await Shield(Worker(slots.get()));
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

TEST(ReliabilityT9, TaskGroup) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 2);
    auto body = [&](TaskGroup& group) -> Co<int> {
      Task<int> a = group.CreateTask(Worker(slots.get()));
      group.CreateTask(Worker(slots.get()));
      auto inner = [&](TaskGroup& nested) -> Co<void> {
        nested.CreateTask(Worker(slots.get()));
        co_await Yield();
        nested.Cancel();
      };
      co_await WithTaskGroup(inner);
      co_return co_await a;
    };
    co_await WithTaskGroup(body);
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 20u);
}

TEST(ReliabilityT9, TaskGroupThatFails) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 2);
    auto body = [&](TaskGroup& group) -> Co<void> {
      group.CreateTask(Worker(slots.get()));
      group.CreateTask(FailingWorker(slots.get()));
      group.CreateTask(Worker(slots.get()));
      co_await Sleep(absl::Seconds(9));
    };
    Outcome<void> outcome = co_await Settle(WithTaskGroup(body));
    EXPECT_TRUE(run.Injects() || !outcome.Ok());
    co_await Yield();
  };
  EXPECT_GT(ForEachCancellationPoint(scenario, Hard()).points, 10u);
}

// The loop is closed at each suspension: destructors put everything right.
TEST(ReliabilityT17, CombinatorsThatAreDestroyedWhereTheyStand) {
  auto scenario = [](SweepRun& run) -> Co<void> {
    auto slots = Slots(run, 2);
    auto queue = std::make_shared<Queue<int>>();
    Task<int> older = CreateTask(Worker(slots.get()));
    auto body = [&](TaskGroup& group) -> Co<void> {
      group.CreateTask(Worker(slots.get()));
      group.CreateTask([slots]() -> Co<void> {
        auto result = co_await GatherSettled(Worker(slots.get()),
                                             FailingWorker(slots.get()));
        EXPECT_TRUE(std::get<0>(result).Ok());
      });
      std::vector<Co<int>> all;
      all.push_back(Worker(slots.get()));
      auto range = AsCompleted(std::move(all), absl::Seconds(60));
      while (auto task = co_await range.Next()) {
      }
      co_await Race(queue->Get(), Shield(older), Sleep(absl::Seconds(9)));
    };
    co_await WithTaskGroup(body);
    const WaitOptions options = {.timeout = absl::Seconds(1)};
    co_await Wait(options, older);
  };
  // The errors of what was gathered have no reader once the reader is
  // destroyed.
  const SweepOptions options = SweepOptions().Seeds(2).AllowReports();
  EXPECT_GT(ForEachDestructionPoint(scenario, options).points, 10u);
}

}  // namespace
}  // namespace coil
