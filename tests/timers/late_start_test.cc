// What counts from now counts from the call, also at the end of a step that has
// computed for long: not from the beginning of the loop's iteration (A160).

#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/wait.h"
#include "coil/timers/interval.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

constexpr absl::Duration kComputing = absl::Milliseconds(50);

// A processor and its clock. Asked itself: EventLoop::Now() would make the loop
// read the clock, which is what these tests must not do for it.
class Machine {
 public:
  // Takes 50 ms, inside of a step.
  void Compute() { clock_.AdvanceTo(Now() + kComputing); }
  LoopTime Now() { return clock_.Now(); }
  Clock& clock() { return clock_; }

 private:
  VirtualClock clock_;
};

template <class F>
void RunOnMachine(F body) {
  Machine machine;
  RunOptions options;
  options.loop.clock = &machine.clock();
  auto main = [&]() -> Co<void> {
    // Once, so that the iteration has looked at the clock before the step
    // computes.
    co_await Sleep(absl::Milliseconds(1));
    co_await body(machine);
  };
  coil::Run(main, options);
}

TEST(LateStartTest, TheLoopsTimeMovesInsideOfAStep) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    const LoopTime start = loop.Now();
    machine.Compute();
    EXPECT_EQ(loop.Now() - start, kComputing);
    co_return;
  });
}

TEST(LateStartTest, Sleep) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    machine.Compute();
    const LoopTime start = machine.Now();
    co_await Sleep(absl::Milliseconds(30));
    EXPECT_EQ(machine.Now() - start, absl::Milliseconds(30));
  });
}

TEST(LateStartTest, TimeoutThatIsLongEnough) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    machine.Compute();
    EXPECT_EQ(co_await WithTimeout(absl::Milliseconds(30),
                                   Sleep(absl::Milliseconds(5), 7)),
              7);
  });
}

TEST(LateStartTest, TimeoutCountsFromItsAwait) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    machine.Compute();
    const LoopTime start = machine.Now();
    EXPECT_THROW(
        co_await WithTimeout(absl::Milliseconds(30), Sleep(absl::Hours(1))),
        TimeoutError);
    EXPECT_EQ(machine.Now() - start, absl::Milliseconds(30));
  });
}

TEST(LateStartTest, CallLater) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    machine.Compute();
    const LoopTime start = machine.Now();
    LoopTime called;
    TimerHandle handle = EventLoop::Current().CallLater(
        absl::Milliseconds(30), [&] { called = machine.Now(); });
    EXPECT_EQ(handle.When() - start, absl::Milliseconds(30));
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(called - start, absl::Milliseconds(30));
  });
}

TEST(LateStartTest, Wait) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    std::vector<Task<void>> tasks;
    tasks.push_back(CreateTask(Sleep(absl::Hours(1))));
    machine.Compute();
    const LoopTime start = machine.Now();
    WaitOptions options;
    options.timeout = absl::Milliseconds(30);
    auto result = co_await coil::Wait(tasks, options);
    EXPECT_TRUE(result.done.empty());
    EXPECT_EQ(machine.Now() - start, absl::Milliseconds(30));
    tasks[0].Cancel();
  });
}

TEST(LateStartTest, IntervalBeginsWhenItIsMade) {
  RunOnMachine([](Machine& machine) -> Co<void> {
    machine.Compute();
    const LoopTime start = machine.Now();
    IntervalOptions options;
    options.immediate = false;
    Interval interval(absl::Milliseconds(30), options);
    co_await interval.Tick();
    EXPECT_EQ(machine.Now() - start, absl::Milliseconds(30));
  });
}

// The order of equal delays is that of the calls, however old the reading of
// the clock is that they begin with.
TEST(LateStartTest, EqualDelaysKeepTheirOrder) {
  std::vector<int> order;
  RunOnMachine([&order](Machine& machine) -> Co<void> {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      auto sleeper = [&order, &machine, i]() -> Co<void> {
        if (i % 2 == 1) machine.Compute();
        co_await Sleep(absl::Seconds(1));
        order.push_back(i);
      };
      tasks.push_back(CreateTask(std::move(sleeper)));
    }
    for (Task<void>& task : tasks) co_await task;
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace coil
