#include "tests/loop/failing_allocations.h"

#include <utility>

#include "tests/loop/counting_allocations.h"

namespace coil_testing {
namespace {

// How many allocations are left until one fails; -1 is never.
thread_local long t_until_failure = -1;
thread_local bool t_failed = false;

bool ShouldFail() noexcept {
  if (t_until_failure < 0) return false;
  if (t_until_failure-- > 0) return false;
  t_failed = true;
  return true;
}

}  // namespace

void FailAllocationAfter(long count) {
  t_failed = false;
  t_until_failure = count;
  SetAllocationFailure(ShouldFail);
}

bool StopFailingAllocations() {
  t_until_failure = -1;
  return std::exchange(t_failed, false);
}

}  // namespace coil_testing
