// T1: no thread's wake-up of a loop is lost.
//
//   wake_ups_test --posts=5000000     so many posts of each of four threads

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

int64_t g_posts = 100'000;

// A loop that finds out when it was left asleep: the test fails then, instead
// of waiting for good.
class WatchedLoop {
 public:
  WatchedLoop() : poller_(*this), loop_(Options(poller_)) {}
  ~WatchedLoop() { loop_.Close(); }  // before its poller

  EventLoop& operator*() { return loop_; }
  EventLoop* operator->() { return &loop_; }

  // CallSoonThreadSafe(), counted. Any thread.
  template <class F>
  void Post(F f) {
    loop_.CallSoonThreadSafe([this, f = std::move(f)]() mutable {
      ++ran_;
      f();
    });
    posted_.fetch_add(1);
  }

  int64_t ran() const { return ran_; }
  int sleeps() const { return sleeps_; }
  int times_left_asleep() const { return times_left_asleep_; }

 private:
  // Sleeps for a while only, and then looks whether it should have been woken.
  class Sleeper final : public Poller {
   public:
    explicit Sleeper(WatchedLoop& owner) : owner_(owner) {}
    void Add(Watch& watch, int fd, IoEvents interest,
             Trigger trigger) override {
      inner_.Add(watch, fd, interest, trigger);
    }
    void Modify(Watch& watch, IoEvents interest, Trigger trigger) override {
      inner_.Modify(watch, interest, trigger);
    }
    void Remove(Watch& watch) noexcept override { inner_.Remove(watch); }
    int Poll(absl::Duration timeout) override {
      if (timeout > absl::ZeroDuration()) ++owner_.sleeps_;
      const int told = inner_.Poll(std::min(timeout, patience_));
      // The posts that are counted have returned: who had to wake has done so.
      if (told > 0 || owner_.posted_.load() <= owner_.ran_) return told;
      const int told_now = inner_.Poll(absl::ZeroDuration());
      if (told_now == 0) {
        ++owner_.times_left_asleep_;
        patience_ = absl::Milliseconds(1);  // the test has failed
      }
      return told_now;
    }
    const char* Name() const noexcept override { return "watched"; }

   private:
    WatchedLoop& owner_;
    EpollPoller inner_;
    absl::Duration patience_ = absl::Seconds(5);
  };

  static LoopOptions Options(Poller& poller) {
    LoopOptions options;
    options.poller = &poller;
    return options;
  }

  std::atomic<int64_t> posted_{0};
  int64_t ran_ = 0;
  int sleeps_ = 0;
  int times_left_asleep_ = 0;
  Sleeper poller_;
  EventLoop loop_;
};

TEST(ReliabilityT1, EveryPostOfManyThreadsRunsAndTheLoopNeverOversleeps) {
  constexpr size_t kThreads = 4;
  // After so many posts a thread waits for the last of them, so that the loop
  // has to sleep now and then.
  constexpr int64_t kBurst = 64;
  WatchedLoop loop;
  std::array<std::atomic<int64_t>, kThreads> ran{};
  std::vector<std::thread> threads;
  for (std::atomic<int64_t>& mine : ran) {
    threads.emplace_back([&] {
      for (int64_t i = 1; i <= g_posts; ++i) {
        loop.Post([&] {
          if (++mine % kBurst == 0) mine.notify_one();
          // No timer and no other post may be needed to get the last one in.
          if (loop.ran() == static_cast<int64_t>(kThreads) * g_posts) {
            loop->Stop();
          }
        });
        if (i % kBurst != 0) continue;
        for (int64_t seen = mine; seen < i; seen = mine) mine.wait(seen);
      }
    });
  }
  loop->RunForever();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(loop.ran(), static_cast<int64_t>(kThreads) * g_posts);
  EXPECT_EQ(loop.times_left_asleep(), 0);
  std::cout << loop.ran() << " posts, " << loop.sleeps() << " sleeps\n";
}

TEST(ReliabilityT1, PingPongBetweenTwoLoopsNeverHangs) {
  WatchedLoop a;
  WatchedLoop b;
  int64_t left = std::max<int64_t>(g_posts / 10, 1);
  std::function<void()> ping;
  std::function<void()> pong = [&] { a.Post([&] { ping(); }); };
  ping = [&] {
    if (--left == 0) {
      b.Post([&] { b->Stop(); });
      a->Stop();
    } else {
      b.Post([&] { pong(); });
    }
  };
  std::thread other([&] { b->RunForever(); });
  a->CallSoon([&] { ping(); });
  a->RunForever();
  other.join();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(a.times_left_asleep(), 0);
  EXPECT_EQ(b.times_left_asleep(), 0);
  std::cout << a.sleeps() + b.sleeps() << " sleeps\n";
}

void ReadSettings(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--posts=", 0) == 0) {
      g_posts = std::strtoll(argv[i] + 8, nullptr, 10);
    }
  }
}

}  // namespace
}  // namespace coil

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  coil::ReadSettings(argc, argv);
  return RUN_ALL_TESTS();
}
