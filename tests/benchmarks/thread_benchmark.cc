// W7: posts from another thread, and the thread pool and back.

#include <thread>

#include "benchmark/benchmark.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/to_thread.h"
#include "coil/tests/benchmarks/workload.h"

namespace coil::bench {
namespace {

void W7a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    auto main = []() -> Co<void> {
      EventLoop& loop = EventLoop::Current();
      Future<void> done;
      int received = 0;
      std::thread poster([&] {
        for (int i = 0; i < kN; ++i) {
          loop.CallSoonThreadSafe([&received, &done] {
            if (++received == kN) done.SetResult();
          });
        }
      });
      co_await done;
      poster.join();
    };
    Run(main);
  });
}
BENCHMARK(W7a)->Unit(benchmark::kMillisecond)->UseRealTime();

int Increment(int i) { return i + 1; }

void RoundTrips(absl::Duration busy_poll, int n) {
  auto main = [n]() -> Co<void> {
    ThreadPool pool(1);
    int value = 0;
    for (int i = 0; i < n; ++i) {
      auto job = [value] { return Increment(value); };
      value = co_await RunInExecutor(pool, job);
    }
    benchmark::DoNotOptimize(value);
  };
  RunOptions options;
  options.loop.busy_poll = busy_poll;
  Run(main, options);
}
void W7b(benchmark::State& state) {
  constexpr int kN = 50000;
  RunBatches(state, kN, [] { RoundTrips(absl::ZeroDuration(), kN); });
}
BENCHMARK(W7b)->Unit(benchmark::kMillisecond)->UseRealTime();
void W7b_busy_poll(benchmark::State& state) {
  constexpr int kN = 50000;
  RunBatches(state, kN, [] { RoundTrips(absl::Microseconds(50), kN); });
}
BENCHMARK(W7b_busy_poll)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace coil::bench
