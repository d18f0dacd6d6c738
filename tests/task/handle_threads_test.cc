// Handles to tasks and futures on other threads: a callback that is posted to
// the loop brings one along, so they may be copied and dropped anywhere.
// Meant for ThreadSanitizer and AddressSanitizer.

#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 200;

// The example of coil/task/future.h.
TEST(HandleThreadsTest, FutureIsSetByAPostedCallbackThatHoldsIt) {
  auto main = []() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    for (int round = 0; round < kRounds; ++round) {
      Future<int> future;
      std::thread thread([future, round, &loop] {
        loop.CallSoonThreadSafe([future, round] { future.SetResult(round); });
      });
      // Awaits a copy of its own, so that both threads count at once.
      Future<int> mine = future;
      EXPECT_EQ(co_await mine, round);
      thread.join();
    }
  };
  coil::Run(main);
}

// The example of coil/task/task.h.
TEST(HandleThreadsTest, TaskIsCancelledByAPostedCallbackThatHoldsIt) {
  auto main = []() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    for (int round = 0; round < kRounds; ++round) {
      Task<void> task = CreateTask(Sleep(absl::Hours(1)));
      std::thread thread([task, &loop] {
        loop.CallSoonThreadSafe([task] { task.Cancel("from a thread"); });
      });
      std::string message;
      try {
        co_await task;
      } catch (const CancelledError& error) {
        message = error.message();
      }
      EXPECT_EQ(message, "from a thread");
      thread.join();
    }
  };
  coil::Run(main);
}

TEST(HandleThreadsTest, CopiesComeAndGoOnManyThreads) {
  auto main = []() -> Co<void> {
    Future<std::string> future;
    std::vector<Task<void>> jobs;
    auto copy_often = [future] {
      std::vector<Future<std::string>> copies;
      for (int n = 0; n < kRounds; ++n) {
        copies.push_back(future);
        if (n % 3 == 0) copies.erase(copies.begin());
      }
    };
    for (int i = 0; i < kThreads; ++i) {
      jobs.push_back(CreateTask(ToThread(copy_often)));
    }
    for (int n = 0; n < kRounds; ++n) {
      Future<std::string> copy = future;
      co_await Yield();
    }
    future.SetResult("whole");
    for (Task<void>& job : jobs) co_await job;
    EXPECT_EQ(co_await future, "whole");
  };
  coil::Run(main);
}

// The last handle goes on another thread, after the task is done.
TEST(HandleThreadsTest, LastHandleIsDroppedOnAThread) {
  auto main = []() -> Co<void> {
    for (int round = 0; round < kRounds; ++round) {
      Future<std::string> future;
      future.SetResult(std::string(100, 'x'));
      std::thread thread([last = std::move(future)]() mutable {
        Future<std::string> dropped = std::move(last);
      });
      thread.join();
      co_await Yield();
    }
  };
  coil::Run(main);
}

// Its error is not lost, and the loop's handler is not called over there.
TEST(HandleThreadsTest, UnreadErrorOfAHandleThatIsDroppedOnAThread) {
  int reports = 0;
  auto main = [&]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    loop.SetExceptionHandler([&](const ExceptionContext&) { ++reports; });
    Future<int> future;
    future.SetException(
        std::make_exception_ptr(std::runtime_error("nobody reads this")));
    testing::internal::CaptureStderr();
    std::thread thread([last = std::move(future)]() mutable {
      Future<int> dropped = std::move(last);
    });
    thread.join();
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(text.find("nobody reads this"), std::string::npos) << text;
    co_return;
  };
  coil::Run(main);
  EXPECT_EQ(reports, 0);
}

}  // namespace
}  // namespace coil
