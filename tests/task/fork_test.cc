// What a forked child sees of its parent's tasks: it must neither hang nor end
// by std::terminate() on its way out.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <string_view>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

// A fork whose child leaves Run() like a function that returns.
class Fork {
 public:
  // In the coroutine: true in the child, which must return now.
  bool InChild() {
    pid_ = ::fork();
    if (pid_ != 0) return false;
    ::alarm(60);  // a child that hangs ends by a signal
    SetDiagnosticSink([](std::string_view) {});
    return true;
  }
  // What Run() ends with: in the child the process ends here.
  template <class F>
  void Run(F& main) {
    std::string error;
    try {
      coil::Run(main);
    } catch (const std::runtime_error& e) {
      error = e.what();
    }
    if (pid_ == 0) {
      ::_exit(error.find("belongs to the parent") != std::string::npos ? 0 : 1);
    }
    EXPECT_EQ(error, "");
  }
  // In the parent: the child's exit status, or the signal that ended it.
  int Status() const {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

TEST(TaskForkTest, ChildThatReturnsFromMainLeavesRunWithAnError) {
  Fork fork;
  int status = -1;
  auto main = [&]() -> Co<void> {
    if (!fork.InChild()) status = fork.Status();
    co_return;
  };
  fork.Run(main);
  EXPECT_EQ(status, 0);
}

TEST(TaskForkTest, ChildDoesNotWaitForTheThreadsOfItsParent) {
  Fork fork;
  int status = -1;
  ThreadPool pool(1);
  std::latch entered(1);
  std::latch open(1);
  auto running = [&]() -> Co<void> {
    co_await RunInExecutor(pool, [&] {
      entered.count_down();
      open.wait();
    });
  };
  std::atomic<bool> ran{false};
  auto waiting = [&]() -> Co<void> {
    co_await RunInExecutor(pool, [&] { ran = true; });
  };
  auto main = [&]() -> Co<void> {
    Task<void> first = CreateTask(running);
    Task<void> second = CreateTask(waiting);
    co_await Yield();
    entered.wait();
    if (fork.InChild()) co_return;
    status = fork.Status();
    open.count_down();
    co_await first;
    co_await second;
  };
  fork.Run(main);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(ran);
}

TEST(TaskForkTest, NoTaskRunsInTheChild) {
  Fork fork;
  int status = -1;
  auto child = [] {
    if (CurrentTaskOrNull()) return 1;
    try {
      CurrentTask();
      return 2;
    } catch (const std::runtime_error&) {
    }
    // Nor in a callback of a loop of its own, but there its tasks do.
    bool found = true;
    EventLoop mine;
    mine.CallSoon([&] {
      found = static_cast<bool>(CurrentTaskOrNull());
      mine.Stop();
    });
    mine.RunForever();
    if (found) return 3;
    auto body = []() -> Co<bool> {
      co_return static_cast<bool>(CurrentTaskOrNull());
    };
    return mine.RunUntilComplete(body()) ? 0 : 4;
  };
  auto main = [&]() -> Co<void> {
    EXPECT_TRUE(CurrentTaskOrNull());
    if (fork.InChild()) ::_exit(child());
    status = fork.Status();
    EXPECT_TRUE(CurrentTaskOrNull());
    co_return;
  };
  fork.Run(main);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace coil
