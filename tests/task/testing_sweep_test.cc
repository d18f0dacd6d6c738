// ForEachCancellationPoint and ForEachDestructionPoint find what they are for:
// each planted mistake below is found, and a scenario without one passes.

#include "coil/task/testing_sweep.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/outcome.h"
#include "coil/task/task.h"
#include "coil/task/testing_time.h"
#include "coil/timers/sleep.h"
#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// What `f` makes fail.
template <class F>
std::vector<std::string> Failures(F f) {
  ::testing::TestPartResultArray results;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &results);
    f();
  }
  std::vector<std::string> messages;
  for (int i = 0; i < results.size(); ++i) {
    messages.push_back(results.GetTestPartResult(i).message());
  }
  return messages;
}

// Which way a Gate goes wrong.
enum class Bug {
  kNone,
  kKeepsGrant,     // a grant that a cancel has overtaken is lost
  kForgetsWaiter,  // a cancelled waiter is granted all the same
};

// A lock without queue: one holder, one waiter.
class Gate {
 public:
  explicit Gate(Bug bug = Bug::kNone) : bug_(bug) {}

  class Entry final : public internal::LeafAwaiter<Entry> {
   public:
    explicit Entry(Gate* gate) : gate_(gate) {}
    Entry(Entry&&) = default;
    ~Entry() { Dispose(); }
    bool Ready() noexcept {
      if (gate_->held_) return false;
      return gate_->held_ = true;
    }
    void Arm() noexcept { gate_->waiter_ = this; }
    void Unlink() noexcept {
      gate_->waiter_ = nullptr;
      if (gate_->bug_ == Bug::kForgetsWaiter) gate_->ghost_ = true;
    }
    void GiveBack() noexcept {
      if (gate_->bug_ != Bug::kKeepsGrant) gate_->Leave();
    }
    void Take() noexcept {}
    void DescribeWait(std::string* out) const override { out->append("gate"); }

   private:
    friend class Gate;
    Gate* gate_;
  };
  Entry Enter() { return Entry(this); }
  void Leave() noexcept {
    if (std::exchange(ghost_, false)) return;  // to the waiter that has gone
    held_ = false;
    if (waiter_ == nullptr) return;
    held_ = true;
    std::exchange(waiter_, nullptr)->Grant();
  }
  bool held() const { return held_; }

 private:
  Bug bug_;
  bool held_ = false;
  bool ghost_ = false;
  Entry* waiter_ = nullptr;
};

class Entered {
 public:
  explicit Entered(Gate& gate) : gate_(gate) {}
  Entered(const Entered&) = delete;
  ~Entered() { gate_.Leave(); }

 private:
  Gate& gate_;
};

Co<void> Pass(Gate& gate) {
  co_await gate.Enter();
  Entered entered(gate);
  co_await Sleep(absl::Seconds(1));
}

Co<void> TwoPass(Gate& gate) {
  Task<void> first = CreateTask(Pass(gate), {.name = "first"});
  Task<void> second = CreateTask(Pass(gate), {.name = "second"});
  co_await first;
  co_await second;
}

// The gate outlives the loop, and must be open after each run.
auto GateScenario(Bug bug, std::shared_ptr<Gate>& gate) {
  return [&gate, bug](SweepRun&) -> Co<void> {
    gate = std::make_shared<Gate>(bug);
    std::shared_ptr<Gate> mine = gate;
    co_await TwoPass(*mine);
  };
}

SweepOptions GateOptions(std::shared_ptr<Gate>& gate) {
  return SweepOptions().Base([&gate] {
    return std::vector<int64_t>{gate != nullptr && gate->held()};
  });
}

// ---- what passes

TEST(CancellationSweepTest, RightScenarioPasses) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kNone, gate);
  const SweepResult result = ForEachCancellationPoint(
      scenario, GateOptions(gate).SecondCancel().Seeds(3));
  EXPECT_EQ(result.failed, 0u);
  EXPECT_GT(result.points, 30u);
  EXPECT_GT(result.runs, result.points);
  EXPECT_EQ(result.cancelled, result.runs);
}

TEST(CancellationSweepTest, CountsAwaitsAndPoints) {
  auto scenario = []() -> Co<void> {
    co_await Yield();
    co_await Sleep(absl::Seconds(1));
  };
  const SweepResult result = ForEachCancellationPoint(scenario);
  EXPECT_EQ(result.awaits, 2u);
  // Before its first step; after the Yield() it is cancelled in the next
  // iteration or before, and likewise for the Sleep().
  EXPECT_EQ(result.points, 5u);
  EXPECT_EQ(result.runs, 5u);
  EXPECT_EQ(result.cancelled, 5u);
  EXPECT_EQ(result.failed, 0u);
}

TEST(CancellationSweepTest, CancelThatComesTooLateCompletes) {
  auto scenario = []() -> Co<void> {
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
    }
  };
  const SweepResult result = ForEachCancellationPoint(scenario);
  EXPECT_EQ(result.failed, 0u);
  EXPECT_EQ(result.cancelled, 1u);  // before its first step
  EXPECT_EQ(result.completed, 2u);
}

TEST(CancellationSweepTest, ScenarioIsMadeAnewForEachRun) {
  int calls = 0;
  int checks = 0;
  int injected = 0;
  auto scenario = [&](SweepRun& run) -> Co<void> {
    ++calls;
    EXPECT_EQ(run.Seed(), 0u);
    if (run.Injects()) ++injected;
    run.AtEnd([&checks] { ++checks; });
    co_await Yield();
  };
  const SweepResult result = ForEachCancellationPoint(scenario);
  // The cancel before the first step is delivered before the call.
  EXPECT_EQ(static_cast<size_t>(calls), 1 + result.points - 1);
  EXPECT_EQ(checks, calls);
  EXPECT_EQ(injected, calls - 1);
}

TEST(CancellationSweepTest, MainTaskOnlyAndMostPoints) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kNone, gate);
  const SweepResult all = ForEachCancellationPoint(scenario);
  const SweepResult main =
      ForEachCancellationPoint(scenario, SweepOptions().MainTaskOnly());
  EXPECT_LT(main.points, all.points);
  EXPECT_GT(main.points, 0u);
  const SweepResult some =
      ForEachCancellationPoint(scenario, SweepOptions().MostPoints(4));
  EXPECT_EQ(some.points, 4u);
  EXPECT_THROW(SweepOptions().MostPoints(0), std::invalid_argument);
  EXPECT_THROW(SweepOptions().Seeds(0), std::invalid_argument);
}

// ---- what is found

TEST(CancellationSweepTest, FindsAGrantThatIsNotGivenBack) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kKeepsGrant, gate);
  SweepResult result;
  const std::vector<std::string> failures = Failures(
      [&] { result = ForEachCancellationPoint(scenario, GateOptions(gate)); });
  ASSERT_THAT(failures, Not(IsEmpty()));
  EXPECT_EQ(result.failed, failures.size());
  EXPECT_THAT(failures[0], HasSubstr("ForEachCancellationPoint fails at 0:"));
  EXPECT_THAT(failures[0], HasSubstr("cancelled: <second ready in "));
  EXPECT_THAT(failures[0], HasSubstr("Pass at testing_sweep_test.cc:"));
  EXPECT_THAT(failures[0], HasSubstr("Base() gives {1} and gave {0}"));
  EXPECT_THAT(failures[0], HasSubstr("COIL_SWEEP_POINT=0:"));
}

TEST(CancellationSweepTest, FindsAWaiterThatIsStillInTheQueue) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kForgetsWaiter, gate);
  const std::vector<std::string> failures =
      Failures([&] { ForEachCancellationPoint(scenario, GateOptions(gate)); });
  EXPECT_THAT(failures, Contains(HasSubstr("Base() gives {1}")));
}

TEST(CancellationSweepTest, FindsAHangAndDumpsTheTasks) {
  // Nobody tells main if the child is cancelled.
  auto scenario = []() -> Co<void> {
    Future<void> done;
    done.SetName("done");
    auto child = [done]() -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      done.SetResult();
    };
    CreateTask(child);
    co_await done;
  };
  const std::vector<std::string> failures =
      Failures([&] { ForEachCancellationPoint(scenario); });
  EXPECT_THAT(failures, Contains(HasSubstr("the scenario hangs: ")));
  EXPECT_THAT(failures, Contains(HasSubstr("waits for future done")));
}

TEST(CancellationSweepTest, FindsATaskThatDoesNotEnd) {
  auto scenario = []() -> Co<void> {
    auto stubborn = []() -> Co<void> {
      for (;;) {
        try {
          co_await Sleep(absl::InfiniteDuration());
        } catch (const CancelledError&) {
        }
      }
    };
    // Only where main is cancelled is the child left over.
    Task<void> child;
    bool cancelled = false;
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    if (cancelled) child = CreateTask(stubborn());
    co_await Yield();
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
              Contains(HasSubstr("the tasks that are left over do not end: ")));
}

TEST(CancellationSweepTest, FindsAScenarioThatGoesOnAndOn) {
  auto scenario = []() -> Co<void> {
    bool cancelled = false;
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    while (cancelled) co_await Yield();
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
              Contains(HasSubstr("the scenario goes on and on")));
}

TEST(CancellationSweepTest, FindsAFrameThatIsLeft) {
  std::vector<Task<void>> kept;
  auto scenario = [&kept]() -> Co<void> {
    Task<void> child = CreateTask(Sleep(absl::Seconds(1)));
    try {
      co_await child;
    } catch (const CancelledError&) {
      kept.push_back(child);
      throw;
    }
  };
  EXPECT_THAT(
      Failures([&] { ForEachCancellationPoint(scenario); }),
      Contains(HasSubstr("1 coroutine frame or task state more than before")));
}

TEST(CancellationSweepTest, FindsADescriptorThatIsLeft) {
  int leaked = -1;
  auto scenario = [&leaked]() -> Co<void> {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    leaked = fd;
    co_await Sleep(absl::Seconds(1));
    close(fd);
    leaked = -1;
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
              Contains(HasSubstr("1 open descriptor more than before")));
}

TEST(CancellationSweepTest, FindsATimerThatIsLeft) {
  auto scenario = []() -> Co<void> {
    TimerHandle timer = EventLoop::Current().CallLater(absl::Hours(1), [] {});
    co_await Sleep(absl::Seconds(1));
    timer.Cancel();
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
              Contains(HasSubstr("1 armed timer more than before")));
}

Co<void> TurnsACancelIntoAnError() {
  bool cancelled = false;
  try {
    co_await Sleep(absl::Seconds(1));
  } catch (const CancelledError&) {
    cancelled = true;
  }
  if (cancelled) throw std::runtime_error("converted");
}

TEST(CancellationSweepTest, FindsAnErrorUnlessItIsAllowed) {
  EXPECT_THAT(
      Failures([&] { ForEachCancellationPoint(TurnsACancelIntoAnError); }),
      Contains(HasSubstr("the scenario threw std::runtime_error: converted")));
  const SweepResult result = ForEachCancellationPoint(
      TurnsACancelIntoAnError, SweepOptions().AllowError<std::runtime_error>());
  EXPECT_EQ(result.failed, 0u);
  EXPECT_THAT(Failures([&] {
                ForEachCancellationPoint(
                    TurnsACancelIntoAnError,
                    SweepOptions().AllowError<std::logic_error>());
              }),
              Not(IsEmpty()));
}

TEST(CancellationSweepTest, FindsAnErrorThatNobodyReads) {
  auto scenario = []() -> Co<void> {
    auto fails = []() -> Co<void> {
      co_await Yield();
      throw std::runtime_error("unread");
    };
    Task<void> child = CreateTask(fails());
    co_await Sleep(absl::Seconds(1));
    co_await Settle(child);
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
              Contains(HasSubstr("reported: Task exception was never retrieved"
                                 ": std::runtime_error: unread")));
  EXPECT_EQ(
      ForEachCancellationPoint(scenario, SweepOptions().AllowReports()).failed,
      0u);
}

// The cleanup awaits, and is cancelled in its midst.
TEST(CancellationSweepTest, SecondCancelFindsAnInterruptedCleanup) {
  int held = 0;
  auto scenario = [&held]() -> Co<void> {
    held = 1;
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
    }
    co_await Yield();
    held = 0;
  };
  const SweepOptions options =
      SweepOptions().Base([&held] { return std::vector<int64_t>{held}; });
  // A single cancel is enough where it hits the Yield(): so the await of the
  // cleanup is only reached after a first one.
  auto only_after_cancel = [&held]() -> Co<void> {
    held = 1;
    bool cancelled = false;
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    if (cancelled) co_await Yield();
    held = 0;
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario, options); }),
              Not(IsEmpty()));
  held = 0;
  EXPECT_EQ(ForEachCancellationPoint(only_after_cancel, options).failed, 0u);
  SweepOptions twice = options;
  const std::vector<std::string> failures = Failures([&] {
    ForEachCancellationPoint(only_after_cancel, twice.SecondCancel());
  });
  ASSERT_THAT(failures, Not(IsEmpty()));
  EXPECT_THAT(failures[0], HasSubstr("\n  and again: <main "));
}

TEST(CancellationSweepTest, ScenarioThatIsWrongByItselfIsSaidSo) {
  auto scenario = []() -> Co<void> {
    co_await Yield();
    throw std::runtime_error("always");
  };
  SweepResult result;
  EXPECT_THAT(
      Failures([&] { result = ForEachCancellationPoint(scenario); }),
      ElementsAre(HasSubstr("the scenario is wrong by itself, with seed 0, "
                            "before anything was done to it\n  the scenario "
                            "threw std::runtime_error: always")));
  EXPECT_EQ(result.points, 0u);
  EXPECT_EQ(result.failed, 1u);
}

TEST(CancellationSweepTest, StopsAfterAFewFailures) {
  int sink = 0;
  auto scenario = [&sink]() -> Co<void> {
    ++sink;
    for (int i = 0; i < 20; ++i) co_await Yield();
  };
  const SweepOptions options =
      SweepOptions().Base([&sink] { return std::vector<int64_t>{sink}; });
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario, options); }),
              SizeIs(1));  // the first run is wrong already
  auto later = [&sink]() -> Co<void> {
    bool cancelled = false;
    for (int i = 0; i < 20; ++i) {
      try {
        co_await Yield();
      } catch (const CancelledError&) {
        cancelled = true;
      }
    }
    if (cancelled) ++sink;
  };
  EXPECT_THAT(Failures([&] { ForEachCancellationPoint(later, options); }),
              SizeIs(3));
}

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    setenv(name, value, 1);
  }
  Environment(const Environment&) = delete;
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(CancellationSweepTest, ReplayRunsTheOnePoint) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kKeepsGrant, gate);
  const std::vector<std::string> failures =
      Failures([&] { ForEachCancellationPoint(scenario, GateOptions(gate)); });
  ASSERT_THAT(failures, Not(IsEmpty()));
  const std::string key = "COIL_SWEEP_POINT=";
  const size_t at = failures[0].find(key) + key.size();
  const std::string point =
      failures[0].substr(at, failures[0].find(' ', at) - at);
  Environment environment("COIL_SWEEP_POINT", point.c_str());
  gate.reset();
  SweepResult result;
  const std::vector<std::string> again = Failures(
      [&] { result = ForEachCancellationPoint(scenario, GateOptions(gate)); });
  EXPECT_EQ(result.runs, 1u);
  EXPECT_THAT(again, ElementsAre(failures[0]));
}

TEST(CancellationSweepTest, ReplayThatIsNoneIsAnError) {
  auto scenario = []() -> Co<void> { co_await Yield(); };
  for (const char* bad : {"1", "x:y", "0:1:2:3", "0:99"}) {
    Environment environment("COIL_SWEEP_POINT", bad);
    EXPECT_THAT(Failures([&] { ForEachCancellationPoint(scenario); }),
                ElementsAre(HasSubstr("COIL_SWEEP_POINT")))
        << bad;
  }
}

// ---- destruction

TEST(DestructionSweepTest, RightScenarioPasses) {
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kNone, gate);
  const SweepResult result =
      ForEachDestructionPoint(scenario, GateOptions(gate).Seeds(3));
  EXPECT_EQ(result.failed, 0u);
  EXPECT_THAT(result.points, Ge(6u));
}

TEST(DestructionSweepTest, FindsAGrantThatIsNotGivenBack) {
  // The second is granted by the first's destructor, and destroyed itself.
  std::shared_ptr<Gate> gate;
  auto scenario = GateScenario(Bug::kKeepsGrant, gate);
  const std::vector<std::string> failures =
      Failures([&] { ForEachDestructionPoint(scenario, GateOptions(gate)); });
  ASSERT_THAT(failures, Not(IsEmpty()));
  EXPECT_THAT(failures[0], HasSubstr("ForEachDestructionPoint fails at 0:"));
  EXPECT_THAT(failures[0], HasSubstr("destroyed when it had just suspended: "));
}

TEST(DestructionSweepTest, FindsACleanupThatIsNoDestructor) {
  int held = 0;
  auto scenario = [&held]() -> Co<void> {
    held = 1;
    try {
      co_await Sleep(absl::Seconds(1));
    } catch (const CancelledError&) {
      held = 0;
      throw;
    }
    held = 0;
  };
  const SweepOptions options =
      SweepOptions().Base([&held] { return std::vector<int64_t>{held}; });
  EXPECT_EQ(ForEachCancellationPoint(scenario, options).failed, 0u);
  EXPECT_THAT(Failures([&] { ForEachDestructionPoint(scenario, options); }),
              Contains(HasSubstr("Base() gives {1} and gave {0}")));
}

TEST(DestructionSweepTest, ReadyTasksWithoutAHandleAreDestroyed) {
  auto scenario = []() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      CreateTask([i]() -> Co<void> {
        for (int j = 0; j < i; ++j) co_await Yield();
      });
    }
    co_await Yield();
    co_await Sleep(absl::Seconds(1));
  };
  EXPECT_EQ(ForEachDestructionPoint(scenario).failed, 0u);
}

}  // namespace
}  // namespace coil
