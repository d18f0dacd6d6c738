// Run(), Runner and RunUntilComplete(): A1 to A9, A34, A153.

#include "coil/task/run.h"

#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/clock.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/context_var.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

using Log = std::vector<std::string>;

Co<int> Answer() {
  co_await Yield();
  co_return 42;
}

int g_target = 0;
Co<int&> Reference() { co_return g_target; }

// What the exception handler of the loop was told.
void Collect(EventLoop& loop, Log* log) {
  loop.SetExceptionHandler(
      [log](const ExceptionContext& c) { log->push_back(c.message); });
}

TEST(RunTest, ReturnsTheResultOfMain) {
  EXPECT_EQ(coil::Run(Answer(), kVirtual), 42);
  EXPECT_EQ(&coil::Run(Reference(), kVirtual), &g_target);
  auto pointer = []() -> Co<std::unique_ptr<int>> {
    co_return std::make_unique<int>(3);
  };
  EXPECT_EQ(*coil::Run(pointer(), kVirtual), 3);
}

TEST(RunTest, TakesAFunctionAndOwnsItUntilTheEnd) {
  EXPECT_EQ(coil::Run(Answer, kVirtual), 42);
  EXPECT_EQ(coil::Run(&Answer, kVirtual), 42);
  auto text = std::make_shared<std::string>("owned");
  auto make = [&] {
    return [text]() -> Co<std::string> {
      co_await Yield();
      co_return *text;
    };
  };
  EXPECT_EQ(coil::Run(make(), kVirtual), "owned");
  EXPECT_EQ(text.use_count(), 1);
}

TEST(RunTest, TakesOtherAwaitables) {
  EXPECT_EQ(coil::Run(Sleep(absl::Hours(1), 5), kVirtual), 5);
  coil::Run(Sleep(absl::Hours(1)), kVirtual);
}

TEST(RunTest, ThrowsTheErrorOfMain) {
  auto main = []() -> Co<void> {
    co_await Yield();
    throw std::range_error("main");
  };
  EXPECT_THROW(coil::Run(main, kVirtual), std::range_error);
}

TEST(RunTest, MainThatCancelsItselfEndsCancelled) {
  auto main = []() -> Co<int> {
    CurrentTask().Cancel("self");
    co_return 1;
  };
  std::string message;
  try {
    coil::Run(main, kVirtual);
  } catch (const CancelledError& e) {
    message = e.message();
  }
  EXPECT_EQ(message, "self");
}

TEST(RunTest, LeavesNoLoopBehind) {
  coil::Run(Answer(), kVirtual);
  EXPECT_EQ(EventLoop::CurrentOrNull(), nullptr);
  EXPECT_EQ(coil::Run(Answer(), kVirtual), 42);
}

TEST(RunTest, InsideOfARunningLoopIsRefused) {
  auto main = []() -> Co<void> {
    std::string what;
    try {
      coil::Run(Answer());
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("an event loop runs in this thread already"),
              std::string::npos)
        << what;
    Runner runner;
    EXPECT_THROW(runner.Run(Answer()), std::runtime_error);
    EXPECT_THROW(runner.Run(Answer), std::runtime_error);
    co_return;
  };
  Log reports;
  Runner runner(kVirtual);
  Collect(runner.Loop(), &reports);
  runner.Run(main);
  // The coroutines that were refused are not reported as never awaited.
  EXPECT_EQ(reports, Log());
}

TEST(RunTest, EveryThreadMayHaveItsOwn) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int j = 0; j < 10; ++j) EXPECT_EQ(coil::Run(Answer()), 42);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(RunTest, LeftoversAreCancelledAndAwaited) {
  Log log;
  auto main = [&]() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      CreateTask([&log, i]() -> Co<void> {
        std::string message;
        try {
          co_await Sleep(absl::InfiniteDuration());
        } catch (const CancelledError& e) {
          message = e.message();
        }
        co_await Sleep(absl::Hours(1));  // cleanup may take its time
        log.push_back(std::to_string(i) + message);
        throw CancelledError(message);
      });
    }
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log,
            (Log{"0the loop is shutting down", "1the loop is shutting down",
                 "2the loop is shutting down"}));
}

TEST(RunTest, LeftoversThatNeverStartedNeverRun) {
  bool ran = false;
  auto main = [&]() -> Co<void> {
    CreateTask([&ran]() -> Co<void> {
      ran = true;
      co_return;
    });
    // One more pass runs after main; its own task comes first, so this is
    // refused only from the pass after.
    co_return;
  };
  Runner runner(kVirtual);
  runner.Run(main);
  EXPECT_TRUE(ran);
}

TEST(RunTest, LeftoversAreCancelledAfterAnErrorToo) {
  bool cleaned = false;
  auto main = [&]() -> Co<void> {
    CreateTask([&cleaned]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        cleaned = true;
      }
    });
    co_await Yield();
    throw std::range_error("main");
  };
  EXPECT_THROW(coil::Run(main, kVirtual), std::range_error);
  EXPECT_TRUE(cleaned);
}

TEST(RunTest, ErrorsOfLeftoversAreReported) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(EventLoop::Current(), &reports);
    CreateTask([]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      throw std::runtime_error("cleanup failed");
    });
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, (Log{"unhandled exception during Run() shutdown"}));
}

TEST(RunTest, ATaskThatSwallowsTheCancellationKeepsRunWaiting) {
  bool finished = false;
  auto main = [&]() -> Co<void> {
    CreateTask([&finished]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      for (int i = 0; i < 100; ++i) co_await Sleep(absl::Seconds(1));
      finished = true;
    });
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(finished);
}

TEST(RunTest, TasksMadeDuringTheShutdownAreNotWaitedFor) {
  Log reports;
  int destroyed = 0;
  struct Note {
    explicit Note(int* n) : count(n) {}
    Note(const Note&) = delete;
    ~Note() { ++*count; }
    int* count;
  };
  auto late = [&]() -> Co<void> {
    Note note(&destroyed);
    co_await Sleep(absl::InfiniteDuration());
  };
  auto main = [&]() -> Co<void> {
    Collect(EventLoop::Current(), &reports);
    CreateTask([&]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      CreateTask(late());
      co_await Yield();
      co_await Yield();
    });
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(reports, (Log{"Task was destroyed but it is pending"}));
}

TEST(RunTest, WhatMainScheduledBeforeItsEndStillRuns) {
  Log log;
  auto main = [&]() -> Co<void> {
    CurrentTask().AddDoneCallback([&](AnyTask) { log.push_back("done"); });
    EventLoop::Current().CallSoon([&] { log.push_back("soon"); });
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"soon", "done"}));
}

TEST(RunTest, ShutdownGoesTasksThenExecutorThenLoop) {
  Log log;
  std::atomic<bool> job_done{false};
  Runner runner(kVirtual);
  EventLoop& loop = runner.Loop();
  auto main = [&]() -> Co<void> {
    CreateTask([&]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      log.push_back("task");
      // The executor still takes jobs while tasks are cleaned up.
      loop.DefaultExecutor().Submit([&] { job_done = true; });
    });
    co_await Yield();
  };
  runner.Run(main);
  runner.Close();
  EXPECT_EQ(log, (Log{"task"}));
  EXPECT_TRUE(job_done.load());  // joined
  EXPECT_TRUE(loop.IsClosed());
  EXPECT_THROW(loop.DefaultExecutor(), std::runtime_error);
}

TEST(RunTest, DebugIsAnOptionThatOverridesTheEnvironment) {
  auto debug = []() -> Co<bool> { co_return EventLoop::Current().Debug(); };
  EXPECT_TRUE(coil::Run(debug, RunOptions{.debug = true}));
  ::setenv("COIL_DEBUG", "1", 1);
  EXPECT_TRUE(coil::Run(debug));
  EXPECT_FALSE(coil::Run(debug, RunOptions{.debug = false}));
  ::unsetenv("COIL_DEBUG");
  EXPECT_FALSE(coil::Run(debug));
}

TEST(RunTest, TheClockOfTheOptionsIsUsed) {
  VirtualClock clock;
  RunOptions options;
  options.loop.clock = &clock;
  auto main = [&]() -> Co<void> {
    EXPECT_EQ(EventLoop::Current().Now(), clock.Now());
    co_return;
  };
  coil::Run(main, options);
}

// -------------------------------------------------------------------- Runner

TEST(RunnerTest, RunsSeveralMainsOnOneLoop) {
  Runner runner(kVirtual);
  EventLoop* first = nullptr;
  auto main = [&]() -> Co<int> {
    EventLoop* now = &EventLoop::Current();
    if (first == nullptr) first = now;
    EXPECT_EQ(first, now);
    co_return 1;
  };
  EXPECT_EQ(runner.Run(main), 1);
  EXPECT_EQ(runner.Run(main), 1);
  EXPECT_EQ(runner.Run(Answer()), 42);
  EXPECT_EQ(runner.Run(Answer), 42);
  EXPECT_EQ(runner.Run(Sleep(absl::Seconds(1), 4)), 4);
  EXPECT_EQ(&runner.Loop(), first);
}

TEST(RunnerTest, TasksGoOnInTheNextRun) {
  Runner runner(kVirtual);
  int turns = 0;
  auto start = [&]() -> Co<Task<void>> {
    co_return CreateTask([&turns]() -> Co<void> {
      for (int i = 0; i < 5; ++i) {
        co_await Sleep(absl::Seconds(1));
        ++turns;
      }
    });
  };
  Task<void> task = runner.Run(start());
  EXPECT_FALSE(task.Done());
  EXPECT_LT(turns, 5);
  runner.Run(std::move(task));
  EXPECT_EQ(turns, 5);
}

TEST(RunnerTest, ATaskOfAnotherLoopIsRefused) {
  Runner a(kVirtual);
  Runner b(kVirtual);
  auto start = []() -> Co<Task<int>> { co_return CreateTask(Answer()); };
  Task<int> task = a.Run(start());
  EXPECT_THROW(b.Run(task), std::runtime_error);
  EXPECT_EQ(a.Run(task), 42);
}

ContextVar<int> counter("counter", 0);

TEST(RunnerTest, VariablesAreSeenByTheNextRun) {
  Context outer;
  outer.Run([] {
    counter.Set(10);
    Runner runner(kVirtual);
    auto raise = []() -> Co<int> {
      co_await Yield();
      counter.Set(counter.Get() + 1);
      co_await Yield();
      co_return counter.Get();
    };
    EXPECT_EQ(runner.Run(raise), 11);
    EXPECT_EQ(runner.Run(raise()), 12);
    auto call = [&]() -> Co<int> { return raise(); };
    EXPECT_EQ(runner.Run(call), 13);
    // The context of the caller is not changed.
    EXPECT_EQ(counter.Get(), 10);
  });
}

TEST(RunnerTest, TheContextIsCopiedWhenTheLoopIsMade) {
  Context outer;
  outer.Run([] {
    auto read = []() -> Co<int> { co_return counter.Get(); };
    Runner runner(kVirtual);
    counter.Set(1);
    EXPECT_EQ(runner.Run(read), 1);
    counter.Set(2);
    EXPECT_EQ(runner.Run(read), 1);
  });
}

TEST(RunnerTest, CloseIsIdempotentAndFinal) {
  Runner runner(kVirtual);
  runner.Run(Answer());
  runner.Close();
  runner.Close();
  std::string what;
  try {
    runner.Run(Answer());
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("it is closed"), std::string::npos) << what;
  EXPECT_THROW(runner.Loop(), std::runtime_error);
}

TEST(RunnerTest, CloseWithoutARunMakesNoLoop) {
  Runner runner(kVirtual);
  runner.Close();
  EXPECT_THROW(runner.Loop(), std::runtime_error);
}

TEST(RunnerTest, TheDestructorCloses) {
  bool cleaned = false;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      CreateTask([&cleaned]() -> Co<void> {
        try {
          co_await Sleep(absl::InfiniteDuration());
        } catch (const CancelledError&) {
          cleaned = true;
        }
      });
      co_await Yield();
    };
    runner.Run(main);
    EXPECT_FALSE(cleaned);
  }
  EXPECT_TRUE(cleaned);
}

TEST(RunnerTest, CloseInsideOfItsLoopIsRefused) {
  Runner runner(kVirtual);
  auto main = [&]() -> Co<void> {
    EXPECT_THROW(runner.Close(), std::runtime_error);
    co_return;
  };
  runner.Run(main);
  EXPECT_EQ(runner.Run(Answer()), 42);
}

TEST(RunnerTest, TheLoopIsClosedAlsoIfAStepOfTheShutdownThrows) {
  Runner runner(kVirtual);
  EventLoop& loop = runner.Loop();
  auto main = [&]() -> Co<void> {
    CreateTask([]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
      // Nothing will ever wake this: the simulation finds out.
      Future<void> never;
      co_await never;
    });
    co_await Yield();
  };
  runner.Run(main);
  loop.SetExceptionHandler([](const ExceptionContext&) {});
  EXPECT_THROW(runner.Close(), std::runtime_error);
  EXPECT_TRUE(loop.IsClosed());
}

TEST(RunnerTest, StoppedEarlyItSaysSoAndMainGoesOnLater) {
  Runner runner(kVirtual);
  int reached = 0;
  auto main = [&]() -> Co<void> {
    reached = 1;
    EventLoop::Current().Stop();
    co_await Sleep(absl::Seconds(1));
    reached = 2;
  };
  std::string what;
  try {
    runner.Run(main);
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("stopped before"), std::string::npos) << what;
  EXPECT_EQ(reached, 1);
  runner.Run(Sleep(absl::Seconds(2)));
  EXPECT_EQ(reached, 2);
}

// ---------------------------------------------------------- RunUntilComplete

TEST(RunUntilCompleteTest, ReturnsTheResultOfWhateverItIsGiven) {
  EventLoop loop;
  EXPECT_EQ(loop.RunUntilComplete(Answer()), 42);
  EXPECT_EQ(loop.RunUntilComplete(Sleep(absl::ZeroDuration(), 5)), 5);
  auto make = []() -> Co<Future<int>> {
    Future<int> future;
    EventLoop::Current().CallSoon([future] { future.SetResult(6); });
    co_return future;
  };
  Future<int> future = loop.RunUntilComplete(make());
  EXPECT_EQ(loop.RunUntilComplete(future), 6);
  EXPECT_EQ(loop.RunUntilComplete(future), 6);  // done already
}

TEST(RunUntilCompleteTest, ThrowsTheError) {
  EventLoop loop;
  auto fails = []() -> Co<void> {
    co_await Yield();
    throw std::range_error("no");
  };
  EXPECT_THROW(loop.RunUntilComplete(fails()), std::range_error);
}

TEST(RunUntilCompleteTest, AFutureOfAnotherLoopIsRefused) {
  EventLoop a;
  EventLoop b;
  auto make = []() -> Co<Future<int>> { co_return Future<int>(); };
  Future<int> future = a.RunUntilComplete(make());
  EXPECT_THROW(b.RunUntilComplete(future), std::runtime_error);
}

TEST(RunUntilCompleteTest, LoopInThePlaceOfAnEarlierOneIsAnotherOne) {
  std::optional<EventLoop> loop;
  loop.emplace();
  auto make = []() -> Co<Task<int>> {
    Task<int> task = CreateTask(Answer());
    co_await task;
    co_return task;
  };
  Task<int> task = loop->RunUntilComplete(make());
  EXPECT_EQ(loop->RunUntilComplete(task), 42);
  loop.emplace();
  EXPECT_THROW(loop->RunUntilComplete(task), std::runtime_error);
}

TEST(RunUntilCompleteTest, StoppedEarlyIsAnErrorAndLeavesNoStopBehind) {
  EventLoop loop;
  Future<int>* pending = nullptr;
  auto make = [&]() -> Co<int> {
    Future<int> future;
    pending = &future;
    EventLoop::Current().Stop();
    co_return co_await future;
  };
  EXPECT_THROW(loop.RunUntilComplete(make()), std::runtime_error);
  // The task ends now, and must not stop the loop under somebody else.
  pending->SetResult(1);
  int passes = 0;
  auto count = [&]() -> Co<void> {
    for (; passes < 10; ++passes) co_await Yield();
  };
  loop.RunUntilComplete(count());
  EXPECT_EQ(passes, 10);
}

TEST(RunUntilCompleteTest, StoppedInTheSamePassStillGivesTheResult) {
  EventLoop loop;
  auto main = []() -> Co<int> {
    co_await Yield();
    EventLoop::Current().Stop();
    co_return 3;
  };
  EXPECT_EQ(loop.RunUntilComplete(main()), 3);
  // What was left of it in the queue stops nobody.
  EXPECT_EQ(loop.RunUntilComplete(Answer()), 42);
}

TEST(RunUntilCompleteTest, InsideOfItselfIsRefused) {
  EventLoop loop;
  auto main = [&]() -> Co<void> {
    Co<int> inner = Answer();
    EXPECT_THROW(loop.RunUntilComplete(std::move(inner)), std::runtime_error);
    co_return;
  };
  loop.SetExceptionHandler([](const ExceptionContext&) {});
  loop.RunUntilComplete(main());
}

// ------------------------------------------------------ KeyboardInterrupt, A34

TEST(KeyboardInterruptTest, OfMainComesOutOfRunAfterTheCleanup) {
  bool cleaned = false;
  auto main = [&]() -> Co<void> {
    CreateTask([&cleaned]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        cleaned = true;
      }
    });
    co_await Yield();
    throw KeyboardInterrupt();
  };
  EXPECT_THROW(coil::Run(main, kVirtual), KeyboardInterrupt);
  EXPECT_TRUE(cleaned);
}

TEST(KeyboardInterruptTest, OfATaskLeavesTheLoopAtOnce) {
  Log reports;
  bool main_cancelled = false;
  auto main = [&]() -> Co<void> {
    Collect(EventLoop::Current(), &reports);
    Task<void> task = CreateTask([]() -> Co<void> {
      throw KeyboardInterrupt();
      co_return;
    });
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
      main_cancelled = true;
    }
    EXPECT_THROW(task.Result(), KeyboardInterrupt);
  };
  EXPECT_THROW(coil::Run(main, kVirtual), KeyboardInterrupt);
  EXPECT_TRUE(main_cancelled);
  EXPECT_EQ(reports, Log());  // not "never retrieved"
}

TEST(KeyboardInterruptTest, LeavesTheLoopConsistent) {
  Runner runner(kVirtual);
  Log log;
  auto main = [&]() -> Co<void> {
    CreateTask([&log]() -> Co<void> {
      log.push_back("before");
      throw KeyboardInterrupt();
      co_return;
    });
    CreateTask([&log]() -> Co<void> {
      log.push_back("after");
      co_return;
    });
    co_await Sleep(absl::Seconds(1));
    log.push_back("main");
  };
  EXPECT_THROW(runner.Run(main), KeyboardInterrupt);
  EXPECT_EQ(EventLoop::CurrentOrNull(), nullptr);
  EXPECT_EQ(CurrentTaskOrNull(), AnyTask());
  EXPECT_EQ(log, (Log{"before"}));
  runner.Run(Sleep(absl::Seconds(2)));
  EXPECT_EQ(log, (Log{"before", "after", "main"}));
}

TEST(KeyboardInterruptTest, OfACallbackLeavesTheLoop) {
  auto main = []() -> Co<void> {
    EventLoop::Current().CallSoon([] { throw KeyboardInterrupt(); });
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_THROW(coil::Run(main, kVirtual), KeyboardInterrupt);
}

TEST(KeyboardInterruptTest, OfADoneCallbackLeavesTheLoop) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Answer());
    task.AddDoneCallback([](AnyTask) { throw KeyboardInterrupt(); });
    co_await Sleep(absl::Hours(1));
  };
  EXPECT_THROW(coil::Run(main, kVirtual), KeyboardInterrupt);
}

TEST(KeyboardInterruptTest, OfAnEagerTaskComesOutOfCreateTask) {
  auto main = []() -> Co<void> {
    auto interrupts = []() -> Co<void> {
      throw KeyboardInterrupt();
      co_return;
    };
    bool caught = false;
    try {
      CreateTask(interrupts(), {.eager_start = true});
    } catch (const KeyboardInterrupt&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(KeyboardInterruptTest, AwaitersOfTheTaskSeeItInTheNextRun) {
  Runner runner(kVirtual);
  bool seen = false;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask([]() -> Co<void> {
      co_await Yield();
      throw KeyboardInterrupt();
    });
    try {
      co_await task;
    } catch (const KeyboardInterrupt&) {
      seen = true;
    }
  };
  EXPECT_THROW(runner.Run(main), KeyboardInterrupt);
  EXPECT_FALSE(seen);
  runner.Run(Sleep(absl::Seconds(1)));
  EXPECT_TRUE(seen);
}

// T17: a loop that is closed in the middle of things.
TEST(ReliabilityT17, ALoopThatIsClosedAtAnyTurnFreesEverything) {
  for (int stop_at = 0; stop_at < 40; ++stop_at) {
    SCOPED_TRACE(stop_at);
    auto alive = std::make_shared<int>(0);
    {
      EventLoop loop{LoopOptions{.simulation = &kSimulation}};
      loop.SetExceptionHandler([](const ExceptionContext&) {});
      auto leaf = [&](int i) -> Co<int> {
        std::shared_ptr<int> held = alive;
        for (int j = 0; j <= i; ++j) co_await Yield();
        co_await Yield();
        co_return i;
      };
      auto main = [&]() -> Co<void> {
        std::shared_ptr<int> held = alive;
        Future<void> shared;
        std::vector<Task<int>> tasks;
        for (int i = 0; i < 5; ++i) tasks.push_back(CreateTask(leaf(i)));
        auto waits = [&shared, &alive]() -> Co<void> {
          std::shared_ptr<int> kept = alive;
          co_await shared;
        };
        Task<void> waiter = CreateTask(waits);
        for (auto& task : tasks) co_await task;
        shared.SetResult();
        co_await waiter;
      };
      Task<void> task;
      loop.CallSoon([&] { task = CreateTask(main); });
      for (int turn = 0; turn < stop_at; ++turn) {
        loop.Stop();
        loop.RunForever();
      }
      loop.Close();
      if (task) {
        EXPECT_TRUE(task.Done());
      }
    }
    EXPECT_EQ(alive.use_count(), 1);
  }
}

}  // namespace
}  // namespace coil
