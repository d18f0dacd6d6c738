// xargs [-P JOBS] [-n ITEMS] COMMAND [ARGUMENT...]: runs a command for the
// words of its standard input, several at once.
//
// As xargs(1): each command gets up to ITEMS words (1 by default) behind its
// arguments; up to JOBS commands run at once (one for each core by default);
// the exit status is 123 if one has failed, 125 if a signal has ended one, 126
// or 127 if it cannot be run. On a terminal a bar shows the progress. Ctrl-C
// ends the commands by SIGTERM, with all that they have started; those that are
// still there after two seconds, or at the second Ctrl-C, by SIGKILL.
//
//   find . -name '*.png' | bazel run //examples:xargs -- -P 4 optipng -quiet
//
// What to look for: child processes in groups of their own, their end without
// SIGCHLD, reading from a pipe, signals in sequence, a queue between a reader
// and its workers.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "coil/coil.h"

namespace {

namespace net = coil::net;

using Words = std::vector<std::string>;

struct Options {
  int jobs =
      static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  int items = 1;
  Words command;
};

// ------------------------------------------------------------------- progress

// A line at the bottom of the terminal, written anew whenever a command ends:
//   [==========          ] 12/24, 1 failed
class ProgressBar {
 public:
  void Planned(int count) {
    planned_ += count;
    Draw();
  }
  void AllPlanned() { all_planned_ = true; }
  void Ended(bool failed) {
    ++ended_;
    if (failed) ++failed_;
    Draw();
  }
  void Clear() {
    if (on_) std::fputs("\r\x1b[K", stderr);
  }

 private:
  static constexpr int kWidth = 40;

  void Draw() {
    if (!on_) return;
    const int filled = planned_ > 0 ? kWidth * ended_ / planned_ : 0;
    const std::string bar(static_cast<size_t>(filled), '=');
    std::fprintf(stderr, "\r\x1b[K[%-*s] %d/%d%s", kWidth, bar.c_str(), ended_,
                 planned_, all_planned_ ? "" : "+");
    if (failed_ > 0) std::fprintf(stderr, ", %d failed", failed_);
  }

  const bool on_ = ::isatty(STDERR_FILENO) == 1;
  bool all_planned_ = false;
  int planned_ = 0;
  int ended_ = 0;
  int failed_ = 0;
};

// ----------------------------------------------------------------------- jobs

class Jobs {
 public:
  explicit Jobs(Options options)
      : options_(std::move(options)),
        queue_(static_cast<size_t>(options_.jobs) * 4) {}

  // Runs everything.
  coil::Co<void> Run() {
    co_await coil::WithTaskGroup([&](coil::TaskGroup& group) -> coil::Co<void> {
      reader_ = group.CreateTask(ReadItems());
      for (int i = 0; i < options_.jobs; ++i) group.CreateTask(Work());
      co_return;
    });
    bar_.Clear();
  }

  // Starts nothing more, and asks what runs to end.
  void Terminate() {
    reader_.Cancel();
    queue_.Shutdown(/*immediate=*/true);
    for (const net::Process& process : running_) {
      process.SignalGroup(SIGTERM);
    }
  }

  void Clear() { bar_.Clear(); }
  int ExitStatus() const { return exit_status_; }

 private:
  coil::Co<void> ReadItems() {
    Words batch;
    try {
      // A copy: the stream closes its descriptor.
      net::StreamReader input =
          net::ConnectReadPipe(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
      while (auto line = co_await input.Next()) {
        for (const std::string_view word : absl::StrSplit(
                 *line, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
          batch.emplace_back(word);
          if (Full(batch)) co_await Plan(std::exchange(batch, {}));
        }
      }
    } catch (const std::invalid_argument&) {
      is_file_ = true;
    }
    // There is nothing to wait for in a file.
    std::string word;
    while (is_file_ && std::cin >> word) {
      batch.push_back(word);
      if (Full(batch)) co_await Plan(std::exchange(batch, {}));
    }
    if (!batch.empty()) co_await Plan(std::move(batch));
    bar_.AllPlanned();
    queue_.Shutdown();
  }

  bool Full(const Words& batch) const {
    return batch.size() == static_cast<size_t>(options_.items);
  }

  coil::Co<void> Plan(Words batch) {
    bar_.Planned(1);
    co_await queue_.Put(std::move(batch));
  }

  coil::Co<void> Work() {
    while (auto batch = co_await queue_.Next()) {
      co_await RunCommand(std::move(*batch));
    }
  }

  coil::Co<void> RunCommand(Words batch) {
    net::Command command(options_.command.front());
    command.Args(Words(options_.command.begin() + 1, options_.command.end()));
    command.Args(std::move(batch));
    // A cancel of this task kills it, with what it has started.
    command.Stdin(net::DevNull()).KillOnDrop();
    net::Process process;
    try {
      process = command.Spawn();
    } catch (const coil::OsError& error) {
      CannotRun(error);
    }
    if (!process) co_return;
    running_.push_back(process);
    const int code = co_await Wait(process);
    bar_.Ended(code != 0);
    if (code < 0) {
      Note(125);
    } else if (code > 0) {
      Note(123);
    }
  }

  // Also takes the process out of the list, however the wait ends.
  coil::Co<int> Wait(net::Process process) {
    struct Remove {
      std::vector<net::Process>& list;
      pid_t pid;
      ~Remove() {
        std::erase_if(list,
                      [&](const net::Process& p) { return p.Pid() == pid; });
      }
    } remove{running_, process.Pid()};
    co_return co_await process.Wait();
  }

  void CannotRun(const coil::OsError& error) {
    bar_.Clear();
    std::fprintf(stderr, "xargs: %s\n", error.what());
    Note(error.Errno() == ENOENT ? 127 : 126);
    bar_.Ended(true);
    // The next one could not be run either.
    reader_.Cancel();
    queue_.Shutdown(/*immediate=*/true);
  }

  void Note(int status) { exit_status_ = std::max(exit_status_, status); }

  const Options options_;
  coil::Queue<Words> queue_;
  coil::Task<void> reader_;
  std::vector<net::Process> running_;
  ProgressBar bar_;
  bool is_file_ = false;
  int exit_status_ = 0;
};

// ----------------------------------------------------------------------- main

// The signal that has come, once `work` has ended or it has; zero for none.
coil::Co<int> SignalDuring(coil::Task<void> work, net::SignalSet& signals,
                           absl::Duration limit) {
  coil::Task<int> next = coil::CreateTask(signals.Next());
  const coil::WaitOptions options = {
      .return_when = coil::ReturnWhen::kFirstCompleted, .timeout = limit};
  co_await coil::Wait(options, work, next);
  if (next.Done()) co_return next.Result();
  co_await coil::CancelAndWait(next);
  co_return 0;
}

coil::Co<int> Main(Options options) {
  net::SignalSet signals{SIGINT, SIGTERM};
  Jobs jobs(std::move(options));
  coil::Task<void> work = coil::CreateTask(jobs.Run());
  const int signal =
      co_await SignalDuring(work, signals, absl::InfiniteDuration());
  if (signal == 0) {
    co_await work;
    co_return jobs.ExitStatus();
  }
  jobs.Terminate();
  co_await SignalDuring(work, signals, absl::Seconds(2));
  co_await coil::CancelAndWait(work);
  jobs.Clear();
  co_return 128 + signal;
}

[[noreturn]] void Usage() {
  std::fputs("usage: xargs [-P JOBS] [-n ITEMS] COMMAND [ARGUMENT...]\n",
             stderr);
  std::exit(1);
}

Options Parse(const Words& arguments) {
  Options options;
  size_t i = 0;
  for (; i + 1 < arguments.size() && absl::StartsWith(arguments[i], "-");
       i += 2) {
    int* const value = arguments[i] == "-P"   ? &options.jobs
                       : arguments[i] == "-n" ? &options.items
                                              : nullptr;
    if (value == nullptr || !absl::SimpleAtoi(arguments[i + 1], value) ||
        *value < 1) {
      Usage();
    }
  }
  options.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i),
                         arguments.end());
  if (options.command.empty()) Usage();
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  return coil::Run(Main(Parse(Words(argv + 1, argv + argc))));
}
