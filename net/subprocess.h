// coil/net/subprocess.h
//
// Command runs another program. Run() waits for its end and gives what it
// printed; Spawn() starts it and gives a Process to talk to.
//
// Example:
//   coil::Co<std::string> Branch() {
//     coil::net::CommandResult result =
//         co_await coil::net::Command("git").Arg("branch").Run();
//     if (!result.Ok()) throw std::runtime_error(result.err);
//     co_return result.out;
//   }
//   coil::Co<std::string> Sorted(std::string lines) {
//     coil::net::Process sort = coil::net::Command("sort")
//                                   .Stdin(coil::net::Pipe())
//                                   .Stdout(coil::net::Pipe())
//                                   .Spawn();
//     auto [out, err] = co_await sort.Communicate(lines);
//     co_return out;
//   }
//   // The server, and whatever it has started, is gone at the end.
//   coil::Co<void> WithServer() {
//     coil::net::Process server =
//         coil::net::Command("redis-server").ProcessGroup().Spawn();
//     co_await coil::With(server, [&]() -> coil::Co<void> {
//       co_await coil::Sleep(absl::Seconds(1));
//     });
//   }
//
// Ordering: tasks in Wait() are woken first in, first out. That a child has
//   ended and that its pipes are at their end are told independently.
// Cancellation: a cancelled Wait() or Communicate() leaves the child alone, and
//   may be called again: nothing of what the child has printed or is to be
//   given is lost. A cancelled Run() kills the child and waits for its end.
// Threads: the loop's thread only; any number of loops may have children.
// Lifetime: a Process is a handle, copies mean the same child. A child whose
//   last handle goes runs on, and the loop reaps it when it ends; KillOnDrop()
//   and With() kill it instead, with all of its process group. What the loop
//   does not live to see is reaped by a later Spawn() of this process. No
//   zombie is left by any of these. A child with a process group of its own
//   is one for as long as it has ended and a Process is held.
//
// A child starts with no signal blocked, with SIGPIPE as it is by default, and
// with no descriptor above 2 but those of PassFd(). The exit is told by a pidfd
// (Linux 5.3), so that signals never hit a process that has the number by
// chance. If somebody else in the program takes the exit status (a
// waitpid(-1), an ignored SIGCHLD), 255 stands for it and that is reported.
//
// Pipes hold 64 KiB: a child that prints more, and of which nobody reads, does
// not end. Communicate() and Run() read all; beside Wait() somebody has to.
//
// asyncio: create_subprocess_exec, create_subprocess_shell, Process
// (A299-A308).

#ifndef COIL_NET_SUBPROCESS_H_
#define COIL_NET_SUBPROCESS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdio>  // which has macros of the names of Process' streams
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/net/internal/child_process.h"
#include "coil/net/internal/command_spec.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/task/co.h"

namespace coil::net {

// What Command::Stdin(), Stdout() and Stderr() take. asyncio: A301.
// A pipe to this program.
inline Redirection Pipe() { return Redirection(Redirection::Kind::kPipe); }
// /dev/null.
inline Redirection DevNull() {
  return Redirection(Redirection::Kind::kDevNull);
}
// What this program has there.
inline Redirection Inherit() {
  return Redirection(Redirection::Kind::kInherit);
}
// For stderr: where stdout goes. asyncio: STDOUT.
inline Redirection ToStdout() {
  return Redirection(Redirection::Kind::kToStdout);
}
// A descriptor, which is borrowed until Spawn() returns and stays open.
inline Redirection UseDescriptor(int fd) {
  return Redirection(Redirection::Kind::kDescriptor, fd);
}

// What a child has printed: auto [out, err] = co_await p.Communicate();
struct ProcessOutput {
  ProcessOutput(std::string out_in, std::string err_in)
      : out(std::move(out_in)), err(std::move(err_in)) {}
  std::string out;
  std::string err;
};

// How Command::Run() ended.
struct CommandResult {
  CommandResult(int return_code_in, ProcessOutput output)
      : return_code(return_code_in),
        out(std::move(output.out)),
        err(std::move(output.err)) {}
  bool Ok() const { return return_code == 0; }
  int return_code;  // as Process::ReturnCode()
  std::string out;
  std::string err;
};

class Process {
 public:
  // Of no child; using it throws std::runtime_error.
  Process() = default;

  // Empty where Spawn() was not told Pipe(). A pipe is closed with the last
  // handle of its stream, so also by `process.stdin = {}`. asyncio: A305.
  StreamWriter stdin;
  StreamReader stdout;
  StreamReader stderr;

  // asyncio: pid (A306).
  pid_t Pid() const { return Checked().pid(); }
  // The exit status, or -N if the signal N has ended it; nothing while the loop
  // has not seen its end. asyncio: returncode (A306).
  std::optional<int> ReturnCode() const { return Checked().code(); }

  // Waits for the end and gives ReturnCode(). Any number of tasks may wait.
  // asyncio: A302.
  [[nodiscard("co_await it")]] Co<int> Wait() const;

  // Gives `input` to the child and closes its stdin, reads what it prints until
  // both pipes are at their end, and waits for its exit. A child that does not
  // read its input is no error. What is not piped is empty. A process that the
  // child has started keeps a pipe open that it has inherited, and this waits
  // for that too.
  //
  // After a cancel call it again, without input: it goes on. Until then the
  // output is in stdout and stderr. Throws std::invalid_argument for an input
  // where stdin is not a pipe, or a second one. asyncio: A303.
  [[nodiscard("co_await it")]] Co<ProcessOutput> Communicate(
      std::string input = std::string()) const;

  // SIGTERM, SIGKILL, or any signal; 0 asks whether it is there. Throw OsError
  // (ESRCH) once ReturnCode() is there, and std::invalid_argument for what is
  // no signal. A child that has ended and of which the loop has not heard yet
  // ignores them. asyncio: terminate, kill, send_signal (A304).
  void Terminate() const;
  void Kill() const;
  void Signal(int signal) const;
  // The same for all of its process group, also after its own end. Throws
  // std::runtime_error if the group is not its own.
  void SignalGroup(int signal) const;

  // For With(process, body): at the end of the body kills the child, and all
  // that is left of its process group if it has one of its own, and waits for
  // its end. A cancel of that wait leaves the rest to the loop.
  [[nodiscard("co_await it")]] Co<Process&> AEnter();
  [[nodiscard("co_await it")]] Co<void> AExit(std::exception_ptr error);

  explicit operator bool() const { return static_cast<bool>(child_); }

  // For the library itself.
  const internal::ChildRef& child() const { return child_; }

 private:
  friend class Command;
  explicit Process(internal::ChildRef child) : child_(std::move(child)) {}
  internal::ChildProcess& Checked() const {
    if (!child_) [[unlikely]]
      ThrowEmpty();
    return *child_;
  }
  [[noreturn]] static void ThrowEmpty();

  internal::ChildRef child_;
};

// A program with what it is given. May be copied, and started several times.
// The setters throw std::invalid_argument for what cannot be: an empty program,
// a zero byte in a string.
class Command {
 public:
  // A path, or a name that is looked up in the child's PATH.
  explicit Command(std::string program);
  // `command` for /bin/sh. Never build one out of what a user has typed.
  // asyncio: create_subprocess_shell (A300).
  static Command Shell(std::string command);

  Command& Arg(std::string argument);
  Command& Args(std::vector<std::string> arguments);

  // A variable of the environment, which is this program's otherwise.
  Command& Env(std::string name, std::string value);
  Command& RemoveEnv(std::string name);
  // An empty environment, but for what Env() sets, before or after.
  Command& ClearEnv();
  // The folder in which it runs. A relative path of the program counts from
  // there.
  Command& Cwd(std::string folder);

  // Inherited unless set. Only Stderr() takes ToStdout().
  Command& Stdin(Redirection from);
  Command& Stdout(Redirection to);
  Command& Stderr(Redirection to);
  // Leaves `fd` open in the child, under the same number; at least 3.
  Command& PassFd(int fd);

  // In the process group `group`, or in a new one of its own: then Ctrl-C on a
  // terminal does not reach it, nor may it read from there.
  Command& ProcessGroup(pid_t group = 0);
  // In a new session, and so in a group of its own, without a terminal.
  Command& NewSession();
  // When the last Process of the child goes, it is killed with all of its
  // process group, which is a new one.
  Command& KillOnDrop();

  // As of ConnectOptions, for stdout and stderr. 64 KiB at first.
  Command& Limit(size_t bytes);

  // Starts it. Does not wait, but for the start itself: a tenth of a
  // millisecond. Throws OsError: "spawn ls: No such file or directory", or
  // "chdir ..." for the folder; std::runtime_error without a running loop. Then
  // nothing has been started, and nothing is left open. asyncio:
  // create_subprocess_exec (A299).
  Process Spawn() const;

  // Starts it, gives it `input` if there is one, waits for the end and gives
  // what it has printed. stdout and stderr are pipes unless set. Throws as
  // Spawn(); a program that fails is no error.
  [[nodiscard("co_await it")]] Co<CommandResult> Run() const;
  [[nodiscard("co_await it")]] Co<CommandResult> Run(std::string input) const;

 private:
  static Process Start(const internal::CommandSpec& spec);
  static Co<CommandResult> RunSpec(internal::CommandSpec spec,
                                   std::string input);

 public:
  // ---- public interface ends here ----
  const internal::CommandSpec& spec() const { return spec_; }

 private:
  internal::CommandSpec spec_;
};

}  // namespace coil::net

#endif  // COIL_NET_SUBPROCESS_H_
