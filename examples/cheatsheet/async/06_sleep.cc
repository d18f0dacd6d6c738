// Python Async Cheatsheet, Timers: asyncio.sleep().

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

// Suspends the coroutine for the given duration; the loop runs others
// meanwhile.
coil::Co<void> Main() {
  std::cout << "before\n";
  co_await coil::Sleep(absl::Seconds(1));
  std::cout << "after\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
