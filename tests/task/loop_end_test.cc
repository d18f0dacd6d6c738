// Loops that end while other threads post to them or wait for them.

#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/thread_future.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/loop/held_wake.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::CountingPoller;
using coil_testing::HeldWake;
using coil_testing::RunOnePass;

Co<int> Answer() { co_return 42; }

// ---- who posts and is still at it when the loop is gone

// A Runner whose loop says when it sleeps: then a post wakes it.
class SleepyRunner {
 public:
  SleepyRunner() : poller_(inner_) {
    poller_.on_blocking_poll = [this](absl::Duration) {
      if (!std::exchange(has_slept_, true)) asleep_.count_down();
    };
    RunOptions options;
    options.loop.poller = &poller_;
    options.on_interrupt = InterruptPolicy::kLeaveAlone;
    runner_.emplace(options);
  }
  Runner& operator*() { return *runner_; }
  Runner* operator->() { return &*runner_; }
  void AwaitSleep() const { asleep_.wait(); }

 private:
  EpollPoller inner_;
  CountingPoller poller_;
  bool has_slept_ = false;
  std::latch asleep_{1};
  std::optional<Runner> runner_;
};

TEST(LoopEndTest, AJobMayStillBeAtItWhenTheLoopIsGone) {
  ThreadPool pool(1);
  auto runner = std::make_unique<SleepyRunner>();
  HeldWake wake((*runner)->Loop());
  auto main = [&]() -> Co<void> {
    co_await RunInExecutor(pool, [&] { runner->AwaitSleep(); });
  };
  (*runner)->Run(main);
  runner.reset();
  wake.Release();
  pool.Shutdown();
  EXPECT_EQ(wake.Held(), 1);
  EXPECT_EQ(wake.StillOpen(), 1);
}

TEST(LoopEndTest, AThreadFutureMayStillBeAtItWhenTheLoopThatAwaitsItIsGone) {
  EventLoop other;
  std::thread thread([&] { other.RunForever(); });
  auto runner = std::make_unique<SleepyRunner>();
  HeldWake wake((*runner)->Loop());
  auto slow = [&]() -> Co<int> {
    runner->AwaitSleep();
    co_return 1;
  };
  auto main = [&]() -> Co<void> {
    EXPECT_EQ(co_await RunCoroutineThreadSafe(slow(), other), 1);
  };
  (*runner)->Run(main);
  runner.reset();
  wake.Release();
  other.CallSoonThreadSafe([&] { other.Stop(); });
  thread.join();
  EXPECT_EQ(wake.Held(), 1);
  EXPECT_EQ(wake.StillOpen(), 1);
}

// ---- who waits for a loop that closes, which waits for its job

// Why `get` got nothing.
template <class F>
std::string ErrorOf(F get) {
  try {
    get();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "none";
}

// Runs `main` until it stops the loop.
template <class F>
void RunUntilStopped(EventLoop& loop, F& main) {
  loop.SetExceptionHandler([](const ExceptionContext&) {});
  EXPECT_THROW(loop.RunUntilComplete(main()), std::runtime_error);
}

constexpr char kClosed[] = "RunCoroutineThreadSafe: the event loop is closed";

TEST(LoopEndTest, CloseFreesAJobThatWaitsForACoroutineThatHasNotStarted) {
  EventLoop loop;
  std::latch entered(1);
  std::latch stopped(1);
  std::string error;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().Stop();
    co_await ToThread([&] {
      entered.count_down();
      stopped.wait();
      error = ErrorOf([&] { RunCoroutineThreadSafe(Answer(), loop).Get(); });
    });
  };
  RunUntilStopped(loop, main);
  entered.wait();
  stopped.count_down();
  while (!internal::CoreOf(loop).HasPosts()) std::this_thread::yield();
  loop.Close();
  EXPECT_EQ(error.find(kClosed), 0u) << error;
}

TEST(LoopEndTest, CloseFreesAJobThatWaitsForACoroutineThatRuns) {
  EventLoop loop;
  std::string error;
  auto endless = []() -> Co<int> {
    EventLoop::Current().Stop();
    co_await Sleep(absl::InfiniteDuration());
    co_return 1;
  };
  auto main = [&]() -> Co<void> {
    co_await ToThread([&] {
      error = ErrorOf([&] { RunCoroutineThreadSafe(endless(), loop).Get(); });
    });
  };
  RunUntilStopped(loop, main);
  loop.Close();
  EXPECT_EQ(error.find(kClosed), 0u) << error;
}

TEST(LoopEndTest, AJobThatAsksAClosingLoopAgainIsRefused) {
  EventLoop loop;
  int refused = 0;
  auto endless = []() -> Co<int> {
    EventLoop::Current().Stop();
    co_await Sleep(absl::InfiniteDuration());
    co_return 1;
  };
  auto main = [&]() -> Co<void> {
    co_await ToThread([&] {
      ErrorOf([&] { RunCoroutineThreadSafe(endless(), loop).Get(); });
      for (int i = 0; i < 3; ++i) {
        const std::string error =
            ErrorOf([&] { RunCoroutineThreadSafe(Answer(), loop).Get(); });
        refused += error.find(kClosed) == 0;
      }
    });
  };
  RunUntilStopped(loop, main);
  loop.Close();
  EXPECT_EQ(refused, 3);
}

// What was accepted before the close is released by it.
TEST(LoopEndTest, CloseReleasesWhatWasPosted) {
  auto token = std::make_shared<int>(1);
  ThreadFuture<int> future;
  {
    EventLoop loop;
    auto body = [](std::shared_ptr<int> kept) -> Co<int> { co_return *kept; };
    future = RunCoroutineThreadSafe(body(token), loop);
    loop.CallSoonThreadSafe([token] {});
    EXPECT_EQ(token.use_count(), 3);
    loop.Close();
    EXPECT_EQ(token.use_count(), 1);
  }
  EXPECT_EQ(ErrorOf([&] { future.Get(); }).find(kClosed), 0u);
}

TEST(LoopEndTest, RunGoesOnForAJobThatNeedsTheLoopAfterMain) {
  std::latch main_ended(1);
  int answer = 0;
  auto main = [&]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    loop.DefaultExecutor().Submit([&] {
      main_ended.wait();
      answer = RunCoroutineThreadSafe(Answer(), loop).Get();
    });
    // Runs when the default executor is refused already: the last there is.
    auto last = [&]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        loop.CallSoon([&] { main_ended.count_down(); });
        throw;
      }
    };
    CreateTask(last);
    co_await Yield();
  };
  coil::Run(main);
  EXPECT_EQ(answer, 42);
}

// ---- loops that cannot run

// A coroutine that was not run: neither now nor later, and nothing is left.
class Unrun {
 public:
  Co<void> Make() { return Body(token_, ran_); }
  ~Unrun() {
    EXPECT_FALSE(*ran_);
    EXPECT_EQ(token_.use_count(), 1);
  }

 private:
  static Co<void> Body(std::shared_ptr<int>, std::shared_ptr<bool> ran) {
    *ran = true;
    co_return;
  }
  std::shared_ptr<int> token_ = std::make_shared<int>(1);
  std::shared_ptr<bool> ran_ = std::make_shared<bool>(false);
};

TEST(LoopThatCannotRunTest, InsideOfARunningLoopNothingIsSpawned) {
  CapturedDiagnostics diagnostics;
  Unrun unrun;
  EventLoop other;
  auto main = [&]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    EXPECT_EQ(ErrorOf([&] { loop.RunUntilComplete(unrun.Make()); }),
              "RunUntilComplete: this event loop is already running");
    EXPECT_EQ(ErrorOf([&] { other.RunUntilComplete(unrun.Make()); }),
              "RunUntilComplete: another event loop is running in this thread");
    EXPECT_EQ(ErrorOf([&] { loop.RunUntilComplete(Sleep(absl::Hours(1))); }),
              "RunUntilComplete: this event loop is already running");
    EXPECT_EQ(AllTasks().size(), 1u);
    co_await Yield();
    co_await Yield();
  };
  coil::Run(main);
  RunOnePass(other);
  EXPECT_EQ(diagnostics.Text(), "");
}

TEST(LoopThatCannotRunTest, OnAClosedLoopNothingIsSpawned) {
  CapturedDiagnostics diagnostics;
  Unrun unrun;
  {
    EventLoop loop;
    loop.Close();
    EXPECT_EQ(ErrorOf([&] { loop.RunUntilComplete(unrun.Make()); }),
              "RunUntilComplete: the event loop is closed");
  }
  Runner runner;
  runner.Loop().Close();
  EXPECT_EQ(ErrorOf([&] { runner.Run(unrun.Make()); }),
            "Run: the event loop is closed");
  EXPECT_EQ(diagnostics.Text(), "");
}

TEST(LoopThatCannotRunTest, FromAnotherThreadNothingIsSpawned) {
  CapturedDiagnostics diagnostics;
  Unrun unrun;
  Runner runner;
  EventLoop& loop = runner.Loop();
  std::latch running(1);
  loop.CallSoon([&] { running.count_down(); });
  std::thread thread([&] { loop.RunForever(); });
  running.wait();
  EXPECT_EQ(ErrorOf([&] { loop.RunUntilComplete(unrun.Make()); }),
            "RunUntilComplete: this event loop is already running in another "
            "thread");
  EXPECT_EQ(ErrorOf([&] { runner.Run(unrun.Make()); }),
            "Run: this event loop is already running in another thread");
  loop.CallSoonThreadSafe([&] { loop.Stop(); });
  thread.join();
  EXPECT_EQ(diagnostics.Text(), "");
}

}  // namespace
}  // namespace coil
