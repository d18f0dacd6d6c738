// Broadcast: every subscriber sees every value, lag, closing, cancellation,
// misuse, lifetime.

#include "coil/sync/broadcast.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
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

Co<void> CollectAll(Broadcast<int>::Subscriber subscriber,
                    std::vector<int>& seen) {
  while (auto value = co_await subscriber.Next()) seen.push_back(*value);
}

TEST(BroadcastTest, CapacityBelowOneNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Broadcast<int> news(0); }),
            "Broadcast: the capacity is 0; it is at least 1");
}

TEST(BroadcastTest, EverySubscriberSeesEveryValue) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(4);
    std::vector<std::vector<int>> seen(3);
    std::vector<Task<void>> tasks;
    for (auto& s : seen) {
      tasks.push_back(CreateTask(CollectAll(news.Subscribe(), s)));
    }
    EXPECT_EQ(news.Subscribers(), 3);
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(news.Send(i), 3);
      co_await Turns();
    }
    news.Close();
    for (auto& task : tasks) co_await task;
    for (auto& s : seen) {
      EXPECT_EQ(s, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    }
    EXPECT_EQ(news.Subscribers(), 0);
  });
}

TEST(BroadcastTest, SubscriberSeesWhatIsSentFromItsSubscriptionOn) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(4);
    Broadcast<int>::Subscriber early = news.Subscribe();
    news.Send(1);
    Broadcast<int>::Subscriber late = news.Subscribe();
    news.Send(2);
    EXPECT_EQ(co_await late.Receive(), 2);
    EXPECT_EQ(co_await early.Receive(), 1);
    EXPECT_EQ(co_await early.Receive(), 2);
    EXPECT_EQ(early.Size(), 0);
  });
}

TEST(BroadcastTest, SendWithoutSubscribersDropsTheValue) {
  Broadcast<int> news(1);
  EXPECT_EQ(news.Send(1), 0);
  Broadcast<int>::Subscriber s = news.Subscribe();
  EXPECT_EQ(s.Size(), 0);
  EXPECT_EQ(s.TryReceive(), std::nullopt);
}

TEST(BroadcastTest, ReceiveDoesNotSuspendIfThereIsAValue) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    news.Send(1);
    const uint64_t before = EventLoop::Current().Iterations();
    EXPECT_EQ(co_await s.Receive(), 1);
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  });
}

TEST(BroadcastTest, SendWakesInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(CreateTask([&, i]() -> Co<void> {
        Broadcast<int>::Subscriber s = news.Subscribe();
        co_await s.Receive();
        order.push_back(i);
      }));
    }
    co_await Turns();
    news.Send(1);
    EXPECT_TRUE(order.empty());
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  });
}

// ---- lag
// ---------------------------------------------------------------------

TEST(BroadcastTest, SlowSubscriberIsToldHowManyItHasLost) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    for (int i = 1; i <= 5; ++i) news.Send(i);
    EXPECT_EQ(s.Size(), 5);
    int64_t skipped = 0;
    std::string text;
    try {
      co_await s.Receive();
    } catch (const BroadcastLagged& e) {
      skipped = e.Skipped();
      text = e.what();
    }
    EXPECT_EQ(skipped, 3);
    EXPECT_EQ(text,
              "Broadcast::Receive: this subscriber was too slow and has lost 3 "
              "values");
    EXPECT_EQ(co_await s.Receive(), 4);  // the oldest that is kept
    EXPECT_EQ(co_await s.Receive(), 5);
  });
}

TEST(BroadcastTest, SubscriberThatKeepsUpWithinTheCapacityLosesNothing) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(3);
    Broadcast<int>::Subscriber s = news.Subscribe();
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 3; ++i) news.Send(round * 3 + i);
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(co_await s.Receive(), round * 3 + i);
      }
    }
  });
}

TEST(BroadcastTest, OneSlowSubscriberDoesNotHarmTheOthers) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(1);
    Broadcast<int>::Subscriber slow = news.Subscribe();
    Broadcast<int>::Subscriber fast = news.Subscribe();
    for (int i = 0; i < 4; ++i) {
      news.Send(i);
      EXPECT_EQ(co_await fast.Receive(), i);
    }
    EXPECT_EQ(co_await AwaitTextOf<BroadcastLagged>(slow.Receive()),
              "Broadcast::Receive: this subscriber was too slow and has lost 3 "
              "values");
    EXPECT_EQ(slow.TryReceive(), 3);
  });
}

TEST(BroadcastTest, LagBetweenTheWakeAndTheResume) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(1);
    Broadcast<int>::Subscriber s = news.Subscribe();
    Task<int> waits = CreateTask(s.Receive());
    co_await Turns();
    news.Send(1);
    news.Send(2);
    co_await Turns();
    EXPECT_EQ(HowEnded(waits),
              "Broadcast::Receive: this subscriber was too slow and has lost 1 "
              "value");
    EXPECT_EQ(s.TryReceive(), 2);
  });
}

TEST(BroadcastTest, TryReceiveTellsOfALagToo) {
  Broadcast<int> news(1);
  Broadcast<int>::Subscriber s = news.Subscribe();
  news.Send(1);
  news.Send(2);
  EXPECT_THROW(static_cast<void>(s.TryReceive()), BroadcastLagged);
  EXPECT_EQ(s.TryReceive(), 2);
  EXPECT_EQ(s.TryReceive(), std::nullopt);
}

// ---- values
// ------------------------------------------------------------------

TEST(BroadcastTest, ValueIsDroppedOnceAllHaveSeenIt) {
  auto counted = std::make_shared<int>(1);
  Broadcast<std::shared_ptr<int>> news(4);
  auto a = news.Subscribe();
  auto b = news.Subscribe();
  news.Send(counted);
  EXPECT_EQ(counted.use_count(), 2);
  EXPECT_EQ(**a.TryReceive(), 1);
  EXPECT_EQ(counted.use_count(), 2);
  EXPECT_EQ(**b.TryReceive(), 1);
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(BroadcastTest, ValueIsDroppedWhenTheLastWhoMissesItLeaves) {
  auto counted = std::make_shared<int>(1);
  Broadcast<std::shared_ptr<int>> news(4);
  auto a = news.Subscribe();
  {
    auto b = news.Subscribe();
    news.Send(counted);
    news.Send(counted);
    static_cast<void>(a.TryReceive());
    static_cast<void>(a.TryReceive());
    EXPECT_EQ(counted.use_count(), 3);
  }
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(news.Subscribers(), 1);
}

TEST(BroadcastTest, ValueThatIsPushedOutIsDropped) {
  auto first = std::make_shared<int>(1);
  Broadcast<std::shared_ptr<int>> news(1);
  auto a = news.Subscribe();
  news.Send(first);
  news.Send(nullptr);
  EXPECT_EQ(first.use_count(), 1);
}

TEST(BroadcastTest, LastToSeeAValueGetsItByMove) {
  struct Counted {
    Counted() = default;
    Counted(const Counted& o) : copies(o.copies + 1) {}
    Counted(Counted&& o) noexcept : copies(o.copies) {}
    int copies = 0;
  };
  Broadcast<Counted> news(1);
  auto a = news.Subscribe();
  auto b = news.Subscribe();
  news.Send(Counted());
  EXPECT_EQ(a.TryReceive()->copies, 1);
  EXPECT_EQ(b.TryReceive()->copies, 0);
}

// ---- closing
// -------------------------------------------------------------------

TEST(BroadcastTest, ClosedBroadcastGivesWhatIsKept) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    news.Send(1);
    news.Close();
    news.Close();
    EXPECT_TRUE(news.Closed());
    EXPECT_EQ(TextOf<BroadcastClosed>([&] { news.Send(2); }),
              "Broadcast::Send: the broadcast is closed");
    EXPECT_EQ(co_await s.Receive(), 1);
    EXPECT_EQ(co_await AwaitTextOf<BroadcastClosed>(s.Receive()),
              "Broadcast::Receive: the broadcast is closed");
    EXPECT_FALSE((co_await s.Next()).has_value());
    EXPECT_EQ(s.TryReceive(), std::nullopt);
  });
}

TEST(BroadcastTest, CloseWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber a = news.Subscribe();
    Broadcast<int>::Subscriber b = news.Subscribe();
    Task<int> receive = CreateTask(a.Receive());
    Task<std::optional<int>> next = CreateTask(b.Next());
    co_await Turns();
    news.Close();
    co_await Turns();
    EXPECT_EQ(HowEnded(receive), "Broadcast::Receive: the broadcast is closed");
    EXPECT_EQ(next.Result(), std::nullopt);
  });
}

// ---- cancellation ----------------------------------------------------------

TEST(BroadcastTest, CancelledReceiveConsumesNothing) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    Task<int> waits = CreateTask(s.Receive());
    co_await Turns();
    waits.Cancel("why");
    co_await Turns();
    EXPECT_EQ(HowEnded(waits), "cancelled: why");
    news.Send(1);
    EXPECT_EQ(co_await s.Receive(), 1);
  });
}

TEST(BroadcastTest, CancelAndSendInBothOrdersWithinOneTurn) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    Task<int> a = CreateTask(s.Receive());
    co_await Turns();
    news.Send(1);
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(s.TryReceive(), 1);
    Task<int> b = CreateTask(s.Receive());
    co_await Turns();
    b.Cancel();
    news.Send(2);
    co_await Turns();
    EXPECT_TRUE(b.Cancelled());
    EXPECT_EQ(s.TryReceive(), 2);
  });
}

// ---- misuse and lifetime
// -----------------------------------------------------

TEST(BroadcastTest, TwoTasksAtOneSubscriberNameTheRule) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    Task<int> waits = CreateTask(s.Receive());
    co_await Turns();
    const char* const text =
        "Broadcast::Receive: another task waits at this subscriber; each task "
        "needs a subscription of its own";
    EXPECT_EQ(co_await AwaitTextOf<std::runtime_error>(s.Receive()), text);
    EXPECT_EQ(
        TextOf<std::runtime_error>([&] { static_cast<void>(s.TryReceive()); }),
        text);
    news.Send(1);
    EXPECT_EQ(co_await waits, 1);
    news.Send(2);
    EXPECT_EQ(co_await s.Receive(), 2);  // now it is free again
  });
}

TEST(BroadcastTest, SubscriberMoves) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber a = news.Subscribe();
    news.Send(1);
    Broadcast<int>::Subscriber b = std::move(a);
    EXPECT_EQ(news.Subscribers(), 1);
    EXPECT_EQ(co_await b.Receive(), 1);
    EXPECT_EQ(co_await AwaitTextOf<std::runtime_error>(
                  a.Receive()),  // NOLINT(bugprone-use-after-move)
              "Broadcast::Receive: the subscriber has no broadcast (it was "
              "moved from, or the broadcast was destroyed)");
    Broadcast<int>::Subscriber c = news.Subscribe();
    c = std::move(b);
    EXPECT_EQ(news.Subscribers(), 1);
  });
}

FIFO_TEST(BroadcastTest, SubscriberThatMovesKnowsHowFarItWas) {
  Broadcast<int> news(4);
  Broadcast<int>::Subscriber other = news.Subscribe();
  Broadcast<int>::Subscriber a = news.Subscribe();
  for (int value : {1, 2, 3}) news.Send(value);
  EXPECT_EQ(co_await a.Receive(), 1);
  Broadcast<int>::Subscriber b = std::move(a);
  EXPECT_EQ(b.Size(), 2);
  EXPECT_EQ(co_await b.Receive(), 2);
  other = std::move(b);
  EXPECT_EQ(other.Size(), 1);
  EXPECT_EQ(co_await other.Receive(), 3);
}

TEST(BroadcastTest, SubscriberMovesWhileATaskWaits) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    auto a = std::make_unique<Broadcast<int>::Subscriber>(news.Subscribe());
    Task<int> waits = CreateTask(a->Receive());
    co_await Turns();
    Broadcast<int>::Subscriber b = std::move(*a);
    a.reset();
    news.Send(1);
    EXPECT_EQ(co_await waits, 1);
    EXPECT_EQ(b.Size(), 0);
  });
}

TEST(BroadcastTest, DestroyedSubscriberWakesItsTask) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    auto waiting =
        std::make_unique<Broadcast<int>::Subscriber>(news.Subscribe());
    auto woken = std::make_unique<Broadcast<int>::Subscriber>(news.Subscribe());
    Task<int> a = CreateTask(waiting->Receive());
    Task<int> b = CreateTask(woken->Receive());
    co_await Turns();
    waiting.reset();
    news.Send(1);
    woken.reset();
    co_await Turns();
    const char* const text =
        "Broadcast::Subscriber was destroyed while 1 task waited for it";
    EXPECT_EQ(HowEnded(a), text);
    EXPECT_EQ(HowEnded(b), text);
    EXPECT_EQ(news.Subscribers(), 0);
  });
}

FIFO_TEST(BroadcastTest, TaskOfADestroyedSubscriberHasLeftTheLine) {
  auto news = std::make_unique<Broadcast<int>>(2);
  Broadcast<int>::Subscriber kept = news->Subscribe();
  auto dies = std::make_unique<Broadcast<int>::Subscriber>(news->Subscribe());
  Task<int> a = CreateTask(dies->Receive());
  Task<int> b = CreateTask(kept.Receive());
  co_await Turns();
  dies.reset();
  news.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a),
            "Broadcast::Subscriber was destroyed while 1 task waited for it");
  EXPECT_EQ(HowEnded(b), "Broadcast was destroyed while 1 task waited for it");
}

TEST(BroadcastTest, DestroyedBroadcastWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto news = std::make_unique<Broadcast<int>>(2);
    Broadcast<int>::Subscriber a = news->Subscribe();
    Broadcast<int>::Subscriber b = news->Subscribe();
    Broadcast<int>::Subscriber c = news->Subscribe();
    Task<int> wa = CreateTask(a.Receive());
    Task<std::optional<int>> wb = CreateTask(b.Next());
    Task<int> wc = CreateTask(c.Receive());
    co_await Turns();
    wc.Cancel();
    news.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(wa),
              "Broadcast was destroyed while 2 tasks waited for it");
    EXPECT_EQ(HowEnded(wb),
              "Broadcast was destroyed while 2 tasks waited for it");
    EXPECT_TRUE(wc.Cancelled());
    EXPECT_EQ(a.Size(), 0);
    EXPECT_THROW(static_cast<void>(a.TryReceive()), std::runtime_error);
  });
}

TEST(BroadcastTest, DestroyedBetweenTheWakeAndTheResume) {
  RunVirtually([]() -> Co<void> {
    auto news = std::make_unique<Broadcast<int>>(2);
    Broadcast<int>::Subscriber a = news->Subscribe();
    Task<int> waits = CreateTask(a.Receive());
    co_await Turns();
    news->Send(1);
    news.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(waits),
              "Broadcast::Receive: the subscriber has no broadcast (it was "
              "moved from, or the broadcast was destroyed)");
  });
}

TEST(BroadcastTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Broadcast<int> news(2);
  Broadcast<int>::Subscriber s = news.Subscribe();
  loops.RunOnFirst([&]() -> Co<void> {
    Task<int> waits = CreateTask(s.Receive());
    co_await Turns();
    waits.Cancel();
    co_await Turns();
  });
  loops.RunOnSecond([&]() -> Co<void> {
    const std::string text =
        co_await AwaitTextOf<std::runtime_error>(s.Receive());
    EXPECT_EQ(text.substr(0, 19), "Broadcast::Receive:");
    EXPECT_NE(text.find("another event loop"), std::string::npos);
    news.Send(1);
    EXPECT_EQ(co_await s.Receive(), 1);
  });
}

TEST(BroadcastTest, DumpSaysWhatItWaitsFor) {
  RunVirtually([]() -> Co<void> {
    Broadcast<int> news(2);
    Broadcast<int>::Subscriber s = news.Subscribe();
    Task<int> waits = CreateTask(s.Receive());
    co_await Turns();
    EXPECT_EQ(WaitOf(waits), "Broadcast, nothing new");
    news.Send(1);
    co_await waits;
  });
}

}  // namespace
}  // namespace coil
