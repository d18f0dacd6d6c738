// Rows T9, T11 and T12 of the catalogue of failures, for sync.

#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/sync/sync.h"
#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"
#include "tests/sync/workload.h"

namespace coil {
namespace {

using namespace sync_testing;  // NOLINT(build/namespaces)

// ---- T9: the cancel sweep
// ------------------------------------------------------

// One victim that is cancelled, and others that must not notice.
struct Scenario {
  std::function<Co<void>()> victim;
  std::vector<std::function<Co<void>()>> others;
  // Once the victim has ended: helps those who may wait for it with reason.
  std::function<Co<void>()> rescue = [] { return Turns(0); };
  // Everything is back at its base.
  std::function<void()> check;
};

struct Injection {
  int turn = 0;         // when the victim is cancelled
  int second = -1;      // how many turns later it is cancelled again; -1: never
  bool before = false;  // first in its turn, or last
};

// Runs the scenario once. False if the victim was done before the turn came.
template <class MakeScenario>
bool Inject(MakeScenario make, Injection injection) {
  bool injected = false;
  auto main = [&]() -> Co<void> {
    auto scenario = make();
    Task<void> victim;
    auto inject = [&]() -> Co<void> {
      for (int i = 0; i < injection.turn; ++i) co_await Yield();
      injected = !victim.Done();
      victim.Cancel("injected");
      if (injection.second < 0) co_return;
      for (int i = 0; i < injection.second; ++i) co_await Yield();
      victim.Cancel("injected again");
    };
    Task<void> injector;
    if (injection.before) injector = CreateTask(inject);
    victim = CreateTask(scenario->victim);
    std::vector<Task<void>> others;
    for (auto& other : scenario->others) others.push_back(CreateTask(other));
    if (!injection.before) injector = CreateTask(inject);
    co_await injector;
    Outcome<void> outcome = co_await Settle(victim);
    EXPECT_TRUE(outcome.Ok() || outcome.Cancelled()) << HowEnded(victim);
    co_await scenario->rescue();
    for (auto& other : others) {
      Outcome<void> of_other = co_await Settle(other);
      EXPECT_TRUE(of_other.Ok()) << HowEnded(other);
    }
    scenario->check();
  };
  try {
    RunVirtually(main);
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what();
  }
  return injected;
}

// Cancels at every turn, first and last in it, alone and with a second cancel
// during the cleanup.
template <class MakeScenario>
void Sweep(MakeScenario make) {
  int injections = 0;
  for (bool before : {false, true}) {
    for (int second = -1; second <= 4; ++second) {
      for (int turn = 0;; ++turn) {
        SCOPED_TRACE("turn " + std::to_string(turn) + ", second cancel after " +
                     std::to_string(second) + (before ? ", first" : ", last"));
        const bool injected = Inject(make, Injection{turn, second, before});
        if (testing::Test::HasFailure()) return;
        if (!injected) break;
        ++injections;
        ASSERT_LT(turn, 1000) << "the victim never ends";
      }
    }
  }
  EXPECT_GE(injections, 24) << "the victim hardly waits";
  std::cout << injections << " injections\n";
}

// The world of one run: `World` is a struct with members and a Scenario.
template <class World>
auto MakerOf() {
  return [] { return std::make_unique<World>(); };
}

struct LockWorld : Scenario {
  Lock a;
  Lock b;
  int rounds = 0;
  Co<void> Rounds(int n) {
    for (int i = 0; i < n; ++i) {
      Lock::Guard first = co_await a.Acquire();
      co_await Yield();
      Lock::Guard second = co_await b.Acquire();
      co_await Yield();
      first.Release();
      co_await Yield();
    }
    rounds += n;
  }
  LockWorld() {
    victim = [this] { return Rounds(3); };
    others = {[this] { return Rounds(3); }, [this] { return Rounds(3); }};
    check = [this] {
      EXPECT_FALSE(a.Locked() || b.Locked());
      EXPECT_GE(rounds, 6);
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverLock) { Sweep(MakerOf<LockWorld>()); }

struct LockInTaskWorld : Scenario {
  Lock lock;
  LockInTaskWorld() {
    victim = [this]() -> Co<void> {
      for (int i = 0; i < 3; ++i) {
        Task<Lock::Guard> task = CreateTask(lock.Acquire());
        Lock::Guard guard = co_await std::move(task);
        co_await Turns(2);
      }
    };
    others = {[this]() -> Co<void> {
      for (int i = 0; i < 5; ++i) {
        Lock::Guard guard = co_await lock.Acquire();
        co_await Yield();
      }
    }};
    check = [this] { EXPECT_FALSE(lock.Locked()); };
  }
};
TEST(ReliabilityT9, CancelSweepOverAGuardThatComesOutOfATask) {
  Sweep(MakerOf<LockInTaskWorld>());
}

struct RwLockWorld : Scenario {
  RwLock lock;
  Co<void> Mix(int start) {
    for (int i = start; i < start + 4; ++i) {
      if (i % 2 == 0) {
        RwLock::ReadGuard guard = co_await lock.AcquireRead();
        co_await Turns(2);
      } else {
        RwLock::WriteGuard guard = co_await lock.AcquireWrite();
        co_await Turns(1);
      }
    }
  }
  RwLockWorld() {
    victim = [this] { return Mix(0); };
    others = {[this] { return Mix(1); }, [this] { return Mix(0); },
              [this] { return Mix(1); }};
    check = [this] {
      EXPECT_EQ(lock.Readers(), 0);
      EXPECT_FALSE(lock.WriteLocked());
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverRwLock) { Sweep(MakerOf<RwLockWorld>()); }

template <class S>
struct SemaphoreWorld : Scenario {
  S semaphore{2};
  Co<void> Rounds(int n) {
    for (int i = 0; i < n; ++i) {
      Semaphore::Permit permit = co_await semaphore.Acquire();
      co_await Turns(2);
    }
  }
  SemaphoreWorld() {
    victim = [this] { return Rounds(4); };
    others = {[this] { return Rounds(3); }, [this] { return Rounds(3); },
              [this] { return Rounds(3); }};
    check = [this] { EXPECT_EQ(semaphore.Available(), 2); };
  }
};
TEST(ReliabilityT9, CancelSweepOverSemaphore) {
  Sweep(MakerOf<SemaphoreWorld<Semaphore>>());
}
TEST(ReliabilityT9, CancelSweepOverBoundedSemaphore) {
  Sweep(MakerOf<SemaphoreWorld<BoundedSemaphore>>());
}

struct EventWorld : Scenario {
  Event event;
  bool stop = false;
  Co<void> Waits(int n) {
    for (int i = 0; i < n; ++i) {
      co_await event.Wait();
      co_await Yield();
    }
  }
  EventWorld() {
    victim = [this] { return Waits(3); };
    others = {[this] { return Waits(3); },
              [this]() -> Co<void> {
                while (!stop) {
                  co_await Turns(2);
                  event.Set();
                  event.Clear();
                }
              }};
    rescue = [this]() -> Co<void> {
      co_await Turns(20);
      stop = true;
    };
    check = [] {};
  }
};
TEST(ReliabilityT9, CancelSweepOverEvent) { Sweep(MakerOf<EventWorld>()); }

struct ConditionWorld : Scenario {
  Condition condition;
  int stock = 0;
  int taken = 0;
  Co<void> Take(int n) {
    for (int i = 0; i < n; ++i) {
      Lock::Guard guard = co_await condition.Acquire();
      try {
        while (stock == 0) co_await condition.Wait(guard);
      } catch (const CancelledError&) {
        EXPECT_TRUE(guard.Owns());
        throw;
      }
      EXPECT_TRUE(guard.Owns());
      --stock;
      ++taken;
      co_await Yield();
    }
  }
  ConditionWorld() {
    victim = [this] { return Take(2); };
    others = {[this] { return Take(2); }, [this] { return Take(2); },
              // Exactly one notification for each item: none may be lost.
              [this]() -> Co<void> {
                for (int i = 0; i < 6; ++i) {
                  Lock::Guard guard = co_await condition.Acquire();
                  ++stock;
                  condition.Notify();
                  if (i % 2 == 0) co_await Yield();
                }
              }};
    check = [this] {
      EXPECT_FALSE(condition.Locked());
      EXPECT_EQ(stock + taken, 6);
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverCondition) {
  Sweep(MakerOf<ConditionWorld>());
}

struct BarrierWorld : Scenario {
  Barrier barrier{3};
  int left = 3;  // who has not had enough rounds
  Co<void> Rounds() {
    for (int i = 0; i < 3; ++i) {
      co_await barrier.Wait();
      co_await Yield();
    }
    --left;
  }
  BarrierWorld() {
    victim = [this] { return Rounds(); };
    others = {[this] { return Rounds(); }, [this] { return Rounds(); }};
    rescue = [this]() -> Co<void> {
      // Stands in for the victim.
      Task<void> stand_in = CreateTask([this]() -> Co<void> {
        for (;;) co_await barrier.Wait();
      });
      while (left > 1) co_await Turns(1);
      stand_in.Cancel();
      co_await Settle(stand_in);
    };
    check = [this] {
      EXPECT_FALSE(barrier.Broken());
      EXPECT_EQ(barrier.NWaiting(), 0);
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverBarrier) { Sweep(MakerOf<BarrierWorld>()); }

template <class Q>
struct PutWorld : Scenario {
  Q queue{2};
  int put = 0;
  int got = 0;
  PutWorld() {
    victim = [this]() -> Co<void> {
      for (int i = 0; i < 6; ++i) {
        auto item = std::make_unique<int>(i);
        bool accepted = false;
        try {
          co_await queue.Put(std::move(item));
          accepted = true;
        } catch (const CancelledError&) {
          EXPECT_NE(item, nullptr);
          throw;
        }
        EXPECT_EQ(item, nullptr);
        if (accepted) ++put;
      }
    };
    others = {[this]() -> Co<void> {
                for (int i = 0; i < 3; ++i) {
                  co_await queue.Put(std::make_unique<int>(i));
                  ++put;
                }
              },
              [this]() -> Co<void> {
                while (auto item = co_await queue.Next()) {
                  EXPECT_NE(*item, nullptr);
                  ++got;
                  co_await Turns(2);
                }
              }};
    rescue = [this]() -> Co<void> {
      co_await Turns(30);
      queue.Shutdown();
    };
    check = [this] {
      EXPECT_EQ(put, got);
      EXPECT_TRUE(queue.Empty());
    };
  }
};

struct ByPointee {
  bool operator()(const std::unique_ptr<int>& a,
                  const std::unique_ptr<int>& b) const {
    return *a < *b;
  }
};

TEST(ReliabilityT9, CancelSweepOverPut) {
  Sweep(MakerOf<PutWorld<Queue<std::unique_ptr<int>>>>());
}
TEST(ReliabilityT9, CancelSweepOverPutIntoALifoQueue) {
  Sweep(MakerOf<PutWorld<LifoQueue<std::unique_ptr<int>>>>());
}
TEST(ReliabilityT9, CancelSweepOverPutIntoAPriorityQueue) {
  Sweep(MakerOf<PutWorld<PriorityQueue<std::unique_ptr<int>, ByPointee>>>());
}

template <class Q>
struct GetWorld : Scenario {
  Q queue{2};
  int got = 0;
  GetWorld() {
    victim = [this]() -> Co<void> {
      for (int i = 0; i < 5; ++i) {
        static_cast<void>(co_await queue.Get());
        ++got;
        queue.TaskDone();
        co_await Yield();
      }
    };
    others = {[this]() -> Co<void> {
                for (int i = 0; i < 3; ++i) {
                  static_cast<void>(co_await queue.Get());
                  ++got;
                  queue.TaskDone();
                }
              },
              [this]() -> Co<void> {
                for (int i = 0; i < 8; ++i) {
                  co_await queue.Put(i);
                  if (i % 3 == 0) co_await Turns(2);
                }
              }};
    rescue = [this]() -> Co<void> {
      // Takes what the victim has not.
      while (got < 8) {
        static_cast<void>(co_await queue.Get());
        ++got;
        queue.TaskDone();
      }
      co_await queue.Join();
    };
    check = [this] {
      EXPECT_EQ(got, 8);
      EXPECT_TRUE(queue.Empty());
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverGet) {
  Sweep(MakerOf<GetWorld<Queue<int>>>());
}
TEST(ReliabilityT9, CancelSweepOverGetFromALifoQueue) {
  Sweep(MakerOf<GetWorld<LifoQueue<int>>>());
}
TEST(ReliabilityT9, CancelSweepOverGetFromAPriorityQueue) {
  Sweep(MakerOf<GetWorld<PriorityQueue<int>>>());
}

struct JoinWorld : Scenario {
  Queue<int> queue;
  bool joined = false;
  JoinWorld() {
    victim = [this]() -> Co<void> {
      for (int i = 0; i < 2; ++i) {
        co_await queue.Put(i);
        co_await queue.Join();
      }
    };
    others = {[this]() -> Co<void> {
                while (auto item = co_await queue.Next()) {
                  co_await Turns(2);
                  queue.TaskDone();
                }
              },
              [this]() -> Co<void> {
                co_await Turns(2);
                co_await queue.Join();
                joined = true;
              }};
    rescue = [this]() -> Co<void> {
      co_await queue.Join();
      queue.Shutdown();
    };
    check = [this] { EXPECT_TRUE(joined); };
  }
};
TEST(ReliabilityT9, CancelSweepOverJoin) { Sweep(MakerOf<JoinWorld>()); }

struct ChannelWorld : Scenario {
  Channel<std::string> in{1};
  Channel<std::string> out{1};
  int sent = 0;
  int received = 0;
  ChannelWorld() {
    // Passes on what it receives; what it holds when it is cancelled it counts.
    victim = [this]() -> Co<void> {
      while (auto text = co_await in.Next()) {
        std::string copy = *text;
        try {
          co_await out.Send(std::move(*text));
        } catch (const CancelledError&) {
          EXPECT_EQ(*text, copy);
          ++received;
          throw;
        }
      }
    };
    others = {
        [this]() -> Co<void> {
          for (int i = 0; i < 6; ++i) {
            co_await in.Send("a text that is long enough to be allocated");
            ++sent;
          }
          in.Close();
        },
        [this]() -> Co<void> {
          while (auto text = co_await out.Next()) {
            EXPECT_EQ(text->size(), 42u);
            ++received;
            co_await Turns(2);
          }
        }};
    rescue = [this]() -> Co<void> {
      while (auto text = co_await in.Next()) ++received;
      out.Close();
    };
    check = [this] {
      EXPECT_EQ(sent, 6);
      EXPECT_EQ(received, 6);
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverChannel) { Sweep(MakerOf<ChannelWorld>()); }

struct BroadcastWorld : Scenario {
  Broadcast<int> news{8};
  std::optional<Broadcast<int>::Subscriber> mine = news.Subscribe();
  int seen = 0;
  BroadcastWorld() {
    victim = [this]() -> Co<void> {
      while (auto value = co_await mine->Next()) {
        EXPECT_EQ(*value, seen++);
        co_await Yield();
      }
    };
    others = {[this]() -> Co<void> {
      for (int i = 0; i < 5; ++i) {
        news.Send(i);
        co_await Turns(2);
      }
      news.Close();
    }};
    rescue = [this]() -> Co<void> {
      // Goes on where the victim was: nothing is missing.
      while (auto value = co_await mine->Next()) EXPECT_EQ(*value, seen++);
    };
    check = [this] {
      EXPECT_EQ(seen, 5);
      mine.reset();
      EXPECT_EQ(news.Subscribers(), 0);
    };
  }
};
TEST(ReliabilityT9, CancelSweepOverBroadcast) {
  Sweep(MakerOf<BroadcastWorld>());
}

struct LatchWorld : Scenario {
  Latch first{1};
  Latch second{1};
  int through = 0;
  Co<void> Wait() {
    co_await first.Wait();
    co_await second.Wait();
    ++through;
  }
  LatchWorld() {
    victim = [this] { return Wait(); };
    others = {[this] { return Wait(); },
              [this]() -> Co<void> {
                co_await Turns(3);
                first.CountDown();
                co_await Turns(3);
                second.CountDown();
              }};
    check = [this] { EXPECT_GE(through, 1); };
  }
};
TEST(ReliabilityT9, CancelSweepOverLatch) { Sweep(MakerOf<LatchWorld>()); }

// ---- T11 and T12: seeded simulation
// ----------------------------------------------

constexpr uint64_t kSeeds = 150;

void RunSeeds(uint32_t operations, bool timeouts) {
  int64_t cancelled = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorkloadOptions options;
    options.seed = seed;
    options.operations = operations;
    options.timeouts = timeouts;
    const WorkloadResult result = RunWorkload(options);
    cancelled += result.cancelled;
    for (const std::string& violation : result.violations) {
      ADD_FAILURE() << NamesOf(operations) << ": " << violation << "\n  seed "
                    << seed;
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(cancelled, static_cast<int64_t>(kSeeds));
}

class ReliabilityT11 : public testing::TestWithParam<uint32_t> {};

TEST_P(ReliabilityT11, NobodyWaitsForWhatIsFree) {
  RunSeeds(GetParam(), false);
}

std::string NameOfParam(const testing::TestParamInfo<uint32_t>& info) {
  return NamesOf(info.param);
}

INSTANTIATE_TEST_SUITE_P(Sync, ReliabilityT11,
                         testing::Values(kLock, kRwLock, kEvent, kCondition,
                                         kSemaphore, kBoundedSemaphore,
                                         kBarrier, kQueue, kLifoQueue,
                                         kPriorityQueue, kChannel, kBroadcast,
                                         kLock | kCondition | kSemaphore),
                         NameOfParam);

class ReliabilityT12 : public testing::TestWithParam<uint32_t> {};

TEST_P(ReliabilityT12, NothingIsLostUnderTimeouts) {
  RunSeeds(GetParam(), true);
}

INSTANTIATE_TEST_SUITE_P(Sync, ReliabilityT12,
                         testing::Values(kQueue, kLifoQueue, kPriorityQueue,
                                         kChannel,
                                         kQueue | kLifoQueue | kPriorityQueue),
                         NameOfParam);

}  // namespace
}  // namespace coil
