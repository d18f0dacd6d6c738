// Python Async/Await Cheat Sheet, 1: Basics: async and await.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<void> SayHello() {
  std::cout << "Hello\n";
  co_await coil::Sleep(absl::Seconds(1));
  std::cout << "World\n";
}

int main() { coil::Run(SayHello(), ExampleRunOptions()); }
