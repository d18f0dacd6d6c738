// RunCoroutineThreadSafe() and ThreadFuture.

#include "coil/task/thread_future.h"

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/context_var.h"
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

// A loop that runs in a thread of its own until it is told to end.
class LoopThread {
 public:
  LoopThread() {
    std::promise<EventLoop*> ready;
    std::future<EventLoop*> loop = ready.get_future();
    thread_ = std::thread([this, &ready] {
      auto main = [&]() -> Co<void> {
        Future<void> end;
        end_ = &end;
        EventLoop::Current().SetExceptionHandler(
            [this](const ExceptionContext& c) {
              reports.push_back(c.message);
            });
        ready.set_value(&EventLoop::Current());
        co_await end;
      };
      coil::Run(main);
    });
    loop_ = loop.get();
  }
  ~LoopThread() { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    loop_->CallSoonThreadSafe([this] { end_->SetResult(); });
    thread_.join();
  }
  EventLoop& loop() { return *loop_; }
  std::thread::id id() const { return thread_.get_id(); }

  std::vector<std::string> reports;  // to be read after Stop()

 private:
  std::thread thread_;
  EventLoop* loop_ = nullptr;
  Future<void>* end_ = nullptr;
};

Co<int> Answer() {
  co_await Yield();
  co_return 42;
}

Co<int> Fails() {
  co_await Yield();
  throw std::range_error("no");
}

Co<void> Forever() { co_await Sleep(absl::InfiniteDuration()); }

TEST(ThreadFutureTest, GetReturnsTheResult) {
  LoopThread other;
  ThreadFuture<int> future = RunCoroutineThreadSafe(Answer(), other.loop());
  EXPECT_EQ(future.Get(), 42);
  EXPECT_TRUE(future.Done());
  EXPECT_EQ(future.Get(absl::ZeroDuration()), 42);
}

TEST(ThreadFutureTest, TheCoroutineRunsInTheThreadOfTheLoop) {
  LoopThread other;
  auto where = []() -> Co<std::thread::id> {
    co_return std::this_thread::get_id();
  };
  EXPECT_EQ(RunCoroutineThreadSafe(where(), other.loop()).Get(), other.id());
}

TEST(ThreadFutureTest, GetThrowsTheError) {
  LoopThread other;
  ThreadFuture<int> future = RunCoroutineThreadSafe(Fails(), other.loop());
  EXPECT_THROW(future.Get(), std::range_error);
  EXPECT_THROW(future.Get(), std::range_error);
}

TEST(ThreadFutureTest, AnErrorIsNotReportedAsNeverRetrieved) {
  LoopThread other;
  RunCoroutineThreadSafe(Fails(), other.loop());
  RunCoroutineThreadSafe(Answer(), other.loop()).Get();
  other.Stop();
  EXPECT_TRUE(other.reports.empty());
}

TEST(ThreadFutureTest, AMoveOnlyResultIsGivenOnce) {
  LoopThread other;
  auto make = []() -> Co<std::unique_ptr<int>> {
    co_return std::make_unique<int>(5);
  };
  auto future = RunCoroutineThreadSafe(make(), other.loop());
  EXPECT_EQ(*future.Get(), 5);
  EXPECT_THROW(future.Get(), InvalidStateError);
}

TEST(ThreadFutureTest, ResultsMayBeVoidOrReferences) {
  LoopThread other;
  int target = 0;
  auto set = [&]() -> Co<void> {
    target = 3;
    co_return;
  };
  RunCoroutineThreadSafe(set(), other.loop()).Get();
  EXPECT_EQ(target, 3);
  auto refer = [&]() -> Co<int&> { co_return target; };
  EXPECT_EQ(&RunCoroutineThreadSafe(refer(), other.loop()).Get(), &target);
}

TEST(ThreadFutureTest, GetWithATimeoutThrowsAndChangesNothing) {
  LoopThread other;
  Future<int>* pending = nullptr;
  std::latch made(1);
  auto wait = [&]() -> Co<int> {
    Future<int> future;
    pending = &future;
    made.count_down();
    co_return co_await future;
  };
  ThreadFuture<int> future = RunCoroutineThreadSafe(wait(), other.loop());
  std::string what;
  try {
    future.Get(absl::ZeroDuration());
  } catch (const TimeoutError& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("no result within 0"), std::string::npos) << what;
  EXPECT_FALSE(future.Done());
  EXPECT_THROW(future.Get(absl::Seconds(-1)), TimeoutError);
  made.wait();
  other.loop().CallSoonThreadSafe([&] { pending->SetResult(8); });
  EXPECT_EQ(future.Get(), 8);
}

TEST(ThreadFutureTest, CancelCancelsTheTask) {
  LoopThread other;
  ThreadFuture<void> future = RunCoroutineThreadSafe(Forever(), other.loop());
  EXPECT_TRUE(future.Cancel());
  EXPECT_THROW(future.Get(), CancelledError);
  EXPECT_FALSE(future.Cancel());
}

TEST(ThreadFutureTest, CancelRunsTheCleanupOfTheTask) {
  LoopThread other;
  std::latch started(1);
  bool cleaned = false;
  auto body = [&]() -> Co<void> {
    started.count_down();
    bool cancelled = false;
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
      cancelled = true;
    }
    co_await Yield();
    cleaned = true;
    if (cancelled) throw CancelledError();
  };
  ThreadFuture<void> future = RunCoroutineThreadSafe(body(), other.loop());
  started.wait();
  future.Cancel();
  EXPECT_THROW(future.Get(), CancelledError);
  EXPECT_TRUE(cleaned);
}

TEST(ThreadFutureTest, ATaskThatRefusesTheCancelGivesItsResult) {
  LoopThread other;
  std::latch started(1);
  auto body = [&]() -> Co<int> {
    started.count_down();
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    co_return 6;
  };
  ThreadFuture<int> future = RunCoroutineThreadSafe(body(), other.loop());
  started.wait();
  EXPECT_TRUE(future.Cancel());
  EXPECT_EQ(future.Get(), 6);
}

TEST(ThreadFutureTest, CancelAfterTheEndSaysNo) {
  LoopThread other;
  ThreadFuture<int> future = RunCoroutineThreadSafe(Answer(), other.loop());
  future.Get();
  EXPECT_FALSE(future.Cancel());
  EXPECT_EQ(future.Get(), 42);
}

TEST(ThreadFutureTest, GetInTheLoopsOwnThreadIsRefused) {
  auto main = []() -> Co<void> {
    ThreadFuture<int> future =
        RunCoroutineThreadSafe(Answer(), EventLoop::Current());
    std::string what;
    try {
      future.Get();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("would wait for ever"), std::string::npos) << what;
    EXPECT_EQ(co_await future, 42);
    EXPECT_EQ(future.Get(), 42);
  };
  coil::Run(main, kVirtual);
}

TEST(ThreadFutureTest, AClosedLoopRefusesAndTheCoroutineDiesHere) {
  EventLoop loop;
  loop.Close();
  std::vector<std::string> reports;
  auto alive = std::make_shared<int>(0);
  auto body = [](std::shared_ptr<int>) -> Co<void> { co_return; };
  std::string what;
  try {
    RunCoroutineThreadSafe(body(alive), loop);
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("the event loop is closed"), std::string::npos) << what;
  EXPECT_EQ(alive.use_count(), 1);
}

// Notes in which thread it dies.
class DeathNote {
 public:
  explicit DeathNote(std::thread::id* where) : where_(where) {}
  DeathNote(DeathNote&& other) noexcept
      : where_(std::exchange(other.where_, nullptr)) {}
  ~DeathNote() {
    if (where_ != nullptr) *where_ = std::this_thread::get_id();
  }

 private:
  std::thread::id* where_;
};

TEST(ThreadFutureTest, ALoopThatClosesBeforeTheStartFailsTheFuture) {
  std::thread::id died;
  ThreadFuture<void> future;
  {
    EventLoop loop;
    auto body = [](DeathNote) -> Co<void> { co_return; };
    std::thread other(
        [&] { future = RunCoroutineThreadSafe(body(DeathNote(&died)), loop); });
    other.join();
    EXPECT_FALSE(future.Done());
    loop.Close();
  }
  EXPECT_EQ(died, std::this_thread::get_id());
  std::string what;
  try {
    future.Get();
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("the event loop is closed"), std::string::npos) << what;
  EXPECT_FALSE(future.Cancel());
}

TEST(ThreadFutureTest, ALoopWhoseThreadIsGoneTimesOutAndMayGoOnElsewhere) {
  EventLoop loop;
  std::thread([&] {
    loop.Stop();
    loop.RunForever();
  }).join();
  ThreadFuture<int> future = RunCoroutineThreadSafe(Answer(), loop);
  EXPECT_THROW(future.Get(absl::Milliseconds(1)), TimeoutError);
  EXPECT_FALSE(future.Done());
  for (int passes = 0; passes < 10 && !future.Done(); ++passes) {
    loop.Stop();
    loop.RunForever();
  }
  EXPECT_EQ(future.Get(), 42);
}

TEST(ThreadFutureTest, ALoopThatClosesWithTheTaskPendingFailsTheFuture) {
  ThreadFuture<void> future;
  {
    EventLoop loop;
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    future = RunCoroutineThreadSafe(Forever(), loop);
    loop.Stop();
    loop.RunForever();
    EXPECT_FALSE(future.Done());
    loop.Close();
  }
  EXPECT_TRUE(future.Done());
  EXPECT_THROW(future.Get(), std::runtime_error);
}

TEST(ThreadFutureTest, TheShutdownOfRunCancelsTheTask) {
  ThreadFuture<void> future;
  {
    LoopThread other;
    future = RunCoroutineThreadSafe(Forever(), other.loop());
  }
  EXPECT_THROW(future.Get(), CancelledError);
}

TEST(ThreadFutureTest, CoroutinesOfOneThreadStartInOrder) {
  LoopThread other;
  std::vector<int> order;
  auto note = [&](int i) -> Co<void> {
    order.push_back(i);
    co_return;
  };
  std::vector<ThreadFuture<void>> futures;
  for (int i = 0; i < 100; ++i) {
    futures.push_back(RunCoroutineThreadSafe(note(i), other.loop()));
  }
  for (auto& future : futures) future.Get();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order.at(i), i);
}

TEST(ThreadFutureTest, ManyThreadsSubmitAtOnce) {
  LoopThread other;
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      auto add = [](int i) -> Co<int> {
        co_await Yield();
        co_return i;
      };
      for (int i = 0; i < 500; ++i) {
        sum += RunCoroutineThreadSafe(add(i), other.loop()).Get();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum.load(), 4 * 499 * 250);
}

ContextVar<int> tenant("tenant", 0);

TEST(ThreadFutureTest, TheTaskRunsInACopyOfTheCallersContext) {
  LoopThread other;
  auto body = []() -> Co<int> {
    const int seen = tenant.Get();
    tenant.Set(9);
    co_return seen;
  };
  Context context;
  const int seen = context.Run([&] {
    tenant.Set(3);
    const int result = RunCoroutineThreadSafe(body(), other.loop()).Get();
    EXPECT_EQ(tenant.Get(), 3);
    return result;
  });
  EXPECT_EQ(seen, 3);
}

TEST(ThreadFutureTest, AnEmptyOneNamesTheRule) {
  ThreadFuture<int> future;
  EXPECT_FALSE(future);
  EXPECT_THROW(future.Get(), std::runtime_error);
  EXPECT_THROW(future.Cancel(), std::runtime_error);
  EXPECT_THROW(future.Done(), std::runtime_error);
}

TEST(ThreadFutureTest, ACoThatWasAwaitedBeforeIsRefused) {
  EventLoop loop;
  Co<int> co = Answer();
  co.Dispose();
  EXPECT_THROW(RunCoroutineThreadSafe(std::move(co), loop), std::runtime_error);
}

// ------------------------------------------------- awaited from another loop

TEST(ThreadFutureTest, ATaskOfAnotherLoopAwaitsIt) {
  LoopThread other;
  auto main = [&]() -> Co<void> {
    auto future = RunCoroutineThreadSafe(Answer(), other.loop());
    EXPECT_EQ(co_await future, 42);
    EXPECT_EQ(co_await future, 42);
    auto fails = RunCoroutineThreadSafe(Fails(), other.loop());
    EXPECT_THROW(co_await fails, std::range_error);
  };
  coil::Run(main, kVirtual);
}

TEST(ThreadFutureTest, SeveralTasksAwaitOne) {
  LoopThread other;
  auto main = [&]() -> Co<void> {
    auto future = RunCoroutineThreadSafe(Answer(), other.loop());
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(CreateTask(future));
    for (auto& task : tasks) EXPECT_EQ(co_await task, 42);
  };
  coil::Run(main, kVirtual);
}

TEST(ThreadFutureTest, ACancelOfTheAwaitingTaskIsPassedOn) {
  LoopThread other;
  auto main = [&]() -> Co<void> {
    auto future = RunCoroutineThreadSafe(Forever(), other.loop());
    Task<void> task = CreateTask(future);
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_THROW(future.Get(), CancelledError);
  };
  coil::Run(main, kVirtual);
}

TEST(ThreadFutureTest, ACompletionAfterTheAwaitingLoopIsGoneIsDropped) {
  LoopThread other;
  Future<int>* pending = nullptr;
  std::latch made(1);
  auto wait = [&]() -> Co<int> {
    Future<int> future;
    pending = &future;
    made.count_down();
    co_return co_await future;
  };
  auto future = RunCoroutineThreadSafe(wait(), other.loop());
  made.wait();
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      CreateTask(future);
      co_await Yield();
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
  }
  other.loop().CallSoonThreadSafe([&] { pending->SetResult(1); });
  EXPECT_EQ(future.Get(), 1);
}

TEST(ThreadFutureTest, AVirtualClockGoesOnForACoroutineOfTheSameLoop) {
  auto main = []() -> Co<void> {
    auto sleeps = []() -> Co<int> {
      co_await Sleep(absl::Hours(1));
      co_return 1;
    };
    auto future = RunCoroutineThreadSafe(sleeps(), EventLoop::Current());
    EXPECT_EQ(co_await future, 1);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
