// Python Async/Await Cheat Sheet, 5: Async iteration.

#include <iostream>
#include <optional>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

// Whatever has a Next() is a range: an empty optional ends it. (An
// AsyncGenerator with co_yield is the shorter way to write one.)
class AsyncCounter {
 public:
  explicit AsyncCounter(int n) : n_(n) {}

  coil::Co<std::optional<int>> Next() {
    if (i_ >= n_) co_return std::nullopt;
    co_await coil::Sleep(absl::Milliseconds(500));
    co_return ++i_;
  }

 private:
  int n_;
  int i_ = 0;
};

coil::Co<void> Main() {
  AsyncCounter counter(3);
  while (auto num = co_await counter.Next()) std::cout << *num << "\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
