// Tasks: creation, order, names, results, reports, cancellation (A13 to A36,
//   A39,
// A43, A44).

#include "coil/task/task.h"

#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
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
Co<int> Fails() {
  co_await Yield();
  throw std::range_error("no");
}
Co<void> Forever() { co_await Sleep(absl::InfiniteDuration()); }

void Collect(Log* log) {
  EventLoop::Current().SetExceptionHandler([log](const ExceptionContext& c) {
    log->push_back(c.message + "|" + c.task);
  });
}

// ------------------------------------------------------------------ creation

TEST(CreateTaskTest, TheFirstStepIsOnTheNextTurnInOrderOfCreation) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    auto note = [&order](int i) -> Co<void> {
      order.push_back(i);
      co_return;
    };
    for (int i = 0; i < 5; ++i) CreateTask(note(i));
    EXPECT_TRUE(order.empty());
    co_await Yield();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  };
  coil::Run(main, kVirtual);
}

TEST(CreateTaskTest, WithoutALoopIsRefusedAndTheCoroutineDisposedOf) {
  auto alive = std::make_shared<int>(0);
  auto body = [](std::shared_ptr<int>) -> Co<void> { co_return; };
  std::string what;
  try {
    CreateTask(body(alive));
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("CreateTask: no running event loop"), std::string::npos)
      << what;
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_THROW(CreateTask([] { return Gives(1); }), std::runtime_error);
  EXPECT_THROW(CreateTask(Sleep(absl::Seconds(1))), std::runtime_error);
}

TEST(CreateTaskTest, ADroppedHandleNeitherCancelsNorLosesTheTask) {
  int done = 0;
  auto main = [&]() -> Co<void> {
    for (int i = 0; i < 10; ++i) {
      CreateTask([&done]() -> Co<void> {
        co_await Sleep(absl::Seconds(1));
        ++done;
      });
    }
    co_await Sleep(absl::Seconds(2));
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(done, 10);
}

TEST(CreateTaskTest, TakesAwaitablesOfEveryKind) {
  auto main = []() -> Co<void> {
    EXPECT_EQ(co_await CreateTask(Gives(1)), 1);
    EXPECT_EQ(co_await CreateTask(Sleep(absl::Seconds(1), 2)), 2);
    EXPECT_EQ(co_await CreateTask([] { return Gives(3); }), 3);
    EXPECT_EQ(co_await CreateTask(+[] { return Gives(4); }), 4);
    Task<int> inner = CreateTask(Gives(5));
    EXPECT_EQ(co_await CreateTask(inner), 5);
    Future<int> future;
    future.SetResult(6);
    EXPECT_EQ(co_await CreateTask(future), 6);
  };
  coil::Run(main, kVirtual);
}

TEST(CreateTaskTest, OwnsTheCallableUntilTheTaskIsDone) {
  auto main = []() -> Co<void> {
    auto alive = std::make_shared<int>(0);
    Task<int> task;
    {
      auto body = [alive]() -> Co<int> {
        co_await Sleep(absl::Seconds(1));
        co_return static_cast<int>(alive.use_count());
      };
      task = CreateTask(std::move(body));
    }
    EXPECT_EQ(alive.use_count(), 2);
    EXPECT_EQ(co_await task, 2);
    EXPECT_EQ(alive.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CreateTaskTest, TheCallableIsGoneAfterACancelBeforeTheFirstStep) {
  auto main = []() -> Co<void> {
    auto alive = std::make_shared<int>(0);
    auto body = [alive]() -> Co<void> { co_return; };
    Task<void> task = CreateTask(std::move(body));
    task.Cancel();
    co_await Settle(task);
    EXPECT_EQ(alive.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CreateTaskTest, TheFrameIsGoneWhenTheTaskIsDone) {
  auto main = []() -> Co<void> {
    auto alive = std::make_shared<int>(0);
    auto body = [](std::shared_ptr<int>) -> Co<void> { co_return; };
    Task<void> task = CreateTask(body(alive));
    co_await task;
    EXPECT_EQ(alive.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

// --------------------------------------------------------------- eager start

TEST(EagerStartTest, TheFirstStepRunsInsideOfCreateTask) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto body = [&]() -> Co<int> {
      log.push_back("first");
      co_await Yield();
      log.push_back("second");
      co_return 1;
    };
    Task<int> task = CreateTask(body(), {.eager_start = true});
    log.push_back("created");
    EXPECT_EQ(co_await task, 1);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"first", "created", "second"}));
}

TEST(EagerStartTest, OneThatNeverBlocksIsDoneAtOnce) {
  auto main = []() -> Co<void> {
    auto body = []() -> Co<int> { co_return 3; };
    Task<int> task = CreateTask(body(), {.eager_start = true});
    EXPECT_TRUE(task.Done());
    EXPECT_EQ(task.Result(), 3);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(EagerStartTest, ErrorsStayInTheTask) {
  auto main = []() -> Co<void> {
    auto body = []() -> Co<int> {
      throw std::range_error("eager");
      co_return 1;
    };
    Task<int> task = CreateTask(body(), {.eager_start = true});
    EXPECT_TRUE(task.Done());
    EXPECT_THROW(task.Result(), std::range_error);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(EagerStartTest, TheCurrentTaskIsSwappedAndRestored) {
  auto main = []() -> Co<void> {
    const AnyTask self = CurrentTask();
    AnyTask seen;
    auto body = [&]() -> Co<void> {
      seen = CurrentTask();
      co_return;
    };
    Task<void> task = CreateTask(body(), {.eager_start = true});
    EXPECT_EQ(seen, task);
    EXPECT_EQ(CurrentTask(), self);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(EagerStartTest, TheNameIsThereInTheFirstStepAndAllTasksHasIt) {
  auto main = []() -> Co<void> {
    std::string name;
    bool listed = false;
    auto body = [&]() -> Co<void> {
      name = CurrentTask().Name();
      for (const AnyTask& task : AllTasks()) {
        if (task == CurrentTask()) listed = true;
      }
      co_return;
    };
    CreateTask(body(), {.name = "eager", .eager_start = true});
    EXPECT_EQ(name, "eager");
    EXPECT_TRUE(listed);
    EXPECT_EQ(AllTasks().size(), 1u);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(EagerStartTest, MayBeCancelledByItsOwnFirstStep) {
  auto main = []() -> Co<void> {
    auto body = []() -> Co<void> {
      CurrentTask().Cancel();
      co_await Yield();
    };
    Task<void> task = CreateTask(body(), {.eager_start = true});
    EXPECT_FALSE(task.Done());
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(EagerStartTest, Nests) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto inner = [&]() -> Co<void> {
      log.push_back("inner " + CurrentTask().Name());
      co_await Yield();
    };
    auto outer = [&]() -> Co<void> {
      log.push_back("outer " + CurrentTask().Name());
      CreateTask(inner(), {.name = "i", .eager_start = true});
      log.push_back("outer " + CurrentTask().Name());
      co_return;
    };
    CreateTask(outer(), {.name = "o", .eager_start = true});
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"outer o", "inner i", "outer o"}));
}

// ------------------------------------------------------------- state, results

TEST(TaskTest, StatesFromStartToResult) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Gives(4));
    EXPECT_FALSE(task.Done());
    EXPECT_FALSE(task.Cancelled());
    EXPECT_EQ(co_await task, 4);
    EXPECT_TRUE(task.Done());
    EXPECT_FALSE(task.Cancelled());
    EXPECT_EQ(task.Result(), 4);
    EXPECT_EQ(task.Exception(), nullptr);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, ResultAndExceptionOfAPendingTaskAreInvalidState) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Gives(4), {.name = "pending-one"});
    std::string what;
    try {
      task.Result();
    } catch (const InvalidStateError& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("pending-one"), std::string::npos) << what;
    EXPECT_NE(what.find("the result is not set"), std::string::npos) << what;
    EXPECT_THROW(task.Exception(), InvalidStateError);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, ResultAndExceptionOfAFailedTask) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Fails());
    EXPECT_THROW(co_await task, std::range_error);
    EXPECT_THROW(task.Result(), std::range_error);
    EXPECT_THROW(std::rethrow_exception(task.Exception()), std::range_error);
    // The same object each time.
    EXPECT_EQ(task.Exception(), task.Exception());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, ResultAndExceptionOfACancelledTaskThrowCancelledError) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Forever());
    task.Cancel("why");
    co_await Settle(task);
    EXPECT_TRUE(task.Done());
    EXPECT_TRUE(task.Cancelled());
    EXPECT_THROW(task.Result(), CancelledError);
    std::string message;
    try {
      task.Exception();
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "why");
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, AwaitOfALvalueGivesAReferenceIntoTheTask) {
  auto main = []() -> Co<void> {
    auto make = []() -> Co<std::string> { co_return std::string(100, 'x'); };
    Task<std::string> task = CreateTask(make());
    const std::string& first = co_await task;
    const std::string& second = co_await task;
    EXPECT_EQ(&first, &second);
    EXPECT_EQ(&first, &task.Result());
    static_assert(std::is_same_v<decltype(task.Result()), const std::string&>);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, AwaitOfARvalueMovesTheValueOutOnce) {
  auto main = []() -> Co<void> {
    auto make = []() -> Co<std::unique_ptr<int>> {
      co_return std::make_unique<int>(3);
    };
    Task<std::unique_ptr<int>> task = CreateTask(make());
    Task<std::unique_ptr<int>> other = task;
    std::unique_ptr<int> value = co_await std::move(task);
    EXPECT_EQ(*value, 3);
    std::string what;
    try {
      other.Result();
    } catch (const InvalidStateError& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("moved out"), std::string::npos) << what;
    EXPECT_THROW(co_await other, InvalidStateError);
    EXPECT_TRUE(other.Done());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, TasksOfReferencesAndOfVoid) {
  auto main = []() -> Co<void> {
    int target = 1;
    auto refer = [&]() -> Co<int&> { co_return target; };
    Task<int&> task = CreateTask(refer());
    EXPECT_EQ(&co_await task, &target);
    EXPECT_EQ(&task.Result(), &target);
    auto nothing = []() -> Co<void> { co_return; };
    Task<void> of_void = CreateTask(nothing());
    co_await of_void;
    of_void.Result();
    co_await std::move(of_void);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, ManyAwaitersResumeInTheOrderInWhichTheyBegan) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    Task<int> task = CreateTask(Sleep(absl::Seconds(1), 5));
    auto wait = [&](int i) -> Co<void> {
      EXPECT_EQ(co_await task, 5);
      order.push_back(i);
    };
    std::vector<Task<void>> waiters;
    for (int i = 0; i < 10; ++i) waiters.push_back(CreateTask(wait(i)));
    for (auto& waiter : waiters) co_await waiter;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(TaskTest, AwaitingADoneTaskDoesNotSuspend) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Gives(4));
    co_await task;
    const uint64_t before = EventLoop::Current().Iterations();
    co_await task;
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, AwaitingItselfIsRefused) {
  auto main = []() -> Co<void> {
    Task<void> task;
    std::string what;
    auto body = [&]() -> Co<void> {
      try {
        co_await task;
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
    };
    task = CreateTask(body, {.name = "narcissus"});
    co_await task;
    EXPECT_NE(what.find("narcissus: a task cannot await itself"),
              std::string::npos)
        << what;
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, AwaitingATaskOfAnotherLoopIsRefused) {
  Runner other(kVirtual);
  auto start = []() -> Co<Task<void>> { co_return CreateTask(Forever()); };
  Task<void> foreign = other.Run(start());
  auto main = [&]() -> Co<void> {
    std::string what;
    try {
      co_await foreign;
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("belongs to another event loop"), std::string::npos)
        << what;
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTest, AnEmptyHandleNamesTheRule) {
  Task<int> empty;
  EXPECT_FALSE(empty);
  EXPECT_EQ(empty, AnyTask());
  std::string what;
  try {
    empty.Cancel();
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("the handle is empty"), std::string::npos) << what;
  EXPECT_THROW(empty.Result(), std::runtime_error);
  EXPECT_THROW(empty.Done(), std::runtime_error);
  EXPECT_THROW(empty.Name(), std::runtime_error);
}

TEST(TaskTest, HandlesCompareAndHashByIdentity) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(Gives(1));
    Task<int> b = CreateTask(Gives(1));
    Task<int> copy = a;
    EXPECT_EQ(a, copy);
    EXPECT_NE(a, b);
    AnyTask any = a;
    EXPECT_EQ(any, a);
    std::unordered_set<AnyTask> set = {a, b, copy};
    EXPECT_EQ(set.size(), 2u);
    absl::flat_hash_set<AnyTask> flat = {a, b, any};
    EXPECT_EQ(flat.size(), 2u);
    std::unordered_set<Task<int>> typed = {a, b, copy};
    EXPECT_EQ(typed.size(), 2u);
    co_await a;
    co_await b;
  };
  coil::Run(main, kVirtual);
}

// ---------------------------------------------------------------------- names

TEST(TaskNameTest, DefaultNamesAreUniqueAndNamesMayBeChanged) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(Gives(1));
    Task<int> b = CreateTask(Gives(1));
    EXPECT_EQ(a.Name().rfind("Task-", 0), 0u);
    EXPECT_NE(a.Name(), b.Name());
    a.SetName("renamed");
    EXPECT_EQ(a.Name(), "renamed");
    Task<int> named = CreateTask(Gives(1), {.name = std::string("given")});
    EXPECT_EQ(named.Name(), "given");
    co_await a;
    co_await b;
    co_await named;
    EXPECT_EQ(named.Name(), "given");
  };
  coil::Run(main, kVirtual);
}

TEST(TaskNameTest, NamesAreUniqueAcrossThreads) {
  std::vector<std::string> names[4];
  std::vector<std::thread> threads;
  for (auto& mine : names) {
    threads.emplace_back([&mine] {
      auto main = [&]() -> Co<void> {
        for (int i = 0; i < 2000; ++i) {
          Task<int> task = CreateTask(Gives(1));
          mine.push_back(task.Name());
          if (i % 100 == 0) co_await task;
        }
      };
      coil::Run(main);
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> all;
  for (auto& mine : names) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 8000u);
}

// ------------------------------------------------------------- current and all

TEST(CurrentTaskTest, IsTheTaskInCoroutinesAndNothingElsewhere) {
  EXPECT_EQ(CurrentTaskOrNull(), AnyTask());
  EXPECT_THROW(CurrentTask(), std::runtime_error);
  auto main = []() -> Co<void> {
    const AnyTask self = CurrentTask();
    EXPECT_EQ(self, CurrentTaskOrNull());
    AnyTask in_callback = self;
    EventLoop::Current().CallSoon([&] {
      in_callback = CurrentTaskOrNull();
      EXPECT_THROW(CurrentTask(), std::runtime_error);
    });
    co_await Yield();
    EXPECT_FALSE(in_callback);
    EXPECT_EQ(CurrentTask(), self);
  };
  coil::Run(main, kVirtual);
}

TEST(AllTasksTest, ListsWhatIsNotDoneOldestFirst) {
  EXPECT_THROW(AllTasks(), std::runtime_error);
  auto main = []() -> Co<void> {
    Task<void> a = CreateTask(Forever());
    Task<int> b = CreateTask(Gives(1));
    Task<void> c = CreateTask(Forever());
    EXPECT_EQ(AllTasks(), (std::vector<AnyTask>{CurrentTask(), a, b, c}));
    co_await b;
    EXPECT_EQ(AllTasks(), (std::vector<AnyTask>{CurrentTask(), a, c}));
    a.Cancel();
    co_await Settle(a);
    EXPECT_EQ(AllTasks(), (std::vector<AnyTask>{CurrentTask(), c}));
  };
  coil::Run(main, kVirtual);
}

// ------------------------------------------------------------------- reports

TEST(TaskReportTest, AnErrorThatNobodyReadIsReportedOnceWithNameAndPlace) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    {
      Task<int> task = CreateTask(Fails(), {.name = "lost"});
    }
    co_await Sleep(absl::Seconds(1));
  };
  coil::Run(main, kVirtual);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(
      reports[0].find("Task exception was never retrieved|lost created at "
                      "task_test.cc:"),
      std::string::npos)
      << reports[0];
}

TEST(TaskReportTest, TheReportComesWhenTheLastHandleGoes) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    Task<int> task = CreateTask(Fails());
    Task<int> copy = task;
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(reports.size(), 0u);
    task = {};
    EXPECT_EQ(reports.size(), 0u);
    copy = {};
    EXPECT_EQ(reports.size(), 1u);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports.size(), 1u);
}

TEST(TaskReportTest, ReadingTheErrorInAnyWayDisarmsIt) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    for (int way = 0; way < 4; ++way) {
      Task<int> task = CreateTask(Fails());
      co_await Sleep(absl::Seconds(1));
      switch (way) {
        case 0:
          task.Exception();
          break;
        case 1:
          EXPECT_THROW(task.Result(), std::range_error);
          break;
        case 2:
          EXPECT_THROW(co_await task, std::range_error);
          break;
        default:
          co_await Settle(task);
      }
    }
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, Log());
}

TEST(TaskReportTest, CancelledTasksAreNotReported) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    {
      CreateTask(Forever()).Cancel();
    }
    Task<void> task = CreateTask(Forever());
    co_await Yield();
    task.Cancel();
    task = {};
    co_await Sleep(absl::Seconds(1));
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, Log());
}

TEST(TaskReportTest, ATaskThatIsPendingWhenItsLoopClosesIsReported) {
  Log reports;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      Collect(&reports);
      CreateTask(Forever(), {.name = "left"});
      co_await Yield();
    };
    runner.Run(main);
    runner.Loop().Close();
  }
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("Task was destroyed but it is pending|left"),
            std::string::npos)
      << reports[0];
}

TEST(TaskReportTest, AHandleOutlivesItsLoop) {
  Task<void> task;
  Task<int> failed;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      task = CreateTask(Forever());
      failed = CreateTask(Fails());
      co_await Sleep(absl::Seconds(1));
    };
    runner.Run(main);
    EXPECT_THROW(failed.Result(), std::range_error);
  }
  EXPECT_TRUE(task.Done());
  EXPECT_TRUE(task.Cancelled());
  EXPECT_FALSE(task.Cancel());
  EXPECT_THROW(failed.Result(), std::range_error);
  std::string what;
  try {
    task.AddDoneCallback([](AnyTask) {});
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("is closed"), std::string::npos) << what;
}

TEST(TaskReportTest, AnErrorThatIsLostAfterTheLoopIsGoneGoesToTheDiagnostics) {
  std::vector<std::string> lines;
  auto previous = SetDiagnosticSink(
      [&](std::string_view line) { lines.emplace_back(line); });
  {
    Task<int> failed;
    auto main = [&]() -> Co<void> {
      failed = CreateTask(Fails(), {.name = "lost"});
      co_await Sleep(absl::Seconds(1));
    };
    coil::Run(main, kVirtual);
    EXPECT_TRUE(lines.empty());
  }
  SetDiagnosticSink(std::move(previous));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("never retrieved"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("lost"), std::string::npos) << lines[0];
}

Co<std::string> Joined(std::string a, const std::string& b,
                       std::unique_ptr<int> c) {
  co_await Yield();
  co_return a + b + std::to_string(*c);
}

TEST(TaskTest, ACoroutineFunctionIsGivenItsArguments) {
  auto main = []() -> Co<void> {
    std::string name = "a";
    Task<std::string> task =
        CreateTask(Joined, name, "b", std::make_unique<int>(3));
    name = "changed";  // the task has its own
    EXPECT_EQ(co_await task, "ab3");
    struct Counter {
      int value = 5;
      Co<int> Plus(int more) const {
        co_await Yield();
        co_return value + more;
      }
    };
    const Counter counter;
    auto of_member = CreateTask(&Counter::Plus, &counter, 2);
    EXPECT_EQ(co_await of_member, 7);
    auto of_lambda = CreateTask(
        [name](int n) -> Co<std::string> {
          co_await Yield();
          co_return name + std::to_string(n);
        },
        4);
    EXPECT_EQ(co_await of_lambda, "changed4");
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(coil::Run(Joined, "x", "y", std::make_unique<int>(1)), "xy1");
}

}  // namespace
}  // namespace coil
