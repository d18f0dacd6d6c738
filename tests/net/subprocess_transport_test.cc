// Child processes in callback style.

#include "coil/net/subprocess_transport.h"

#include <signal.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/process_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::Turns;

class SubprocessTransportTest : public coil_testing::ProcessTest {};

struct Child {
  std::vector<std::string> log;
  std::string out;
  std::string err;
  std::shared_ptr<SubprocessTransport> transport;
  std::function<void()> on_data;
  bool lost = false;
  bool alive = false;
  int Index(std::string_view entry) const {
    for (size_t i = 0; i < log.size(); ++i) {
      if (log[i] == entry) return static_cast<int>(i);
    }
    return -1;
  }
};
using ChildPtr = std::shared_ptr<Child>;

class Watcher final : public SubprocessProtocol {
 public:
  explicit Watcher(ChildPtr child) : child_(std::move(child)) {
    child_->alive = true;
  }
  ~Watcher() override { child_->alive = false; }
  void ConnectionMade(std::shared_ptr<SubprocessTransport> transport) override {
    child_->log.push_back("made");
    child_->transport = std::move(transport);
  }
  void PipeDataReceived(int fd, std::string_view data) override {
    child_->log.push_back(absl::StrCat("data ", fd));
    (fd == 1 ? child_->out : child_->err).append(data);
    if (child_->on_data) child_->on_data();
  }
  void PipeConnectionLost(int fd, std::exception_ptr error) override {
    child_->log.push_back(
        absl::StrCat(fd, " ", coil_testing::ErrorText(error)));
  }
  void ProcessExited() override {
    child_->log.push_back(
        absl::StrCat("exit ", *child_->transport->GetReturnCode()));
  }
  void ConnectionLost(std::exception_ptr error) override {
    child_->log.push_back(coil_testing::ErrorText(error));
    child_->lost = true;
    child_->transport.reset();
  }
  void PauseWriting() override { child_->log.push_back("pause"); }
  void ResumeWriting() override { child_->log.push_back("resume"); }

 private:
  ChildPtr child_;
};

// The order of what does not depend on the system.
void CheckOrder(const Child& child, std::string_view exit) {
  const std::string log = absl::StrJoin(child.log, ", ");
  EXPECT_EQ(child.Index("made"), 0) << log;
  EXPECT_EQ(child.log.back(), "lost") << log;
  EXPECT_GT(child.Index(exit), 0) << log;
  for (const char* end : {"0 lost", "1 lost", "2 lost"}) {
    EXPECT_GT(child.Index(end), 0) << log;
  }
  for (size_t i = 0; i < child.log.size(); ++i) {
    if (child.log[i] == "data 1") {
      EXPECT_LT(static_cast<int>(i), child.Index("1 lost")) << log;
    }
  }
}

TEST_F(SubprocessTransportTest, TalksToAChild) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    auto [transport, protocol] = co_await SubprocessShell(
        [&] { return std::make_shared<Watcher>(child); },
        "cat; echo err >&2; exit 7");
    EXPECT_EQ(absl::StrJoin(child->log, ","), "made");
    EXPECT_GT(transport->GetPid(), 0);
    EXPECT_FALSE(transport->GetReturnCode().has_value());
    EXPECT_EQ(transport->GetProtocol(), protocol);
    EXPECT_EQ(transport->GetPipeTransport(3), nullptr);
    std::shared_ptr<Transport> in = transport->GetPipeTransport(0);
    in->Write("hello ");
    co_await Eventually([&] { return child->out == "hello "; });
    in->Write("child");
    in->WriteEof();
    co_await Eventually([&] { return child->lost; });
    EXPECT_EQ(child->out, "hello child");
    EXPECT_EQ(child->err, "err\n");
    EXPECT_EQ(transport->GetReturnCode(), 7);
    CheckOrder(*child, "exit 7");
    co_await Turns();
    EXPECT_EQ(transport->GetProtocol(), nullptr);
    std::string error;
    try {
      transport->Kill();
    } catch (const OsError& e) {
      error = e.code().message();
    }
    EXPECT_EQ(error, "No such process");
  });
}

TEST_F(SubprocessTransportTest, TheEndOfTheChildIsTheEndOfItsStdin) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    co_await SubprocessExec([&] { return std::make_shared<Watcher>(child); },
                            Command("true"));
    co_await Eventually([&] { return child->lost; });
    CheckOrder(*child, "exit 0");
  });
}

TEST_F(SubprocessTransportTest, WhoeverCancelsAllTasksStillHearsOfTheExit) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    auto [transport, protocol] = co_await SubprocessShell(
        [&] { return std::make_shared<Watcher>(child); }, "cat");
    co_await Turns();
    const AnyTask mine = CurrentTask();
    for (const AnyTask& task : AllTasks()) {
      if (task != mine) task.Cancel();
    }
    co_await Turns();
    transport->GetPipeTransport(0)->Close();
    co_await Eventually([&] { return child->lost; });
    CheckOrder(*child, "exit 0");
  });
}

TEST_F(SubprocessTransportTest, StreamsThatAreNotPipesHaveNoTransport) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    auto [transport, protocol] = co_await SubprocessExec(
        [&] { return std::make_shared<Watcher>(child); },
        Command("cat").Stdin(DevNull()).Stderr(ToStdout()));
    EXPECT_EQ(transport->GetPipeTransport(0), nullptr);
    EXPECT_NE(transport->GetPipeTransport(1), nullptr);
    EXPECT_EQ(transport->GetPipeTransport(2), nullptr);
    co_await Eventually([&] { return child->lost; });
    EXPECT_EQ(child->log.back(), "lost");
    EXPECT_EQ(child->log.size(), 4u) << absl::StrJoin(child->log, ", ");
  });
}

TEST_F(SubprocessTransportTest, CloseKillsAndSignalsArrive) {
  for (const int signal : {0, SIGTERM, SIGUSR1}) {
    SCOPED_TRACE(signal);
    RunNet([signal]() -> Co<void> {
      ChildPtr child = std::make_shared<Child>();
      auto [transport, protocol] = co_await SubprocessExec(
          [&] { return std::make_shared<Watcher>(child); },
          Command("sleep").Arg("1000"));
      if (signal == 0) {
        transport->Close();
        transport->Close();
        EXPECT_TRUE(transport->IsClosing());
        EXPECT_EQ(child->log.size(), 1u);
      } else if (signal == SIGTERM) {
        transport->Terminate();
      } else {
        transport->SendSignal(signal);
      }
      co_await Eventually([&] { return child->lost; });
      CheckOrder(*child,
                 absl::StrCat("exit ", signal == 0 ? -SIGKILL : -signal));
    });
  }
}

TEST_F(SubprocessTransportTest, StdinPausesAndResumesItsWriter) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    auto [transport, protocol] = co_await SubprocessExec(
        [&] { return std::make_shared<Watcher>(child); }, Command("cat"));
    const std::string text(1 << 20, 'i');
    transport->GetPipeTransport(0)->Write(text);
    EXPECT_EQ(child->log.back(), "pause");
    transport->GetPipeTransport(0)->WriteEof();
    co_await Eventually([&] { return child->lost; });
    EXPECT_TRUE(child->out == text);
    EXPECT_GT(child->Index("resume"), 0);
  });
}

TEST_F(SubprocessTransportTest, AnErrorOfACallbackClosesItsPipe) {
  RunNet([]() -> Co<void> {
    Reports reports;
    ChildPtr child = std::make_shared<Child>();
    child->on_data = [] { throw std::runtime_error("mine"); };
    co_await SubprocessShell([&] { return std::make_shared<Watcher>(child); },
                             "echo hello; cat");
    co_await Eventually([&] { return child->Index("1 lost: mine") > 0; });
    child->transport->Close();
    co_await Eventually([&] { return child->lost; });
    EXPECT_EQ(reports.Messages(),
              std::vector<std::string>{"a protocol's DataReceived() has failed:"
                                       " std::runtime_error: mine"});
  });
}

TEST_F(SubprocessTransportTest, NoProgramNoProtocol) {
  RunNet([]() -> Co<void> {
    ChildPtr child = std::make_shared<Child>();
    EXPECT_EQ(co_await ErrorOf(SubprocessExec(
                  [&] { return std::make_shared<Watcher>(child); },
                  Command("/no/such/program"))),
              "spawn /no/such/program: No such file or directory");
    EXPECT_TRUE(child->log.empty());
    EXPECT_EQ(co_await ErrorOf(SubprocessShell(
                  [] { return std::shared_ptr<Watcher>(); }, "true")),
              "SubprocessTransport: the protocol is null");
  });
}

TEST_F(SubprocessTransportTest, ALoopThatClosesDropsTheProtocol) {
  ChildPtr child = std::make_shared<Child>();
  pid_t pid = 0;
  RunNet([&]() -> Co<void> {
    co_await SubprocessExec([&] { return std::make_shared<Watcher>(child); },
                            Command("cat"));
    pid = child->transport->GetPid();
  });
  child->transport.reset();
  EXPECT_FALSE(child->alive);
  EXPECT_FALSE(child->lost);
  coil_testing::AwaitZombie(pid);  // its stdin is closed
  internal::ReapOrphans();
}

}  // namespace
}  // namespace coil::net
