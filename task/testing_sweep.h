// coil/task/testing_sweep.h
//
// Cancel injection: runs a scenario once for each point at which a task of it
// can be cancelled, cancels there, and checks that nothing was lost and nothing
// is left. Most bugs of asynchronous programs live at such a point: a lock that
// stays locked, an item that is gone, a task that nobody awaits any more.
//
// Example:
//   coil::Co<void> Work(coil::Semaphore& slots) {
//     coil::Permit permit = co_await slots.Acquire();
//     co_await coil::Yield();
//   }
//   TEST(WorkTest, GivesItsSlotBackWhereverItIsCancelled) {
//     auto scenario = [](coil::SweepRun& run) -> coil::Co<void> {
//       auto slots = std::make_shared<coil::Semaphore>(1);
//       run.AtEnd([slots] { EXPECT_FALSE(slots->Locked()); });
//       co_await coil::Gather(Work(*slots), Work(*slots));
//     };
//     coil::SweepResult result = coil::ForEachCancellationPoint(
//         scenario, coil::SweepOptions().SecondCancel().Seeds(3));
//     EXPECT_GT(result.points, 0u);
//   }
//
// A point is a task that has not ended, at a moment between two steps: each
// task is cancelled wherever it waits, before its first step, and also when
// what it waits for has been granted but it has not gone on yet. After each run
// all of this must hold, or the test fails with the point, the place of the
// await, and the command that replays it:
//   * the run came to an end: a deadlock is seen at once, in virtual time
//   * it ended with a value or with CancelledError
//   * tasks that the scenario left over have ended, once they were cancelled
//   * timers, watched and open descriptors, coroutine frames and the shared
//     states of tasks are back at what they were
//   * the checks of SweepRun::AtEnd() pass, and SweepOptions::Base() gives the
//     same numbers as before
//   * nothing was reported to the loop's exception handler
//
// Ordering: each run is a simulation of its own with the same seed, so that it
//   goes as the first one did up to its point. A scenario that asks real time
//   or another thread is not repeatable and cannot be swept.
// Cancellation: a cancel that arrives too late, or that the scenario takes
//   back, is no error: the scenario completes then.
// Threads: all runs are in the calling thread.
// Lifetime: the scenario is called once for each run. What it uses belongs to
//   one loop, so make it inside.
//
// asyncio has no such thing.

#ifndef COIL_TASK_TESTING_SWEEP_H_
#define COIL_TASK_TESTING_SWEEP_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "coil/task/co.h"

namespace coil {

// One run of a scenario.
class SweepRun {
 public:
  // Calls `check` when all tasks of this run have ended, in which the EXPECT_*
  // of googletest stand. It owns what it captures until then.
  void AtEnd(std::function<void()> check) {
    checks_.push_back(std::move(check));
  }
  uint64_t Seed() const { return seed_; }
  // False in the first run of each seed, in which nothing is cancelled.
  bool Injects() const { return injects_; }

  // ---- public interface ends here ----
  SweepRun(uint64_t seed, bool injects) : seed_(seed), injects_(injects) {}
  SweepRun(const SweepRun&) = delete;
  SweepRun& operator=(const SweepRun&) = delete;
  void Check() {
    for (const std::function<void()>& check : std::exchange(checks_, {})) {
      check();
    }
  }

 private:
  std::vector<std::function<void()>> checks_;
  uint64_t seed_;
  bool injects_;
};

class SweepOptions {
 public:
  SweepOptions() = default;
  // Then runs each point again, cancelling the same task a second time at each
  // of its suspensions that follow: in the midst of its cleanup.
  SweepOptions& SecondCancel(bool on = true);
  // Sweeps with the seeds 0 (FIFO) to n - 1. One seed at first.
  SweepOptions& Seeds(uint64_t n);
  // Numbers that are the same before and after each run: free permits, items in
  // use, rows of a table.
  SweepOptions& Base(std::function<std::vector<int64_t>()> numbers);
  // The scenario may also end with these errors. The second form takes all that
  // derive from E.
  SweepOptions& AllowError(std::function<bool(const std::exception_ptr&)> f);
  template <class E>
  SweepOptions& AllowError() {
    return AllowError([](const std::exception_ptr& error) {
      try {
        std::rethrow_exception(error);
      } catch (const E&) {
        return true;
      } catch (...) {
        return false;
      }
    });
  }
  // Reports to the exception handler do not fail the test. For a scenario in
  // which an error has no reader once the reader was cancelled.
  SweepOptions& AllowReports(bool on = true);
  // Cancels the main task only, not those that it made.
  SweepOptions& MainTaskOnly(bool on = true);
  // Takes at most `n` points, spread evenly. 20,000 at first.
  SweepOptions& MostPoints(size_t n);

  // ---- public interface ends here ----
  struct Values {
    bool second_cancel = false;
    bool allow_reports = false;
    bool main_only = false;
    uint64_t seeds = 1;
    size_t most_points = 20000;
    std::function<std::vector<int64_t>()> base;
    std::vector<std::function<bool(const std::exception_ptr&)>> allowed;
  };
  const Values& values() const { return values_; }

 private:
  Values values_;
};

struct SweepResult {
  size_t awaits = 0;     // suspensions of all tasks in the undisturbed run
  size_t points = 0;     // where a cancel was injected, over all seeds
  size_t runs = 0;       // including those with a second cancel
  size_t cancelled = 0;  // runs that ended with CancelledError
  size_t completed = 0;  // runs that ended with a value
  size_t failed = 0;     // runs that failed the test
};

namespace internal {
using Scenario = absl::FunctionRef<Co<void>(SweepRun&)>;
SweepResult SweepCancellation(Scenario scenario, const SweepOptions& options,
                              std::source_location where);
SweepResult SweepDestruction(Scenario scenario, const SweepOptions& options,
                             std::source_location where);

template <class F>
auto ScenarioOf(F& scenario) {
  if constexpr (std::is_invocable_r_v<Co<void>, F&, SweepRun&>) {
    return [&scenario](SweepRun& run) { return scenario(run); };
  } else {
    static_assert(std::is_invocable_r_v<Co<void>, F&>,
                  "a scenario is a function that returns a Co<void> and takes "
                  "nothing or a SweepRun&");
    return [&scenario](SweepRun&) { return scenario(); };
  }
}
}  // namespace internal

// Sweeps `scenario`, a function that returns a Co<void> and takes nothing or a
// SweepRun&. Fails the current test for each run that goes wrong, and stops
// after a few of them. COIL_SWEEP_POINT in the environment, as the failure
// prints it, runs that one point only.
template <class F>
SweepResult ForEachCancellationPoint(
    F&& scenario, SweepOptions options = {},
    std::source_location where = std::source_location::current()) {
  return internal::SweepCancellation(internal::ScenarioOf(scenario), options,
                                     where);
}

// The same, but the loop is closed at each suspension, so that all frames are
// destroyed where they stand: destructors must put right what a cleanup by
// awaits cannot. The checks of AtEnd() run after that.
template <class F>
SweepResult ForEachDestructionPoint(
    F&& scenario, SweepOptions options = {},
    std::source_location where = std::source_location::current()) {
  return internal::SweepDestruction(internal::ScenarioOf(scenario), options,
                                    where);
}

}  // namespace coil

#endif  // COIL_TASK_TESTING_SWEEP_H_
