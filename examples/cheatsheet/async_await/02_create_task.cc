// Python Async/Await Cheat Sheet, 2: Running multiple coroutines concurrently,
// asyncio.create_task.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

coil::Co<void> Work(int n) {
  co_await coil::Sleep(absl::Seconds(n));
  std::cout << "Task " << n << " done\n";
}

// Both run from here on. The loop owns them: unlike in asyncio, a task whose
// handle is dropped does not vanish.
coil::Co<void> Main() {
  coil::Task<void> t1 = coil::CreateTask(Work(1));
  coil::Task<void> t2 = coil::CreateTask(Work(2));
  co_await t1;
  co_await t2;
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
