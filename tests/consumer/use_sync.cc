// A lock that two tasks contend for.

#include <iostream>

#include "coil/sync/lock.h"
#include "coil/task/run.h"
#include "coil/task/task.h"

coil::Co<void> Worker(coil::Lock& lock, int& counter) {
  coil::Lock::Guard guard = co_await lock.Acquire();
  ++counter;
}

coil::Co<void> Main() {
  coil::Lock lock;
  int counter = 0;
  coil::Task<void> first = coil::CreateTask(Worker(lock, counter));
  coil::Task<void> second = coil::CreateTask(Worker(lock, counter));
  co_await first;
  co_await second;
  std::cout << counter << '\n';
}

int main() { coil::Run(Main()); }
