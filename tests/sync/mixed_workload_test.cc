// The random workload over all primitives at once, for many seeds.
//
//   mixed_workload_test --seeds=100000     so many seeds, from 1
//   mixed_workload_test --seed=4711        one of them, as a failure names it
//
// COIL_SEEDS and COIL_SEED do the same.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/sync/workload.h"

namespace coil::sync_testing {
namespace {

uint64_t g_seeds = 2000;
uint64_t g_only = 0;

void CheckSeed(uint64_t seed, WorkloadResult* result) {
  WorkloadOptions options;
  options.seed = seed;
  options.timeouts = seed % 2 == 0;
  *result = RunWorkload(options);
  for (const std::string& violation : result->violations) {
    ADD_FAILURE() << violation << "\n  replay: --seed=" << seed;
  }
}

TEST(MixedWorkloadTest, NothingIsLostAndNobodyWaitsForWhatIsFree) {
  int64_t operations = 0;
  int64_t cancelled = 0;
  const uint64_t first = g_only != 0 ? g_only : 1;
  const uint64_t last = g_only != 0 ? g_only : g_seeds;
  for (uint64_t seed = first; seed <= last && !HasFailure(); ++seed) {
    WorkloadResult result;
    CheckSeed(seed, &result);
    operations += result.operations;
    cancelled += result.cancelled;
  }
  std::cout << last - first + 1 << " seeds, " << operations << " operations, "
            << cancelled << " cancelled\n";
  if (g_only == 0) {
    // The workload does what it is for.
    EXPECT_GT(operations, static_cast<int64_t>(100 * g_seeds));
    EXPECT_GT(cancelled, static_cast<int64_t>(20 * g_seeds));
  }
}

// ReliabilityT8: a seed replays.
TEST(MixedWorkloadTest, EqualSeedsGiveEqualTraces) {
  for (uint64_t seed = 1; seed <= std::min<uint64_t>(g_seeds, 10000);
       seed += 100) {
    WorkloadResult first;
    WorkloadResult second;
    CheckSeed(seed, &first);
    CheckSeed(seed, &second);
    EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
  }
}

uint64_t Number(const char* text) { return std::strtoull(text, nullptr, 10); }

void ReadSettings(int argc, char** argv) {
  if (const char* seeds = std::getenv("COIL_SEEDS")) g_seeds = Number(seeds);
  if (const char* seed = std::getenv("COIL_SEED")) g_only = Number(seed);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--seeds=", 0) == 0) g_seeds = Number(argv[i] + 8);
    if (argument.rfind("--seed=", 0) == 0) g_only = Number(argv[i] + 7);
  }
}

}  // namespace
}  // namespace coil::sync_testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  coil::sync_testing::ReadSettings(argc, argv);
  return RUN_ALL_TESTS();
}
