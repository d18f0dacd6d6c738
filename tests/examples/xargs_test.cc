// The example runs commands as xargs(1) does, and Ctrl-C leaves none behind.

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coil/net/pipe.h"
#include "coil/net/subprocess.h"
#include "coil/task/run.h"
#include "gtest/gtest.h"

namespace {

using coil::Co;
using coil::net::Command;
using coil::net::CommandResult;
using coil::net::Process;
using Words = std::vector<std::string>;

Command Xargs(Words arguments) {
  Command command("examples/xargs");
  command.Args(std::move(arguments));
  return command;
}

CommandResult RunXargs(Words arguments, std::string input) {
  return coil::Run(Xargs(std::move(arguments)).Run(std::move(input)));
}

Words SortedLines(const std::string& text) {
  Words lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST(XargsTest, RunsACommandForEachWord) {
  std::string input;
  Words expected;
  for (int i = 0; i < 50; ++i) {
    absl::StrAppend(&input, "word", i, i % 7 == 0 ? "\n" : "  ");
    expected.push_back(absl::StrCat("a word", i));
  }
  std::sort(expected.begin(), expected.end());
  const CommandResult result = RunXargs({"-P", "5", "echo", "a"}, input);
  EXPECT_EQ(result.return_code, 0);
  EXPECT_EQ(SortedLines(result.out), expected);
  EXPECT_EQ(result.err, "") << "no terminal, no bar";
}

TEST(XargsTest, OneAtATimeKeepsTheOrder) {
  const CommandResult result =
      RunXargs({"-P", "1", "-n", "2", "echo"}, "1 2 3\n4\n5");
  EXPECT_EQ(result.out, "1 2\n3 4\n5\n");
}

TEST(XargsTest, ReadsAFile) {
  const std::string path = testing::TempDir() + "/items";
  std::ofstream(path) << "from a file";
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const CommandResult result = coil::Run(
      Xargs({"-P", "1", "echo"}).Stdin(coil::net::UseDescriptor(file)).Run());
  close(file);
  EXPECT_EQ(result.out, "from\na\nfile\n");
}

TEST(XargsTest, TheStatusIsThatOfXargs) {
  EXPECT_EQ(RunXargs({"true"}, "").return_code, 0);
  EXPECT_EQ(RunXargs({"sh", "-c", "exit $0"}, "0 1 0").return_code, 123);
  EXPECT_EQ(RunXargs({"sh", "-c", "kill -$0 $$"}, "TERM").return_code, 125);
  const CommandResult missing = RunXargs({"coil-no-such-tool"}, "a b c");
  EXPECT_EQ(missing.return_code, 127);
  EXPECT_EQ(missing.err,
            "xargs: spawn coil-no-such-tool: No such file or directory\n");
  EXPECT_EQ(RunXargs({"/"}, "a").return_code, 126);
  EXPECT_EQ(RunXargs({}, "").return_code, 1);
  EXPECT_EQ(RunXargs({"-P", "0", "true"}, "").return_code, 1);
}

// ---- Ctrl-C

// Waits for both commands to say that they run, then interrupts.
Co<void> Interrupt(std::string script, int interrupts) {
  Process xargs = Xargs({"-P", "2", "sh", "-c", script})
                      .Stdin(coil::net::Pipe())
                      .Stdout(coil::net::Pipe())
                      .Spawn();
  co_await xargs.stdin.Write("1 2 3 4\n");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(co_await xargs.stdout.ReadLine(), "started\n");
  }
  xargs.Signal(SIGINT);
  if (interrupts == 2) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(co_await xargs.stdout.ReadLine(), "not yet\n");
    }
    xargs.Signal(SIGINT);
  }
  EXPECT_EQ(co_await xargs.Wait(), 128 + SIGINT);
  // Everybody who has held the pipe is gone, grandchildren too.
  EXPECT_EQ(co_await xargs.stdout.ReadAll(), "");
}

TEST(XargsTest, CtrlCEndsTheCommandsAndWhatTheyHaveStarted) {
  const auto main = []() -> Co<void> {
    co_await Interrupt("sleep 1000 & echo started; wait; sleep 1000", 1);
  };
  coil::Run(main);
}

TEST(XargsTest, TheSecondCtrlCKillsWhatDoesNotListen) {
  const auto main = []() -> Co<void> {
    co_await Interrupt(
        "trap 'echo not yet' TERM; sh -c 'trap \"\" TERM; sleep 1000' & echo "
        "started; while true; do wait; done",
        2);
  };
  coil::Run(main);
}

TEST(XargsTest, ATerminalSeesTheProgress) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int line = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(line, 0);
  const CommandResult result =
      coil::Run(Xargs({"-P", "1", "sh", "-c", "exit $0"})
                    .Stderr(coil::net::UseDescriptor(line))
                    .Run("0 1 0 0"));
  EXPECT_EQ(result.return_code, 123);
  // The bar is wiped away at the end.
  std::string seen;
  const std::string end = "] 4/4, 1 failed\r\x1b[K";
  while (seen.find(end) == std::string::npos) {
    char part[1000];
    const ssize_t n = read(terminal, part, sizeof(part));
    ASSERT_GT(n, 0) << seen;
    seen.append(part, static_cast<size_t>(n));
  }
  close(line);
  close(terminal);
  EXPECT_NE(seen.find(" 2/4, 1 failed"), std::string::npos) << seen;
  EXPECT_NE(seen.find(absl::StrCat("[", std::string(40, '='), "] 4/4")),
            std::string::npos)
      << seen;
}

}  // namespace
