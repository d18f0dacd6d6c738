// The quickstart counts the words of real files, names those that it cannot
// read, and ends by Ctrl-C without a trace.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/examples/program.h"

extern char** environ;

namespace coil_testing {
namespace {

const std::string kQuickstart = "examples/quickstart";

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "/" + name;
}

// A file of this test, with `text` in it.
std::string TempFile(const std::string& name, const std::string& text) {
  const std::string path = TempPath(name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

// What the quickstart should print of these words: the ten most frequent ones.
// Written anew, from the definition: a word is a run of [a-z0-9'] in lower
// case.
std::string TopTen(const std::string& text) {
  std::map<std::string, int> counts;
  std::string word;
  for (char c : text + "\n") {
    if ('A' <= c && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '\'') {
      word += c;
    } else if (!word.empty()) {
      ++counts[std::exchange(word, "")];
    }
  }
  std::vector<std::pair<int, std::string>> order;
  for (const auto& [name, count] : counts) order.emplace_back(-count, name);
  std::sort(order.begin(), order.end());
  if (order.size() > 10) order.resize(10);
  std::string lines;
  for (const auto& [count, name] : order) {
    char line[256];
    std::snprintf(line, sizeof(line), "%8d  %s\n", -count, name.c_str());
    lines += line;
  }
  return lines;
}

// The output but for how long it took, which ends the last line.
std::string WithoutTheTime(const std::string& output) {
  return output.substr(0, output.rfind(','));
}

std::string Expected(const std::string& text, int lines, int files) {
  std::ostringstream out;
  out << TopTen(text) << "200 connections, " << lines << " lines of " << files
      << " files";
  return out.str();
}

TEST(QuickstartTest, CountsTheWordsOfItsFiles) {
  // 5,000 lines of words of different frequency, punctuation between them.
  std::ostringstream first, second;
  for (int i = 0; i < 5000; ++i) {
    first << "The " << i % 7 << ". don't, W" << i % 40 << "-x; " << i << "!\n";
    if (i % 3 == 0) second << "the (quick)\tbrown_fox \xc3\xa9t\xc3\xa9\r\n";
  }
  const ProgramResult result =
      RunProgram({kQuickstart, TempFile("first.txt", first.str()),
                  TempFile("second.txt", second.str())});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(WithoutTheTime(result.output),
            Expected(first.str() + second.str(), 5000 + 1667, 2));
}

TEST(QuickstartTest, SortsEqualCountsByTheAlphabet) {
  std::string text;
  for (char c = 'z'; c >= 'a'; --c) text += std::string(1, c) + "\n";
  const ProgramResult result =
      RunProgram({kQuickstart, TempFile("equal.txt", text)});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(WithoutTheTime(result.output), Expected(text, 26, 1));
}

TEST(QuickstartTest, TakesAnEmptyFileAndALastLineWithoutItsEnd) {
  const ProgramResult result =
      RunProgram({kQuickstart, TempFile("empty.txt", ""),
                  TempFile("open.txt", "one\ntwo one")});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(WithoutTheTime(result.output), Expected("one two one", 2, 2));
}

// Longer than what a StreamReader keeps of a line, in words and as one word.
TEST(QuickstartTest, TakesLinesOfAnyLength) {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "word ";
  text += "\n" + std::string(300000, 'x') + "\n";
  const ProgramResult result =
      RunProgram({kQuickstart, TempFile("long.txt", text)});
  EXPECT_EQ(result.exit_code, 0) << result.output.substr(0, 1000);
  const std::string output = WithoutTheTime(result.output);
  EXPECT_EQ(output, "   40000  word\n       1  " + std::string(300000, 'x') +
                        "\n200 connections, 2 lines of 1 files")
      << output.size();
}

TEST(QuickstartTest, NamesWhatItCannotReadAndGoesOn) {
  const std::string text = "all the rest goes on\n";
  const std::string missing = TempPath("missing.txt");
  const ProgramResult result =
      RunProgram({kQuickstart, TempFile("a.txt", text), missing,
                  testing::TempDir(), TempFile("b.txt", text)});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("quickstart: cannot read " + missing +
                               ": No such file or directory\n"),
            std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find("quickstart: cannot read " + testing::TempDir() +
                               ": Is a directory\n"),
            std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find(Expected(text + text, 2, 2)), std::string::npos)
      << result.output;
}

TEST(QuickstartTest, CountsThisProjectByDefault) {
  const ProgramResult result = RunProgram({kQuickstart});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("  the\n"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("200 connections, "), std::string::npos);
}

// ---- Ctrl-C

// A quickstart that reads a pipe which never ends, until it is interrupted.
class Endless {
 public:
  // Its output goes to `out` and `err`.
  Endless(int out, int err) {
    signal(SIGPIPE, SIG_IGN);
    std::string path = TempPath("endless");
    unlink(path.c_str());
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    std::string program = kQuickstart;
    char* argv[] = {program.data(), path.data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    // Waits until the quickstart opens the other end.
    pipe_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 100; ++i) lines_ += "words that never end\n";
  }
  Endless(const Endless&) = delete;
  Endless& operator=(const Endless&) = delete;
  ~Endless() { close(pipe_); }

  // Writes until most of a megabyte was read: a pipe holds 64 KiB.
  void FeedAMegabyte() {
    size_t written = 0;
    while (written < 1000000) {
      const ssize_t n = write(pipe_, lines_.data(), lines_.size());
      ASSERT_GT(n, 0) << "it has ended by itself";
      written += static_cast<size_t>(n);
    }
  }
  void PressCtrlC() { EXPECT_EQ(kill(pid_, SIGINT), 0); }
  // Feeds it until nobody reads any more, then gives how it ended.
  int FeedToTheEnd() {
    while (write(pipe_, lines_.data(), lines_.size()) > 0) {
    }
    return WaitForTheEnd();
  }
  void WaitUntilAllIsRead() {
    int left = 1;
    while (left > 0) {
      ASSERT_EQ(ioctl(pipe_, FIONREAD, &left), 0);
      sched_yield();
    }
  }
  int WaitForTheEnd() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    return status;
  }

 private:
  pid_t pid_ = 0;
  int pipe_ = -1;
  std::string lines_;
};

// Of one that is reading: `end` presses Ctrl-C and gives how it ended.
template <class End>
void ExpectThatCtrlCEndsIt(const std::string& output_name, End end) {
  const std::string path = TempPath(output_name);
  const int output =
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  Endless quickstart(output, output);
  close(output);
  quickstart.FeedAMegabyte();
  const int status = end(quickstart);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGINT);
  EXPECT_EQ(ReadFile(path), "") << "no report, and no result";
}

TEST(QuickstartTest, CtrlCEndsItCleanly) {
  ExpectThatCtrlCEndsIt("output.txt", [](Endless& quickstart) {
    quickstart.PressCtrlC();
    return quickstart.FeedToTheEnd();
  });
}

TEST(QuickstartTest, CtrlCIsHeardWhileAPipeIsSilent) {
  ExpectThatCtrlCEndsIt("silent_output.txt", [](Endless& quickstart) {
    quickstart.WaitUntilAllIsRead();
    quickstart.PressCtrlC();
    return quickstart.WaitForTheEnd();
  });
}

TEST(QuickstartTest, CountsWhatComesThroughAPipe) {
  const std::string path = TempPath("counted");
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&path] {
    // Waits until the quickstart opens the other end.
    std::ofstream(path, std::ios::binary) << "one\ntwo\n" << "two one";
  });
  const ProgramResult result = RunProgram({kQuickstart, path});
  writer.join();
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(WithoutTheTime(result.output), Expected("one two two one", 3, 1));
}

TEST(QuickstartTest, ATerminalSeesTheProgress) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(other_end, 0);
  Endless quickstart(other_end, other_end);
  quickstart.FeedAMegabyte();
  const std::string progress = "\r0 files, 200 connections, ";
  std::string seen;
  char buffer[256];
  while (seen.find(progress) == std::string::npos) {
    const ssize_t n = read(terminal, buffer, sizeof(buffer));
    ASSERT_GT(n, 0) << seen;
    seen.append(buffer, static_cast<size_t>(n));
  }
  quickstart.PressCtrlC();
  const int status = quickstart.FeedToTheEnd();
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  close(other_end);
  close(terminal);
}

}  // namespace
}  // namespace coil_testing
