// A forked child must not use its parent's loop, and the parent must not
// notice.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <stdexcept>
#include <string>

#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::Pipe;
using coil_testing::RunOnePass;

// Runs `f` in a child; what it returns is the exit status.
int InChild(absl::AnyInvocable<int()> f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = 99;
    try {
      status = f();
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool Refuses(absl::AnyInvocable<void()> f) {
  try {
    f();
  } catch (const std::runtime_error& e) {
    return std::string(e.what()).find("belongs to the parent of this forked") !=
           std::string::npos;
  }
  return false;
}

TEST(ForkTest, ChildIsToldThatTheLoopIsItsParents) {
  EventLoop loop;
  EXPECT_EQ(InChild([&] {
              if (!Refuses([&] { loop.CallSoon([] {}); })) return 1;
              if (!Refuses([&] { loop.CallLater(absl::Seconds(1), [] {}); })) {
                return 2;
              }
              if (!Refuses([&] { loop.CallSoonThreadSafe([] {}); })) return 3;
              if (!Refuses([&] { loop.RunForever(); })) return 4;
              if (!Refuses([&] { loop.AddReader(0, [] {}); })) return 5;
              return 0;
            }),
            0);
}

TEST(ForkTest, ChildMayMakeALoopOfItsOwn) {
  EventLoop parent;
  EXPECT_EQ(InChild([&] {
              EventLoop mine;
              bool ran = false;
              mine.CallLater(absl::ZeroDuration(), [&] {
                ran = true;
                mine.Stop();
              });
              mine.RunForever();
              return ran ? 0 : 1;
            }),
            0);
}

TEST(ForkTest, NoLoopRunsInAChildThatWasForkedByACallback) {
  EventLoop loop;
  int status = -1;
  loop.CallSoon([&] {
    status =
        InChild([&] { return EventLoop::CurrentOrNull() == nullptr ? 0 : 1; });
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(status, 0);
}

// The rest of the pass runs in the child as well.
TEST(ForkTest, PostThatRunsInAForkedChildIsReportedToItsLoop) {
  EventLoop loop;
  pid_t pid = -1;
  loop.SetExceptionHandler([&](const ExceptionContext& context) {
    ::_exit(context.loop == &loop ? 0 : 1);
  });
  Handle handle;
  loop.CallSoonThreadSafe([&] { pid = ::fork(); });
  handle = loop.CallSoonThreadSafe([&] {
    loop.Stop();
    if (pid != 0) return;
    handle.Cancel();  // it is running, and must not wait for itself
    if (handle.Cancelled()) ::_exit(2);
    throw std::runtime_error("in the child");
  });
  loop.RunForever();
  if (pid == 0) ::_exit(3);
  int status = -1;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ForkTest, ChildThatReturnsIntoTheLoopLeavesItWithAnError) {
  EventLoop loop;
  pid_t pid = -1;
  bool in_child = false;
  loop.CallSoon([&] {
    pid = ::fork();
    in_child = pid == 0;
    if (!in_child) loop.Stop();
  });
  std::string error;
  try {
    loop.RunForever();
  } catch (const std::runtime_error& e) {
    error = e.what();
  }
  if (in_child) {
    ::_exit(error.find("belongs to the parent") != std::string::npos ? 0 : 1);
  }
  EXPECT_EQ(error, "");
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ForkTest, ChildThatClosesTheLoopDoesNotDisturbTheParent) {
  EventLoop loop;
  Pipe pipe;
  int events = 0;
  loop.AddReader(pipe.read.get(), [&] {
    pipe.Take();
    ++events;
  });
  EXPECT_EQ(InChild([&] {
              loop.Close();
              return 0;
            }),
            0);
  for (int i = 0; i < 100; ++i) {
    pipe.Put();
    RunOnePass(loop);
  }
  EXPECT_EQ(events, 100);
}

TEST(ForkTest, PoolOfTheParentIsRefusedInTheChild) {
  ThreadPool pool(1);
  pool.Submit([] {});
  EXPECT_EQ(InChild([&] {
              try {
                pool.Submit([] {});
              } catch (const std::runtime_error&) {
                return 0;
              }
              return 1;
            }),
            0);
}

TEST(ForkTest, ChildThatWasForkedDuringTheShutdownOfThePoolDoesNotHang) {
  EventLoop loop;
  std::promise<void> open;
  loop.DefaultExecutor().Submit([&] { open.get_future().get(); });
  pid_t pid = -1;
  loop.CallSoon([&] {
    pid = ::fork();
    if (pid == 0) ::alarm(60);  // a child that hangs ends by a signal
  });
  std::string error;
  loop.CallLater(absl::Milliseconds(1), [&] { open.set_value(); });
  try {
    loop.ShutdownDefaultExecutor();
  } catch (const std::runtime_error& e) {
    error = e.what();
  }
  if (pid == 0) {
    loop.Close();
    ::_exit(error.find("belongs to the parent") != std::string::npos ? 0 : 1);
  }
  EXPECT_EQ(error, "");
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ForkTest, ChildMayHandleASignalThatItsParentHandles) {
  EventLoop loop;
  int heard_in_parent = 0;
  loop.AddSignalHandler(SIGUSR1, [&] { ++heard_in_parent; });
  EXPECT_EQ(InChild([&] {
              {
                EventLoop mine;
                int heard = 0;
                mine.AddSignalHandler(SIGUSR1, [&] { ++heard; });
                ::raise(SIGUSR1);
                RunOnePass(mine);
                if (heard != 1) return 1;
                try {
                  EventLoop().AddSignalHandler(SIGUSR1, [] {});
                  return 2;  // in one process, it belongs to one loop
                } catch (const std::runtime_error&) {
                }
                // The copy of the parent's loop has nothing to take away.
                loop.Close();
                ::raise(SIGUSR1);
                RunOnePass(mine);
                if (heard != 2) return 3;
              }
              struct sigaction after{};
              ::sigaction(SIGUSR1, nullptr, &after);
              return after.sa_handler == SIG_DFL ? 0 : 4;
            }),
            0);
  RunOnePass(loop);
  EXPECT_EQ(heard_in_parent, 0);
  ::raise(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(heard_in_parent, 1);
}

TEST(ForkTest, SignalInTheChildDoesWhatItDidBeforeTheLoop) {
  EventLoop loop;
  bool heard = false;
  loop.AddSignalHandler(SIGUSR1, [&] { heard = true; });
  // By default it ends the process.
  EXPECT_EQ(InChild([] {
              ::raise(SIGUSR1);
              return 0;
            }),
            -SIGUSR1);
  RunOnePass(loop);
  EXPECT_FALSE(heard);
  ::raise(SIGUSR1);
  RunOnePass(loop);
  EXPECT_TRUE(heard);
}

}  // namespace
}  // namespace coil
