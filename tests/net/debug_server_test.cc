#include "coil/net/debug_server.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "coil/task/to_thread.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::Turns;

class DebugServerTest : public NetTest {
 protected:
  void TearDown() override {
    ::unlink(Path().c_str());
    NetTest::TearDown();
  }
  static std::string Path() {
    // Not the folder that Bazel gives to tests: its name alone may be longer
    // than the path of a Unix socket can be.
    return std::filesystem::temp_directory_path().string() + "/coil-test-" +
           std::to_string(::getpid()) + ".sock";
  }
};

// What the server answers to `command`.
Co<std::string> Ask(std::string path, std::string command) {
  auto [reader, writer] = co_await OpenConnection(Address::Unix(path));
  co_await writer.Write(command + "\n");
  co_return co_await reader.ReadAll();
}

Co<void> WaitForGodot() { co_await Sleep(absl::Hours(1)); }

TEST_F(DebugServerTest, ListsTheTasks) {
  RunNet([]() -> Co<void> {
    DebugServer debug(Path());
    EXPECT_EQ(debug.Path(), Path());
    Task<void> task = CreateTask(WaitForGodot(), {.name = "estragon"});
    co_await Turns();
    const std::string table = co_await Ask(Path(), "ps");
    EXPECT_NE(table.find("estragon"), std::string::npos) << table;
    EXPECT_NE(table.find("WaitForGodot debug_server_test.cc"),
              std::string::npos)
        << table;
    const std::string tree = co_await Ask(Path(), "pstree");
    EXPECT_NE(tree.find("estragon"), std::string::npos) << tree;
    const std::string dump = co_await Ask(Path(), "dump");
    EXPECT_NE(dump.find("created at debug_server_test.cc"), std::string::npos)
        << dump;
    task.Cancel();
  });
}

TEST_F(DebugServerTest, AnUnknownCommandSaysWhatThereIs) {
  RunNet([]() -> Co<void> {
    DebugServer debug(Path());
    EXPECT_EQ(co_await Ask(Path(), "rm -rf"),
              "unknown command \"rm -rf\"; there are ps, pstree and dump\n");
    // One that is too long is not answered, and harms nobody.
    const Outcome<std::string> answer =
        co_await Settle(Ask(Path(), std::string(10000, 'x')));
    EXPECT_TRUE(!answer.Ok() || answer.Value().empty());
    EXPECT_NE(co_await Ask(Path(), "ps"), "");
  });
}

TEST_F(DebugServerTest, OnlyItsOwnerMayConnect) {
  RunNet([]() -> Co<void> {
    const mode_t before = ::umask(0);
    DebugServer debug(Path());
    ::umask(before);
    struct stat status{};
    EXPECT_EQ(::stat(Path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    co_return;
  });
}

TEST_F(DebugServerTest, TheFileGoesWithTheServer) {
  RunNet([]() -> Co<void> {
    std::optional<DebugServer> debug(std::in_place, Path());
    EXPECT_EQ(::access(Path().c_str(), F_OK), 0);
    debug.reset();
    EXPECT_NE(::access(Path().c_str(), F_OK), 0);
    co_return;
  });
}

TEST_F(DebugServerTest, WhatADeadProcessHasLeftIsRemoved) {
  RunNet([]() -> Co<void> {
    {
      Socket dead(AF_UNIX, SOCK_STREAM);
      dead.Bind(Address::Unix(Path()));
    }
    DebugServer debug(Path());
    EXPECT_NE(co_await Ask(Path(), "ps"), "");
    // A living one is left alone.
    EXPECT_THROW(DebugServer second(Path()), OsError);
    EXPECT_NE(co_await Ask(Path(), "ps"), "");
  });
}

TEST_F(DebugServerTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(Path()) << "precious";
  RunNet([]() -> Co<void> {
    EXPECT_THROW(DebugServer debug(Path()), OsError);
    co_return;
  });
  std::string text;
  std::getline(std::ifstream(Path()) >> std::ws, text);
  EXPECT_EQ(text, "precious");
}

TEST_F(DebugServerTest, TheEnvironmentSwitchesItOn) {
  RunNet([]() -> Co<void> {
    ::unsetenv("COIL_DEBUG_SOCKET");
    EXPECT_EQ(DebugServer::FromEnvironment(), nullptr);
    ::setenv("COIL_DEBUG_SOCKET", "0", 1);
    EXPECT_EQ(DebugServer::FromEnvironment(), nullptr);
    const std::string pattern =
        std::filesystem::temp_directory_path().string() + "/coil-test-%p.sock";
    ::setenv("COIL_DEBUG_SOCKET", pattern.c_str(), 1);
    std::unique_ptr<DebugServer> debug = DebugServer::FromEnvironment();
    EXPECT_EQ(debug->Path(), Path());
    debug.reset();
    ::setenv("XDG_RUNTIME_DIR", "/some/where", 1);
    EXPECT_EQ(DebugServer::DefaultPath(7), "/some/where/coil-debug-7.sock");
    ::unsetenv("XDG_RUNTIME_DIR");
    ::unsetenv("COIL_DEBUG_SOCKET");
    co_return;
  });
}

TEST_F(DebugServerTest, WithoutALoopNamesTheRule) {
  EXPECT_THROW(DebugServer debug(Path()), std::runtime_error);
}

TEST_F(DebugServerTest, APathThatIsTooLongNamesTheRule) {
  RunNet([]() -> Co<void> {
    EXPECT_THROW(DebugServer debug(std::string(300, 'x')),
                 std::invalid_argument);
    co_return;
  });
}

// ---- the command

struct CommandResult {
  int status;
  std::string output;
};

// Runs //net:ps on a thread, since this loop has to answer it.
Co<CommandResult> Ps(std::string arguments) {
  auto run = [&arguments] {
    const std::string command = "net/ps " + arguments + " 2>&1";
    CommandResult result{-1, ""};
    FILE* pipe = ::popen(command.c_str(), "re");
    if (pipe == nullptr) return result;
    std::array<char, 4096> buffer;
    while (const size_t n = ::fread(buffer.data(), 1, buffer.size(), pipe)) {
      result.output.append(buffer.data(), n);
    }
    const int status = ::pclose(pipe);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
  };
  co_return co_await ToThread(run);
}

TEST_F(DebugServerTest, PsByPathAndByProcess) {
  RunNet([]() -> Co<void> {
    DebugServer debug(Path());
    Task<void> task = CreateTask(WaitForGodot(), {.name = "vladimir"});
    const CommandResult by_path = co_await Ps(Path());
    EXPECT_EQ(by_path.status, 0) << by_path.output;
    EXPECT_NE(by_path.output.find("vladimir"), std::string::npos)
        << by_path.output;
    const CommandResult tree = co_await Ps(Path() + " --tree");
    EXPECT_EQ(tree.status, 0) << tree.output;
    EXPECT_NE(tree.output.find("vladimir"), std::string::npos) << tree.output;
    const CommandResult dump = co_await Ps("--dump " + Path());
    EXPECT_NE(dump.output.find("created at"), std::string::npos) << dump.output;

    DebugServer standard;
    const CommandResult by_pid = co_await Ps(std::to_string(::getpid()));
    EXPECT_EQ(by_pid.status, 0) << by_pid.output;
    EXPECT_NE(by_pid.output.find("vladimir"), std::string::npos)
        << by_pid.output;
    task.Cancel();
  });
}

TEST_F(DebugServerTest, PsSaysWhatIsWrong) {
  RunNet([]() -> Co<void> {
    const CommandResult usage = co_await Ps("");
    EXPECT_EQ(usage.status, 2);
    EXPECT_EQ(usage.output.substr(0, 6), "usage:");
    EXPECT_EQ((co_await Ps("--nonsense")).status, 2);
    EXPECT_EQ((co_await Ps("1 2")).status, 2);
    const CommandResult nobody = co_await Ps("no-such-socket");
    EXPECT_EQ(nobody.status, 1);
    EXPECT_EQ(nobody.output,
              "ps: no debug socket at no-such-socket: No such file or "
              "directory. Was the program started with COIL_DEBUG_SOCKET=1?\n");
  });
}

}  // namespace
}  // namespace coil::net
