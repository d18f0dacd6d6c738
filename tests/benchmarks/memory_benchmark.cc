// W10a: bytes of resident memory for one task that is suspended on an event.

#include <unistd.h>

#include <cstdio>
#include <vector>

#include "benchmark/benchmark.h"
#include "coil/sync/event.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

namespace coil::bench {
namespace {

long ResidentBytes() {
  long size = 0;
  long resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return resident * sysconf(_SC_PAGESIZE);
}

Co<void> Idle(Event& event) { co_await event.Wait(); }

void W10a(benchmark::State& state) {
  constexpr int kN = 1000000;
  double bytes = 0;
  for (auto _ : state) {
    auto main = [&bytes]() -> Co<void> {
      Event event;
      const long before = ResidentBytes();
      // The loop owns the tasks; no handle is kept.
      for (int i = 0; i < kN; ++i) CreateTask(Idle(event));
      co_await Yield();
      bytes = static_cast<double>(ResidentBytes() - before) / kN;
      event.Set();
      co_await Yield();
    };
    Run(main);
  }
  state.counters["bytes"] = bytes;
}
BENCHMARK(W10a)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace coil::bench
