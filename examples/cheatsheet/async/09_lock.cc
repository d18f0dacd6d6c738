// Python Async Cheatsheet, Locks and Semaphores: asyncio.Lock().

#include <iostream>
#include <string>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/sync/lock.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

// The guard holds the lock until the end of its scope, also if something
// throws: C++ has `async with lock` by itself.
coil::Co<void> Worker(std::string name, coil::Lock& lock) {
  coil::Lock::Guard guard = co_await lock.Acquire();
  std::cout << name << " enters\n";
  co_await coil::Sleep(absl::Seconds(1));
  std::cout << name << " leaves\n";
}

coil::Co<void> Main() {
  coil::Lock lock;
  co_await coil::Gather(Worker("a", lock), Worker("b", lock));
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
