// T2: a task is in the ready queue once at most. Grants, cancels and limits
// meet in the random workload; whoever pushes a task twice resumes it once more
// than it was woken, when it waits already for something else.

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/sync/workload.h"

namespace coil::sync_testing {
namespace {

using internal::StepObserver;
using internal::TaskCore;

// Sees every step of every task.
class EveryStep final : public StepObserver {
 public:
  EveryStep() { internal::t_step_observer = this; }
  EveryStep(const EveryStep&) = delete;
  EveryStep& operator=(const EveryStep&) = delete;
  ~EveryStep() { internal::t_step_observer = nullptr; }

  // Ends the program: a queue in which a task is twice may be a circle.
  void OnResume(TaskCore& task) override {
    ++resumed_;
    if (task.state() != TaskCore::State::kScheduled || inside_ != nullptr) {
      std::cerr << task.Describe() << " is resumed, but was not woken\n";
      std::abort();
    }
    inside_ = &task;
  }
  void OnStep(TaskCore&) override { inside_ = nullptr; }

  int64_t resumed() const { return resumed_; }

 private:
  TaskCore* inside_ = nullptr;
  int64_t resumed_ = 0;
};

TEST(ReliabilityT2, ATaskIsResumedOnceForEachTimeItIsWoken) {
  int64_t resumed = 0;
  for (uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    EveryStep steps;
    WorkloadOptions options;
    options.seed = seed;
    options.timeouts = seed % 2 == 0;
    options.cancel_percent = 50;
    for (const auto& violation : RunWorkload(options).violations) {
      ADD_FAILURE() << violation;
    }
    resumed += steps.resumed();
  }
  EXPECT_GT(resumed, 10000);
}

// Without an observer, and in every test, unless assertions are off.
#ifndef NDEBUG
TEST(ReliabilityT2, ATaskThatIsQueuedTwiceEndsTheProgramAndDoesNotSpin) {
  auto main = []() -> Co<void> {
    auto nothing = []() -> Co<void> { co_return; };
    Task<void> task = CreateTask(nothing);
    internal::CoreOf(EventLoop::Current())
        .Schedule(internal::StateOf(task).get());
    co_await task;
  };
  EXPECT_DEATH(coil::Run(main), "a task was woken twice");
}
#endif

}  // namespace
}  // namespace coil::sync_testing
