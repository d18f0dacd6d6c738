// Python Async Cheatsheet, Coroutine Control Flow: asyncio.gather().

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<int> Coroutine1() {
  co_await coil::Sleep(absl::Seconds(2));
  std::cout << "coroutine1 is done\n";
  co_return 1;
}

coil::Co<int> Coroutine2() {
  co_await coil::Sleep(absl::Seconds(1));
  std::cout << "coroutine2 is done\n";
  co_return 2;
}

// Runs both concurrently and awaits their completion. The results come in the
// order of the arguments, whichever was done first.
coil::Co<void> Main() {
  auto [first, second] = co_await coil::Gather(Coroutine1(), Coroutine2());
  std::cout << first << " " << second << "\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
