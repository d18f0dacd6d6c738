// What the workloads of docs/benchmarks.md share: one benchmark iteration is a
// batch of operations on a loop of its own, and the time of one operation is
// reported.

#ifndef COIL_TESTS_BENCHMARKS_WORKLOAD_H_
#define COIL_TESTS_BENCHMARKS_WORKLOAD_H_

#include <cstdint>

#include "benchmark/benchmark.h"

namespace coil::bench {

// Runs `batch(n)` in each iteration; a batch makes `operations` operations.
template <class Batch>
void RunBatches(benchmark::State& state, int64_t operations, Batch batch) {
  for (auto _ : state) batch();
  state.SetItemsProcessed(state.iterations() * operations);
  state.counters["op"] = benchmark::Counter(
      static_cast<double>(state.iterations() * operations),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// A generator that gives the same numbers in every run and for every peer.
class Xorshift {
 public:
  uint32_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32);
  }

 private:
  uint64_t state_ = 0x9E3779B97F4A7C15u;
};

}  // namespace coil::bench

#endif  // COIL_TESTS_BENCHMARKS_WORKLOAD_H_
