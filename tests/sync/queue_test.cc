// Queue, PriorityQueue, LifoQueue: order, bounds, counting, shutdown, misuse,
// lifetime. What cancellation does is in queue_cancel_test.cc.

#include "coil/sync/queue.h"

#include <algorithm>
#include <cstdint>
#include <functional>
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

Co<void> GetOne(Queue<int>& queue, std::vector<int>& got) {
  got.push_back(co_await queue.Get());
}

TEST(QueueTest, NegativeSizeNamesTheRule) {
  const char* const text =
      "Queue: the size is -1; it is at least 1, or 0 for a queue without bound";
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Queue<int> q(-1); }), text);
  EXPECT_EQ(TextOf<std::invalid_argument>([] { LifoQueue<int> q(-1); }), text);
  EXPECT_EQ(TextOf<std::invalid_argument>([] { PriorityQueue<int> q(-1); }),
            text);
}

TEST(QueueTest, GivesItemsInOrder) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    for (int i = 0; i < 100; ++i) co_await queue.Put(i);
    EXPECT_EQ(queue.Size(), 100);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(co_await queue.Get(), i);
    EXPECT_TRUE(queue.Empty());
  });
}

TEST(QueueTest, PutAndGetDoNotSuspendWhereTheyNeedNot) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(3);
    const uint64_t before = EventLoop::Current().Iterations();
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 3; ++i) co_await queue.Put(i);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await queue.Get(), i);
    }
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  });
}

TEST(QueueTest, StateOfABoundedQueue) {
  Queue<int> queue(2);
  EXPECT_EQ(queue.MaxSize(), 2);
  EXPECT_TRUE(queue.Empty());
  EXPECT_FALSE(queue.Full());
  queue.PutNoWait(1);
  EXPECT_EQ(queue.Size(), 1);
  queue.PutNoWait(2);
  EXPECT_TRUE(queue.Full());
  EXPECT_FALSE(queue.Empty());
}

TEST(QueueTest, UnboundedQueueIsNeverFull) {
  Queue<int> queue;
  EXPECT_EQ(queue.MaxSize(), 0);
  for (int i = 0; i < 10000; ++i) queue.PutNoWait(i);
  EXPECT_FALSE(queue.Full());
  EXPECT_EQ(queue.Size(), 10000);
  for (int i = 0; i < 10000; ++i) EXPECT_EQ(queue.GetNoWait(), i);
}

TEST(QueueTest, PutNoWaitOnAFullQueueNamesTheRule) {
  Queue<int> queue(1);
  queue.PutNoWait(1);
  EXPECT_EQ(TextOf<QueueFull>([&] { queue.PutNoWait(2); }),
            "Queue::PutNoWait: the queue is full (1 item)");
}

TEST(QueueTest, GetNoWaitOnAnEmptyQueueNamesTheRule) {
  Queue<int> queue;
  EXPECT_EQ(TextOf<QueueEmpty>([&] { queue.GetNoWait(); }),
            "Queue::GetNoWait: the queue is empty");
}

TEST(QueueTest, TryPutAndTryGet) {
  Queue<int> queue(1);
  EXPECT_TRUE(queue.TryPut(7));
  EXPECT_FALSE(queue.TryPut(8));
  EXPECT_EQ(queue.TryGet(), std::optional<int>(7));
  EXPECT_EQ(queue.TryGet(), std::nullopt);
}

TEST(QueueTest, FailedTryPutLeavesTheValueWhereItWas) {
  Queue<std::unique_ptr<int>> queue(1);
  auto value = std::make_unique<int>(1);
  EXPECT_TRUE(queue.TryPut(std::move(value)));
  EXPECT_EQ(value, nullptr);
  value = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPut(std::move(value)));
  EXPECT_EQ(*value, 2);
  EXPECT_THROW(queue.PutNoWait(std::move(value)), QueueFull);
  EXPECT_EQ(*value, 2);
  queue.Shutdown();
  EXPECT_FALSE(queue.TryPut(std::move(value)));
  EXPECT_EQ(*value, 2);
}

TEST(QueueTest, MoveOnlyItems) {
  RunVirtually([]() -> Co<void> {
    Queue<std::unique_ptr<int>> queue(1);
    co_await queue.Put(std::make_unique<int>(1));
    Task<void> putter = CreateTask([&]() -> Co<void> {
      auto item = std::make_unique<int>(2);
      co_await queue.Put(std::move(item));
      EXPECT_EQ(item, nullptr);
    });
    co_await Turns();
    std::unique_ptr<int> first = co_await queue.Get();
    EXPECT_EQ(*first, 1);
    std::unique_ptr<int> second = co_await queue.Get();
    EXPECT_EQ(*second, 2);
    co_await putter;
  });
}

TEST(QueueTest, PutOfAnLvalueCopiesAtTheCall) {
  RunVirtually([]() -> Co<void> {
    Queue<std::string> queue(1);
    co_await queue.Put("first, long enough to be allocated");
    std::string text = "second, long enough to be allocated";
    Task<void> putter = CreateTask(queue.Put(text));
    text = "changed";
    co_await Turns();
    EXPECT_EQ(co_await queue.Get(), "first, long enough to be allocated");
    EXPECT_EQ(co_await queue.Get(), "second, long enough to be allocated");
    co_await putter;
    EXPECT_EQ(text, "changed");
  });
}

TEST(QueueTest, PutThatIsPassedOnTakesTheItemAlong) {
  RunVirtually([]() -> Co<void> {
    Queue<std::string> queue(1);
    std::string text = "long enough to be allocated, or nearly so";
    Task<void> putter = CreateTask(queue.Put(std::move(text)));
    EXPECT_EQ(text, "");  // NOLINT(bugprone-use-after-move)
    Task<void> temporary =
        CreateTask(queue.Put(std::string("temporary, long enough as well")));
    co_await Turns(2);
    EXPECT_EQ(co_await queue.Get(),
              "long enough to be allocated, or nearly so");
    EXPECT_EQ(co_await queue.Get(), "temporary, long enough as well");
    co_await putter;
    co_await temporary;
  });
}

TEST(QueueTest, GettersAreServedInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    std::vector<int> got;
    std::vector<int> who;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(CreateTask([&, i]() -> Co<void> {
        got.push_back(co_await queue.Get());
        who.push_back(i);
      }));
    }
    co_await Turns();
    for (int i = 0; i < 4; ++i) queue.PutNoWait(10 + i);
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(got, (std::vector<int>{10, 11, 12, 13}));
    EXPECT_EQ(who, (std::vector<int>{0, 1, 2, 3}));
  });
}

TEST(QueueTest, PuttersAreServedInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    co_await queue.Put(0);
    std::vector<Task<void>> tasks;
    for (int i = 1; i < 5; ++i) tasks.push_back(CreateTask(queue.Put(i)));
    co_await Turns();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await queue.Get(), i);
    for (auto& task : tasks) co_await task;
  });
}

TEST(QueueTest, NewcomerDoesNotTakeAnItemThatWasPromised) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    std::vector<int> got;
    Task<void> getter = CreateTask(GetOne(queue, got));
    co_await Turns();
    queue.PutNoWait(1);
    EXPECT_EQ(queue.Size(), 0);
    EXPECT_TRUE(queue.Empty());
    EXPECT_FALSE(queue.TryGet().has_value());
    EXPECT_THROW(queue.GetNoWait(), QueueEmpty);
    queue.PutNoWait(2);
    EXPECT_EQ(co_await queue.Get(), 1);  // in no hurry: order of the items
    co_await getter;
    EXPECT_EQ(got, (std::vector<int>{2}));
  });
}

TEST(QueueTest, NewcomerDoesNotTakeRoomThatWasPromised) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    co_await queue.Put(1);
    Task<void> putter = CreateTask(queue.Put(2));
    co_await Turns();
    EXPECT_EQ(queue.GetNoWait(), 1);
    EXPECT_TRUE(queue.Full());
    EXPECT_FALSE(queue.TryPut(3));
    co_await putter;
    EXPECT_EQ(queue.GetNoWait(), 2);
  });
}

TEST(QueueTest, PromisedItemKeepsItsRoomUntilItIsTaken) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    std::vector<int> got;
    Task<void> getter = CreateTask(GetOne(queue, got));
    co_await Turns();
    queue.PutNoWait(1);
    EXPECT_TRUE(queue.Full());
    co_await getter;
    EXPECT_FALSE(queue.Full());
  });
}

TEST(QueueTest, ManyProducersAndConsumersLoseNothing) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(3);
    std::vector<int> seen(200, 0);
    std::vector<Task<void>> tasks;
    for (int p = 0; p < 4; ++p) {
      tasks.push_back(CreateTask([&, p]() -> Co<void> {
        for (int i = 0; i < 50; ++i) {
          co_await queue.Put(p * 50 + i);
          if (i % 7 == p) co_await Yield();
        }
      }));
    }
    for (int c = 0; c < 5; ++c) {
      tasks.push_back(CreateTask([&, c]() -> Co<void> {
        for (int i = 0; i < 40; ++i) {
          ++seen[co_await queue.Get()];
          if (i % 5 == c) co_await Yield();
        }
      }));
    }
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(seen, std::vector<int>(200, 1));
    EXPECT_TRUE(queue.Empty());
  });
}

// ---- TaskDone and Join
// -------------------------------------------------------

TEST(QueueTest, JoinOfAnEmptyQueueDoesNotSuspend) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    const uint64_t before = EventLoop::Current().Iterations();
    co_await queue.Join();
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  });
}

FIFO_TEST(QueueTest, JoinersGoOnInOrderOfArrival) {
  Queue<int> queue;
  queue.PutNoWait(1);
  std::vector<int> order;
  auto joins = [&](int id) -> Co<void> {
    co_await queue.Join();
    order.push_back(id);
  };
  auto tasks = sync_testing::StartEach(3, joins);
  co_await Turns();
  queue.TaskDone();
  co_await sync_testing::AwaitAll(tasks);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(QueueTest, JoinWaitsForTaskDoneAndNotForGet) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    queue.PutNoWait(1);
    queue.PutNoWait(2);
    Task<void> join = CreateTask(queue.Join());
    queue.GetNoWait();
    queue.GetNoWait();
    co_await Turns(2);
    EXPECT_FALSE(join.Done());
    EXPECT_EQ(WaitOf(join), "Queue::Join, 2 items not done");
    queue.TaskDone();
    co_await Turns();
    EXPECT_FALSE(join.Done());
    queue.TaskDone();
    co_await join;
  });
}

TEST(QueueTest, TaskDoneTooOftenNamesTheRule) {
  Queue<int> queue;
  EXPECT_EQ(TextOf<std::runtime_error>([&] { queue.TaskDone(); }),
            "Queue::TaskDone: called more often than items were put into the "
            "queue");
  queue.PutNoWait(1);
  queue.TaskDone();
  EXPECT_THROW(queue.TaskDone(), std::runtime_error);
}

TEST(QueueTest, JoinedStaysJoinedIfAnItemFollows) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    queue.PutNoWait(1);
    Task<void> join = CreateTask(queue.Join());
    co_await Turns();
    queue.TaskDone();
    queue.PutNoWait(2);
    co_await Turns();
    EXPECT_TRUE(join.Done());
  });
}

TEST(QueueTest, AnItemThatHasNoRoomYetIsNotCounted) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    queue.PutNoWait(1);
    Task<void> putter = CreateTask(queue.Put(2));
    co_await Turns();
    queue.TaskDone();
    co_await queue.Join();
    EXPECT_FALSE(putter.Done());
    queue.GetNoWait();
    co_await putter;
    EXPECT_EQ(queue.Size(), 1);
  });
}

// ---- Shutdown
// ------------------------------------------------------------------

TEST(QueueTest, ShutdownRefusesPutsAndDrains) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    queue.PutNoWait(1);
    queue.Shutdown();
    EXPECT_TRUE(queue.IsShutDown());
    EXPECT_EQ(co_await AwaitTextOf<QueueShutDown>(queue.Put(2)),
              "Queue::Put: the queue was shut down");
    EXPECT_EQ(TextOf<QueueShutDown>([&] { queue.PutNoWait(2); }),
              "Queue::PutNoWait: the queue was shut down");
    EXPECT_EQ(co_await queue.Get(), 1);
    EXPECT_EQ(co_await AwaitTextOf<QueueShutDown>(queue.Get()),
              "Queue::Get: the queue was shut down");
    EXPECT_EQ(TextOf<QueueShutDown>([&] { queue.GetNoWait(); }),
              "Queue::GetNoWait: the queue was shut down");
    EXPECT_EQ(queue.TryGet(), std::nullopt);
    queue.Shutdown();  // idempotent
  });
}

TEST(QueueTest, ShutDownWinsOverFull) {
  Queue<int> queue(1);
  queue.PutNoWait(1);
  queue.Shutdown();
  EXPECT_THROW(queue.PutNoWait(2), QueueShutDown);
}

TEST(QueueTest, ShutdownWakesTheWaitingAtOnce) {
  RunVirtually([]() -> Co<void> {
    Queue<int> empty;
    Queue<int> full(1);
    full.PutNoWait(1);
    Task<int> getter = CreateTask(empty.Get());
    Task<void> putter = CreateTask(full.Put(2));
    co_await Turns();
    empty.Shutdown();
    full.Shutdown();
    co_await Turns();
    EXPECT_EQ(HowEnded(getter), "Queue::Get: the queue was shut down");
    EXPECT_EQ(HowEnded(putter), "Queue::Put: the queue was shut down");
    EXPECT_EQ(full.GetNoWait(), 1);
    EXPECT_THROW(full.GetNoWait(), QueueShutDown);
  });
}

TEST(QueueTest, PutterThatWasPromisedRoomIsRefusedByAShutdown) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    queue.PutNoWait(1);
    Task<void> putter = CreateTask(queue.Put(2));
    co_await Turns();
    EXPECT_EQ(queue.GetNoWait(), 1);
    queue.Shutdown();
    co_await Turns();
    EXPECT_EQ(HowEnded(putter), "Queue::Put: the queue was shut down");
    EXPECT_TRUE(queue.Empty());
    EXPECT_FALSE(queue.TryPut(3));
  });
}

TEST(QueueTest, GetterThatWasPromisedAnItemGetsItAfterAShutdown) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> getter = CreateTask(queue.Get());
    Task<int> other = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    queue.Shutdown();
    EXPECT_EQ(co_await getter, 1);
    co_await Turns();
    EXPECT_EQ(HowEnded(other), "Queue::Get: the queue was shut down");
  });
}

TEST(QueueTest, ImmediateShutdownDropsTheItems) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<int> getter = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);  // promised, and dropped all the same
    queue.PutNoWait(2);
    queue.Shutdown(/*immediate=*/true);
    EXPECT_EQ(queue.Size(), 0);
    co_await Turns();
    EXPECT_EQ(HowEnded(getter), "Queue::Get: the queue was shut down");
    EXPECT_THROW(queue.GetNoWait(), QueueShutDown);
  });
}

TEST(QueueTest, ImmediateShutdownCountsTheDroppedAsDone) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    for (int i = 0; i < 3; ++i) queue.PutNoWait(i);
    queue.GetNoWait();
    Task<void> join = CreateTask(queue.Join());
    co_await Turns();
    queue.Shutdown(/*immediate=*/true);
    co_await Turns();
    EXPECT_FALSE(join.Done());  // the one that was taken is not done
    queue.TaskDone();
    co_await join;
    EXPECT_THROW(queue.TaskDone(), std::runtime_error);
  });
}

TEST(QueueTest, ImmediateShutdownReleasesJoin) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    queue.PutNoWait(1);
    Task<void> join = CreateTask(queue.Join());
    co_await Turns();
    queue.Shutdown();
    co_await Turns();
    EXPECT_FALSE(join.Done());
    queue.Shutdown(/*immediate=*/true);  // after an ordinary one
    co_await join;
  });
}

TEST(QueueTest, DroppedItemsMayComeBackToTheQueue) {
  struct Nosy {
    explicit Nosy(Queue<std::unique_ptr<Nosy>>* q, int* n)
        : queue(q), seen(n) {}
    ~Nosy() {
      EXPECT_TRUE(queue->Empty());
      EXPECT_FALSE(queue->TryGet().has_value());
      ++*seen;
    }
    Queue<std::unique_ptr<Nosy>>* queue;
    int* seen;
  };
  int seen = 0;
  Queue<std::unique_ptr<Nosy>> queue;
  for (int i = 0; i < 3; ++i) {
    queue.PutNoWait(std::make_unique<Nosy>(&queue, &seen));
  }
  queue.Shutdown(/*immediate=*/true);
  EXPECT_EQ(seen, 3);
}

TEST(QueueTest, NextIsARangeUntilTheShutdown) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(2);
    Task<void> producer = CreateTask([&]() -> Co<void> {
      for (int i = 0; i < 10; ++i) co_await queue.Put(i);
      queue.Shutdown();
    });
    int sum = 0;
    while (auto item = co_await queue.Next()) sum += *item;
    EXPECT_EQ(sum, 45);
    EXPECT_FALSE((co_await queue.Next()).has_value());
    co_await producer;
  });
}

TEST(QueueTest, NextThatWaitsEndsWithTheShutdown) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<std::optional<int>> next = CreateTask(queue.Next());
    co_await Turns();
    queue.Shutdown();
    EXPECT_EQ(co_await next, std::nullopt);
  });
}

TEST(QueueTest, NextAndGetStandInOneLine) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue;
    Task<std::optional<int>> a = CreateTask(queue.Next());
    Task<int> b = CreateTask(queue.Get());
    Task<std::optional<int>> c = CreateTask(queue.Next());
    co_await Turns();
    for (int i = 1; i <= 3; ++i) queue.PutNoWait(i);
    EXPECT_EQ(co_await a, 1);
    EXPECT_EQ(co_await b, 2);
    EXPECT_EQ(co_await c, 3);
  });
}

// ---- the other orders
// ----------------------------------------------------------

TEST(LifoQueueTest, GivesTheNewestFirst) {
  RunVirtually([]() -> Co<void> {
    LifoQueue<int> queue;
    for (int i = 0; i < 20; ++i) co_await queue.Put(i);
    for (int i = 19; i >= 0; --i) EXPECT_EQ(co_await queue.Get(), i);
  });
}

TEST(LifoQueueTest, BoundAndHandOff) {
  RunVirtually([]() -> Co<void> {
    LifoQueue<std::unique_ptr<int>> queue(1);
    co_await queue.Put(std::make_unique<int>(1));
    Task<void> putter = CreateTask(queue.Put(std::make_unique<int>(2)));
    co_await Turns();
    EXPECT_EQ(*(co_await queue.Get()), 1);
    EXPECT_EQ(*(co_await queue.Get()), 2);
    co_await putter;
  });
}

TEST(PriorityQueueTest, GivesTheLeastFirst) {
  RunVirtually([]() -> Co<void> {
    PriorityQueue<int> queue;
    uint32_t state = 1;
    std::vector<int> items;
    for (int i = 0; i < 500; ++i) {
      state = state * 1664525 + 1013904223;
      items.push_back(static_cast<int>(state >> 20));
      co_await queue.Put(items.back());
      if (i % 3 == 0) {
        auto least = std::min_element(items.begin(), items.end());
        EXPECT_EQ(co_await queue.Get(), *least);
        items.erase(least);
      }
    }
    std::sort(items.begin(), items.end());
    for (int item : items) EXPECT_EQ(co_await queue.Get(), item);
    EXPECT_TRUE(queue.Empty());
  });
}

TEST(PriorityQueueTest, AnOrderOfOnesOwn) {
  PriorityQueue<std::string, std::greater<>> queue;
  for (const char* s : {"b", "d", "a", "c"}) queue.PutNoWait(s);
  std::string all;
  while (auto item = queue.TryGet()) all += *item;
  EXPECT_EQ(all, "dcba");
}

TEST(PriorityQueueTest, AnOrderWithState) {
  const std::vector<int> rank = {2, 0, 1};
  auto less = [&rank](int a, int b) { return rank[a] < rank[b]; };
  PriorityQueue<int, decltype(less)> queue(0, less);
  for (int i = 0; i < 3; ++i) queue.PutNoWait(i);
  EXPECT_EQ(queue.GetNoWait(), 1);
  EXPECT_EQ(queue.GetNoWait(), 2);
  EXPECT_EQ(queue.GetNoWait(), 0);
}

TEST(PriorityQueueTest, WaitingGetterTakesWhatIsLeastWhenItResumes) {
  RunVirtually([]() -> Co<void> {
    PriorityQueue<int> queue;
    Task<int> getter = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(5);
    queue.PutNoWait(3);
    EXPECT_EQ(co_await getter, 3);
    EXPECT_EQ(queue.GetNoWait(), 5);
  });
}

TEST(PriorityQueueTest, MoveOnlyItems) {
  auto less = [](const std::unique_ptr<int>& a, const std::unique_ptr<int>& b) {
    return *a < *b;
  };
  PriorityQueue<std::unique_ptr<int>, decltype(less)> queue(0, less);
  for (int i : {3, 1, 2, 5, 4}) queue.PutNoWait(std::make_unique<int>(i));
  for (int i = 1; i <= 5; ++i) EXPECT_EQ(*queue.GetNoWait(), i);
}

TEST(PriorityQueueTest, ComparisonThatThrowsLosesNothing) {
  bool fail = false;
  auto less = [&fail](int a, int b) {
    if (fail) throw std::runtime_error("cannot compare");
    return a < b;
  };
  PriorityQueue<int, decltype(less)> queue(5, less);
  for (int i : {4, 2, 3, 1}) queue.PutNoWait(i);
  fail = true;
  EXPECT_THROW(queue.PutNoWait(0), std::runtime_error);
  EXPECT_THROW(queue.GetNoWait(), std::runtime_error);
  EXPECT_EQ(queue.Size(), 4);
  fail = false;
  queue.PutNoWait(0);  // the room was given back
  EXPECT_TRUE(queue.Full());
  for (int i = 0; i <= 4; ++i) EXPECT_EQ(queue.GetNoWait(), i);
}

// ---- misuse and lifetime
// -----------------------------------------------------

// Throws when it is moved, if told so.
struct Heavy {
  explicit Heavy(int v) : value(v) {}
  Heavy(Heavy&& other) : value(other.value) {
    if (fail) throw std::runtime_error("cannot be moved");
    other.value = -1;
  }
  Heavy& operator=(Heavy&&) = default;
  int value;
  static inline bool fail = false;
};

TEST(QueueTest, MoveThatThrowsInPutGivesTheRoomBack) {
  RunVirtually([]() -> Co<void> {
    Queue<Heavy> queue(1);
    Heavy item(1);
    Heavy::fail = true;
    EXPECT_THROW(co_await queue.Put(std::move(item)), std::runtime_error);
    EXPECT_THROW(queue.PutNoWait(std::move(item)), std::runtime_error);
    Heavy::fail = false;
    EXPECT_EQ(item.value, 1);
    EXPECT_TRUE(queue.Empty());
    EXPECT_FALSE(queue.Full());
    co_await queue.Put(std::move(item));
    EXPECT_EQ(queue.Size(), 1);
  });
}

TEST(QueueTest, MoveThatThrowsInGetLeavesTheItem) {
  RunVirtually([]() -> Co<void> {
    Queue<Heavy> queue(2);
    co_await queue.Put(Heavy(7));
    Heavy::fail = true;
    EXPECT_THROW(static_cast<void>(co_await queue.Get()), std::runtime_error);
    Heavy::fail = false;
    EXPECT_EQ(queue.Size(), 1);
    Heavy item = co_await queue.Get();
    EXPECT_EQ(item.value, 7);
  });
}

TEST(QueueTest, DestroyedQueueWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto queue = std::make_unique<Queue<int>>(1);
    Task<int> a = CreateTask(queue->Get());
    Task<std::optional<int>> b = CreateTask(queue->Next());
    co_await Turns();
    queue->PutNoWait(1);  // promised to `a`
    Task<void> put = CreateTask(queue->Put(2), {.eager_start = true});
    queue.reset();
    co_await Turns(2);
    EXPECT_EQ(HowEnded(a), "Queue was destroyed while 3 tasks waited for it");
    EXPECT_EQ(HowEnded(b), "Queue was destroyed while 3 tasks waited for it");
    EXPECT_EQ(HowEnded(put), "Queue was destroyed while 3 tasks waited for it");
  });
}

TEST(QueueTest, DestroyedQueueWakesJoin) {
  RunVirtually([]() -> Co<void> {
    auto queue = std::make_unique<Queue<int>>();
    queue->PutNoWait(1);
    Task<void> join = CreateTask(queue->Join());
    co_await Turns();
    queue.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(join), "Queue was destroyed while 1 task waited for it");
  });
}

TEST(QueueTest, DestroyedQueueDestroysItsItems) {
  auto counted = std::make_shared<int>(1);
  {
    Queue<std::shared_ptr<int>> queue;
    for (int i = 0; i < 20; ++i) queue.PutNoWait(counted);
    for (int i = 0; i < 5; ++i) queue.GetNoWait();
    EXPECT_EQ(counted.use_count(), 16);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(QueueTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Queue<int> queue(1);
  loops.RunOnFirst([&]() -> Co<void> {
    Task<int> getter = CreateTask(queue.Get());
    co_await Turns();
    queue.PutNoWait(1);
    co_await getter;
  });
  loops.RunOnSecond([&]() -> Co<void> {
    const std::string get =
        co_await AwaitTextOf<std::runtime_error>(queue.Get());
    EXPECT_EQ(get.substr(0, 11), "Queue::Get:");
    const std::string join =
        co_await AwaitTextOf<std::runtime_error>(queue.Join());
    EXPECT_EQ(join.substr(0, 12), "Queue::Join:");
    co_await queue.Put(1);
    const std::string put =
        co_await AwaitTextOf<std::runtime_error>(queue.Put(2));
    EXPECT_EQ(put.substr(0, 11), "Queue::Put:");
    EXPECT_EQ(queue.GetNoWait(), 1);
  });
}

TEST(QueueTest, DumpSaysWhatItWaitsFor) {
  RunVirtually([]() -> Co<void> {
    Queue<int> queue(1);
    Task<int> getter = CreateTask(queue.Get());
    co_await Turns();
    EXPECT_EQ(WaitOf(getter), "Queue::Get, it is empty");
    queue.PutNoWait(1);
    co_await getter;
    queue.PutNoWait(2);
    Task<void> putter = CreateTask(queue.Put(3));
    co_await Turns();
    EXPECT_EQ(WaitOf(putter), "Queue::Put, it is full");
    queue.GetNoWait();
    co_await putter;
  });
}

TEST(QueueTest, PlainTypesOfAllKinds) {
  Queue<bool> flags(2);
  flags.PutNoWait(true);
  EXPECT_TRUE(flags.GetNoWait());
  LifoQueue<bool> lifo;
  lifo.PutNoWait(true);
  EXPECT_TRUE(lifo.GetNoWait());
  struct alignas(64) Aligned {
    int value;
  };
  Queue<Aligned> aligned;
  for (int i = 0; i < 20; ++i) aligned.PutNoWait(Aligned{i});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(aligned.GetNoWait().value, i);
}

}  // namespace
}  // namespace coil
