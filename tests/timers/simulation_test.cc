// Seeded simulations: reliability rows T10 (a cancellation is never swallowed)
// and T37 (clocks that jump, stall and go back).

#include "coil/loop/simulation.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/loop_time.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/interval.h"
#include "coil/timers/rate_limiter.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using timers_testing::ArmedTimers;
using timers_testing::EndOf;
using timers_testing::Now;

constexpr uint64_t kSeeds = 2000;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435769u + 1) {}
  uint64_t Below(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_;
};

// ---- T10: timeout, completion and cancel within a tick of one another -----

// What is seen of one WaitFor() or WithTimeout().
struct Race {
  std::string end;
  bool requested = false;  // Cancel() returned true
  int left = -1;           // Cancelling() when it was over
};

Co<void> Waiter(Future<int> future, int form, Race& race) {
  const absl::Duration limit = absl::Nanoseconds(10);
  if (form == 0) {
    race.end = co_await EndOf(WaitFor(future, limit));
  } else if (form == 1) {
    race.end = co_await EndOf(WithTimeout(limit, future));
  } else {
    auto body = [&future]() -> Co<int> { co_return co_await future; };
    race.end = co_await EndOf(WithTimeout(limit, body));
  }
  race.left = CurrentTask().Cancelling();
}

TEST(ReliabilityT10, TimeoutFinishAndCancelGiveExactlyOneOutcome) {
  int seen[3] = {0, 0, 0};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const SimulationOptions simulation{.seed = seed};
    auto main = [&]() -> Co<void> {
      Random random(seed);
      Race race;
      Future<int> future;
      Task<void> waiter =
          CreateTask(Waiter(future, static_cast<int>(random.Below(3)), race));
      // Each within one tick of the limit, by a task (its place is shuffled).
      const auto finish_at = absl::Nanoseconds(9 + random.Below(3));
      const auto cancel_at = absl::Nanoseconds(9 + random.Below(3));
      const bool cancels = random.Below(3) != 0;
      auto finisher = [&]() -> Co<void> {
        co_await Sleep(finish_at);
        if (!future.Done()) future.SetResult(1);
      };
      auto canceller = [&]() -> Co<void> {
        co_await Sleep(cancel_at);
        if (cancels && race.end.empty()) race.requested = waiter.Cancel("own");
      };
      Task<void> a = CreateTask(finisher());
      Task<void> b = CreateTask(canceller());
      static_cast<void>(co_await EndOf(waiter));
      co_await a;
      co_await b;
      // Exactly one outcome; a cancel that was asked for while it waited is it.
      if (race.requested) {
        EXPECT_EQ(race.end, "cancelled: own");
        EXPECT_EQ(race.left, 1);
        ++seen[0];
      } else {
        EXPECT_TRUE(race.end == "ok" || race.end == "timeout") << race.end;
        EXPECT_EQ(race.left, 0);
        ++seen[race.end == "ok" ? 1 : 2];
      }
      EXPECT_EQ(ArmedTimers(), 0u);
    };
    coil::Run(main, {.simulation = &simulation});
    if (testing::Test::HasFailure()) return;
  }
  for (int n : seen) EXPECT_GT(n, 20);
}

TEST(ReliabilityT10, NestedLimitsRaiseOnceAndRestoreTheCount) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const SimulationOptions simulation{.seed = seed};
    auto main = [&]() -> Co<void> {
      Random random(seed);
      struct Nest {
        static Co<void> Down(Random& random, int depth) {
          if (depth == 0) {
            co_await Sleep(absl::Nanoseconds(random.Below(5)));
            co_return;
          }
          const auto limit = absl::Nanoseconds(random.Below(5));
          const int before = CurrentTask().Cancelling();
          const std::string end =
              co_await EndOf(WithTimeout(limit, Down(random, depth - 1)));
          if (end == "ok" || end == "timeout") {
            EXPECT_EQ(CurrentTask().Cancelling(), before);
          } else {
            throw CancelledError("from outside");
          }
        }
      };
      const std::string end = co_await EndOf(WithTimeout(
          absl::Nanoseconds(random.Below(5)), Nest::Down(random, 4)));
      EXPECT_TRUE(end == "ok" || end == "timeout") << end;
      EXPECT_EQ(CurrentTask().Cancelling(), 0);
      EXPECT_EQ(ArmedTimers(), 0u);
      EXPECT_EQ(co_await EndOf(Yield()), "ok");
    };
    coil::Run(main, {.simulation = &simulation});
    if (testing::Test::HasFailure()) return;
  }
}

// ---- a mixed workload: everything comes to rest, no token is lost ---------

TEST(TimersSimulationTest, MixedWorkloadComesToRest) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const SimulationOptions simulation{.seed = seed};
    auto main = [&]() -> Co<void> {
      Random random(seed);
      RateLimiter limiter(1e9, 4);
      const LoopTime start = Now();
      int64_t taken = 0;
      auto worker = [&]() -> Co<void> {
        Interval interval(absl::Nanoseconds(1 + random.Below(3)));
        for (int i = 0; i < 5; ++i) {
          const auto n = static_cast<int64_t>(1 + random.Below(4));
          const auto limit = absl::Nanoseconds(random.Below(8));
          if (co_await EndOf(WithTimeout(limit, limiter.Acquire(n))) == "ok") {
            taken += n;
          }
          const LoopTime due = co_await interval.Tick();
          EXPECT_LE(due, Now());
        }
      };
      std::vector<Task<void>> tasks;
      for (int i = 0; i < 6; ++i) tasks.push_back(CreateTask(worker()));
      co_await Sleep(absl::Nanoseconds(random.Below(10)));
      for (auto& task : tasks) {
        if (random.Below(3) == 0) task.Cancel();
      }
      for (auto& task : tasks) {
        const std::string end = co_await EndOf(task);
        EXPECT_TRUE(end == "ok" || end == "cancelled: ") << end;
      }
      EXPECT_LE(taken, 4 + (Now() - start) / absl::Nanoseconds(1));
      co_await Sleep(absl::Nanoseconds(4));
      EXPECT_EQ(limiter.Available(), 4);
      EXPECT_EQ(ArmedTimers(), 0u);
    };
    coil::Run(main, {.simulation = &simulation});
    if (testing::Test::HasFailure()) return;
  }
}

// ---- T37: the clock jumps, stalls or goes back ----------------------------

// A virtual clock that now and then answers with an earlier time, or jumps.
class UnsteadyClock final : public Clock {
 public:
  UnsteadyClock(uint64_t seed, absl::Duration jump)
      : random_(seed), jump_(jump) {}

  LoopTime Now() noexcept override {
    ++reads_;
    if (jump_ != absl::ZeroDuration() && reads_ == 20) now_ += jump_;
    LoopTime answer = now_;
    if (random_.Below(3) == 0) {
      answer -= absl::Nanoseconds(1 + random_.Below(1000000000));
    }
    highest_ = std::max(highest_, answer);
    return answer;
  }
  bool SkipTo(LoopTime when) noexcept override {
    // It stalls at times, and is asked again.
    if (random_.Below(4) != 0) now_ = std::max(now_, when);
    return true;
  }
  // The latest time that anybody has been told.
  LoopTime Highest() const { return highest_; }

 private:
  Random random_;
  absl::Duration jump_;
  int reads_ = 0;
  LoopTime now_ = LoopTime() + absl::Hours(24 * 365 * 20);
  LoopTime highest_;
};

void RunOnUnsteadyClock(uint64_t seed, absl::Duration jump) {
  UnsteadyClock clock(seed, jump);
  LoopOptions loop;
  loop.clock = &clock;
  RunOptions options;
  options.loop = loop;
  auto main = [&]() -> Co<void> {
    LoopTime last = Now();
    std::vector<Task<void>> tasks;
    auto sleeper = [&](absl::Duration delay) -> Co<void> {
      const LoopTime due = Now() + delay;
      co_await Sleep(delay);
      EXPECT_GE(Now(), due);              // never early
      EXPECT_LE(Now(), clock.Highest());  // nor by a time that nobody has told
      EXPECT_GE(Now(), last);  // and the loop's time does not go back
      last = Now();
    };
    for (int i = 0; i < 10; ++i) {
      tasks.push_back(CreateTask(sleeper(absl::Milliseconds(1 + 37 * i))));
    }
    EXPECT_EQ(co_await EndOf(WithTimeout(absl::Seconds(1),
                                         Sleep(absl::Hours(24 * 365 * 30)))),
              "timeout");
    for (auto& task : tasks) co_await task;
  };
  coil::Run(main, options);
}

TEST(ReliabilityT37, ClockThatGoesBackFiresNoTimerEarly) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    RunOnUnsteadyClock(seed, absl::ZeroDuration());
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ReliabilityT37, ClockThatJumpsTenYearsAheadFiresEachTimerOnce) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    RunOnUnsteadyClock(seed, absl::Hours(24 * 365 * 10));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ReliabilityT37, ClockThatJumpsTenYearsBackLeavesNoTimerStuck) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    RunOnUnsteadyClock(seed, -absl::Hours(24 * 365 * 10));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace coil
