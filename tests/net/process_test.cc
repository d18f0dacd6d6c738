// Processes: waiting for them, talking to them, and what is left of them.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/pipe.h"
#include "coil/net/subprocess.h"
#include "coil/task/gather.h"
#include "coil/task/inspect.h"
#include "coil/task/with.h"
#include "tests/net/process_testing.h"

namespace coil::net {
namespace {

using coil_testing::AwaitZombie;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NoChildren;
using coil_testing::ProcessTest;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::Turns;

// A child that lives until it is killed.
Command Sleeper() { return Command("sleep").Arg("1000"); }

// A child that lives until a pipe of the test is closed, and reads from it.
struct Held {
  explicit Held(Command command = Command("cat")) : Held(MakePipe(), command) {}
  Held(PipeEnds ends, Command& command)
      : hold(std::move(ends.write_end)),
        process(
            command.Stdin(UseDescriptor(ends.read_end.Descriptor())).Spawn()) {}
  PipeEnd hold;
  Process process;
};

std::string SignalError(const Process& process, int signal) {
  try {
    process.Signal(signal);
  } catch (const OsError& error) {
    EXPECT_EQ(error.Errno(), ESRCH);
    return error.what();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

// ---- the end

class WaitTest : public ProcessTest {};

TEST_F(WaitTest, GivesTheStatusToEverybodyAndAgain) {
  RunNet([]() -> Co<void> {
    Held child(Command::Shell("cat; exit 7"));
    EXPECT_EQ(child.process.ReturnCode(), std::nullopt);
    EXPECT_GT(child.process.Pid(), 0);
    std::vector<int> order;
    std::vector<Task<void>> waiters;
    for (int i = 0; i < 5; ++i) {
      waiters.push_back(CreateTask([&, i]() -> Co<void> {
        EXPECT_EQ(co_await child.process.Wait(), 7);
        order.push_back(i);
      }));
    }
    co_await Turns();
    EXPECT_TRUE(order.empty());
    child.hold.Close();
    co_await Gather(waiters);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_EQ(child.process.ReturnCode(), 7);
    EXPECT_EQ(co_await child.process.Wait(), 7);
    EXPECT_TRUE(NoChildren());
  });
}

TEST_F(WaitTest, AChildThatHasEndedBeforeIsWaitedFor) {
  RunNet([]() -> Co<void> {
    const Process process = Command("false").Spawn();
    AwaitZombie(process.Pid());
    EXPECT_EQ(process.ReturnCode(), std::nullopt) << "the loop has not looked";
    EXPECT_EQ(co_await process.Wait(), 1);
  });
}

TEST_F(WaitTest, ACancelledWaitLeavesTheChildAlone) {
  RunNet([]() -> Co<void> {
    Held child;
    for (int turns = 0; turns < 4; ++turns) {
      Task<int> wait = CreateTask(child.process.Wait());
      co_await Turns(turns);
      wait.Cancel();
      EXPECT_EQ(co_await ErrorOf(wait), "cancelled");
    }
    child.process.Signal(0);
    Task<int> left = CreateTask(child.process.Wait());
    Task<int> cancelled = CreateTask(child.process.Wait());
    co_await Turns();
    child.hold.Close();
    cancelled.Cancel();
    EXPECT_EQ(co_await left, 0);
    EXPECT_EQ(co_await ErrorOf(cancelled), "cancelled");
  });
}

TEST_F(WaitTest, SaysWhatItWaitsFor) {
  RunNet([]() -> Co<void> {
    Held child;
    Task<int> wait = CreateTask(child.process.Wait());
    co_await Turns();
    EXPECT_NE(DumpTasks().find(absl::StrCat(
                  "waits for process ", child.process.Pid(), " (cat) to exit")),
              std::string::npos)
        << DumpTasks();
    child.hold.Close();
    EXPECT_EQ(co_await wait, 0);
  });
}

TEST_F(WaitTest, OfAnotherLoopIsRefused) {
  const Process process = RunNet([]() -> Co<Process> {
    Held child;
    child.hold.Close();
    const Process process = child.process;
    co_await process.Wait();
    co_return process;
  });
  EXPECT_EQ(process.ReturnCode(), 0);
  RunNet([&]() -> Co<void> {
    EXPECT_NE((co_await ErrorOf(process.Wait())).find("net: a process"),
              std::string::npos);
  });
}

// ---- signals

class SignalTest : public ProcessTest {};

TEST_F(SignalTest, EndTheChild) {
  RunNet([]() -> Co<void> {
    const Process terminated = Sleeper().Spawn();
    terminated.Terminate();
    EXPECT_EQ(co_await terminated.Wait(), -SIGTERM);
    const Process killed = Sleeper().Spawn();
    killed.Kill();
    killed.Kill();  // not heard of yet: ignored
    EXPECT_EQ(co_await killed.Wait(), -SIGKILL);
    const Process signalled = Sleeper().Spawn();
    signalled.Signal(SIGUSR1);
    EXPECT_EQ(co_await signalled.Wait(), -SIGUSR1);
  });
}

TEST_F(SignalTest, AfterTheEndThereIsNoSuchProcess) {
  RunNet([]() -> Co<void> {
    const Process process = Command("true").Spawn();
    AwaitZombie(process.Pid());
    process.Terminate();  // the loop has not heard of the end
    EXPECT_EQ(co_await process.Wait(), 0);
    const std::string expected = absl::StrCat("signal process ", process.Pid(),
                                              " (true): No such process");
    EXPECT_EQ(SignalError(process, SIGTERM), expected);
    EXPECT_EQ(SignalError(process, 0), expected);
  });
}

TEST_F(SignalTest, WhatIsNoSignalIsRefused) {
  RunNet([]() -> Co<void> {
    Held child;
    EXPECT_EQ(SignalError(child.process, 1000),
              "Process::Signal: 1000 is not a signal number");
    EXPECT_EQ(SignalError(child.process, -1),
              "Process::Signal: -1 is not a signal number");
    child.hold.Close();
    co_await child.process.Wait();
    EXPECT_EQ(SignalError(child.process, 1000),
              "Process::Signal: 1000 is not a signal number");
  });
}

TEST_F(SignalTest, AGroupIsSignalledAsAWholeAlsoAfterItsLeader) {
  RunNet([]() -> Co<void> {
    // The leader ends; what it has started holds the pipe.
    const Process leader = Command::Shell("sleep 1000 & echo started")
                               .ProcessGroup()
                               .Stdout(Pipe())
                               .Spawn();
    EXPECT_EQ(co_await leader.stdout.ReadLine(), "started\n");
    EXPECT_EQ(co_await leader.Wait(), 0);
    EXPECT_THROW(leader.Kill(), OsError);
    leader.SignalGroup(SIGKILL);
    EXPECT_EQ(co_await leader.stdout.ReadAll(), "");
    // The number of the group cannot be anybody else's for as long as this is.
    EXPECT_FALSE(NoChildren());
    leader.SignalGroup(0);
  });
  EXPECT_TRUE(NoChildren());
}

// ---- Communicate()

class CommunicateTest : public ProcessTest {};

TEST_F(CommunicateTest, GivesTheInputAndReadsBothPipes) {
  RunNet([]() -> Co<void> {
    const Process child = Command::Shell("cat; echo err >&2; exit 2")
                              .Stdin(Pipe())
                              .Stdout(Pipe())
                              .Stderr(Pipe())
                              .Spawn();
    auto [out, err] = co_await child.Communicate("some input");
    EXPECT_EQ(out, "some input");
    EXPECT_EQ(err, "err\n");
    EXPECT_EQ(child.ReturnCode(), 2);
    auto [more, none] = co_await child.Communicate();
    EXPECT_EQ(more, "");
  });
}

TEST_F(CommunicateTest, ClosesStdinAlsoWithoutAnInput) {
  RunNet([]() -> Co<void> {
    const Process cat = Command("cat").Stdin(Pipe()).Stdout(Pipe()).Spawn();
    co_await cat.stdin.Write("written before");
    auto [out, err] = co_await cat.Communicate();
    EXPECT_EQ(out, "written before");
    EXPECT_TRUE(cat.stdin.IsClosing());
  });
}

TEST_F(CommunicateTest, WithoutPipesItWaits) {
  RunNet([]() -> Co<void> {
    Held child(Command::Shell("cat >&2; exit 4"));
    Task<ProcessOutput> communicate = CreateTask(child.process.Communicate());
    co_await Turns();
    EXPECT_FALSE(communicate.Done());
    child.hold.Close();
    EXPECT_EQ((co_await communicate).out, "");
    EXPECT_EQ(child.process.ReturnCode(), 4);
  });
}

class ReliabilityT45 : public ProcessTest {};

TEST_F(ReliabilityT45, MuchOnBothPipesAtOnceDoesNotBlock) {
  RunNet([]() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      const Process child =
          Command::Shell(
              "head -c 4000000 /dev/zero >&2 & head -c 5000000 /dev/zero; wait")
              .Stdout(Pipe())
              .Stderr(Pipe())
              .Spawn();
      auto [out, err] = co_await child.Communicate();
      EXPECT_EQ(out.size(), size_t{5000000});
      EXPECT_EQ(err.size(), size_t{4000000});
    }
    // And in both directions: the child writes before it reads.
    const Process mirror =
        Command::Shell("head -c 1000000 /dev/zero; cat; cat </dev/null >&2")
            .Stdin(Pipe())
            .Stdout(Pipe())
            .Stderr(Pipe())
            .Spawn();
    auto [out, err] = co_await mirror.Communicate(std::string(1000000, 'i'));
    EXPECT_EQ(out.size(), size_t{2000000});
  });
}

class ReliabilityT43 : public ProcessTest {};

TEST_F(ReliabilityT43, AChildThatDoesNotReadIsNoError) {
  const sighandler_t previous = ::signal(SIGPIPE, SIG_DFL);
  RunNet([]() -> Co<void> {
    const std::string input(1 << 20, 'i');
    const Process deaf = Command::Shell("exec <&-; echo done")
                             .Stdin(Pipe())
                             .Stdout(Pipe())
                             .Spawn();
    auto [out, err] = co_await deaf.Communicate(input);
    EXPECT_EQ(out, "done\n");
    const CommandResult half = co_await Command::Shell("head -c 3").Run(input);
    EXPECT_EQ(half.out, "iii");
    const Process gone = Command("true").Stdin(Pipe()).Spawn();
    EXPECT_EQ(co_await gone.Wait(), 0);
    EXPECT_EQ(co_await ErrorOf(gone.stdin.Write("x")),
              "send to stdin of true: Broken pipe");
    auto [none, nothing] = co_await gone.Communicate("too late");
    EXPECT_EQ(none, "");
  });
  ::signal(SIGPIPE, previous);
}

TEST_F(CommunicateTest, AProcessThatHoldsThePipeIsWaitedFor) {
  RunNet([]() -> Co<void> {
    const Process child = Command::Shell("sleep 1000 & echo out")
                              .ProcessGroup()
                              .Stdout(Pipe())
                              .Spawn();
    Task<ProcessOutput> communicate = CreateTask(child.Communicate());
    EXPECT_EQ(co_await child.Wait(), 0);
    co_await Turns();
    EXPECT_FALSE(communicate.Done());
    child.SignalGroup(SIGTERM);
    EXPECT_EQ((co_await communicate).out, "out\n");
  });
}

TEST_F(CommunicateTest, ACancelLosesNothingAndItGoesOn) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    const int control = read_end.Descriptor();
    // What it was given, then what comes through the second pipe.
    const Process child = Command::Shell(absl::StrCat("cat; cat <&", control,
                                                      "; echo end; exit 5"))
                              .Stdin(Pipe())
                              .Stdout(Pipe())
                              .Stderr(Pipe())
                              .PassFd(control)
                              .Spawn();
    read_end.Close();
    StreamWriter writer = ConnectWritePipe(std::move(write_end));
    const std::string input(500000, 'i');
    Task<ProcessOutput> first = CreateTask(child.Communicate(input));
    EXPECT_TRUE(co_await Eventually(
        [&] { return child.stdout.Buffered().size() == input.size(); }));
    first.Cancel();
    EXPECT_EQ(co_await ErrorOf(first), "cancelled");
    EXPECT_TRUE(child.stdout.Buffered() == input);
    EXPECT_EQ(
        co_await ErrorOf(child.Communicate("more input")),
        "Process::Communicate: the input was given before; to go on after "
        "a cancel, call it without one");
    co_await writer.Write("more ");
    co_await writer.Close();
    auto [out, err] = co_await child.Communicate();
    EXPECT_TRUE(out == input + "more end\n");
    EXPECT_EQ(child.ReturnCode(), 5);
  });
}

TEST_F(CommunicateTest, ACancelWhileOnlyTheExitIsMissingLosesNothing) {
  RunNet([]() -> Co<void> {
    auto [hold_read, hold_write] = MakePipe();
    const Process child =
        Command::Shell("echo out; echo err >&2; exec >&- 2>&-; read x")
            .Stdin(UseDescriptor(hold_read.Descriptor()))
            .Stdout(Pipe())
            .Stderr(Pipe())
            .Spawn();
    hold_read.Close();
    Task<ProcessOutput> first = CreateTask(child.Communicate());
    // Both pipes are at their end, and the exit is waited for.
    EXPECT_TRUE(co_await Eventually([] {
      return DumpTasks().find("(/bin/sh) to exit") != std::string::npos;
    }));
    EXPECT_FALSE(first.Done());
    first.Cancel();
    EXPECT_EQ(co_await ErrorOf(first), "cancelled");
    hold_write.Close();
    auto [out, err] = co_await child.Communicate();
    EXPECT_EQ(out, "out\n");
    EXPECT_EQ(err, "err\n");
  });
}

TEST_F(CommunicateTest, CancelledAfterEachTurnAndResumed) {
  RunNet([]() -> Co<void> {
    const std::string input(150000, 'i');
    int resumed = 0;
    for (int turns = 0; turns < 40; ++turns) {
      const Process child = Command::Shell("cat; echo err >&2")
                                .Stdin(Pipe())
                                .Stdout(Pipe())
                                .Stderr(Pipe())
                                .Spawn();
      std::string rest = input;
      for (int attempt = 0;; ++attempt) {
        Task<ProcessOutput> task = CreateTask(child.Communicate(rest));
        if (attempt < 20) {
          co_await Turns(turns);
          task.Cancel();
        }
        // Cancelled before its first step, it has done nothing.
        if (turns > 0) rest.clear();
        const Outcome<ProcessOutput> outcome = co_await Settle(task);
        if (outcome.Ok()) {
          EXPECT_TRUE(outcome.Value().out == input) << turns;
          EXPECT_EQ(outcome.Value().err, "err\n");
          break;
        }
        EXPECT_TRUE(outcome.Cancelled());
        ++resumed;
      }
      EXPECT_EQ(child.ReturnCode(), 0);
    }
    EXPECT_GT(resumed, 10);
  });
}

TEST_F(CommunicateTest, AnInputNeedsAPipe) {
  RunNet([]() -> Co<void> {
    const Process child = Command("true").Spawn();
    EXPECT_EQ(co_await ErrorOf(child.Communicate("x")),
              "Process::Communicate: there is an input, but stdin is not a "
              "pipe");
    co_await child.Wait();
  });
}

TEST_F(CommunicateTest, TheStreamsMayBeUsedByHand) {
  RunNet([]() -> Co<void> {
    Process cat = Command("cat").Stdin(Pipe()).Stdout(Pipe()).Spawn();
    for (int i = 0; i < 10; ++i) {
      co_await cat.stdin.Write(absl::StrCat("line ", i, "\n"));
      EXPECT_EQ(co_await cat.stdout.ReadLine(), absl::StrCat("line ", i, "\n"));
    }
    cat.stdin = {};
    EXPECT_EQ(co_await cat.stdout.ReadAll(), "");
    EXPECT_EQ(co_await cat.Wait(), 0);
  });
}

// ---- what is left

class LifetimeTest : public ProcessTest {};

// A shell with a child of its own; both hold stdout.
Command Family() {
  Command command = Command::Shell("sleep 1000 & echo ready; sleep 1000");
  command.Stdout(Pipe());
  return command;
}

TEST_F(LifetimeTest, WithKillsTheGroupAndReaps) {
  RunNet([]() -> Co<void> {
    Process family = Family().ProcessGroup().Spawn();
    const StreamReader out = family.stdout;
    const std::string line =
        co_await With(family, [](Process& process) -> Co<std::string> {
          co_return co_await process.stdout.ReadLine();
        });
    EXPECT_EQ(line, "ready\n");
    EXPECT_TRUE(NoChildren());
    EXPECT_EQ(family.ReturnCode(), -SIGKILL);
    EXPECT_THROW(family.SignalGroup(SIGKILL), OsError);
    // All who held the pipe are gone.
    EXPECT_EQ(co_await out.ReadAll(), "");
  });
}

TEST_F(LifetimeTest, WithKillsAlsoAfterAnErrorOrACancelOrTheEndOfTheLeader) {
  RunNet([]() -> Co<void> {
    Process failing = Family().ProcessGroup().Spawn();
    EXPECT_EQ(co_await ErrorOf(With(failing,
                                    [](Process&) -> Co<void> {
                                      throw std::runtime_error("no");
                                      co_return;
                                    })),
              "no");
    co_await failing.stdout.ReadAll();  // comes to its end
    Process endless = Family().ProcessGroup().Spawn();
    Task<void> cancelled = CreateTask([&]() -> Co<void> {
      auto body = [](Process& process) -> Co<void> { co_await process.Wait(); };
      co_await With(endless, body);
    });
    co_await Turns();
    cancelled.Cancel();
    EXPECT_EQ(co_await ErrorOf(cancelled), "cancelled");
    EXPECT_TRUE(NoChildren());
    Process leader =
        Command::Shell("sleep 1000 &").ProcessGroup().Stdout(Pipe()).Spawn();
    co_await With(
        leader, [](Process& process) -> Co<void> { co_await process.Wait(); });
    EXPECT_TRUE(NoChildren());
    EXPECT_EQ(co_await leader.stdout.ReadAll(), "");
    EXPECT_EQ(leader.ReturnCode(), 0);
  });
}

TEST_F(LifetimeTest, WithoutAGroupOnlyTheChildIsKilled) {
  RunNet([]() -> Co<void> {
    Process child = Sleeper().Spawn();
    co_await With(child, [](Process&) -> Co<void> { co_return; });
    EXPECT_EQ(child.ReturnCode(), -SIGKILL);
    EXPECT_TRUE(NoChildren());
  });
}

TEST_F(LifetimeTest, KillOnDropKillsTheGroupWithTheLastHandle) {
  RunNet([]() -> Co<void> {
    StreamReader out;
    {
      Process family = Family().KillOnDrop().Spawn();
      out = family.stdout;
      Process copy = family;
      family = Process();
      co_await Turns();
      EXPECT_EQ(co_await out.ReadLine(), "ready\n");
    }
    EXPECT_EQ(co_await out.ReadAll(), "");
    EXPECT_TRUE(co_await Eventually(NoChildren));
  });
}

TEST_F(LifetimeTest, AnAbandonedChildRunsOnAndIsReapedByTheLoop) {
  RunNet([]() -> Co<void> {
    PipeEnd hold;
    {
      Held child;
      hold = std::move(child.hold);
    }
    co_await Turns();
    EXPECT_FALSE(NoChildren());
    hold.Close();
    EXPECT_TRUE(co_await Eventually(NoChildren));
    for (int i = 0; i < 20; ++i) Command("true").Spawn();
    EXPECT_TRUE(co_await Eventually(NoChildren));
  });
}

TEST_F(LifetimeTest, AWaiterKeepsTheChildItWaitsFor) {
  RunNet([]() -> Co<void> {
    auto child = std::make_unique<Held>(Command("cat").KillOnDrop());
    Task<int> wait = CreateTask(child->process.Wait());
    PipeEnd hold = std::move(child->hold);
    child.reset();
    co_await Turns();
    hold.Close();
    EXPECT_EQ(co_await wait, 0);
  });
}

TEST_F(LifetimeTest, WhatOutlivesTheLoopIsReapedByALaterSpawn) {
  PipeEnd hold;
  pid_t pid = 0;
  RunNet([&]() -> Co<void> {
    Held child;
    hold = std::move(child.hold);
    pid = child.process.Pid();
    co_return;
  });
  EXPECT_EQ(internal::OrphanCount(), 1);
  hold.Close();
  AwaitZombie(pid);
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await Command("true").Spawn().Wait(), 0);
  });
}

TEST_F(LifetimeTest, WhatHasEndedIsReapedByTheEndOfTheLoop) {
  RunNet([]() -> Co<void> {
    AwaitZombie(Command("true").Spawn().Pid());
    co_return;
  });
}

TEST_F(LifetimeTest, TheEndOfTheLoopReapsWhatItKills) {
  RunNet([]() -> Co<void> {
    Process process = Family().KillOnDrop().Spawn();
    co_await process.stdout.ReadLine();
  });
  EXPECT_TRUE(NoChildren());
}

TEST_F(LifetimeTest, AProcessMayOutliveItsLoop) {
  for (const bool kill : {true, false}) {
    PipeEnd hold;
    pid_t pid = 0;
    {
      Process process = RunNet([&]() -> Co<Process> {
        Command cat("cat");
        if (kill) cat.KillOnDrop();
        Held child(cat);
        hold = std::move(child.hold);
        co_return child.process;
      });
      pid = process.Pid();
      EXPECT_EQ(process.ReturnCode(), std::nullopt);
      process.Signal(0);
    }
    EXPECT_EQ(NoChildren(), kill);
    hold.Close();
    if (!kill) AwaitZombie(pid);
    internal::ReapOrphans();
    EXPECT_TRUE(NoChildren());
  }
}

TEST_F(LifetimeTest, TheChildOfAForkHasNoPartInIt) {
  RunNet([]() -> Co<void> {
    Process process = Sleeper().KillOnDrop().Spawn();
    const pid_t fork = ::fork();
    if (fork == 0) {
      process = Process();
      ::_exit(0);
    }
    int status = -1;
    ::waitpid(fork, &status, 0);
    EXPECT_EQ(status, 0);
    co_await Turns();
    EXPECT_EQ(process.ReturnCode(), std::nullopt);
    process.Terminate();
    EXPECT_EQ(co_await process.Wait(), -SIGTERM) << "not killed by the fork";
  });
}

}  // namespace
}  // namespace coil::net
