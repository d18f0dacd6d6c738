// Python Async Cheatsheet, Timers: asyncio.timeout().
//
// The sheet says `with asyncio.timeout(5)`, which is an error in Python: it is
// `async with`. This is what was meant.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"

coil::Co<void> SomeCoroutine(int seconds) {
  co_await coil::Sleep(absl::Seconds(seconds));
  std::cout << "done after " << seconds << " s\n";
}

// Cancels a coroutine that does not complete within the time.
coil::Co<void> Main() {
  co_await coil::WithTimeout(absl::Seconds(5), SomeCoroutine(1));
  try {
    co_await coil::WithTimeout(absl::Seconds(5), SomeCoroutine(10));
  } catch (const coil::TimeoutError&) {
    std::cout << "timed out\n";
  }
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
