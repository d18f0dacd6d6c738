// Latch: counting, order, cancellation, misuse, lifetime.

#include "coil/sync/latch.h"

#include <memory>
#include <stdexcept>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::HowEnded;
using sync_testing::Note;
using sync_testing::StartEach;
using sync_testing::TextOf;
using sync_testing::TextOnSecondLoop;
using sync_testing::Turns;
using sync_testing::WaitOf;

FIFO_TEST(LatchTest, CountOfZeroLetsThroughWithoutSuspending) {
  Latch latch(0);
  EXPECT_TRUE(latch.TryWait());
  const uint64_t before = EventLoop::Current().Iterations();
  co_await latch.Wait();
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

FIFO_TEST(LatchTest, WakesAllInOrderAtZeroAndNotBefore) {
  Latch latch(3);
  std::vector<int> order;
  auto tasks = StartEach(3, [&](int i) { return Note(latch, order, i); });
  co_await Turns();
  latch.CountDown();
  latch.CountDown();
  co_await Turns(2);
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(latch.Count(), 1);
  EXPECT_FALSE(latch.TryWait());
  latch.CountDown();
  co_await Turns();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(LatchTest, CountsSeveralAtOnce) {
  Latch latch(5);
  latch.CountDown(3);
  EXPECT_EQ(latch.Count(), 2);
  latch.CountDown(0);
  EXPECT_EQ(latch.Count(), 2);
  latch.CountDown(2);
  EXPECT_TRUE(latch.TryWait());
}

TEST(LatchTest, NegativeCountNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Latch latch(-1); }),
            "Latch: the count is -1; it is at least 0");
}

TEST(LatchTest, NegativeStepNamesTheRule) {
  Latch latch(1);
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { latch.CountDown(-2); }),
            "Latch::CountDown: n is -2; it is at least 0");
}

TEST(LatchTest, CountingBelowZeroNamesTheRuleAndCountsNothing) {
  Latch latch(1);
  EXPECT_EQ(TextOf<std::runtime_error>([&] { latch.CountDown(2); }),
            "Latch::CountDown: 2 is more than the count of 1 that is left");
  EXPECT_EQ(latch.Count(), 1);
  latch.CountDown();
  EXPECT_THROW(latch.CountDown(), std::runtime_error);
}

FIFO_TEST(LatchTest, CancelledWaiterIsRemoved) {
  Latch latch(1);
  std::vector<int> order;
  Task<void> a = CreateTask(Note(latch, order, 1));
  Task<void> b = CreateTask(Note(latch, order, 2));
  co_await Turns();
  a.Cancel("why");
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "cancelled: why");
  latch.CountDown();
  co_await b;
  EXPECT_EQ(order, (std::vector<int>{2}));
}

FIFO_TEST(LatchTest, CancelAndZeroInTheSameTurn) {
  Latch latch(1);
  std::vector<int> order;
  Task<void> a = CreateTask(Note(latch, order, 1));
  Task<void> b = CreateTask(Note(latch, order, 2));
  co_await Turns();
  a.Cancel();
  latch.CountDown();
  b.Cancel();
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  EXPECT_TRUE(b.Cancelled());
  co_await latch.Wait();
}

FIFO_TEST(LatchTest, DestroyedLatchWakesThoseWhoWait) {
  auto latch = std::make_unique<Latch>(1);
  std::vector<int> order;
  Task<void> a = CreateTask(Note(*latch, order, 1));
  co_await Turns();
  latch.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "Latch was destroyed while 1 task waited for it");
}

FIFO_TEST(LatchTest, DestroyedAfterZeroLetsTheWokenGoOn) {
  auto latch = std::make_unique<Latch>(1);
  std::vector<int> order;
  Task<void> a = CreateTask(Note(*latch, order, 1));
  co_await Turns();
  latch->CountDown();
  latch.reset();
  co_await a;
  EXPECT_EQ(order, (std::vector<int>{1}));
}

TEST(LatchTest, SecondLoopNamesTheRule) {
  Latch latch(1);
  EXPECT_EQ(TextOnSecondLoop([&] { return latch.Wait(); }).substr(0, 11),
            "Latch::Wait");
}

FIFO_TEST(LatchTest, DumpSaysWhatItWaitsFor) {
  Latch latch(2);
  std::vector<int> order;
  Task<void> waiter = CreateTask(Note(latch, order, 1));
  co_await Turns();
  EXPECT_EQ(WaitOf(waiter), "Latch, 2 to go");
  latch.CountDown(2);
  co_await waiter;
}

}  // namespace
}  // namespace coil
