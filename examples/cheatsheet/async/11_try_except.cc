// Python Async Cheatsheet, Error Handling: try-except.

#include <iostream>
#include <stdexcept>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

class SomeException : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

coil::Co<int> SomeCoroutine() {
  co_await coil::Sleep(absl::Seconds(1));
  throw SomeException("something went wrong");
}

// An exception comes out of the co_await, as out of a call.
coil::Co<void> Main() {
  try {
    int result = co_await SomeCoroutine();
    std::cout << result << "\n";
  } catch (const SomeException& e) {
    std::cout << "An error occurred: " << e.what() << "\n";
  }
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
