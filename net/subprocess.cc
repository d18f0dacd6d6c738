#include "coil/net/subprocess.h"

#include <fcntl.h>
#include <signal.h>

#include <cerrno>
#include <memory>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/pipe_end.h"
#include "coil/net/internal/pipe_stream.h"
#include "coil/net/internal/read_awaiters.h"
#include "coil/net/internal/spawn.h"
#include "coil/net/internal/stream_core.h"
#include "coil/task/gather.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/with.h"

namespace coil::net {
namespace {

using coil::internal::SockSys;
using internal::ChildRef;
using internal::CommandSpec;
using internal::FillAwaiter;
using internal::PipeStream;
using internal::StreamCore;
using internal::StreamRef;
using Kind = Redirection::Kind;

constexpr const char* kStreams[] = {"stdin", "stdout", "stderr"};

// ---- checks

std::string Text(const char* setter, std::string text) {
  if (text.find('\0') != std::string::npos) {
    throw std::invalid_argument(
        absl::StrCat("Command::", setter, ": there is a zero byte in it"));
  }
  return text;
}

std::string VariableName(const char* setter, std::string name) {
  if (name.empty() || name.find('=') != std::string::npos) {
    throw std::invalid_argument(
        absl::StrCat("Command::", setter, ": \"", name,
                     "\" cannot be the name of a variable"));
  }
  return Text(setter, std::move(name));
}

// ---- pipes

// The stream of this program's end.
StreamRef StreamOn(PipeEnd& end, size_t i, const CommandSpec& spec) {
  return StreamRef::Share(new StreamCore(
      std::make_unique<PipeStream>(
          end,
          i == 0 ? PipeStream::Direction::kWrite : PipeStream::Direction::kRead,
          absl::StrCat(kStreams[i], " of ", spec.argv.front())),
      spec.limit));
}

// What the child gets as its descriptor `i`, if it is not inherited; above 2,
// whatever this program has closed there.
void LiftDescriptor(PipeEnd& end, const CommandSpec& spec) {
  if (end.Descriptor() > 2) return;
  PipeEnd lifted = PipeEnd::Adopt(SockSys().dup_above(end.Descriptor(), 3));
  if (!lifted) throw OsError(errno, "spawn", spec.argv.front());
  end = std::move(lifted);
}

struct ParentStreams {
  StreamRef streams[3];
  PipeEnd child_ends[3];
};

void OpenStream(size_t i, const CommandSpec& spec, ParentStreams& out) {
  const Redirection& redirection = spec.stdio[i];
  PipeEnd& child_end = out.child_ends[i];
  switch (redirection.kind()) {
    case Kind::kPipe: {
      PipeEnd own_end;
      const int error = i == 0 ? internal::OpenPipe(child_end, own_end)
                               : internal::OpenPipe(own_end, child_end);
      if (error != 0) throw OsError(error, "pipe", spec.argv.front());
      out.streams[i] = StreamOn(own_end, i, spec);
      break;
    }
    case Kind::kDevNull:
      child_end =
          PipeEnd::Adopt(SockSys().open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!child_end) throw OsError(errno, "open", "/dev/null");
      break;
    case Kind::kDescriptor:
      child_end = PipeEnd::Adopt(SockSys().dup_above(redirection.fd(), 3));
      if (!child_end) {
        throw OsError(errno, "spawn",
                      absl::StrCat(spec.argv.front(), " (", kStreams[i],
                                   ": fd ", redirection.fd(), ")"));
      }
      break;
    case Kind::kUnset:
    case Kind::kInherit:
    case Kind::kToStdout:
      return;
  }
  LiftDescriptor(child_end, spec);
}

// ---- communicate

// Until the end of the stream lies in the reader, with all that comes before.
Co<void> FillToEnd(StreamRef core) {
  for (;;) {
    const size_t have = core->input().size();
    co_await FillAwaiter(core, have);
    if (core->input().size() == have) co_return;
  }
}

std::string TakeAll(const StreamReader& reader) {
  if (!reader) return std::string();
  std::string bytes(reader.Buffered());
  reader.Consume(bytes.size());
  return bytes;
}

Co<int> WaitForExit(ChildRef child) {
  child->CheckLoop(co_await coil::internal::ThisTask());
  while (!child->code().has_value()) {
    co_await child->waiters().Wait(child->what().c_str());
  }
  co_return *child->code();
}

// Takes nothing out of the readers until nothing is waited for any more: so a
// cancel loses nothing.
Co<ProcessOutput> FinishOutput(ChildRef child, StreamReader out,
                               StreamReader err) {
  if (out && err) {
    co_await Gather(FillToEnd(out.core()), FillToEnd(err.core()));
  } else if (out) {
    co_await FillToEnd(out.core());
  } else if (err) {
    co_await FillToEnd(err.core());
  }
  co_await WaitForExit(child);
  std::string out_bytes = TakeAll(out);
  co_return ProcessOutput(std::move(out_bytes), TakeAll(err));
}

Co<ProcessOutput> CommunicateWith(ChildRef child, StreamWriter in,
                                  StreamReader out, StreamReader err,
                                  std::string input) {
  child->CheckLoop(co_await coil::internal::ThisTask());
  if (!input.empty()) {
    if (!in) {
      throw std::invalid_argument(
          "Process::Communicate: there is an input, but stdin is not a pipe");
    }
    if (child->input_given) {
      throw std::invalid_argument(
          "Process::Communicate: the input was given before; to go on after a "
          "cancel, call it without one");
    }
    child->input_given = true;
    in.WriteSoon(input);
  }
  // What is queued is sent while the rest waits; that nobody reads it (EPIPE)
  // is nobody's business.
  if (in) in.core()->StartClose();
  in = StreamWriter();
  co_return co_await FinishOutput(std::move(child), std::move(out),
                                  std::move(err));
}

}  // namespace

// ---- Process

Co<int> Process::Wait() const {
  Checked();
  return WaitForExit(child_);
}

Co<ProcessOutput> Process::Communicate(std::string input) const {
  Checked();
  return CommunicateWith(child_, stdin, stdout, stderr, std::move(input));
}

void Process::Terminate() const { Checked().Signal(SIGTERM); }
void Process::Kill() const { Checked().Signal(SIGKILL); }
void Process::Signal(int signal) const { Checked().Signal(signal); }
void Process::SignalGroup(int signal) const { Checked().SignalGroup(signal); }

Co<Process&> Process::AEnter() {
  Checked();
  co_return *this;
}

Co<void> Process::AExit(std::exception_ptr) {
  const ChildRef child = child_;
  child->KillAll();
  co_await WaitForExit(child);
  child->EndGroup();
}

void Process::ThrowEmpty() {
  throw std::runtime_error(
      "Process: it is empty (default-constructed or moved from)");
}

// ---- Command

Command::Command(std::string program) {
  if (program.empty()) {
    throw std::invalid_argument("Command: the program is empty");
  }
  spec_.argv.push_back(Text("Command", std::move(program)));
}

Command Command::Shell(std::string command) {
  Command shell("/bin/sh");
  shell.Arg("-c").Arg(std::move(command));
  return shell;
}

Command& Command::Arg(std::string argument) {
  spec_.argv.push_back(Text("Arg", std::move(argument)));
  return *this;
}

Command& Command::Args(std::vector<std::string> arguments) {
  for (std::string& argument : arguments) Arg(std::move(argument));
  return *this;
}

Command& Command::Env(std::string name, std::string value) {
  spec_.environment.emplace_back(VariableName("Env", std::move(name)),
                                 Text("Env", std::move(value)));
  return *this;
}

Command& Command::RemoveEnv(std::string name) {
  spec_.environment.emplace_back(VariableName("RemoveEnv", std::move(name)),
                                 std::nullopt);
  return *this;
}

Command& Command::ClearEnv() {
  spec_.clear_environment = true;
  return *this;
}

Command& Command::Cwd(std::string folder) {
  if (folder.empty()) {
    throw std::invalid_argument("Command::Cwd: the folder is empty");
  }
  spec_.cwd = Text("Cwd", std::move(folder));
  return *this;
}

Command& Command::Stdin(Redirection from) {
  if (from.kind() == Kind::kToStdout) {
    throw std::invalid_argument("Command::Stdin: ToStdout() is for stderr");
  }
  spec_.stdio[0] = from;
  return *this;
}

Command& Command::Stdout(Redirection to) {
  if (to.kind() == Kind::kToStdout) {
    throw std::invalid_argument("Command::Stdout: ToStdout() is for stderr");
  }
  spec_.stdio[1] = to;
  return *this;
}

Command& Command::Stderr(Redirection to) {
  spec_.stdio[2] = to;
  return *this;
}

Command& Command::PassFd(int fd) {
  if (fd < 3) {
    throw std::invalid_argument(
        absl::StrCat("Command::PassFd: ", fd,
                     " is below 3; use Stdin(), Stdout() and Stderr()"));
  }
  spec_.pass_fds.push_back(fd);
  return *this;
}

Command& Command::ProcessGroup(pid_t group) {
  if (group < 0) {
    throw std::invalid_argument(
        absl::StrCat("Command::ProcessGroup: ", group, " is not a group"));
  }
  spec_.group =
      group == 0 ? CommandSpec::Group::kOwn : CommandSpec::Group::kJoin;
  spec_.group_to_join = group;
  return *this;
}

Command& Command::NewSession() {
  spec_.group = CommandSpec::Group::kSession;
  return *this;
}

Command& Command::KillOnDrop() {
  spec_.kill_on_drop = true;
  return *this;
}

Command& Command::Limit(size_t bytes) {
  if (bytes == 0) {
    throw std::invalid_argument("net: the limit of a stream is at least 1");
  }
  spec_.limit = bytes;
  return *this;
}

Process Command::Start(const CommandSpec& spec) {
  const ChildRef child = ChildRef::Share(new internal::ChildProcess(spec));
  internal::ReapOrphans();
  internal::CheckPidfds(spec.argv.front());
  // Everything that may fail comes before the child.
  ParentStreams parent;
  internal::ChildStdio stdio;
  for (size_t i = 0; i < 3; ++i) {
    OpenStream(i, spec, parent);
    stdio[i] = parent.child_ends[i].Descriptor();
  }
  Process process(child);
  if (parent.streams[0]) process.stdin = StreamWriter(parent.streams[0]);
  if (parent.streams[1]) process.stdout = StreamReader(parent.streams[1]);
  if (parent.streams[2]) process.stderr = StreamReader(parent.streams[2]);
  child->Start(internal::SpawnChild(spec, stdio));
  return process;
}

Process Command::Spawn() const {
  if (spec_.kill_on_drop && spec_.group == CommandSpec::Group::kInherit) {
    CommandSpec spec = spec_;
    spec.group = CommandSpec::Group::kOwn;
    return Start(spec);
  }
  return Start(spec_);
}

Co<CommandResult> Command::RunSpec(CommandSpec spec, std::string input) {
  for (const size_t i : {1, 2}) {
    if (spec.stdio[i].kind() == Kind::kUnset) spec.stdio[i] = Pipe();
  }
  // A child that this coroutine does not live to await is killed, but its
  // group is its own only if that was asked for: Ctrl-C is for all.
  spec.kill_on_drop = true;
  Process process = Start(spec);
  co_return co_await With(process, [&]() -> Co<CommandResult> {
    ProcessOutput output = co_await process.Communicate(std::move(input));
    co_return CommandResult(*process.ReturnCode(), std::move(output));
  });
}

Co<CommandResult> Command::Run() const { return RunSpec(spec_, std::string()); }

Co<CommandResult> Command::Run(std::string input) const {
  CommandSpec spec = spec_;
  if (spec.stdio[0].kind() == Kind::kUnset) spec.stdio[0] = Pipe();
  return RunSpec(std::move(spec), std::move(input));
}

}  // namespace coil::net
