// Two tasks that run at the same time, and their results. Options name what
// they set and nothing else: no compiler may warn of the rest.

#include <iostream>

#include "coil/task/gather.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/wait.h"

coil::Co<int> Square(int n) { co_return n* n; }

coil::Co<int> Main() {
  auto [a, b] = co_await coil::Gather(Square(3), Square(4));
  coil::Task<int> c = coil::CreateTask(Square(5), {.eager_start = true});
  co_await coil::Wait({.timeout = absl::Seconds(1)}, c);
  co_return a + b + c.Result();
}

int main() {
  std::cout << coil::Run(Main(),
                         {.on_interrupt = coil::InterruptPolicy::kLeaveAlone})
            << '\n';
}
