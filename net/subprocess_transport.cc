#include "coil/net/subprocess_transport.h"

#include <array>
#include <exception>
#include <optional>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/callback_pump.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/stream_transport.h"
#include "coil/net/internal/wait_list.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

class ProcessTransport final
    : public SubprocessTransport,
      public std::enable_shared_from_this<ProcessTransport>,
      private CallbackPump,
      private ExitObserver {
 public:
  explicit ProcessTransport(Process process)
      : CallbackPump(coil::internal::RequireLoop("net: a child process")),
        process_(std::move(process)) {}

  static Co<std::shared_ptr<SubprocessTransport>> Start(
      Command command, std::shared_ptr<SubprocessProtocol> protocol) {
    if (protocol == nullptr) ThrowNull();
    Process process = command.Spawn();
    const auto self = std::make_shared<ProcessTransport>(process);
    self->protocol_ = std::move(protocol);
    self->Begin(self);
    self->StartPipes(self);
    process = Process();
    self->WatchExit();
    try {
      while (!self->made_) {
        co_await self->made_waiters_.Wait("a protocol to be connected");
      }
    } catch (...) {
      self->Close();
      throw;
    }
    co_return self;
  }

  // Kills what runs; a child that has ended and of which nobody has heard yet
  // does not mind.
  void Close() override {
    if (std::exchange(closed_, true)) return;
    for (const auto& pipe : pipes_) {
      if (pipe != nullptr) pipe->Close();
    }
    if (process_.ReturnCode().has_value()) return;
    try {
      process_.Kill();
    } catch (const OsError&) {
    }
  }
  bool IsClosing() const override { return closed_; }
  std::shared_ptr<BaseProtocol> GetProtocol() const override {
    return protocol_;
  }
  void SetProtocol(std::shared_ptr<SubprocessProtocol> protocol) override {
    if (protocol == nullptr) ThrowNull();
    if (!ended()) protocol_ = std::move(protocol);
  }
  pid_t GetPid() const override { return process_.Pid(); }
  std::optional<int> GetReturnCode() const override {
    return process_.ReturnCode();
  }
  std::shared_ptr<Transport> GetPipeTransport(int fd) const override {
    if (fd < 0 || fd > 2) return nullptr;
    return pipes_[static_cast<size_t>(fd)];
  }
  void SendSignal(int signal) override { process_.Signal(signal); }
  void Terminate() override { process_.Terminate(); }
  void Kill() override { process_.Kill(); }

 private:
  class PipeProtocol;

  [[noreturn]] static void ThrowNull() {
    throw std::invalid_argument("SubprocessTransport: the protocol is null");
  }

  // No task waits for the exit: whoever cancels all tasks would end it.
  void WatchExit() {
    if (process_.ReturnCode().has_value()) return OnExit();
    process_.child()->SetExitObserver(this);
  }
  void OnExit() noexcept override {
    exited_ = true;
    Schedule();
  }

  void StartPipes(const std::shared_ptr<ProcessTransport>& self);
  void PipeLost() {
    --open_pipes_;
    Schedule();
  }

  std::string Name() const override {
    return absl::StrCat("the child process ", process_.Pid());
  }
  void Drop() noexcept override {
    closed_ = true;
    process_.child()->SetExitObserver(nullptr);
    const auto protocol = std::move(protocol_);
  }
  void Step() override;
  template <class F>
  void CallProtocol(F f, const char* message) {
    const auto protocol = protocol_;
    Call([&] { f(*protocol); },
         [&](std::exception_ptr error) { Report(message, error); });
  }

  Process process_;
  std::shared_ptr<SubprocessProtocol> protocol_;
  std::array<std::shared_ptr<StreamTransport>, 3> pipes_;
  WaitList made_waiters_;
  int open_pipes_ = 0;
  bool made_ = false;
  bool exited_ = false;
  bool exit_told_ = false;
  bool closed_ = false;
};

// Of one pipe: hands on.
class ProcessTransport::PipeProtocol final : public Protocol {
 public:
  PipeProtocol(std::shared_ptr<ProcessTransport> process, int fd)
      : process_(std::move(process)), fd_(fd) {}

  void DataReceived(std::string_view data) override {
    if (const auto protocol = process_->protocol_) {
      protocol->PipeDataReceived(fd_, data);
    }
  }
  void ConnectionLost(std::exception_ptr error) override {
    struct Lost {
      ~Lost() { process->PipeLost(); }
      std::shared_ptr<ProcessTransport> process;
    } lost{process_};
    if (const auto protocol = process_->protocol_) {
      protocol->PipeConnectionLost(fd_, std::move(error));
    }
  }
  void PauseWriting() override {
    if (const auto protocol = process_->protocol_) protocol->PauseWriting();
  }
  void ResumeWriting() override {
    if (const auto protocol = process_->protocol_) protocol->ResumeWriting();
  }

 private:
  std::shared_ptr<ProcessTransport> process_;
  const int fd_;
};

// Scheduled behind this, so that their calls come behind ConnectionMade().
void ProcessTransport::StartPipes(
    const std::shared_ptr<ProcessTransport>& self) {
  StreamRef cores[3];
  if (process_.stdin) cores[0] = process_.stdin.core();
  if (process_.stdout) cores[1] = process_.stdout.core();
  if (process_.stderr) cores[2] = process_.stderr.core();
  process_.stdin = {};
  process_.stdout = {};
  process_.stderr = {};
  for (int fd = 0; fd < 3; ++fd) {
    if (!cores[fd]) continue;
    pipes_[static_cast<size_t>(fd)] = StreamTransport::Start(
        cores[fd], std::make_shared<PipeProtocol>(self, fd),
        fd == 0 ? StreamTransport::Ways::kWrite : StreamTransport::Ways::kRead);
    ++open_pipes_;
  }
}

void ProcessTransport::Step() {
  if (!made_) {
    struct Made {
      explicit Made(ProcessTransport& transport_in) : transport(transport_in) {}
      ~Made() {
        transport.made_ = true;
        transport.made_waiters_.WakeAll();
      }
      ProcessTransport& transport;
    } made(*this);
    CallProtocol(
        [this](SubprocessProtocol& protocol) {
          protocol.ConnectionMade(shared_from_this());
        },
        "a protocol's ConnectionMade() has failed");
  }
  if (exited_ && !std::exchange(exit_told_, true)) {
    CallProtocol([](SubprocessProtocol& protocol) { protocol.ProcessExited(); },
                 "a protocol's ProcessExited() has failed");
  }
  if (!exit_told_ || open_pipes_ != 0) return;
  closed_ = true;
  struct Lost {
    explicit Lost(ProcessTransport& transport_in) : transport(transport_in) {}
    ~Lost() {
      transport.protocol_.reset();
      transport.End();
    }
    ProcessTransport& transport;
  } lost(*this);
  CallProtocol(
      [](SubprocessProtocol& protocol) { protocol.ConnectionLost(nullptr); },
      "a protocol's ConnectionLost() has failed");
}

Command WithPipes(Command command) {
  const auto& stdio = command.spec().stdio;
  const auto unset = [&stdio](size_t i) {
    return stdio[i].kind() == Redirection::Kind::kUnset;
  };
  if (unset(0)) command.Stdin(Pipe());
  if (unset(1)) command.Stdout(Pipe());
  if (unset(2)) command.Stderr(Pipe());
  return command;
}

}  // namespace

Co<std::shared_ptr<SubprocessTransport>> StartSubprocess(
    Command command, std::shared_ptr<SubprocessProtocol> protocol) {
  return ProcessTransport::Start(WithPipes(std::move(command)),
                                 std::move(protocol));
}

}  // namespace coil::net::internal
