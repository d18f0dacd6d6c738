// A task whose awaits all complete at once gives way when its time slice is
// used up. It keeps its place in line: what happens to the primitive meanwhile
// happens to it as to any other task that was granted or waits.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "coil/loop/clock.h"
#include "coil/loop/loop_time.h"
#include "coil/sync/sync.h"
#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

// Every look takes a second, so the slice is used up at the second look.
class SlowClock final : public Clock {
 public:
  LoopTime Now() noexcept override {
    now_ += 1'000'000'000;
    return LoopTime::FromNanoseconds(now_);
  }
  bool SkipTo(LoopTime) noexcept override { return true; }

 private:
  int64_t now_ = 0;
};

template <class F>
void RunSlowly(F main) {
  SlowClock clock;
  RunOptions options;
  options.loop.clock = &clock;
  coil::Run(std::move(main), options);
}

TEST(TimeSliceTest, LockIsItsOwnWhileItGivesWay) {
  RunSlowly([]() -> Co<void> {
    Lock lock;
    int acquired = 0;
    bool done = false;
    int turns = 0;
    Task<void> busy = CreateTask([&]() -> Co<void> {
      for (; acquired < 100000; ++acquired) {
        Lock::Guard guard = co_await lock.Acquire();
      }
      done = true;
    });
    while (!done) {
      co_await Yield();
      ++turns;
      EXPECT_EQ(lock.Locked(), !done);
    }
    EXPECT_GT(turns, 5);
    co_await busy;
  });
}

TEST(TimeSliceTest, LockThatWasTakenMeanwhileIsWaitedFor) {
  RunSlowly([]() -> Co<void> {
    Lock lock;
    int acquired = 0;
    Task<void> busy = CreateTask([&]() -> Co<void> {
      for (; acquired < 50000; ++acquired) {
        Lock::Guard guard = co_await lock.Acquire();
      }
    });
    co_await Yield();
    EXPECT_GT(acquired, 0);
    EXPECT_LT(acquired, 50000);
    Lock::Guard guard = co_await lock.Acquire();
    const int before = acquired;
    for (int i = 0; i < 5; ++i) co_await Yield();
    EXPECT_EQ(acquired, before);
    guard.Release();
    co_await busy;
    EXPECT_EQ(acquired, 50000);
    EXPECT_FALSE(lock.Locked());
  });
}

TEST(TimeSliceTest, CancelWhileItGivesWayTakesNothing) {
  RunSlowly([]() -> Co<void> {
    Lock lock;
    Semaphore semaphore(1);
    Queue<int> queue;
    for (int i = 0; i < 50000; ++i) queue.PutNoWait(i);
    int64_t got = 0;
    Task<void> locks = CreateTask([&]() -> Co<void> {
      for (;;) Lock::Guard guard = co_await lock.Acquire();
    });
    Task<void> permits = CreateTask([&]() -> Co<void> {
      for (;;) Semaphore::Permit permit = co_await semaphore.Acquire();
    });
    Task<void> gets = CreateTask([&]() -> Co<void> {
      for (;;) {
        EXPECT_EQ(co_await queue.Get(), got);
        ++got;
      }
    });
    co_await Yield();
    locks.Cancel();
    permits.Cancel();
    gets.Cancel();
    co_await Yield();
    EXPECT_TRUE(locks.Cancelled());
    EXPECT_TRUE(permits.Cancelled());
    EXPECT_TRUE(gets.Cancelled());
    EXPECT_FALSE(lock.Locked());
    EXPECT_EQ(semaphore.Available(), 1);
    EXPECT_GT(got, 0);
    EXPECT_EQ(queue.Size(), 50000 - got);
  });
}

TEST(TimeSliceTest, CancelledPutThatGivesWayLeavesItsArgumentAlone) {
  RunSlowly([]() -> Co<void> {
    Queue<std::unique_ptr<int>> queue;
    auto item = std::make_unique<int>(0);
    Task<void> puts = CreateTask([&]() -> Co<void> {
      for (;;) {
        co_await queue.Put(std::move(item));
        item = std::make_unique<int>(0);
      }
    });
    co_await Yield();
    puts.Cancel();
    co_await Yield();
    EXPECT_TRUE(puts.Cancelled());
    EXPECT_NE(item, nullptr);
    EXPECT_GT(queue.Size(), 0);
  });
}

TEST(TimeSliceTest, QueueThatIsShutDownMeanwhile) {
  RunSlowly([]() -> Co<void> {
    Queue<int> queue;
    Task<void> puts = CreateTask([&]() -> Co<void> {
      for (;;) co_await queue.Put(1);
    });
    co_await Yield();
    queue.Shutdown(/*immediate=*/true);
    co_await Yield();
    EXPECT_EQ(sync_testing::HowEnded(puts),
              "Queue::Put: the queue was shut down");
    EXPECT_EQ(queue.Size(), 0);
  });
}

TEST(TimeSliceTest, EventThatIsClearedMeanwhileLetsItPassOnce) {
  RunSlowly([]() -> Co<void> {
    Event event;
    event.Set();
    int passed = 0;
    Task<void> waits = CreateTask([&]() -> Co<void> {
      for (; passed < 50000; ++passed) co_await event.Wait();
    });
    co_await Yield();
    event.Clear();
    const int before = passed;
    EXPECT_GT(before, 0);
    for (int i = 0; i < 3; ++i) co_await Yield();
    // The event was set when its wait began, and that is what counts.
    EXPECT_EQ(passed, before + 1);
    event.Set();
    co_await waits;
  });
}

TEST(TimeSliceTest, BarrierOfOneLetsOthersRun) {
  RunSlowly([]() -> Co<void> {
    Barrier barrier(1);
    int rounds = 0;
    Task<void> busy = CreateTask([&]() -> Co<void> {
      for (; rounds < 50000; ++rounds) co_await barrier.Wait();
    });
    co_await Yield();
    EXPECT_LT(rounds, 50000);
    barrier.Abort();
    co_await Yield();
    EXPECT_NE(sync_testing::HowEnded(busy), "ok");
  });
}

// How a task ended that used `Primitive` again and again, and gave way, when
// the primitive was destroyed at that moment.
template <class Primitive, class Use, class... Args>
std::string EndWhenDestroyed(Use use, Args... args) {
  std::string end;
  RunSlowly([&]() -> Co<void> {
    auto primitive = std::make_unique<Primitive>(args...);
    Task<void> busy = CreateTask([&]() -> Co<void> {
      Primitive& p = *primitive;
      for (;;) co_await use(p);
    });
    co_await Yield();
    EXPECT_FALSE(busy.Done());
    primitive.reset();
    co_await Yield();
    EXPECT_TRUE(busy.Done());
    end = sync_testing::HowEnded(busy);
  });
  return end;
}

TEST(TimeSliceTest, PrimitiveThatIsDestroyedMeanwhile) {
  EXPECT_EQ(EndWhenDestroyed<Lock>([](Lock& lock) -> Co<void> {
              Lock::Guard guard = co_await lock.Acquire();
            }),
            "Lock was destroyed while 1 task waited for it");
  EXPECT_EQ(EndWhenDestroyed<Semaphore>(
                [](Semaphore& semaphore) -> Co<void> {
                  Permit permit = co_await semaphore.Acquire();
                },
                1),
            "Semaphore was destroyed while 1 task waited for it");
  EXPECT_EQ(EndWhenDestroyed<RwLock>([](RwLock& lock) -> Co<void> {
              RwLock::ReadGuard guard = co_await lock.AcquireRead();
            }),
            "RwLock was destroyed while 1 task waited for it");
  EXPECT_EQ(EndWhenDestroyed<RwLock>([](RwLock& lock) -> Co<void> {
              RwLock::WriteGuard guard = co_await lock.AcquireWrite();
            }),
            "RwLock was destroyed while 1 task waited for it");
  EXPECT_EQ(EndWhenDestroyed<Queue<int>>(
                [](Queue<int>& queue) -> Co<void> { co_await queue.Put(1); }),
            "Queue was destroyed while 1 task waited for it");
}

}  // namespace
}  // namespace coil
