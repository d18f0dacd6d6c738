// coil/loop/simulation.h
//
// SimulationOptions makes a run of a loop repeatable: time is virtual, so a day
// of sleeps takes microseconds, and a seed chooses the order among the tasks
// that are ready. The same seed gives the same run.
//
// Example:
//   void RunSimulated(uint64_t seed) {
//     coil::SimulationOptions simulation{.seed = seed};
//     coil::LoopOptions options;
//     options.simulation = &simulation;
//     coil::EventLoop loop(options);
//     loop.CallLater(absl::Hours(24), [&loop] { loop.Stop(); });
//     loop.RunForever();  // returns at once
//   }
//
// Ordering: seed 0 keeps the FIFO of a real run. Any other seed permutes, in
//   each pass, the ready tasks among their places; plain callbacks keep theirs,
//   since asyncio promises their order.
// Cancellation: unchanged.
// Threads: work of a thread pool is waited for in real time; virtual time
//   stands still meanwhile. Descriptors from the real world are polled before
//   time moves, but a run that waits for them is not repeatable.
// Lifetime: read by the constructor of the loop, not kept.
//
// A simulated loop on which nothing can ever happen again (nothing ready, no
// timer, no outside work, no descriptor, no signal handler) throws
// std::runtime_error("simulation: deadlock, ...") from RunForever().

#ifndef COIL_LOOP_SIMULATION_H_
#define COIL_LOOP_SIMULATION_H_

#include <cstdint>

#include "coil/loop/internal/language.h"

namespace coil {

struct SimulationOptions {
  uint64_t seed = 0;
};

}  // namespace coil

#endif  // COIL_LOOP_SIMULATION_H_
