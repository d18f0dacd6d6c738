#include "coil/loop/watchdog.h"

#include <atomic>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/stall_probe.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"
#include "tests/loop/stall.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::Mailbox;
using coil_testing::NamedStep;
using coil_testing::RunOnePass;
using coil_testing::Stall;
using internal::StallDetector;

constexpr absl::Duration kShort = absl::Milliseconds(1);

// Example of watchdog.h.
void Watched(coil::EventLoop& loop) {
  coil::Watchdog watchdog(loop, {.threshold = absl::Milliseconds(500)});
  loop.RunForever();
}

TEST(WatchdogTest, ExampleOfTheHeader) {
  EventLoop loop;
  loop.CallSoon([&] { loop.Stop(); });
  Watched(loop);
}

TEST(WatchdogTest, ReportsWhileTheLoopIsStillBlocked) {
  EventLoop loop;
  Stall stall;
  Watchdog watchdog(loop, {.threshold = kShort}, stall.Reporter());
  StallReport report;
  // The callback does not return before the report has come.
  loop.CallSoon([&] { report = stall.AwaitReport(); });
  RunOnePass(loop);
  EXPECT_GE(report.blocked_for, kShort);
  EXPECT_EQ(report.what.find("CallSoon at watchdog_test.cc:"), 0u)
      << report.what;
  EXPECT_EQ(watchdog.Stalls(), 1u);
}

// noinline and extern "C", so that the name is there and plain.
extern "C" __attribute__((noinline)) void FunctionThatBlocksTheLoop(
    Stall* stall, StallReport* report) {
  *report = stall->AwaitReport();
}

TEST(WatchdogTest, ShowsTheStackOfTheBlockedCode) {
  EventLoop loop;
  Stall stall;
  Watchdog watchdog(loop, {.threshold = kShort}, stall.Reporter());
  StallReport report;
  loop.CallSoon([&] { FunctionThatBlocksTheLoop(&stall, &report); });
  RunOnePass(loop);
  std::string stack;
  for (const std::string& frame : report.stack) stack += frame + "\n";
  EXPECT_NE(stack.find("FunctionThatBlocksTheLoop"), std::string::npos)
      << stack;
  EXPECT_EQ(stack.find("CoilStackSignalHandler"), std::string::npos) << stack;
}

TEST(WatchdogTest, NamesATaskByItsDescription) {
  class BlockingStep final : public NamedStep {
   public:
    BlockingStep(Stall& stall, StallReport& report,
                 std::vector<std::string>& log)
        : NamedStep("unused", log), stall_(stall), report_(report) {}
    void Run() override { report_ = stall_.AwaitReport(); }
    size_t DescribeTo(char* buffer, size_t size) const noexcept override {
      const std::string_view name = "Task-3 at main.cc:12";
      return name.copy(buffer, size);
    }

   private:
    Stall& stall_;
    StallReport& report_;
  };
  EventLoop loop;
  Stall stall;
  StallReport report;
  std::vector<std::string> log;
  BlockingStep step(stall, report, log);
  Watchdog watchdog(loop, {.threshold = kShort}, stall.Reporter());
  internal::CoreOf(loop).Schedule(&step);
  RunOnePass(loop);
  EXPECT_EQ(report.what, "Task-3 at main.cc:12");
}

TEST(WatchdogTest, WithoutACaptureItReportsTheTimeAlone) {
  EventLoop loop;
  Stall stall;
  Watchdog watchdog(loop, {.threshold = kShort, .capture_stack = false},
                    stall.Reporter());
  StallReport report;
  loop.CallSoon([&] { report = stall.AwaitReport(); });
  RunOnePass(loop);
  EXPECT_EQ(report.what, "");
  EXPECT_TRUE(report.stack.empty());
  EXPECT_GE(report.blocked_for, kShort);
}

TEST(WatchdogTest, WithoutAReporterItWritesADiagnostic) {
  Mailbox<std::string> mailbox;
  DiagnosticSink before = SetDiagnosticSink(
      [&](std::string_view message) { mailbox.Put(std::string(message)); });
  std::string message;
  {
    EventLoop loop;
    Watchdog watchdog(loop, {.threshold = kShort});
    loop.CallSoon([&] { message = mailbox.Await(); });
    RunOnePass(loop);
  }
  SetDiagnosticSink(std::move(before));
  EXPECT_EQ(message.find("coil: the event loop has been blocked for "), 0u)
      << message;
  EXPECT_NE(message.find("in CallSoon at watchdog_test.cc"), std::string::npos);
}

TEST(WatchdogTest, EachStallIsReportedOnce) {
  EventLoop loop;
  std::vector<Mailbox<bool>> reported(3);
  std::atomic<size_t> reports{0};
  Watchdog watchdog(loop, {.threshold = kShort}, [&](const StallReport&) {
    reported.at(reports++).Put(true);
  });
  for (size_t i = 0; i < 3; ++i) {
    loop.CallSoon([&, i] { reported[i].Await(); });
    RunOnePass(loop);
  }
  EXPECT_EQ(watchdog.Stalls(), 3u);
}

TEST(WatchdogTest, ReporterThatThrowsDoesNotEndTheProgram) {
  EventLoop loop;
  Mailbox<bool> reported;
  CapturedDiagnostics diagnostics;
  {
    Watchdog watchdog(loop, {.threshold = kShort}, [&](const StallReport&) {
      reported.Put(true);
      throw std::runtime_error("bad reporter");
    });
    loop.CallSoon([&] { reported.Await(); });
    RunOnePass(loop);
  }
  EXPECT_NE(diagnostics.Text().find("bad reporter"), std::string::npos);
}

TEST(WatchdogTest, LoopHasOneWatchdogAtATime) {
  EventLoop loop;
  {
    Watchdog first(loop);
    EXPECT_THROW(Watchdog second(loop), std::runtime_error);
  }
  Watchdog next(loop);
}

TEST(WatchdogTest, ThresholdMustBePositive) {
  EventLoop loop;
  EXPECT_THROW(Watchdog(loop, {.threshold = absl::ZeroDuration()}),
               std::invalid_argument);
  EXPECT_THROW(Watchdog(loop, {.threshold = -absl::Seconds(1)}),
               std::invalid_argument);
}

TEST(WatchdogTest, IntervalMustNotBeNegative) {
  EventLoop loop;
  WatchdogOptions options;
  options.interval = -kShort;
  EXPECT_THROW(Watchdog(loop, options), std::invalid_argument);
}

TEST(WatchdogTest, InfiniteTimesAreFine) {
  EventLoop loop;
  {
    WatchdogOptions options;
    options.threshold = absl::InfiniteDuration();
    Watchdog watchdog(loop, options);
    RunOnePass(loop);
    EXPECT_EQ(watchdog.Stalls(), 0u);
  }
  WatchdogOptions options;
  options.interval = absl::InfiniteDuration();
  Watchdog watchdog(loop, options);
}

// The node of a step may be gone when debug mode reports that it was slow.
TEST(WatchdogTest, ReportOfDebugModeIsNoPartOfTheStep) {
  constexpr absl::Duration kThreshold = absl::Milliseconds(20);
  EventLoop other;
  Stall other_stall;
  Watchdog other_watchdog(other, {.threshold = 3 * kThreshold},
                          other_stall.Reporter());
  std::atomic<bool> reporting{false};
  std::atomic<int> wrong{0};
  EventLoop loop;
  loop.SetDebug(true);
  loop.SetSlowCallbackDuration(absl::ZeroDuration());
  Watchdog watchdog(loop, {.threshold = kThreshold},
                    [&](const StallReport&) { wrong += reporting; });
  // A sink that takes longer than a step may.
  DiagnosticSink before = SetDiagnosticSink([&](std::string_view) {
    reporting = true;
    std::thread([&] {
      other.CallSoon([&] { other_stall.AwaitReport(); });
      RunOnePass(other);
    }).join();
    reporting = false;
  });
  loop.CallSoon([] {});
  RunOnePass(loop);
  SetDiagnosticSink(std::move(before));
  EXPECT_EQ(other_stall.Reports(), 1);
  EXPECT_EQ(wrong, 0);
}

TEST(WatchdogTest, RestoresTheSignalThatItUses) {
  EventLoop loop;
  {
    Watchdog watchdog(loop, {.signal = SIGUSR2});
  }
  struct sigaction now{};
  ::sigaction(SIGUSR2, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

TEST(WatchdogTest, TwoLoopsMayBeWatched) {
  EventLoop a, b;
  Stall stall_a, stall_b;
  Watchdog watchdog_a(a, {.threshold = kShort}, stall_a.Reporter());
  Watchdog watchdog_b(b, {.threshold = kShort}, stall_b.Reporter());
  a.CallSoon([&] { stall_a.AwaitReport(); });
  b.CallSoon([&] { stall_b.AwaitReport(); });
  RunOnePass(a);
  RunOnePass(b);
  EXPECT_EQ(stall_a.Reports(), 1);
  EXPECT_EQ(stall_b.Reports(), 1);
}

TEST(WatchdogTest, MayBeMadeAndEndedByACallback) {
  EventLoop loop;
  std::unique_ptr<Watchdog> watchdog;
  Stall stall;
  loop.CallSoon([&] {
    watchdog = std::make_unique<Watchdog>(
        loop, WatchdogOptions{.threshold = kShort}, stall.Reporter());
    loop.CallSoon([&] {
      stall.AwaitReport();
      watchdog.reset();
      loop.CallSoon([&] { loop.Stop(); });
    });
  });
  loop.RunForever();
  EXPECT_EQ(stall.Reports(), 1);
}

TEST(WatchdogTest, StepsRunInTheSameOrder) {
  EventLoop loop;
  Watchdog watchdog(loop);
  std::vector<int> order;
  for (int i = 0; i < 200; ++i) {
    loop.CallSoon([&order, i] { order.push_back(i); });
  }
  RunOnePass(loop);
  ASSERT_EQ(order.size(), 200u);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(WatchdogTest, ReportReadsAsText) {
  StallReport report;
  report.blocked_for = absl::Milliseconds(1500);
  report.what = "Task-1 at a.cc:3";
  report.stack = {"0x1  f", "0x2  g"};
  EXPECT_EQ(report.ToString(),
            "coil: the event loop has been blocked for 1.5s in "
            "Task-1 at a.cc:3\n    0x1  f\n    0x2  g");
}

// ---- when a step is too long: no clock, no threads
// ----------------------------

TEST(StallDetectorTest, ReportsAStepThatReachesTheThreshold) {
  StallDetector detector(absl::Seconds(1));
  EXPECT_FALSE(detector.Look(1, absl::Seconds(10)).has_value());
  EXPECT_FALSE(detector.Look(1, absl::Seconds(10.9)).has_value());
  EXPECT_EQ(detector.Look(1, absl::Seconds(11)), absl::Seconds(1));
}

TEST(StallDetectorTest, IntervalIsAQuarterOfTheThresholdWithinBounds) {
  const absl::Duration zero = absl::ZeroDuration();
  const absl::Duration infinite = absl::InfiniteDuration();
  EXPECT_EQ(StallDetector::Interval(absl::Seconds(1), zero),
            absl::Milliseconds(250));
  EXPECT_EQ(StallDetector::Interval(absl::Nanoseconds(1), zero),
            absl::Microseconds(100));
  EXPECT_EQ(StallDetector::Interval(absl::Seconds(1), absl::Nanoseconds(1)),
            absl::Nanoseconds(1));
  EXPECT_EQ(StallDetector::Interval(infinite, zero), absl::Hours(1));
  EXPECT_EQ(StallDetector::Interval(absl::Seconds(1), infinite),
            absl::Hours(1));
}

TEST(StallDetectorTest, ReportsEachStepOnce) {
  StallDetector detector(absl::Seconds(1));
  detector.Look(1, absl::Seconds(0));
  EXPECT_TRUE(detector.Look(1, absl::Seconds(2)).has_value());
  EXPECT_FALSE(detector.Look(1, absl::Seconds(4)).has_value());
  detector.Look(3, absl::Seconds(5));
  EXPECT_TRUE(detector.Look(3, absl::Seconds(7)).has_value());
}

TEST(StallDetectorTest, LoopThatMovesOnIsNotBlocked) {
  StallDetector detector(absl::Seconds(1));
  for (uint64_t step = 1; step < 100; step += 2) {
    EXPECT_FALSE(detector.Look(step, absl::Seconds(static_cast<int64_t>(step)))
                     .has_value());
  }
}

TEST(StallDetectorTest, LoopThatSleepsIsNotBlocked) {
  StallDetector detector(absl::Seconds(1));
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(detector.Look(2, absl::Seconds(i * 10)).has_value());
  }
}

}  // namespace
}  // namespace coil
