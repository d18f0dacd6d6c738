// Python Async Cheatsheet, Running Sync Code in Async: loop.run_in_executor().

#include <iostream>
#include <thread>

#include "coil/examples/example_run_options.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/to_thread.h"

const std::thread::id kMainThread = std::this_thread::get_id();

bool SyncFunction() {
  // synchronous code
  return std::this_thread::get_id() == kMainThread;
}

// The loop is not blocked meanwhile. ToThread() uses the loop's own pool, which
// is what the executor None stands for in Python.
coil::Co<void> Main() {
  bool in_main_thread = co_await coil::ToThread(SyncFunction);
  std::cout << "default executor, main thread: "
            << (in_main_thread ? "True" : "False") << "\n";
  coil::ThreadPool pool(2);
  in_main_thread = co_await coil::RunInExecutor(pool, SyncFunction);
  std::cout << "own executor, main thread: "
            << (in_main_thread ? "True" : "False") << "\n";
}

int main() { coil::Run(Main(), ExampleRunOptions()); }
