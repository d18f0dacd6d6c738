// W4-W5: a bounded queue and a lock.

#include <vector>

#include "benchmark/benchmark.h"
#include "coil/sync/lock.h"
#include "coil/sync/queue.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/tests/benchmarks/workload.h"
#include "coil/timers/sleep.h"

namespace coil::bench {
namespace {

Co<void> Produce(Queue<long>& queue, long n) {
  for (long i = 0; i < n; ++i) co_await queue.Put(i);
}
Co<void> Consume(Queue<long>& queue, long n) {
  long sum = 0;
  for (long i = 0; i < n; ++i) sum += co_await queue.Get();
  benchmark::DoNotOptimize(sum);
}
void PassThroughQueue(int pairs, long n) {
  Queue<long> queue(128);
  auto main = [&]() -> Co<void> {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < pairs; ++i) {
      tasks.push_back(CreateTask(Produce(queue, n / pairs)));
      tasks.push_back(CreateTask(Consume(queue, n / pairs)));
    }
    for (auto& task : tasks) co_await task;
  };
  Run(main);
}
void W4a(benchmark::State& state) {
  constexpr long kN = 1000000;
  RunBatches(state, kN, [] { PassThroughQueue(1, kN); });
}
BENCHMARK(W4a)->Unit(benchmark::kMillisecond);
void W4b(benchmark::State& state) {
  constexpr long kN = 1000000;
  RunBatches(state, kN, [] { PassThroughQueue(10, kN); });
}
BENCHMARK(W4b)->Unit(benchmark::kMillisecond);

Co<void> LockAndUnlock(Lock& lock, int n, long& count) {
  for (int i = 0; i < n; ++i) {
    Lock::Guard guard = co_await lock.Acquire();
    ++count;
  }
}
Co<void> LockAndYield(Lock& lock, int n, long& count) {
  for (int i = 0; i < n; ++i) {
    Lock::Guard guard = co_await lock.Acquire();
    ++count;
    co_await Yield();
  }
}
template <class Worker>
void Contend(Worker worker, int n) {
  Lock lock;
  long count = 0;
  auto main = [&]() -> Co<void> {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(CreateTask(worker(lock, n, count)));
    }
    for (auto& task : tasks) co_await task;
  };
  Run(main);
  benchmark::DoNotOptimize(count);
}
void W5a(benchmark::State& state) {
  constexpr int kN = 20000;
  RunBatches(state, 100 * kN, [] { Contend(LockAndUnlock, kN); });
}
BENCHMARK(W5a)->Unit(benchmark::kMillisecond);
void W5b(benchmark::State& state) {
  constexpr int kN = 5000;
  RunBatches(state, 100 * kN, [] { Contend(LockAndYield, kN); });
}
BENCHMARK(W5b)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace coil::bench
