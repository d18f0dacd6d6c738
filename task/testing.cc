#include "coil/task/testing.h"

#include <exception>
#include <iostream>
#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/inspect.h"
#include "coil/task/internal/test_loop.h"
#include "coil/task/task.h"

namespace coil {
namespace internal {
namespace {

// The seed from the environment. When googletest repeats the tests, each
// repetition takes the next.
uint64_t SeedFromEnvironment() {
  const std::optional<uint64_t> first = NumberFromEnvironment("COIL_TEST_SEED");
  if (!first.has_value() || *first == 0) return 0;
  const ::testing::TestInfo* test =
      ::testing::UnitTest::GetInstance()->current_test_info();
  if (test == nullptr) return *first;
  static std::map<const ::testing::TestInfo*, uint64_t>* const runs =
      new std::map<const ::testing::TestInfo*, uint64_t>();
  return *first + (*runs)[test]++;
}

// How many checks of the current test have failed.
int FailureCount() {
  const ::testing::TestInfo* test =
      ::testing::UnitTest::GetInstance()->current_test_info();
  if (test == nullptr) return 0;
  int failures = 0;
  const ::testing::TestResult& result = *test->result();
  for (int i = 0; i < result.total_part_count(); ++i) {
    if (result.GetTestPartResult(i).failed()) ++failures;
  }
  return failures;
}

void RunAndCheck(absl::FunctionRef<Co<void>()> body,
                 std::optional<uint64_t> seed, bool check) {
  const ResourceCount before = ResourceCount::Take();
  {
    TestLoop test(seed);
    const TestLoop::Ended ended = test.Run(body);
    if (ended.error != nullptr) {
      ADD_FAILURE() << (ended.how == TestLoop::End::kStuck
                            ? "the test does not come to an end: "
                            : "the body threw ")
                    << DescribeException(ended.error);
    }
    // A loop that is stuck is only closed: its tasks may wait for ever.
    if (ended.how != TestLoop::End::kStuck) {
      test.Settle();
      if (check && CoreOf(test.loop()).OwnedCount() != 0) {
        ADD_FAILURE() << "tasks are left over: " << DumpTasks(test.loop());
      }
      if (std::exception_ptr error = test.CancelRest()) {
        ADD_FAILURE() << "the tasks that are left over do not end: "
                      << DescribeException(error);
      } else if (check) {
        for (const std::string& left : test.Registered()) {
          ADD_FAILURE() << "left over: " << left;
        }
      }
    } else {
      check = false;
    }
    test.Close();
    for (const std::string& report : test.TakeReports()) {
      if (check) {
        ADD_FAILURE() << "reported to the loop's exception handler: " << report;
      }
    }
  }
  if (!check) return;
  for (const std::string& surplus : ResourceCount::Take().Surplus(before)) {
    ADD_FAILURE() << "left over: " << surplus;
  }
}

}  // namespace

void RunCoroTestBody(absl::FunctionRef<Co<void>()> body,
                     const CoroTestOptions& options) {
  std::optional<uint64_t> seed;
  std::vector<std::string> variables;
  if (!options.real_clock) {
    seed = options.seed.has_value() ? *options.seed : SeedFromEnvironment();
    if (!options.seed.has_value() && *seed != 0) {
      variables.push_back(absl::StrCat("COIL_TEST_SEED=", *seed));
    }
  }
  const int failures = FailureCount();
  {
    ::testing::ScopedTrace trace(
        __FILE__, __LINE__,
        seed.has_value() ? absl::StrCat("seed ", *seed) : "on the real clock");
    RunAndCheck(body, seed, options.check_leftovers);
  }
  if (FailureCount() > failures) {
    std::cerr << "replay: " << ReplayCommand(variables) << std::endl;
  }
}

Co<::testing::AssertionResult> PendingWhenIdle(AnyTask task) {
  co_await RunUntilIdle();
  if (!task.Done()) co_return ::testing::AssertionSuccess();
  co_return ::testing::AssertionFailure() << "it is done: " << task;
}

Co<::testing::AssertionResult> DoneWhenIdle(AnyTask task) {
  co_await RunUntilIdle();
  if (task.Done()) co_return ::testing::AssertionSuccess();
  co_return ::testing::AssertionFailure() << "it is pending: " << task;
}

}  // namespace internal

std::vector<std::string> TakeReports() {
  internal::TestLoop* test = internal::TestLoop::Current();
  if (test == nullptr) {
    throw std::runtime_error("TakeReports: no CORO_TEST runs in this thread");
  }
  return test->TakeReports();
}

}  // namespace coil
