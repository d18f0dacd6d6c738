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

using coil_testing::CountingPoller;
using coil_testing::Fd;
using coil_testing::NamedStep;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SimulatedLoop;
using coil_testing::SocketPair;

// ---- T3, T4: a busy loop starves nobody
// ---------------------------------------

TEST(ReliabilityT3, TimersFireInTimeBesideABusyStep) {
  VirtualClock clock;
  LoopOptions options;
  options.clock = &clock;
  EventLoop loop(options);
  // Each step takes 50 us; the ticker asks for 10 ms.
  int64_t steps = 0;
  std::function<void()> hog = [&] {
    ++steps;
    clock.AdvanceTo(clock.Now() + absl::Microseconds(50));
    if (loop.IsRunning() && steps < 100'000) loop.CallSoon([&] { hog(); });
  };
  absl::Duration worst;
  int ticks = 0;
  std::function<void(LoopTime)> tick = [&](LoopTime due) {
    worst = std::max(worst, clock.Now() - due);
    if (++ticks == 400) {
      loop.Stop();
      return;
    }
    const LoopTime next = due + absl::Milliseconds(10);
    loop.CallAt(next, [&, next] { tick(next); });
  };
  const LoopTime first = clock.Now() + absl::Milliseconds(10);
  loop.CallAt(first, [&, first] { tick(first); });
  loop.CallSoon([&] { hog(); });
  loop.RunForever();
  EXPECT_EQ(ticks, 400);
  EXPECT_LE(worst, absl::Milliseconds(1));
}

TEST(ReliabilityT4, CallbackThatRepostsItselfLeavesAPollInEveryTurn) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  SocketPair pair;
  constexpr int kStorm = 50'000;
  int left = kStorm;
  std::function<void()> storm = [&] {
    if (--left > 0) {
      loop.CallSoon([&] { storm(); });
    } else {
      loop.Stop();
    }
  };
  // An echo beside it: the answer comes two turns after the question.
  int echoes = 0;
  uint64_t asked = 0;
  uint64_t worst = 0;
  auto ask = [&] {
    asked = loop.Iterations();
    ASSERT_EQ(::write(pair.b.get(), "x", 1), 1);
  };
  loop.AddReader(pair.a.get(), [&] {
    char c;
    ASSERT_EQ(::read(pair.a.get(), &c, 1), 1);
    worst = std::max(worst, loop.Iterations() - asked);
    ++echoes;
    ask();
  });
  ask();
  loop.CallSoon([&] { storm(); });
  loop.RunForever();
  EXPECT_GE(poller.polls, kStorm);
  EXPECT_LE(worst, 1u);
  EXPECT_GE(echoes, kStorm / 2);
  loop.Close();
}

TEST(ReliabilityT4, TenThousandReadyStepsDoNotHideADescriptor) {
  EventLoop loop;
  Pipe pipe;
  std::vector<std::string> log;
  std::vector<std::unique_ptr<NamedStep>> steps;
  bool heard = false;
  loop.AddReader(pipe.read.get(), [&] {
    pipe.Take();
    heard = true;
    loop.Stop();
  });
  for (int i = 0; i < 10'000; ++i) {
    steps.push_back(std::make_unique<NamedStep>("s", log));
    internal::CoreOf(loop).Schedule(steps.back().get());
  }
  loop.CallSoon([&] { EXPECT_FALSE(heard); });
  pipe.Put();
  loop.RunForever();
  EXPECT_TRUE(heard);
  EXPECT_LE(loop.Iterations(), 2u);
}

// ---- T5: no idle spin
// ---------------------------------------------------------

// Half-closed, closed and reset peers, each watched edge-triggered as sockets
// are.
TEST(ReliabilityT5, DeadConnectionsThatNobodyReadsCostNoPolls) {
  class Quiet final : public Poller::Watch {
   public:
    void OnReady(IoEvents) noexcept override { ++heard; }
    int heard = 0;
  };
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<std::unique_ptr<Quiet>> watches;
  for (int i = 0; i < 200; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    watches.push_back(std::make_unique<Quiet>());
    inner.Add(*watches.back(), pairs.back()->a.get(), kReadable | kWritable,
              Trigger::kEdge);
    switch (i % 3) {
      case 0:
        ::shutdown(pairs.back()->b.get(), SHUT_WR);
        break;
      case 1:
        pairs.back()->b.Close();
        break;
      default:  // unread data in its buffer makes the close a reset
        ASSERT_EQ(::write(pairs.back()->a.get(), "x", 1), 1);
        pairs.back()->b.Close();
    }
  }
  // The first poll hears of them all; then the loop sleeps until it is woken.
  std::thread waker;
  poller.on_blocking_poll = [&](absl::Duration) {
    if (poller.blocking_polls == 2) {
      waker =
          std::thread([&] { loop.CallSoonThreadSafe([&] { loop.Stop(); }); });
    }
  };
  loop.RunForever();
  waker.join();
  EXPECT_EQ(poller.polls, 2);
  for (auto& watch : watches) {
    EXPECT_GE(watch->heard, 1);
    EXPECT_LE(watch->heard, 2);
    inner.Remove(*watch);
  }
  loop.Close();
}

TEST(ReliabilityT5, TimerInTheFutureIsNeverPolledForWithZeroTimeout) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  int fired = 0;
  for (int i = 1; i <= 20; ++i) {
    loop.CallLater(absl::Microseconds(200 * i), [&] {
      if (++fired == 20) loop.Stop();
    });
  }
  loop.RunForever();
  // At most one sleep for each timer, one more that a rounding costs.
  EXPECT_LE(poller.polls, 40);
  EXPECT_EQ(poller.polls, poller.blocking_polls);
  loop.Close();
}

// ---- T7: an exception in a callback
// -------------------------------------------

TEST(ReliabilityT7, EachOfManyFailuresIsReportedAndTheLoopLives) {
  std::mt19937 random(7);
  EventLoop loop;
  int reports = 0;
  loop.SetExceptionHandler([&](const ExceptionContext& context) {
    ASSERT_NE(context.exception, nullptr);
    ++reports;
  });
  int thrown = 0;
  int ran = 0;
  for (int i = 0; i < 10'000; ++i) {
    const bool bad = random() % 10 < 3;
    if (bad) ++thrown;
    loop.CallSoon([&ran, bad] {
      ++ran;
      if (bad) throw std::runtime_error("bad luck");
    });
  }
  RunOnePass(loop);
  EXPECT_EQ(ran, 10'000);
  EXPECT_EQ(reports, thrown);
  EXPECT_GT(thrown, 2'500);
}

// ---- T8: order, and that a seed replays
// ---------------------------------------

// A workload that depends on order, time and randomness; its trace as a hash.
uint64_t TraceOf(uint64_t seed) {
  SimulatedLoop loop(seed);
  uint64_t hash = 1469598103934665603u;
  auto note = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  std::vector<std::string> log;
  std::vector<std::unique_ptr<NamedStep>> steps;
  for (int i = 0; i < 8; ++i) {
    steps.push_back(std::make_unique<NamedStep>(std::to_string(i), log, true));
  }
  int left = 60;
  std::function<void(int)> work = [&](int who) {
    note(static_cast<uint64_t>(who));
    note(static_cast<uint64_t>((loop->Now() - LoopTime()) /
                               absl::Nanoseconds(1)));
    if (log.size() % 8 == 0) {
      for (auto& step : steps) internal::CoreOf(*loop).Schedule(step.get());
    }
    if (--left == 0) {
      loop->CallLater(absl::Seconds(1), [&] { loop->Stop(); });
    } else if (left > 0) {
      loop->CallLater(
          absl::Nanoseconds(static_cast<int64_t>(loop->Random() % 1000)),
          [&, who] { work(who + 1); });
    }
  };
  for (int i = 0; i < 3; ++i) loop->CallSoon([&, i] { work(i * 1000); });
  loop->RunForever();
  for (const std::string& name : log) {
    note(static_cast<uint64_t>(name[0]));
  }
  return hash;
}

TEST(ReliabilityT8, EverySeedReplaysItsTrace) {
  std::vector<uint64_t> hashes;
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    hashes.push_back(TraceOf(seed));
    if (seed % 10 == 0) {
      ASSERT_EQ(hashes.back(), TraceOf(seed)) << "seed " << seed;
    }
  }
  std::sort(hashes.begin(), hashes.end());
  const auto different =
      std::unique(hashes.begin(), hashes.end()) - hashes.begin();
  EXPECT_GT(different, 990);
}

// ---- T17: closed with pending work
// --------------------------------------------

TEST(ReliabilityT17, ClosingAtAnyTurnFreesEverything) {
  for (int turns = 0; turns < 30; ++turns) {
    auto token = std::make_shared<int>(turns);
    {
      SimulatedLoop loop;
      Pipe pipe;
      loop->AddReader(pipe.read.get(), [token, &pipe] { pipe.Take(); });
      std::function<void(std::shared_ptr<int>)> work =
          [&](std::shared_ptr<int> t) {
            loop->CallSoon([&work, t] { work(t); });
            loop->CallLater(absl::Seconds(1), [t] {});
            loop->CallLater(absl::ZeroDuration(), [t] {});
            loop->CallSoonThreadSafe([t] {});
            pipe.Put();
          };
      work(token);
      for (int i = 0; i < turns; ++i) RunOnePass(*loop);
      loop->Close();
      EXPECT_EQ(token.use_count(), 1) << "after " << turns << " turns";
    }
  }
}

// ---- T18: a descriptor number that is reused within a batch
// -------------------

class Reopener final : public Poller::Watch {
 public:
  void OnReady(IoEvents) noexcept override { on_ready(*this); }
  std::function<void(Reopener&)> on_ready;
  int generation = 0;
  Fd read;
  Fd write;
};

TEST(ReliabilityT18, EventOfAnEarlierOwnerNeverReachesTheNextOne) {
  constexpr int kWatches = 64;
  constexpr int kRounds = 1'000;
  EpollPoller poller;
  std::array<Reopener, kWatches> watches;
  int wrong = 0;
  int batches = 0;
  auto open = [&](Reopener& watch, bool ready) {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    watch.read = Fd(fds[0]);
    watch.write = Fd(fds[1]);
    if (ready) {
      ASSERT_EQ(::write(fds[1], "x", 1), 1);
    }
    poller.Add(watch, fds[0], kReadable, Trigger::kEdge);
  };
  bool first_of_batch = true;
  auto handler = [&](Reopener& self) {
    char c;
    // Nothing there: the event was meant for the pipe that was here before.
    if (::read(self.read.get(), &c, 1) != 1) ++wrong;
    if (!first_of_batch) return;
    first_of_batch = false;
    // All the others get new pipes, which take the old numbers, without data.
    for (Reopener& other : watches) {
      if (&other == &self) continue;
      poller.Remove(other);
      other.read.Close();
      other.write.Close();
    }
    for (Reopener& other : watches) {
      if (&other != &self) open(other, false);
    }
  };
  for (Reopener& watch : watches) {
    watch.on_ready = handler;
    open(watch, true);
  }
  for (int round = 0; round < kRounds; ++round) {
    first_of_batch = true;
    batches += poller.Poll(absl::ZeroDuration());
    for (Reopener& watch : watches) {
      ASSERT_EQ(::write(watch.write.get(), "x", 1), 1);
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(batches, kRounds);  // one for each batch, the rest is stale
  for (Reopener& watch : watches) poller.Remove(watch);
}

// ---- T19: a copy of the descriptor lives on
// -----------------------------------

TEST(ReliabilityT19, CopyOfAClosedDescriptorMakesNoEvents) {
  class Counter final : public Poller::Watch {
   public:
    void OnReady(IoEvents) noexcept override { ++heard; }
    int heard = 0;
  };
  EpollPoller poller;
  Counter old_watch, new_watch;
  for (int round = 0; round < 1'000; ++round) {
    auto pipe = std::make_unique<Pipe>();
    const int number = pipe->read.get();
    poller.Add(old_watch, number, kReadable, Trigger::kLevel);
    Fd copy(::dup(number));  // as a child would have it
    Fd writer(::dup(pipe->write.get()));
    poller.Remove(old_watch);
    pipe.reset();
    Pipe next;  // takes the number over
    poller.Add(new_watch, next.read.get(), kReadable, Trigger::kLevel);
    ASSERT_EQ(::write(writer.get(), "x", 1), 1);
    ASSERT_EQ(poller.Poll(absl::ZeroDuration()), 0);
    poller.Remove(new_watch);
  }
  EXPECT_EQ(old_watch.heard, 0);
  EXPECT_EQ(new_watch.heard, 0);
}

TEST(ReliabilityT19, DescriptorsOfTheLoopAreNotInheritedOverExec) {
  EventLoop loop;
  const int wake = internal::CoreOf(loop).remote()->WakeDescriptor();
  EXPECT_EQ(::fcntl(wake, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

// ---- T23: epoll_ctl fails
// -----------------------------------------------------

int g_ctl_calls = 0;
int g_ctl_error = 0;

int EveryNinthCtlFails(int epfd, int op, int fd, epoll_event* event) {
  if (op != EPOLL_CTL_DEL && ++g_ctl_calls % 9 == 0) {
    errno = g_ctl_error;
    return -1;
  }
  return ::epoll_ctl(epfd, op, fd, event);
}

TEST(ReliabilityT23, RefusedRegistrationIsAnErrorAndNotALostWaiter) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_ctl = EveryNinthCtlFails;
  internal::ScopedSyscalls scope(&table);
  for (int error : {ENOSPC, ENOMEM, EPERM}) {
    g_ctl_calls = 0;
    g_ctl_error = error;
    EventLoop loop;
    SocketPair pair;
    int refused = 0;
    for (int i = 0; i < 3'000; ++i) {
      int calls = 0;
      bool reader = false;
      try {
        loop.AddReader(pair.a.get(), [&] { ++calls; });
        reader = true;
        loop.AddWriter(pair.a.get(), [&] { ++calls; });
        loop.RemoveWriter(pair.a.get());
      } catch (const OsError& e) {
        ASSERT_EQ(e.Errno(), error);
        ++refused;
      }
      if (reader) {
        // What was accepted works.
        ASSERT_EQ(::write(pair.b.get(), "x", 1), 1);
        RunOnePass(loop);
        ASSERT_GE(calls, 1);
        char c;
        ASSERT_EQ(::read(pair.a.get(), &c, 1), 1);
        loop.RemoveReader(pair.a.get());
        loop.RemoveWriter(pair.a.get());
      }
    }
    EXPECT_GT(refused, 300);
    EXPECT_EQ(loop.GetPoller().WatchCount(), 1);
  }
}

int NoEventfd(unsigned, int) {
  errno = EMFILE;
  return -1;
}

TEST(ReliabilityT23, LoopWithoutDescriptorsSaysWhich) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.eventfd = NoEventfd;
  internal::ScopedSyscalls scope(&table);
  try {
    EventLoop loop;
    FAIL();
  } catch (const OsError& e) {
    EXPECT_STREQ(e.what(), "eventfd: Too many open files");
  }
}

}  // namespace
}  // namespace coil
