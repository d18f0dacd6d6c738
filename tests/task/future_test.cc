// Future<T>: A45 to A54.

#include "coil/task/future.h"

#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
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

using Log = std::vector<std::string>;

void Collect(Log* log) {
  EventLoop::Current().SetExceptionHandler(
      [log](const ExceptionContext& c) { log->push_back(c.message); });
}

TEST(FutureTest, WithoutALoopIsRefused) {
  EXPECT_THROW(Future<int>(), std::runtime_error);
}

TEST(FutureTest, StatesFromPendingToResult) {
  auto main = []() -> Co<void> {
    Future<int> future;
    EXPECT_FALSE(future.Done());
    EXPECT_THROW(future.Result(), InvalidStateError);
    EXPECT_THROW(future.Exception(), InvalidStateError);
    future.SetResult(3);
    EXPECT_TRUE(future.Done());
    EXPECT_FALSE(future.Cancelled());
    EXPECT_EQ(future.Result(), 3);
    EXPECT_EQ(future.Exception(), nullptr);
    EXPECT_EQ(co_await future, 3);
    EXPECT_EQ(co_await future, 3);
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, IsSetOnce) {
  auto main = []() -> Co<void> {
    Future<int> future;
    future.SetName("once");
    future.SetResult(3);
    std::string what;
    try {
      future.SetResult(4);
    } catch (const InvalidStateError& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("once: it is done already"), std::string::npos) << what;
    EXPECT_THROW(future.SetException(std::range_error("x")), InvalidStateError);
    EXPECT_EQ(future.Result(), 3);
    Future<int> cancelled;
    cancelled.Cancel();
    EXPECT_THROW(cancelled.SetResult(1), InvalidStateError);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, TakesExceptionsByValueOrByPointer) {
  auto main = []() -> Co<void> {
    Future<int> a;
    a.SetException(std::range_error("a"));
    EXPECT_THROW(co_await a, std::range_error);
    EXPECT_THROW(a.Result(), std::range_error);
    EXPECT_NE(a.Exception(), nullptr);
    Future<int> b;
    auto error = std::make_exception_ptr(std::logic_error("b"));
    b.SetException(error);
    EXPECT_EQ(b.Exception(), error);
    EXPECT_EQ(b.Exception(), error);  // the same object each time
    Future<int> c;
    EXPECT_THROW(c.SetException(std::exception_ptr()), std::invalid_argument);
    EXPECT_FALSE(c.Done());
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, ValuesMayBeVoidReferencesOrMoveOnly) {
  auto main = []() -> Co<void> {
    Future<> nothing;
    static_assert(std::is_same_v<decltype(nothing), Future<void>>);
    nothing.SetResult();
    co_await nothing;
    int target = 0;
    Future<int&> reference;
    reference.SetResult(target);
    EXPECT_EQ(&co_await reference, &target);
    Future<std::unique_ptr<int>> pointer;
    pointer.SetResult(std::make_unique<int>(4));
    const std::unique_ptr<int>& seen = co_await pointer;
    EXPECT_EQ(*seen, 4);
    Future<std::unique_ptr<int>> other = pointer;
    std::unique_ptr<int> moved = co_await std::move(pointer);
    EXPECT_EQ(*moved, 4);
    EXPECT_THROW(other.Result(), InvalidStateError);
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, CopiesReferToTheSameCell) {
  auto main = []() -> Co<void> {
    Future<int> future;
    const Future<int> copy = future;
    copy.SetResult(1);
    EXPECT_EQ(future.Result(), 1);
    EXPECT_EQ(future, copy);
    co_return;
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, NothingRunsInsideOfSetResult) {
  Log log;
  auto main = [&]() -> Co<void> {
    Future<void> future;
    future.AddDoneCallback([&](AnyTask) { log.push_back("callback"); });
    Task<void> waiter = CreateTask([&]() -> Co<void> {
      co_await future;
      log.push_back("waiter");
    });
    co_await Yield();
    future.SetResult();
    log.push_back("set");
    co_await waiter;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"set", "callback", "waiter"}));
}

TEST(FutureTest, AwaitersAndCallbacksComeInTheOrderOfTheirRegistration) {
  std::vector<int> order;
  auto main = [&]() -> Co<void> {
    Future<void> future;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 6; ++i) {
      if (i % 2 == 0) {
        future.AddDoneCallback([&order, i](AnyTask) { order.push_back(i); });
      } else {
        tasks.push_back(CreateTask([&order, &future, i]() -> Co<void> {
          co_await future;
          order.push_back(i);
        }));
        co_await Yield();
      }
    }
    future.SetResult();
    for (auto& task : tasks) co_await task;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(FutureTest, CancelIsAtOnceAndOnce) {
  auto main = []() -> Co<void> {
    Future<int> future;
    bool called = false;
    future.AddDoneCallback([&](AnyTask f) { called = f.Cancelled(); });
    EXPECT_TRUE(future.Cancel("why"));
    EXPECT_TRUE(future.Done());
    EXPECT_TRUE(future.Cancelled());
    EXPECT_FALSE(called);
    EXPECT_FALSE(future.Cancel());
    EXPECT_EQ(future.Cancelling(), 0);
    EXPECT_EQ(future.Uncancel(), 0);
    std::string message;
    try {
      co_await future;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "why");
    co_await Yield();
    EXPECT_TRUE(called);
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, ACancelledAwaiterCancelsTheFutureInsideOfCancel) {
  auto main = []() -> Co<void> {
    Future<int> future;
    auto wait = [&]() -> Co<int> { co_return co_await future; };
    Task<int> task = CreateTask(wait);
    Task<int> other = CreateTask(wait);
    co_await Yield();
    EXPECT_FALSE(future.Cancelled());
    task.Cancel();
    EXPECT_TRUE(future.Cancelled());
    co_await Settle(task);
    auto outcome = co_await Settle(other);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(other.Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, AnAwaiterThatIsDestroyedIsForgotten) {
  auto main = [](Future<int>* out) -> Co<void> {
    Future<int> future;
    *out = future;
    auto wait = [future]() -> Co<void> { co_await future; };
    CreateTask(wait);
    co_await Yield();
  };
  Runner runner(kVirtual);
  auto start = [&]() -> Co<Future<int>> {
    Future<int> future;
    co_await main(&future);
    co_return future;
  };
  Future<int> future = runner.Run(start());
  runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
  runner.Loop().Close();
  future.SetResult(1);  // wakes nobody
  EXPECT_TRUE(future.Done());
}

TEST(FutureTest, AFutureOfAnotherLoopIsRefused) {
  Runner other(kVirtual);
  auto make = []() -> Co<Future<int>> { co_return Future<int>(); };
  Future<int> foreign = other.Run(make());
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

TEST(FutureReportTest, AnErrorThatNobodyReadIsReportedOnce) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    {
      Future<int> future;
      future.SetException(std::range_error("lost"));
      Future<int> copy = future;
    }
    EXPECT_EQ(reports.size(), 1u);
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, (Log{"Future exception was never retrieved"}));
}

TEST(FutureReportTest, ReadingOrCancellingDisarmsIt) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    {
      Future<int> read;
      read.SetException(std::range_error("x"));
      read.Exception();
      Future<int> taken;
      taken.SetException(std::range_error("x"));
      EXPECT_THROW(taken.Result(), std::range_error);
      Future<int> cancelled;
      cancelled.Cancel();
      Future<int> pending;
    }
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, Log());
}

TEST(FutureReportTest, AnAwaiterThatWasCancelledMeanwhileDoesNotCountAsRead) {
  Log reports;
  auto main = [&]() -> Co<void> {
    Collect(&reports);
    Task<void> task;
    {
      Future<void> future;
      auto wait = [future]() -> Co<void> { co_await future; };
      task = CreateTask(wait);
      co_await Yield();
      future.SetException(std::range_error("lost"));
      task.Cancel();
    }
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    task = {};
    EXPECT_EQ(reports, (Log{"Future exception was never retrieved"}));
  };
  coil::Run(main, kVirtual);
}

TEST(FutureTest, SetAfterItsLoopIsClosedItRunsNoCallbacks) {
  auto alive = std::make_shared<int>(0);
  Future<int>* made = nullptr;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<Future<int>> {
      Future<int> future;
      future.AddDoneCallback([alive](AnyTask) { ADD_FAILURE(); });
      co_return future;
    };
    made = new Future<int>(runner.Run(main));
  }
  made->SetResult(1);
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(made->Result(), 1);
  delete made;
}

TEST(FutureTest, FromAnotherThreadBySayingItToTheLoop) {
  auto main = []() -> Co<void> {
    Future<int> future;
    EventLoop& loop = EventLoop::Current();
    std::thread thread([&loop, &future] {
      loop.CallSoonThreadSafe([&future] { future.SetResult(5); });
    });
    EXPECT_EQ(co_await future, 5);
    thread.join();
  };
  coil::Run(main);
}

// T77: the objects of a loop used from another thread, in debug mode.
TEST(ReliabilityT77, DebugModeRefusesTasksAndFuturesInAnotherThread) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<void> task = CreateTask(Sleep(absl::InfiniteDuration()));
    std::string what;
    std::thread thread([&] {
      EXPECT_THROW(future.SetResult(1), std::runtime_error);
      EXPECT_THROW(future.SetException(std::range_error("x")),
                   std::runtime_error);
      EXPECT_THROW(future.Cancel(), std::runtime_error);
      EXPECT_THROW(future.AddDoneCallback([](AnyTask) {}), std::runtime_error);
      EXPECT_THROW(future.RemoveDoneCallback(CallbackId{1}),
                   std::runtime_error);
      EXPECT_THROW(task.Uncancel(), std::runtime_error);
      try {
        task.Cancel();
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      EXPECT_THROW(CreateTask(Sleep(absl::Seconds(1))), std::runtime_error);
      EXPECT_THROW(AllTasks(), std::runtime_error);
      EXPECT_THROW(CurrentTask(), std::runtime_error);
      EXPECT_THROW(Future<int>(), std::runtime_error);
    });
    thread.join();
    EXPECT_NE(what.find("CallSoonThreadSafe"), std::string::npos) << what;
    EXPECT_FALSE(future.Done());
    task.Cancel();
    co_await Settle(task);
  };
  coil::Run(main, RunOptions{.debug = true});
}

// The loops of two Run() calls often lie at the same address.
TEST(FutureTest, OfALoopThatIsGoneIsRefusedByTheNextOne) {
  alignas(EventLoop) unsigned char place[sizeof(EventLoop)];
  const LoopOptions options = {.simulation = &kSimulation};
  std::optional<Future<int>> pending;
  Task<int> done;
  auto make = [&]() -> Co<void> {
    pending.emplace();
    done = CreateTask([]() -> Co<int> { co_return 1; });
    co_await done;
  };
  EventLoop* loop = new (place) EventLoop(options);
  loop->RunUntilComplete(make());
  loop->~EventLoop();

  loop = new (place) EventLoop(options);
  auto use = [&]() -> Co<void> {
    EXPECT_THROW(co_await *pending, std::runtime_error);
    EXPECT_THROW(co_await done, std::runtime_error);
    EXPECT_THROW(pending->AddDoneCallback([](AnyTask) {}), std::runtime_error);
    EXPECT_EQ(done.Result(), 1);
    // What belongs to this loop is not confused with it.
    Future<int> own;
    own.SetResult(2);
    EXPECT_EQ(co_await own, 2);
    Task<int> other = CreateTask([]() -> Co<int> { co_return 3; });
    co_await Yield();
    EXPECT_EQ(co_await other, 3);
  };
  loop->RunUntilComplete(use());
  loop->~EventLoop();
}

}  // namespace
}  // namespace coil
