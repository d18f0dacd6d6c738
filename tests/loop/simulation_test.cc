#include "coil/loop/simulation.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::NamedStep;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;
using Log = std::vector<std::string>;

// Example of simulation.h.
void RunSimulated(uint64_t seed) {
  coil::SimulationOptions simulation{.seed = seed};
  coil::LoopOptions options;
  options.simulation = &simulation;
  coil::EventLoop loop(options);
  loop.CallLater(absl::Hours(24), [&loop] { loop.Stop(); });
  loop.RunForever();  // returns at once
}

std::string ErrorOf(EventLoop& loop) {
  try {
    loop.RunForever();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

TEST(SimulationTest, ExampleOfTheHeader) { RunSimulated(1); }

// The order in which ten tasks, with a callback in the middle, run.
Log OrderWithSeed(uint64_t seed, int passes = 1) {
  SimulatedLoop loop(seed);
  Log log;
  std::vector<std::unique_ptr<NamedStep>> steps;
  for (int i = 0; i < 10; ++i) {
    steps.push_back(std::make_unique<NamedStep>(std::to_string(i), log, true));
  }
  for (int pass = 0; pass < passes; ++pass) {
    for (int i = 0; i < 10; ++i) {
      if (i == 5) loop->CallSoon([&] { log.push_back("callback"); });
      internal::CoreOf(*loop).Schedule(steps[static_cast<size_t>(i)].get());
    }
    RunOnePass(*loop);
  }
  return log;
}

TEST(SimulationTest, SeedZeroKeepsTheOrder) {
  EXPECT_EQ(OrderWithSeed(0), (Log{"0", "1", "2", "3", "4", "callback", "5",
                                   "6", "7", "8", "9"}));
}

TEST(SimulationTest, OtherSeedsPermuteTheTasks) {
  int different = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Log order = OrderWithSeed(seed);
    if (order != OrderWithSeed(0)) ++different;
    std::sort(order.begin(), order.end());
    Log sorted = OrderWithSeed(0);
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(order, sorted) << "seed " << seed;
  }
  EXPECT_GE(different, 19);
}

TEST(SimulationTest, CallbacksKeepTheirPlaces) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(OrderWithSeed(seed)[5], "callback") << "seed " << seed;
  }
}

TEST(SimulationTest, SameSeedGivesTheSameOrder) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(OrderWithSeed(seed, 20), OrderWithSeed(seed, 20))
        << "seed " << seed;
  }
}

TEST(SimulationTest, PassesArePermutedDifferently) {
  const Log log = OrderWithSeed(3, 2);
  ASSERT_EQ(log.size(), 22u);
  EXPECT_NE(Log(log.begin(), log.begin() + 11),
            Log(log.begin() + 11, log.end()));
}

TEST(SimulationTest, CallbacksAloneKeepTheirOrderUnderEverySeed) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimulatedLoop loop(seed);
    std::vector<int> order;
    for (int i = 0; i < 50; ++i) {
      loop->CallSoon([&order, i] { order.push_back(i); });
    }
    RunOnePass(*loop);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end())) << "seed " << seed;
  }
}

TEST(SimulationTest, RandomBitsAreSeeded) {
  SimulatedLoop a(7), b(7), c(8);
  const uint64_t first = a->Random();
  EXPECT_EQ(first, b->Random());
  EXPECT_NE(first, c->Random());
  EXPECT_NE(first, a->Random());
}

TEST(SimulationTest, TimeStartsAtTheOriginAndStandsStill) {
  SimulatedLoop loop;
  EXPECT_EQ(loop->Now(), LoopTime());
  RunOnePass(*loop);
  EXPECT_EQ(loop->Now(), LoopTime());
}

TEST(SimulationTest, TimeDoesNotMoveWhileSomethingIsReady) {
  SimulatedLoop loop;
  bool fired = false;
  loop->CallLater(absl::Nanoseconds(1), [&] { fired = true; });
  int left = 1000;
  std::function<void()> again = [&] {
    EXPECT_FALSE(fired);
    if (--left > 0) loop->CallSoon([&] { again(); });
  };
  loop->CallSoon([&] { again(); });
  loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(left, 0);
  EXPECT_TRUE(fired);
}

// ---- deadlock
// -----------------------------------------------------------------

TEST(SimulationTest, LoopOnWhichNothingCanHappenSaysSo) {
  SimulatedLoop loop;
  const std::string error = ErrorOf(*loop);
  EXPECT_EQ(error.find("simulation: deadlock, "), 0u) << error;
  EXPECT_FALSE(loop->IsRunning());
}

TEST(SimulationTest, InfiniteTimerIsNoHope) {
  SimulatedLoop loop;
  loop->CallLater(absl::InfiniteDuration(), [] {});
  EXPECT_EQ(ErrorOf(*loop).find("simulation: deadlock, "), 0u);
}

TEST(SimulationTest, DeadlockIsFoundAfterTheLastTimer) {
  SimulatedLoop loop;
  bool fired = false;
  loop->CallLater(absl::Hours(1), [&] { fired = true; });
  EXPECT_EQ(ErrorOf(*loop).find("simulation: deadlock, "), 0u);
  EXPECT_TRUE(fired);
}

TEST(SimulationTest, LoopIsUsableAfterADeadlock) {
  SimulatedLoop loop;
  EXPECT_NE(ErrorOf(*loop), "");
  loop->CallSoon([&] { loop->Stop(); });
  loop->RunForever();
}

TEST(SimulationTest, UpperLayersAddToTheReport) {
  internal::SetDeadlockDescriber(
      [](EventLoop&) -> std::string { return "Task-1 waits for Lock"; });
  SimulatedLoop loop;
  const std::string error = ErrorOf(*loop);
  internal::SetDeadlockDescriber(nullptr);
  EXPECT_NE(error.find("\nTask-1 waits for Lock"), std::string::npos) << error;
}

TEST(SimulationTest, RealLoopNeverReportsADeadlock) {
  EventLoop loop;
  std::thread stopper([&] {
    while (!loop.IsRunning()) std::this_thread::yield();
    loop.CallSoonThreadSafe([&] { loop.Stop(); });
  });
  loop.RunForever();
  stopper.join();
}

// ---- the real world in virtual time
// -------------------------------------------

TEST(SimulationTest, TimeWaitsForWorkThatRunsOutside) {
  SimulatedLoop loop;
  Log log;
  internal::LoopCore& core = internal::CoreOf(*loop);
  loop->CallLater(absl::Hours(1), [&] {
    log.push_back("timer");
    loop->Stop();
  });
  core.BeginExternal();
  std::thread worker([&] {
    loop->CallSoonThreadSafe([&] {
      core.EndExternal();
      log.push_back("worker");
    });
  });
  loop->RunForever();
  worker.join();
  EXPECT_EQ(log, (Log{"worker", "timer"}));
}

TEST(SimulationTest, ReadyDescriptorComesBeforeTimeMoves) {
  SimulatedLoop loop;
  Pipe pipe;
  Log log;
  loop->AddReader(pipe.read.get(), [&] {
    pipe.Take();
    log.push_back("reader");
  });
  loop->CallLater(absl::Hours(1), [&] {
    log.push_back("timer");
    loop->Stop();
  });
  pipe.Put();
  loop->RunForever();
  EXPECT_EQ(log, (Log{"reader", "timer"}));
}

TEST(SimulationTest, QuietDescriptorDoesNotStopTimeForEver) {
  SimulatedLoop loop;
  Pipe pipe;
  loop->AddReader(pipe.read.get(), [] { ADD_FAILURE(); });
  loop->CallLater(absl::Hours(1), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(loop->Now() - LoopTime(), absl::Hours(1));
}

TEST(SimulationTest, WithoutTimersItWaitsForADescriptor) {
  SimulatedLoop loop;
  Pipe pipe;
  loop->AddReader(pipe.read.get(), [&] { loop->Stop(); });
  std::thread writer([&] { pipe.Put(); });
  loop->RunForever();
  writer.join();
}

TEST(SimulationTest, WithoutTimersItWaitsForASignal) {
  SimulatedLoop loop;
  loop->AddSignalHandler(SIGUSR1, [&] { loop->Stop(); });
  std::thread sender([&] {
    while (!loop->IsRunning()) std::this_thread::yield();
    ::kill(::getpid(), SIGUSR1);
  });
  loop->RunForever();
  sender.join();
}

TEST(SimulationTest, InjectedVirtualClockIsEnoughForVirtualTime) {
  VirtualClock clock;
  LoopOptions options;
  options.clock = &clock;
  EventLoop loop(options);
  loop.CallLater(absl::Hours(10), [&] { loop.Stop(); });
  loop.RunForever();
  EXPECT_EQ(clock.Now() - LoopTime(), absl::Hours(10));
}

}  // namespace
}  // namespace coil
