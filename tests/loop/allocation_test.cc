// Scheduling and timers allocate nothing; a callback allocates once.

#include <new>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/pooling.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::AllocationsOf;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;

class Step final : public internal::Runnable {
 public:
  void Run() override { ++runs; }
  void Abandon() noexcept override {}
  std::string Describe() const override { return "step"; }
  int runs = 0;
};

class Timer final : public internal::TimerNode {
 public:
  void Fire() noexcept override { ++fired; }
  int fired = 0;
};

class Post final : public internal::PostNode {
 public:
  void Deliver(internal::ReadyQueue&) noexcept override { ++delivered; }
  void Abandon() noexcept override {}
  int delivered = 0;
};

TEST(AllocationTest, EveryKindOfNewIsCounted) {
  // Called by name: a new-expression may be left out.
  EXPECT_EQ(AllocationsOf([] { ::operator delete(::operator new(8)); }), 1);
  EXPECT_EQ(AllocationsOf([] { ::operator delete[](::operator new[](8)); }), 1);
  EXPECT_EQ(
      AllocationsOf([] { ::operator delete(::operator new(8, std::nothrow)); }),
      1);
}

TEST(AllocationTest, SchedulingAndRunningAStepAllocatesNothing) {
  EventLoop loop;
  Step step;
  internal::LoopCore& core = internal::CoreOf(loop);
  EXPECT_EQ(AllocationsOf([&] {
              for (int i = 0; i < 100; ++i) {
                core.Schedule(&step);
                RunOnePass(loop);
              }
            }),
            0);
  EXPECT_EQ(step.runs, 100);
}

TEST(AllocationTest, TimersAllocateNothing) {
  SimulatedLoop loop;
  std::vector<Timer> timers(1000);
  internal::LoopCore& core = internal::CoreOf(*loop);
  EXPECT_EQ(AllocationsOf([&] {
              for (size_t i = 0; i < timers.size(); ++i) {
                core.Arm(&timers[i],
                         core.Now() + absl::Microseconds(static_cast<int64_t>(
                                          i * 7919 % 100'000)));
              }
              for (size_t i = 0; i < timers.size(); i += 2) {
                core.Disarm(&timers[i]);
              }
            }),
            0);
  loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
  EXPECT_EQ(AllocationsOf([&] { loop->RunForever(); }), 0);
  int fired = 0;
  for (const Timer& timer : timers) fired += timer.fired;
  EXPECT_EQ(fired, 500);
}

TEST(AllocationTest, PostsAllocateNothing) {
  EventLoop loop;
  Post post;
  internal::LoopRemote& remote = *internal::CoreOf(loop).remote();
  EXPECT_EQ(AllocationsOf([&] {
              EXPECT_TRUE(remote.Post(&post));
              RunOnePass(loop);
            }),
            0);
  EXPECT_EQ(post.delivered, 1);
}

TEST(AllocationTest, ReadyDescriptorAllocatesNothing) {
  EventLoop loop;
  Pipe pipe;
  int calls = 0;
  loop.AddReader(pipe.read.get(), [&] { ++calls; });
  pipe.Put();
  EXPECT_EQ(AllocationsOf([&] { RunOnePass(loop); }), 0);
  EXPECT_EQ(calls, 1);
}

TEST(AllocationTest, SignalAllocatesNothing) {
  EventLoop loop;
  int calls = 0;
  loop.AddSignalHandler(SIGUSR1, [&] { ++calls; });
  EXPECT_EQ(AllocationsOf([&] {
              ::raise(SIGUSR1);
              RunOnePass(loop);
            }),
            0);
  EXPECT_EQ(calls, 1);
}

TEST(AllocationTest, SmallCallbackAllocatesOnce) {
  EventLoop loop;
  int runs = 0;
  EXPECT_EQ(AllocationsOf([&] { loop.CallSoon([&runs] { ++runs; }); }), 1);
  // A post lies in a slab of its thread, which is allocated at its begin.
  long of_posts = 0;
  for (int i = 0; i < 10; ++i) {
    of_posts +=
        AllocationsOf([&] { loop.CallSoonThreadSafe([&runs] { ++runs; }); });
  }
  if (COIL_FRAME_POOL) {
    EXPECT_LE(of_posts, 1);
  } else {
    EXPECT_EQ(of_posts, 10);
  }
  EXPECT_EQ(AllocationsOf([&] {
              loop.CallLater(-absl::Seconds(1), [&runs] { ++runs; });
            }),
            1);
  EXPECT_EQ(AllocationsOf([&] { RunOnePass(loop); }), 0);
  EXPECT_EQ(runs, 12);
}

TEST(AllocationTest, NodesAreSmall) {
  // Sizes that are part of the price of a task and of a connection.
  EXPECT_LE(sizeof(internal::Runnable), 16u);
  EXPECT_LE(sizeof(internal::TimerNode), 56u);
  EXPECT_LE(sizeof(internal::PostNode), 16u);
}

}  // namespace
}  // namespace coil
