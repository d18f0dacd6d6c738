// W1-W3: awaiting, creating and switching between tasks.

#include <vector>

#include "benchmark/benchmark.h"
#include "coil/sync/event.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/tests/benchmarks/workload.h"
#include "coil/timers/sleep.h"

namespace coil::bench {
namespace {

[[gnu::noinline]] Co<int> Child(int i) { co_return i + 1; }

Co<void> AwaitChildren(int n) {
  long sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await Child(i);
  benchmark::DoNotOptimize(sum);
}
void W1a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] { Run(AwaitChildren(kN)); });
}
BENCHMARK(W1a)->Unit(benchmark::kMillisecond);

Co<void> AwaitTasks(int n) {
  long sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await CreateTask(Child(i));
  benchmark::DoNotOptimize(sum);
}
void W1b(benchmark::State& state) {
  constexpr int kN = 500000;
  RunBatches(state, kN, [] { Run(AwaitTasks(kN)); });
}
BENCHMARK(W1b)->Unit(benchmark::kMillisecond);

Co<void> GatherMany(int n, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    std::vector<Task<int>> tasks;
    tasks.reserve(n);
    for (int i = 0; i < n; ++i) tasks.push_back(CreateTask(Child(i)));
    std::vector<int> results = co_await Gather(std::move(tasks));
    benchmark::DoNotOptimize(results.data());
  }
}
void W2(benchmark::State& state) {
  constexpr int kN = 100000;
  constexpr int kRounds = 5;
  RunBatches(state, kN * kRounds, [] { Run(GatherMany(kN, kRounds)); });
}
BENCHMARK(W2)->Unit(benchmark::kMillisecond);

Co<void> HandOver(Event& mine, Event& other, int n, bool first) {
  for (int i = 0; i < n; ++i) {
    if (first) other.Set();
    co_await mine.Wait();
    mine.Clear();
    if (!first) other.Set();
  }
}
void W3a(benchmark::State& state) {
  constexpr int kN = 500000;
  RunBatches(state, 2 * kN, [] {
    Event ping;
    Event pong;
    auto main = [&]() -> Co<void> {
      Task<void> task = CreateTask(HandOver(pong, ping, kN, false));
      co_await HandOver(ping, pong, kN, true);
      co_await task;
    };
    Run(main);
  });
}
BENCHMARK(W3a)->Unit(benchmark::kMillisecond);

Co<void> Yielder(int n) {
  for (int i = 0; i < n; ++i) co_await Yield();
}
void W3b(benchmark::State& state) {
  constexpr int kTasks = 1000;
  constexpr int kN = 1000;
  RunBatches(state, kTasks * kN, [] {
    auto main = []() -> Co<void> {
      std::vector<Task<void>> tasks;
      for (int i = 0; i < kTasks; ++i) tasks.push_back(CreateTask(Yielder(kN)));
      for (auto& task : tasks) co_await task;
    };
    Run(main);
  });
}
BENCHMARK(W3b)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace coil::bench
