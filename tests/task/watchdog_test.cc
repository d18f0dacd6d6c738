// A watchdog names the task that blocks its loop.

#include "coil/loop/watchdog.h"

#include <sys/time.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "coil/task/co.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/loop/stall.h"

namespace coil {
namespace {

using coil_testing::Stall;

constexpr absl::Duration kShort = absl::Milliseconds(1);

// A loop whose watchdog a test starts once the name of what will block it is
// settled: on a busy machine each earlier step may be a stall, too.
class WatchedRun {
 public:
  // Watches every step after the current one.
  void Watch() {
    watchdog_.emplace(runner_.Loop(), WatchdogOptions{.threshold = kShort},
                      stall_.Reporter());
  }
  // Blocks the loop until there is a report.
  void Block() { report_ = stall_.AwaitReport(); }

  // The report on `stuck`, which calls Watch() and, in a later step, Block().
  template <class F>
  StallReport ReportOf(F stuck) {
    auto main = [&]() -> Co<void> { co_await stuck(*this); };
    runner_.Run(main);
    watchdog_.reset();
    return report_;
  }

 private:
  Runner runner_;
  Stall stall_;
  StallReport report_;
  std::optional<Watchdog> watchdog_;
};

TEST(TaskWatchdogTest, NamesATaskByItsNumberAndPlace) {
  int line = 0;
  std::string name;
  WatchedRun watched;
  const StallReport report = watched.ReportOf([&](WatchedRun& run) -> Co<void> {
    auto body = [&]() -> Co<void> {
      run.Block();
      co_return;
    };
    line = std::source_location::current().line() + 1;
    Task<void> task = CreateTask(body);
    name = task.Name();
    run.Watch();
    co_await task;
  });
  EXPECT_EQ(report.what,
            name + " created at watchdog_test.cc:" + std::to_string(line));
}

TEST(TaskWatchdogTest, NamesATaskAsTheUserDid) {
  WatchedRun watched;
  const StallReport report = watched.ReportOf([](WatchedRun& run) -> Co<void> {
    auto body = [&]() -> Co<void> {
      run.Block();
      co_return;
    };
    run.Watch();
    co_await CreateTask(body, {.name = "reader of the log"});
  });
  EXPECT_EQ(report.what.find("reader of the log created at watchdog_test.cc:"),
            0u)
      << report.what;
}

TEST(TaskWatchdogTest, NamesTheTaskAndNotTheCoroutineThatItIsIn) {
  auto child = [](WatchedRun& run) -> Co<void> {
    co_await Yield();
    run.Block();
  };
  WatchedRun watched;
  const StallReport report = watched.ReportOf([&](WatchedRun& run) -> Co<void> {
    CurrentTask().SetName("parent");
    run.Watch();
    co_await child(run);
  });
  EXPECT_EQ(report.what.find("parent created at "), 0u) << report.what;
}

TEST(TaskWatchdogTest, CutsOffANameThatIsTooLong) {
  const std::string name(1000, 'x');
  WatchedRun watched;
  const StallReport report = watched.ReportOf([&](WatchedRun& run) -> Co<void> {
    CurrentTask().SetName(name);
    run.Watch();
    co_await Yield();
    run.Block();
  });
  EXPECT_FALSE(report.what.empty());
  EXPECT_EQ(name.find(report.what), 0u) << report.what;
}

// ---- a signal that comes while the name changes

const internal::TaskCore* g_renamed = nullptr;
std::atomic<int> g_looks{0};
std::atomic<int> g_torn{0};

constexpr std::string_view kFirst = "a name that is too long for the object";
constexpr std::string_view kSecond =
    "B NAME THAT IS TOO LONG FOR THE OBJECT, B";

extern "C" void LookAtTheName(int) {
  char buffer[256];
  const size_t n = g_renamed->DescribeTo(buffer, sizeof(buffer));
  const std::string_view seen(buffer, n);
  const std::string_view name = seen.substr(0, seen.find(" created at "));
  if (name != kFirst && name != kSecond && name.substr(0, 5) != "Task-") {
    g_torn.fetch_add(1, std::memory_order_relaxed);
  }
  g_looks.fetch_add(1, std::memory_order_relaxed);
}

TEST(TaskWatchdogTest, ASignalNeverSeesHalfAName) {
  constexpr int kLooks = 2000;
  struct sigaction before{};
  struct sigaction action{};
  action.sa_handler = LookAtTheName;
  action.sa_flags = SA_RESTART;
  auto main = [&]() -> Co<void> {
    g_renamed = co_await internal::ThisTask();
    sigaction(SIGALRM, &action, &before);
    itimerval often{};
    often.it_interval.tv_usec = often.it_value.tv_usec = 50;
    setitimer(ITIMER_REAL, &often, nullptr);
    const AnyTask self = CurrentTask();
    while (g_looks.load(std::memory_order_relaxed) < kLooks) {
      self.SetName(std::string(kFirst));
      self.SetName(std::string(kSecond));
    }
    itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before, nullptr);
  };
  coil::Run(main);
  EXPECT_EQ(g_torn.load(), 0);
}

}  // namespace
}  // namespace coil
