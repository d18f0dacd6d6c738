// ToThread() and RunInExecutor(): results, order, cancellation in each state of
// a job, and frames that die while a thread uses them.

#include "coil/task/to_thread.h"

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/context_var.h"
#include "coil/task/errors.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

// A job that is in a known state: running, until it is told to end.
class Gate {
 public:
  // On the thread.
  void Pass() {
    entered_.count_down();
    open_.wait();
  }
  void WaitUntilEntered() { entered_.wait(); }
  void Open() { open_.count_down(); }

 private:
  std::latch entered_{1};
  std::latch open_{1};
};

int Add(int a, int b) { return a + b; }

TEST(ToThreadTest, ReturnsTheResultFromAnotherThread) {
  auto main = []() -> Co<void> {
    const std::thread::id here = std::this_thread::get_id();
    EXPECT_EQ(co_await ToThread(Add, 1, 2), 3);
    const std::thread::id there =
        co_await ToThread([] { return std::this_thread::get_id(); });
    EXPECT_NE(here, there);
    EXPECT_EQ(std::this_thread::get_id(), here);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, TheLoopGoesOnMeanwhile) {
  auto main = []() -> Co<void> {
    Gate gate;
    Task<void> task = CreateTask(ToThread([&] { gate.Pass(); }));
    int turns = 0;
    while (turns < 100) {
      ++turns;
      co_await Yield();
    }
    gate.WaitUntilEntered();
    EXPECT_FALSE(task.Done());
    gate.Open();
    co_await task;
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ErrorsComeOutOfTheAwait) {
  auto main = []() -> Co<void> {
    auto fails = [](bool yes) -> int {
      if (yes) throw std::range_error("in the thread");
      return 1;
    };
    std::string what;
    try {
      co_await ToThread(fails, true);
    } catch (const std::range_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "in the thread");
    auto cancels = [] { throw CancelledError("by the job"); };
    auto outcome = co_await Settle(ToThread(cancels));
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ResultsMayBeVoidReferencesOrMoveOnly) {
  auto main = []() -> Co<void> {
    int target = 0;
    co_await ToThread([&] { target = 4; });
    EXPECT_EQ(target, 4);
    int& reference = co_await ToThread([&]() -> int& { return target; });
    EXPECT_EQ(&reference, &target);
    std::unique_ptr<int> moved =
        co_await ToThread([] { return std::make_unique<int>(7); });
    EXPECT_EQ(*moved, 7);
    std::string text = co_await ToThread([] { return std::string("text"); });
    EXPECT_EQ(text, "text");
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ArgumentsAreKeptUntilTheJobIsDone) {
  auto main = []() -> Co<void> {
    auto length = [](std::string s) { return s.size(); };
    Task<size_t> task;
    {
      std::string local(1000, 'x');
      task = CreateTask(ToThread(length, local));
      local.assign(1000, 'y');
    }
    EXPECT_EQ(co_await task, 1000u);
    auto p = std::make_unique<int>(3);
    auto take = [](std::unique_ptr<int> q) { return *q; };
    EXPECT_EQ(co_await ToThread(take, std::move(p)), 3);
    int counter = 0;
    auto raise = [](int& n) { ++n; };
    co_await ToThread(raise, std::ref(counter));
    EXPECT_EQ(counter, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, AnLvalueCallableIsReferredToAndAnRvalueKept) {
  auto main = []() -> Co<void> {
    struct Counter {
      int calls = 0;
      void operator()() { ++calls; }
    } counter;
    co_await ToThread(counter);
    co_await ToThread(counter);
    EXPECT_EQ(counter.calls, 2);
    int seen = 0;
    Co<void> later = ToThread([&seen] { seen = 1; });
    co_await Yield();
    EXPECT_EQ(seen, 0);
    co_await std::move(later);
    EXPECT_EQ(seen, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, NothingRunsBeforeTheAwait) {
  auto main = []() -> Co<void> {
    std::atomic<bool> ran{false};
    Co<void> job = ToThread([&] { ran = true; });
    co_await ToThread([] {});
    EXPECT_FALSE(ran.load());
    job.Dispose();
  };
  coil::Run(main, kVirtual);
}

ContextVar<int> request_id("request_id", 0);

TEST(ToThreadTest, ContextGoesInAndNotOut) {
  auto main = []() -> Co<void> {
    request_id.Set(7);
    const int seen = co_await ToThread([] {
      const int value = request_id.Get();
      request_id.Set(99);
      return value * 1000 + request_id.Get();
    });
    EXPECT_EQ(seen, 7099);
    EXPECT_EQ(request_id.Get(), 7);
    // The thread itself keeps nothing.
    ThreadPool pool(1);
    co_await RunInExecutor(pool, [] { request_id.Set(5); });
    EXPECT_EQ(co_await RunInExecutor(pool, [] { return request_id.Get(0); }),
              0);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, RunInExecutorTakesNoContextAlong) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    request_id.Set(7);
    EXPECT_EQ(co_await RunInExecutor(pool, [] { return request_id.Get(); }), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, JobsStartFirstInFirstOut) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 10; ++i) {
      tasks.push_back(CreateTask([&pool, &order, i]() -> Co<void> {
        co_await RunInExecutor(pool, [&] { order.push_back(i); });
      }));
    }
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ThousandJobsAtOnce) {
  auto main = []() -> Co<void> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 1000; ++i)
      tasks.push_back(CreateTask(ToThread(Add, i, 1)));
    int sum = 0;
    for (auto& task : tasks) sum += co_await task;
    EXPECT_EQ(sum, 500500);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, AVirtualClockDoesNotRunAhead) {
  auto main = []() -> Co<void> {
    bool slept = false;
    Task<void> sleeper = CreateTask([&slept]() -> Co<void> {
      co_await Sleep(absl::Hours(1));
      slept = true;
    });
    co_await Yield();
    for (int i = 0; i < 20; ++i) co_await ToThread([] {});
    EXPECT_FALSE(slept);
    co_await sleeper;
    EXPECT_TRUE(slept);
  };
  coil::Run(main, kVirtual);
}

// ---------------------------------------------------------------- cancelling

TEST(ToThreadTest, AJobThatHasNotStartedIsTakenBackAtOnce) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    Gate gate;
    Task<void> first = CreateTask(RunInExecutor(pool, [&] { gate.Pass(); }));
    std::atomic<bool> ran{false};
    Task<void> second = CreateTask(RunInExecutor(pool, [&] { ran = true; }));
    co_await Yield();
    gate.WaitUntilEntered();
    EXPECT_EQ(pool.Waiting(), 1);
    second.Cancel("not needed");
    EXPECT_EQ(pool.Waiting(), 0);
    co_await Yield();
    EXPECT_TRUE(second.Cancelled());
    gate.Open();
    co_await first;
    EXPECT_FALSE(ran.load());
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, AJobThatRunsKeepsTheTaskUntilTheThreadLetsGo) {
  auto main = []() -> Co<void> {
    Gate gate;
    int written = 0;  // what the job refers to
    bool caught = false;
    auto body = [&]() -> Co<void> {
      int local = 1;
      try {
        co_await ToThread([&] {
          gate.Pass();
          written = local + 1;
        });
      } catch (const CancelledError& e) {
        caught = true;
        EXPECT_EQ(e.message(), "stop");
        EXPECT_EQ(written, 2);
      }
      if (caught) throw CancelledError("again");
    };
    Task<void> task = CreateTask(body);
    co_await Yield();
    gate.WaitUntilEntered();
    for (int i = 0; i < 3; ++i) {
      task.Cancel("stop");
      for (int j = 0; j < 10; ++j) co_await Yield();
      EXPECT_FALSE(task.Done());
    }
    gate.Open();
    co_await Settle(task);
    EXPECT_TRUE(caught);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ACancelAfterTheJobIsDoneAndBeforeItIsBackWins) {
  auto main = []() -> Co<void> {
    std::latch done(1);
    Task<int> task = CreateTask(ToThread([&] {
      done.count_down();
      return 5;
    }));
    co_await Yield();
    done.wait();  // blocks the loop: the result cannot be delivered yet
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, ErrorOfAJobThatWasCancelledIsDropped) {
  std::vector<std::string> reports;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    Gate gate;
    Task<void> task = CreateTask(ToThread([&] {
      gate.Pass();
      throw std::runtime_error("too late");
    }));
    co_await Yield();
    gate.WaitUntilEntered();
    task.Cancel();
    gate.Open();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(reports.empty());
}

TEST(ToThreadTest, CancelledBeforeTheAwaitNothingIsSubmitted) {
  auto main = []() -> Co<void> {
    std::atomic<bool> ran{false};
    Task<void> task = CreateTask([&ran]() -> Co<void> {
      CurrentTask().Cancel();
      co_await ToThread([&ran] { ran = true; });
    });
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    co_await ToThread([] {});
    EXPECT_FALSE(ran.load());
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, AClockThatIsVirtualMovesOnAfterATakeBack) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    Gate gate;
    Task<void> first = CreateTask(RunInExecutor(pool, [&] { gate.Pass(); }));
    Task<void> second = CreateTask(RunInExecutor(pool, [] {}));
    co_await Yield();
    gate.WaitUntilEntered();
    second.Cancel();
    gate.Open();
    co_await first;
    // Would hang if the job that was taken back still counted.
    co_await Sleep(absl::Hours(1));
  };
  coil::Run(main, kVirtual);
}

// ---------------------------------------------------------- pools that refuse

TEST(ToThreadTest, AShutDownPoolIsAnError) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    pool.Shutdown();
    std::string what;
    try {
      co_await RunInExecutor(pool, [] {});
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("after Shutdown()"), std::string::npos) << what;
    co_await Sleep(absl::Hours(1));
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, AShutDownDefaultExecutorIsAnError) {
  auto main = []() -> Co<void> {
    co_await ToThread([] {});
    EventLoop::Current().ShutdownDefaultExecutor();
    EXPECT_THROW(co_await ToThread([] {}), std::runtime_error);
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, APoolThatEndsBeforeTheJobStartsIsAnError) {
  auto main = []() -> Co<void> {
    ThreadPool pool(1);
    Gate gate;
    Task<void> first = CreateTask(RunInExecutor(pool, [&] { gate.Pass(); }));
    std::atomic<bool> ran{false};
    Task<void> second = CreateTask(RunInExecutor(pool, [&] { ran = true; }));
    co_await Yield();
    gate.WaitUntilEntered();
    pool.ShutdownNow();
    std::string what;
    try {
      co_await second;
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("shut down before the job started"), std::string::npos)
        << what;
    EXPECT_FALSE(ran.load());
    gate.Open();
    co_await first;
  };
  coil::Run(main, kVirtual);
}

TEST(ToThreadTest, TheDefaultExecutorMayBeReplaced) {
  ThreadPool pool(1);
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetDefaultExecutor(&pool);
    const bool in_pool =
        co_await ToThread([&] { return pool.RunsInThisPool(); });
    EXPECT_TRUE(in_pool);
  };
  coil::Run(main, kVirtual);
}

// ------------------------------------------------- frames that are destroyed

TEST(ToThreadTest, AFrameThatDiesWhileItsJobRunsWaitsForIt) {
  std::atomic<bool> closing{false};
  std::atomic<bool> job_done{false};
  int outer = 0;
  ThreadPool pool(1);
  {
    Runner runner(kVirtual);
    std::latch entered(1);
    auto main = [&]() -> Co<void> {
      CreateTask([&]() -> Co<void> {
        int local = 41;  // the job refers to the frame
        co_await RunInExecutor(pool, [&] {
          entered.count_down();
          while (!closing.load()) std::this_thread::yield();
          outer = local + 1;
          job_done = true;
        });
      });
      co_await Yield();
      entered.wait();
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler(
        [&](const ExceptionContext&) { closing = true; });
    runner.Loop().Close();
    EXPECT_TRUE(job_done.load());
    EXPECT_EQ(outer, 42);
  }
}

TEST(ToThreadTest, AFrameThatDiesBeforeItsJobStartsTakesItBack) {
  Gate gate;
  std::atomic<bool> ran{false};
  ThreadPool pool(1);
  pool.Submit([&] { gate.Pass(); });
  gate.WaitUntilEntered();
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      CreateTask(RunInExecutor(pool, [&] { ran = true; }));
      co_await Yield();
    };
    runner.Run(main);
    EXPECT_EQ(pool.Waiting(), 1);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
    EXPECT_EQ(pool.Waiting(), 0);
  }
  gate.Open();
  pool.Shutdown();
  EXPECT_FALSE(ran.load());
}

TEST(ToThreadTest, WhatIsDoneAndNotYetBackIsDroppedByClose) {
  ThreadPool pool(1);
  {
    Runner runner(kVirtual);
    std::latch done(1);
    auto main = [&]() -> Co<void> {
      CreateTask(RunInExecutor(pool, [&] { done.count_down(); }));
      co_await Yield();
      done.wait();
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
  }
  pool.Shutdown();
}

TEST(ToThreadTest, ShutdownOfRunWaitsForTheJobs) {
  std::atomic<bool> done{false};
  Gate gate;
  std::thread opener([&] {
    gate.WaitUntilEntered();
    gate.Open();
  });
  auto main = [&]() -> Co<void> {
    CreateTask(ToThread([&] {
      gate.Pass();
      done = true;
    }));
    co_await Yield();
    gate.WaitUntilEntered();
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(done.load());
  opener.join();
}

// T15: a buffer that a pool's thread uses while its task is cancelled.
TEST(ReliabilityT15, CancelsOfJobsInFlightNeverFreeWhatTheyUse) {
  auto main = []() -> Co<void> {
    ThreadPool pool(2);
    std::atomic<int> sum{0};
    int cancelled = 0;
    for (int round = 0; round < 2000; ++round) {
      std::vector<Task<void>> tasks;
      for (int i = 0; i < 8; ++i) {
        tasks.push_back(CreateTask([&pool, &sum]() -> Co<void> {
          std::vector<int> buffer(16, 1);
          co_await RunInExecutor(pool, [&] {
            for (int& n : buffer) {
              n += 1;
              sum += n;
            }
          });
        }));
      }
      for (int turns = round % 3; turns > 0; --turns) co_await Yield();
      for (auto& task : tasks) task.Cancel();
      for (auto& task : tasks) {
        auto outcome = co_await Settle(task);
        if (outcome.Cancelled()) ++cancelled;
      }
    }
    EXPECT_GT(cancelled, 0);
    EXPECT_EQ(sum.load() % 32, 0);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
