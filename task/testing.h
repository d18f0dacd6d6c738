// coil/task/testing.h
//
// Tests whose bodies are coroutines, for googletest: under a virtual clock, in
// an order that a seed chooses, with a check for everything that is left over.
// Brings along coil/task/testing_assert.h (CO_ASSERT_EQ, EXPECT_PENDING),
// coil/task/testing_time.h (AdvanceBy, RunUntilIdle, Sequencer) and
// coil/task/testing_sweep.h (ForEachCancellationPoint).
//
// Example:
//   coil::Co<int> Compute() {
//     co_await coil::Sleep(absl::Hours(24));
//     co_return 42;
//   }
//   CORO_TEST(ComputeTest, TakesADay) {
//     coil::LoopTime start = coil::EventLoop::Current().Now();
//     EXPECT_EQ(co_await Compute(), 42);
//     EXPECT_EQ(coil::EventLoop::Current().Now() - start, absl::Hours(24));
//   }
//
// The day takes microseconds. With COIL_TEST_SEED=7 in the environment the
// ready tasks are shuffled by the seed 7; a test that fails prints how to
// replay it. With --gtest_repeat=1000 as well, the seeds are 7, 8, ... 1006.
//
// After the body, what is ready runs on without time passing; then the test
// fails for each of these that is left:
//   * a task that has not ended, with the dump of all (DumpTasks())
//   * an armed timer or a watched descriptor
//   * a descriptor that was opened and not closed
//   * a coroutine frame or the shared state of a task, a future or a generator:
//     a handle that outlives the body keeps it
//   * an error that nobody has retrieved, a coroutine that was never awaited,
//     and whatever else is reported to the loop's exception handler
//
// Ordering: FIFO without a seed, as in a real run.
// Cancellation: tasks that are left over are cancelled and awaited after they
//   were reported.
// Threads: each test has a loop of its own in the thread of googletest.
// Lifetime: a fixture lives longer than the loop. Members that hold tasks or
//   futures are emptied before the body ends.
//
// asyncio: unittest.IsolatedAsyncioTestCase, and more.

#ifndef COIL_TASK_TESTING_H_
#define COIL_TASK_TESTING_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "coil/loop/event_loop.h"  // tests ask the loop for the time
#include "coil/task/co.h"
#include "coil/task/testing_assert.h"
#include "coil/task/testing_sweep.h"
#include "coil/task/testing_time.h"
#include "gtest/gtest.h"

// As TEST(test_suite_name, test_name); the body is a coroutine that returns
// Co<void>. One without any co_await ends with co_return.
#define CORO_TEST(test_suite_name, test_name)                            \
  static ::coil::Co<void> COIL_CORO_BODY_(test_suite_name, test_name)(); \
  TEST(test_suite_name, test_name) {                                     \
    ::coil::RunCoroTest(COIL_CORO_BODY_(test_suite_name, test_name));    \
  }                                                                      \
  static ::coil::Co<void> COIL_CORO_BODY_(test_suite_name, test_name)()

// As TEST_F(test_fixture, test_name). SetUp() and TearDown() run outside of the
// loop.
#define CORO_TEST_F(test_fixture, test_name)                             \
  class COIL_CORO_BODY_(test_fixture, test_name) : public test_fixture { \
   protected:                                                            \
    ::coil::Co<void> CoroTestBody();                                     \
  };                                                                     \
  GTEST_TEST_(test_fixture, test_name,                                   \
              COIL_CORO_BODY_(test_fixture, test_name),                  \
              ::testing::internal::GetTypeId<test_fixture>()) {          \
    ::coil::RunCoroTest([this] { return this->CoroTestBody(); });        \
  }                                                                      \
  ::coil::Co<void> COIL_CORO_BODY_(test_fixture, test_name)::CoroTestBody()

#define COIL_CORO_BODY_(suite, name) CoroTest_##suite##_##name##_Body

namespace coil {

// All members are trivially destructible.
struct CoroTestOptions {
  // Unset takes COIL_TEST_SEED from the environment, which is 0 by default.
  std::optional<uint64_t> seed = std::nullopt;
  // Time is real, and the order FIFO: for what waits for the outside world.
  bool real_clock = false;
  // Whether what is left over fails the test.
  bool check_leftovers = true;
};

namespace internal {
void RunCoroTestBody(absl::FunctionRef<Co<void>()> body,
                     const CoroTestOptions& options);
}  // namespace internal

// What the macros call: runs `body`, which returns a Co<void>, within a test of
// googletest's own, such as TEST_P.
template <class F>
void RunCoroTest(F&& body, CoroTestOptions options = {}) {
  static_assert(std::is_same_v<std::invoke_result_t<F&>, Co<void>>,
                "RunCoroTest: the body is a function that returns a Co<void>");
  internal::RunCoroTestBody(body, options);
}

// What was reported to the exception handler of the test's loop so far; it will
// not fail the test any more. Throws std::runtime_error outside of a CORO_TEST.
std::vector<std::string> TakeReports();

}  // namespace coil

#endif  // COIL_TASK_TESTING_H_
