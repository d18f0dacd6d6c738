// Python Async Cheatsheet, Coroutine Control Flow: asyncio.wait().
//
// The sheet passes coroutines, which asyncio has refused since Python 3.11, and
// says that it waits for any of them, for which asyncio needs FIRST_COMPLETED.
// This is what was meant; coil::Wait() takes tasks, too.

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/examples/example_run_options.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/wait.h"
#include "coil/timers/sleep.h"

coil::Co<std::string> Coroutine1() {
  co_await coil::Sleep(absl::Seconds(1));
  co_return "coroutine1";
}

coil::Co<std::string> Coroutine2() {
  co_await coil::Sleep(absl::Seconds(2));
  co_return "coroutine2";
}

coil::Co<void> Main() {
  std::vector<coil::Task<std::string>> tasks;
  tasks.push_back(coil::CreateTask(Coroutine1()));
  tasks.push_back(coil::CreateTask(Coroutine2()));
  const coil::WaitOptions any = {.return_when =
                                     coil::ReturnWhen::kFirstCompleted};
  auto result = co_await coil::Wait(std::move(tasks), any);
  for (const auto& task : result.done) {
    std::cout << "done: " << task.Result() << "\n";
  }
  std::cout << "pending: " << result.pending.size() << "\n";
  for (const auto& task : result.pending) task.Cancel();
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
