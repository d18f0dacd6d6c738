// Python Async Cheatsheet, Coroutine Control Flow: await.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<int> Coroutine() {
  std::cout << "working\n";
  co_await coil::Sleep(absl::Seconds(1));
  co_return 42;
}

// co_await pauses this coroutine until the other one completes.
coil::Co<void> Main() {
  int result = co_await Coroutine();
  std::cout << "result: " << result << "\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
