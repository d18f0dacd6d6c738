// Python Async Cheatsheet, Async Basics: Async Functions.

#include <iostream>

#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"

// A function is a coroutine if it returns a Co and has a co_await or a
// co_return in its body. Asynchronous code can be executed within it.
coil::Co<void> AsyncFunction() {
  std::cout << "inside an async function\n";
  co_return;
}

int main() { coil::Run(AsyncFunction(), ExampleRunOptions()); }
