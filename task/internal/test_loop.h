// coil/task/internal/test_loop.h
//
// The loop of one test or of one run of a sweep, and the check that nothing is
// left over of it.
//
// Threads: one.
// Lifetime: as long as the run; at most one is current in a thread.

#ifndef COIL_TASK_INTERNAL_TEST_LOOP_H_
#define COIL_TASK_INTERNAL_TEST_LOOP_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/task.h"

namespace coil::internal {

// What the process and this thread hold, to be compared before and after.
struct ResourceCount {
  // Counts now.
  static ResourceCount Take();
  // "2 descriptors more than before, 1 frame ...": empty if nothing was added.
  std::vector<std::string> Surplus(const ResourceCount& before) const;

  ptrdiff_t descriptors = 0;
  ptrdiff_t frames = 0;  // of coroutines, and the shared states of tasks
};

class TestLoop {
 public:
  // A virtual clock and the order of `seed`, or the real clock without a seed.
  explicit TestLoop(std::optional<uint64_t> seed);
  // Closes.
  ~TestLoop();
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;

  // The innermost of this thread, or null.
  static TestLoop* Current();

  EventLoop& loop() { return *loop_; }

  enum class End {
    kValue,
    kCancelled,
    kError,  // it ended by `error`
    kStuck,  // the loop did: `error` is a deadlock or was thrown by an observer
  };
  struct Ended {
    End how = End::kValue;
    std::exception_ptr error;
  };
  // Runs the coroutine that `body` gives to its end. `body` is borrowed, and
  // called in the loop.
  Ended Run(absl::FunctionRef<Co<void>()> body);

  // Runs what is ready, without letting time pass.
  void Settle();
  // Cancels the tasks that are left and awaits them; what stops this is
  // returned, null if nothing did.
  std::exception_ptr CancelRest();
  // Timers and descriptors that are still registered.
  std::vector<std::string> Registered();
  void Close();

  // What the exception handler was told, and forgets it.
  std::vector<std::string> TakeReports();

 private:
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::string> reports_;
  TestLoop* previous_;
};

// How this test is run again: a command line for a person. `variables` are
// environment variables, "COIL_TEST_SEED=7".
std::string ReplayCommand(const std::vector<std::string>& variables);

// The number in an environment variable; nullopt if it is not set. Fails the
// current test if it is no number.
std::optional<uint64_t> NumberFromEnvironment(const char* variable);

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_TEST_LOOP_H_
