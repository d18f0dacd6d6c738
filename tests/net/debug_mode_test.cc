// What debug mode says about sockets: A183 and A184 of asyncio.

#include <fcntl.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/net/socket.h"
#include "coil/net/streams.h"
#include "tests/loop/loop_testing.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::Connection;
using coil_testing::FillUp;
using coil_testing::NetTest;
using coil_testing::Peer;
using coil_testing::RawListener;
using coil_testing::RunNet;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

class DebugModeTest : public NetTest {};

RunOptions Debug(bool on) {
  RunOptions options;
  options.debug = on;
  return options;
}

// On a busy machine any callback may be slow, which is reported too.
void DoNotReportSlowCallbacks() {
  EventLoop::Current().SetSlowCallbackDuration(absl::InfiniteDuration());
}

void MakeBlocking(const Socket& socket) {
  const int flags = ::fcntl(socket.Descriptor(), F_GETFL);
  ASSERT_EQ(::fcntl(socket.Descriptor(), F_SETFL, flags & ~O_NONBLOCK), 0);
}

Co<void> Ignore(StreamReader, StreamWriter) { co_return; }

// What a stream and a server say of blocking sockets.
Co<std::string> ErrorOfABlockingStream() {
  TcpEnds ends;
  MakeBlocking(ends.socket);
  std::string text;
  try {
    MakeByteStream(std::move(ends.socket));
  } catch (const std::invalid_argument& e) {
    text = e.what();
  }
  co_return text;
}

Co<std::string> ErrorOfABlockingServer() {
  std::vector<Socket> sockets;
  sockets.push_back(RawListener());
  MakeBlocking(sockets[0]);
  std::string text;
  try {
    Server server = co_await StartServer(Ignore, std::move(sockets));
  } catch (const std::invalid_argument& e) {
    text = e.what();
  }
  co_return text;
}

TEST_F(DebugModeTest, BlockingSocketIsRefused) {
  const std::string stream = RunNet(ErrorOfABlockingStream, Debug(true));
  EXPECT_EQ(stream.find("net: a stream: the socket (fd "), 0u) << stream;
  EXPECT_NE(stream.find("is blocking"), std::string::npos) << stream;
  const std::string server = RunNet(ErrorOfABlockingServer, Debug(true));
  EXPECT_EQ(server.find("net: a server: the socket (fd "), 0u) << server;
}

TEST_F(DebugModeTest, NobodyLooksOtherwise) {
  EXPECT_EQ(RunNet(ErrorOfABlockingStream, Debug(false)), "");
  EXPECT_EQ(RunNet(ErrorOfABlockingServer, Debug(false)), "");
}

TEST_F(DebugModeTest, ConnectionThatOutlivesItsLoopIsReported) {
  for (const bool debug : {false, true}) {
    CapturedDiagnostics diagnostics;
    std::optional<Connection> kept;
    std::string peer;
    RunNet(
        [&]() -> Co<void> {
          DoNotReportSlowCallbacks();
          kept.emplace();
          peer = kept->writer.PeerName().ToString();
          co_return;
        },
        Debug(debug));
    EXPECT_EQ(diagnostics.Text(),
              debug ? "coil: the connection with " + peer +
                          " was not closed before its event loop\n"
                    : "");
  }
}

TEST_F(DebugModeTest, LostDataIsReported) {
  CapturedDiagnostics diagnostics;
  Peer peer;
  RunNet(
      [&]() -> Co<void> {
        DoNotReportSlowCallbacks();
        // No handle is left, but what is queued keeps the connection open.
        Connection c{UnixEnds()};
        FillUp(c.writer);
        c.writer.WriteSoon("more");
        peer = std::move(c.peer);
        c.DropHandles();
        co_await Turns();
      },
      Debug(true));
  EXPECT_EQ(diagnostics.Text(),
            "coil: the connection with unix: was not closed before its event "
            "loop; what was to be sent is lost\n");
}

TEST_F(DebugModeTest, ServerThatOutlivesItsLoopIsReported) {
  CapturedDiagnostics diagnostics;
  std::optional<Server> kept;
  int port = 0;
  RunNet(
      [&]() -> Co<void> {
        DoNotReportSlowCallbacks();
        kept = co_await StartServer(Ignore, "127.0.0.1", 0);
        port = kept->Port();
      },
      Debug(true));
  EXPECT_EQ(diagnostics.Text(),
            "coil: the server on 127.0.0.1:" + std::to_string(port) +
                " was not closed before its event loop\n");
}

TEST_F(DebugModeTest, WhatIsClosedInTimeIsNotReported) {
  CapturedDiagnostics diagnostics;
  RunNet(
      []() -> Co<void> {
        DoNotReportSlowCallbacks();
        Connection dropped;
        Connection closed;
        Server server = co_await StartServer(Ignore, "127.0.0.1", 0);
        co_await closed.writer.Close();
      },
      Debug(true));
  EXPECT_EQ(diagnostics.Text(), "");
}

}  // namespace
}  // namespace coil::net
