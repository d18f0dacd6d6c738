// coil/task/testing_time.h
//
// Steps through virtual time: RunUntilIdle() lets run what can run now,
// AdvanceBy() lets a duration pass, Sequencer puts steps of several tasks into
// one order.
//
// Example:
//   coil::Co<void> Ticks(int* ticks) {
//     for (;;) {
//       co_await coil::Sleep(absl::Seconds(1));
//       ++*ticks;
//     }
//   }
//   CORO_TEST(TicksTest, OneEachSecond) {
//     int ticks = 0;
//     coil::Task<void> task = coil::CreateTask(Ticks(&ticks));
//     co_await coil::AdvanceBy(absl::Milliseconds(2500));
//     EXPECT_EQ(ticks, 2);
//     co_await coil::CancelAndWait(task);
//   }
//
// Ordering: AdvanceBy() fires what is due in order of (deadline, arming), and
//   returns when all that was thereby set going waits again.
// Cancellation: passes through; time that has passed has passed.
// Threads: the loop's thread only.
// Lifetime: a Sequencer outlives the tasks that use it.
//
// A virtual clock moves by itself, to the next deadline, whenever nothing can
// run: a test that just awaits what it waits for needs none of these. They are
// for looking at what holds in between. asyncio has no such thing; trio has
// MockClock, wait_all_tasks_blocked() and Sequencer.

#ifndef COIL_TASK_TESTING_TIME_H_
#define COIL_TASK_TESTING_TIME_H_

#include <map>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/loop_time.h"
#include "coil/task/co.h"
#include "coil/task/future.h"

namespace coil {

// Returns when every other task waits for something that is not there yet, so
// that only time, another thread or the outside world can go on. No time
// passes. Throws std::runtime_error if the tasks do not come to rest within
// 100,000 turns: one of them polls, or two of them are in RunUntilIdle().
Co<void> RunUntilIdle();

// Lets exactly `duration` pass, then as RunUntilIdle(). Throws
// std::runtime_error unless the clock is virtual, std::invalid_argument for a
// negative or infinite duration.
Co<void> AdvanceBy(absl::Duration duration);
// The same up to `when`; at once if that is past.
Co<void> AdvanceTo(LoopTime when);

// Steps of several tasks in a fixed order: a task that is at step n goes on
// when the steps before it have been left.
//
//   Co<void> A(Sequencer& s) { auto step = co_await s.At(0); ...; }
//   Co<void> B(Sequencer& s) { auto step = co_await s.At(1); ...; }
class Sequencer {
 public:
  // Holds a step; the next one begins when this is destroyed.
  class [[nodiscard]] Step {
   public:
    Step(Step&& other) noexcept
        : sequencer_(std::exchange(other.sequencer_, nullptr)) {}
    Step& operator=(Step&&) = delete;
    ~Step() {
      if (sequencer_ != nullptr) sequencer_->Leave();
    }

   private:
    friend class Sequencer;
    explicit Step(Sequencer* sequencer) noexcept : sequencer_(sequencer) {}
    Sequencer* sequencer_;
  };

  Sequencer() = default;
  Sequencer(const Sequencer&) = delete;
  Sequencer& operator=(const Sequencer&) = delete;

  // Each number is used once, beginning with zero. Throws std::invalid_argument
  // for one that was used.
  Co<Step> At(int n);

 private:
  void Leave();

  int next_ = 0;       // the step that may begin, or has begun
  bool held_ = false;  // it has
  std::map<int, Future<void>> waiting_;
};

}  // namespace coil

#endif  // COIL_TASK_TESTING_TIME_H_
