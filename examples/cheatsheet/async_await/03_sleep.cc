// Python Async/Await Cheat Sheet, 3: asyncio.sleep.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

coil::Co<void> Other() {
  std::cout << "others run meanwhile\n";
  co_return;
}

coil::Co<void> Main() {
  coil::Task<void> task = coil::CreateTask(Other());
  co_await coil::Sleep(absl::Seconds(2));  // non-blocking sleep
  std::cout << "two seconds later\n";
  co_await task;
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
