#include "coil/loop/event_loop.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "coil/loop/epoll_poller.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CountingPoller;
using coil_testing::NamedStep;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;

using Log = std::vector<std::string>;

std::string ErrorOf(absl::AnyInvocable<void()> f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

TEST(EventLoopTest, ExampleOfTheHeader) {
  SimulatedLoop simulated;  // the example waits for a second
  EventLoop& loop = *simulated;
  loop.CallLater(absl::Seconds(1), [&loop] { loop.Stop(); });
  loop.RunForever();
  EXPECT_GE(loop.Now(), LoopTime() + absl::Seconds(1));
}

// ---- the iteration
// ------------------------------------------------------------

TEST(EventLoopTest, CallbacksRunInTheOrderOfTheirScheduling) {
  EventLoop loop;
  Log log;
  for (const char* name : {"a", "b", "c"}) {
    loop.CallSoon([&log, name] { log.push_back(name); });
  }
  loop.CallSoon([&] { loop.Stop(); });
  loop.RunForever();
  EXPECT_EQ(log, (Log{"a", "b", "c"}));
}

TEST(EventLoopTest, PassRunsExactlyWhatWasReadyWhenItBegan) {
  EventLoop loop;
  Log log;
  loop.CallSoon([&] {
    log.push_back("a");
    loop.CallSoon([&] { log.push_back("a2"); });
  });
  loop.CallSoon([&] { log.push_back("b"); });
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"a", "b"}));
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"a", "b", "a2"}));
}

TEST(EventLoopTest, StopEndsAfterThePass) {
  EventLoop loop;
  Log log;
  loop.CallSoon([&] {
    loop.Stop();
    log.push_back("stopping");
    loop.CallSoon([&] { log.push_back("next run"); });
  });
  loop.CallSoon([&] { log.push_back("same pass"); });
  loop.RunForever();
  EXPECT_EQ(log, (Log{"stopping", "same pass"}));
  RunOnePass(loop);
  EXPECT_EQ(log.back(), "next run");
}

TEST(EventLoopTest, StopBeforeRunMakesOnePassWithoutWaiting) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  Pipe pipe;
  bool ran = false;
  loop.AddReader(pipe.read.get(), [&] { ran = true; });
  pipe.Put();
  loop.Stop();
  loop.RunForever();
  EXPECT_TRUE(ran);
  EXPECT_EQ(poller.polls, 1);
  EXPECT_EQ(poller.blocking_polls, 0);
  loop.Close();
}

TEST(EventLoopTest, StopIsForgottenAfterTheRun) {
  SimulatedLoop loop;
  RunOnePass(*loop);
  int passes = 0;
  loop->CallSoon([&] {
    ++passes;
    loop->CallSoon([&] {
      ++passes;
      loop->Stop();
    });
  });
  loop->RunForever();
  EXPECT_EQ(passes, 2);
}

TEST(EventLoopTest, DescriptorsComeBeforeTimersAndTimersBeforeTheNextPass) {
  EventLoop loop;
  Pipe pipe;
  Log log;
  loop.CallSoon([&] {
    log.push_back("ready");
    loop.CallSoon([&] { log.push_back("soon"); });
    loop.CallLater(absl::ZeroDuration(), [&] { log.push_back("timer"); });
    loop.AddReader(pipe.read.get(), [&] {
      pipe.Take();
      log.push_back("reader");
    });
    pipe.Put();
  });
  RunOnePass(loop);
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"ready", "soon", "reader", "timer"}));
}

TEST(EventLoopTest, DoesNotPollWhileNothingIsWatchedAndWorkIsReady) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  int left = 100;
  std::function<void()> again = [&] {
    if (--left > 0) {
      loop.CallSoon([&] { again(); });
    } else {
      loop.Stop();
    }
  };
  loop.CallSoon([&] { again(); });
  loop.RunForever();
  EXPECT_EQ(poller.polls, 0);
  EXPECT_EQ(loop.Iterations(), 100u);
  loop.Close();
}

TEST(EventLoopTest, PollsInEveryPassWhenADescriptorIsWatched) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  Pipe pipe;
  loop.AddReader(pipe.read.get(), [] {});
  int left = 100;
  std::function<void()> again = [&] {
    if (--left > 0) {
      loop.CallSoon([&] { again(); });
    } else {
      loop.Stop();
    }
  };
  loop.CallSoon([&] { again(); });
  loop.RunForever();
  EXPECT_EQ(poller.polls, 100);
  EXPECT_EQ(poller.blocking_polls, 0);
  loop.Close();
}

TEST(EventLoopTest, LooksAtDescriptorsWithinALongPass) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  Pipe pipe;
  loop.AddReader(pipe.read.get(), [] {});
  for (int i = 0; i < 64 * 10 + 1; ++i) loop.CallSoon([] {});
  RunOnePass(loop);
  EXPECT_EQ(poller.polls, 1 + 10);
  loop.Close();
}

TEST(EventLoopTest, LongestPollIsADay) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  poller.on_blocking_poll = [&](absl::Duration) {
    loop.CallSoonThreadSafe([&] { loop.Stop(); });
  };
  loop.CallLater(absl::Hours(24 * 100), [] {});
  loop.RunForever();
  EXPECT_EQ(poller.last_timeout, absl::Hours(24));
  loop.Close();
}

TEST(EventLoopTest, SleepsUntilTheNextTimerAndNotLonger) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  poller.on_blocking_poll = [&](absl::Duration) {
    loop.CallSoonThreadSafe([&] { loop.Stop(); });
  };
  loop.CallLater(absl::Seconds(70), [] {});
  loop.CallLater(absl::Seconds(50), [] {});
  loop.RunForever();
  EXPECT_LE(poller.last_timeout, absl::Seconds(50));
  EXPECT_GT(poller.last_timeout, absl::Seconds(20));
  loop.Close();
}

TEST(EventLoopTest, CountsItsIterations) {
  EventLoop loop;
  EXPECT_EQ(loop.Iterations(), 0u);
  RunOnePass(loop);
  RunOnePass(loop);
  EXPECT_EQ(loop.Iterations(), 2u);
}

// ---- which loop runs
// ----------------------------------------------------------

TEST(EventLoopTest, CurrentIsTheLoopThatRunsInThisThread) {
  EventLoop loop;
  EXPECT_EQ(EventLoop::CurrentOrNull(), nullptr);
  EventLoop* current = nullptr;
  loop.CallSoon([&] {
    current = &EventLoop::Current();
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(current, &loop);
  EXPECT_EQ(EventLoop::CurrentOrNull(), nullptr);
}

TEST(EventLoopTest, CurrentWithoutALoopIsAnErrorThatSaysSo) {
  EXPECT_EQ(ErrorOf([] { EventLoop::Current(); }),
            "no event loop is running in this thread");
}

TEST(EventLoopTest, LoopCannotRunInsideItself) {
  EventLoop loop;
  std::string error;
  loop.CallSoon([&] {
    error = ErrorOf([&] { loop.RunForever(); });
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(error, "RunForever: this event loop is already running");
}

TEST(EventLoopTest, LoopCannotRunInsideAnother) {
  EventLoop outer;
  EventLoop inner;
  std::string error;
  outer.CallSoon([&] {
    error = ErrorOf([&] { inner.RunForever(); });
    EXPECT_EQ(&EventLoop::Current(), &outer);
    outer.Stop();
  });
  outer.RunForever();
  EXPECT_EQ(error, "RunForever: another event loop is running in this thread");
}

TEST(EventLoopTest, IsRunningOnlyDuringTheRun) {
  EventLoop loop;
  EXPECT_FALSE(loop.IsRunning());
  bool during = false;
  loop.CallSoon([&] { during = loop.IsRunning(); });
  RunOnePass(loop);
  EXPECT_TRUE(during);
  EXPECT_FALSE(loop.IsRunning());
}

// ---- close
// --------------------------------------------------------------------

TEST(EventLoopTest, CloseDropsWhatIsQueuedAndDestroysItsCaptures) {
  auto token = std::make_shared<int>(1);
  EventLoop loop;
  loop.CallSoon([token] { ADD_FAILURE(); });
  loop.CallLater(absl::Hours(1), [token] { ADD_FAILURE(); });
  loop.CallLater(absl::InfiniteDuration(), [token] { ADD_FAILURE(); });
  loop.CallSoonThreadSafe([token] { ADD_FAILURE(); });
  Pipe pipe;
  loop.AddReader(pipe.read.get(), [token] { ADD_FAILURE(); });
  loop.AddWriter(pipe.write.get(), [token] { ADD_FAILURE(); });
  EXPECT_EQ(token.use_count(), 7);
  loop.Close();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_TRUE(loop.IsClosed());
}

TEST(EventLoopTest, CloseTwiceDoesNothing) {
  EventLoop loop;
  loop.Close();
  loop.Close();
  EXPECT_TRUE(loop.IsClosed());
}

TEST(EventLoopTest, CloseWhileRunningIsRefused) {
  EventLoop loop;
  std::string error;
  loop.CallSoon([&] {
    error = ErrorOf([&] { loop.Close(); });
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(error, "Close: the event loop is running");
  EXPECT_FALSE(loop.IsClosed());
}

TEST(EventLoopTest, EveryUseOfAClosedLoopNamesTheRule) {
  EventLoop loop;
  loop.Close();
  const std::string rule = ": the event loop is closed";
  EXPECT_EQ(ErrorOf([&] { loop.CallSoon([] {}); }), "CallSoon" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.CallLater(absl::Seconds(1), [] {}); }),
            "CallLater" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.CallAt(LoopTime(), [] {}); }), "CallAt" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.CallSoonThreadSafe([] {}); }),
            "CallSoonThreadSafe" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.RunForever(); }), "RunForever" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.AddReader(0, [] {}); }), "AddReader" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.AddWriter(0, [] {}); }), "AddWriter" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.AddSignalHandler(SIGUSR1, [] {}); }),
            "AddSignalHandler" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.DefaultExecutor(); }), "DefaultExecutor" + rule);
  EXPECT_EQ(ErrorOf([&] { loop.GetPoller(); }), "GetPoller" + rule);
  EXPECT_FALSE(loop.RemoveReader(0));
  EXPECT_FALSE(loop.RemoveWriter(0));
  EXPECT_FALSE(loop.RemoveSignalHandler(SIGUSR1));
}

TEST(EventLoopTest, RefusedCallbackIsDestroyed) {
  auto token = std::make_shared<int>(1);
  EventLoop loop;
  loop.Close();
  EXPECT_THROW(loop.CallSoon([token] {}), std::runtime_error);
  EXPECT_THROW(loop.CallSoonThreadSafe([token] {}), std::runtime_error);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(EventLoopTest, CaptureThatSchedulesWhileTheLoopClosesIsRefused) {
  struct Rescheduler {
    Rescheduler(EventLoop& loop, int& refused) : loop(loop), refused(refused) {}
    ~Rescheduler() {
      try {
        loop.CallSoon([] { ADD_FAILURE(); });
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
    EventLoop& loop;
    int& refused;
  };
  int refused = 0;
  EventLoop loop;
  loop.CallSoon([r = std::make_unique<Rescheduler>(loop, refused)] {});
  loop.CallLater(absl::Hours(1),
                 [r = std::make_unique<Rescheduler>(loop, refused)] {});
  loop.Close();
  EXPECT_EQ(refused, 2);
}

TEST(EventLoopTest, DestructorCloses) {
  auto token = std::make_shared<int>(1);
  {
    EventLoop loop;
    loop.CallSoon([token] {});
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(EventLoopTest, BorrowedPollerIsLeftWithoutWatches) {
  EpollPoller poller;
  {
    LoopOptions options;
    options.poller = &poller;
    EventLoop loop(options);
    Pipe pipe;
    loop.AddReader(pipe.read.get(), [] {});
    EXPECT_EQ(poller.WatchCount(), 2);
    loop.Close();
    EXPECT_EQ(poller.WatchCount(), 0);
  }
}

TEST(EventLoopTest, GetPollerIsTheOneThatWasGiven) {
  EpollPoller poller;
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  EXPECT_EQ(&loop.GetPoller(), &poller);
}

// ---- the inner half
// -----------------------------------------------------------

TEST(LoopCoreTest, StepsAndCallbacksShareOneOrder) {
  Log log;
  NamedStep a("a", log), b("b", log);
  EventLoop loop;
  internal::CoreOf(loop).Schedule(&a);
  loop.CallSoon([&] { log.push_back("callback"); });
  internal::CoreOf(loop).Schedule(&b);
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"a", "callback", "b"}));
}

TEST(LoopCoreTest, CloseAbandonsSteps) {
  Log log;
  NamedStep a("a", log);
  EventLoop loop;
  internal::CoreOf(loop).Schedule(&a);
  loop.Close();
  EXPECT_TRUE(a.abandoned);
  EXPECT_TRUE(log.empty());
}

class OwnedStep final : public internal::OwnedRunnable {
 public:
  OwnedStep(internal::LoopCore& core, Log& log, std::string name)
      : core_(core), log_(log), name_(std::move(name)) {
    core_.Own(this);
  }
  void Run() override {}
  void Abandon() noexcept override {}
  std::string Describe() const override { return name_; }
  void OnLoopClose() noexcept override {
    log_.push_back(name_);
    core_.Disown(this);
  }

 private:
  internal::LoopCore& core_;
  Log& log_;
  std::string name_;
};

TEST(LoopCoreTest, CloseTellsWhatIsOwnedOldestFirst) {
  Log log;
  EventLoop loop;
  internal::LoopCore& core = internal::CoreOf(loop);
  OwnedStep a(core, log, "a"), b(core, log, "b"), c(core, log, "c");
  EXPECT_EQ(core.OwnedCount(), 3u);
  EXPECT_EQ(core.FirstOwned(), &a);
  EXPECT_EQ(core.FirstOwned()->NextOwned(), &b);
  core.Disown(&b);
  EXPECT_EQ(core.FirstOwned()->NextOwned(), &c);
  core.Own(&b);
  loop.Close();
  EXPECT_EQ(log, (Log{"a", "c", "b"}));
  EXPECT_EQ(core.OwnedCount(), 0u);
}

class LeavingError : public internal::LeavesLoop {};

class ThrowingStep final : public internal::Runnable {
 public:
  void Run() override { throw LeavingError(); }
  void Abandon() noexcept override {}
  std::string Describe() const override { return "throwing"; }
};

TEST(LoopCoreTest, ExceptionThatLeavesTheLoopKeepsTheRestInOrder) {
  Log log;
  NamedStep a("a", log), b("b", log), c("c", log);
  ThrowingStep thrower;
  EventLoop loop;
  internal::LoopCore& core = internal::CoreOf(loop);
  core.Schedule(&a);
  core.Schedule(&thrower);
  core.Schedule(&b);
  core.Schedule(&c);
  loop.Stop();
  EXPECT_THROW(loop.RunForever(), LeavingError);
  EXPECT_FALSE(loop.IsRunning());
  EXPECT_EQ(EventLoop::CurrentOrNull(), nullptr);
  EXPECT_EQ(log, (Log{"a"}));
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"a", "b", "c"}));
}

TEST(LoopCoreTest, CallbackMayThrowWhatLeavesTheLoop) {
  EventLoop loop;
  Log log;
  auto token = std::make_shared<int>(1);
  loop.CallSoon([token] { throw LeavingError(); });
  loop.CallSoon([&] { log.push_back("rest"); });
  loop.Stop();
  EXPECT_THROW(loop.RunForever(), LeavingError);
  EXPECT_EQ(token.use_count(), 1);
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"rest"}));
}

class Timer final : public internal::TimerNode {
 public:
  explicit Timer(Log& log) : log_(log) {}
  void Fire() noexcept override { log_.push_back("fired"); }

 private:
  Log& log_;
};

TEST(LoopCoreTest, ArmedNodeFiresOnceAndIsDisarmedBefore) {
  Log log;
  Timer timer(log);
  SimulatedLoop loop;
  internal::LoopCore& core = internal::CoreOf(*loop);
  core.Arm(&timer, core.Now() + absl::Seconds(1));
  EXPECT_TRUE(timer.Armed());
  loop->CallLater(absl::Seconds(2), [&] { loop->Stop(); });
  loop->RunForever();
  EXPECT_EQ(log, (Log{"fired"}));
  EXPECT_FALSE(timer.Armed());
}

// A160: loop.time() is the clock; the loop's own looks are one an iteration.
TEST(LoopCoreTest, NowMovesInsideOfAPass) {
  VirtualClock clock;
  LoopOptions options;
  options.clock = &clock;
  EventLoop loop(options);
  std::vector<LoopTime> seen;
  std::vector<LoopTime> of_iteration;
  auto look = [&] {
    of_iteration.push_back(internal::CoreOf(loop).Now());
    clock.AdvanceTo(clock.Now() + absl::Seconds(1));
    of_iteration.push_back(internal::CoreOf(loop).Now());
    seen.push_back(loop.Now());
    clock.AdvanceTo(clock.Now() + absl::Seconds(1));
    seen.push_back(loop.Now());
  };
  loop.CallSoon(look);
  RunOnePass(loop);
  EXPECT_EQ(seen[1] - seen[0], absl::Seconds(1));
  EXPECT_EQ(of_iteration[0], of_iteration[1]);
}

TEST(LoopCoreTest, NowIsFreshWhileTheLoopDoesNotRun) {
  VirtualClock clock;
  LoopOptions options;
  options.clock = &clock;
  EventLoop loop(options);
  EXPECT_EQ(loop.Now(), LoopTime());
  clock.AdvanceTo(LoopTime() + absl::Seconds(3));
  EXPECT_EQ(loop.Now(), LoopTime() + absl::Seconds(3));
}

TEST(EventLoopTest, RandomBitsDiffer) {
  EventLoop loop;
  EXPECT_NE(loop.Random(), loop.Random());
  EventLoop other;
  EXPECT_NE(loop.Random(), other.Random());
}

TEST(EventLoopTest, BusyPollFindsWorkWithoutSleeping) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  options.busy_poll = absl::Seconds(5);
  EventLoop loop(options);
  Pipe pipe;
  loop.AddReader(pipe.read.get(), [&] { loop.Stop(); });
  loop.CallSoon([&] { pipe.Put(); });
  loop.RunForever();
  EXPECT_EQ(poller.blocking_polls, 0);
  loop.Close();
}

// A clock that moves by itself at each look.
class SteppingClock final : public Clock {
 public:
  LoopTime Now() noexcept override {
    now_ += step;
    return now_;
  }
  bool SkipTo(LoopTime) noexcept override { return false; }
  absl::Duration step = absl::Microseconds(10);

 private:
  LoopTime now_;
};

TEST(EventLoopTest, BusyPollGivesUpWhenItDoesNotPay) {
  EpollPoller inner;
  CountingPoller poller(inner);
  SteppingClock clock;
  LoopOptions options;
  options.poller = &poller;
  options.clock = &clock;
  options.busy_poll = absl::Microseconds(100);
  EventLoop loop(options);
  Pipe pipe;
  loop.AddReader(pipe.read.get(), [&] { pipe.Take(); });
  int sleeps = 0;
  std::vector<int> polls_before_sleep;
  poller.on_blocking_poll = [&](absl::Duration) {
    polls_before_sleep.push_back(std::exchange(poller.polls, 0));
    clock.step = absl::Seconds(1);  // the sleep is long
    if (++sleeps == 20) {
      loop.CallSoonThreadSafe([&] { loop.Stop(); });
    } else {
      loop.CallSoonThreadSafe([&] { clock.step = absl::Microseconds(10); });
    }
  };
  loop.RunForever();
  EXPECT_GT(polls_before_sleep.front(), 3);
  // Only the sleeping poll itself is left.
  EXPECT_LE(polls_before_sleep.back(), 1);
  loop.Close();
}

}  // namespace
}  // namespace coil
