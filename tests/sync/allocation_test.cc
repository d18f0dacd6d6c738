// Waiting, locking and queueing allocate nothing: every operator new of this
// program is counted. And awaiters are small, since each suspended task has
// one.

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "coil/sync/sync.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using coil_testing::AllocationCount;
using sync_testing::RunVirtually;

// Lets workers run until `*ops` has grown by 200, then by 1,000, and returns
// how many allocations the second part made.
Co<long> CountedAllocations(const int& ops) {
  while (ops < 200) co_await Yield();
  const long before = AllocationCount();
  while (ops < 1200) co_await Yield();
  co_return AllocationCount() - before;
}

// Runs `n` workers that loop until `stop`.
template <class F>
long AllocationsOf(int n, F worker) {
  return RunVirtually([&]() -> Co<long> {
    int ops = 0;
    bool stop = false;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < n; ++i) {
      tasks.push_back(CreateTask(worker(i, ops, stop)));
    }
    const long counted = co_await CountedAllocations(ops);
    stop = true;
    for (auto& task : tasks) task.Cancel();
    for (auto& task : tasks) co_await Settle(task);
    co_return counted;
  });
}

TEST(AllocationTest, TheCounterCounts) {
  const long before = AllocationCount();
  // Not by a new-expression, which a compiler may leave out.
  void* const p = ::operator new(1);
  EXPECT_EQ(AllocationCount(), before + 1);
  ::operator delete(p);
}

TEST(AllocationTest, LockAllocatesNothing) {
  Lock lock;
  auto worker = [&](int, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      Lock::Guard guard = co_await lock.Acquire();
      ++ops;
      co_await Yield();
    }
  };
  EXPECT_EQ(AllocationsOf(5, worker), 0);
}

TEST(AllocationTest, RwLockAllocatesNothing) {
  RwLock lock;
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      if (i % 2 == 0) {
        RwLock::ReadGuard guard = co_await lock.AcquireRead();
        co_await Yield();
      } else {
        RwLock::WriteGuard guard = co_await lock.AcquireWrite();
        co_await Yield();
      }
      ++ops;
    }
  };
  EXPECT_EQ(AllocationsOf(5, worker), 0);
}

TEST(AllocationTest, SemaphoreAllocatesNothing) {
  BoundedSemaphore semaphore(2);
  auto worker = [&](int, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      Semaphore::Permit permit = co_await semaphore.Acquire();
      ++ops;
      co_await Yield();
    }
  };
  EXPECT_EQ(AllocationsOf(5, worker), 0);
}

TEST(AllocationTest, EventAllocatesNothing) {
  Event events[2];
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      events[i].Set();
      co_await events[1 - i].Wait();
      events[1 - i].Clear();
      ++ops;
    }
  };
  EXPECT_EQ(AllocationsOf(2, worker), 0);
}

TEST(AllocationTest, LatchAllocatesNothing) {
  std::vector<std::unique_ptr<Latch>> latches;
  for (int i = 0; i < 2000; ++i) latches.push_back(std::make_unique<Latch>(1));
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    while (!stop && ops < 1999) {
      if (i == 0) {
        co_await Yield();
        latches[ops]->CountDown();
      } else {
        co_await latches[ops]->Wait();
        ++ops;
      }
      co_await Yield();
    }
  };
  EXPECT_EQ(AllocationsOf(2, worker), 0);
}

TEST(AllocationTest, ConditionAllocatesNothing) {
  Condition condition;
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      Lock::Guard guard = co_await condition.Acquire();
      if (i == 0) {
        condition.NotifyAll();
        guard.Release();
        co_await Yield();
      } else {
        co_await condition.Wait(guard);
        ++ops;
      }
    }
  };
  EXPECT_EQ(AllocationsOf(4, worker), 0);
}

TEST(AllocationTest, BarrierAllocatesNothing) {
  Barrier barrier(4);
  auto worker = [&](int, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      co_await barrier.Wait();
      ++ops;
    }
  };
  EXPECT_EQ(AllocationsOf(4, worker), 0);
}

template <class Q>
long AllocationsOfQueue() {
  Q queue(8);
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    for (int n = 0;; ++n) {
      if (stop) break;
      if (i % 2 == 0) {
        co_await queue.Put(n);
      } else {
        static_cast<void>(co_await queue.Get());
        ++ops;
        if (n % 3 == 0) co_await Yield();
      }
    }
  };
  return AllocationsOf(6, worker);
}

TEST(AllocationTest, QueuesAllocateNothingWithinTheirCapacity) {
  EXPECT_EQ(AllocationsOfQueue<Queue<int>>(), 0);
  EXPECT_EQ(AllocationsOfQueue<LifoQueue<int>>(), 0);
  EXPECT_EQ(AllocationsOfQueue<PriorityQueue<int>>(), 0);
}

TEST(AllocationTest, UnboundedQueueKeepsItsBuffer) {
  Queue<std::unique_ptr<int>> queue;
  for (int i = 0; i < 100; ++i) queue.PutNoWait(nullptr);
  while (queue.TryGet().has_value()) {
  }
  const long before = AllocationCount();
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 100; ++i) queue.PutNoWait(nullptr);
    while (queue.TryGet().has_value()) {
    }
  }
  EXPECT_EQ(AllocationCount(), before);
}

TEST(AllocationTest, ChannelAllocatesNothingWithinItsCapacity) {
  Channel<int> channel(4);
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    while (!stop) {
      if (i == 0) {
        co_await channel.Send(1);
      } else {
        static_cast<void>(co_await channel.Receive());
        ++ops;
      }
    }
  };
  EXPECT_EQ(AllocationsOf(3, worker), 0);
}

TEST(AllocationTest, BroadcastAllocatesNothingAfterItsConstructor) {
  Broadcast<int> news(4);
  auto worker = [&](int i, int& ops, bool& stop) -> Co<void> {
    if (i == 0) {
      while (!stop) {
        news.Send(1);
        co_await Yield();
      }
    } else {
      Broadcast<int>::Subscriber subscriber = news.Subscribe();
      while (!stop) {
        static_cast<void>(co_await subscriber.Receive());
        ++ops;
      }
    }
  };
  EXPECT_EQ(AllocationsOf(3, worker), 0);
}

TEST(AllocationTest, SubscribingAllocatesNothing) {
  Broadcast<int> news(4);
  const long before = AllocationCount();
  {
    auto a = news.Subscribe();
    auto b = news.Subscribe();
    news.Send(1);
  }
  EXPECT_EQ(AllocationCount(), before);
}

TEST(AllocationTest, GuardsAndPermitsAllocateNothing) {
  RunVirtually([]() -> Co<void> {
    Lock lock;
    Semaphore semaphore(2);
    RwLock rw;
    const long before = AllocationCount();
    for (int i = 0; i < 10; ++i) {
      Lock::Guard a = co_await lock.Acquire();
      Lock::Guard b = std::move(a);
      Semaphore::Permit p = co_await semaphore.Acquire();
      Semaphore::Permit q = std::move(p);
      RwLock::ReadGuard r = co_await rw.AcquireRead();
    }
    EXPECT_EQ(AllocationCount(), before);
  });
}

// ---- sizes
// -------------------------------------------------------------------

TEST(SizeTest, AwaitersAreSmall) {
  // What a task that waits for it has in its frame.
  EXPECT_LE(sizeof(std::declval<Lock&>().Acquire()), 48u);
  EXPECT_LE(sizeof(std::declval<Semaphore&>().Acquire()), 48u);
  EXPECT_LE(sizeof(std::declval<Event&>().Wait()), 48u);
  EXPECT_LE(sizeof(std::declval<Latch&>().Wait()), 48u);
  EXPECT_LE(sizeof(std::declval<Barrier&>().Wait()), 48u);
  EXPECT_LE(sizeof(std::declval<Queue<int>&>().Get()), 48u);
  EXPECT_LE(sizeof(std::declval<Queue<int>&>().Next()), 48u);
  EXPECT_LE(sizeof(std::declval<Queue<int>&>().Join()), 48u);
  EXPECT_LE(sizeof(std::declval<Channel<std::string>&>().Receive()), 48u);
  EXPECT_LE(sizeof(std::declval<Broadcast<int>::Subscriber&>().Receive()), 48u);
  // These hold more: what kind they are, the item, the guard.
  EXPECT_LE(sizeof(std::declval<RwLock&>().AcquireRead()), 56u);
  EXPECT_LE(sizeof(std::declval<Queue<int>&>().Put(1)), 56u);
  EXPECT_LE(
      sizeof(std::declval<Condition&>().Wait(std::declval<Lock::Guard&>())),
      72u);
}

TEST(SizeTest, PrimitivesAndGuardsAreSmall) {
  EXPECT_LE(sizeof(Lock::Guard), 8u);
  EXPECT_LE(sizeof(Semaphore::Permit), 24u);
  EXPECT_LE(sizeof(RwLock::ReadGuard), 24u);
  EXPECT_LE(sizeof(Lock), 64u);
  EXPECT_LE(sizeof(Event), 48u);
  EXPECT_LE(sizeof(Latch), 48u);
  EXPECT_LE(sizeof(Barrier), 48u);
}

}  // namespace
}  // namespace coil
