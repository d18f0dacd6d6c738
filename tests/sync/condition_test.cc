// Condition: notification, re-acquiring, cancellation, misuse, lifetime.

#include "coil/sync/condition.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "coil/sync/lock.h"
#include "gtest/gtest.h"
#include "tests/sync/grave.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitTextOf;
using sync_testing::Grave;
using sync_testing::HowEnded;
using sync_testing::RunVirtually;
using sync_testing::TextOf;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::Visit;
using sync_testing::WaitOf;

// Waits once and notes that it went on, with the lock held.
Co<void> WaitOnce(Condition& condition, std::vector<int>& order, int id) {
  Lock::Guard guard = co_await condition.Acquire();
  co_await condition.Wait(guard);
  EXPECT_TRUE(guard.Owns());
  order.push_back(id);
}

// The same, and says how it ended; the guard holds the lock in any case.
Co<std::string> WaitAndTell(Condition& condition) {
  Lock::Guard guard = co_await condition.Acquire();
  std::string how = "woken";
  try {
    co_await condition.Wait(guard);
  } catch (const CancelledError& e) {
    how = "cancelled: " + e.message();
  }
  EXPECT_TRUE(guard.Owns());  // the condition may be gone
  co_return how;
}

Co<void> NotifyUnderLock(Condition& condition, int64_t n) {
  Lock::Guard guard = co_await condition.Acquire();
  condition.Notify(n);
}

TEST(ConditionTest, WaitReleasesTheLock) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns();
    EXPECT_FALSE(condition.Locked());
    co_await NotifyUnderLock(condition, 1);
    co_await waiter;
    EXPECT_FALSE(condition.Locked());
  });
}

TEST(ConditionTest, NotifyWakesThoseWhoWaitLongest) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(CreateTask(WaitOnce(condition, order, i)));
    }
    co_await Turns(2);
    co_await NotifyUnderLock(condition, 2);
    co_await Turns(5);
    EXPECT_EQ(order, (std::vector<int>{0, 1}));
    co_await NotifyUnderLock(condition, 1);
    co_await Turns(5);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
    co_await NotifyUnderLock(condition, 100);
    co_await Turns(5);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

TEST(ConditionTest, NotifyAllWakesAllInOrder) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(CreateTask(WaitOnce(condition, order, i)));
    }
    co_await Turns(2);
    {
      Lock::Guard guard = co_await condition.Acquire();
      condition.NotifyAll();
    }
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  });
}

TEST(ConditionTest, NotifiedGoOnOnlyAfterTheRelease) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns();
    Lock::Guard guard = co_await condition.Acquire();
    condition.Notify();
    co_await Turns(5);
    EXPECT_TRUE(order.empty());
    guard.Release();
    co_await waiter;
    EXPECT_EQ(order, (std::vector<int>{1}));
  });
}

TEST(ConditionTest, NotifiedGoBeforeThoseWhoAskForTheLockLater) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns();
    Lock::Guard guard = co_await condition.Acquire();
    condition.Notify();
    Task<void> late = CreateTask([&]() -> Co<void> {
      Lock::Guard mine = co_await condition.Acquire();
      order.push_back(2);
    });
    co_await Turns();
    guard.Release();
    co_await late;
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
  });
}

TEST(ConditionTest, NotificationWithoutWaitersIsLost) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    co_await NotifyUnderLock(condition, 1);
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns(3);
    EXPECT_TRUE(order.empty());
    co_await NotifyUnderLock(condition, 1);
    co_await waiter;
  });
}

TEST(ConditionTest, NotifyOfNoneWakesNobody) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns();
    co_await NotifyUnderLock(condition, 0);
    co_await Turns(3);
    EXPECT_TRUE(order.empty());
    co_await NotifyUnderLock(condition, 1);
    co_await waiter;
  });
}

TEST(ConditionTest, SeveralConditionsShareOneLock) {
  RunVirtually([]() -> Co<void> {
    Lock lock;
    Condition empty(lock);
    Condition full(lock);
    std::vector<int> order;
    Task<void> a = CreateTask(WaitOnce(empty, order, 1));
    Task<void> b = CreateTask(WaitOnce(full, order, 2));
    co_await Turns();
    co_await NotifyUnderLock(full, 1);
    co_await Turns(3);
    EXPECT_EQ(order, (std::vector<int>{2}));
    EXPECT_FALSE(a.Done());
    co_await NotifyUnderLock(empty, 1);
    co_await a;
  });
}

TEST(ConditionTest, DelegatesToTheLock) {
  RunVirtually([]() -> Co<void> {
    Lock lock;
    Condition condition(lock);
    Lock::Guard guard = co_await condition.Acquire();
    EXPECT_TRUE(lock.Locked());
    EXPECT_TRUE(condition.Locked());
    EXPECT_FALSE(condition.TryAcquire().has_value());
    guard.Release();
    EXPECT_TRUE(condition.TryAcquire().has_value());
  });
}

TEST(ConditionTest, WaitForAsksFirstWithoutWaiting) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Lock::Guard guard = co_await condition.Acquire();
    const uint64_t before = EventLoop::Current().Iterations();
    const int value = co_await condition.WaitFor(guard, [] { return 7; });
    EXPECT_EQ(value, 7);
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
    EXPECT_TRUE(guard.Owns());
  });
}

TEST(ConditionTest, WaitForAsksAgainAfterEachNotification) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    int stock = 0;
    int asked = 0;
    Task<int> waiter = CreateTask([&]() -> Co<int> {
      Lock::Guard guard = co_await condition.Acquire();
      auto predicate = [&] {
        EXPECT_TRUE(condition.Locked());
        ++asked;
        return stock >= 2 ? stock : 0;
      };
      co_return co_await condition.WaitFor(guard, predicate);
    });
    for (int i = 0; i < 2; ++i) {
      co_await Turns(2);
      Lock::Guard guard = co_await condition.Acquire();
      ++stock;
      condition.NotifyAll();
    }
    EXPECT_EQ(co_await waiter, 2);
    EXPECT_EQ(asked, 3);
  });
}

TEST(ConditionTest, ErrorOfThePredicateLeavesTheGuardHolding) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Lock::Guard guard = co_await condition.Acquire();
    auto predicate = []() -> bool { throw std::runtime_error("no"); };
    EXPECT_THROW(co_await condition.WaitFor(guard, predicate),
                 std::runtime_error);
    EXPECT_TRUE(guard.Owns());
  });
}

TEST(ConditionTest, ProducersAndConsumers) {
  RunVirtually([]() -> Co<void> {
    Condition changed;
    std::vector<int> stock;
    int taken = 0;
    auto consumer = [&]() -> Co<void> {
      for (int i = 0; i < 10; ++i) {
        Lock::Guard guard = co_await changed.Acquire();
        co_await changed.WaitFor(guard, [&] { return !stock.empty(); });
        stock.pop_back();
        ++taken;
      }
    };
    auto producer = [&]() -> Co<void> {
      for (int i = 0; i < 15; ++i) {
        Lock::Guard guard = co_await changed.Acquire();
        stock.push_back(i);
        changed.Notify();
        if (i % 4 == 0) co_await Yield();
      }
    };
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(consumer));
    for (int i = 0; i < 2; ++i) tasks.push_back(CreateTask(producer));
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(taken, 30);
  });
}

// ---- cancellation ----------------------------------------------------------

TEST(ConditionTest, CancelWhileTheLockIsFree) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    waiter.Cancel("why");
    EXPECT_TRUE(condition.Locked());  // acquired at once
    co_await Turns();
    EXPECT_EQ(waiter.Result(), "cancelled: why");
    EXPECT_FALSE(condition.Locked());
  });
}

TEST(ConditionTest, CancelWhileTheLockIsHeldWaitsForTheLock) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    Lock::Guard guard = co_await condition.Acquire();
    waiter.Cancel("first");
    co_await Turns(3);
    EXPECT_FALSE(waiter.Done());
    guard.Release();
    EXPECT_EQ(co_await waiter, "cancelled: first");
  });
}

TEST(ConditionTest, RepeatedCancelsStillReacquireAndTheLastMessageCounts) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    Lock::Guard guard = co_await condition.Acquire();
    for (int i = 0; i < 5; ++i) {
      waiter.Cancel("cancel " + std::to_string(i));
      co_await Turns();
      EXPECT_FALSE(waiter.Done());
    }
    guard.Release();
    waiter.Cancel("after the hand-off");
    EXPECT_EQ(co_await waiter, "cancelled: after the hand-off");
    EXPECT_FALSE(condition.Locked());
  });
}

TEST(ConditionTest, CancelAfterNotifyPassesTheNotificationOn) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> a = CreateTask(WaitAndTell(condition));
    Task<std::string> b = CreateTask(WaitAndTell(condition));
    Task<std::string> c = CreateTask(WaitAndTell(condition));
    co_await Turns(2);
    Lock::Guard guard = co_await condition.Acquire();
    condition.Notify();
    a.Cancel("late");
    guard.Release();
    EXPECT_EQ(co_await a, "cancelled: late");
    EXPECT_EQ(co_await b, "woken");
    co_await Turns(3);
    EXPECT_FALSE(c.Done());  // one notification woke one task
    c.Cancel();
    co_await Turns();
  });
}

TEST(ConditionTest, CancelAfterTheLockWasHandedOverPassesTheNotificationOn) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> a = CreateTask(WaitAndTell(condition));
    Task<std::string> b = CreateTask(WaitAndTell(condition));
    co_await Turns(2);
    Lock::Guard guard = co_await condition.Acquire();
    condition.Notify();
    guard.Release();
    a.Cancel("late");
    EXPECT_EQ(co_await a, "cancelled: late");
    EXPECT_EQ(co_await b, "woken");
  });
}

TEST(ConditionTest, CancelBeforeNotifyInTheSameTurnDoesNotEatIt) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> a = CreateTask(WaitAndTell(condition));
    Task<std::string> b = CreateTask(WaitAndTell(condition));
    co_await Turns(2);
    Lock::Guard guard = co_await condition.Acquire();
    a.Cancel();
    condition.Notify();
    guard.Release();
    EXPECT_EQ(co_await a, "cancelled: ");
    EXPECT_EQ(co_await b, "woken");
  });
}

TEST(ConditionTest, CancelWithoutNotificationWakesNobodyElse) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> a = CreateTask(WaitAndTell(condition));
    Task<std::string> b = CreateTask(WaitAndTell(condition));
    co_await Turns(2);
    a.Cancel();
    co_await Turns(5);
    EXPECT_TRUE(a.Done());
    EXPECT_FALSE(b.Done());
    co_await NotifyUnderLock(condition, 1);
    EXPECT_EQ(co_await b, "woken");
  });
}

TEST(ConditionTest, CancelTakenBackIsASpuriousWake) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    waiter.Cancel();
    waiter.Uncancel();
    EXPECT_EQ(co_await waiter, "woken");
  });
}

TEST(ConditionTest, CancelWhileAcquiringLeavesTheLockAlone) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Lock::Guard guard = co_await condition.Acquire();
    std::vector<int> order;
    Task<void> waiter = CreateTask(WaitOnce(condition, order, 1));
    co_await Turns();
    waiter.Cancel();
    co_await Turns();
    EXPECT_TRUE(waiter.Cancelled());
    EXPECT_TRUE(guard.Owns());
  });
}

TEST(ConditionTest, PendingCancelIsDeliveredWithTheLockHeldThroughout) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    bool held = false;
    Task<void> self = CreateTask([&]() -> Co<void> {
      Lock::Guard guard = co_await condition.Acquire();
      CurrentTask().Cancel();
      bool cancelled = false;
      try {
        co_await condition.Wait(guard);
      } catch (const CancelledError&) {
        cancelled = true;
      }
      held = cancelled && guard.Owns();
    });
    co_await Turns(2);
    EXPECT_TRUE(self.Done());
    EXPECT_TRUE(held);
  });
}

TEST(ConditionTest, CancelOfTheFirstInLineForTheLockHandsItOn) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    std::vector<int> order;
    Task<std::string> a = CreateTask(WaitAndTell(condition));
    co_await Turns();
    Lock::Guard guard = co_await condition.Acquire();
    Task<void> next = CreateTask([&]() -> Co<void> {
      Lock::Guard mine = co_await condition.Acquire();
      order.push_back(1);
    });
    condition.Notify();
    co_await Turns();
    a.Cancel();
    guard.Release();
    co_await next;
    EXPECT_TRUE(a.Done());
    EXPECT_EQ(order, (std::vector<int>{1}));
  });
}

// ---- misuse and lifetime
// -----------------------------------------------------

TEST(ConditionTest, NotifyWithoutTheLockNamesTheRule) {
  Condition condition;
  EXPECT_EQ(TextOf<std::runtime_error>([&] { condition.Notify(); }),
            "Condition::Notify: the lock is not held; acquire it before you "
            "notify");
  EXPECT_EQ(TextOf<std::runtime_error>([&] { condition.NotifyAll(); }),
            "Condition::NotifyAll: the lock is not held; acquire it before you "
            "notify");
}

TEST(ConditionTest, NegativeNotifyNamesTheRule) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Lock::Guard guard = co_await condition.Acquire();
    EXPECT_EQ(TextOf<std::invalid_argument>([&] { condition.Notify(-1); }),
              "Condition::Notify: n is -1; it is at least 0");
  });
}

TEST(ConditionTest, WaitWithoutTheLockNamesTheRule) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Lock::Guard none;
    EXPECT_EQ(
        co_await AwaitTextOf<std::runtime_error>(condition.Wait(none)),
        "Condition::Wait: the guard does not hold the lock of this condition");
    Lock other;
    Lock::Guard wrong = co_await other.Acquire();
    EXPECT_EQ(
        co_await AwaitTextOf<std::runtime_error>(condition.Wait(wrong)),
        "Condition::Wait: the guard does not hold the lock of this condition");
    EXPECT_TRUE(wrong.Owns());
  });
}

TEST(ConditionTest, DestroyedConditionWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto condition = std::make_unique<Condition>();
    std::vector<int> order;
    Task<void> a = CreateTask(WaitOnce(*condition, order, 1));
    Task<void> b = CreateTask(WaitOnce(*condition, order, 2));
    co_await Turns(2);
    condition.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(a),
              "Condition was destroyed while 2 tasks waited for it");
    EXPECT_EQ(HowEnded(b),
              "Condition was destroyed while 2 tasks waited for it");
  });
}

TEST(ConditionTest, DestroyedConditionLeavesItsWaitersTheSharedLock) {
  RunVirtually([]() -> Co<void> {
    Lock lock;
    auto condition = std::make_unique<Condition>(lock);
    int held = 0;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 2; ++i) {
      tasks.push_back(CreateTask([&]() -> Co<void> {
        Lock::Guard guard = co_await lock.Acquire();
        std::string text;
        try {
          co_await condition->Wait(guard);
        } catch (const std::runtime_error& e) {
          text = e.what();
        }
        EXPECT_EQ(text, "Condition was destroyed while 2 tasks waited for it");
        if (guard.Owns() && lock.Locked()) ++held;
      }));
    }
    co_await Turns(2);
    condition.reset();
    for (auto& task : tasks) co_await task;
    EXPECT_EQ(held, 2);
    EXPECT_FALSE(lock.Locked());
  });
}

TEST(ConditionTest, DestroyedAfterNotifyLetsTheNotifiedGoOn) {
  RunVirtually([]() -> Co<void> {
    Lock lock;
    auto condition = std::make_unique<Condition>(lock);
    Task<std::string> a = CreateTask(WaitAndTell(*condition));
    Task<std::string> b = CreateTask([&]() -> Co<std::string> {
      Lock::Guard guard = co_await lock.Acquire();
      std::string how = "woken";
      try {
        co_await condition->Wait(guard);
      } catch (const CancelledError&) {
        how = "cancelled";
      }
      co_return how;
    });
    co_await Turns(2);
    {
      Lock::Guard guard = co_await lock.Acquire();
      condition->NotifyAll();
    }
    // `a` has the lock and has not resumed, `b` stands in line for it.
    condition.reset();
    b.Cancel();
    EXPECT_EQ(co_await b, "cancelled");
    EXPECT_TRUE(a.Done());
    EXPECT_FALSE(lock.Locked());
  });
}

FIFO_TEST(ConditionTest, DestroyedConditionIsNotTouchedAgain) {
  Lock lock;
  Grave<Condition> condition(lock);
  Task<std::string> notified = CreateTask(WaitAndTell(*condition));
  Task<std::string> cancelled = CreateTask(WaitAndTell(*condition));
  Task<std::string> waits = CreateTask(WaitAndTell(*condition));
  co_await Turns();
  Lock::Guard guard = co_await lock.Acquire();
  condition->Notify(2);
  condition.Bury();
  cancelled.Cancel("why");
  guard.Release();
  EXPECT_EQ(co_await notified, "woken");
  EXPECT_EQ(co_await cancelled, "cancelled: why");
  co_await Turns();
  EXPECT_EQ(HowEnded(waits),
            "Condition was destroyed while 1 task waited for it");
  EXPECT_TRUE(condition.Undisturbed());
  EXPECT_FALSE(lock.Locked());
}

TEST(ConditionTest, DestroyedLockWakesThoseWhoWouldReacquire) {
  RunVirtually([]() -> Co<void> {
    auto lock = std::make_unique<Lock>();
    std::string text;
    bool owns = true;
    auto condition = std::make_unique<Condition>(*lock);
    Task<void> waiter = CreateTask([&]() -> Co<void> {
      Lock::Guard guard = co_await lock->Acquire();
      try {
        co_await condition->Wait(guard);
      } catch (const std::runtime_error& e) {
        text = e.what();
      }
      owns = guard.Owns();
    });
    co_await Turns();
    Lock::Guard guard = co_await lock->Acquire();
    condition->Notify();
    condition.reset();
    lock.reset();
    co_await waiter;
    EXPECT_EQ(text, "Lock was destroyed while 1 task waited for it");
    EXPECT_FALSE(owns);
    EXPECT_FALSE(guard.Owns());
  });
}

TEST(ConditionTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Condition condition;
  loops.RunOnFirst([&]() -> Co<void> {
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    waiter.Cancel();
    co_await Turns();
  });
  loops.RunOnSecond([&]() -> Co<void> {
    Lock::Guard guard = co_await condition.Acquire();
    const std::string text =
        co_await AwaitTextOf<std::runtime_error>(condition.Wait(guard));
    EXPECT_EQ(text.substr(0, 16), "Condition::Wait:");
    EXPECT_TRUE(guard.Owns());
  });
}

TEST(ConditionTest, DumpSaysWhatItWaitsFor) {
  RunVirtually([]() -> Co<void> {
    Condition condition;
    Task<std::string> waiter = CreateTask(WaitAndTell(condition));
    co_await Turns();
    EXPECT_EQ(WaitOf(waiter), "Condition");
    Lock::Guard guard = co_await condition.Acquire();
    condition.Notify();
    EXPECT_EQ(WaitOf(waiter), "Lock held by " + CurrentTask().Name());
    guard.Release();
    co_await waiter;
  });
}

FIFO_TEST(ConditionTest, DumpNamesTheCancelledOneThatWasHandedTheLock) {
  Lock lock;
  Condition condition(lock);
  std::vector<int> order;
  Task<std::string> waiter = CreateTask(WaitAndTell(condition));
  co_await Turns();
  co_await Visit(lock, order, 0);  // the last who held it is this task
  waiter.Cancel();  // the lock is free, so it is handed over at once
  Task<void> next = CreateTask(Visit(lock, order, 1), {.eager_start = true});
  EXPECT_EQ(WaitOf(next), "Lock held by " + waiter.Name());
  co_await next;
  co_await waiter;
}

TEST(ConditionTest, LoopThatIsClosedLetsGoOfTheLine) {
  Lock lock;
  Condition condition(lock);
  {
    LoopOptions options;
    options.simulation = &sync_testing::kSimulation;
    EventLoop loop(options);
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    loop.CallSoon([&] {
      for (int i = 0; i < 3; ++i) CreateTask(WaitAndTell(condition));
      CreateTask([&]() -> Co<void> {
        co_await Turns();
        Lock::Guard guard = co_await condition.Acquire();
        condition.Notify(2);
        co_await Sleep(absl::Hours(1));
      });
    });
    loop.CallLater(absl::Seconds(1), [&] { loop.Stop(); });
    loop.RunForever();
    EXPECT_TRUE(lock.Locked());
  }
  EXPECT_FALSE(lock.Locked());
}

}  // namespace
}  // namespace coil
