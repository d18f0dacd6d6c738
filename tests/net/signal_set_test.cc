#include "coil/net/signal_set.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/task/outcome.h"
#include "coil/task/testing.h"
#include "coil/timers/timeout.h"
#include "gmock/gmock.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::Turns;

class SignalSetTest : public NetTest {};

void RaiseHere(int signal) { ::pthread_kill(::pthread_self(), signal); }

bool IsDefault(int signal) {
  struct sigaction action{};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_DFL;
}

TEST_F(SignalSetTest, GivesTheSignal) {
  RunNet([]() -> Co<void> {
    SignalSet signals{SIGUSR1, SIGUSR2};
    Task<int> next = CreateTask(signals.Next());
    co_await Turns();
    EXPECT_FALSE(next.Done());
    RaiseHere(SIGUSR2);
    EXPECT_EQ(co_await next, SIGUSR2);
    std::thread sender([] { ::kill(::getpid(), SIGUSR1); });
    EXPECT_EQ(co_await signals.Next(), SIGUSR1);
    sender.join();
  });
  EXPECT_TRUE(IsDefault(SIGUSR1));
  EXPECT_TRUE(IsDefault(SIGUSR2));
}

TEST_F(SignalSetTest, SignalsWaitInTheOrderInWhichTheyCame) {
  RunNet([]() -> Co<void> {
    SignalSet signals{SIGUSR1, SIGUSR2, SIGHUP};
    for (const int signal : {SIGUSR2, SIGHUP, SIGUSR1}) {
      RaiseHere(signal);
      co_await Turns();
    }
    EXPECT_EQ(co_await signals.Next(), SIGUSR2);
    EXPECT_EQ(co_await signals.Next(), SIGHUP);
    EXPECT_EQ(co_await signals.Next(), SIGUSR1);
  });
}

TEST_F(SignalSetTest, EqualSignalsCountOnceUntilTheyAreTaken) {
  RunNet([]() -> Co<void> {
    SignalSet signals{SIGUSR1};
    for (int i = 0; i < 5; ++i) {
      RaiseHere(SIGUSR1);
      co_await Turns();
    }
    EXPECT_EQ(co_await signals.Next(), SIGUSR1);
    Task<int> next = CreateTask(signals.Next());
    co_await Turns();
    EXPECT_FALSE(next.Done());
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await next, SIGUSR1);
  });
}

TEST_F(SignalSetTest, TasksGetThemFirstInFirstOut) {
  RunNet([]() -> Co<void> {
    SignalSet signals{SIGUSR1};
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(CreateTask([&, i]() -> Co<void> {
        co_await signals.Next();
        order.push_back(i);
      }));
    }
    for (int i = 0; i < 3; ++i) {
      co_await Turns();
      EXPECT_EQ(order.size(), static_cast<size_t>(i));
      RaiseHere(SIGUSR1);
    }
    for (const Task<void>& task : tasks) co_await task;
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  });
}

TEST_F(SignalSetTest, EachOfSeveralSetsGetsEverySignal) {
  RunNet([]() -> Co<void> {
    SignalSet first{SIGUSR1};
    auto second =
        std::make_unique<SignalSet>(std::vector<int>{SIGUSR1, SIGHUP});
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await first.Next(), SIGUSR1);
    EXPECT_EQ(co_await second->Next(), SIGUSR1);
    second.reset();
    EXPECT_TRUE(IsDefault(SIGHUP));
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await first.Next(), SIGUSR1);
  });
  EXPECT_TRUE(IsDefault(SIGUSR1));
}

TEST_F(SignalSetTest, AHandlerOfTheLoopHearsThemToo) {
  RunNet([]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    int handled = 0;
    loop.AddSignalHandler(SIGUSR1, [&] { ++handled; });
    {
      SignalSet signals{SIGUSR1};
      RaiseHere(SIGUSR1);
      EXPECT_EQ(co_await signals.Next(), SIGUSR1);
      co_await Turns();
      EXPECT_EQ(handled, 1);
      // The handler goes, the set stays.
      EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR1));
      EXPECT_FALSE(loop.RemoveSignalHandler(SIGUSR1));
      RaiseHere(SIGUSR1);
      EXPECT_EQ(co_await signals.Next(), SIGUSR1);
      EXPECT_EQ(handled, 1);
      // And comes.
      loop.AddSignalHandler(SIGUSR1, [&] { handled += 10; });
      RaiseHere(SIGUSR1);
      EXPECT_EQ(co_await signals.Next(), SIGUSR1);
      co_await Turns();
      EXPECT_EQ(handled, 11);
    }
    // The set goes, the handler stays.
    RaiseHere(SIGUSR1);
    co_await Turns();
    EXPECT_EQ(handled, 21);
    EXPECT_TRUE(loop.RemoveSignalHandler(SIGUSR1));
    EXPECT_TRUE(IsDefault(SIGUSR1));
  });
}

// ---- Run()'s own handler of SIGINT

TEST_F(SignalSetTest, TakesCtrlCFromRunForAsLongAsItLives) {
  RunOptions options;
  options.on_interrupt = InterruptPolicy::kThrow;
  int taken = 0;
  EXPECT_THROW(RunNet(
                   [&]() -> Co<void> {
                     {
                       SignalSet signals{SIGINT};
                       for (int i = 0; i < 3; ++i) {
                         RaiseHere(SIGINT);
                         EXPECT_EQ(co_await signals.Next(), SIGINT);
                       }
                       co_await Turns();
                       taken = 3;
                     }
                     RaiseHere(SIGINT);
                     co_await Turns();
                     ADD_FAILURE() << "main is cancelled by then";
                   },
                   options),
               KeyboardInterrupt);
  EXPECT_EQ(taken, 3) << "main was cancelled by a signal of the set";
  EXPECT_TRUE(IsDefault(SIGINT));
}

TEST_F(SignalSetTest, MayOutliveMain) {
  std::unique_ptr<SignalSet> signals;
  Runner runner;
  const auto make = [&]() -> Co<void> {
    signals = std::make_unique<SignalSet>(std::vector<int>{SIGINT});
    co_return;
  };
  runner.Run(make);
  const auto use = [&]() -> Co<int> {
    RaiseHere(SIGINT);
    co_return co_await signals->Next();
  };
  EXPECT_EQ(runner.Run(use), SIGINT);
  signals.reset();
  EXPECT_TRUE(IsDefault(SIGINT));
  // Run() takes the signal again.
  const auto look = []() -> Co<bool> { co_return IsDefault(SIGINT); };
  EXPECT_FALSE(runner.Run(look));
  runner.Close();
  EXPECT_TRUE(IsDefault(SIGINT));
}

TEST_F(SignalSetTest, MayOutliveItsLoop) {
  std::unique_ptr<SignalSet> signals;
  RunNet([&]() -> Co<void> {
    signals = std::make_unique<SignalSet>(std::vector<int>{SIGUSR1});
    co_return;
  });
  EXPECT_TRUE(IsDefault(SIGUSR1));
  RunNet([&]() -> Co<void> {
    EXPECT_NE((co_await ErrorOf(signals->Next())).find("SignalSet"),
              std::string::npos);
  });
  signals.reset();
}

// ---- cancellation and destruction

TEST_F(SignalSetTest, ACancelledTaskTakesNoSignal) {
  RunNet([]() -> Co<void> {
    SignalSet signals{SIGUSR1};
    Task<int> waiting = CreateTask(signals.Next());
    co_await Turns();
    waiting.Cancel();
    EXPECT_EQ(co_await ErrorOf(waiting), "cancelled");
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await signals.Next(), SIGUSR1);
  });
}

TEST_F(SignalSetTest, AGrantThatMeetsACancelGoesToTheNext) {
  RunNet([]() -> Co<void> {
    SignalSet early{SIGUSR1};  // hears of a signal before the other set
    SignalSet signals{SIGUSR1, SIGUSR2};
    Task<int> first = CreateTask(signals.Next());
    Task<int> second = CreateTask(signals.Next());
    Task<void> canceller = CreateTask([&]() -> Co<void> {
      co_await early.Next();
      first.Cancel();
    });
    co_await Turns();
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await second, SIGUSR1);
    EXPECT_EQ(co_await ErrorOf(first), "cancelled");
    co_await canceller;
  });
}

Co<void> TwoSignals() {
  // Shared: whoever is cancelled first must not take it from the others.
  const auto set =
      std::make_shared<SignalSet>(std::vector<int>{SIGUSR1, SIGUSR2});
  SignalSet& signals = *set;
  const auto take = [set]() -> Co<void> { co_await set->Next(); };
  Task<void> first = CreateTask(take);
  Task<void> second = CreateTask(take);
  co_await Yield();
  RaiseHere(SIGUSR1);
  co_await Yield();
  RaiseHere(SIGUSR2);
  co_await Settle(first);
  // Whoever was cancelled has left its signal.
  if (first.Cancelled() || second.Cancelled()) co_await signals.Next();
  co_await Settle(second);
  if (first.Cancelled() && second.Cancelled()) co_await signals.Next();
}

TEST_F(SignalSetTest, NothingIsLostWhereverATaskIsCancelled) {
  const SweepResult result =
      ForEachCancellationPoint(TwoSignals, SweepOptions().SecondCancel());
  EXPECT_GT(result.points, 4u);
}

TEST_F(SignalSetTest, NothingIsLeftWhereverTheLoopEnds) {
  EXPECT_GT(ForEachDestructionPoint(TwoSignals).points, 2u);
  EXPECT_TRUE(IsDefault(SIGUSR1));
}

TEST_F(SignalSetTest, DestroyedWhileATaskWaitsNamesTheRule) {
  RunNet([]() -> Co<void> {
    auto signals = std::make_unique<SignalSet>(std::vector<int>{SIGUSR1});
    Task<int> waiting = CreateTask(signals->Next());
    Task<int> cancelled = CreateTask(signals->Next());
    co_await Turns();
    signals.reset();
    cancelled.Cancel();
    EXPECT_EQ(co_await ErrorOf(waiting),
              "SignalSet: it was destroyed while a task waited in Next()");
    EXPECT_EQ(co_await ErrorOf(cancelled), "cancelled");
  });
}

TEST_F(SignalSetTest, WhatWasGrantedOutlivesTheSet) {
  RunNet([]() -> Co<void> {
    auto signals = std::make_unique<SignalSet>(std::vector<int>{SIGUSR1});
    Task<int> waiting = CreateTask(signals->Next());
    co_await Turns();
    SignalSet early{SIGHUP, SIGUSR1};
    auto late = std::make_unique<SignalSet>(std::vector<int>{SIGUSR1});
    Task<int> granted = CreateTask(late->Next());
    // Runs when the other has got its signal, and has not gone on yet.
    Task<void> destroyer = CreateTask([&]() -> Co<void> {
      co_await early.Next();
      late.reset();
    });
    co_await Turns();
    RaiseHere(SIGUSR1);
    EXPECT_EQ(co_await granted, SIGUSR1);
    EXPECT_EQ(co_await waiting, SIGUSR1);
    co_await destroyer;
  });
}

// ---- misuse

TEST_F(SignalSetTest, WhatCannotBeIsRefusedAndLeavesNothing) {
  const auto error_of = [](std::vector<int> signals) {
    try {
      SignalSet set(std::move(signals));
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(error_of({SIGUSR1}).find("SignalSet"), std::string::npos);
  RunNet([&]() -> Co<void> {
    EXPECT_EQ(error_of({}), "SignalSet: there is no signal in it");
    EXPECT_EQ(error_of({SIGUSR1, 1000}),
              "SignalSet: 1000 is not a signal number");
    EXPECT_EQ(error_of({0}), "SignalSet: 0 is not a signal number");
    EXPECT_EQ(error_of({SIGUSR1, SIGKILL}),
              "SignalSet: SIGKILL and SIGSTOP cannot be handled");
    EXPECT_TRUE(IsDefault(SIGUSR1));
    EXPECT_EQ(error_of({SIGUSR1, SIGUSR1}), "");
    std::string elsewhere;
    SignalSet mine{SIGUSR1};
    std::thread([&] {
      const auto main = [&]() -> Co<void> {
        elsewhere = error_of({SIGUSR1});
        co_return;
      };
      coil::Run(main);
    }).join();
    EXPECT_EQ(elsewhere, "SignalSet: signal " + std::to_string(SIGUSR1) +
                             " is handled by another loop");
    co_return;
  });
}

// ---- T41: no signal is lost

class ReliabilityT41 : public NetTest {};

TEST_F(ReliabilityT41, EachKindIsSeenHoweverManyCome) {
  const pid_t parent = ::getpid();
  RunNet([&]() -> Co<void> {
    const std::vector<int> kinds = {SIGUSR1, SIGUSR2, SIGHUP, SIGTERM, SIGQUIT};
    SignalSet signals{SIGUSR1, SIGUSR2, SIGHUP, SIGTERM, SIGQUIT};
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0; i < 2000; ++i) {
        for (const int signal : kinds) ::kill(parent, signal);
      }
      ::_exit(0);
    }
    // The system delivers those that wait together in the order of their
    // numbers, so that none is known to be the last.
    std::set<int> seen;
    const auto until_all_were_seen = [&]() -> Co<void> {
      while (seen.size() < kinds.size()) {
        // Sets and handlers come and go meanwhile.
        SignalSet other{SIGUSR1};
        seen.insert(co_await signals.Next());
      }
    };
    EXPECT_TRUE(
        (co_await AsStatus(WithTimeout(absl::Seconds(20), until_all_were_seen)))
            .ok());
    EXPECT_THAT(seen, testing::UnorderedElementsAreArray(kinds));
    ::waitpid(child, nullptr, 0);
  });
}

}  // namespace
}  // namespace coil::net
