// Python Async/Await Cheat Sheet, 6: Error handling in async.

#include <iostream>
#include <stdexcept>

#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"

coil::Co<int> MayFail(int n) {
  if (n == 2) throw std::invalid_argument("Oops");
  co_return n;
}

// The error comes out of the await. C++ has no co_await inside of a catch
// block.
coil::Co<void> Main() {
  try {
    auto [a, b] = co_await coil::Gather(MayFail(1), MayFail(2));
    std::cout << "[" << a << ", " << b << "]\n";
  } catch (const std::invalid_argument& e) {
    std::cout << "Caught: " << e.what() << "\n";
  }
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
