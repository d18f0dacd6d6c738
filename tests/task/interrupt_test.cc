// What SIGINT and SIGTERM do to Run() (A6). What ends the process is tried in a
// child.

#include <signal.h>

#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

#include "coil/loop/event_loop.h"
#include "coil/task/errors.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

constexpr RunOptions With(InterruptPolicy policy) {
  return RunOptions{.on_interrupt = policy};
}

// Ends by a signal only; says when its cleanup is through.
Co<void> WaitForSignal(int signal) {
  EventLoop::Current().CallSoon([signal] { ::raise(signal); });
  bool cancelled = false;
  std::string message;
  try {
    co_await Sleep(absl::InfiniteDuration());
  } catch (const CancelledError& e) {
    cancelled = true;
    message = e.message();
  }
  co_await Yield();
  std::fprintf(stderr, "cleaned up: %s\n", message.c_str());
  if (cancelled) throw CancelledError(message);
}

void (*CurrentHandler(int signal))(int) {
  struct sigaction action = {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

TEST(InterruptTest, ThrowCancelsMainAndThrowsKeyboardInterrupt) {
  bool cleaned = false;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().CallSoon([] { ::raise(SIGINT); });
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
  EXPECT_THROW(coil::Run(main, With(InterruptPolicy::kThrow)),
               KeyboardInterrupt);
  EXPECT_TRUE(cleaned);
  EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
}

TEST(InterruptTest, LeftoversAreCleanedUpBeforeKeyboardInterruptComesOut) {
  bool cleaned = false;
  auto main = [&]() -> Co<void> {
    CreateTask([&cleaned]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        cleaned = true;
      }
    });
    co_await WaitForSignal(SIGINT);
  };
  EXPECT_THROW(coil::Run(main, With(InterruptPolicy::kThrow)),
               KeyboardInterrupt);
  EXPECT_TRUE(cleaned);
}

TEST(InterruptTest, ARunnerGoesOnAfterKeyboardInterrupt) {
  Runner runner(With(InterruptPolicy::kThrow));
  EXPECT_THROW(runner.Run(WaitForSignal(SIGINT)), KeyboardInterrupt);
  EXPECT_THROW(runner.Run(WaitForSignal(SIGINT)), KeyboardInterrupt);
  EXPECT_EQ(runner.Run(Sleep(absl::ZeroDuration(), 4)), 4);
}

TEST(InterruptTest, MainThatFinishesAllTheSameGivesItsResult) {
  auto main = []() -> Co<int> {
    EventLoop::Current().CallSoon([] { ::raise(SIGINT); });
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    co_return 7;
  };
  EXPECT_EQ(coil::Run(main, With(InterruptPolicy::kThrow)), 7);
  EXPECT_EQ(coil::Run(main, With(InterruptPolicy::kRaise)), 7);
}

TEST(InterruptTest, AnErrorOfMainComesOutInstead) {
  auto main = []() -> Co<void> {
    EventLoop::Current().CallSoon([] { ::raise(SIGINT); });
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    throw std::range_error("cleanup");
  };
  EXPECT_THROW(coil::Run(main, With(InterruptPolicy::kThrow)),
               std::range_error);
}

TEST(InterruptTest, MainThatWasCancelledByOthersTooEndsCancelled) {
  // Uncancel() does not come to zero: the interrupt is not the only reason.
  auto main = []() -> Co<void> {
    AnyTask self = CurrentTask();
    EventLoop::Current().CallSoon([self] {
      self.Cancel("other");
      ::raise(SIGINT);
    });
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    while (self.Cancelling() < 2) co_await Yield();
    throw CancelledError("both");
  };
  EXPECT_THROW(coil::Run(main, With(InterruptPolicy::kThrow)), CancelledError);
}

TEST(InterruptTest, AHandlerOfSomebodyElseIsLeftInPlace) {
  static std::atomic<int> calls{0};
  auto previous = ::signal(SIGINT, [](int) { ++calls; });
  auto main = []() -> Co<int> {
    ::raise(SIGINT);
    co_await Yield();
    co_return 1;
  };
  EXPECT_EQ(coil::Run(main, With(InterruptPolicy::kThrow)), 1);
  EXPECT_EQ(calls.load(), 1);
  ::signal(SIGINT, previous);
}

TEST(InterruptTest, MainMayPutItsOwnHandlerInPlace) {
  int calls = 0;
  auto main = [&]() -> Co<int> {
    EventLoop::Current().AddSignalHandler(SIGINT, [&] { ++calls; });
    for (int i = 1; i <= 3; ++i) {
      ::raise(SIGINT);
      while (calls < i) co_await Yield();
    }
    co_return calls;
  };
  EXPECT_EQ(coil::Run(main, With(InterruptPolicy::kRaise)), 3);
  EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
}

TEST(InterruptTest, ARunThatIsNotInterruptedRestoresTheHandler) {
  auto main = []() -> Co<void> {
    EXPECT_NE(CurrentHandler(SIGINT), SIG_DFL);
    EXPECT_EQ(CurrentHandler(SIGTERM), SIG_DFL);
    co_return;
  };
  coil::Run(main);
  EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
  auto both = []() -> Co<void> {
    EXPECT_NE(CurrentHandler(SIGINT), SIG_DFL);
    EXPECT_NE(CurrentHandler(SIGTERM), SIG_DFL);
    co_return;
  };
  coil::Run(both, With(InterruptPolicy::kRaiseAlsoTerm));
  EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
  EXPECT_EQ(CurrentHandler(SIGTERM), SIG_DFL);
}

TEST(InterruptTest, OtherThreadsTouchNoSignals) {
  std::thread thread([] {
    auto main = []() -> Co<void> {
      EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
      co_return;
    };
    coil::Run(main);
  });
  thread.join();
}

TEST(InterruptTest, ASimulationLeavesSignalsAloneUnlessAsked) {
  const SimulationOptions simulation;
  RunOptions options{.simulation = &simulation};
  auto main = []() -> Co<void> {
    EXPECT_EQ(CurrentHandler(SIGINT), SIG_DFL);
    co_return;
  };
  coil::Run(main, options);
  options.on_interrupt = InterruptPolicy::kThrow;
  EXPECT_THROW(coil::Run(WaitForSignal(SIGINT), options), KeyboardInterrupt);
}

TEST(InterruptTest, SigtermIsOneOfTheChoices) {
  EXPECT_THROW(
      coil::Run(WaitForSignal(SIGTERM), With(InterruptPolicy::kThrowAlsoTerm)),
      KeyboardInterrupt);
  EXPECT_THROW(
      coil::Run(WaitForSignal(SIGINT), With(InterruptPolicy::kThrowAlsoTerm)),
      KeyboardInterrupt);
}

// --------------------------------------------------------------- in a child

TEST(InterruptDeathTest, TheDefaultCleansUpAndDiesOfTheSignal) {
  EXPECT_EXIT(
      {
        coil::Run(WaitForSignal(SIGINT));
        std::fprintf(stderr, "not reached\n");
      },
      testing::KilledBySignal(SIGINT), "cleaned up: interrupted by SIGINT");
}

TEST(InterruptDeathTest, SigtermDiesOfSigterm) {
  EXPECT_EXIT(
      coil::Run(WaitForSignal(SIGTERM), With(InterruptPolicy::kRaiseAlsoTerm)),
      testing::KilledBySignal(SIGTERM), "cleaned up: interrupted by SIGTERM");
}

TEST(InterruptDeathTest, SigtermIsNotHandledUnlessAsked) {
  EXPECT_EXIT(coil::Run(WaitForSignal(SIGTERM)),
              testing::KilledBySignal(SIGTERM), "^$");
}

TEST(InterruptDeathTest, LeaveAloneDiesAtOnce) {
  EXPECT_EXIT(
      coil::Run(WaitForSignal(SIGINT), With(InterruptPolicy::kLeaveAlone)),
      testing::KilledBySignal(SIGINT), "^$");
}

TEST(InterruptDeathTest, ASecondSignalDuringTheCleanupDiesAtOnce) {
  auto main = []() -> Co<void> {
    EventLoop::Current().CallSoon([] { ::raise(SIGINT); });
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    std::fprintf(stderr, "stubborn\n");
    ::raise(SIGINT);
    co_await Sleep(absl::InfiniteDuration());
  };
  EXPECT_EXIT(coil::Run(main), testing::KilledBySignal(SIGINT), "stubborn");
}

TEST(InterruptDeathTest, ASecondSignalDiesAlsoIfATaskBlocksTheLoop) {
  auto main = []() -> Co<void> {
    // The loop does not get to see either of the two.
    ::raise(SIGINT);
    std::fprintf(stderr, "blocked\n");
    ::raise(SIGINT);
    for (;;) std::this_thread::yield();
    co_return;
  };
  EXPECT_EXIT(coil::Run(main), testing::KilledBySignal(SIGINT), "blocked");
}

TEST(InterruptDeathTest, LeftoversAreCleanedUpBeforeTheSignalIsRaised) {
  auto main = []() -> Co<void> {
    CreateTask([]() -> Co<void> {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
        std::fprintf(stderr, "leftover\n");
      }
    });
    co_await WaitForSignal(SIGINT);
  };
  EXPECT_EXIT(coil::Run(main), testing::KilledBySignal(SIGINT), "leftover");
}

}  // namespace
}  // namespace coil
