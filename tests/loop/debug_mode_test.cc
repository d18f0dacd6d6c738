// Debug mode: slow callbacks, use from a wrong thread, and how it is switched
// on.

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::NamedStep;
using coil_testing::RunOnePass;
using coil_testing::ScriptedPoller;

// A loop in debug mode whose time moves by hand.
class DebugLoop {
 public:
  explicit DebugLoop(Poller* poller = nullptr)
      : loop_(Options(clock_, poller)) {}
  EventLoop& operator*() { return loop_; }
  EventLoop* operator->() { return &loop_; }
  void Pass(absl::Duration d) { clock_.AdvanceTo(clock_.Now() + d); }

 private:
  static LoopOptions Options(Clock& clock, Poller* poller) {
    LoopOptions options;
    options.poller = poller;
    options.clock = &clock;
    options.debug = true;
    return options;
  }
  VirtualClock clock_;
  EventLoop loop_;
};

TEST(DebugModeTest, SlowCallbackIsReportedWithItsNameAndItsTime) {
  CapturedDiagnostics diagnostics;
  DebugLoop loop;
  loop->CallSoon([&] { loop.Pass(absl::Milliseconds(250)); });
  RunOnePass(*loop);
  ASSERT_EQ(diagnostics.Count(), 1u);
  EXPECT_EQ(diagnostics.Text().find(
                "coil: executing CallSoon at debug_mode_test.cc:"),
            0u)
      << diagnostics.Text();
  EXPECT_NE(diagnostics.Text().find("took 250ms"), std::string::npos);
}

TEST(DebugModeTest, FastCallbackIsNotReported) {
  CapturedDiagnostics diagnostics;
  DebugLoop loop;
  loop->CallSoon([&] { loop.Pass(absl::Milliseconds(99)); });
  RunOnePass(*loop);
  EXPECT_EQ(diagnostics.Count(), 0u);
}

TEST(DebugModeTest, ThresholdCanBeChanged) {
  CapturedDiagnostics diagnostics;
  DebugLoop loop;
  EXPECT_EQ(loop->SlowCallbackDuration(), absl::Milliseconds(100));
  loop->SetSlowCallbackDuration(absl::Seconds(2));
  EXPECT_EQ(loop->SlowCallbackDuration(), absl::Seconds(2));
  loop->CallSoon([&] { loop.Pass(absl::Seconds(1)); });
  RunOnePass(*loop);
  EXPECT_EQ(diagnostics.Count(), 0u);
  loop->CallSoon([&] { loop.Pass(absl::Seconds(2)); });
  RunOnePass(*loop);
  EXPECT_EQ(diagnostics.Count(), 1u);
}

TEST(DebugModeTest, SlowStepOfATaskIsNamedByItsDescription) {
  class SlowStep final : public NamedStep {
   public:
    SlowStep(DebugLoop& loop, std::vector<std::string>& log)
        : NamedStep("Task-7 at worker.cc:12", log), loop_(loop) {}
    void Run() override { loop_.Pass(absl::Seconds(1)); }

   private:
    DebugLoop& loop_;
  };
  CapturedDiagnostics diagnostics;
  DebugLoop loop;
  std::vector<std::string> log;
  SlowStep step(loop, log);
  internal::CoreOf(*loop).Schedule(&step);
  RunOnePass(*loop);
  EXPECT_EQ(diagnostics.Text(),
            "coil: executing Task-7 at worker.cc:12 took 1s\n");
}

TEST(DebugModeTest, PollThatTakesLongerThanItMayWaitIsReported) {
  CapturedDiagnostics diagnostics;
  ScriptedPoller poller;
  DebugLoop loop(&poller);
  loop->AddReader(0, [] {});
  poller.on_poll = [&] {
    loop.Pass(absl::Milliseconds(100));
    return 3;
  };
  RunOnePass(*loop);
  EXPECT_EQ(poller.timeouts, std::vector<absl::Duration>{absl::ZeroDuration()});
  EXPECT_EQ(diagnostics.Text(), "coil: polling for 0 took 100ms, events: 3\n");
  // It is not the time of the next callback.
  loop->CallSoon([] {});
  loop->SetSlowCallbackDuration(absl::Milliseconds(101));
  RunOnePass(*loop);
  EXPECT_EQ(diagnostics.Count(), 1u);
  loop->Close();
}

TEST(DebugModeTest, PollThatWaitsIsSlowOnlyIfItOversleeps) {
  // Time stands still but in the poller, which sleeps for so long.
  class SleepyClock final : public Clock {
   public:
    LoopTime Now() noexcept override { return now; }
    bool SkipTo(LoopTime) noexcept override { return false; }
    LoopTime now;
  } clock;
  CapturedDiagnostics diagnostics;
  ScriptedPoller poller;
  LoopOptions options;
  options.clock = &clock;
  options.poller = &poller;
  options.debug = true;
  EventLoop loop(options);
  for (const absl::Duration late :
       {absl::ZeroDuration(), absl::Milliseconds(99),
        absl::Milliseconds(100)}) {
    loop.CallLater(absl::Seconds(5), [&] { loop.Stop(); });
    poller.on_poll = [&] {
      clock.now = clock.now + absl::Seconds(5) + late;
      return 0;
    };
    loop.RunForever();
  }
  EXPECT_EQ(diagnostics.Text(), "coil: polling for 5s took 5.1s, events: 0\n");
  // A loop without a timer sleeps for as long as it likes.
  poller.on_poll = [&] {
    clock.now = clock.now + absl::Hours(1);
    loop.Stop();
    return 0;
  };
  loop.RunForever();
  EXPECT_EQ(diagnostics.Count(), 1u);
  loop.SetDebug(false);
  loop.CallSoon([&] { loop.Stop(); });
  loop.RunForever();
  EXPECT_EQ(diagnostics.Count(), 1u);
  loop.Close();
}

TEST(DebugModeTest, OffByDefaultAndSwitchableWhileRunning) {
  CapturedDiagnostics diagnostics;
  ::unsetenv("COIL_DEBUG");
  VirtualClock clock;
  LoopOptions options;
  options.clock = &clock;
  EventLoop loop(options);
  EXPECT_FALSE(loop.Debug());
  auto slow = [&] { clock.AdvanceTo(clock.Now() + absl::Seconds(1)); };
  loop.CallSoon(slow);
  RunOnePass(loop);
  EXPECT_EQ(diagnostics.Count(), 0u);
  loop.CallSoon([&] { loop.SetDebug(true); });
  RunOnePass(loop);
  EXPECT_TRUE(loop.Debug());
  loop.CallSoon(slow);
  RunOnePass(loop);
  EXPECT_EQ(diagnostics.Count(), 1u);
  loop.SetDebug(false);
  loop.CallSoon(slow);
  RunOnePass(loop);
  EXPECT_EQ(diagnostics.Count(), 1u);
}

TEST(DebugModeTest, EnvironmentSwitchesItOn) {
  struct Case {
    const char* value;
    bool on;
  };
  for (const Case& c : {Case{"1", true}, Case{"yes", true}, Case{"0", false},
                        Case{"", false}}) {
    ::setenv("COIL_DEBUG", c.value, 1);
    EventLoop loop;
    EXPECT_EQ(loop.Debug(), c.on) << c.value;
    LoopOptions options;
    options.debug = !c.on;
    EventLoop other(options);
    EXPECT_EQ(other.Debug(), !c.on) << "the option wins";
  }
  ::unsetenv("COIL_DEBUG");
}

TEST(DebugModeTest, PassesRunInTheSameOrder) {
  DebugLoop loop;
  std::vector<int> order;
  for (int i = 0; i < 200; ++i) {
    loop->CallSoon([&order, i] { order.push_back(i); });
  }
  RunOnePass(*loop);
  ASSERT_EQ(order.size(), 200u);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace coil
