// The Python beside each program of examples/cheatsheet prints the same. Where
// there is no Python 3.11, the program is compared with its golden file alone.

#include <string>

#include "gtest/gtest.h"
#include "tests/examples/program.h"

namespace coil_testing {
namespace {

const std::string kFolder = "examples/cheatsheet/";

void PrintsWhatPythonPrints(const std::string& name) {
  static const std::string python = FindPython();
  const ProgramResult ours = RunProgram({kFolder + name});
  EXPECT_EQ(ours.exit_code, 0);
  std::string expected = ReadFile(kFolder + name + ".golden");
  if (!python.empty()) {
    const ProgramResult theirs = RunProgram(
        {python, "tests/examples/virtual_time.py", kFolder + name + ".py"});
    EXPECT_EQ(theirs.exit_code, 0);
    EXPECT_EQ(theirs.output, expected) << "the golden file is wrong";
    expected = theirs.output;
  }
  EXPECT_EQ(ours.output, expected);
}

TEST(AsyncAwaitSheetPythonTest, Basics) {
  PrintsWhatPythonPrints("async_await/01_basics");
}
TEST(AsyncAwaitSheetPythonTest, Gather) {
  PrintsWhatPythonPrints("async_await/02_gather");
}
TEST(AsyncAwaitSheetPythonTest, CreateTask) {
  PrintsWhatPythonPrints("async_await/02_create_task");
}
TEST(AsyncAwaitSheetPythonTest, Sleep) {
  PrintsWhatPythonPrints("async_await/03_sleep");
}
TEST(AsyncAwaitSheetPythonTest, ContextManagers) {
  PrintsWhatPythonPrints("async_await/04_context_managers");
}
TEST(AsyncAwaitSheetPythonTest, Iteration) {
  PrintsWhatPythonPrints("async_await/05_iteration");
}
TEST(AsyncAwaitSheetPythonTest, ErrorHandling) {
  PrintsWhatPythonPrints("async_await/06_error_handling");
}

TEST(AsyncSheetPythonTest, AsyncFunctions) {
  PrintsWhatPythonPrints("async/01_async_functions");
}
TEST(AsyncSheetPythonTest, EventLoop) {
  PrintsWhatPythonPrints("async/02_event_loop");
}
TEST(AsyncSheetPythonTest, Await) { PrintsWhatPythonPrints("async/03_await"); }
TEST(AsyncSheetPythonTest, Gather) {
  PrintsWhatPythonPrints("async/04_gather");
}
TEST(AsyncSheetPythonTest, Wait) { PrintsWhatPythonPrints("async/05_wait"); }
TEST(AsyncSheetPythonTest, Sleep) { PrintsWhatPythonPrints("async/06_sleep"); }
TEST(AsyncSheetPythonTest, Timeout) {
  PrintsWhatPythonPrints("async/07_timeout");
}
TEST(AsyncSheetPythonTest, CreateTask) {
  PrintsWhatPythonPrints("async/08_create_task");
}
TEST(AsyncSheetPythonTest, Lock) { PrintsWhatPythonPrints("async/09_lock"); }
TEST(AsyncSheetPythonTest, Semaphore) {
  PrintsWhatPythonPrints("async/10_semaphore");
}
TEST(AsyncSheetPythonTest, TryExcept) {
  PrintsWhatPythonPrints("async/11_try_except");
}
TEST(AsyncSheetPythonTest, Queues) {
  PrintsWhatPythonPrints("async/12_queues");
}
TEST(AsyncSheetPythonTest, RunInExecutor) {
  PrintsWhatPythonPrints("async/13_run_in_executor");
}

}  // namespace
}  // namespace coil_testing
