// SWEEP_SCENARIO(Name) { body } is a scenario, a coroutine with a SweepRun&
// run, that is run
//   * as ReliabilityT9.Name, cancelling at each point, and a second time at
//   each
//     suspension that follows, and
//   * as ReliabilityT76.Name, destroying all frames at each suspension,
// in FIFO order and in nine shuffled ones: 106,000 runs in all.

#ifndef COIL_TESTS_TASK_SWEEP_SCENARIO_H_
#define COIL_TESTS_TASK_SWEEP_SCENARIO_H_

#include <string>

#include "coil/task/co.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"

namespace coil {

inline constexpr uint64_t kSweepSeeds = 10;

inline void SweepCancellation(Co<void> (*scenario)(SweepRun&),
                              SweepOptions options = {}) {
  const SweepResult result = ForEachCancellationPoint(
      scenario, options.SecondCancel().Seeds(kSweepSeeds));
  // At least: before the first step of main, in each order.
  EXPECT_GE(result.points, kSweepSeeds);
  ::testing::Test::RecordProperty("points", static_cast<int>(result.points));
  ::testing::Test::RecordProperty("runs", static_cast<int>(result.runs));
}

inline void SweepDestruction(Co<void> (*scenario)(SweepRun&),
                             SweepOptions options = {}) {
  const SweepResult result =
      ForEachDestructionPoint(scenario, options.Seeds(kSweepSeeds));
  EXPECT_GE(result.points, kSweepSeeds);
  ::testing::Test::RecordProperty("points", static_cast<int>(result.points));
}

}  // namespace coil

// The variable arguments are SweepOptions.
#define SWEEP_SCENARIO(name, ...)                                \
  ::coil::Co<void> name([[maybe_unused]] ::coil::SweepRun& run); \
  TEST(ReliabilityT9, name) {                                    \
    ::coil::SweepCancellation(name __VA_OPT__(, ) __VA_ARGS__);  \
  }                                                              \
  TEST(ReliabilityT76, name) {                                   \
    ::coil::SweepDestruction(name __VA_OPT__(, ) __VA_ARGS__);   \
  }                                                              \
  ::coil::Co<void> name([[maybe_unused]] ::coil::SweepRun& run)

#endif  // COIL_TESTS_TASK_SWEEP_SCENARIO_H_
