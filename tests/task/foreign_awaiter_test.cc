// Awaiters that know nothing of coil, at the edges: resumed on another thread,
// after the loop was closed, awaited by Settle(), failing while they suspend.
// The plain cases are in co_test.cc.

#include <atomic>
#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

// Leaves the handle where somebody else finds it.
class Parked {
 public:
  explicit Parked(std::coroutine_handle<>* slot) : slot_(slot) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { *slot_ = handle; }
  int await_resume() const { return 9; }

 private:
  std::coroutine_handle<>* slot_;
};

// Resumes what is handed to it, on a thread of its own.
class Resumer {
 public:
  Resumer() : thread_([this] { Loop(); }) {}
  Resumer(const Resumer&) = delete;
  Resumer& operator=(const Resumer&) = delete;
  ~Resumer() {
    ends_ = true;
    thread_.join();
  }
  void Take(std::coroutine_handle<> handle) { slot_ = handle.address(); }

 private:
  void Loop() {
    while (!ends_) {
      if (void* address = slot_.exchange(nullptr)) {
        std::coroutine_handle<>::from_address(address).resume();
      } else {
        std::this_thread::yield();
      }
    }
  }

  std::atomic<void*> slot_{nullptr};
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

class OnResumer {
 public:
  explicit OnResumer(Resumer* resumer) : resumer_(resumer) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { resumer_->Take(handle); }
  int await_resume() const { return 1; }

 private:
  Resumer* resumer_;
};

// The loop never sleeps, so that it often goes on with the task while the other
// thread has not left the coroutine that it has resumed.
TEST(ForeignAwaiterTest, TheTaskGoesOnWhileTheOtherThreadStillResumes) {
  constexpr int kRounds = 20000;
  auto main = []() -> Co<int> {
    Resumer resumer;
    auto busy = []() -> Co<void> {
      for (;;) co_await Yield();
    };
    Task<void> spinner = CreateTask(busy());
    int sum = 0;
    for (int i = 0; i < kRounds; ++i) sum += co_await OnResumer(&resumer);
    spinner.Cancel();
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main), kRounds);
}

// Starts a task that waits in `Parked`, and closes the loop above it.
void CloseLoopOf(std::coroutine_handle<>* handle) {
  EventLoop loop;
  loop.SetExceptionHandler([](const ExceptionContext&) {});
  auto waits = [](std::coroutine_handle<>* slot) -> Co<void> {
    co_await Parked(slot);
    ADD_FAILURE() << "went on after the loop was closed";
  };
  auto main = [&]() -> Co<void> {
    CreateTask(waits(handle));
    co_await Yield();
  };
  loop.RunUntilComplete(main());
  loop.Close();
}

TEST(ForeignAwaiterTest, ResumedAfterTheLoopWasClosedDoesNothing) {
  std::coroutine_handle<> handle;
  CloseLoopOf(&handle);
  handle.resume();
}

TEST(ForeignAwaiterTest, ResumedAfterwardsByAnotherThreadDoesNothing) {
  std::coroutine_handle<> handle;
  CloseLoopOf(&handle);
  std::thread([&] { handle.resume(); }).join();
}

// The second loop may lie where the first one was.
TEST(ForeignAwaiterTest, ResumedInsideOfAnotherLoopDoesNothing) {
  std::coroutine_handle<> handle;
  CloseLoopOf(&handle);
  auto main = [&]() -> Co<void> {
    handle.resume();
    co_await Yield();
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, AnErrorOfItsAwaitSuspendIsThrownByTheAwait) {
  struct Refuses {
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<>) {
      throw std::range_error("no place");
    }
    void await_resume() const {}
  };
  auto main = []() -> Co<void> {
    Refuses refuses;
    EXPECT_THROW(co_await refuses, std::range_error);
    // It runs, and is cancelled as what runs is: at the next await.
    CurrentTask().Cancel();
    EXPECT_THROW(co_await Yield(), CancelledError);
    CurrentTask().Uncancel();
  };
  coil::Run(main, kVirtual);
}

// ---- Settle() and AsStatus()

// Completes from a callback of the loop, by a value or an error.
class FromCallback {
 public:
  explicit FromCallback(bool fails) : fails_(fails) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    EventLoop::Current().CallSoon([handle] { handle.resume(); });
  }
  int await_resume() const {
    if (fails_) throw std::invalid_argument("not that");
    return 5;
  }

 private:
  bool fails_;
};

class WithOperator {
 public:
  FromCallback operator co_await() const { return FromCallback(false); }
};

TEST(ForeignAwaiterTest, SettleResumesItsTaskThroughTheLoop) {
  auto main = []() -> Co<void> {
    const AnyTask self = CurrentTask();
    Outcome<int> value = co_await Settle(FromCallback(false));
    EXPECT_EQ(value.Value(), 5);
    EXPECT_EQ(CurrentTaskOrNull(), self);
    Outcome<int> error = co_await Settle(FromCallback(true));
    EXPECT_THROW(error.Rethrow(), std::invalid_argument);
    EXPECT_EQ(CurrentTaskOrNull(), self);
    Outcome<int> converted = co_await Settle(WithOperator());
    EXPECT_EQ(converted.Value(), 5);
    EXPECT_EQ(CurrentTaskOrNull(), self);
    absl::StatusOr<int> status = co_await AsStatus(FromCallback(true));
    EXPECT_EQ(status.status().code(), absl::StatusCode::kInvalidArgument);
    absl::Status nothing = co_await AsStatus(std::suspend_never());
    EXPECT_TRUE(nothing.ok());
    co_await Sleep(absl::Seconds(1));
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, SettleStaysOnTheThreadOfItsLoop) {
  auto main = []() -> Co<void> {
    Resumer resumer;
    const std::thread::id here = std::this_thread::get_id();
    for (int i = 0; i < 1000; ++i) {
      absl::StatusOr<int> status = co_await AsStatus(OnResumer(&resumer));
      EXPECT_EQ(*status, 1);
      EXPECT_EQ(std::this_thread::get_id(), here);
    }
  };
  coil::Run(main);
}

TEST(ForeignAwaiterTest, ACancelOfWhoSettlesIsThrownOnceTheOperationHasEnded) {
  auto main = []() -> Co<void> {
    std::coroutine_handle<> handle;
    auto body = [&]() -> Co<void> {
      co_await Settle(Parked(&handle));
      ADD_FAILURE() << "the cancel was not thrown";
    };
    Task<void> task = CreateTask(body);
    co_await Yield();
    task.Cancel();
    co_await Yield();
    EXPECT_FALSE(task.Done());
    handle.resume();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, SettleTakesAReferenceByValue) {
  struct GivesReference {
    explicit GivesReference(const std::string* text) : text(text) {}
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    const std::string& await_resume() const { return *text; }
    const std::string* text;
  };
  auto main = []() -> Co<void> {
    const std::string text = "text";
    Outcome<std::string> outcome = co_await Settle(GivesReference(&text));
    EXPECT_EQ(outcome.Value(), "text");
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
