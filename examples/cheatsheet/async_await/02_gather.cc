// Python Async/Await Cheat Sheet, 2: Running multiple coroutines concurrently,
// asyncio.gather.

#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<std::string> Work(int n) {
  co_await coil::Sleep(absl::Seconds(n));
  co_return absl::StrCat("Task ", n, " done");
}

// Takes three seconds, not six. The results come in the order of the arguments.
coil::Co<void> Main() {
  auto [a, b, c] = co_await coil::Gather(Work(1), Work(2), Work(3));
  std::cout << "['" << a << "', '" << b << "', '" << c << "']\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
