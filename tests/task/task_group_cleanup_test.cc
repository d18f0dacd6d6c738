// TaskGroup in the cleanup of a task that was cancelled: the request is over,
// but still counted, since the task did not take it back with Uncancel().

#include "coil/task/task_group.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

// Swallows a cancel without taking it back, and then runs `cleanup`.
template <class F>
Co<void> CancelledThen(F cleanup) {
  bool cancelled = false;
  try {
    co_await Sleep(absl::Hours(1));
  } catch (const CancelledError&) {
    cancelled = true;
  }
  EXPECT_TRUE(cancelled);
  co_await cleanup();
}

template <class F>
Co<void> CancelAndRun(F cleanup, bool ends_cancelled) {
  Task<void> task = CreateTask(CancelledThen(cleanup));
  co_await Yield();
  task.Cancel();
  co_await Settle(task);
  EXPECT_EQ(task.Cancelled(), ends_cancelled);
  EXPECT_EQ(task.Cancelling(), ends_cancelled ? 2 : 1);
}

TEST(TaskGroupCleanupTest, CancelOfTheGroupEndsItWithoutAnError) {
  bool reached = false;
  auto cleanup = [&]() -> Co<void> {
    co_await WithTaskGroup([](TaskGroup& group) -> Co<void> {
      group.CreateTask(Pause(1));
      co_await Yield();
      group.Cancel();
      co_await Pause(9);
    });
    co_await Pause(1);
    reached = true;
  };
  coil::Run(CancelAndRun(cleanup, false), kVirtual);
  EXPECT_TRUE(reached);
}

TEST(TaskGroupCleanupTest, ARequestThatNoAwaitHasSeenIsTakenBack) {
  bool reached = false;
  auto cleanup = [&]() -> Co<void> {
    co_await WithTaskGroup([](TaskGroup& group) { group.Cancel(); });
    co_await Pause(1);
    reached = true;
  };
  coil::Run(CancelAndRun(cleanup, false), kVirtual);
  EXPECT_TRUE(reached);
}

TEST(TaskGroupCleanupTest, ACancelFromOutsideIsThrownAllTheSame) {
  auto cleanup = []() -> Co<void> {
    AnyTask self = CurrentTask();
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      co_await Yield();
      group.Cancel();
      self.Cancel();
      co_await Pause(9);
    });
    ADD_FAILURE() << "the cancel was swallowed";
  };
  coil::Run(CancelAndRun(cleanup, true), kVirtual);
}

// A request that waits to be delivered when the group is entered is none that
// is over.
TEST(TaskGroupCleanupTest, ACancelFromJustBeforeIsThrownAllTheSame) {
  auto main = []() -> Co<void> {
    CurrentTask().Cancel();
    auto group = WithTaskGroup([](TaskGroup& group) -> Co<void> {
      group.Cancel();
      co_await Pause(9);
    });
    EXPECT_THROW(co_await std::move(group), CancelledError);
    EXPECT_EQ(CurrentTask().Uncancel(), 0);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
