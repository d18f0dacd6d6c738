// W6: sleeping, arming and cancelling, a timeout around what completes at once.

#include <vector>

#include "benchmark/benchmark.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/tests/benchmarks/workload.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"

namespace coil::bench {
namespace {

Co<void> SleepOnce(absl::Duration delay) { co_await Sleep(delay); }

// CPU time counts here: the wall clock runs for the second of the sleeps.
void W6a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    auto main = []() -> Co<void> {
      Xorshift random;
      std::vector<Task<void>> tasks;
      tasks.reserve(kN);
      for (int i = 0; i < kN; ++i) {
        tasks.push_back(CreateTask(
            SleepOnce(absl::Nanoseconds(random.Next() % 1000000000u))));
      }
      for (auto& task : tasks) co_await task;
    };
    Run(main);
  });
}
BENCHMARK(W6a)->Unit(benchmark::kMillisecond)->Iterations(1);

class NoTimer final : public internal::TimerNode {
 public:
  void Fire() noexcept override {}
};

void W6b(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    auto main = []() -> Co<void> {
      internal::LoopCore& loop = internal::CoreOf(EventLoop::Current());
      for (int i = 0; i < kN; ++i) {
        NoTimer timer;
        loop.Arm(&timer, loop.Now() + absl::Seconds(1));
        benchmark::DoNotOptimize(&timer);
        loop.Disarm(&timer);
      }
      co_return;
    };
    Run(main);
  });
}
BENCHMARK(W6b)->Unit(benchmark::kMillisecond);

[[gnu::noinline]] Co<int> Immediate(int i) { co_return i; }

void W6c(benchmark::State& state) {
  constexpr int kN = 500000;
  RunBatches(state, kN, [] {
    auto main = []() -> Co<void> {
      long sum = 0;
      for (int i = 0; i < kN; ++i) {
        sum += co_await WithTimeout(absl::Seconds(1), Immediate(i));
      }
      benchmark::DoNotOptimize(sum);
    };
    Run(main);
  });
}
BENCHMARK(W6c)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace coil::bench
