#include "coil/timers/timeout.h"

#include "coil/loop/event_loop.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

Co<int> Quick(int n) { co_return n; }
Co<int> Slow(absl::Duration d, int n) {
  co_await Sleep(d);
  co_return n;
}

TEST(TimeoutTest, A) {
  auto main = []() -> Co<void> {
    EXPECT_EQ(co_await WithTimeout(absl::Seconds(1), Quick(3)), 3);
    EXPECT_THROW(co_await WithTimeout(absl::Seconds(1), Slow(absl::Seconds(2), 1)), TimeoutError);
    EXPECT_THROW(co_await WithTimeout(absl::Seconds(1), Sleep(absl::Seconds(2))), TimeoutError);
    EXPECT_EQ(co_await WithTimeout(absl::Seconds(1), Sleep(absl::Milliseconds(2), 7)), 7);
    EXPECT_THROW(co_await WithTimeout(absl::Seconds(1), [&](TimeoutScope& s) -> Co<int> { s.Reschedule(s.When() + absl::Seconds(1)); co_return co_await Slow(absl::Seconds(3), 1); }), TimeoutError);
    EXPECT_EQ(co_await WithTimeout(absl::Seconds(1), [&]() { return 5; }), 5);
    EXPECT_EQ(co_await WithTimeout(absl::Seconds(1), WithTimeout(absl::Seconds(1), Quick(5))), 5);
    Co<int> stored = WithTimeout(absl::Seconds(1), Quick(5));
    EXPECT_EQ(co_await stored, 5);
    Task<int> t = CreateTask(WithTimeout(absl::Seconds(1), Quick(5)));
    EXPECT_EQ(co_await WithTimeout(absl::Seconds(1), t), 5);
    EXPECT_EQ(co_await WaitFor(Quick(5), absl::Seconds(1)), 5);
    EXPECT_THROW(co_await WaitFor(Quick(5), absl::Seconds(0)), TimeoutError);
    EXPECT_FALSE((co_await Settle(WithTimeout(absl::Seconds(1), Sleep(absl::Seconds(3))))).Ok());
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
