// Commands: what a child gets, and what comes back.

#include "coil/net/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coil/net/pipe.h"
#include "coil/task/gather.h"
#include "coil/timers/timeout.h"
#include "tests/net/process_testing.h"

namespace coil::net {
namespace {

using coil_testing::AwaitZombie;
using coil_testing::CheckedFd;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NoChildren;
using coil_testing::OpenDescriptors;
using coil_testing::ProcessTest;
using coil_testing::RunNet;
using coil_testing::Turns;

// A child that lives until it is killed.
Command Sleeper() { return Command("sleep").Arg("1000"); }

std::string SpawnError(const Command& command) {
  try {
    command.Spawn();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// A file of this test.
std::string TempFile(const std::string& name, const std::string& text,
                     mode_t mode = 0600) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
  return path;
}

// ---- Run()

class CommandTest : public ProcessTest {};

TEST_F(CommandTest, RunGivesWhatWasPrintedAndTheStatus) {
  RunNet([]() -> Co<void> {
    const CommandResult hello = co_await Command("echo").Arg("hello").Run();
    EXPECT_EQ(hello.out, "hello\n");
    EXPECT_EQ(hello.err, "");
    EXPECT_TRUE(hello.Ok());
    const CommandResult failed =
        co_await Command::Shell("echo out; echo err >&2; exit 3").Run();
    EXPECT_EQ(failed.out, "out\n");
    EXPECT_EQ(failed.err, "err\n");
    EXPECT_EQ(failed.return_code, 3);
    EXPECT_FALSE(failed.Ok());
  });
}

TEST_F(CommandTest, ASignalIsANegativeStatus) {
  RunNet([]() -> Co<void> {
    const CommandResult result =
        co_await Command::Shell("echo before; kill -TERM $$").Run();
    EXPECT_EQ(result.return_code, -SIGTERM);
    EXPECT_EQ(result.out, "before\n");
  });
}

TEST_F(CommandTest, RunGivesAnInput) {
  RunNet([]() -> Co<void> {
    const std::string input(300000, 'i');
    const CommandResult result = co_await Command("cat").Run(input);
    EXPECT_TRUE(result.out == input);
    const CommandResult empty = co_await Command("cat").Run("");
    EXPECT_EQ(empty.out, "");
  });
}

TEST_F(CommandTest, ArgumentsAreNotForTheShell) {
  RunNet([]() -> Co<void> {
    const std::vector<std::string> arguments = {"%s|", "$HOME; ls", "", "a b",
                                                "*"};
    const CommandResult result =
        co_await Command("printf").Args(arguments).Run();
    EXPECT_EQ(result.out, "$HOME; ls||a b|*|");
  });
}

TEST_F(CommandTest, ACommandMayBeCopiedAndRunAgain) {
  RunNet([]() -> Co<void> {
    const Command base = Command("echo").Arg("one");
    Command more = base;
    more.Arg("two");
    auto [first, second, third] =
        co_await Gather(base.Run(), more.Run(), base.Run());
    EXPECT_EQ(first.out, "one\n");
    EXPECT_EQ(second.out, "one two\n");
    EXPECT_EQ(third.out, "one\n");
  });
}

TEST_F(CommandTest, TheCommandNeedNotOutliveTheRun) {
  RunNet([]() -> Co<void> {
    Task<CommandResult> task = CreateTask(Command("echo").Arg("x").Run());
    EXPECT_EQ((co_await task).out, "x\n");
  });
}

TEST_F(CommandTest, ACancelledRunKillsAndReapsTheChild) {
  RunNet([]() -> Co<void> {
    for (int turns = 0; turns < 8; ++turns) {
      Task<CommandResult> run = CreateTask(Sleeper().Run());
      co_await Turns(turns);
      run.Cancel();
      EXPECT_EQ(co_await ErrorOf(run), "cancelled");
      EXPECT_TRUE(NoChildren());
    }
    EXPECT_THROW(co_await WithTimeout(absl::Milliseconds(1), Sleeper().Run()),
                 TimeoutError);
    EXPECT_TRUE(NoChildren());
  });
}

// ---- the environment of the child

TEST_F(CommandTest, TheEnvironmentIsInheritedWithChanges) {
  ::setenv("COIL_TEST_KEPT", "kept", 1);
  ::setenv("COIL_TEST_GONE", "gone", 1);
  ::setenv("COIL_TEST_CHANGED", "old", 1);
  RunNet([]() -> Co<void> {
    const CommandResult result = co_await Command("env")
                                     .Env("COIL_TEST_CHANGED", "new")
                                     .Env("COIL_TEST_ADDED", "a=b")
                                     .RemoveEnv("COIL_TEST_GONE")
                                     .Run();
    const std::string all = "\n" + result.out;
    EXPECT_NE(all.find("\nCOIL_TEST_KEPT=kept\n"), std::string::npos) << all;
    EXPECT_NE(all.find("\nCOIL_TEST_CHANGED=new\n"), std::string::npos);
    EXPECT_NE(all.find("\nCOIL_TEST_ADDED=a=b\n"), std::string::npos);
    EXPECT_EQ(all.find("COIL_TEST_GONE"), std::string::npos);
    EXPECT_EQ(all.find("=old"), std::string::npos);
    const CommandResult cleared =
        co_await Command("/usr/bin/env").Env("ONLY", "this").ClearEnv().Run();
    EXPECT_EQ(cleared.out, "ONLY=this\n");
  });
}

TEST_F(CommandTest, ThePathOfTheChildCounts) {
  const std::string folder = testing::TempDir() + "/path_of_the_child";
  ::mkdir(folder.c_str(), 0700);
  TempFile("path_of_the_child/coil-tool", "#!/bin/sh\necho mine\n", 0700);
  TempFile("path_of_the_child/cat", "not to be run", 0600);
  RunNet([&]() -> Co<void> {
    EXPECT_EQ(SpawnError(Command("coil-tool")),
              "spawn coil-tool: No such file or directory");
    const CommandResult found =
        co_await Command("coil-tool").Env("PATH", "/nowhere:" + folder).Run();
    EXPECT_EQ(found.out, "mine\n");
    EXPECT_EQ(SpawnError(Command("cat").Env("PATH", "/nowhere")),
              "spawn cat: No such file or directory");
    // One that may not be run is passed over, and named if it is the only one.
    const CommandResult next =
        co_await Command("cat").Env("PATH", folder + ":/bin:/usr/bin").Run("x");
    EXPECT_EQ(next.out, "x");
    EXPECT_EQ(SpawnError(Command("cat").Env("PATH", folder + ":/nowhere")),
              "spawn cat: Permission denied");
  });
}

TEST_F(CommandTest, TheFolderCountsForRelativePaths) {
  const std::string folder = testing::TempDir() + "/folder_of_the_child";
  ::mkdir(folder.c_str(), 0700);
  TempFile("folder_of_the_child/tool", "#!/bin/sh\npwd -P\n", 0700);
  char real[PATH_MAX];
  ASSERT_NE(::realpath(folder.c_str(), real), nullptr);
  RunNet([&]() -> Co<void> {
    const CommandResult result = co_await Command("./tool").Cwd(folder).Run();
    EXPECT_EQ(result.out, absl::StrCat(real, "\n"));
    EXPECT_EQ(SpawnError(Command("./tool")),
              "spawn ./tool: No such file or directory");
    const CommandResult by_path =
        co_await Command("tool").Env("PATH", "/nowhere:.").Cwd(folder).Run();
    EXPECT_EQ(by_path.out, absl::StrCat(real, "\n"));
  });
}

// A field of /proc/PID/status as a set of signals.
uint64_t SignalsOf(const std::string& status, const std::string& field) {
  for (const std::string_view line : absl::StrSplit(status, '\n')) {
    std::string_view value = line;
    if (!absl::ConsumePrefix(&value, field + ":\t")) continue;
    return std::stoull(std::string(value), nullptr, 16);
  }
  ADD_FAILURE() << field << " in " << status;
  return 0;
}

uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

TEST_F(CommandTest, TheChildHasTheSignalsThatAProgramExpects) {
  const sighandler_t pipe_before = ::signal(SIGPIPE, SIG_IGN);
  const sighandler_t hup_before = ::signal(SIGHUP, SIG_IGN);
  sigset_t some;
  sigset_t mask_before;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &some, &mask_before);
  RunNet([]() -> Co<void> {
    // The loop of Run() handles SIGINT meanwhile.
    EventLoop::Current().AddSignalHandler(SIGTERM, [] {});
    const CommandResult result =
        co_await Command("cat").Arg("/proc/self/status").Run();
    EXPECT_EQ(SignalsOf(result.out, "SigBlk"), 0u);
    EXPECT_EQ(SignalsOf(result.out, "SigCgt"), 0u);
    const uint64_t ignored = SignalsOf(result.out, "SigIgn");
    EXPECT_EQ(ignored & (Bit(SIGPIPE) | Bit(SIGINT) | Bit(SIGTERM)), 0u);
    EXPECT_NE(ignored & Bit(SIGHUP), 0u) << "as nohup needs it";
    // And so a program ends when nobody reads what it prints.
    const CommandResult ended =
        co_await Command::Shell("exec 2>&1; yes | head -n 1").Run();
    EXPECT_EQ(ended.out, "y\n");
  });
  ::pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
  ::signal(SIGPIPE, pipe_before);
  ::signal(SIGHUP, hup_before);
}

TEST_F(CommandTest, GroupsAndSessions) {
  RunNet([]() -> Co<void> {
    const Process plain =
        Sleeper().KillOnDrop().ProcessGroup(::getpgrp()).Spawn();
    EXPECT_EQ(::getpgid(plain.Pid()), ::getpgrp());
    const Process own = Sleeper().ProcessGroup().KillOnDrop().Spawn();
    EXPECT_EQ(::getpgid(own.Pid()), own.Pid());
    EXPECT_EQ(::getsid(own.Pid()), ::getsid(0));
    const Process session = Sleeper().NewSession().KillOnDrop().Spawn();
    EXPECT_EQ(::getsid(session.Pid()), session.Pid());
    const Process joined =
        Sleeper().ProcessGroup(own.Pid()).KillOnDrop().Spawn();
    EXPECT_EQ(::getpgid(joined.Pid()), own.Pid());
    std::string error;
    try {
      plain.SignalGroup(SIGTERM);
    } catch (const std::runtime_error& e) {
      error = e.what();
    }
    EXPECT_EQ(error,
              "Process::SignalGroup: the process has no group of its own; ask "
              "for one by Command::ProcessGroup() or Command::NewSession()");
    co_return;
  });
}

// ---- descriptors

// The descriptors of a child, which lists them itself.
Co<std::string> DescriptorsOf(Command command) {
  const CommandResult result =
      co_await command.Arg("-c").Arg("echo /proc/$$/fd/*").Run();
  std::string list;
  for (const std::string_view path :
       absl::StrSplit(absl::StripSuffix(result.out, "\n"), ' ')) {
    absl::StrAppend(&list, list.empty() ? "" : " ",
                    path.substr(path.rfind('/') + 1));
  }
  co_return list;
}

class ReliabilityT46 : public ProcessTest {};

TEST_F(ReliabilityT46, OnlyWhatIsAskedForIsInherited) {
  const PipeEnd folder =
      PipeEnd::Adopt(CheckedFd(::open("/", O_RDONLY | O_CLOEXEC), "open"));
  // Somebody has forgotten O_CLOEXEC.
  const PipeEnd leaky = PipeEnd::Adopt(
      CheckedFd(::fcntl(folder.Descriptor(), F_DUPFD, 60), "dup"));
  const PipeEnd far = PipeEnd::Adopt(
      CheckedFd(::fcntl(folder.Descriptor(), F_DUPFD, 100), "dup"));
  const PipeEnd passed = PipeEnd::Adopt(
      CheckedFd(::fcntl(folder.Descriptor(), F_DUPFD_CLOEXEC, 50), "dup"));
  RunNet([&]() -> Co<void> {
    // 3 is the list itself, which the shell reads.
    const std::string plain = co_await DescriptorsOf(Command("/bin/sh"));
    EXPECT_EQ(plain, "0 1 2 3");
    const std::string two =
        co_await DescriptorsOf(Command("/bin/sh")
                                   .PassFd(far.Descriptor())
                                   .PassFd(passed.Descriptor()));
    EXPECT_EQ(two, absl::StrCat("0 1 ", far.Descriptor(), " 2 3 ",
                                passed.Descriptor()));
    EXPECT_EQ(::fcntl(passed.Descriptor(), F_GETFD), FD_CLOEXEC);
  });
}

TEST_F(CommandTest, AChildReadsWhatItWasPassed) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    const int number = read_end.Descriptor();
    StreamWriter writer = ConnectWritePipe(std::move(write_end));
    Task<CommandResult> run = CreateTask(
        Command::Shell(absl::StrCat("cat <&", number)).PassFd(number).Run());
    co_await writer.Write("passed");
    co_await Turns();
    read_end.Close();
    co_await writer.Close();
    EXPECT_EQ((co_await run).out, "passed");
  });
}

TEST_F(CommandTest, Redirections) {
  RunNet([]() -> Co<void> {
    const CommandResult both =
        co_await Command::Shell("echo 1; echo 2 >&2; echo 3")
            .Stderr(ToStdout())
            .Run();
    EXPECT_EQ(both.out, "1\n2\n3\n");
    EXPECT_EQ(both.err, "");
    const CommandResult none =
        co_await Command::Shell("cat; echo x; echo y >&2")
            .Stdin(DevNull())
            .Stdout(DevNull())
            .Run();
    EXPECT_EQ(none.out, "");
    EXPECT_EQ(none.err, "y\n");
    const Process silent =
        Command("true").Stdin(DevNull()).Stdout(DevNull()).Spawn();
    EXPECT_FALSE(silent.stdin);
    EXPECT_FALSE(silent.stdout);
    EXPECT_FALSE(silent.stderr);
    EXPECT_EQ(co_await silent.Wait(), 0);
  });
}

TEST_F(CommandTest, AFileIsReadAndWritten) {
  const std::string path = TempFile("redirected.txt", "from a file");
  RunNet([&]() -> Co<void> {
    const PipeEnd in = PipeEnd::Adopt(
        CheckedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
    auto [read_end, write_end] = MakePipe();
    const Process cat = Command("cat")
                            .Stdin(UseDescriptor(in.Descriptor()))
                            .Stdout(UseDescriptor(write_end.Descriptor()))
                            .Spawn();
    EXPECT_GE(::fcntl(write_end.Descriptor(), F_GETFD), 0) << "still ours";
    write_end.Close();
    StreamReader reader = ConnectReadPipe(std::move(read_end));
    EXPECT_EQ(co_await reader.ReadAll(), "from a file");
    EXPECT_EQ(co_await cat.Wait(), 0);
  });
}

TEST_F(CommandTest, APipeline) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    const Process producer = Command::Shell("for i in 3 1 2; do echo $i; done")
                                 .Stdout(UseDescriptor(write_end.Descriptor()))
                                 .Spawn();
    write_end.Close();
    const Process sort = Command("sort")
                             .Stdin(UseDescriptor(read_end.Descriptor()))
                             .Stdout(Pipe())
                             .Spawn();
    read_end.Close();
    auto [out, err] = co_await sort.Communicate();
    EXPECT_EQ(out, "1\n2\n3\n");
    EXPECT_EQ(co_await producer.Wait(), 0);
  });
}

// What stands at 0, 1 and 2 of this process, put back at the end.
class SavedStdio {
 public:
  SavedStdio() {
    for (int i = 0; i < 3; ++i) saved_[i] = ::fcntl(i, F_DUPFD_CLOEXEC, 100);
  }
  ~SavedStdio() {
    for (int i = 0; i < 3; ++i) {
      if (saved_[i] < 0) {
        ::close(i);
      } else {
        ::dup2(saved_[i], i);
        ::close(saved_[i]);
      }
    }
  }

 private:
  int saved_[3];
};

TEST_F(CommandTest, StdoutAndStderrMayChangePlaces) {
  RunNet([]() -> Co<void> {
    auto [out_read, out_write] = MakePipe();
    auto [err_read, err_write] = MakePipe();
    {
      SavedStdio saved;
      ::dup2(out_write.Descriptor(), 1);
      ::dup2(err_write.Descriptor(), 2);
      const Process swapped = Command::Shell("echo to 1; echo to 2 >&2")
                                  .Stdout(UseDescriptor(2))
                                  .Stderr(UseDescriptor(1))
                                  .Spawn();
      AwaitZombie(swapped.Pid());
    }
    out_write.Close();
    err_write.Close();
    StreamReader out = ConnectReadPipe(std::move(out_read));
    StreamReader err = ConnectReadPipe(std::move(err_read));
    EXPECT_EQ(co_await out.ReadAll(), "to 2\n");
    EXPECT_EQ(co_await err.ReadAll(), "to 1\n");
  });
}

TEST_F(CommandTest, AProgramWithoutStandardStreamsHasChildren) {
  RunNet([]() -> Co<void> {
    std::optional<SavedStdio> saved(std::in_place);
    for (int i = 0; i < 3; ++i) ::close(i);
    // The pipes get the numbers 0, 1 and 2 here.
    Process cat = Command::Shell("cat; echo err >&2")
                      .Stdin(Pipe())
                      .Stdout(Pipe())
                      .Stderr(Pipe())
                      .Spawn();
    auto [out, err] = co_await cat.Communicate("in");
    const std::optional<int> code = cat.ReturnCode();
    cat = Process();
    saved.reset();
    EXPECT_EQ(out, "in");
    EXPECT_EQ(err, "err\n");
    EXPECT_EQ(code, 0);
  });
}

// ---- failures

TEST_F(CommandTest, WhatCannotBeStartedIsNamedAndLeavesNothing) {
  const std::string script =
      TempFile("no_interpreter", "#!/nowhere/sh\n", 0700);
  const std::string text = TempFile("not_a_program", "just text", 0700);
  const std::string plain = TempFile("not_executable", "#!/bin/sh\n", 0600);
  RunNet([&]() -> Co<void> {
    const int before = OpenDescriptors();
    const auto error_of = [&](Command command) {
      const std::string error =
          SpawnError(command.Stdin(Pipe()).Stdout(Pipe()).Stderr(Pipe()));
      EXPECT_EQ(OpenDescriptors(), before) << error;
      EXPECT_TRUE(NoChildren()) << error;
      return error;
    };
    EXPECT_EQ(error_of(Command("/nowhere/tool")),
              "spawn /nowhere/tool: No such file or directory");
    EXPECT_EQ(error_of(Command("coil-no-such-tool")),
              "spawn coil-no-such-tool: No such file or directory");
    EXPECT_EQ(error_of(Command(script)),
              "spawn " + script + ": No such file or directory");
    EXPECT_EQ(error_of(Command(text)), "spawn " + text + ": Exec format error");
    EXPECT_EQ(error_of(Command(plain)),
              "spawn " + plain + ": Permission denied");
    EXPECT_EQ(error_of(Command("/")), "spawn /: Permission denied");
    EXPECT_EQ(error_of(Command(plain + "/x")),
              "spawn " + plain + "/x: Not a directory");
    EXPECT_EQ(error_of(Command("true").Cwd("/nowhere")),
              "chdir /nowhere: No such file or directory");
    EXPECT_EQ(error_of(Command("true").Cwd(plain)),
              "chdir " + plain + ": Not a directory");
    EXPECT_EQ(error_of(Command("true").PassFd(999)),
              "spawn true (PassFd: fd 999): Bad file descriptor");
    EXPECT_EQ(error_of(Command("true").Arg(std::string(3 << 20, 'x'))),
              "spawn true: Argument list too long");
    EXPECT_EQ(error_of(Command("true").ProcessGroup(0x3fffffff)),
              "spawn true: Operation not permitted");
    EXPECT_EQ(SpawnError(Command("true").Stdout(UseDescriptor(999))),
              "spawn true (stdout: fd 999): Bad file descriptor");
    co_return;
  });
}

TEST_F(CommandTest, WhatCannotBeIsRefusedAtOnce) {
  EXPECT_THROW(Command(""), std::invalid_argument);
  EXPECT_THROW(Command(std::string("a\0b", 3)), std::invalid_argument);
  Command command("true");
  EXPECT_THROW(command.Arg(std::string(1, '\0')), std::invalid_argument);
  EXPECT_THROW(command.Env("", "x"), std::invalid_argument);
  EXPECT_THROW(command.Env("A=B", "x"), std::invalid_argument);
  EXPECT_THROW(command.Env("A", std::string(1, '\0')), std::invalid_argument);
  EXPECT_THROW(command.RemoveEnv("A=B"), std::invalid_argument);
  EXPECT_THROW(command.Cwd(""), std::invalid_argument);
  EXPECT_THROW(command.Stdin(ToStdout()), std::invalid_argument);
  EXPECT_THROW(command.Stdout(ToStdout()), std::invalid_argument);
  EXPECT_THROW(command.PassFd(2), std::invalid_argument);
  EXPECT_THROW(command.PassFd(-1), std::invalid_argument);
  EXPECT_THROW(command.ProcessGroup(-1), std::invalid_argument);
  EXPECT_THROW(command.Limit(0), std::invalid_argument);
  EXPECT_THROW(command.Spawn(), std::runtime_error);  // no loop
  const Process none;
  EXPECT_FALSE(none);
  EXPECT_THROW(none.Pid(), std::runtime_error);
  EXPECT_THROW(none.Kill(), std::runtime_error);
}

TEST_F(CommandTest, TheLimitIsThatOfBothReaders) {
  RunNet([]() -> Co<void> {
    const Process echo = Command::Shell("echo a long line")
                             .Stdout(Pipe())
                             .Stderr(Pipe())
                             .Limit(4)
                             .Spawn();
    EXPECT_EQ(echo.stdout.Limit(), 4u);
    EXPECT_EQ(echo.stderr.Limit(), 4u);
    EXPECT_THROW(co_await echo.stdout.ReadLine(), LimitOverrunError);
    EXPECT_EQ(co_await echo.Wait(), 0);
  });
}

}  // namespace
}  // namespace coil::net
