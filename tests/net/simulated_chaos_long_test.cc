// Row T13 with 100,000 seeds.

#include <cstdint>

#include "gtest/gtest.h"
#include "tests/net/simulated_chaos.h"

namespace coil_testing {
namespace {

TEST(ReliabilityT13, NoRequestOfAHundredThousandRunsIsGivenAWrongAnswer) {
  ChaosResult all;
  for (uint64_t seed = 1; seed <= 100000 && !testing::Test::HasFailure();
       ++seed) {
    all += RunChaos(seed);
  }
  EXPECT_GT(all.answered, 500000u);
}

}  // namespace
}  // namespace coil_testing
