// Children in numbers, and system calls that fail; a test is named after its
// row in the catalogue of failures.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/subprocess.h"
#include "coil/task/testing.h"
#include "coil/task/with.h"
#include "tests/net/process_testing.h"

namespace coil::net {
namespace {

using coil::internal::kRealSocketCalls;
using coil::internal::kRealSyscalls;
using coil_testing::AwaitZombie;
using coil_testing::Eventually;
using coil_testing::NoChildren;
using coil_testing::OpenDescriptors;
using coil_testing::ProcessTest;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::SystemShim;
using coil_testing::Turns;

Command Everything() {
  Command command("cat");
  command.Stdin(Pipe()).Stdout(Pipe()).Stderr(DevNull()).Cwd("/");
  return command;
}

// ---- T25: resources are refused

// Counts calls and fails one of them.
int g_calls = 0;
int g_failing = 0;
int g_error = 0;
int g_spawns = 0;

bool FailsNow() {
  if (++g_calls != g_failing) return false;
  errno = g_error;
  return true;
}

class ReliabilityT25 : public ProcessTest {
 protected:
  // All that Spawn() asks of the system goes through FailsNow().
  ReliabilityT25() {
    auto& system = system_.table();
    system.pipe2 = [](int fds[2], int flags) {
      return FailsNow() ? -1 : ::pipe2(fds, flags);
    };
    system.get_flags = [](int fd) {
      return FailsNow() ? -1 : kRealSyscalls.get_flags(fd);
    };
    system.set_flags = [](int fd, int flags) {
      return FailsNow() ? -1 : kRealSyscalls.set_flags(fd, flags);
    };
    system.epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
      if (op == EPOLL_CTL_ADD && FailsNow()) return -1;
      return ::epoll_ctl(epfd, op, fd, event);
    };
    system.pidfd_open = [](pid_t pid, unsigned flags) {
      return FailsNow() ? -1 : kRealSyscalls.pidfd_open(pid, flags);
    };
    auto& sockets = sockets_.table();
    sockets.open = [](const char* path, int flags) {
      return FailsNow() ? -1 : kRealSocketCalls.open(path, flags);
    };
    sockets.faccessat = [](int fd, const char* path, int mode, int flags) {
      return FailsNow() ? -1 : ::faccessat(fd, path, mode, flags);
    };
    sockets.posix_spawn = [](pid_t* pid, const char* path,
                             const posix_spawn_file_actions_t* actions,
                             const posix_spawnattr_t* attributes,
                             char* const argv[], char* const envp[]) {
      if (FailsNow()) return g_error;
      ++g_spawns;
      return ::posix_spawn(pid, path, actions, attributes, argv, envp);
    };
  }

 private:
  SystemShim system_;
  SocketShim sockets_;
};

TEST_F(ReliabilityT25, EachCallOfASpawnMayFailAndNothingIsLeft) {
  for (const int error : {EMFILE, ENOMEM, EAGAIN}) {
    int succeeded = 0;
    for (int k = 1; succeeded < 3; ++k) {
      SCOPED_TRACE(absl::StrCat("call ", k, ", errno ", error));
      ASSERT_LT(k, 100);
      RunNet([&]() -> Co<void> {
        const int before = OpenDescriptors();
        g_calls = g_spawns = 0;
        g_failing = k;
        g_error = error;
        Process process;
        std::string failure;
        try {
          process = Everything().Spawn();
        } catch (const OsError& thrown) {
          failure = thrown.what();
          EXPECT_EQ(thrown.Errno(), error) << failure;
        }
        const bool reached = g_calls >= k;
        g_failing = 0;
        if (!process) {
          EXPECT_TRUE(reached);
          EXPECT_EQ(OpenDescriptors(), before) << failure;
          EXPECT_TRUE(NoChildren()) << failure;
          co_return;
        }
        // Another folder of PATH, or no call at all.
        if (!reached) ++succeeded;
        auto [out, err] = co_await process.Communicate("works");
        EXPECT_EQ(out, "works");
      });
    }
  }
}

TEST_F(ReliabilityT25, AKernelWithoutPidfdsIsToldBeforeAnythingRuns) {
  RunNet([]() -> Co<void> {
    g_calls = g_spawns = 0;
    g_failing = 1;  // the first is the question whether there are pidfds
    g_error = ENOSYS;
    std::string failure;
    try {
      Everything().Spawn();
    } catch (const OsError& error) {
      failure = error.what();
    }
    g_failing = 0;
    EXPECT_EQ(failure, "pidfd_open cat: Function not implemented");
    EXPECT_EQ(g_spawns, 0);
    co_return;
  });
}

// ---- T42, T44: the end of a child

class ReliabilityT44 : public ProcessTest {};

TEST_F(ReliabilityT44, ManyAtOnceSomeKilledSomeCancelled) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  RunNet([seed]() -> Co<void> {
    std::mt19937 random(seed);
    constexpr int kChildren = 300;
    constexpr int kAtOnce = 50;
    int next = 0;
    int ended = 0;
    const auto worker = [&]() -> Co<void> {
      while (next < kChildren) {
        const int i = next++;
        const uint32_t kind = random() % 5;
        const std::string script = absl::StrCat("echo ", i, "; exit ", i % 100);
        if (kind == 0) {
          const Process killed = Command("sleep").Arg("1000").Spawn();
          for (uint32_t n = random() % 3; n > 0; --n) co_await Yield();
          killed.Kill();
          EXPECT_EQ(co_await killed.Wait(), -SIGKILL);
        } else if (kind == 1) {
          Task<CommandResult> run = CreateTask(Command::Shell(script).Run());
          for (uint32_t n = random() % 10; n > 0; --n) co_await Yield();
          run.Cancel();
          co_await Settle(run);
        } else {
          const CommandResult result = co_await Command::Shell(script).Run();
          EXPECT_EQ(result.out, absl::StrCat(i, "\n"));
          EXPECT_EQ(result.return_code, i % 100);
        }
        ++ended;
      }
    };
    std::vector<Task<void>> workers;
    for (int i = 0; i < kAtOnce; ++i) workers.push_back(CreateTask(worker));
    for (const Task<void>& task : workers) co_await task;
    EXPECT_EQ(ended, kChildren);
    EXPECT_TRUE(NoChildren());
  });
}

TEST_F(ReliabilityT44, AStatusThatSomebodyElseTookIsReported) {
  RunNet([]() -> Co<void> {
    Reports reports;
    const Process process = Command("true").Spawn();
    ::waitpid(process.Pid(), nullptr, 0);
    EXPECT_EQ(co_await process.Wait(), 255);
    EXPECT_EQ(reports.Messages(),
              std::vector<std::string>{absl::StrCat(
                  "process ", process.Pid(),
                  " (true) was waited for by somebody else, or SIGCHLD is "
                  "ignored: its exit status is lost, and 255 stands for it")});
    EXPECT_THROW(process.Kill(), OsError);
  });
}

TEST_F(ReliabilityT44, AProgramThatIgnoresSigchldSeesTheEnd) {
  const sighandler_t previous = ::signal(SIGCHLD, SIG_IGN);
  RunNet([]() -> Co<void> {
    Reports reports;
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(co_await Command("true").Spawn().Wait(), 255);
    }
    EXPECT_EQ(reports.Messages().size(), 20u);
  });
  ::signal(SIGCHLD, previous);
}

TEST_F(ReliabilityT44, ReadyForNoReasonIsAskedAgain) {
  static int calls = 0;
  calls = 0;
  SystemShim shim;
  shim.table().waitid = [](idtype_t type, id_t id, siginfo_t* info, int flags) {
    ++calls;
    if (calls < 3) {
      errno = EINTR;
      return -1;
    }
    if (calls < 6) return 0;  // nothing in *info
    return ::waitid(type, id, info, flags);
  };
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await Command("false").Spawn().Wait(), 1);
    EXPECT_EQ(calls, 6);
  });
}

TEST_F(ReliabilityT44, AKernelThatWaitsByNumberOnly) {
  SystemShim shim;
  shim.table().waitid = [](idtype_t type, id_t id, siginfo_t* info, int flags) {
    if (type != P_PID) {
      errno = EINVAL;
      return -1;
    }
    return ::waitid(type, id, info, flags);
  };
  RunNet([]() -> Co<void> {
    EXPECT_EQ((co_await Command("false").Run()).return_code, 1);
  });
}

TEST_F(ReliabilityT44, SignalsGoByPidfdAndNeverByNumber) {
  static int kills = 0;
  static int by_pidfd = 0;
  kills = by_pidfd = 0;
  SystemShim shim;
  shim.table().kill = [](pid_t pid, int signal) {
    ++kills;
    return ::kill(pid, signal);
  };
  shim.table().pidfd_send_signal = [](int pidfd, int signal) {
    ++by_pidfd;
    return kRealSyscalls.pidfd_send_signal(pidfd, signal);
  };
  RunNet([]() -> Co<void> {
    const Process process = Command("sleep").Arg("1000").Spawn();
    process.Terminate();
    co_await process.Wait();
    Task<CommandResult> run = CreateTask(Command("sleep").Arg("1000").Run());
    co_await Turns();
    run.Cancel();
    co_await Settle(run);
  });
  EXPECT_EQ(kills, 0);
  EXPECT_EQ(by_pidfd, 2);
}

TEST_F(ReliabilityT44, AWaitingParentDoesNotSpin) {
  RunNet([]() -> Co<void> {
    // A zombie that stays one must not keep the loop awake.
    const Process zombie = Command("true").ProcessGroup().Spawn();
    co_await zombie.Wait();
    const Process running = Command("sleep").Arg("1000").KillOnDrop().Spawn();
    const uint64_t before = EventLoop::Current().Iterations();
    co_await Sleep(absl::Milliseconds(50));
    EXPECT_LE(EventLoop::Current().Iterations() - before, 10u);
  });
}

// ---- cancelled and destroyed at each suspension

// The child has ended before anything is awaited, so that the runs are alike.
Co<void> EndedChild() {
  Process process = Command::Shell("echo out; echo err >&2; exit 3")
                        .Stdin(Pipe())
                        .Stdout(Pipe())
                        .Stderr(Pipe())
                        .ProcessGroup()
                        .Spawn();
  AwaitZombie(process.Pid());
  co_await With(process, [](Process& child) -> Co<void> {
    auto [out, err] = co_await child.Communicate();
    EXPECT_EQ(out, "out\n");
    EXPECT_EQ(err, "err\n");
    EXPECT_EQ(co_await child.Wait(), 3);
  });
}

class SubprocessCancellationTest : public ProcessTest {};

TEST_F(SubprocessCancellationTest, NothingIsLeftWhereverItIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      EndedChild, SweepOptions().SecondCancel().Seeds(2).Base([] {
        return std::vector<int64_t>{internal::OrphanCount(), NoChildren()};
      }));
  EXPECT_GT(result.points, 4u);
}

TEST_F(SubprocessCancellationTest, NothingIsLeftWhereverTheLoopEnds) {
  EXPECT_GT(ForEachDestructionPoint(EndedChild).points, 0u);
  EXPECT_TRUE(NoChildren());
}

// And with a child that lives: the run kills it. A second cancel would leave it
// to the loop, which is then still watching it.
TEST_F(SubprocessCancellationTest, ARunThatIsCancelledLeavesNoChild) {
  const auto run = []() -> Co<void> {
    co_await Command("cat").Run("through cat");
  };
  const SweepResult result =
      ForEachCancellationPoint(run, SweepOptions().Base([] {
        return std::vector<int64_t>{internal::OrphanCount(), NoChildren()};
      }));
  EXPECT_GT(result.points, 2u);
}

}  // namespace
}  // namespace coil::net
