// A sleep under a timeout.

#include <iostream>

#include "absl/time/time.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"

coil::Co<void> Main() {
  co_await coil::WithTimeout(absl::Seconds(10),
                             coil::Sleep(absl::Milliseconds(5)));
  try {
    co_await coil::WithTimeout(absl::Milliseconds(5),
                               coil::Sleep(absl::Hours(1)));
  } catch (const coil::TimeoutError&) {
    std::cout << "timed out\n";
  }
}

int main() { coil::Run(Main()); }
