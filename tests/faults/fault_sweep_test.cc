// Every system call of every scenario fails, with every error that is likely:
// T22, T23, T25, T28 and T42 of the catalogue of failures.

#include "tests/faults/fault_sweep.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/faults/fault_scenarios.h"
#include "tests/loop/counting_allocations.h"

namespace coil_testing {
namespace {

// The whole sweep is a run of minutes.
bool Whole() { return std::getenv("COIL_FAULTS_WHOLE") != nullptr; }

std::map<Call, uint64_t>& CallsOfAll() {
  static auto* const calls = new std::map<Call, uint64_t>;
  return *calls;
}
FaultMatrix& MatrixOfAll() {
  static auto* const matrix = new FaultMatrix;
  return *matrix;
}
uint64_t g_injections = 0;
uint64_t g_runs = 0;

// First, second, and the others: all of them, or one in each run of the
// shorter sweep with an error that changes.
void SweepCall(FaultSweep& sweep, const FaultScenario& scenario, Call call,
               uint64_t count) {
  const std::vector<Fault>& faults = FaultsOf(call);
  for (size_t i = 0; i < faults.size(); ++i) {
    const Fault& fault = faults[i];
    std::vector<std::pair<uint64_t, uint64_t>> places = {{1, 0}, {2, 0}};
    if (Whole()) {
      const uint64_t most = std::min<uint64_t>(count, 60);
      for (uint64_t k = 3; k <= most; ++k) places.emplace_back(k, 0);
      places.emplace_back(1, 1);
      places.emplace_back(1, 2);
      places.emplace_back(1, 3);
      places.emplace_back(2, 5);
      places.emplace_back(count / 2 + 1, 1);
    } else {
      if (count > 2) places.emplace_back(3 + i % (count - 2), 0);
      if (i % 2 == 0) places.emplace_back(2, 3);
    }
    for (const auto& [first, every] : places) {
      if (first > count || sweep.Enough()) continue;
      // Who is interrupted tries again, and no kernel interrupts every time;
      // nor does it hide a child that has ended for ever.
      if (every == 1 &&
          (fault.error == EINTR || fault.kind == FaultKind::kNothing)) {
        continue;
      }
      sweep.Run(scenario, Plan{call, fault, first, every});
    }
  }
}

void SweepScenario(const FaultScenario& scenario) {
  FaultSweep sweep;
  const std::map<Call, uint64_t> calls = sweep.Calls(scenario);
  ASSERT_FALSE(testing::Test::HasFailure());
  const long before = LiveAllocations();
  for (const auto& [call, count] : calls) {
    CallsOfAll()[call] += count;
    SweepCall(sweep, scenario, call, count);
  }
  for (uint64_t seed = 1; seed <= (Whole() ? 2000u : 4u); ++seed) {
    if (sweep.Enough()) break;
    sweep.RunAtRandom(scenario, seed, seed % 2 == 0 ? 11 : 37);
  }
  // Pools and tables grow a little, and so does the matrix; a leak would grow
  // with the runs.
  // What was posted from another thread is kept in chains of 512 blocks.
  const long chains = std::string_view(scenario.name) == "posts" ? 3 * 512 : 0;
  EXPECT_LE(LiveAllocations() - before,
            64 + chains + 4 * static_cast<long>(sweep.matrix().size()));
  for (const auto& [pair, injections] : sweep.matrix()) {
    MatrixOfAll()[pair] += injections;
  }
  g_injections += sweep.totals().injections;
  g_runs += sweep.totals().runs;
  std::printf("%-16s %6" PRIu64 " runs %7" PRIu64 " injections: %6" PRIu64
              " succeeded, %6" PRIu64 " failed, %4" PRIu64 " given up\n",
              scenario.name, sweep.totals().runs, sweep.totals().injections,
              sweep.totals().succeeded, sweep.totals().failed,
              sweep.totals().given_up);
}

class FaultSweepTest : public testing::TestWithParam<FaultScenario> {};

TEST_P(FaultSweepTest, EveryCallMayFail) { SweepScenario(GetParam()); }

std::vector<FaultScenario> AllScenarios() {
  std::vector<FaultScenario> all = StreamScenarios();
  for (const FaultScenario& scenario : SystemScenarios()) {
    all.push_back(scenario);
  }
  for (const FaultScenario& scenario : TlsScenarios()) all.push_back(scenario);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Scenarios, FaultSweepTest,
                         testing::ValuesIn(AllScenarios()),
                         [](const testing::TestParamInfo<FaultScenario>& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

// Members of the tables that no scenario reaches, and why.
const std::map<Call, const char*>& Unreached() {
  static const auto* const reasons = new std::map<Call, const char*>{
      {Call::readv, "nothing in coil reads into several pieces"},
      {Call::recvmmsg, "nothing in coil calls it yet"},
      {Call::sendmmsg, "nothing in coil calls it yet"},
      {Call::splice, "nothing in coil calls it yet"},
      {Call::socketpair, "nothing in coil calls it yet"},
  };
  return *reasons;
}

// With a parameter because such tests run in the order of the file, and all
// others before them.
class FaultTotalsTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(All, FaultTotalsTest, testing::Values(0));

TEST_P(FaultTotalsTest, EveryMemberOfTheTablesIsReached) {
  EXPECT_EQ(UnknownMembers(), 0)
      << "fault_shim.h does not have all members of SyscallTable and "
         "SocketTable";
  if (CallsOfAll().empty()) return;  // single scenarios were asked for
  for (int i = 0; i < kCalls; ++i) {
    const Call call = static_cast<Call>(i);
    EXPECT_NE(CallsOfAll().contains(call), Unreached().contains(call))
        << NameOf(call);
  }
}

TEST_P(FaultTotalsTest, ThereAreFiftyPairsOfACallAndAnError) {
  if (CallsOfAll().empty()) return;
  EXPECT_GE(MatrixOfAll().size(), 50u);
  if (Whole()) {
    EXPECT_GE(g_injections, 50000u);
  }
  std::printf("%" PRIu64 " runs, %" PRIu64 " injections, %zu pairs\n", g_runs,
              g_injections, MatrixOfAll().size());
  if (std::getenv("COIL_FAULTS_TABLE") == nullptr) return;
  std::string last;
  for (const auto& [pair, injections] : MatrixOfAll()) {
    if (pair.first != last) std::printf("\n| %s | ", pair.first.c_str());
    last = pair.first;
    std::printf("%s %" PRIu64 "; ", pair.second.c_str(), injections);
  }
  std::printf("\n");
}

}  // namespace
}  // namespace coil_testing
