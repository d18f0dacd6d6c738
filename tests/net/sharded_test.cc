// One loop in each of several threads.

#include "coil/net/sharded.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "coil/loop/simulation.h"
#include "coil/net/streams.h"
#include "coil/sync/event.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/invoke.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

class ShardedTest : public coil_testing::NetTest {};

TEST_F(ShardedTest, EachShardHasAThreadAndALoopOfItsOwn) {
  absl::Mutex mutex;
  std::vector<int> indices;
  std::set<std::thread::id> threads;
  std::set<EventLoop*> loops;
  const std::thread::id caller = std::this_thread::get_id();
  RunSharded(4, [&](Shard shard) -> Co<void> {
    co_await Yield();
    const absl::MutexLock lock(&mutex);
    EXPECT_EQ(shard.Count(), 4);
    EXPECT_EQ(&shard.Loop(shard.Index()), &EventLoop::Current());
    EXPECT_EQ(std::this_thread::get_id() == caller, shard.Index() == 0);
    indices.push_back(shard.Index());
    threads.insert(std::this_thread::get_id());
    loops.insert(&EventLoop::Current());
  });
  std::sort(indices.begin(), indices.end());
  EXPECT_EQ(indices, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(threads.size(), 4u);
  EXPECT_EQ(loops.size(), 4u);
}

TEST_F(ShardedTest, AnErrorCancelsTheOthersAndComesOut) {
  std::atomic<int> started = 0;
  std::atomic<int> cleaned = 0;
  try {
    RunSharded(3, [&](Shard shard) -> Co<void> {
      if (shard.Index() == 1) {
        while (started != 2) co_await Yield();  // or they never begin
        throw std::runtime_error("shard 1 is broken");
      }
      ++started;
      Event never;
      bool cancelled = false;
      try {
        co_await never.Wait();
      } catch (const CancelledError&) {
        cancelled = true;
      }
      EXPECT_TRUE(cancelled);
      // The cleanup is waited for.
      for (int i = 0; i < 100; ++i) co_await Yield();
      ++cleaned;
      throw CancelledError();
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const ExceptionGroup& group) {
    EXPECT_EQ(group.Exceptions().size(), 1u);
    EXPECT_TRUE(group.Contains<std::runtime_error>());
  }
  EXPECT_EQ(cleaned, 2);
}

TEST_F(ShardedTest, WorkIsSubmittedToAnotherLoop) {
  RunSharded(3, [](Shard shard) -> Co<void> {
    for (int i = 0; i < shard.Count(); ++i) {
      auto where = [loop = &shard.Loop(i)]() -> Co<bool> {
        co_await Yield();
        co_return &EventLoop::Current() == loop;
      };
      if (i == shard.Index()) continue;
      EXPECT_TRUE(
          co_await RunCoroutineThreadSafe(Invoke(where), shard.Loop(i)));
    }
  });
}

TEST_F(ShardedTest, AServerSharesItsPort) {
  std::atomic<int> port = 0;
  std::atomic<int> served = 0;
  RunSharded(2, [&](Shard shard) -> Co<void> {
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      co_await writer.Write(co_await reader.ReadLine());
      ++served;
    };
    ServerOptions options;
    options.ReusePort(true);
    Server server;
    if (shard.Index() == 0) {
      server = co_await StartServer(handler, "127.0.0.1", 0, options);
      port = server.Port();
    }
    while (port == 0) co_await Yield();
    if (shard.Index() == 1) {
      server = co_await StartServer(handler, "127.0.0.1", port, options);
    }
    for (int i = 0; i < 20; ++i) {
      auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
      co_await writer.Write("hello\n");
      EXPECT_EQ(co_await reader.ReadLine(), "hello\n");
      co_await writer.Close();
    }
    // The other one may have connections in this one's backlog.
    while (served < 40) co_await Yield();
    co_await server.Shutdown(absl::Seconds(10));
  });
  EXPECT_EQ(served, 40);
}

TEST_F(ShardedTest, WhatIsLeftBehindIsCancelledOnItsOwnLoop) {
  std::atomic<int> cancelled = 0;
  RunSharded(3, [&](Shard) -> Co<void> {
    auto left = [&cancelled, loop = &EventLoop::Current()]() -> Co<void> {
      Event never;
      try {
        co_await never.Wait();
      } catch (const CancelledError&) {
        EXPECT_EQ(&EventLoop::Current(), loop);
        ++cancelled;
        throw;
      }
    };
    CreateTask(left);
    co_await Yield();
  });
  EXPECT_EQ(cancelled, 3);
}

TEST_F(ShardedTest, ALoopThatIsStoppedByItsShardIsAnErrorAndNothingHangs) {
  EXPECT_ANY_THROW(RunSharded(2, [](Shard shard) -> Co<void> {
    if (shard.Index() == 0) co_return;
    EventLoop::Current().Stop();
    co_await Yield();
  }));
}

// The message that ends a shard's loop arrives while the loop, which has been
// stopped by somebody else, is closing.
TEST_F(ShardedTest, ALoopThatIsClosingIsStillToldToStop) {
  std::atomic<bool> lingered = false;
  EXPECT_ANY_THROW(RunSharded(2, [&](Shard shard) -> Co<void> {
    if (shard.Index() == 0) co_return;
    auto linger = [&]() -> Co<void> {
      Event never;
      try {
        co_await never.Wait();
      } catch (const CancelledError&) {
      }
      for (int i = 0; i < 20000; ++i) co_await Yield();
      lingered = true;
    };
    CreateTask(linger);
    co_await Yield();
    EventLoop::Current().Stop();
    co_await Yield();
  }));
  EXPECT_TRUE(lingered);
}

TEST_F(ShardedTest, OneShardIsARun) {
  const SimulationOptions simulation;
  RunOptions options;
  options.simulation = &simulation;
  int runs = 0;
  RunSharded(
      1,
      [&](Shard shard) -> Co<void> {
        EXPECT_EQ(shard.Count(), 1);
        co_await Sleep(absl::Hours(24));
        ++runs;
      },
      options);
  EXPECT_EQ(runs, 1);
}

TEST_F(ShardedTest, MisuseNamesItsRule) {
  const auto nothing = [](Shard) -> Co<void> { co_return; };
  const auto error_of = [](auto f) {
    try {
      f();
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(error_of([&] { RunSharded(0, nothing); }),
            "RunSharded: the number of shards is from 1 to 1024, not 0");
  EXPECT_EQ(error_of([&] { RunSharded(1025, nothing); }),
            "RunSharded: the number of shards is from 1 to 1024, not 1025");
  const SimulationOptions simulation;
  RunOptions options;
  options.simulation = &simulation;
  EXPECT_EQ(
      error_of([&] { RunSharded(2, nothing, options); }),
      "RunSharded: a simulation has one shard: threads are not repeatable");
  RunSharded(1, [&](Shard shard) -> Co<void> {
    EXPECT_EQ(error_of([&] { shard.Loop(1); }),
              "Shard::Loop: there is no shard 1 of 1; they are counted from 0");
    co_return;
  });
}

TEST_F(ShardedTest, TheFactoryMayTakeTheIndexOrNothing) {
  std::atomic<int> sum = 0;
  RunSharded(3, [&](int index) -> Co<void> {
    co_await Yield();
    sum += index;
  });
  EXPECT_EQ(sum, 3);
  RunSharded(3, [&]() -> Co<void> {
    co_await Yield();
    ++sum;
  });
  EXPECT_EQ(sum, 6);
}

}  // namespace
}  // namespace coil::net
