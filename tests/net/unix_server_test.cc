// Servers at the path of a Unix socket, and what becomes of its file.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/streams.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::OpenDescriptors;
using coil_testing::RunNet;

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    const std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

bool Exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

class UnixServerTest : public NetTest {
 protected:
  // A socket of a process that has died.
  void LeaveStale() {
    Socket dead(AF_UNIX, SOCK_STREAM);
    dead.Bind(Address::Unix(path_));
  }

  const coil_testing::SocketFolder folder_;
  const std::string path_ = folder_.Path("socket");
};

TEST_F(UnixServerTest, ServesItsPathAndRemovesItInTheEnd) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(Echo, path_);
    EXPECT_EQ(server.Port(), 0);
    EXPECT_TRUE(Exists(path_));
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
    server.Close();
    EXPECT_FALSE(Exists(path_));
    co_await writer.Write("y");  // who is connected stays
    EXPECT_EQ(co_await reader.Read(1), "y");
    EXPECT_NE(co_await ErrorOf(OpenUnixConnection(path_)), "");
  });
}

TEST_F(UnixServerTest, TheEndOfTheLoopRemovesItToo) {
  Server server;
  RunNet([&]() -> Co<void> { server = co_await StartUnixServer(Echo, path_); });
  EXPECT_FALSE(Exists(path_));
}

TEST_F(UnixServerTest, AStaleFileIsReplaced) {
  LeaveStale();
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(Echo, path_);
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
  });
}

TEST_F(UnixServerTest, WhoListensThereKeepsThePath) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(Echo, path_);
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(Echo, path_)),
              "bind to unix:" + path_ + ": Address already in use");
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
  });
}

TEST_F(UnixServerTest, WhatIsNoSocketIsLeftAlone) {
  const int file = ::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ::close(file);
  RunNet([this]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(Echo, path_)),
              "bind to unix:" + path_ + ": Address already in use");
  });
  EXPECT_TRUE(Exists(path_));
  ::unlink(path_.c_str());
  // Nor is a link followed.
  EXPECT_EQ(::symlink("/nowhere", path_.c_str()), 0);
  RunNet([this]() -> Co<void> {
    EXPECT_NE(co_await ErrorOf(StartUnixServer(Echo, path_)), "");
  });
  EXPECT_TRUE(Exists(path_));
}

TEST_F(UnixServerTest, TheFileOfSomebodyElseIsLeftAlone) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(Echo, path_);
    // Somebody has taken the path.
    const std::string moved = path_ + "-moved";
    EXPECT_EQ(::rename(path_.c_str(), moved.c_str()), 0);
    Server other = co_await StartUnixServer(Echo, path_);
    server.Close();
    EXPECT_TRUE(Exists(path_));
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    ::unlink(moved.c_str());
    // A file that is gone already is no error.
    ::unlink(path_.c_str());
    other.Close();
  });
}

TEST_F(UnixServerTest, AChildDoesNotRemoveIt) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(Echo, path_);
    const pid_t child = ::fork();
    if (child == 0) {
      server.Close();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(Exists(path_));
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
  });
}

TEST_F(UnixServerTest, TheFileMayStay) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(
        Echo, path_, ServerOptions().CleanupSocket(false));
    server.Close();
    EXPECT_TRUE(Exists(path_));
    Server next = co_await StartUnixServer(Echo, path_);
    next.Close();
    EXPECT_FALSE(Exists(path_));
  });
}

TEST_F(UnixServerTest, AnAbstractNameHasNoFile) {
  RunNet([this]() -> Co<void> {
    const std::string name = folder_.AbstractName();
    Server server = co_await StartUnixServer(Echo, name);
    auto [reader, writer] = co_await OpenUnixConnection(name);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(Echo, name)),
              "bind to unix:" + name + ": Address already in use");
    server.Close();
    Server again = co_await StartUnixServer(Echo, name);
  });
}

TEST_F(UnixServerTest, MayBeginToServeLater) {
  RunNet([this]() -> Co<void> {
    Server server = co_await StartUnixServer(
        Echo, path_, ServerOptions().StartServing(false));
    EXPECT_NE(co_await ErrorOf(OpenUnixConnection(path_)), "");
    server.StartServing();
    auto [reader, writer] = co_await OpenUnixConnection(path_);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
  });
}

TEST_F(UnixServerTest, MisuseNamesTheRule) {
  RunNet([this]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(Echo, "")),
              "Address: the path of a Unix socket is empty");
    EXPECT_NE(co_await ErrorOf(StartUnixServer(Echo, std::string(200, 'x'))),
              "");
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(
                  Echo, path_, ServerOptions().ReusePort(true))),
              "StartUnixServer: ReusePort() is for IPv4 and IPv6");
    EXPECT_EQ(co_await ErrorOf(
                  StartUnixServer(Echo, path_, ServerOptions().Backlog(0))),
              "StartServer: the backlog is at least 1, not 0");
    const int before = OpenDescriptors();
    EXPECT_EQ(co_await ErrorOf(StartUnixServer(Echo, "/no/such/folder/x")),
              "bind to unix:/no/such/folder/x: No such file or directory");
    EXPECT_EQ(OpenDescriptors(), before);
  });
}

TEST_F(UnixServerTest, ThatCannotListenLeavesNoFile) {
  coil_testing::SocketShim shim;
  shim.table().listen = [](int, int) {
    errno = ENOBUFS;
    return -1;
  };
  RunNet([this]() -> Co<void> {
    EXPECT_NE(co_await ErrorOf(StartUnixServer(Echo, path_)), "");
    EXPECT_FALSE(Exists(path_));
  });
}

}  // namespace
}  // namespace coil::net
