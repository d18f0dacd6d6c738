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

// A loop in debug mode whose time moves by hand.
class DebugLoop {
 public:
  DebugLoop() : loop_(Options(clock_)) {}
  EventLoop& operator*() { return loop_; }
  EventLoop* operator->() { return &loop_; }
  void Pass(absl::Duration d) { clock_.AdvanceTo(clock_.Now() + d); }

 private:
  static LoopOptions Options(Clock& clock) {
    LoopOptions options;
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
