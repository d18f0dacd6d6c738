// T26: each allocation of each scenario fails once. What is allowed then is
// std::bad_alloc from the call, or a report; never a leak, never a loop that
// does not work any more.

#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/post_memory.h"
#include "coil/loop/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"
#include "tests/loop/failing_allocations.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::FailAllocationAfter;
using coil_testing::LiveAllocations;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::StopFailingAllocations;

struct Scenario {
  const char* name;
  std::function<void(EventLoop&, Pipe&)> run;
};

// A lambda too large to be stored without an allocation.
struct Large {
  char bytes[64] = {};
};

const std::vector<Scenario>& Scenarios() {
  static const auto* scenarios = new std::vector<Scenario>{
      {"CallSoon",
       [](EventLoop& loop, Pipe&) {
         loop.CallSoon([large = Large()] { (void)large; });
         RunOnePass(loop);
       }},
      {"CallLater",
       [](EventLoop& loop, Pipe&) {
         loop.CallLater(-absl::Seconds(1), [large = Large()] { (void)large; });
         loop.CallLater(absl::Seconds(1), [large = Large()] { (void)large; })
             .Cancel();
         RunOnePass(loop);
       }},
      {"CallSoonThreadSafe",
       [](EventLoop& loop, Pipe&) {
         loop.CallSoonThreadSafe([large = Large()] { (void)large; });
         RunOnePass(loop);
       }},
      {"ThrowingCallback",
       [](EventLoop& loop, Pipe&) {
         loop.CallSoon([] { throw std::runtime_error("on purpose"); });
         RunOnePass(loop);
       }},
      {"AddReader",
       [](EventLoop& loop, Pipe& pipe) {
         loop.AddReader(pipe.read.get(), [large = Large()] { (void)large; });
         pipe.Put();
         RunOnePass(loop);
         loop.RemoveReader(pipe.read.get());
         pipe.Take();
       }},
      {"AddWriter",
       [](EventLoop& loop, Pipe& pipe) {
         loop.AddWriter(pipe.write.get(), [large = Large()] { (void)large; });
         RunOnePass(loop);
         loop.RemoveWriter(pipe.write.get());
       }},
      {"ManyReaders",
       [](EventLoop& loop, Pipe& pipe) {
         std::vector<coil_testing::Fd> copies(20);
         for (coil_testing::Fd& copy : copies) {
           copy = coil_testing::Fd(::dup(pipe.read.get()));
         }
         struct Watches {
           ~Watches() {
             for (const coil_testing::Fd& fd : fds) loop.RemoveReader(fd.get());
           }
           EventLoop& loop;
           const std::vector<coil_testing::Fd>& fds;
         } watches{loop, copies};
         for (const coil_testing::Fd& copy : copies) {
           loop.AddReader(copy.get(), [] {});
         }
         RunOnePass(loop);
       }},
      {"AddSignalHandler",
       [](EventLoop& loop, Pipe&) {
         loop.AddSignalHandler(SIGUSR1, [large = Large()] { (void)large; });
         ::raise(SIGUSR1);
         RunOnePass(loop);
         loop.RemoveSignalHandler(SIGUSR1);
       }},
      {"DebugMode",
       [](EventLoop& loop, Pipe&) {
         loop.SetDebug(true);
         loop.CallSoon([] {});
         RunOnePass(loop);
       }},
      {"DefaultExecutor",
       [](EventLoop& loop, Pipe&) {
         loop.DefaultExecutor().Submit([large = Large()] { (void)large; });
         loop.ShutdownDefaultExecutor();
       }},
      {"NewLoop",
       [](EventLoop&, Pipe&) {
         EventLoop other;
         other.CallSoon([] {});
         RunOnePass(other);
       }},
  };
  return *scenarios;
}

class AllocationFailureTest : public ::testing::TestWithParam<size_t> {};

TEST_P(AllocationFailureTest, LoopSurvivesEachFailure) {
  const Scenario& scenario = Scenarios()[GetParam()];
  SCOPED_TRACE(scenario.name);
  CapturedDiagnostics diagnostics;
  {
    EventLoop first;
  }  // what is made once for the process
  int injections = 0;
  for (long point = 0;; ++point) {
    ASSERT_LT(point, 1'000) << "it allocates without end";
    internal::t_post_memory.Trim();
    const long live_before = LiveAllocations();
    bool failed = false;
    {
      EventLoop loop;
      Pipe pipe;
      FailAllocationAfter(point);
      try {
        scenario.run(loop, pipe);
      } catch (const std::bad_alloc&) {
      }
      failed = StopFailingAllocations();
      if (failed) ++injections;
      // The loop still works, with what the scenario left behind.
      loop.SetDebug(false);
      loop.RemoveSignalHandler(SIGUSR1);
      bool ran = false;
      loop.CallSoon([&] { ran = true; });
      RunOnePass(loop);
      ASSERT_TRUE(ran) << "after failure " << point;
    }
    internal::t_post_memory.Trim();
    if (diagnostics.Count() == 0) {
      ASSERT_EQ(LiveAllocations(), live_before)
          << "leak after failure " << point;
    }
    if (!failed) break;
  }
  EXPECT_GT(injections, 0);
}

INSTANTIATE_TEST_SUITE_P(ReliabilityT26, AllocationFailureTest,
                         ::testing::Range<size_t>(0, 11), [](const auto& info) {
                           return Scenarios()[info.param].name;
                         });

}  // namespace
}  // namespace coil
