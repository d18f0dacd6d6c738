// RateLimiter: rate, order, cancellation, misuse, lifetime.

#include "coil/timers/rate_limiter.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/internal/token_bucket.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/sync/grave.h"
#include "tests/timers/timers_testing.h"

namespace coil {
namespace {

using timers_testing::ArmedTimers;
using timers_testing::EndOf;
using timers_testing::HowEnded;
using timers_testing::Now;
using timers_testing::TextOf;
using timers_testing::WaitOf;

constexpr absl::Duration kSecond = absl::Seconds(1);

int64_t Milliseconds() { return Now().Nanoseconds() / 1000000; }

struct Log {
  std::vector<int> order;
  std::vector<int64_t> times;  // in milliseconds
};
Co<void> Take(RateLimiter& limiter, int64_t n, int id, Log& log) {
  co_await limiter.Acquire(n);
  log.order.push_back(id);
  log.times.push_back(Milliseconds());
}

using Ids = std::vector<int>;
using Times = std::vector<int64_t>;

CORO_TEST(RateLimiterTest, BurstThenRate) {
  RateLimiter limiter(/*rate=*/10, /*burst=*/3);
  Log log;
  for (int i = 0; i < 7; ++i) co_await Take(limiter, 1, i, log);
  EXPECT_EQ(log.times, (Times{0, 0, 0, 100, 200, 300, 400}));
}

CORO_TEST(RateLimiterTest, FreeTokensDoNotSuspend) {
  RateLimiter limiter(10, 3);
  const uint64_t before = EventLoop::Current().Iterations();
  co_await limiter.Acquire(3);
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

CORO_TEST(RateLimiterTest, IdleTimeFillsTheBucketAndNoMore) {
  RateLimiter limiter(10, 3);
  co_await limiter.Acquire(3);
  co_await Sleep(absl::Milliseconds(250));
  EXPECT_EQ(limiter.Available(), 2);
  co_await Sleep(absl::Hours(1));
  EXPECT_EQ(limiter.Available(), 3);
  Log log;
  const int64_t start = Milliseconds();
  for (int i = 0; i < 5; ++i) co_await Take(limiter, 1, i, log);
  EXPECT_EQ(log.times, (Times{start, start, start, start + 100, start + 200}));
}

CORO_TEST(RateLimiterTest, AmountsWeigh) {
  RateLimiter limiter(10, 5);
  Log log;
  co_await Take(limiter, 5, 0, log);
  co_await Take(limiter, 2, 1, log);
  co_await Take(limiter, 5, 2, log);
  EXPECT_EQ(log.times, (Times{0, 200, 700}));
}

CORO_TEST(RateLimiterTest, StrictlyFirstInFirstOut) {
  RateLimiter limiter(10, 5);
  Log log;
  std::vector<Task<void>> tasks;
  const int64_t amounts[] = {5, 5, 1, 3, 1};
  for (int i = 0; i < 5; ++i) {
    tasks.push_back(CreateTask(Take(limiter, amounts[i], i, log)));
    co_await Yield();
  }
  for (auto& task : tasks) co_await task;
  EXPECT_EQ(log.order, (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(log.times, (Times{0, 500, 600, 900, 1000}));
}

CORO_TEST(RateLimiterTest, NewcomerDoesNotOvertake) {
  RateLimiter limiter(10, 5);
  co_await limiter.Acquire(5);
  Log log;
  Task<void> big = CreateTask(Take(limiter, 5, 0, log));
  co_await Sleep(absl::Milliseconds(300));
  EXPECT_EQ(limiter.Available(), 3);
  EXPECT_FALSE(limiter.TryAcquire());  // three tokens, but somebody waits
  co_await Take(limiter, 1, 1, log);
  EXPECT_EQ(log.order, (Ids{0, 1}));
  EXPECT_EQ(log.times, (Times{500, 600}));
  co_await big;
}

CORO_TEST(RateLimiterTest, TryAcquireTakesWhatIsThere) {
  RateLimiter limiter(10, 3);
  EXPECT_TRUE(limiter.TryAcquire(2));
  EXPECT_FALSE(limiter.TryAcquire(2));
  EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_FALSE(limiter.TryAcquire());
  co_await Sleep(absl::Milliseconds(99));
  EXPECT_FALSE(limiter.TryAcquire());
  co_await Sleep(absl::Milliseconds(1));
  EXPECT_TRUE(limiter.TryAcquire());
}

CORO_TEST(RateLimiterTest, OneTimerServesAllWaiters) {
  RateLimiter limiter(1000, 1);
  Log log;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.push_back(CreateTask(Take(limiter, 1, i, log)));
  }
  co_await Yield();
  co_await Yield();
  EXPECT_EQ(ArmedTimers(), 1u);
  for (auto& task : tasks) co_await task;
  EXPECT_EQ(log.times.back(), 99);
  EXPECT_EQ(ArmedTimers(), 0u);
}

CORO_TEST(RateLimiterTest, RateMayBeAFraction) {
  RateLimiter limiter(0.5, 1);
  Log log;
  for (int i = 0; i < 3; ++i) co_await Take(limiter, 1, i, log);
  EXPECT_EQ(log.times, (Times{0, 2000, 4000}));
}

CORO_TEST(RateLimiterTest, RateThatDividesNoNanosecondDoesNotDrift) {
  RateLimiter limiter(3, 1);
  constexpr int kSeconds = 20000;
  for (int i = 0; i <= 3 * kSeconds; ++i) co_await limiter.Acquire();
  EXPECT_EQ(Now(), LoopTime() + absl::Seconds(kSeconds));
}

CORO_TEST(RateLimiterTest, InfinitelySlowNeverGrants) {
  RateLimiter limiter(std::numeric_limits<double>::denorm_min(), 2);
  co_await limiter.Acquire(2);
  Task<void> task =
      CreateTask([&limiter]() -> Co<void> { co_await limiter.Acquire(); });
  co_await Sleep(absl::Hours(24 * 365 * 100));
  EXPECT_EQ(HowEnded(task), "pending");
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await CancelAndWait(task);
}

CORO_TEST(RateLimiterTest, HugeRatesAndBurstsWork) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  RateLimiter limiter(1e300, kMost);
  co_await limiter.Acquire(kMost);
  co_await limiter.Acquire(kMost);
  RateLimiter slow(1e-12, 2);
  co_await slow.Acquire();
  EXPECT_TRUE(slow.TryAcquire());
  EXPECT_FALSE(slow.TryAcquire());
}

// ---- cancellation ---------------------------------------------------------

CORO_TEST(RateLimiterTest, CancelledWaiterTakesNothing) {
  RateLimiter limiter(10, 3);
  co_await limiter.Acquire(3);
  EXPECT_EQ(
      co_await EndOf(WithTimeout(absl::Milliseconds(150), limiter.Acquire(3))),
      "timeout");
  EXPECT_EQ(limiter.Available(), 1);
  EXPECT_EQ(ArmedTimers(), 0u);
  co_await Sleep(absl::Milliseconds(150));
  EXPECT_TRUE(limiter.TryAcquire(3));
}

CORO_TEST(RateLimiterTest, CancelOfTheFirstLetsTheNextGoAtOnce) {
  RateLimiter limiter(10, 5);
  co_await limiter.Acquire(5);
  Log log;
  Task<void> big = CreateTask(Take(limiter, 5, 0, log));
  Task<void> small = CreateTask(Take(limiter, 1, 1, log));
  co_await Sleep(absl::Milliseconds(300));
  EXPECT_EQ(HowEnded(small), "pending");
  big.Cancel();
  co_await small;
  EXPECT_EQ(log.times, (Times{300}));
  EXPECT_EQ(limiter.Available(), 2);
}

CORO_TEST(RateLimiterTest, CancelInTheMiddleKeepsTheOrder) {
  RateLimiter limiter(10, 1);
  co_await limiter.Acquire();
  Log log;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 5; ++i) {
    tasks.push_back(CreateTask(Take(limiter, 1, i, log)));
    co_await Yield();
  }
  tasks[2].Cancel();
  tasks[4].Cancel();
  for (int i : {0, 1, 3}) co_await tasks[i];
  EXPECT_EQ(log.order, (Ids{0, 1, 3}));
  EXPECT_EQ(log.times, (Times{100, 200, 300}));
}

CORO_TEST(RateLimiterTest, CancelAfterTheGrantGivesTheTokensBack) {
  RateLimiter limiter(10, 5);
  co_await limiter.Acquire(5);
  Log log;
  Task<void> first = CreateTask(Take(limiter, 3, 0, log));
  Task<void> second = CreateTask(Take(limiter, 3, 1, log));
  co_await Sleep(absl::Milliseconds(1));
  // Comes up in the pass in which the first goes on, before it does.
  EventLoop::Current().CallAt(LoopTime() + absl::Milliseconds(299), [&] {
    timers_testing::Stall(absl::Milliseconds(1));
    EventLoop::Current().CallSoon([&first] { first.Cancel(); });
  });
  co_await second;
  EXPECT_EQ(HowEnded(first), "cancelled: ");
  EXPECT_EQ(log.order, (Ids{1}));
  EXPECT_EQ(log.times, (Times{300}));
  EXPECT_EQ(limiter.Available(), 0);
}

TEST(RateLimiterTest, CancelAtEveryAwaitLosesNoToken) {
  auto scenario = []() -> Co<void> {
    auto limiter = std::make_shared<RateLimiter>(10, 4);
    auto taken = std::make_shared<int64_t>(0);
    const LoopTime start = Now();
    auto worker = [](std::shared_ptr<RateLimiter> limiter,
                     std::shared_ptr<int64_t> taken, int64_t n) -> Co<void> {
      co_await limiter->Acquire(n);
      *taken += n;
    };
    std::vector<Task<void>> tasks;
    for (int64_t n : {4, 3, 1, 4, 2}) {
      tasks.push_back(CreateTask(worker(limiter, taken, n)));
    }
    // However many were cancelled: when all is over and the bucket has had time
    // to fill, it is full, and no more than the rate allows was taken.
    for (auto& task : tasks) {
      static_cast<void>(co_await Settle(task));
    }
    const double seconds = absl::ToDoubleSeconds(Now() - start);
    EXPECT_LE(static_cast<double>(*taken), 4 + 10 * seconds + 1e-6);
    co_await Sleep(kSecond);
    EXPECT_EQ(limiter->Available(), 4);
    EXPECT_TRUE(limiter->TryAcquire(4));
  };
  SweepResult result = ForEachCancellationPoint(
      scenario, SweepOptions().SecondCancel().Seeds(5));
  EXPECT_GT(result.points, 20u);
}

// ---- misuse ---------------------------------------------------------------

TEST(RateLimiterTest, BadRateNamesTheRule) {
  auto text = [](double rate) {
    return TextOf<std::invalid_argument>([&] { RateLimiter limiter(rate, 1); });
  };
  const std::string rule =
      "RateLimiter: the rate must be positive and finite, got ";
  EXPECT_EQ(text(0), rule + "0");
  EXPECT_EQ(text(-2.5), rule + "-2.5");
  EXPECT_EQ(text(std::numeric_limits<double>::infinity()), rule + "inf");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), rule + "-inf");
  EXPECT_EQ(text(std::nan("")), rule + "nan");
}

TEST(RateLimiterTest, BadBurstNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { RateLimiter limiter(1, 0); }),
            "RateLimiter: the burst must be positive, got 0");
  EXPECT_EQ(TextOf<std::invalid_argument>([] { RateLimiter limiter(1, -1); }),
            "RateLimiter: the burst must be positive, got -1");
}

CORO_TEST(RateLimiterTest, AmountThatWouldNeverBeThereNamesTheRule) {
  RateLimiter limiter(1, 5);
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [&] { static_cast<void>(limiter.Acquire(6)); }),
            "RateLimiter::Acquire: the amount must be between 1 and the burst "
            "5, got 6");
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [&] { static_cast<void>(limiter.Acquire(0)); }),
            "RateLimiter::Acquire: the amount must be between 1 and the burst "
            "5, got 0");
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [&] { static_cast<void>(limiter.TryAcquire(-1)); }),
            "RateLimiter::TryAcquire: the amount must be between 1 and the "
            "burst 5, got -1");
  EXPECT_EQ(limiter.Available(), 5);
  co_return;
}

TEST(RateLimiterTest, NeedsARunningLoopToLookAtTheTime) {
  RateLimiter limiter(1, 1);  // making one does not
  EXPECT_EQ(limiter.Rate(), 1);
  EXPECT_EQ(limiter.Burst(), 1);
  EXPECT_THROW(static_cast<void>(limiter.TryAcquire()), std::runtime_error);
  EXPECT_THROW(static_cast<void>(limiter.Available()), std::runtime_error);
}

TEST(RateLimiterTest, AnotherLoopNamesTheRule) {
  RateLimiter limiter(1, 5);
  EventLoop first({.simulation = &timers_testing::kSimulation});
  first.RunUntilComplete(limiter.Acquire());
  std::string text;
  auto use = [&]() -> Co<void> { text = co_await EndOf(limiter.Acquire()); };
  timers_testing::RunVirtually(use);
  EXPECT_NE(text.find("RateLimiter::Acquire: the object belongs to another "
                      "event loop"),
            std::string::npos)
      << text;
}

TEST(RateLimiterTest, LoopInThePlaceOfItsOwnIsAnotherOne) {
  RateLimiter limiter(1, 5);
  std::optional<EventLoop> loop;
  loop.emplace(LoopOptions{.simulation = &timers_testing::kSimulation});
  loop->RunUntilComplete(limiter.Acquire());
  loop.emplace(LoopOptions{.simulation = &timers_testing::kSimulation});
  EXPECT_THROW(loop->RunUntilComplete(limiter.Acquire()), std::runtime_error);
}

// ---- lifetime -------------------------------------------------------------

CORO_TEST(RateLimiterTest, DestroyedWhileTasksWaitNamesTheRule) {
  auto limiter = std::make_unique<RateLimiter>(1, 1);
  co_await limiter->Acquire();
  Task<std::string> a = CreateTask(EndOf(limiter->Acquire()));
  Task<std::string> b = CreateTask(EndOf(limiter->Acquire()));
  co_await Yield();
  limiter.reset();
  EXPECT_EQ(ArmedTimers(), 0u);
  const std::string rule =
      "RateLimiter::Acquire: the RateLimiter was destroyed while tasks waited "
      "for it";
  EXPECT_EQ(co_await a, rule);
  EXPECT_EQ(co_await b, rule);
}

CORO_TEST(RateLimiterTest, WhatWasGrantedOutlivesIt) {
  sync_testing::Grave<RateLimiter> limiter(1, 1);
  co_await limiter->Acquire();
  Task<std::string> granted = CreateTask(EndOf(limiter->Acquire()));
  Task<std::string> cancelled = CreateTask(EndOf(limiter->Acquire()));
  co_await Yield();
  EventLoop::Current().CallLater(kSecond - absl::Nanoseconds(1), [&] {
    timers_testing::Stall(absl::Nanoseconds(1));
    EventLoop::Current().CallSoon([&] {
      limiter.Bury();
      cancelled.Cancel();
    });
  });
  EXPECT_EQ(co_await granted, "ok");
  EXPECT_EQ(co_await cancelled, "cancelled: ");
  EXPECT_TRUE(limiter.Undisturbed());
}

TEST(RateLimiterTest, ClosingTheLoopLeavesNothing) {
  auto scenario = []() -> Co<void> {
    RateLimiter limiter(10, 2);
    Log log;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(CreateTask(Take(limiter, 2, i, log)));
    }
    for (auto& task : tasks) co_await task;
  };
  SweepResult result = ForEachDestructionPoint(scenario);
  EXPECT_GT(result.points, 4u);
}

CORO_TEST(RateLimiterTest, DumpSaysWhatIsWaitedFor) {
  RateLimiter limiter(10, 5);
  co_await limiter.Acquire(5);
  Task<void> task =
      CreateTask([&limiter]() -> Co<void> { co_await limiter.Acquire(3); });
  co_await Yield();
  EXPECT_EQ(WaitOf(task), "RateLimiter, 3 of 5 tokens");
  co_await task;
}

// ---- the arithmetic -------------------------------------------------------

LoopTime At(int64_t nanoseconds) {
  return LoopTime::FromNanoseconds(nanoseconds);
}

TEST(TokenBucketTest, FillsAtItsRate) {
  internal::TokenBucket bucket(1e9, 10);  // a token for each nanosecond
  bucket.Take(10, At(100));
  EXPECT_EQ(bucket.Available(At(100)), 0);
  EXPECT_EQ(bucket.Available(At(104)), 4);
  EXPECT_EQ(bucket.Available(At(200)), 10);
  EXPECT_EQ(bucket.ReadyAt(1), At(101));
  EXPECT_EQ(bucket.ReadyAt(10), At(110));
}

TEST(TokenBucketTest, NeverEarly) {
  internal::TokenBucket bucket(3e8, 10);  // 3 1/3 ns
  bucket.Take(10, At(0));
  EXPECT_EQ(bucket.ReadyAt(1), At(4));
  EXPECT_EQ(bucket.ReadyAt(2), At(7));
  EXPECT_EQ(bucket.ReadyAt(3), At(10));
  EXPECT_EQ(bucket.Available(At(3)), 0);
  EXPECT_EQ(bucket.Available(At(4)), 1);
}

TEST(TokenBucketTest, GivingBackRestoresWhatWasTaken) {
  for (double rate : {1.0, 3.0, 7.7, 1e9, 1e-3}) {
    internal::TokenBucket bucket(rate, 5);
    bucket.Take(5, At(1000));
    const LoopTime before = bucket.ReadyAt(3);
    for (int i = 0; i < 1000; ++i) {
      bucket.Take(2, At(1000));
      bucket.GiveBack(2);
    }
    EXPECT_EQ(bucket.ReadyAt(3), before) << rate;
  }
}

TEST(TokenBucketTest, DebtIsPaidBack) {
  internal::TokenBucket bucket(1e9, 4);
  bucket.Take(4, At(0));
  bucket.Take(4, At(0));
  EXPECT_EQ(bucket.Available(At(0)), -4);
  EXPECT_EQ(bucket.ReadyAt(1), At(5));
}

}  // namespace
}  // namespace coil
