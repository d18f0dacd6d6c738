// Barrier: rounds, places, Reset and Abort, cancellation, misuse, lifetime.

#include "coil/sync/barrier.h"

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitAll;
using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::Note;
using sync_testing::StartEach;
using sync_testing::TextOf;
using sync_testing::TextOnSecondLoop;
using sync_testing::Turns;
using sync_testing::WaitOf;

constexpr const char* kBrokenText =
    "Barrier::Wait: the barrier was reset or is broken (Abort())";

Co<int> Arrive(Barrier& barrier) { co_return co_await barrier.Wait(); }

TEST(BarrierTest, FewerThanOnePartyNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Barrier barrier(0); }),
            "Barrier: the number of parties is 0; it is at least 1");
  EXPECT_THROW(Barrier(-1), std::invalid_argument);
}

FIFO_TEST(BarrierTest, OnePartyNeverWaits) {
  Barrier barrier(1);
  const uint64_t before = EventLoop::Current().Iterations();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await barrier.Wait(), 0);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

FIFO_TEST(BarrierTest, TheLastToArriveDoesNotSuspend) {
  Barrier barrier(2);
  Task<int> other = CreateTask(Arrive(barrier));
  co_await Turns();
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(co_await barrier.Wait(), 1);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
  EXPECT_EQ(co_await other, 0);
}

FIFO_TEST(BarrierTest, PlacesAreInOrderOfArrival) {
  Barrier barrier(4);
  auto tasks = StartEach(4, [&](int) { return Arrive(barrier); });
  for (int i = 0; i < 4; ++i) EXPECT_EQ(co_await tasks[i], i);
}

FIFO_TEST(BarrierTest, TheWaitingResumeInOrder) {
  Barrier barrier(4);
  std::vector<int> order;
  auto tasks = StartEach(3, [&](int i) { return Note(barrier, order, i); });
  co_await Turns(2);
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(barrier.NWaiting(), 3);
  co_await barrier.Wait();
  EXPECT_TRUE(order.empty());
  co_await Turns();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

FIFO_TEST(BarrierTest, ServesRoundAfterRound) {
  Barrier barrier(3);
  std::vector<int> rounds(3, 0);
  auto player = [&](int id) -> Co<void> {
    for (int i = 0; i < 20; ++i) {
      // Nobody is ahead by more than one round.
      for (int other : rounds) EXPECT_LE(std::abs(other - rounds[id]), 1);
      co_await barrier.Wait();
      ++rounds[id];
      if (i % (id + 2) == 0) co_await Turns(id);
    }
  };
  auto tasks = StartEach(3, player);
  co_await AwaitAll(tasks);
  EXPECT_EQ(rounds, (std::vector<int>{20, 20, 20}));
}

FIFO_TEST(BarrierTest, CountsItsParties) {
  Barrier barrier(3);
  EXPECT_EQ(barrier.Parties(), 3);
  EXPECT_EQ(barrier.NWaiting(), 0);
  EXPECT_FALSE(barrier.Broken());
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(barrier.NWaiting(), 1);
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(barrier.NWaiting(), 2);
  co_await barrier.Wait();
  EXPECT_EQ(barrier.NWaiting(), 0);  // draining
  co_await Turns();
  EXPECT_EQ(barrier.NWaiting(), 0);
}

FIFO_TEST(BarrierTest, NewcomersWaitWhileTheRoundDrains) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  // `a` has not resumed: two newcomers are no round yet.
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  Task<int> c = CreateTask(Arrive(barrier), {.eager_start = true});
  EXPECT_FALSE(b.Done());
  EXPECT_FALSE(c.Done());
  EXPECT_EQ(barrier.NWaiting(), 0);
  co_await Turns();
  EXPECT_TRUE(a.Done());
  EXPECT_FALSE(b.Done());
  EXPECT_EQ(co_await b, 0);
  EXPECT_EQ(co_await c, 1);
}

FIFO_TEST(BarrierTest, NewcomersCountForTheNextRoundOnceDrained) {
  Barrier barrier(3);
  Task<int> a = CreateTask(Arrive(barrier));
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  Task<int> early = CreateTask(Arrive(barrier), {.eager_start = true});
  EXPECT_EQ(barrier.NWaiting(), 0);
  co_await Turns();
  EXPECT_EQ(barrier.NWaiting(), 1);
  Task<int> d = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(co_await barrier.Wait(), 2);
  EXPECT_EQ(co_await early, 0);
  EXPECT_EQ(co_await d, 1);
}

// ---- cancellation ----------------------------------------------------------

FIFO_TEST(BarrierTest, CancelledWhileFillingHasNotArrived) {
  Barrier barrier(3);
  Task<int> a = CreateTask(Arrive(barrier));
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  a.Cancel("why");
  EXPECT_EQ(barrier.NWaiting(), 1);
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "cancelled: why");
  Task<int> c = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_FALSE(b.Done());
  EXPECT_EQ(co_await barrier.Wait(), 2);
  EXPECT_EQ(co_await b, 0);  // moved up
  EXPECT_EQ(co_await c, 1);
  EXPECT_FALSE(barrier.Broken());
}

FIFO_TEST(BarrierTest, CancelledAfterTheRoundIsCompleteHasArrived) {
  Barrier barrier(3);
  Task<int> a = CreateTask(Arrive(barrier));
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  a.Cancel();
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  EXPECT_EQ(HowEnded(b), "ok");
  // It is ready for the next round.
  EXPECT_EQ(barrier.NWaiting(), 0);
  Task<int> c = CreateTask(Arrive(barrier));
  Task<int> d = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  co_await c;
  co_await d;
}

FIFO_TEST(BarrierTest, CancelBeforeTheLastArrivesInTheSameTurn) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  a.Cancel();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  EXPECT_FALSE(b.Done());
  EXPECT_EQ(barrier.NWaiting(), 1);
  EXPECT_EQ(co_await barrier.Wait(), 1);
  EXPECT_EQ(co_await b, 0);
}

FIFO_TEST(BarrierTest, CancelOfADrainingTaskLetsTheNewcomersIn) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  Task<int> c = CreateTask(Arrive(barrier), {.eager_start = true});
  a.Cancel();
  EXPECT_EQ(co_await b, 0);
  EXPECT_EQ(co_await c, 1);
  EXPECT_TRUE(a.Cancelled());
}

FIFO_TEST(BarrierTest, CancelledNewcomerIsRemoved) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  Task<int> c = CreateTask(Arrive(barrier), {.eager_start = true});
  b.Cancel();
  co_await Turns(2);
  EXPECT_TRUE(b.Cancelled());
  EXPECT_FALSE(c.Done());
  EXPECT_EQ(barrier.NWaiting(), 1);
  EXPECT_EQ(co_await barrier.Wait(), 1);
  co_await c;
}

// ---- Reset and Abort
// -----------------------------------------------------------

FIFO_TEST(BarrierTest, ResetBreaksThoseWhoWait) {
  Barrier barrier(3);
  Task<int> a = CreateTask(Arrive(barrier));
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  barrier.Reset();
  EXPECT_EQ(barrier.NWaiting(), 0);
  EXPECT_FALSE(barrier.Broken());
  co_await Turns();
  EXPECT_EQ(HowEnded(a), kBrokenText);
  EXPECT_EQ(HowEnded(b), kBrokenText);
  EXPECT_THROW(std::rethrow_exception(a.Exception()), BrokenBarrierError);
}

FIFO_TEST(BarrierTest, ResetOfAnEmptyBarrierDoesNothing) {
  Barrier barrier(2);
  barrier.Reset();
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(co_await barrier.Wait(), 1);
  EXPECT_EQ(co_await a, 0);
}

FIFO_TEST(BarrierTest, ResetBreaksThoseWhoWereReleasedAndHaveNotResumed) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  barrier.Reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), kBrokenText);
}

FIFO_TEST(BarrierTest, ResetWhileDrainingLeavesTheNewcomers) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  barrier.Reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), kBrokenText);
  EXPECT_FALSE(b.Done());
  EXPECT_EQ(co_await barrier.Wait(), 1);
  EXPECT_EQ(co_await b, 0);
}

FIFO_TEST(BarrierTest, ResetByTheFirstToLeaveSparesTheNextRound) {
  Barrier barrier(3);
  Task<void> first = CreateTask([&]() -> Co<void> {
    co_await barrier.Wait();
    barrier.Reset();
  });
  Task<int> second = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  // The next round is there before the last one has left.
  const TaskOptions eagerly = {.eager_start = true};
  Task<int> a = CreateTask(Arrive(barrier), eagerly);
  Task<int> b = CreateTask(Arrive(barrier), eagerly);
  Task<int> c = CreateTask(Arrive(barrier), eagerly);
  co_await first;
  EXPECT_EQ(co_await a, 0);
  EXPECT_EQ(co_await b, 1);
  EXPECT_EQ(co_await c, 2);
  EXPECT_EQ(HowEnded(second), kBrokenText);
}

FIFO_TEST(BarrierTest, NewcomersWaitWhileTheResetDrains) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  barrier.Reset();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  Task<int> c = CreateTask(Arrive(barrier), {.eager_start = true});
  EXPECT_FALSE(c.Done());
  EXPECT_EQ(barrier.NWaiting(), 0);
  EXPECT_EQ(co_await b, 0);
  EXPECT_EQ(co_await c, 1);
  EXPECT_EQ(HowEnded(a), kBrokenText);
}

FIFO_TEST(BarrierTest, AbortBreaksPresentAndFutureWaits) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  barrier.Abort();
  EXPECT_TRUE(barrier.Broken());
  EXPECT_EQ(barrier.NWaiting(), 0);
  const uint64_t before = EventLoop::Current().Iterations();
  EXPECT_EQ(co_await AwaitTextOf<BrokenBarrierError>(barrier.Wait()),
            kBrokenText);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
  co_await Turns();
  EXPECT_EQ(HowEnded(a), kBrokenText);
}

FIFO_TEST(BarrierTest, AbortBreaksTheDrainingAndTheNewcomers) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
  barrier.Abort();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), kBrokenText);
  EXPECT_EQ(HowEnded(b), kBrokenText);
}

FIFO_TEST(BarrierTest, ResetMendsAnAbortedBarrier) {
  Barrier barrier(2);
  barrier.Abort();
  barrier.Reset();
  EXPECT_FALSE(barrier.Broken());
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  co_await barrier.Wait();
  EXPECT_EQ(co_await a, 0);
}

FIFO_TEST(BarrierTest, BrokenAndCancelledIsCancelled) {
  Barrier barrier(2);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  barrier.Reset();
  a.Cancel();
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  Task<int> b = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(co_await barrier.Wait(), 1);
  co_await b;
}

// ---- lifetime and misuse
// -----------------------------------------------------

FIFO_TEST(BarrierTest, DestroyedBarrierWakesThoseWhoWait) {
  auto barrier = std::make_unique<Barrier>(3);
  Task<int> a = CreateTask(Arrive(*barrier));
  Task<int> b = CreateTask(Arrive(*barrier));
  co_await Turns();
  barrier.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "Barrier was destroyed while 2 tasks waited for it");
  EXPECT_EQ(HowEnded(b), "Barrier was destroyed while 2 tasks waited for it");
}

FIFO_TEST(BarrierTest, DestroyedAfterACompleteRoundLetsItGoOn) {
  auto barrier = std::make_unique<Barrier>(3);
  Task<int> a = CreateTask(Arrive(*barrier));
  Task<int> b = CreateTask(Arrive(*barrier));
  co_await Turns();
  co_await barrier->Wait();
  Task<int> early = CreateTask(Arrive(*barrier), {.eager_start = true});
  b.Cancel();
  barrier.reset();
  co_await Turns();
  EXPECT_EQ(a.Result(), 0);
  EXPECT_TRUE(b.Cancelled());
  EXPECT_EQ(HowEnded(early),
            "Barrier was destroyed while 1 task waited for it");
}

TEST(BarrierTest, SecondLoopNamesTheRule) {
  Barrier barrier(2);
  EXPECT_EQ(TextOnSecondLoop([&] { return barrier.Wait(); }).substr(0, 14),
            "Barrier::Wait:");
  EXPECT_EQ(barrier.NWaiting(), 0);
}

FIFO_TEST(BarrierTest, DumpSaysWhatItWaitsFor) {
  Barrier barrier(3);
  Task<int> a = CreateTask(Arrive(barrier));
  co_await Turns();
  EXPECT_EQ(WaitOf(a), "Barrier, 1 of 3 have arrived");
  a.Cancel();
  co_await Turns();
}

}  // namespace
}  // namespace coil
