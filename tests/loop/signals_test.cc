// AddSignalHandler() and RemoveSignalHandler().

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::RunOnePass;
using Log = std::vector<std::string>;

void RaiseHere(int signal) { ::pthread_kill(::pthread_self(), signal); }

TEST(SignalsTest, HandlerRunsOnTheLoopAndNotInTheSignalHandler) {
  EventLoop loop;
  int runs = 0;
  bool in_loop = false;
  loop.AddSignalHandler(SIGUSR1, [&] {
    ++runs;
    in_loop = EventLoop::CurrentOrNull() == &loop;
    loop.Stop();
  });
  loop.CallSoon([&] {
    RaiseHere(SIGUSR1);
    EXPECT_EQ(runs, 0);
  });
  loop.RunForever();
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(in_loop);
}

TEST(SignalsTest, SignalOfTheProcessWakesASleepingLoop) {
  EventLoop loop;
  loop.AddSignalHandler(SIGUSR1, [&] { loop.Stop(); });
  std::thread sender([] { ::kill(::getpid(), SIGUSR1); });
  loop.RunForever();
  sender.join();
}

TEST(SignalsTest, EqualSignalsCoalesce) {
  EventLoop loop;
  int runs = 0;
  loop.AddSignalHandler(SIGUSR1, [&] { ++runs; });
  for (int i = 0; i < 10; ++i) RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(runs, 1);
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(runs, 2);
}

TEST(SignalsTest, SignalDuringItsHandlerRunsItAgain) {
  EventLoop loop;
  int runs = 0;
  loop.AddSignalHandler(SIGUSR1, [&] {
    if (++runs == 1) {
      RaiseHere(SIGUSR1);
    } else {
      loop.Stop();
    }
  });
  RaiseHere(SIGUSR1);
  loop.RunForever();
  EXPECT_EQ(runs, 2);
}

TEST(SignalsTest, SeveralSignalsEachHaveTheirHandler) {
  EventLoop loop;
  Log log;
  loop.AddSignalHandler(SIGUSR1, [&] { log.push_back("usr1"); });
  loop.AddSignalHandler(SIGUSR2, [&] { log.push_back("usr2"); });
  loop.AddSignalHandler(SIGHUP, [&] { log.push_back("hup"); });
  RaiseHere(SIGUSR2);
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"usr1", "usr2"}));
}

TEST(SignalsTest, NewHandlerReplacesTheOldOne) {
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  int runs = 0;
  loop.AddSignalHandler(SIGUSR1, [token] { ADD_FAILURE(); });
  loop.AddSignalHandler(SIGUSR1, [&] { ++runs; });
  EXPECT_EQ(token.use_count(), 1);
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(runs, 1);
}

int g_previous_runs = 0;
void PreviousHandler(int) { ++g_previous_runs; }

TEST(SignalsTest, RemovingRestoresWhatWasThereBefore) {
  struct sigaction mine{};
  mine.sa_handler = PreviousHandler;
  struct sigaction original{};
  ASSERT_EQ(::sigaction(SIGUSR2, &mine, &original), 0);
  g_previous_runs = 0;
  EventLoop loop;
  loop.AddSignalHandler(SIGUSR2, [] {});
  RaiseHere(SIGUSR2);
  EXPECT_EQ(g_previous_runs, 0);
  EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR2));
  RaiseHere(SIGUSR2);
  EXPECT_EQ(g_previous_runs, 1);
  ::sigaction(SIGUSR2, &original, nullptr);
}

TEST(SignalsTest, CloseRestoresWhatWasThereBefore) {
  EventLoop loop;
  loop.AddSignalHandler(SIGUSR1, [] {});
  loop.AddSignalHandler(SIGUSR2, [] {});
  loop.Close();
  for (int signal : {SIGUSR1, SIGUSR2}) {
    struct sigaction now{};
    ::sigaction(signal, nullptr, &now);
    EXPECT_EQ(now.sa_handler, SIG_DFL);
  }
}

TEST(SignalsTest, RemoveTellsWhetherThereWasOne) {
  EventLoop loop;
  EXPECT_FALSE(loop.RemoveSignalHandler(SIGUSR1));
  loop.AddSignalHandler(SIGUSR1, [] {});
  EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR1));
  EXPECT_FALSE(loop.RemoveSignalHandler(SIGUSR1));
  EXPECT_FALSE(loop.RemoveSignalHandler(-3));
}

TEST(SignalsTest, HandlerRemovedBeforeItRanDoesNotRun) {
  EventLoop loop;
  loop.AddSignalHandler(SIGUSR1, [] { ADD_FAILURE(); });
  RaiseHere(SIGUSR1);
  loop.RemoveSignalHandler(SIGUSR1);
  RunOnePass(loop);
  // Nor does it come back with the next handler.
  loop.AddSignalHandler(SIGUSR1, [] { ADD_FAILURE(); });
  RunOnePass(loop);
}

TEST(SignalsTest, HandlerMayRemoveItself) {
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  int runs = 0;
  loop.AddSignalHandler(SIGUSR1, [&, token] {
    ++runs;
    EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR1));
  });
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(SignalsTest, BadNumbersAreInvalidArguments) {
  EventLoop loop;
  for (int signal : {0, -1, 65, 1000}) {
    EXPECT_THROW(loop.AddSignalHandler(signal, [] {}), std::invalid_argument)
        << signal;
  }
}

TEST(SignalsTest, KillAndStopCannotBeHandled) {
  EventLoop loop;
  for (int signal : {SIGKILL, SIGSTOP}) {
    EXPECT_THROW(loop.AddSignalHandler(signal, [] {}), std::runtime_error);
  }
}

TEST(SignalsTest, SignalThatTheLibraryKeepsIsRefused) {
  EventLoop loop;
  EXPECT_THROW(loop.AddSignalHandler(32, [] {}), std::runtime_error);
  // And is free again for whoever asks.
  EXPECT_THROW(loop.AddSignalHandler(32, [] {}), std::runtime_error);
}

TEST(SignalsTest, SignalBelongsToOneLoop) {
  EventLoop first;
  EventLoop second;
  first.AddSignalHandler(SIGUSR1, [] {});
  try {
    second.AddSignalHandler(SIGUSR1, [] {});
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("handled by another loop"),
              std::string::npos);
  }
  first.Close();
  int runs = 0;
  second.AddSignalHandler(SIGUSR1, [&] { ++runs; });
  RaiseHere(SIGUSR1);
  RunOnePass(second);
  EXPECT_EQ(runs, 1);
}

TEST(SignalsTest, HandlerThatThrowsIsReportedAndStays) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  int runs = 0;
  loop.AddSignalHandler(SIGUSR1, [&] {
    ++runs;
    throw std::runtime_error("bad handler");
  });
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  RaiseHere(SIGUSR1);
  RunOnePass(loop);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(diagnostics.Count(), 2u);
}

TEST(SignalsTest, ErrnoOfTheInterruptedCodeIsKept) {
  EventLoop loop;
  loop.AddSignalHandler(SIGUSR1, [] {});
  errno = 123;
  RaiseHere(SIGUSR1);
  EXPECT_EQ(errno, 123);
}

TEST(SignalsTest, ClosedLoopWithAPendingSignalLeavesNothing) {
  for (int i = 0; i < 50; ++i) {
    EventLoop loop;
    loop.AddSignalHandler(SIGUSR1, [] { ADD_FAILURE(); });
    RaiseHere(SIGUSR1);
    if (i % 2 == 0) loop.Close();
  }
}

TEST(SignalsThreadsTest, HandlersComeAndGoWhileSignalsArrive) {
  // Between two handlers the signal would end the process.
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  struct sigaction original{};
  ::sigaction(SIGUSR1, &ignore, &original);
  EventLoop loop;
  std::atomic<bool> done{false};
  std::thread sender([&] {
    while (!done.load()) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::yield();
    }
  });
  int runs = 0;
  for (int i = 0; i < 500; ++i) {
    loop.AddSignalHandler(SIGUSR1, [&] {
      ++runs;
      loop.Stop();
    });
    loop.RunForever();
    EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR1));
  }
  done = true;
  sender.join();
  EXPECT_EQ(runs, 500);
  ::sigaction(SIGUSR1, &original, nullptr);
}

}  // namespace
}  // namespace coil
