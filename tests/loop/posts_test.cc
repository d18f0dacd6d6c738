// CallSoonThreadSafe() and LoopRemote: what other threads may do to a loop.

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/simulation.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CountingPoller;
using coil_testing::RunOnePass;
using coil_testing::ScriptedPoller;
using Log = std::vector<std::string>;

TEST(PostsTest, PostFromAnotherThreadRunsOnTheLoop) {
  EventLoop loop;
  std::thread::id ran_on;
  std::thread poster([&] {
    loop.CallSoonThreadSafe([&] {
      ran_on = std::this_thread::get_id();
      loop.Stop();
    });
  });
  loop.RunForever();
  poster.join();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(PostsTest, PostWakesALoopThatSleeps) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  std::thread poster;
  poller.on_blocking_poll = [&](absl::Duration) {
    // The loop has announced its sleep: only a write to the eventfd wakes it.
    if (!poster.joinable()) {
      poster =
          std::thread([&] { loop.CallSoonThreadSafe([&] { loop.Stop(); }); });
    }
  };
  loop.RunForever();
  poster.join();
  EXPECT_EQ(poller.blocking_polls, 1);
  loop.Close();
}

TEST(PostsTest, PostsOfOneThreadKeepTheirOrder) {
  EventLoop loop;
  std::vector<int> order;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) {
      loop.CallSoonThreadSafe([&order, i] { order.push_back(i); });
    }
    loop.CallSoonThreadSafe([&] { loop.Stop(); });
  });
  loop.RunForever();
  poster.join();
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(PostsTest, OrderWithCallSoonIsTheOrderOfTheCalls) {
  EventLoop loop;
  Log log;
  auto schedule = [&] {
    loop.CallSoon([&] { log.push_back("1"); });
    loop.CallSoonThreadSafe([&] { log.push_back("2"); });
    loop.CallSoon([&] { log.push_back("3"); });
    loop.CallSoonThreadSafe([&] { log.push_back("4"); });
  };
  schedule();
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"1", "2", "3", "4"}));
  log.clear();
  loop.CallSoon(schedule);
  RunOnePass(loop);
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"1", "2", "3", "4"}));
}

TEST(PostsTest, PostToARunningLoopFromItsOwnThreadWaitsForTheNextPass) {
  EventLoop loop;
  Log log;
  loop.CallSoon([&] {
    loop.CallSoonThreadSafe([&] { log.push_back("posted"); });
    log.push_back("first");
  });
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"first"}));
}

TEST(PostsTest, CancelFromAnotherThreadBeforeTheRunIsGuaranteed) {
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  Handle handle = loop.CallSoonThreadSafe([token] { ADD_FAILURE(); });
  std::thread canceller([&] {
    handle.Cancel();
    EXPECT_TRUE(handle.Cancelled());
    EXPECT_EQ(token.use_count(), 1);
  });
  canceller.join();
  RunOnePass(loop);
}

TEST(PostsTest, CancelFromAnotherThreadWaitsWhileTheCallbackRuns) {
  EventLoop loop;
  std::atomic<bool> running{false};
  std::atomic<bool> finished{false};
  std::atomic<bool> cancelling{false};
  Handle handle = loop.CallSoonThreadSafe([&] {
    running = true;
    while (!cancelling) std::this_thread::yield();
    finished = true;
  });
  bool was_finished = false;
  std::thread canceller([&] {
    while (!running) std::this_thread::yield();
    cancelling = true;
    handle.Cancel();
    was_finished = finished;
  });
  RunOnePass(loop);
  canceller.join();
  EXPECT_TRUE(was_finished);
  EXPECT_FALSE(handle.Cancelled());
}

TEST(PostsTest, CancelRacingWithTheRunHappensOnceOrNotAtAll) {
  EventLoop loop;
  int ran = 0;
  int cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    auto token = std::make_shared<int>(1);
    Handle handle = loop.CallSoonThreadSafe([&ran, token] { ++ran; });
    std::thread canceller([&] { handle.Cancel(); });
    RunOnePass(loop);
    canceller.join();
    if (handle.Cancelled()) ++cancelled;
    EXPECT_EQ(token.use_count(), 1);
  }
  EXPECT_EQ(ran + cancelled, 300);
}

TEST(PostsTest, PostAfterCloseThrows) {
  EventLoop loop;
  loop.Close();
  std::thread poster([&] {
    EXPECT_THROW(loop.CallSoonThreadSafe([] {}), std::runtime_error);
  });
  poster.join();
}

// The loop outlives the thread that ran it: nothing is lost, nothing runs.
TEST(PostsTest, PostToALoopWhoseThreadIsGoneWaitsForTheNextRun) {
  EventLoop loop;
  std::thread([&] { RunOnePass(loop); }).join();
  EXPECT_FALSE(loop.IsRunning());
  bool ran = false;
  std::thread([&] { loop.CallSoonThreadSafe([&] { ran = true; }); }).join();
  EXPECT_FALSE(ran);
  RunOnePass(loop);
  EXPECT_TRUE(ran);
}

TEST(PostsTest, CloseWhileOthersPostLosesNothingSilently) {
  for (int round = 0; round < 20; ++round) {
    auto token = std::make_shared<int>(1);
    EventLoop loop;
    std::atomic<bool> closed{false};
    int ran = 0;
    std::thread poster([&] {
      for (;;) {
        try {
          loop.CallSoonThreadSafe([token, &ran] { ++ran; });
        } catch (const std::runtime_error&) {
          closed = true;
          return;
        }
      }
    });
    RunOnePass(loop);
    loop.Close();
    poster.join();
    EXPECT_TRUE(closed);
    EXPECT_EQ(token.use_count(), 1);
  }
}

TEST(PostsTest, IsRunningMayBeAskedFromAnotherThread) {
  EventLoop loop;
  std::thread asker([&] {
    while (!loop.IsRunning()) std::this_thread::yield();
    loop.CallSoonThreadSafe([&] { loop.Stop(); });
  });
  loop.RunForever();
  asker.join();
  EXPECT_FALSE(loop.IsRunning());
}

class CountedPost final : public internal::PostNode {
 public:
  CountedPost(int& delivered, int& abandoned)
      : delivered_(delivered), abandoned_(abandoned) {}
  void Deliver(internal::ReadyQueue&) noexcept override { ++delivered_; }
  void Abandon() noexcept override { ++abandoned_; }

 private:
  int& delivered_;
  int& abandoned_;
};

TEST(LoopRemoteTest, DeliversBeforeThePass) {
  EventLoop loop;
  int delivered = 0;
  int abandoned = 0;
  CountedPost post(delivered, abandoned);
  EXPECT_TRUE(internal::CoreOf(loop).remote()->Post(&post));
  RunOnePass(loop);
  EXPECT_EQ(delivered, 1);
  EXPECT_EQ(abandoned, 0);
}

TEST(LoopRemoteTest, CloseAbandonsWhatIsNotDelivered) {
  EventLoop loop;
  int delivered = 0;
  int abandoned = 0;
  CountedPost post(delivered, abandoned);
  EXPECT_TRUE(internal::CoreOf(loop).remote()->Post(&post));
  loop.Close();
  EXPECT_EQ(delivered, 0);
  EXPECT_EQ(abandoned, 1);
}

TEST(LoopRemoteTest, OutlivesItsLoopAndRefuses) {
  std::shared_ptr<internal::LoopRemote> remote;
  {
    EventLoop loop;
    remote = internal::CoreOf(loop).remote();
  }
  int delivered = 0;
  int abandoned = 0;
  CountedPost post(delivered, abandoned);
  EXPECT_FALSE(remote->Post(&post));
  EXPECT_EQ(abandoned, 0);  // still the caller's
  remote->Wake();
}

TEST(LoopRemoteTest, PostsArriveWithinALongPass) {
  EventLoop loop;
  int delivered = 0;
  int abandoned = 0;
  CountedPost post(delivered, abandoned);
  int after = -1;
  loop.CallSoon([&] {
    std::thread([&] {
      EXPECT_TRUE(internal::CoreOf(loop).remote()->Post(&post));
    }).join();
  });
  for (int i = 0; i < 70; ++i) loop.CallSoon([] {});
  loop.CallSoon([&] { after = delivered; });
  RunOnePass(loop);
  EXPECT_EQ(after, 1);
}

// ---- posts between the two looks at the inbox of one wait

// Ends the loop by its delivery alone, without a callback.
class StopPost final : public internal::PostNode {
 public:
  explicit StopPost(EventLoop& loop) : loop_(loop) {}
  void Deliver(internal::ReadyQueue&) noexcept override { loop_.Stop(); }
  void Abandon() noexcept override {}

 private:
  EventLoop& loop_;
};

// Stands still but for what a test adds, and lets the loop wait in its poller.
class HandClock final : public Clock {
 public:
  LoopTime Now() noexcept override { return now; }
  bool SkipTo(LoopTime) noexcept override { return false; }
  LoopTime now;
};

// How long the polls of a loop were allowed to wait, if another thread does
// `post` during the first of them. The poller never waits, so a loop that would
// sleep over the post is found by its polls.
template <class F>
std::vector<absl::Duration> PollsWithAPostInTheFirst(LoopOptions options,
                                                     HandClock& clock, F post) {
  ScriptedPoller poller;
  options.poller = &poller;
  EventLoop loop(options);
  loop.AddReader(0, [] { ADD_FAILURE() << "nothing is ready"; });
  poller.on_poll = [&] {
    clock.now = clock.now + absl::Microseconds(10);
    if (poller.timeouts.size() == 1) std::thread([&] { post(loop); }).join();
    return 0;
  };
  loop.RunForever();
  loop.Close();
  return poller.timeouts;
}

// The same for a stop and for a callback that stops.
void ExpectNoSleepAfterAPost(const LoopOptions& options, HandClock& clock) {
  const std::vector<absl::Duration> one_look = {absl::ZeroDuration()};
  std::unique_ptr<StopPost> stop;
  const std::vector<absl::Duration> before_a_stop =
      PollsWithAPostInTheFirst(options, clock, [&](EventLoop& loop) {
        stop = std::make_unique<StopPost>(loop);
        EXPECT_TRUE(internal::CoreOf(loop).remote()->Post(stop.get()));
      });
  EXPECT_EQ(before_a_stop, one_look);
  const std::vector<absl::Duration> before_a_callback =
      PollsWithAPostInTheFirst(options, clock, [](EventLoop& loop) {
        loop.CallSoonThreadSafe([&loop] { loop.Stop(); });
      });
  EXPECT_EQ(before_a_callback, one_look);
}

TEST(PostsTest, LoopInVirtualTimeDoesNotSleepAfterAPost) {
  const SimulationOptions simulation;
  LoopOptions options;
  options.simulation = &simulation;
  HandClock unused;
  ExpectNoSleepAfterAPost(options, unused);
}

TEST(PostsTest, LoopThatPollsBusilyDoesNotSleepAfterAPost) {
  HandClock clock;
  LoopOptions options;
  options.clock = &clock;
  options.busy_poll = absl::Microseconds(50);
  ExpectNoSleepAfterAPost(options, clock);
}

}  // namespace
}  // namespace coil
