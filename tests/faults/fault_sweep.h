// Runs scenarios while system calls fail, and judges what becomes of them.

#ifndef COIL_TESTS_FAULTS_FAULT_SWEEP_H_
#define COIL_TESTS_FAULTS_FAULT_SWEEP_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "tests/faults/fault_scenarios.h"
#include "tests/faults/fault_shim.h"

namespace coil_testing {

// How often each pair of a system call and an error was injected.
using FaultMatrix = std::map<std::pair<std::string, std::string>, uint64_t>;

class FaultSweep {
 public:
  struct Totals {
    uint64_t runs = 0;
    uint64_t injections = 0;
    uint64_t succeeded = 0;  // runs
    uint64_t failed = 0;     // with an error that was to be expected
    uint64_t given_up = 0;   // still waiting when a fault did not go away
  };

  FaultSweep();
  ~FaultSweep();

  // How many calls of each member an undisturbed run makes.
  std::map<Call, uint64_t> Calls(const FaultScenario& scenario);

  // One run. Fails the current test if it hangs, ends with another error than
  // the fault explains, or leaves anything behind.
  void Run(const FaultScenario& scenario, const Plan& plan);
  // The same with one call in `one_in` failing.
  void RunAtRandom(const FaultScenario& scenario, uint64_t seed,
                   uint32_t one_in);

  const Totals& totals() const { return totals_; }
  const FaultMatrix& matrix() const { return matrix_; }
  // Three failures are enough.
  bool Enough() const;

 private:
  enum class Leniency { kMustSucceed, kMayFail, kMayNotEnd };
  uint64_t RunOnce(const FaultScenario& scenario, const std::string& what,
                   Leniency leniency);

  FaultShim shim_;
  Totals totals_;
  FaultMatrix matrix_;
  int failures_ = 0;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_FAULTS_FAULT_SWEEP_H_
