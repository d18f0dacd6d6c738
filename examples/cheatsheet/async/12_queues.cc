// Python Async Cheatsheet, Communication Between Coroutines: Queues.

#include <iostream>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/sync/queue.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/timers/sleep.h"

coil::Co<void> Producer(coil::Queue<int>& queue) {
  for (int data = 0; data < 3; ++data) {
    co_await coil::Sleep(absl::Seconds(1));
    std::cout << "put " << data << "\n";
    co_await queue.Put(data);
  }
}

coil::Co<void> Consumer(coil::Queue<int>& queue) {
  for (int i = 0; i < 3; ++i) {
    int data = co_await queue.Get();
    std::cout << "got " << data << "\n";
  }
}

coil::Co<void> Main() {
  coil::Queue<int> queue;
  co_await coil::Gather(Producer(queue), Consumer(queue));
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
