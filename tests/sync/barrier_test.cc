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

using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::RunVirtually;
using sync_testing::TextOf;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::WaitOf;

constexpr const char* kBrokenText =
    "Barrier::Wait: the barrier was reset or is broken (Abort())";

Co<int> Arrive(Barrier& barrier) { co_return co_await barrier.Wait(); }

Co<void> Note(Barrier& barrier, std::vector<int>& order, int id) {
  co_await barrier.Wait();
  order.push_back(id);
}

TEST(BarrierTest, FewerThanOnePartyNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Barrier barrier(0); }),
            "Barrier: the number of parties is 0; it is at least 1");
  EXPECT_THROW(Barrier(-1), std::invalid_argument);
}

TEST(BarrierTest, OnePartyNeverWaits) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(1);
    const uint64_t before = EventLoop::Current().Iterations();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await barrier.Wait(), 0);
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  });
}

TEST(BarrierTest, TheLastToArriveDoesNotSuspend) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(2);
    Task<int> other = CreateTask(Arrive(barrier));
    co_await Turns();
    const uint64_t before = EventLoop::Current().Iterations();
    EXPECT_EQ(co_await barrier.Wait(), 1);
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
    EXPECT_EQ(co_await other, 0);
  });
}

TEST(BarrierTest, PlacesAreInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(4);
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(CreateTask(Arrive(barrier)));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(co_await tasks[i], i);
  });
}

TEST(BarrierTest, TheWaitingResumeInOrder) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(4);
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(CreateTask(Note(barrier, order, i)));
    }
    co_await Turns(2);
    EXPECT_TRUE(order.empty());
    EXPECT_EQ(barrier.NWaiting(), 3);
    co_await barrier.Wait();
    EXPECT_TRUE(order.empty());
    co_await Turns();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  });
}

TEST(BarrierTest, ServesRoundAfterRound) {
  RunVirtually([]() -> Co<void> {
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
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(player(i)));
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(rounds, (std::vector<int>{20, 20, 20}));
  });
}

TEST(BarrierTest, CountsItsParties) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, NewcomersWaitWhileTheRoundDrains) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, NewcomersCountForTheNextRoundOnceDrained) {
  RunVirtually([]() -> Co<void> {
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
  });
}

// ---- cancellation ----------------------------------------------------------

TEST(BarrierTest, CancelledWhileFillingHasNotArrived) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, CancelledAfterTheRoundIsCompleteHasArrived) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, CancelBeforeTheLastArrivesInTheSameTurn) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, CancelOfADrainingTaskLetsTheNewcomersIn) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, CancelledNewcomerIsRemoved) {
  RunVirtually([]() -> Co<void> {
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
  });
}

// ---- Reset and Abort
// -----------------------------------------------------------

TEST(BarrierTest, ResetBreaksThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, ResetOfAnEmptyBarrierDoesNothing) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(2);
    barrier.Reset();
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    EXPECT_EQ(co_await barrier.Wait(), 1);
    EXPECT_EQ(co_await a, 0);
  });
}

TEST(BarrierTest, ResetBreaksThoseWhoWereReleasedAndHaveNotResumed) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(2);
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    co_await barrier.Wait();
    barrier.Reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(a), kBrokenText);
  });
}

TEST(BarrierTest, ResetWhileDrainingLeavesTheNewcomers) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, NewcomersWaitWhileTheResetDrains) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, AbortBreaksPresentAndFutureWaits) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, AbortBreaksTheDrainingAndTheNewcomers) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(2);
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    co_await barrier.Wait();
    Task<int> b = CreateTask(Arrive(barrier), {.eager_start = true});
    barrier.Abort();
    co_await Turns();
    EXPECT_EQ(HowEnded(a), kBrokenText);
    EXPECT_EQ(HowEnded(b), kBrokenText);
  });
}

TEST(BarrierTest, ResetMendsAnAbortedBarrier) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(2);
    barrier.Abort();
    barrier.Reset();
    EXPECT_FALSE(barrier.Broken());
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    co_await barrier.Wait();
    EXPECT_EQ(co_await a, 0);
  });
}

TEST(BarrierTest, BrokenAndCancelledIsCancelled) {
  RunVirtually([]() -> Co<void> {
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
  });
}

// ---- lifetime and misuse
// -----------------------------------------------------

TEST(BarrierTest, DestroyedBarrierWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto barrier = std::make_unique<Barrier>(3);
    Task<int> a = CreateTask(Arrive(*barrier));
    Task<int> b = CreateTask(Arrive(*barrier));
    co_await Turns();
    barrier.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(a), "Barrier was destroyed while 2 tasks waited for it");
    EXPECT_EQ(HowEnded(b), "Barrier was destroyed while 2 tasks waited for it");
  });
}

TEST(BarrierTest, DestroyedAfterACompleteRoundLetsItGoOn) {
  RunVirtually([]() -> Co<void> {
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
  });
}

TEST(BarrierTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Barrier barrier(2);
  loops.RunOnFirst([&]() -> Co<void> {
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    a.Cancel();
    co_await Turns();
  });
  loops.RunOnSecond([&]() -> Co<void> {
    const std::string text =
        co_await AwaitTextOf<std::runtime_error>(barrier.Wait());
    EXPECT_EQ(text.substr(0, 14), "Barrier::Wait:");
    EXPECT_EQ(barrier.NWaiting(), 0);
  });
}

TEST(BarrierTest, DumpSaysWhatItWaitsFor) {
  RunVirtually([]() -> Co<void> {
    Barrier barrier(3);
    Task<int> a = CreateTask(Arrive(barrier));
    co_await Turns();
    EXPECT_EQ(WaitOf(a), "Barrier, 1 of 3 have arrived");
    a.Cancel();
    co_await Turns();
  });
}

}  // namespace
}  // namespace coil
