// Python Async Cheatsheet, Async Basics: Event Loop.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<void> Coroutine1() {
  std::cout << "coroutine1 starts\n";
  co_await coil::Sleep(absl::Seconds(1));
  std::cout << "coroutine1 ends\n";
}

coil::Co<void> Coroutine2() {
  std::cout << "coroutine2 starts\n";
  co_await coil::Sleep(absl::Seconds(2));
  std::cout << "coroutine2 ends\n";
}

// The event loop manages tasks and coroutines. Use Gather() to run several
// coroutines concurrently.
coil::Co<void> Main() { co_await coil::Gather(Coroutine1(), Coroutine2()); }

// Run() makes an event loop, runs the main coroutine on it, and takes it down.
int main() { coil::Run(Main(), ExampleRunOptions()); }
