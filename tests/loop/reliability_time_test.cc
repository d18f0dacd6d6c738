// Rows of the failure catalogue that concern the loop, by their numbers.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/os_error.h"
#include "coil/loop/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;

// ---- T36: deadlines
// -----------------------------------------------------------

TEST(ReliabilityT36, ExtremeDelaysFireInTimeOrNever) {
  struct Case {
    absl::Duration delay;
    bool fires;
  };
  const std::vector<Case> cases = {
      {absl::ZeroDuration(), true},
      {absl::Nanoseconds(1), true},
      {-absl::Nanoseconds(1), true},
      {absl::Milliseconds((int64_t{1} << 31) - 1), true},
      {absl::Milliseconds((int64_t{1} << 31) + 1), true},
      {absl::Milliseconds(int64_t{1} << 32), true},
      {absl::Nanoseconds(std::numeric_limits<int64_t>::max()), false},
      {absl::InfiniteDuration(), false},
      {-absl::InfiniteDuration(), true},
  };
  for (const Case& c : cases) {
    SimulatedLoop loop;
    // Some time has passed already.
    loop->CallLater(absl::Hours(1), [&] { loop->Stop(); });
    loop->RunForever();
    const LoopTime start = loop->Now();
    bool fired = false;
    loop->CallLater(c.delay, [&] {
      fired = true;
      EXPECT_GE(loop->Now() - start, c.delay);
      EXPECT_LE(loop->Now() - start, std::max(c.delay, absl::ZeroDuration()));
    });
    // Longer than 2^32 ms, shorter than 2^63 ns.
    loop->CallLater(absl::Hours(24 * 365 * 100), [&] { loop->Stop(); });
    loop->RunForever();
    EXPECT_EQ(fired, c.fires) << c.delay;
  }
}

TEST(ReliabilityT36, NotANumberFiresAtOnceOrNeverAndBreaksNothing) {
  SimulatedLoop loop;
  loop->CallLater(absl::Seconds(std::nan("")), [] {});
  loop->CallLater(absl::Seconds(-std::nan("")), [] {});
  bool ran = false;
  loop->CallLater(absl::Seconds(1), [&] {
    ran = true;
    loop->Stop();
  });
  loop->RunForever();
  EXPECT_TRUE(ran);
}

TEST(ReliabilityT36, NoneOfManyTimersIsEarly) {
  std::mt19937_64 random(36);
  SimulatedLoop loop;
  int early = 0;
  int left = 100'000;
  for (int i = 0; i < 100'000; ++i) {
    const LoopTime due =
        loop->Now() +
        absl::Nanoseconds(static_cast<int64_t>(random() % 60'000'000'000));
    loop->CallAt(due, [&, due] {
      if (loop->Now() < due) ++early;
      if (--left == 0) loop->Stop();
    });
  }
  loop->RunForever();
  EXPECT_EQ(early, 0);
}

// ---- T37: the clock goes back or stands still
// ---------------------------------

class RestlessClock final : public Clock {
 public:
  explicit RestlessClock(uint64_t seed) : random_(seed) {}
  LoopTime Now() noexcept override {
    switch (random_() % 4) {
      case 0:
        now_ += absl::Nanoseconds(static_cast<int64_t>(random_() % 1'000'000));
        break;
      case 1: {  // back, for one look
        const int64_t back = static_cast<int64_t>(random_() % 1'000'000'000);
        return now_ - absl::Nanoseconds(back);
      }
      default:
        break;
    }
    return now_;
  }
  bool SkipTo(LoopTime when) noexcept override {
    if (when > now_) now_ = when;
    return true;
  }

 private:
  std::mt19937_64 random_;
  LoopTime now_ = LoopTime() + absl::Hours(1);
};

TEST(ReliabilityT37, ClockThatGoesBackNeitherStopsNorHastensTimers) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    RestlessClock clock(seed);
    LoopOptions options;
    options.clock = &clock;
    EventLoop loop(options);
    LoopTime last = loop.Now();
    int fired = 0;
    for (int i = 0; i < 20; ++i) {
      const LoopTime due = last + absl::Milliseconds(i * 7 % 20);
      loop.CallAt(due, [&, due] {
        EXPECT_GE(loop.Now(), due) << "seed " << seed;
        EXPECT_GE(loop.Now(), last) << "seed " << seed;
        last = loop.Now();
        if (++fired == 20) loop.Stop();
      });
    }
    loop.RunForever();
    EXPECT_EQ(fired, 20) << "seed " << seed;
  }
}

// ---- T39: many timers, most of them cancelled
// ---------------------------------

TEST(ReliabilityT39, MillionTimersNinetyNinePercentCancelled) {
  class Timer final : public internal::TimerNode {
   public:
    void Fire() noexcept override { fired = true; }
    bool fired = false;
  };
  constexpr size_t kTimers = 1'000'000;
  std::mt19937_64 random(39);
  SimulatedLoop loop;
  internal::LoopCore& core = internal::CoreOf(*loop);
  auto timers = std::make_unique<Timer[]>(kTimers);
  for (size_t i = 0; i < kTimers; ++i) {
    core.Arm(&timers[i], core.Now() + absl::Nanoseconds(static_cast<int64_t>(
                                          random() % 1'000'000'000)));
  }
  for (size_t i = 0; i < kTimers; ++i) {
    if (i % 100 != 0) core.Disarm(&timers[i]);
  }
  loop->CallLater(absl::Seconds(2), [&] { loop->Stop(); });
  loop->RunForever();
  size_t fired = 0;
  for (size_t i = 0; i < kTimers; ++i) {
    if (timers[i].fired) ++fired;
    ASSERT_EQ(timers[i].fired, i % 100 == 0);
  }
  EXPECT_EQ(fired, kTimers / 100);
}

TEST(ReliabilityT39, CancelledCallbacksFreeTheirMemoryAtOnce) {
  SimulatedLoop loop;
  auto token = std::make_shared<int>(0);
  for (int i = 0; i < 100'000; ++i) {
    loop->CallLater(absl::Hours(1), [token] {}).Cancel();
  }
  EXPECT_EQ(token.use_count(), 1);
}

// ---- T40: fork without exec
// ---------------------------------------------------

TEST(ReliabilityT40, ParentLosesNoEventsToAChildThatUsesTheLoop) {
  EventLoop loop;
  Pipe pipe;
  Pipe ready;
  int events = 0;
  loop.AddReader(pipe.read.get(), [&] {
    pipe.Take();
    ++events;
  });
  const pid_t pid = ::fork();
  if (pid == 0) {
    int refused = 0;
    for (int i = 0; i < 100; ++i) {
      try {
        RunOnePass(loop);
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
    ready.Put();
    ::_exit(refused == 100 ? 0 : 1);
  }
  for (int i = 0; i < 10'000; ++i) {
    pipe.Put();
    RunOnePass(loop);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(events, 10'000);
}

// ---- T41: signals
// -------------------------------------------------------------

TEST(ReliabilityT41, EachKindOfManySignalsFromTwoProcessesIsSeen) {
  constexpr std::array<int, 4> kKinds = {SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH};
  EventLoop loop;
  std::array<int, 4> seen = {};
  for (size_t i = 0; i < kKinds.size(); ++i) {
    loop.AddSignalHandler(kKinds[i], [&seen, i] { ++seen[i]; });
  }
  const pid_t parent = ::getpid();
  std::array<pid_t, 2> children;
  for (pid_t& child : children) {
    child = ::fork();
    if (child == 0) {
      for (int i = 0; i < 5'000; ++i) {
        ::kill(parent, kKinds[static_cast<size_t>(i) % kKinds.size()]);
      }
      ::_exit(0);
    }
  }
  // A handler comes and goes at each turn.
  int turns = 0;
  int living = 2;
  std::function<void()> turn = [&] {
    ++turns;
    loop.RemoveSignalHandler(SIGURG);
    loop.AddSignalHandler(SIGURG, [] {});
    int status = 0;
    while (living > 0 && ::waitpid(-1, &status, WNOHANG) > 0) --living;
    if (living == 0) {
      loop.Stop();
    } else {
      loop.CallSoon([&] { turn(); });
    }
  };
  loop.CallSoon([&] { turn(); });
  loop.RunForever();
  RunOnePass(loop);
  for (size_t i = 0; i < kKinds.size(); ++i) {
    EXPECT_GT(seen[i], 0) << "signal " << kKinds[i];
  }
  // And none is lost at the end.
  for (size_t i = 0; i < kKinds.size(); ++i) {
    const int before = seen[i];
    ::raise(kKinds[i]);
    RunOnePass(loop);
    EXPECT_EQ(seen[i], before + 1);
  }
}

// ---- T42: EINTR
// ---------------------------------------------------------------

int g_interruptions = 0;

int OftenInterruptedWait(int epfd, epoll_event* events, int max, int timeout) {
  if (++g_interruptions % 3 == 1) {
    errno = EINTR;
    return -1;
  }
  return ::epoll_wait(epfd, events, max, timeout);
}

int OftenInterruptedPwait2(int epfd, epoll_event* events, int max,
                           const timespec* timeout) {
  if (++g_interruptions % 3 == 1) {
    errno = EINTR;
    return -1;
  }
  return internal::kRealSyscalls.epoll_pwait2(epfd, events, max, timeout);
}

TEST(ReliabilityT42, InterruptedPollsLoseNothingAndFireNothingEarly) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_wait = OftenInterruptedWait;
  table.epoll_pwait2 = OftenInterruptedPwait2;
  internal::ScopedSyscalls scope(&table);
  g_interruptions = 0;
  EventLoop loop;
  Pipe pipe;
  size_t bytes = 0;
  int timers = 0;
  int early = 0;
  // Not how often: where the interrupted poll took longer than the timer does,
  // two bytes are one event.
  loop.AddReader(pipe.read.get(), [&] { bytes += pipe.Take().size(); });
  std::function<void()> next = [&] {
    pipe.Put();
    const LoopTime due = loop.Now() + absl::Microseconds(200);
    loop.CallAt(due, [&, due] {
      if (loop.Now() < due) ++early;
      if (++timers == 200) {
        loop.Stop();
      } else {
        next();
      }
    });
  };
  next();
  loop.RunForever();
  EXPECT_EQ(timers, 200);
  EXPECT_EQ(early, 0);
  EXPECT_GE(bytes, 199u);  // the poll for the last one may be interrupted
  EXPECT_GT(g_interruptions, 100);
}

TEST(ReliabilityT42, StormOfSignalsDisturbsNeitherTimersNorDescriptors) {
  EventLoop loop;
  int signals = 0;
  loop.AddSignalHandler(SIGUSR1, [&] { ++signals; });
  std::atomic<bool> done{false};
  std::thread storm([&] {
    while (!done) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::yield();
    }
  });
  int timers = 0;
  int early = 0;
  std::function<void()> next = [&] {
    const LoopTime due = loop.Now() + absl::Microseconds(300);
    loop.CallAt(due, [&, due] {
      if (loop.Now() < due) ++early;
      // The storm may begin late.
      if (++timers >= 200 && signals > 0) {
        loop.Stop();
      } else {
        next();
      }
    });
  };
  next();
  loop.RunForever();
  done = true;
  storm.join();
  EXPECT_GE(timers, 200);
  EXPECT_EQ(early, 0);
  EXPECT_GT(signals, 0);
}

// ---- T77: use from a wrong thread
// ---------------------------------------------

TEST(ReliabilityT77, DebugModeRefusesEachEntryPointFromAnotherThread) {
  LoopOptions options;
  options.debug = true;
  EventLoop loop(options);
  using Call = std::function<void()>;
  ThreadPool pool(1);
  const std::vector<std::pair<std::string, Call>> calls = {
      {"CallSoon", [&] { loop.CallSoon([] {}); }},
      {"CallLater", [&] { loop.CallLater(absl::Seconds(1), [] {}); }},
      {"CallAt", [&] { loop.CallAt(LoopTime(), [] {}); }},
      {"AddReader", [&] { loop.AddReader(0, [] {}); }},
      {"AddWriter", [&] { loop.AddWriter(0, [] {}); }},
      {"RemoveReader", [&] { loop.RemoveReader(0); }},
      {"RemoveWriter", [&] { loop.RemoveWriter(0); }},
      {"AddSignalHandler", [&] { loop.AddSignalHandler(SIGUSR1, [] {}); }},
      {"RemoveSignalHandler", [&] { loop.RemoveSignalHandler(SIGUSR1); }},
      {"SetExceptionHandler", [&] { loop.SetExceptionHandler(nullptr); }},
      {"DefaultExecutor", [&] { loop.DefaultExecutor(); }},
      {"SetDefaultExecutor", [&] { loop.SetDefaultExecutor(&pool); }},
      {"GetPoller", [&] { loop.GetPoller(); }},
  };
  std::vector<std::string> errors;
  loop.CallSoon([&] {
    std::thread other([&] {
      for (const auto& [name, call] : calls) {
        try {
          call();
          errors.push_back(name + ": no error");
        } catch (const std::runtime_error& e) {
          if (std::string(e.what()).find(name + ": called from a thread") !=
              0) {
            errors.push_back(e.what());
          }
        }
      }
    });
    other.join();
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(errors, std::vector<std::string>());
}

TEST(ReliabilityT77, ALoopThatDoesNotRunMayBePreparedAnywhere) {
  LoopOptions options;
  options.debug = true;
  EventLoop loop(options);
  bool ran = false;
  std::thread other([&] { loop.CallSoon([&] { ran = true; }); });
  other.join();
  RunOnePass(loop);
  EXPECT_TRUE(ran);
}

TEST(ReliabilityT77, ALoopMayRunInOneThreadAfterAnother) {
  EventLoop loop;
  int runs = 0;
  for (int i = 0; i < 3; ++i) {
    std::thread runner([&] {
      loop.CallSoon([&] { ++runs; });
      RunOnePass(loop);
    });
    runner.join();
  }
  EXPECT_EQ(runs, 3);
}

TEST(ReliabilityT77, LoopThatRunsElsewhereCannotBeRunHere) {
  EventLoop loop;
  std::thread runner([&] { loop.RunForever(); });
  while (!loop.IsRunning()) std::this_thread::yield();
  EXPECT_THROW(loop.RunForever(), std::runtime_error);
  loop.CallSoonThreadSafe([&] { loop.Stop(); });
  runner.join();
}

}  // namespace
}  // namespace coil
