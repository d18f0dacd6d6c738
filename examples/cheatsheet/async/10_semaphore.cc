// Python Async Cheatsheet, Locks and Semaphores: asyncio.Semaphore().

#include <iostream>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/sync/semaphore.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

// At most five workers hold a permit at once; it returns at the end of its
// scope.
coil::Co<void> Worker(int n, coil::Semaphore& semaphore, int& running) {
  coil::Semaphore::Permit permit = co_await semaphore.Acquire();
  ++running;
  std::cout << "worker " << n << ": " << running << " inside\n";
  co_await coil::Sleep(absl::Seconds(n));
  --running;
}

coil::Co<void> Main() {
  coil::Semaphore semaphore(5);
  int running = 0;
  std::vector<coil::Co<void>> workers;
  for (int n = 1; n < 8; ++n) workers.push_back(Worker(n, semaphore, running));
  co_await coil::Gather(std::move(workers));
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
