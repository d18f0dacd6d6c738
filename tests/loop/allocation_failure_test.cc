// T26: each allocation of each scenario fails once. What is allowed then is
// std::bad_alloc from the call, or a report; never a leak, never a loop that
// does not work any more.

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace {

// Only the thread of the test is failed; -1 is off.
thread_local long g_until_failure = -1;
thread_local bool g_failed = false;
std::atomic<long> g_live{0};

bool ShouldFail() {
  if (g_until_failure < 0) return false;
  if (g_until_failure-- > 0) return false;
  g_failed = true;
  return true;
}

}  // namespace

void* operator new(size_t size) {
  if (ShouldFail()) throw std::bad_alloc();
  void* p = std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  ++g_live;
  return p;
}
void operator delete(void* p) noexcept {
  if (p != nullptr) --g_live;
  std::free(p);
}
void operator delete(void* p, size_t) noexcept { operator delete(p); }

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::Pipe;
using coil_testing::RunOnePass;

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
    const long live_before = g_live;
    bool failed = false;
    {
      EventLoop loop;
      Pipe pipe;
      g_failed = false;
      g_until_failure = point;
      try {
        scenario.run(loop, pipe);
      } catch (const std::bad_alloc&) {
      }
      g_until_failure = -1;
      failed = g_failed;
      if (failed) ++injections;
      // The loop still works, with what the scenario left behind.
      loop.SetDebug(false);
      loop.RemoveSignalHandler(SIGUSR1);
      bool ran = false;
      loop.CallSoon([&] { ran = true; });
      RunOnePass(loop);
      ASSERT_TRUE(ran) << "after failure " << point;
    }
    if (diagnostics.Count() == 0) {
      ASSERT_EQ(g_live, live_before) << "leak after failure " << point;
    }
    if (!failed) break;
  }
  EXPECT_GT(injections, 0);
}

INSTANTIATE_TEST_SUITE_P(ReliabilityT26, AllocationFailureTest,
                         ::testing::Range<size_t>(0, 10), [](const auto& info) {
                           return Scenarios()[info.param].name;
                         });

}  // namespace
}  // namespace coil
