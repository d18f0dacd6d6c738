// Coroutines, tasks and the helpers of the package task, cancelled and
// destroyed wherever they can be.

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "coil/loop/event_loop.h"
#include "coil/task/as_completed.h"
#include "coil/task/async_exit_stack.h"
#include "coil/task/async_generator.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/errors.h"
#include "coil/task/finally.h"
#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "coil/task/invoke.h"
#include "coil/task/outcome.h"
#include "coil/task/race.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "coil/task/wait.h"
#include "coil/task/with.h"
#include "coil/tests/task/sweep_scenario.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

// How many are alive; back at zero at the end of each run.
struct Balance {
  int open = 0;
};

class Held {
 public:
  explicit Held(std::shared_ptr<Balance> balance)
      : balance_(std::move(balance)) {
    ++balance_->open;
  }
  Held(Held&& other) noexcept = default;
  Held& operator=(Held&&) = delete;
  ~Held() {
    if (balance_ != nullptr) --balance_->open;
  }

 private:
  std::shared_ptr<Balance> balance_;
};

std::shared_ptr<Balance> MakeBalance(SweepRun& run) {
  auto balance = std::make_shared<Balance>();
  run.AtEnd([balance] { EXPECT_EQ(balance->open, 0); });
  return balance;
}

Co<int> Wait(int seconds, int result) {
  co_await Sleep(absl::Seconds(seconds));
  co_return result;
}

Co<int> WaitHolding(std::shared_ptr<Balance> balance, int seconds, int result) {
  Held held(balance);
  co_await Sleep(absl::Seconds(seconds));
  co_await Yield();
  co_return result;
}

Co<int> Fail(int seconds) {
  co_await Sleep(absl::Seconds(seconds));
  throw std::runtime_error("planned");
}

SweepOptions Planned() {
  return SweepOptions()
      .AllowError<std::runtime_error>()
      .AllowError<ExceptionGroup>()
      .AllowReports();
}

// ---- coroutines

SWEEP_SCENARIO(AwaitedCoroutine) {
  auto balance = MakeBalance(run);
  EXPECT_EQ(co_await WaitHolding(balance, 1, 7), 7);
}

Co<int> Nested(std::shared_ptr<Balance> balance, int depth) {
  Held held(balance);
  if (depth == 0) co_return co_await WaitHolding(balance, 1, 0);
  const int below = co_await Nested(balance, depth - 1);
  co_await Yield();
  co_return below + 1;
}

SWEEP_SCENARIO(NestedCoroutines) {
  auto balance = MakeBalance(run);
  EXPECT_EQ(co_await Nested(balance, 5), 5);
}

SWEEP_SCENARIO(YieldsInALoop) {
  for (int i = 0; i < 5; ++i) co_await Yield();
}

SWEEP_SCENARIO(ErrorThatIsCaughtAndFollowedByAnAwait) {
  auto balance = MakeBalance(run);
  Held held(balance);
  bool failed = false;
  try {
    co_await Fail(1);
  } catch (const std::runtime_error&) {
    failed = true;
  }
  if (failed) co_await Wait(1, 0);
}

SWEEP_SCENARIO(CleanupThatAwaits) {
  auto balance = MakeBalance(run);
  std::exception_ptr error;
  {
    Held held(balance);
    try {
      co_await Wait(1, 0);
    } catch (...) {
      error = std::current_exception();
    }
    co_await Wait(1, 0);
  }
  if (error != nullptr) std::rethrow_exception(error);
}

SWEEP_SCENARIO(InvokedCallableWithCaptures) {
  auto balance = MakeBalance(run);
  auto body = [held = std::make_shared<Held>(balance)](int n) -> Co<int> {
    co_await Wait(1, 0);
    co_return n;
  };
  EXPECT_EQ(co_await Invoke(body, 3), 3);
}

// ---- tasks and futures

SWEEP_SCENARIO(AwaitedTask) {
  auto balance = MakeBalance(run);
  Task<int> task = CreateTask(WaitHolding(balance, 1, 7));
  EXPECT_EQ(co_await task, 7);
}

SWEEP_SCENARIO(TaskWhoseResultIsMovedOut) {
  auto make = []() -> Co<std::unique_ptr<int>> {
    co_await Yield();
    co_return std::make_unique<int>(7);
  };
  Task<std::unique_ptr<int>> task = CreateTask(make());
  std::unique_ptr<int> value = co_await std::move(task);
  EXPECT_EQ(*value, 7);
}

Co<int> AwaitTask(Task<int> task) { co_return co_await task; }

SWEEP_SCENARIO(ChainOfTasks) {
  auto balance = MakeBalance(run);
  Task<int> a = CreateTask(WaitHolding(balance, 1, 7));
  Task<int> b = CreateTask(AwaitTask(a));
  Task<int> c = CreateTask(AwaitTask(b));
  EXPECT_EQ(co_await c, 7);
}

SWEEP_SCENARIO(TaskAwaitedByTwo) {
  Task<int> inner = CreateTask(Wait(1, 7));
  Task<int> left = CreateTask(AwaitTask(inner));
  Task<int> right = CreateTask(AwaitTask(inner));
  EXPECT_EQ(co_await left, 7);
  EXPECT_EQ(co_await right, 7);
}

SWEEP_SCENARIO(TaskOfACallable) {
  auto balance = MakeBalance(run);
  Task<int> task =
      CreateTask([held = std::make_shared<Held>(balance)]() -> Co<int> {
        co_return co_await Wait(1, 7);
      });
  EXPECT_EQ(co_await task, 7);
}

SWEEP_SCENARIO(EagerTask) {
  auto balance = MakeBalance(run);
  Task<int> task =
      CreateTask(WaitHolding(balance, 1, 7), {.eager_start = true});
  EXPECT_EQ(co_await task, 7);
}

SWEEP_SCENARIO(TasksWithoutHandles) {
  auto balance = MakeBalance(run);
  for (int i = 0; i < 3; ++i) CreateTask(WaitHolding(balance, i, i));
  co_await Sleep(absl::Seconds(5));
}

SWEEP_SCENARIO(FutureSetByACallback) {
  Future<int> future;
  TimerHandle timer =
      EventLoop::Current().CallLater(absl::Seconds(1), [future] {
        if (!future.Done()) future.SetResult(7);
      });
  std::exception_ptr error;
  int value = 0;
  try {
    value = co_await future;
  } catch (...) {
    error = std::current_exception();
  }
  timer.Cancel();
  if (error != nullptr) std::rethrow_exception(error);
  EXPECT_EQ(value, 7);
}

SWEEP_SCENARIO(FutureSetByATask) {
  Future<int> future;
  auto set = [future]() -> Co<void> {
    co_await Wait(1, 0);
    if (!future.Done()) future.SetResult(7);
  };
  Task<void> setter = CreateTask(set);
  // Whoever sets it may be cancelled: the future is awaited through the setter.
  co_await setter;
  EXPECT_EQ(co_await future, 7);
}

SWEEP_SCENARIO(FutureThatSomebodyElseCancels) {
  Future<int> future;
  auto cancel = [future]() -> Co<void> {
    co_await Yield();
    future.Cancel();
  };
  Task<void> canceller = CreateTask(cancel);
  co_await canceller;
  const Outcome<int> outcome = co_await Settle(future);
  EXPECT_TRUE(outcome.Cancelled());
}

SWEEP_SCENARIO(TaskThatCancelsItself) {
  auto self = []() -> Co<void> {
    CurrentTask().Cancel();
    co_await Yield();
  };
  Task<void> task = CreateTask(self());
  const Outcome<void> outcome = co_await Settle(task);
  EXPECT_TRUE(outcome.Cancelled());
}

SWEEP_SCENARIO(CancelThatIsTakenBack) {
  bool cancelled = false;
  try {
    co_await Wait(1, 0);
  } catch (const CancelledError&) {
    cancelled = true;
  }
  if (cancelled) CurrentTask().Uncancel();
  co_await Wait(1, 0);
}

SWEEP_SCENARIO(DoneCallbacks) {
  auto calls = std::make_shared<int>(0);
  Task<int> task = CreateTask(Wait(1, 7));
  task.AddDoneCallback([calls](AnyTask) { ++*calls; });
  run.AtEnd([calls] { EXPECT_LE(*calls, 1); });
  EXPECT_EQ(co_await task, 7);
  co_await Yield();
  EXPECT_EQ(*calls, 1);
}

ContextVar<int> g_variable("variable", 0);

SWEEP_SCENARIO(ContextVariables) {
  auto token = g_variable.Set(1);
  auto child = []() -> Co<void> {
    EXPECT_EQ(g_variable.Get(), 1);
    g_variable.Set(2);
    co_await Wait(1, 0);
    EXPECT_EQ(g_variable.Get(), 2);
  };
  Task<void> task = CreateTask(child());
  co_await task;
  EXPECT_EQ(g_variable.Get(), 1);
  g_variable.Reset(token);
}

// ---- outcomes

SWEEP_SCENARIO(SettledCoroutine) {
  const Outcome<int> good = co_await Settle(Wait(1, 7));
  EXPECT_TRUE(good.Ok());
  const Outcome<int> bad = co_await Settle(Fail(1));
  EXPECT_FALSE(bad.Ok());
}

SWEEP_SCENARIO(SettledTask, Planned()) {
  Task<int> task = CreateTask(Fail(1));
  const Outcome<int> outcome = co_await Settle(task);
  EXPECT_FALSE(outcome.Ok());
}

SWEEP_SCENARIO(StatusOfAnOperation) {
  const absl::StatusOr<int> status = co_await AsStatus(Wait(1, 7));
  EXPECT_TRUE(status.ok());
}

// ---- gather

SWEEP_SCENARIO(GatherOfCoroutines) {
  auto balance = MakeBalance(run);
  auto [a, b, c] =
      co_await Gather(WaitHolding(balance, 1, 1), WaitHolding(balance, 2, 2),
                      WaitHolding(balance, 1, 3));
  EXPECT_EQ(a + b + c, 6);
}

SWEEP_SCENARIO(GatherOfAVector) {
  auto balance = MakeBalance(run);
  std::vector<Co<int>> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(WaitHolding(balance, i, i));
  const std::vector<int> values = co_await Gather(std::move(parts));
  EXPECT_EQ(values.size(), 4u);
}

SWEEP_SCENARIO(GatherWithAnError, Planned()) {
  auto balance = MakeBalance(run);
  bool failed = false;
  try {
    co_await Gather(WaitHolding(balance, 2, 1), Fail(1));
  } catch (const std::runtime_error&) {
    failed = true;
  }
  EXPECT_TRUE(failed);
}

SWEEP_SCENARIO(GatherSettledOutcomes, Planned()) {
  auto balance = MakeBalance(run);
  auto [a, b] = co_await GatherSettled(WaitHolding(balance, 2, 1), Fail(1));
  EXPECT_FALSE(b.Ok());
  // A part that was cancelled from outside is an outcome.
  EXPECT_TRUE(a.Ok() || a.Cancelled());
}

Co<int> GatherTwo(std::shared_ptr<Balance> balance) {
  auto [a, b] =
      co_await Gather(WaitHolding(balance, 1, 1), WaitHolding(balance, 2, 2));
  co_return a + b;
}

SWEEP_SCENARIO(GatherOfGathers) {
  auto balance = MakeBalance(run);
  auto [a, b] = co_await Gather(GatherTwo(balance), GatherTwo(balance));
  EXPECT_EQ(a + b, 6);
}

SWEEP_SCENARIO(GatherOfATaskTwice) {
  Task<int> task = CreateTask(Wait(1, 7));
  auto [a, b] = co_await Gather(task, task);
  EXPECT_EQ(a, b);
}

// ---- wait, as_completed, race, shield

std::vector<Task<int>> ThreeTasks(std::shared_ptr<Balance> balance) {
  std::vector<Task<int>> tasks;
  for (int i = 1; i <= 3; ++i) {
    tasks.push_back(CreateTask(WaitHolding(balance, i, i)));
  }
  return tasks;
}

SWEEP_SCENARIO(WaitForAll) {
  auto balance = MakeBalance(run);
  std::vector<Task<int>> tasks = ThreeTasks(balance);
  const WaitResult<Task<int>> result = co_await coil::Wait(tasks);
  EXPECT_EQ(result.done.size(), 3u);
}

SWEEP_SCENARIO(WaitForTheFirst) {
  auto balance = MakeBalance(run);
  std::vector<Task<int>> tasks = ThreeTasks(balance);
  const WaitResult<Task<int>> result =
      co_await coil::Wait(tasks, {.return_when = ReturnWhen::kFirstCompleted});
  EXPECT_GE(result.done.size(), 1u);
  for (const Task<int>& task : result.pending) co_await CancelAndWait(task);
}

SWEEP_SCENARIO(WaitForTheFirstError, Planned()) {
  auto balance = MakeBalance(run);
  std::vector<Task<int>> tasks = ThreeTasks(balance);
  tasks.push_back(CreateTask(Fail(2)));
  const WaitResult<Task<int>> result =
      co_await coil::Wait(tasks, {.return_when = ReturnWhen::kFirstException});
  for (const Task<int>& task : result.pending) co_await CancelAndWait(task);
}

SWEEP_SCENARIO(WaitWithATimeout) {
  auto balance = MakeBalance(run);
  std::vector<Task<int>> tasks = ThreeTasks(balance);
  const WaitResult<Task<int>> result =
      co_await coil::Wait(tasks, {.timeout = absl::Milliseconds(1500)});
  EXPECT_GE(result.done.size(), 1u);
  co_await coil::Wait(tasks);
}

SWEEP_SCENARIO(AsCompletedRangeOfTasks) {
  auto balance = MakeBalance(run);
  auto done = AsCompleted(ThreeTasks(balance));
  int count = 0;
  while (auto task = co_await done.Next()) ++count;
  EXPECT_EQ(count, 3);
}

SWEEP_SCENARIO(AsCompletedWithATimeout, Planned()) {
  auto balance = MakeBalance(run);
  auto done = AsCompleted(ThreeTasks(balance), absl::Milliseconds(1500));
  while (auto task = co_await done.Next()) {
  }
}

using Completed = decltype(AsCompleted(std::vector<Task<int>>()));

// Whoever is left when the other was cancelled goes on: what both use is
// shared.
Co<int> CountCompleted(std::shared_ptr<Completed> done) {
  int count = 0;
  while (auto task = co_await done->Next()) ++count;
  co_return count;
}

SWEEP_SCENARIO(AsCompletedWithTwoReaders) {
  auto balance = MakeBalance(run);
  auto done = std::make_shared<Completed>(AsCompleted(ThreeTasks(balance)));
  auto [a, b] = co_await Gather(CountCompleted(done), CountCompleted(done));
  EXPECT_EQ(a + b, 3);
}

SWEEP_SCENARIO(RaceOfTwo) {
  auto balance = MakeBalance(run);
  std::variant<int, int> first =
      co_await Race(WaitHolding(balance, 1, 1), WaitHolding(balance, 2, 2));
  EXPECT_EQ(balance->open, 0);
  EXPECT_EQ(first.index(), 0u);
}

SWEEP_SCENARIO(RaceThatFails, Planned()) {
  auto balance = MakeBalance(run);
  bool failed = false;
  try {
    co_await Race(WaitHolding(balance, 2, 1), Fail(1));
  } catch (const std::runtime_error&) {
    failed = true;
  }
  EXPECT_TRUE(failed);
}

SWEEP_SCENARIO(RaceOfRaces) {
  auto balance = MakeBalance(run);
  co_await Race(Race(WaitHolding(balance, 3, 1), WaitHolding(balance, 1, 2)),
                WaitHolding(balance, 2, 2));
  EXPECT_EQ(balance->open, 0);
}

SWEEP_SCENARIO(ShieldedCoroutine) {
  auto balance = MakeBalance(run);
  EXPECT_EQ(co_await Shield(WaitHolding(balance, 1, 7)), 7);
}

SWEEP_SCENARIO(ShieldedTaskGoesOn) {
  Task<int> task = CreateTask(Wait(1, 7));
  std::exception_ptr error;
  try {
    co_await Shield(task);
  } catch (...) {
    error = std::current_exception();
  }
  co_await Settle(Shield(task));
  if (error != nullptr) std::rethrow_exception(error);
}

SWEEP_SCENARIO(CancelAndWaitForATask) {
  auto balance = MakeBalance(run);
  Task<int> task = CreateTask(WaitHolding(balance, 9, 7));
  co_await Yield();
  co_await CancelAndWait(task);
  EXPECT_TRUE(task.Done());
  EXPECT_EQ(balance->open, 0);
}

// ---- task groups

SWEEP_SCENARIO(TaskGroupOfThree) {
  auto balance = MakeBalance(run);
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    for (int i = 1; i <= 3; ++i) group.CreateTask(WaitHolding(balance, i, i));
    co_await Wait(1, 0);
  });
  EXPECT_EQ(balance->open, 0);
}

SWEEP_SCENARIO(TaskGroupWithAnError, Planned()) {
  auto balance = MakeBalance(run);
  bool failed = false;
  try {
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      group.CreateTask(WaitHolding(balance, 3, 3));
      group.CreateTask(Fail(1));
      co_await Wait(2, 0);
    });
  } catch (const ExceptionGroup&) {
    failed = true;
  }
  EXPECT_EQ(balance->open, 0);
  // Whoever was to fail may have been cancelled before.
  EXPECT_TRUE(failed || run.Injects());
}

SWEEP_SCENARIO(TaskGroupThatIsCancelled) {
  auto balance = MakeBalance(run);
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    group.CreateTask(WaitHolding(balance, 3, 3));
    co_await Wait(1, 0);
    group.Cancel();
  });
  EXPECT_EQ(balance->open, 0);
}

SWEEP_SCENARIO(NestedTaskGroups) {
  auto balance = MakeBalance(run);
  auto inner = [&]() -> Co<void> {
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      group.CreateTask(WaitHolding(balance, 1, 1));
      group.CreateTask(WaitHolding(balance, 2, 2));
      co_return;
    });
  };
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    group.CreateTask(inner());
    group.CreateTask(inner());
    co_return;
  });
  EXPECT_EQ(balance->open, 0);
}

SWEEP_SCENARIO(TaskGroupWhoseTasksMakeTasks) {
  auto balance = MakeBalance(run);
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    auto grow = [&]() -> Co<void> {
      co_await Yield();
      group.CreateTask(WaitHolding(balance, 1, 1));
    };
    group.CreateTask(grow);
    co_await Wait(1, 0);
  });
  EXPECT_EQ(balance->open, 0);
}

// ---- managers, cleanup, generators

class Manager {
 public:
  explicit Manager(std::shared_ptr<Balance> balance)
      : balance_(std::move(balance)) {}
  Co<int> AEnter() {
    co_await Yield();
    held_.emplace(balance_);
    co_return 7;
  }
  Co<void> AExit(std::exception_ptr) {
    held_.reset();
    co_await Yield();
  }

 private:
  std::shared_ptr<Balance> balance_;
  std::optional<Held> held_;
};

SWEEP_SCENARIO(WithAManager) {
  auto balance = MakeBalance(run);
  Manager manager(balance);
  co_await With(manager, [&](int value) -> Co<void> {
    EXPECT_EQ(value, 7);
    co_await Wait(1, 0);
  });
  EXPECT_EQ(balance->open, 0);
}

SWEEP_SCENARIO(FinallyRunsItsCleanup) {
  auto begun = std::make_shared<int>(0);
  auto ended = std::make_shared<int>(0);
  // Destroyed frames run no cleanup that awaits.
  auto body = [&]() -> Co<void> {
    ++*begun;
    co_await Wait(1, 0);
  };
  auto cleanup = [&]() -> Co<void> {
    ++*ended;
    co_await Wait(1, 0);
  };
  co_await Finally(body, cleanup);
  EXPECT_EQ(*begun, *ended);
}

SWEEP_SCENARIO(ExitStackOfManagers) {
  auto balance = MakeBalance(run);
  AsyncExitStack stack;
  auto body = [&]() -> Co<void> {
    Manager first(balance);
    Manager second(balance);
    co_await stack.EnterAsync(std::move(first));
    co_await stack.EnterAsync(std::move(second));
    co_await Wait(1, 0);
  };
  co_await With(stack, body);
  EXPECT_EQ(balance->open, 0);
}

AsyncGenerator<int> Count(std::shared_ptr<Balance> balance, int n) {
  Held held(balance);
  for (int i = 0; i < n; ++i) {
    co_await Wait(1, 0);
    co_yield i;
  }
}

SWEEP_SCENARIO(GeneratorToItsEnd) {
  auto balance = MakeBalance(run);
  int sum = 0;
  COIL_FOR_AWAIT(int i, Count(balance, 3)) { sum += i; }
  EXPECT_EQ(sum, 3);
}

SWEEP_SCENARIO(GeneratorThatIsLeft) {
  auto balance = MakeBalance(run);
  COIL_FOR_AWAIT(int i, Count(balance, 3)) {
    if (i == 1) break;
  }
  EXPECT_EQ(balance->open, 0);
  co_await Yield();
}

AsyncGenerator<int> CountWithCleanup(std::shared_ptr<Balance> balance) {
  Held held(balance);
  std::exception_ptr error;
  try {
    for (int i = 0;; ++i) {
      co_await Yield();
      co_yield i;
    }
  } catch (...) {
    error = std::current_exception();
  }
  co_await Wait(1, 0);
  std::rethrow_exception(error);
}

SWEEP_SCENARIO(GeneratorThatIsClosed) {
  auto balance = MakeBalance(run);
  auto numbers = CountWithCleanup(balance);
  co_await numbers.Next();
  co_await numbers.Next();
  co_await numbers.AClose();
  EXPECT_EQ(balance->open, 0);
}

}  // namespace
}  // namespace coil
