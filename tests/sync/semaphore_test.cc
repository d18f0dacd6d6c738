// Semaphore and BoundedSemaphore: order, permits, cancellation, misuse,
// lifetime.

#include "coil/sync/semaphore.h"

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
using sync_testing::HowEnded;
using sync_testing::MostInside;
using sync_testing::RunVirtually;
using sync_testing::StartEach;
using sync_testing::TextOf;
using sync_testing::TextOnSecondLoop;
using sync_testing::Turns;
using sync_testing::Visit;
using sync_testing::WaitOf;

static_assert(!std::is_copy_constructible_v<Semaphore>);
static_assert(!std::is_copy_constructible_v<Semaphore::Permit>);
static_assert(std::is_nothrow_move_constructible_v<Semaphore::Permit>);

TEST(SemaphoreTest, NegativeNumberNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Semaphore s(-1); }),
            "Semaphore: the number of permits is -1; it is at least 0");
  EXPECT_EQ(TextOf<std::invalid_argument>([] { BoundedSemaphore s(-3); }),
            "BoundedSemaphore: the number of permits is -3; it is at least 0");
}

FIFO_TEST(SemaphoreTest, FreePermitsDoNotSuspend) {
  Semaphore semaphore(2);
  const uint64_t before = EventLoop::Current().Iterations();
  Semaphore::Permit a = co_await semaphore.Acquire();
  EXPECT_FALSE(semaphore.Locked());
  Semaphore::Permit b = co_await semaphore.Acquire();
  EXPECT_TRUE(semaphore.Locked());
  EXPECT_EQ(semaphore.Available(), 0);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

FIFO_TEST(SemaphoreTest, LetsInAsManyAsItHasPermits) {
  Semaphore semaphore(3);
  EXPECT_EQ(co_await MostInside(semaphore, 7), 3);
  EXPECT_EQ(semaphore.Available(), 3);
}

FIFO_TEST(SemaphoreTest, ZeroPermitsWaitForARelease) {
  Semaphore semaphore(0);
  EXPECT_TRUE(semaphore.Locked());
  std::vector<int> order;
  Task<void> waiter = CreateTask(Visit(semaphore, order, 1));
  co_await Turns(3);
  EXPECT_FALSE(waiter.Done());
  semaphore.Release();
  co_await waiter;
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, HandsOverInOrderOfArrival) {
  Semaphore semaphore(2);
  std::vector<int> order;
  auto tasks = StartEach(7, [&](int i) { return Visit(semaphore, order, i); });
  co_await AwaitAll(tasks);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6}));
}

FIFO_TEST(SemaphoreTest, NewcomerDoesNotOvertake) {
  Semaphore semaphore(1);
  std::vector<int> order;
  Semaphore::Permit permit = co_await semaphore.Acquire();
  Task<void> first = CreateTask(Visit(semaphore, order, 1));
  co_await Turns();
  permit.Release();
  EXPECT_TRUE(semaphore.Locked());
  EXPECT_FALSE(semaphore.TryAcquire().has_value());
  Semaphore::Permit again = co_await semaphore.Acquire();
  order.push_back(2);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(SemaphoreTest, ReleaseMayExceedTheFirstNumber) {
  Semaphore semaphore(1);
  semaphore.Release();
  semaphore.Release();
  EXPECT_EQ(semaphore.Available(), 3);
}

FIFO_TEST(SemaphoreTest, EachReleaseWakesOne) {
  Semaphore semaphore(0);
  int woken = 0;
  auto take_one = [&](int) -> Co<void> {
    Semaphore::Permit permit = co_await semaphore.Acquire();
    permit.Forget();
    ++woken;
  };
  auto tasks = StartEach(3, take_one);
  co_await Turns();
  semaphore.Release();
  co_await Turns(2);
  EXPECT_EQ(woken, 1);
  semaphore.Release();
  semaphore.Release();
  co_await Turns(2);
  EXPECT_EQ(woken, 3);
  EXPECT_EQ(semaphore.Available(), 0);
}

TEST(SemaphoreTest, TryAcquire) {
  Semaphore semaphore(1);
  std::optional<Semaphore::Permit> permit = semaphore.TryAcquire();
  EXPECT_TRUE(permit.has_value());
  EXPECT_FALSE(semaphore.TryAcquire().has_value());
  permit.reset();
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, ForgottenPermitIsNotReturned) {
  Semaphore semaphore(1);
  {
    Semaphore::Permit permit = co_await semaphore.Acquire();
    permit.Forget();
    EXPECT_FALSE(permit.Owns());
  }
  EXPECT_EQ(semaphore.Available(), 0);
  semaphore.Release();
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, SecondReleaseNamesTheRule) {
  Semaphore semaphore(1);
  Semaphore::Permit permit = co_await semaphore.Acquire();
  permit.Release();
  EXPECT_EQ(TextOf<std::runtime_error>([&] { permit.Release(); }),
            "Semaphore::Permit::Release: it holds no permit (it was "
            "released, forgotten, moved from, or the semaphore was "
            "destroyed)");
  EXPECT_EQ(TextOf<std::runtime_error>([&] { permit.Forget(); }).substr(0, 26),
            "Semaphore::Permit::Forget:");
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, PermitMoves) {
  Semaphore semaphore(3);
  Semaphore::Permit a = co_await semaphore.Acquire();
  Semaphore::Permit b = co_await semaphore.Acquire();
  Semaphore::Permit c = std::move(a);
  EXPECT_FALSE(a.Owns());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(c.Owns());
  b = std::move(c);  // returns what b had
  EXPECT_EQ(semaphore.Available(), 2);
  Semaphore::Permit& self = b;
  b = std::move(self);
  EXPECT_TRUE(b.Owns());
  b = Semaphore::Permit();
  EXPECT_EQ(semaphore.Available(), 3);
}

FIFO_TEST(SemaphoreTest, PermitComesOutOfATask) {
  Semaphore semaphore(1);
  Task<Semaphore::Permit> task = CreateTask(semaphore.Acquire());
  Semaphore::Permit permit = co_await std::move(task);
  EXPECT_TRUE(permit.Owns());
  EXPECT_EQ(semaphore.Available(), 0);
}

// ---- cancellation ----------------------------------------------------------

FIFO_TEST(SemaphoreTest, CancelledWaiterLeavesTheLine) {
  Semaphore semaphore(0);
  std::vector<int> order;
  Task<void> a = CreateTask(Visit(semaphore, order, 1));
  Task<void> b = CreateTask(Visit(semaphore, order, 2));
  Task<void> c = CreateTask(Visit(semaphore, order, 3));
  co_await Turns();
  a.Cancel("why");
  c.Cancel();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "cancelled: why");
  semaphore.Release();
  co_await b;
  EXPECT_EQ(order, (std::vector<int>{2}));
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, CancelAfterTheHandOffPassesThePermitOn) {
  Semaphore semaphore(0);
  std::vector<int> order;
  Task<void> a = CreateTask(Visit(semaphore, order, 1));
  Task<void> b = CreateTask(Visit(semaphore, order, 2));
  co_await Turns();
  semaphore.Release();
  a.Cancel();
  co_await b;
  EXPECT_TRUE(a.Cancelled());
  EXPECT_EQ(order, (std::vector<int>{2}));
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, CancelBeforeTheReleaseInTheSameTurn) {
  Semaphore semaphore(0);
  std::vector<int> order;
  Task<void> a = CreateTask(Visit(semaphore, order, 1));
  Task<void> b = CreateTask(Visit(semaphore, order, 2));
  co_await Turns();
  a.Cancel();
  semaphore.Release();
  co_await b;
  EXPECT_TRUE(a.Cancelled());
  EXPECT_EQ(semaphore.Available(), 1);
}

FIFO_TEST(SemaphoreTest, AllGrantedAndAllCancelledGivesAllBack) {
  Semaphore semaphore(0);
  std::vector<int> order;
  auto tasks = StartEach(4, [&](int i) { return Visit(semaphore, order, i); });
  co_await Turns();
  for (int i = 0; i < 4; ++i) semaphore.Release();
  for (auto& task : tasks) task.Cancel();
  co_await Turns();
  EXPECT_EQ(semaphore.Available(), 4);
  EXPECT_TRUE(order.empty());
}

FIFO_TEST(SemaphoreTest, GivenBackPermitGoesToTheNextInLine) {
  Semaphore semaphore(0);
  std::vector<int> order;
  auto tasks = StartEach(5, [&](int i) { return Visit(semaphore, order, i); });
  co_await Turns();
  semaphore.Release();
  semaphore.Release();
  tasks[0].Cancel();
  co_await Turns(6);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(semaphore.Available(), 2);
}

FIFO_TEST(SemaphoreTest, WhoGaveItsPermitBackHasLeftTheLine) {
  auto semaphore = std::make_unique<Semaphore>(0);
  std::vector<int> order;
  auto tasks = StartEach(3, [&](int i) { return Visit(*semaphore, order, i); });
  co_await Turns();
  semaphore->Release();
  tasks[0].Cancel();
  co_await Turns();
  EXPECT_TRUE(tasks[0].Cancelled());
  semaphore.reset();  // 1 was given the permit, 2 waits, 0 is gone
  co_await Turns();
  EXPECT_EQ(HowEnded(tasks[1]),
            "Semaphore was destroyed while 2 tasks waited for it");
  EXPECT_EQ(HowEnded(tasks[2]),
            "Semaphore was destroyed while 2 tasks waited for it");
}

FIFO_TEST(SemaphoreTest, CancelledHolderReturnsItsPermit) {
  Semaphore semaphore(1);
  Task<void> holder = CreateTask([&]() -> Co<void> {
    Semaphore::Permit permit = co_await semaphore.Acquire();
    co_await Sleep(absl::Hours(1));
  });
  co_await Turns();
  EXPECT_TRUE(semaphore.Locked());
  holder.Cancel();
  co_await Turns();
  EXPECT_FALSE(semaphore.Locked());
}

// ---- lifetime and misuse
// -----------------------------------------------------

FIFO_TEST(SemaphoreTest, DestroyedSemaphoreWakesThoseWhoWait) {
  auto semaphore = std::make_unique<Semaphore>(0);
  std::vector<int> order;
  Task<void> granted = CreateTask(Visit(*semaphore, order, 1));
  Task<void> a = CreateTask(Visit(*semaphore, order, 2));
  Task<void> b = CreateTask(Visit(*semaphore, order, 3));
  co_await Turns();
  semaphore->Release();
  semaphore.reset();
  b.Cancel();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "Semaphore was destroyed while 3 tasks waited for it");
  EXPECT_EQ(HowEnded(granted),
            "Semaphore was destroyed while 3 tasks waited for it");
  EXPECT_TRUE(b.Cancelled());
  EXPECT_TRUE(order.empty());
}

FIFO_TEST(SemaphoreTest, PermitsOutliveTheirSemaphore) {
  auto semaphore = std::make_unique<Semaphore>(3);
  Semaphore::Permit a = co_await semaphore->Acquire();
  Semaphore::Permit b = co_await semaphore->Acquire();
  Semaphore::Permit c = std::move(a);
  semaphore.reset();
  EXPECT_FALSE(b.Owns());
  EXPECT_FALSE(c.Owns());
  EXPECT_THROW(b.Release(), std::runtime_error);
}

TEST(SemaphoreTest, SecondLoopNamesTheRule) {
  Semaphore semaphore(0);
  EXPECT_EQ(TextOnSecondLoop([&] { return semaphore.Acquire(); }).substr(0, 19),
            "Semaphore::Acquire:");
}

FIFO_TEST(SemaphoreTest, DumpSaysWhatItWaitsFor) {
  BoundedSemaphore semaphore(0);
  std::vector<int> order;
  Task<void> waiter = CreateTask(Visit(semaphore, order, 1));
  co_await Turns();
  EXPECT_EQ(WaitOf(waiter), "BoundedSemaphore");
  waiter.Cancel();
  co_await Turns();
}

TEST(BoundedSemaphoreTest, ReleaseWithoutAcquireNamesTheRule) {
  BoundedSemaphore one(1);
  EXPECT_EQ(TextOf<std::runtime_error>([&] { one.Release(); }),
            "BoundedSemaphore::Release: released more often than acquired; it "
            "began with 1 permit");
  BoundedSemaphore two(2);
  EXPECT_EQ(TextOf<std::runtime_error>([&] { two.Release(); }),
            "BoundedSemaphore::Release: released more often than acquired; it "
            "began with 2 permits");
  EXPECT_EQ(two.Available(), 2);
}

FIFO_TEST(BoundedSemaphoreTest, ForgottenPermitsMayBeReleasedOnce) {
  BoundedSemaphore semaphore(1);
  Semaphore::Permit permit = co_await semaphore.Acquire();
  permit.Forget();
  semaphore.Release();
  EXPECT_THROW(semaphore.Release(), std::runtime_error);
}

FIFO_TEST(BoundedSemaphoreTest, HandsOverAsASemaphoreDoes) {
  BoundedSemaphore semaphore(1);
  std::vector<int> order;
  auto tasks = StartEach(4, [&](int i) { return Visit(semaphore, order, i); });
  co_await AwaitAll(tasks);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(semaphore.Available(), 1);
}

TEST(BoundedSemaphoreTest, PermitThatComesOnTopOfAReleaseIsReported) {
  std::string reported;
  SetDiagnosticSink([&](std::string_view text) { reported = text; });
  RunVirtually([]() -> Co<void> {
    BoundedSemaphore semaphore(1);
    Semaphore::Permit permit = co_await semaphore.Acquire();
    semaphore.Release();  // a mistake: the permit is there still
    EXPECT_THROW(semaphore.Release(), std::runtime_error);
    permit = Semaphore::Permit();
    EXPECT_EQ(semaphore.Available(), 1);
  });
  SetDiagnosticSink(nullptr);
  EXPECT_EQ(reported,
            "BoundedSemaphore::Release: released more often than acquired; it "
            "began with 1 permit");
}

}  // namespace
}  // namespace coil
