// tests/sync/workload.h
//
// A random workload over every primitive of sync, under a seeded simulation:
// tasks that lock, wait, put, get, and are cancelled at every moment, with a
// model beside them that says what must be true.
//
// Checked while it runs: one holder of a lock, readers apart from writers, no
// more permits than there are, a lock goes to those who asked in their order.
// Checked whenever everything is blocked: nobody waits for something that is
// free. Checked at the end: every task ends, nothing is held, nothing that was
// put is lost or doubled.

#ifndef COIL_TESTS_SYNC_WORKLOAD_H_
#define COIL_TESTS_SYNC_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

namespace coil::sync_testing {

// What the tasks do; a set of these.
enum Operations : uint32_t {
  kLock = 1 << 0,
  kRwLock = 1 << 1,
  kSemaphore = 1 << 2,
  kBoundedSemaphore = 1 << 3,
  kEvent = 1 << 4,
  kCondition = 1 << 5,
  kBarrier = 1 << 6,
  kQueue = 1 << 7,
  kLifoQueue = 1 << 8,
  kPriorityQueue = 1 << 9,
  kChannel = 1 << 10,
  kBroadcast = 1 << 11,
  kLatch = 1 << 12,
  kAllOperations = (1 << 13) - 1,
};

struct WorkloadOptions {
  uint64_t seed = 1;
  uint32_t operations = kAllOperations;
  int cancel_percent = 30;
  // Every operation that waits may be given up after a time, as by WithTimeout.
  bool timeouts = false;
};

struct WorkloadResult {
  // Empty if all went well.
  std::vector<std::string> violations;
  // Of everything that happened, in its order: equal seeds, equal hashes.
  uint64_t trace_hash = 0;
  int64_t operations = 0;
  int64_t cancelled = 0;
};

WorkloadResult RunWorkload(const WorkloadOptions& options);

// "Lock+Event", for test names and messages.
std::string NamesOf(uint32_t operations);

}  // namespace coil::sync_testing

#endif  // COIL_TESTS_SYNC_WORKLOAD_H_
