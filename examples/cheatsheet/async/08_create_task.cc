// Python Async Cheatsheet, Tasks: asyncio.create_task().

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

coil::Co<int> Coroutine1() {
  std::cout << "coroutine1 runs\n";
  co_await coil::Sleep(absl::Seconds(1));
  co_return 1;
}

coil::Co<int> Coroutine2() {
  std::cout << "coroutine2 runs\n";
  co_await coil::Sleep(absl::Seconds(1));
  co_return 2;
}

// Tasks run concurrently; awaiting one gives its result.
coil::Co<void> Main() {
  coil::Task<int> task1 = coil::CreateTask(Coroutine1());
  coil::Task<int> task2 = coil::CreateTask(Coroutine2());
  int sum = co_await task1;
  sum += co_await task2;
  std::cout << "sum: " << sum << "\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
