// The primitives of the package sync, cancelled and destroyed wherever their
// waiters can be: no permit, lock or item is lost, and nobody waits for what is
// free.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/sync/barrier.h"
#include "coil/sync/broadcast.h"
#include "coil/sync/channel.h"
#include "coil/sync/condition.h"
#include "coil/sync/event.h"
#include "coil/sync/latch.h"
#include "coil/sync/lock.h"
#include "coil/sync/queue.h"
#include "coil/sync/rw_lock.h"
#include "coil/sync/semaphore.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/gather.h"
#include "coil/task/race.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "coil/tests/task/sweep_scenario.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

// Where the parts do not depend on one another, GatherSettled() lets the others
// run to their end when one is cancelled: they hang if something is lost. What
// a Gather() leaves behind then runs on, so everything that the parts use is
// shared.

// ---- lock

Co<void> Section(std::shared_ptr<Lock> lock, std::shared_ptr<int> inside) {
  Lock::Guard guard = co_await lock->Acquire();
  EXPECT_EQ(++*inside, 1);
  struct Leave {
    std::shared_ptr<int> inside;
    explicit Leave(std::shared_ptr<int> i) : inside(std::move(i)) {}
    ~Leave() { --*inside; }
  } leave(inside);
  co_await Sleep(absl::Seconds(1));
}

std::shared_ptr<Lock> MakeLock(SweepRun& run) {
  auto lock = std::make_shared<Lock>();
  run.AtEnd([lock] { EXPECT_FALSE(lock->Locked()); });
  return lock;
}

SWEEP_SCENARIO(LockGoesFromHandToHand) {
  auto lock = MakeLock(run);
  auto inside = std::make_shared<int>(0);
  co_await Gather(Section(lock, inside), Section(lock, inside),
                  Section(lock, inside), Section(lock, inside));
}

Co<void> TwoLocks(std::shared_ptr<Lock> first, std::shared_ptr<Lock> second) {
  Lock::Guard a = co_await first->Acquire();
  co_await Yield();
  Lock::Guard b = co_await second->Acquire();
  co_await Yield();
}

SWEEP_SCENARIO(LocksWithinLocks) {
  auto first = MakeLock(run);
  auto second = MakeLock(run);
  co_await Gather(TwoLocks(first, second), TwoLocks(first, second),
                  TwoLocks(first, second));
}

Co<void> ReleaseEarly(std::shared_ptr<Lock> lock) {
  Lock::Guard guard = co_await lock->Acquire();
  Lock::Guard moved = std::move(guard);
  moved.Release();
  co_await Yield();
}

SWEEP_SCENARIO(LockThatIsReleasedEarly) {
  auto lock = MakeLock(run);
  co_await Gather(ReleaseEarly(lock), ReleaseEarly(lock), ReleaseEarly(lock));
}

Co<bool> LockWithTimeout(std::shared_ptr<Lock> lock, int seconds) {
  bool late = false;
  try {
    Lock::Guard guard =
        co_await WithTimeout(absl::Seconds(seconds), lock->Acquire());
    co_await Sleep(absl::Seconds(2));
  } catch (const TimeoutError&) {
    late = true;
  }
  co_return late;
}

SWEEP_SCENARIO(LockUnderTimeouts) {
  auto lock = MakeLock(run);
  co_await Gather(LockWithTimeout(lock, 1), LockWithTimeout(lock, 1),
                  LockWithTimeout(lock, 2), LockWithTimeout(lock, 5));
}

SWEEP_SCENARIO(LockInATaskGroup) {
  auto lock = MakeLock(run);
  auto inside = std::make_shared<int>(0);
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    for (int i = 0; i < 3; ++i) group.CreateTask(Section(lock, inside));
    co_return;
  });
}

// ---- semaphores

Co<void> UsePermit(std::shared_ptr<Semaphore> semaphore) {
  Semaphore::Permit permit = co_await semaphore->Acquire();
  co_await Sleep(absl::Seconds(1));
}

std::shared_ptr<Semaphore> MakeSemaphore(SweepRun& run, int permits) {
  auto semaphore = std::make_shared<Semaphore>(permits);
  run.AtEnd(
      [semaphore, permits] { EXPECT_EQ(semaphore->Available(), permits); });
  return semaphore;
}

SWEEP_SCENARIO(SemaphoreOfTwo) {
  auto semaphore = MakeSemaphore(run, 2);
  co_await Gather(UsePermit(semaphore), UsePermit(semaphore),
                  UsePermit(semaphore), UsePermit(semaphore),
                  UsePermit(semaphore));
}

Co<void> UseBounded(std::shared_ptr<BoundedSemaphore> semaphore) {
  Semaphore::Permit permit = co_await semaphore->Acquire();
  co_await Yield();
  permit.Release();
  co_await Yield();
}

SWEEP_SCENARIO(BoundedSemaphoreOfOne) {
  auto semaphore = std::make_shared<BoundedSemaphore>(1);
  run.AtEnd([semaphore] { EXPECT_EQ(semaphore->Available(), 1); });
  co_await Gather(UseBounded(semaphore), UseBounded(semaphore),
                  UseBounded(semaphore));
}

Co<void> TakeTwo(std::shared_ptr<Semaphore> semaphore) {
  Semaphore::Permit first = co_await semaphore->Acquire();
  Semaphore::Permit second = co_await semaphore->Acquire();
  co_await Yield();
}

SWEEP_SCENARIO(SemaphoreTakenTwice) {
  auto semaphore = MakeSemaphore(run, 3);
  co_await Gather(TakeTwo(semaphore), TakeTwo(semaphore));
}

SWEEP_SCENARIO(SemaphoreInARace) {
  auto semaphore = MakeSemaphore(run, 1);
  Semaphore::Permit mine = co_await semaphore->Acquire();
  {
    auto first = co_await Race(semaphore->Acquire(), Sleep(absl::Seconds(1)));
    EXPECT_EQ(first.index(), 1u);
  }
  mine.Release();
  auto second = co_await Race(semaphore->Acquire(), Sleep(absl::Seconds(1)));
  EXPECT_TRUE(second.index() == 0 || run.Injects());
}

// ---- event, latch, barrier

Co<void> AwaitEvent(std::shared_ptr<Event> event) { co_await event->Wait(); }

Co<void> SetEvent(std::shared_ptr<Event> event) {
  co_await Sleep(absl::Seconds(1));
  event->Set();
}

SWEEP_SCENARIO(EventThatWakesAll) {
  auto event = std::make_shared<Event>();
  co_await Gather(AwaitEvent(event), AwaitEvent(event), AwaitEvent(event),
                  SetEvent(event));
}

Co<void> PingPong(std::shared_ptr<Event> mine, std::shared_ptr<Event> other) {
  for (int i = 0; i < 3; ++i) {
    co_await mine->Wait();
    mine->Clear();
    other->Set();
  }
}

SWEEP_SCENARIO(EventsThatTakeTurns) {
  auto ping = std::make_shared<Event>();
  auto pong = std::make_shared<Event>();
  ping->Set();
  co_await Gather(PingPong(ping, pong), PingPong(pong, ping));
}

Co<void> AwaitLatch(std::shared_ptr<Latch> latch) { co_await latch->Wait(); }

Co<void> CountDown(std::shared_ptr<Latch> latch) {
  co_await Yield();
  latch->CountDown();
}

SWEEP_SCENARIO(LatchOfTwo) {
  auto latch = std::make_shared<Latch>(2);
  co_await Gather(AwaitLatch(latch), AwaitLatch(latch), CountDown(latch),
                  CountDown(latch));
}

Co<int> Meet(std::shared_ptr<Barrier> barrier, int rounds) {
  int sum = 0;
  for (int i = 0; i < rounds; ++i) sum += co_await barrier->Wait();
  co_return sum;
}

std::shared_ptr<Barrier> MakeBarrier(SweepRun& run, int parties) {
  auto barrier = std::make_shared<Barrier>(parties);
  run.AtEnd([barrier] { EXPECT_EQ(barrier->NWaiting(), 0); });
  return barrier;
}

SWEEP_SCENARIO(BarrierOfThree) {
  auto barrier = MakeBarrier(run, 3);
  auto [a, b, c] =
      co_await Gather(Meet(barrier, 1), Meet(barrier, 1), Meet(barrier, 1));
  EXPECT_EQ(a + b + c, 0 + 1 + 2);
}

SWEEP_SCENARIO(BarrierOfSeveralRounds) {
  auto barrier = MakeBarrier(run, 2);
  co_await Gather(Meet(barrier, 3), Meet(barrier, 3));
}

SWEEP_SCENARIO(BarrierThatIsAborted,
               SweepOptions().AllowError<BrokenBarrierError>().AllowReports()) {
  auto barrier = MakeBarrier(run, 3);
  Task<int> first = CreateTask(Meet(barrier, 1));
  Task<int> second = CreateTask(Meet(barrier, 1));
  co_await Yield();
  co_await Yield();
  barrier->Abort();
  co_await Gather(first, second);
}

// ---- condition

struct Stock {
  Condition changed;
  int items = 0;
};

Co<void> TakeItem(std::shared_ptr<Stock> stock) {
  Lock::Guard guard = co_await stock->changed.Acquire();
  auto some = [&] { return stock->items > 0; };
  co_await stock->changed.WaitFor(guard, some);
  EXPECT_TRUE(guard.Owns());
  --stock->items;
}

Co<void> AddItems(std::shared_ptr<Stock> stock, int n, bool all) {
  for (int i = 0; i < n; ++i) {
    co_await Yield();
    Lock::Guard guard = co_await stock->changed.Acquire();
    ++stock->items;
    if (all) {
      stock->changed.NotifyAll();
    } else {
      stock->changed.Notify();
    }
  }
}

std::shared_ptr<Stock> MakeStock(SweepRun& run) {
  auto stock = std::make_shared<Stock>();
  run.AtEnd([stock] {
    EXPECT_FALSE(stock->changed.Locked());
    EXPECT_GE(stock->items, 0);
  });
  return stock;
}

SWEEP_SCENARIO(ConditionThatNotifiesOne) {
  auto stock = MakeStock(run);
  co_await Gather(TakeItem(stock), TakeItem(stock), AddItems(stock, 2, false));
  EXPECT_EQ(stock->items, 0);
}

SWEEP_SCENARIO(ConditionThatNotifiesAll) {
  auto stock = MakeStock(run);
  co_await Gather(TakeItem(stock), TakeItem(stock), TakeItem(stock),
                  AddItems(stock, 3, true));
  EXPECT_EQ(stock->items, 0);
}

// A notification that a cancel has overtaken goes on to the next: so that after
// each cancel of one taker there is an item for the other.
SWEEP_SCENARIO(ConditionPassesANotificationOn) {
  auto stock = MakeStock(run);
  Task<void> first = CreateTask(TakeItem(stock));
  Task<void> second = CreateTask(TakeItem(stock));
  co_await Gather(AddItems(stock, 1, false));
  co_await Race(Shield(first), Shield(second));
  co_await CancelAndWait(first);
  co_await CancelAndWait(second);
  EXPECT_FALSE(stock->changed.Locked());
}

struct TwoConditions {
  Lock lock;
  Condition filled{lock};
  Condition emptied{lock};
  bool full = false;
};

Co<void> Fill(std::shared_ptr<TwoConditions> cell) {
  for (int i = 0; i < 2; ++i) {
    Lock::Guard guard = co_await cell->lock.Acquire();
    while (cell->full) co_await cell->emptied.Wait(guard);
    cell->full = true;
    cell->filled.Notify();
  }
}
Co<void> Empty(std::shared_ptr<TwoConditions> cell) {
  for (int i = 0; i < 2; ++i) {
    Lock::Guard guard = co_await cell->lock.Acquire();
    while (!cell->full) co_await cell->filled.Wait(guard);
    cell->full = false;
    cell->emptied.Notify();
  }
}

SWEEP_SCENARIO(ConditionsThatShareALock) {
  auto cell = std::make_shared<TwoConditions>();
  run.AtEnd([cell] { EXPECT_FALSE(cell->lock.Locked()); });
  co_await Gather(Fill(cell), Empty(cell));
}

// ---- queues: what was put is what was got and what is still there

template <class Q>
struct Pipe {
  explicit Pipe(int64_t maxsize) : queue(maxsize) {}
  Q queue;
  int put = 0;
  int got = 0;
};

template <class Q>
std::shared_ptr<Pipe<Q>> MakePipe(SweepRun& run, int64_t maxsize) {
  auto pipe = std::make_shared<Pipe<Q>>(maxsize);
  run.AtEnd([pipe] { EXPECT_EQ(pipe->put, pipe->got + pipe->queue.Size()); });
  return pipe;
}

template <class Q>
Co<void> PutInts(std::shared_ptr<Pipe<Q>> pipe, int n) {
  for (int i = 0; i < n; ++i) {
    co_await pipe->queue.Put(i);
    ++pipe->put;
  }
}
template <class Q>
Co<void> GetInts(std::shared_ptr<Pipe<Q>> pipe, int n) {
  for (int i = 0; i < n; ++i) {
    co_await pipe->queue.Get();
    ++pipe->got;
  }
}

SWEEP_SCENARIO(QueueWithoutABound) {
  auto pipe = MakePipe<Queue<int>>(run, 0);
  co_await Gather(GetInts(pipe, 2), PutInts(pipe, 4), GetInts(pipe, 2));
}

SWEEP_SCENARIO(QueueOfOne) {
  auto pipe = MakePipe<Queue<int>>(run, 1);
  co_await Gather(PutInts(pipe, 3), PutInts(pipe, 3), GetInts(pipe, 3),
                  GetInts(pipe, 3));
}

SWEEP_SCENARIO(QueueOfTwoFilledFirst) {
  auto pipe = MakePipe<Queue<int>>(run, 2);
  Task<void> put = CreateTask(PutInts(pipe, 5));
  co_await Sleep(absl::Seconds(1));
  co_await Gather(GetInts(pipe, 5), put);
}

SWEEP_SCENARIO(LifoQueueOfOne) {
  auto pipe = MakePipe<LifoQueue<int>>(run, 1);
  co_await Gather(PutInts(pipe, 3), GetInts(pipe, 3));
}

SWEEP_SCENARIO(PriorityQueueOfTwo) {
  auto pipe = MakePipe<PriorityQueue<int>>(run, 2);
  co_await Gather(PutInts(pipe, 4), GetInts(pipe, 4));
}

using Owned = std::unique_ptr<std::string>;

Co<void> PutOwned(std::shared_ptr<Pipe<Queue<Owned>>> pipe, int n) {
  for (int i = 0; i < n; ++i) {
    Owned item = std::make_unique<std::string>("an item that owns memory");
    bool kept = false;
    try {
      co_await pipe->queue.Put(std::move(item));
    } catch (const CancelledError&) {
      kept = item != nullptr;
      EXPECT_TRUE(kept) << "a cancelled Put() has moved from its argument";
      throw;
    }
    ++pipe->put;
  }
}
Co<void> GetOwned(std::shared_ptr<Pipe<Queue<Owned>>> pipe, int n) {
  for (int i = 0; i < n; ++i) {
    const Owned item = co_await pipe->queue.Get();
    EXPECT_NE(item, nullptr);
    ++pipe->got;
  }
}

SWEEP_SCENARIO(QueueOfMoveOnlyItems) {
  auto pipe = MakePipe<Queue<Owned>>(run, 1);
  co_await Gather(PutOwned(pipe, 3), GetOwned(pipe, 3));
}

// cpython: an item was lost where Queue.get() was cancelled by a timeout in the
// turn in which it was granted.
Co<void> GetWithTimeout(std::shared_ptr<Pipe<Queue<int>>> pipe) {
  bool got = false;
  try {
    co_await WithTimeout(absl::Seconds(1), pipe->queue.Get());
    got = true;
  } catch (const TimeoutError&) {
  }
  if (got) ++pipe->got;
}
Co<void> PutLater(std::shared_ptr<Pipe<Queue<int>>> pipe, int seconds) {
  co_await Sleep(absl::Seconds(seconds));
  pipe->queue.PutNoWait(seconds);
  ++pipe->put;
}

SWEEP_SCENARIO(QueueUnderTimeouts) {
  auto pipe = MakePipe<Queue<int>>(run, 0);
  co_await Gather(GetWithTimeout(pipe), GetWithTimeout(pipe), PutLater(pipe, 1),
                  PutLater(pipe, 2));
}

SWEEP_SCENARIO(QueueInARace) {
  auto pipe = MakePipe<Queue<int>>(run, 0);
  Task<void> put = CreateTask(PutLater(pipe, 1));
  {
    auto first = co_await Race(pipe->queue.Get(), Sleep(absl::Seconds(1)));
    if (first.index() == 0) ++pipe->got;
  }
  co_await put;
}

Co<void> Work(std::shared_ptr<Pipe<Queue<int>>> pipe) {
  while (auto item = co_await pipe->queue.Next()) {
    ++pipe->got;
    co_await Yield();
    pipe->queue.TaskDone();
  }
}

SWEEP_SCENARIO(QueueThatIsJoinedAndShutDown) {
  auto pipe = MakePipe<Queue<int>>(run, 2);
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    Task<void> first = group.CreateTask(Work(pipe));
    Task<void> second = group.CreateTask(Work(pipe));
    // A worker that is cancelled leaves items behind: Join() alone would wait.
    Task<void> put = group.CreateTask(PutInts(pipe, 4));
    co_await Race(Shield(put), Shield(first), Shield(second));
    bool all = put.Done() && !put.Cancelled();
    if (all) {
      auto join = [](std::shared_ptr<Pipe<Queue<int>>> p) -> Co<void> {
        co_await p->queue.Join();
      };
      co_await Race(join(pipe), Shield(first), Shield(second));
    }
    group.Cancel();
  });
}

SWEEP_SCENARIO(QueueThatIsShutDownUnderItsWaiters,
               SweepOptions().AllowError<QueueShutDown>().AllowReports()) {
  auto pipe = std::make_shared<Pipe<Queue<int>>>(1);
  Task<void> first = CreateTask(GetInts(pipe, 1));
  Task<void> second = CreateTask(GetInts(pipe, 1));
  co_await Yield();
  co_await Yield();
  pipe->queue.Shutdown();
  co_await Gather(first, second);
}

// ---- channel, broadcast

struct Numbers {
  Numbers() : channel(1) {}
  Channel<int> channel;
  int sent = 0;
  int received = 0;
};

Co<void> SendNumbers(std::shared_ptr<Numbers> numbers) {
  for (int i = 0; i < 4; ++i) {
    co_await numbers->channel.Send(i);
    ++numbers->sent;
  }
  numbers->channel.Close();
}
Co<void> ReceiveNumbers(std::shared_ptr<Numbers> numbers) {
  while (auto number = co_await numbers->channel.Next()) ++numbers->received;
}

SWEEP_SCENARIO(ChannelOfOne) {
  auto numbers = std::make_shared<Numbers>();
  run.AtEnd([numbers] {
    EXPECT_EQ(numbers->sent, numbers->received + numbers->channel.Size());
  });
  co_await Gather(ReceiveNumbers(numbers), ReceiveNumbers(numbers),
                  SendNumbers(numbers));
  EXPECT_EQ(numbers->received, 4);
}

using News = Broadcast<std::string>;

// All that is sent is seen, also where a Next() was cancelled in between.
Co<void> ReadNews(std::shared_ptr<News> news, int n) {
  News::Subscriber subscriber = news->Subscribe();
  for (int i = 0; i < n; ++i) {
    const std::string item = co_await subscriber.Receive();
    EXPECT_EQ(item, std::to_string(i));
  }
}
Co<void> SendNews(std::shared_ptr<News> news, int n) {
  for (int i = 0; i < n; ++i) {
    co_await Sleep(absl::Seconds(1));
    news->Send(std::to_string(i));
  }
}

SWEEP_SCENARIO(BroadcastToTwo) {
  auto news = std::make_shared<News>(4);
  run.AtEnd([news] { EXPECT_EQ(news->Subscribers(), 0); });
  co_await Gather(ReadNews(news, 3), ReadNews(news, 3), SendNews(news, 3));
}

// ---- read-write lock

std::shared_ptr<RwLock> MakeRwLock(SweepRun& run) {
  auto lock = std::make_shared<RwLock>();
  run.AtEnd([lock] {
    EXPECT_EQ(lock->Readers(), 0);
    EXPECT_FALSE(lock->WriteLocked());
  });
  return lock;
}

Co<void> Read(std::shared_ptr<RwLock> lock) {
  RwLock::ReadGuard guard = co_await lock->AcquireRead();
  EXPECT_FALSE(lock->WriteLocked());
  co_await Sleep(absl::Seconds(1));
}
Co<void> Write(std::shared_ptr<RwLock> lock) {
  RwLock::WriteGuard guard = co_await lock->AcquireWrite();
  EXPECT_EQ(lock->Readers(), 0);
  co_await Sleep(absl::Seconds(1));
}

SWEEP_SCENARIO(RwLockReadersAndWriters) {
  auto lock = MakeRwLock(run);
  co_await Gather(Read(lock), Read(lock), Write(lock), Read(lock), Write(lock));
}

Co<bool> WriteWithTimeout(std::shared_ptr<RwLock> lock) {
  bool late = false;
  try {
    RwLock::WriteGuard guard =
        co_await WithTimeout(absl::Milliseconds(500), lock->AcquireWrite());
  } catch (const TimeoutError&) {
    late = true;
  }
  co_return late;
}

// The readers behind a writer that gives up go in.
SWEEP_SCENARIO(RwLockWriterThatGivesUp) {
  auto lock = MakeRwLock(run);
  co_await Gather(Read(lock), WriteWithTimeout(lock), Read(lock), Read(lock));
}

}  // namespace
}  // namespace coil
