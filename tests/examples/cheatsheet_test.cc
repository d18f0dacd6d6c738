// Each program of examples/cheatsheet prints what its golden file says, in
// virtual time.

#include <string>

#include "gtest/gtest.h"
#include "tests/examples/program.h"

namespace coil_testing {
namespace {

const std::string kFolder = "examples/cheatsheet/";

void PrintsTheGolden(const std::string& name) {
  const ProgramResult result = RunProgram({kFolder + name});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, ReadFile(kFolder + name + ".golden"));
}

TEST(AsyncAwaitSheetTest, Basics) { PrintsTheGolden("async_await/01_basics"); }
TEST(AsyncAwaitSheetTest, Gather) { PrintsTheGolden("async_await/02_gather"); }
TEST(AsyncAwaitSheetTest, CreateTask) {
  PrintsTheGolden("async_await/02_create_task");
}
TEST(AsyncAwaitSheetTest, Sleep) { PrintsTheGolden("async_await/03_sleep"); }
TEST(AsyncAwaitSheetTest, ContextManagers) {
  PrintsTheGolden("async_await/04_context_managers");
}
TEST(AsyncAwaitSheetTest, Iteration) {
  PrintsTheGolden("async_await/05_iteration");
}
TEST(AsyncAwaitSheetTest, ErrorHandling) {
  PrintsTheGolden("async_await/06_error_handling");
}

TEST(AsyncSheetTest, AsyncFunctions) {
  PrintsTheGolden("async/01_async_functions");
}
TEST(AsyncSheetTest, EventLoop) { PrintsTheGolden("async/02_event_loop"); }
TEST(AsyncSheetTest, Await) { PrintsTheGolden("async/03_await"); }
TEST(AsyncSheetTest, Gather) { PrintsTheGolden("async/04_gather"); }
TEST(AsyncSheetTest, Wait) { PrintsTheGolden("async/05_wait"); }
TEST(AsyncSheetTest, Sleep) { PrintsTheGolden("async/06_sleep"); }
TEST(AsyncSheetTest, Timeout) { PrintsTheGolden("async/07_timeout"); }
TEST(AsyncSheetTest, CreateTask) { PrintsTheGolden("async/08_create_task"); }
TEST(AsyncSheetTest, Lock) { PrintsTheGolden("async/09_lock"); }
TEST(AsyncSheetTest, Semaphore) { PrintsTheGolden("async/10_semaphore"); }
TEST(AsyncSheetTest, TryExcept) { PrintsTheGolden("async/11_try_except"); }
TEST(AsyncSheetTest, Queues) { PrintsTheGolden("async/12_queues"); }
TEST(AsyncSheetTest, RunInExecutor) {
  PrintsTheGolden("async/13_run_in_executor");
}

}  // namespace
}  // namespace coil_testing
