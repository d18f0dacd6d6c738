// Python Async/Await Cheat Sheet, 4: Async context managers.

#include <exception>
#include <iostream>

#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/with.h"

class AsyncCM {
 public:
  coil::Co<void> AEnter() {
    std::cout << "Enter\n";
    co_return;
  }
  coil::Co<void> AExit(std::exception_ptr) {
    std::cout << "Exit\n";
    co_return;
  }
};

// What need not be awaited when it is left belongs in a destructor instead.
coil::Co<void> Main() {
  AsyncCM manager;
  co_await coil::With(manager, [&] { std::cout << "Inside context\n"; });
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
