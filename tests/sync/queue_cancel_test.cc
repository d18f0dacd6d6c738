// What cancellation does to Queue: nothing is lost, nothing is taken, nobody is
// forgotten.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/sync/queue.h"
#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::HowEnded;
using sync_testing::RunVirtually;
using sync_testing::Turns;

TEST(QueueCancelTest, CancelledGetLeavesTheLine) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    Task<int> b = CreateTask(queue.Get());
    Task<int> c = CreateTask(queue.Get());
    co_await Turns();
    b.Cancel("why");
    co_await Turns();
    EXPECT_EQ(HowEnded(b), "cancelled: why");
    queue.PutNoWait(1);
    queue.PutNoWait(2);
    EXPECT_EQ(co_await a, 1);
    EXPECT_EQ(co_await c, 2);
  });
}

TEST(QueueCancelTest, CancelAfterTheItemWasPromisedPassesItOn) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    Task<int> b = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    a.Cancel();
    EXPECT_EQ(co_await b, 1);
    EXPECT_TRUE(a.Cancelled());
  });
}

TEST(QueueCancelTest, CancelOfTheOnlyGetterLeavesTheItemInTheQueue) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(queue.Size(), 1);
    EXPECT_EQ(queue.GetNoWait(), 1);
  });
}

TEST(QueueCancelTest, CancelBeforeThePutInTheSameTurn) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    Task<int> b = CreateTask(queue.Get());
    co_await Turns();
    a.Cancel();
    queue.PutNoWait(1);
    EXPECT_EQ(co_await b, 1);
    EXPECT_TRUE(a.Cancelled());
  });
}

TEST(QueueCancelTest, ItemsThatAreGivenBackKeepTheirOrder) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(queue.Get()));
    co_await Turns();
    for (int i = 1; i <= 4; ++i) queue.PutNoWait(i);
    for (auto& task : tasks) task.Cancel();
    co_await Turns();
    EXPECT_EQ(queue.Size(), 4);
    for (int i = 1; i <= 4; ++i) EXPECT_EQ(queue.GetNoWait(), i);
  });
}

TEST(QueueCancelTest, GetUnderATimeoutLosesNothing) {
  // asyncio#343: the item went to a getter whose wait had just ended.
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    std::vector<int> got;
    Task<int> slow = CreateTask(queue.Get());
    EventLoop::Current().CallLater(absl::Seconds(1), [&] { slow.Cancel(); });
    EventLoop::Current().CallLater(absl::Seconds(1), [&] {
      for (int i = 0; i < 3; ++i) queue.PutNoWait(i);
    });
    EventLoop::Current().CallLater(absl::Seconds(2), [&] { queue.Shutdown(); });
    while (auto item = co_await queue.Next()) got.push_back(*item);
    EXPECT_TRUE(slow.Cancelled());
    EXPECT_EQ(got, (std::vector<int>{0, 1, 2}));
  });
}

TEST(QueueCancelTest, CancelledNextTakesNothing) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<std::optional<int>> a = CreateTask(queue.Next());
    co_await Turns();
    queue.PutNoWait(1);
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(queue.Size(), 1);
  });
}

TEST(QueueCancelTest, CancelledPutLeavesItsArgumentAlone) {
  RunVirtually([]() -> Co<void> {
    Queue<std::unique_ptr<int>> queue(1);
    queue.PutNoWait(std::make_unique<int>(0));
    auto item = std::make_unique<int>(7);
    bool cancelled = false;
    Task<void> putter = CreateTask([&]() -> Co<void> {
      try {
        co_await queue.Put(std::move(item));
      } catch (const CancelledError&) {
        cancelled = true;
      }
    });
    co_await Turns();
    EXPECT_NE(item, nullptr);
    putter.Cancel();
    co_await putter;
    EXPECT_TRUE(cancelled);
    EXPECT_NE(item, nullptr);
    EXPECT_EQ(*item, 7);
    EXPECT_EQ(queue.Size(), 1);
  });
}

TEST(QueueCancelTest, CancelAfterTheRoomWasPromisedLeavesTheArgumentAlone) {
  RunVirtually([]() -> Co<void> {
    Queue<std::string> queue(1);
    queue.PutNoWait("first");
    std::string item = "an item that is too long for the small buffer";
    Task<void> putter =
        CreateTask([&]() -> Co<void> { co_await queue.Put(std::move(item)); });
    co_await Turns();
    EXPECT_EQ(queue.GetNoWait(), "first");
    putter.Cancel();
    co_await Turns();
    EXPECT_TRUE(putter.Cancelled());
    EXPECT_EQ(item, "an item that is too long for the small buffer");
    EXPECT_TRUE(queue.Empty());
    EXPECT_FALSE(queue.Full());  // the room was given back
  });
}

TEST(QueueCancelTest, CancelledPutOfATemporary) {
  RunVirtually([]() -> Co<void> {
    Queue<std::string> queue(1);
    queue.PutNoWait("first");
    Task<void> putter = CreateTask([&]() -> Co<void> {
      co_await queue.Put(std::string("a temporary that has been allocated"));
    });
    co_await Turns();
    putter.Cancel();
    co_await Turns();
    EXPECT_TRUE(putter.Cancelled());
    EXPECT_EQ(queue.Size(), 1);
  });
}

TEST(QueueCancelTest, TemporaryIsDestroyedOnceWhateverHappens) {
  auto counted = std::make_shared<int>(1);
  RunVirtually([&]() -> Co<void> {
    Queue<std::shared_ptr<int>> queue(1);
    co_await queue.Put(std::shared_ptr<int>(counted));
    EXPECT_EQ(counted.use_count(), 2);
    Task<void> cancelled = CreateTask([&]() -> Co<void> {
      co_await queue.Put(std::shared_ptr<int>(counted));
    });
    co_await Turns();
    EXPECT_EQ(counted.use_count(), 3);
    cancelled.Cancel();
    co_await Turns();
    EXPECT_EQ(counted.use_count(), 2);
    Task<void> accepted = CreateTask([&]() -> Co<void> {
      co_await queue.Put(std::shared_ptr<int>(counted));
      EXPECT_EQ(counted.use_count(), 2);
    });
    co_await Turns();
    queue.GetNoWait();
    co_await accepted;
    queue.GetNoWait();
    EXPECT_EQ(counted.use_count(), 1);
  });
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(QueueCancelTest, LvalueIsCopiedOnceAndTheCopyDestroyed) {
  auto counted = std::make_shared<int>(1);
  RunVirtually([&]() -> Co<void> {
    Queue<std::shared_ptr<int>> queue(1);
    co_await queue.Put(counted);
    EXPECT_EQ(counted.use_count(), 2);
    Task<void> cancelled =
        CreateTask([&]() -> Co<void> { co_await queue.Put(counted); });
    co_await Turns();
    EXPECT_EQ(counted.use_count(), 3);
    cancelled.Cancel();
    co_await Turns();
    EXPECT_EQ(counted.use_count(), 2);
  });
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(QueueCancelTest, CancelledPutThatOwnsItsItemDestroysIt) {
  RunVirtually([]() -> Co<void> {
    Queue<std::shared_ptr<int>> queue(1);
    queue.PutNoWait(nullptr);
    auto counted = std::make_shared<int>(1);
    auto copy = counted;
    Task<void> putter = CreateTask(queue.Put(std::move(copy)));
    co_await Turns();
    EXPECT_EQ(counted.use_count(), 2);
    putter.Cancel();
    co_await Turns();
    EXPECT_TRUE(putter.Cancelled());
    EXPECT_EQ(counted.use_count(), 1);
  });
}

TEST(QueueCancelTest, RefusedPutLeavesItsArgumentAlone) {
  RunVirtually([]() -> Co<void> {
    Queue<std::unique_ptr<int>> queue(1);
    queue.PutNoWait(nullptr);
    auto item = std::make_unique<int>(7);
    Task<void> putter =
        CreateTask([&]() -> Co<void> { co_await queue.Put(std::move(item)); });
    co_await Turns();
    queue.Shutdown();
    co_await Turns();
    EXPECT_EQ(HowEnded(putter), "Queue::Put: the queue was shut down");
    EXPECT_NE(item, nullptr);
  });
}

TEST(QueueCancelTest, CancelAfterTheRoomWasPromisedPassesItOn) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    queue.PutNoWait(0);
    Task<void> a = CreateTask(queue.Put(1));
    Task<void> b = CreateTask(queue.Put(2));
    co_await Turns();
    queue.GetNoWait();
    a.Cancel();
    co_await b;
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(queue.GetNoWait(), 2);
  });
}

TEST(QueueCancelTest, CancelBeforeTheGetInTheSameTurn) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    queue.PutNoWait(0);
    Task<void> a = CreateTask(queue.Put(1));
    Task<void> b = CreateTask(queue.Put(2));
    co_await Turns();
    a.Cancel();
    queue.GetNoWait();
    co_await b;
    EXPECT_EQ(queue.GetNoWait(), 2);
    EXPECT_FALSE(queue.Full());
  });
}

TEST(QueueCancelTest, CancelledJoinIsRemoved) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    queue.PutNoWait(1);
    Task<void> a = CreateTask(queue.Join());
    Task<void> b = CreateTask(queue.Join());
    co_await Turns();
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    queue.TaskDone();
    co_await b;
  });
}

TEST(QueueCancelTest, ItemGivenBackAfterAShutdownGoesToAGetterThatWaits) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    Task<int> b = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    queue.Shutdown();
    a.Cancel();
    // `b` was not sent away, since an item may still come back to it.
    EXPECT_EQ(co_await b, 1);
    EXPECT_TRUE(a.Cancelled());
  });
}

TEST(QueueCancelTest, NewcomerAfterAShutdownWaitsForAPromisedItem) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    queue.Shutdown();
    a.Cancel();
    EXPECT_THROW(queue.GetNoWait(), QueueEmpty);
    std::optional<int> item = co_await queue.Next();
    EXPECT_EQ(item, 1);
    item = co_await queue.Next();
    EXPECT_EQ(item, std::nullopt);
  });
}

TEST(QueueCancelTest, CancelAndImmediateShutdown) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    Task<int> a = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    queue.Shutdown(/*immediate=*/true);
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(queue.Size(), 0);
    EXPECT_THROW(queue.GetNoWait(), QueueShutDown);
  });
}

TEST(QueueCancelTest, CancelAndDestruction) {
  RunVirtually([]() -> Co<void> {
    auto queue = std::make_unique<Queue<int>>(1);
    Task<int> promised = CreateTask(queue->Get());
    Task<int> waits = CreateTask(queue->Get());
    co_await Turns();
    queue->PutNoWait(1);
    promised.Cancel();
    waits.Cancel();
    queue.reset();
    co_await Turns();
    EXPECT_TRUE(promised.Cancelled());
    EXPECT_TRUE(waits.Cancelled());
  });
}

TEST(QueueCancelTest, PriorityItemThatIsGivenBackKeepsItsPlace) {
  RunVirtually([]() -> Co<void> {
    PriorityQueue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(2);
    queue.PutNoWait(1);
    queue.PutNoWait(3);
    a.Cancel();
    co_await Turns();
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(queue.GetNoWait(), i);
  });
}

TEST(QueueCancelTest, LifoItemThatIsGivenBackKeepsItsPlace) {
  RunVirtually([]() -> Co<void> {
    LifoQueue<int> queue;
    Task<int> a = CreateTask(queue.Get());
    co_await Turns();
    for (int i = 1; i <= 3; ++i) queue.PutNoWait(i);
    a.Cancel();
    co_await Turns();
    for (int i = 3; i >= 1; --i) EXPECT_EQ(queue.GetNoWait(), i);
  });
}

}  // namespace
}  // namespace coil
