// Lock: order, hand-off, cancellation, misuse, lifetime.

#include "coil/sync/lock.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitAll;
using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::LoopsInOnePlace;
using sync_testing::MostInside;
using sync_testing::RunVirtually;
using sync_testing::StartEach;
using sync_testing::TextOf;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::Visit;
using sync_testing::WaitOf;

static_assert(!std::is_copy_constructible_v<Lock>);
static_assert(!std::is_move_constructible_v<Lock>);
static_assert(!std::is_copy_constructible_v<Lock::Guard>);
static_assert(std::is_nothrow_move_constructible_v<Lock::Guard>);

FIFO_TEST(LockTest, FreeLockDoesNotSuspend) {
  Lock lock;
  const uint64_t before = EventLoop::Current().Iterations();
  for (int i = 0; i < 10; ++i) {
    Lock::Guard guard = co_await lock.Acquire();
    EXPECT_TRUE(lock.Locked());
  }
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, OneTaskAtATime) {
  Lock lock;
  EXPECT_EQ(co_await MostInside(lock, 4), 1);
}

FIFO_TEST(LockTest, HandsOverInOrderOfArrival) {
  Lock lock;
  std::vector<int> order;
  auto tasks = StartEach(5, [&](int i) { return Visit(lock, order, i); });
  co_await AwaitAll(tasks);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

FIFO_TEST(LockTest, NewcomerDoesNotOvertake) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> first = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  guard.Release();
  // The lock has been handed over, though nobody has resumed yet.
  EXPECT_FALSE(lock.TryAcquire().has_value());
  Lock::Guard again = co_await lock.Acquire();
  order.push_back(2);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

FIFO_TEST(LockTest, StaysLockedBetweenReleaseAndResume) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> waiter = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  guard.Release();
  EXPECT_TRUE(lock.Locked());
  EXPECT_TRUE(order.empty());
  co_await waiter;
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, WaiterResumesOnThePassAfterTheRelease) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> waiter = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  guard.Release();
  co_await Turns();
  EXPECT_EQ(order, (std::vector<int>{1}));
}

FIFO_TEST(LockTest, TryAcquireTakesAFreeLock) {
  Lock lock;
  std::optional<Lock::Guard> guard = lock.TryAcquire();
  EXPECT_TRUE(guard.has_value());
  EXPECT_TRUE(guard->Owns());
  EXPECT_FALSE(lock.TryAcquire().has_value());
  guard.reset();
  EXPECT_FALSE(lock.Locked());
  co_return;
}

TEST(LockTest, TryAcquireNeedsNoLoop) {
  Lock lock;
  std::optional<Lock::Guard> guard = lock.TryAcquire();
  EXPECT_TRUE(lock.Locked());
  guard->Release();
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, ReleaseEndsTheGuard) {
  Lock lock;
  Lock::Guard guard = co_await lock.Acquire();
  EXPECT_TRUE(guard.Owns());
  guard.Release();
  EXPECT_FALSE(guard.Owns());
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, SecondReleaseNamesTheRule) {
  Lock lock;
  Lock::Guard guard = co_await lock.Acquire();
  guard.Release();
  EXPECT_EQ(TextOf<std::runtime_error>([&] { guard.Release(); }),
            "Lock::Guard::Release: this guard does not hold the lock (it was "
            "released, moved from, or the lock was destroyed)");
}

FIFO_TEST(LockTest, SecondReleaseDoesNotUnlockTheNextHolder) {
  Lock lock;
  Lock::Guard first = co_await lock.Acquire();
  first.Release();
  Lock::Guard second = co_await lock.Acquire();
  EXPECT_THROW(first.Release(), std::runtime_error);
  EXPECT_TRUE(lock.Locked());
  EXPECT_TRUE(second.Owns());
}

TEST(LockTest, EmptyGuardHoldsNothing) {
  Lock::Guard guard;
  EXPECT_FALSE(guard.Owns());
  EXPECT_THROW(guard.Release(), std::runtime_error);
}

FIFO_TEST(LockTest, MovedGuardHoldsAndTheOldOneDoesNot) {
  Lock lock;
  Lock::Guard guard = co_await lock.Acquire();
  Lock::Guard moved = std::move(guard);
  EXPECT_FALSE(guard.Owns());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(moved.Owns());
  EXPECT_THROW(guard.Release(), std::runtime_error);
  EXPECT_TRUE(lock.Locked());
}

FIFO_TEST(LockTest, AssigningToAGuardReleasesWhatItHeld) {
  Lock a;
  Lock b;
  Lock::Guard guard = co_await a.Acquire();
  Lock::Guard other = co_await b.Acquire();
  guard = std::move(other);
  EXPECT_FALSE(a.Locked());
  EXPECT_TRUE(b.Locked());
  Lock::Guard& self = guard;
  guard = std::move(self);
  EXPECT_TRUE(guard.Owns());
  guard = Lock::Guard();
  EXPECT_FALSE(b.Locked());
}

FIFO_TEST(LockTest, AnyTaskMayRelease) {
  Lock lock;
  auto guard = std::make_unique<Lock::Guard>(co_await lock.Acquire());
  Task<void> other = CreateTask([&]() -> Co<void> {
    guard->Release();
    co_return;
  });
  co_await other;
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, GuardComesOutOfATask) {
  Lock lock;
  Task<Lock::Guard> task = CreateTask(lock.Acquire());
  Lock::Guard guard = co_await std::move(task);
  EXPECT_TRUE(guard.Owns());
  EXPECT_TRUE(lock.Locked());
  guard.Release();
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, GuardReleasesWhenAnErrorPasses) {
  Lock lock;
  auto fails = [&]() -> Co<void> {
    Lock::Guard guard = co_await lock.Acquire();
    co_await Yield();
    throw std::runtime_error("no");
  };
  EXPECT_THROW(co_await fails(), std::runtime_error);
  EXPECT_FALSE(lock.Locked());
}

// ---- cancellation ----------------------------------------------------------

FIFO_TEST(LockTest, CancelledWaiterLeavesTheLine) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> a = CreateTask(Visit(lock, order, 1));
  Task<void> b = CreateTask(Visit(lock, order, 2));
  Task<void> c = CreateTask(Visit(lock, order, 3));
  co_await Turns();
  b.Cancel("enough");
  co_await Turns();
  EXPECT_EQ(HowEnded(b), "cancelled: enough");
  guard.Release();
  co_await a;
  co_await c;
  EXPECT_EQ(order, (std::vector<int>{1, 3}));
}

FIFO_TEST(LockTest, FirstAndLastInLineMayBeCancelled) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  auto tasks = StartEach(4, [&](int i) { return Visit(lock, order, i); });
  co_await Turns();
  tasks[0].Cancel();
  tasks[3].Cancel();
  co_await Turns();
  Task<void> late = CreateTask(Visit(lock, order, 9));
  co_await Turns();
  guard.Release();
  co_await late;
  EXPECT_EQ(order, (std::vector<int>{1, 2, 9}));
}

FIFO_TEST(LockTest, CancelAfterTheHandOffPassesTheLockOn) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> a = CreateTask(Visit(lock, order, 1));
  Task<void> b = CreateTask(Visit(lock, order, 2));
  co_await Turns();
  guard.Release();
  a.Cancel("too late");
  co_await b;
  EXPECT_EQ(HowEnded(a), "cancelled: too late");
  EXPECT_EQ(order, (std::vector<int>{2}));
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, CancelBeforeTheReleaseInTheSameTurnPassesTheLockOn) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> a = CreateTask(Visit(lock, order, 1));
  Task<void> b = CreateTask(Visit(lock, order, 2));
  co_await Turns();
  a.Cancel();
  guard.Release();
  co_await b;
  EXPECT_TRUE(a.Cancelled());
  EXPECT_EQ(order, (std::vector<int>{2}));
}

FIFO_TEST(LockTest, CancelOfTheOnlyOneHandedToFreesTheLock) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> a = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  guard.Release();
  a.Cancel();
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  EXPECT_FALSE(lock.Locked());
  EXPECT_TRUE(lock.TryAcquire().has_value());
}

FIFO_TEST(LockTest, GivenBackLockRespectsTheLine) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  auto tasks = StartEach(4, [&](int i) { return Visit(lock, order, i); });
  co_await Turns();
  guard.Release();
  tasks[0].Cancel();
  co_await Turns();  // given back, handed to 1, which has not resumed
  tasks[1].Cancel();
  co_await tasks[3];
  EXPECT_EQ(order, (std::vector<int>{2, 3}));
}

FIFO_TEST(LockTest, CancelTakenBackBeforeTheResumeKeepsTheLock) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> a = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  guard.Release();
  a.Cancel();
  a.Uncancel();
  co_await a;
  EXPECT_EQ(HowEnded(a), "ok");
  EXPECT_EQ(order, (std::vector<int>{1}));
}

FIFO_TEST(LockTest, PendingCancelIsDeliveredWhereTheLockIsHeld) {
  Lock lock;
  Lock::Guard guard = co_await lock.Acquire();
  std::vector<int> order;
  Task<void> self = CreateTask([&]() -> Co<void> {
    CurrentTask().Cancel("self");
    Lock::Guard mine = co_await lock.Acquire();
    order.push_back(1);
  });
  co_await Turns(3);
  EXPECT_EQ(HowEnded(self), "cancelled: self");
  guard.Release();
  EXPECT_FALSE(lock.Locked());
  EXPECT_TRUE(order.empty());
}

FIFO_TEST(LockTest, PendingCancelIsNotDeliveredByAFreeLock) {
  Lock lock;
  bool had_it = false;
  Task<void> self = CreateTask([&]() -> Co<void> {
    CurrentTask().Cancel();
    Lock::Guard mine = co_await lock.Acquire();
    had_it = true;
    co_await Yield();
  });
  co_await Turns(2);
  EXPECT_TRUE(had_it);
  EXPECT_TRUE(self.Cancelled());
  EXPECT_FALSE(lock.Locked());
}

FIFO_TEST(LockTest, CancelledHolderReleases) {
  Lock lock;
  std::vector<int> order;
  Task<void> holder = CreateTask([&]() -> Co<void> {
    Lock::Guard guard = co_await lock.Acquire();
    co_await Sleep(absl::Hours(1));
  });
  Task<void> next = CreateTask(Visit(lock, order, 1));
  co_await Turns(2);
  holder.Cancel();
  co_await next;
  EXPECT_EQ(order, (std::vector<int>{1}));
}

FIFO_TEST(LockTest, SwallowedCancelLetsTheTaskTryAgain) {
  Lock lock;
  Lock::Guard guard = co_await lock.Acquire();
  int tries = 0;
  bool had_it = false;
  Task<void> stubborn = CreateTask([&]() -> Co<void> {
    while (!had_it) {
      ++tries;
      try {
        Lock::Guard mine = co_await lock.Acquire();
        had_it = true;
      } catch (const CancelledError&) {
      }
    }
  });
  co_await Turns();
  stubborn.Cancel();
  co_await Turns();
  stubborn.Cancel();
  co_await Turns();
  guard.Release();
  co_await stubborn;
  EXPECT_EQ(tries, 3);
  EXPECT_FALSE(lock.Locked());
}

// ---- lifetime and misuse
// -----------------------------------------------------

FIFO_TEST(LockTest, DestroyedLockWakesThoseWhoWait) {
  auto lock = std::make_unique<Lock>();
  std::vector<int> order;
  Lock::Guard guard = co_await lock->Acquire();
  Task<void> a = CreateTask(Visit(*lock, order, 1));
  Task<void> b = CreateTask(Visit(*lock, order, 2));
  co_await Turns();
  lock.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "Lock was destroyed while 2 tasks waited for it");
  EXPECT_EQ(HowEnded(b), "Lock was destroyed while 2 tasks waited for it");
  EXPECT_FALSE(guard.Owns());
}

FIFO_TEST(LockTest, GuardOutlivesItsLock) {
  Lock::Guard guard;
  {
    Lock lock;
    guard = co_await lock.Acquire();
    EXPECT_TRUE(guard.Owns());
  }
  EXPECT_FALSE(guard.Owns());
  EXPECT_THROW(guard.Release(), std::runtime_error);
}

FIFO_TEST(LockTest, GuardThatWasNotMovedOutlivesItsLock) {
  auto lock = std::make_unique<Lock>();
  Lock::Guard guard = co_await lock->Acquire();
  lock.reset();
  EXPECT_FALSE(guard.Owns());
}

FIFO_TEST(LockTest, DestroyedAfterTheHandOff) {
  auto lock = std::make_unique<Lock>();
  std::vector<int> order;
  Lock::Guard guard = co_await lock->Acquire();
  Task<void> a = CreateTask(Visit(*lock, order, 1));
  co_await Turns();
  guard.Release();
  lock.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "Lock was destroyed while 1 task waited for it");
  EXPECT_TRUE(order.empty());
}

FIFO_TEST(LockTest, DestroyedAndCancelledIsCancelled) {
  auto lock = std::make_unique<Lock>();
  std::vector<int> order;
  Lock::Guard guard = co_await lock->Acquire();
  Task<void> handed = CreateTask(Visit(*lock, order, 1));
  Task<void> waits = CreateTask(Visit(*lock, order, 2));
  co_await Turns();
  guard.Release();
  lock.reset();
  handed.Cancel();
  waits.Cancel();
  co_await Turns();
  EXPECT_TRUE(handed.Cancelled());
  EXPECT_TRUE(waits.Cancelled());
}

TEST(LockTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Lock lock;
  loops.RunOnFirst([&]() -> Co<void> {
    std::vector<int> order;
    Lock::Guard guard = co_await lock.Acquire();
    Task<void> waiter = CreateTask(Visit(lock, order, 1));
    co_await Turns();
    guard.Release();
    co_await waiter;
  });
  loops.RunOnSecond([&]() -> Co<void> {
    // A free lock is still to be had, as in asyncio.
    Lock::Guard guard = co_await lock.Acquire();
    EXPECT_EQ(co_await AwaitTextOf<std::runtime_error>(lock.Acquire()),
              "Lock::Acquire: the object belongs to another event loop; a "
              "future, task or lock is used on the loop that it was first used "
              "on");
    EXPECT_TRUE(guard.Owns());
  });
  EXPECT_FALSE(lock.Locked());
}

TEST(LockTest, LoopInThePlaceOfItsOwnIsAnotherOne) {
  LoopsInOnePlace loops;
  Lock lock;
  auto contend = [&]() -> Co<std::string> {
    Lock::Guard guard = co_await lock.Acquire();
    std::vector<int> order;
    Task<void> waiter = CreateTask(Visit(lock, order, 1));
    co_await Turns();
    guard.Release();
    co_await Settle(waiter);
    co_return HowEnded(waiter);
  };
  EXPECT_EQ(loops.Run(contend), "ok");
  EXPECT_EQ(loops.Run(contend),
            "Lock::Acquire: the object belongs to another event loop; a "
            "future, task or lock is used on the loop that it was first used "
            "on");
  EXPECT_FALSE(lock.Locked());
}

TEST(LockTest, UncontendedUseDoesNotBindItToALoop) {
  TwoLoops loops;
  Lock lock;
  loops.RunOnFirst(
      [&]() -> Co<void> { Lock::Guard guard = co_await lock.Acquire(); });
  loops.RunOnSecond([&]() -> Co<void> {
    std::vector<int> order;
    Lock::Guard guard = co_await lock.Acquire();
    Task<void> waiter = CreateTask(Visit(lock, order, 1));
    co_await Turns();
    guard.Release();
    co_await waiter;
    EXPECT_EQ(order.size(), 1u);
  });
}

FIFO_TEST(LockTest, DumpNamesTheHolder) {
  Lock lock;
  std::vector<int> order;
  CurrentTask().SetName("the holder");
  Lock::Guard guard = co_await lock.Acquire();
  Task<void> waiter = CreateTask(Visit(lock, order, 1));
  Task<void> second = CreateTask(Visit(lock, order, 2));
  co_await Turns();
  EXPECT_EQ(WaitOf(waiter), "Lock held by the holder");
  guard.Release();
  co_await Turns();
  EXPECT_EQ(WaitOf(second), "Lock held by " + waiter.Name());
  co_await second;
}

FIFO_TEST(LockTest, DumpNamesTheOneItWasHandedTo) {
  Lock lock;
  std::vector<int> order;
  Lock::Guard guard = co_await lock.Acquire();
  auto tasks = StartEach(3, [&](int i) { return Visit(lock, order, i); });
  co_await Turns();
  guard.Release();  // nobody has resumed yet
  EXPECT_EQ(WaitOf(tasks[2]), "Lock held by " + tasks[0].Name());
  tasks[0].Cancel();
  co_await Turns();  // given back, and handed on
  EXPECT_EQ(WaitOf(tasks[2]), "Lock held by " + tasks[1].Name());
  co_await tasks[2];
  EXPECT_TRUE(tasks[0].Cancelled());
}

FIFO_TEST(LockTest, DumpSaysThatTheHolderIsDone) {
  Lock lock;
  Lock::Guard guard;
  std::string name;
  Task<void> gone = CreateTask([&]() -> Co<void> {
    name = CurrentTask().Name();
    guard = co_await lock.Acquire();
  });
  co_await gone;
  std::vector<int> order;
  Task<void> waiter = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  EXPECT_EQ(WaitOf(waiter), "Lock held by " + name + " (done)");
  guard.Release();
  co_await waiter;
}

FIFO_TEST(LockTest, DumpNamesTheTaskThatTried) {
  Lock lock;
  std::optional<Lock::Guard> guard = lock.TryAcquire();
  std::vector<int> order;
  Task<void> waiter = CreateTask(Visit(lock, order, 1));
  co_await Turns();
  EXPECT_EQ(WaitOf(waiter), "Lock held by " + CurrentTask().Name());
  guard.reset();
  co_await waiter;
}

TEST(LockTest, AcquiringTwiceWaitsForOneself) {
  // Not reentrant (A92): the simulation says that nothing can ever happen.
  auto main = []() -> Co<void> {
    Lock lock;
    Lock::Guard first = co_await lock.Acquire();
    Lock::Guard second = co_await lock.Acquire();
  };
  EXPECT_NE(
      TextOf<std::runtime_error>([&] { RunVirtually(main); }).find("deadlock"),
      std::string::npos);
}

TEST(LockTest, LoopThatIsClosedLetsGoOfTheLine) {
  Lock lock;
  std::vector<int> order;
  SetDiagnosticSink([](std::string_view) {});
  {
    LoopOptions options;
    options.simulation = &sync_testing::kSimulation;
    EventLoop loop(options);
    loop.CallSoon([&] {
      CreateTask([&]() -> Co<void> {
        Lock::Guard guard = co_await lock.Acquire();
        co_await Sleep(absl::Hours(1));
      });
      for (int i = 0; i < 3; ++i) CreateTask(Visit(lock, order, i));
    });
    loop.CallLater(absl::Seconds(1), [&] { loop.Stop(); });
    loop.RunForever();
    EXPECT_TRUE(lock.Locked());
  }
  SetDiagnosticSink(nullptr);
  EXPECT_FALSE(lock.Locked());
  EXPECT_TRUE(order.empty());
}

FIFO_TEST(LockTest, ManyTasksManyTimes) {
  Lock lock;
  int64_t sum = 0;
  auto worker = [&]() -> Co<void> {
    for (int i = 0; i < 100; ++i) {
      Lock::Guard guard = co_await lock.Acquire();
      const int64_t before = sum;
      if (i % 3 == 0) co_await Yield();
      sum = before + 1;
    }
  };
  auto tasks = StartEach(50, [&](int) { return worker; });
  co_await AwaitAll(tasks);
  EXPECT_EQ(sum, 5000);
}

}  // namespace
}  // namespace coil
