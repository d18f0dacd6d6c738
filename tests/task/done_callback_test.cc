// Done-callbacks of tasks and futures (A27, A28, A52).

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/future.h"
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

void Collect(Log* log) {
  EventLoop::Current().SetExceptionHandler([log](const ExceptionContext& c) {
    log->push_back(c.message + "|" + c.task);
  });
}

TEST(DoneCallbackTest, RunsThroughTheQueueAndNeverInline) {
  Log log;
  auto main = [&]() -> Co<void> {
    Task<int> task = CreateTask(Gives(1));
    task.AddDoneCallback([&](AnyTask t) {
      EXPECT_EQ(t, task);
      EXPECT_TRUE(t.Done());
      log.push_back("callback");
    });
    co_await task;
    log.push_back("main");
    task.AddDoneCallback([&](AnyTask) { log.push_back("late"); });
    log.push_back("registered");
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"callback", "main", "registered", "late"}));
}

TEST(DoneCallbackTest, RunInTheOrderOfTheirRegistration) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    Task<int> task = CreateTask(Gives(1));
    for (int i = 0; i < 5; ++i) {
      task.AddDoneCallback([&order, i](AnyTask) { order.push_back(i); });
    }
    co_await task;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(DoneCallbackTest, ARemovedOneDoesNotRun) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    Task<int> task = CreateTask(Gives(1));
    std::vector<CallbackId> ids;
    for (int i = 0; i < 5; ++i) {
      ids.push_back(
          task.AddDoneCallback([&order, i](AnyTask) { order.push_back(i); }));
    }
    EXPECT_TRUE(task.RemoveDoneCallback(ids[0]));
    EXPECT_TRUE(task.RemoveDoneCallback(ids[2]));
    EXPECT_FALSE(task.RemoveDoneCallback(ids[2]));
    EXPECT_TRUE(task.RemoveDoneCallback(ids[4]));
    co_await task;
    EXPECT_FALSE(task.RemoveDoneCallback(ids[1]));
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(order, (std::vector<int>{1, 3}));
}

TEST(DoneCallbackTest, MayAddAndRemoveOthersWhileTheyRun) {
  Log log;
  auto main = [&]() -> Co<void> {
    Future<void> future;
    CallbackId second{};
    future.AddDoneCallback([&](AnyTask f) {
      log.push_back("first");
      // It is scheduled already, so it is too late, as in asyncio.
      EXPECT_FALSE(f.RemoveDoneCallback(second));
      f.AddDoneCallback([&](AnyTask) { log.push_back("third"); });
    });
    second = future.AddDoneCallback([&](AnyTask) { log.push_back("second"); });
    future.SetResult();
    co_await Yield();
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"first", "second", "third"}));
}

TEST(DoneCallbackTest, AnErrorGoesToTheExceptionHandlerAndTheOthersRun) {
  Log reports;
  int ran = 0;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    Task<int> task = CreateTask(Gives(1), {.name = "t"});
    task.AddDoneCallback([](AnyTask) { throw std::range_error("callback"); });
    task.AddDoneCallback([&](AnyTask) { ++ran; });
    EXPECT_EQ(co_await task, 1);
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(reports, (Log{"Exception in a done-callback|t"}));
}

TEST(DoneCallbackTest, DieWithAFutureThatIsNeverDone) {
  auto alive = std::make_shared<int>(0);
  auto main = [&]() -> Co<void> {
    {
      Future<int> future;
      future.AddDoneCallback([alive](AnyTask) { ADD_FAILURE(); });
      EXPECT_EQ(alive.use_count(), 2);
    }
    EXPECT_EQ(alive.use_count(), 1);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(DoneCallbackTest, DieWithALoopThatIsClosedBeforeTheyRan) {
  auto alive = std::make_shared<int>(0);
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<Future<int>> {
      Future<int> future;
      future.AddDoneCallback([alive](AnyTask) { ADD_FAILURE(); });
      co_return future;
    };
    Future<int> future = runner.Run(main());
    future.SetResult(1);
    runner.Close();
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(DoneCallbackTest, ANullCallbackIsRefused) {
  auto main = [&]() -> Co<void> {
    Task<int> task = CreateTask(Gives(1));
    std::string what;
    try {
      task.AddDoneCallback(nullptr);
    } catch (const std::invalid_argument& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("AddDoneCallback: the callback of Task-"),
              std::string::npos)
        << what;
    EXPECT_NE(what.find(" is null"), std::string::npos) << what;
    EXPECT_EQ(co_await task, 1);
    EXPECT_THROW(task.AddDoneCallback(nullptr), std::invalid_argument);
  };
  coil::Run(main, kVirtual);
}

// Callbacks that die with their futures do so in the order of registration,
// also those of a future that one of them held last.
TEST(DoneCallbackTest, DieWithTheFutureInTheirOrder) {
  Log log;
  struct Dies {
    Dies(Log* log, std::string name) : log(log), name(std::move(name)) {}
    Dies(Dies&& other) noexcept
        : log(std::exchange(other.log, nullptr)), name(std::move(other.name)) {}
    ~Dies() {
      if (log != nullptr) log->push_back(name);
    }
    Log* log;
    std::string name;
  };
  auto main = [&]() -> Co<void> {
    Future<void> first;
    {
      Future<void> second;
      second.AddDoneCallback([d = Dies(&log, "2a")](AnyTask) {});
      second.AddDoneCallback([d = Dies(&log, "2b")](AnyTask) {});
      first.AddDoneCallback([second](AnyTask) {});
      first.AddDoneCallback([d = Dies(&log, "1b")](AnyTask) {});
    }
    EXPECT_TRUE(log.empty());
    first = Future<void>();
    EXPECT_EQ(log, (Log{"1b", "2a", "2b"}));
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(DoneCallbackTest, ACallbackMayTakeNothing) {
  auto main = []() -> Co<void> {
    Future<void> future;
    int calls = 0;
    future.AddDoneCallback([&] { ++calls; });
    const CallbackId id = future.AddDoneCallback([&calls] { calls += 10; });
    EXPECT_TRUE(future.RemoveDoneCallback(id));
    future.SetResult();
    EXPECT_EQ(calls, 0);
    co_await Yield();
    EXPECT_EQ(calls, 1);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
