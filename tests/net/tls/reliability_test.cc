// Peers that stall or go away during TLS; a test is named after its row in the
// catalogue of failures.

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::ClientContext;
using coil_testing::ConnectTo;
using coil_testing::Echo;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Peer;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::ServerContext;
using coil_testing::Turns;

ConnectOptions Secured() {
  return ConnectOptions().Tls(ClientContext(),
                              SecureOptions().ServerHostname("localhost"));
}

// ---- T43: SIGPIPE

class ReliabilityT43 : public coil_testing::NetTest {};

TEST_F(ReliabilityT43, WritingOverTlsToNobodyIsAnErrorAndNoSignal) {
  const sighandler_t previous = ::signal(SIGPIPE, SIG_DFL);
  RunNet([]() -> Co<void> {
    auto leave = [](StreamReader, StreamWriter writer) -> Co<void> {
      writer.Abort();
      co_return;
    };
    Server server = co_await StartServer(leave, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    const ConnectOptions options = Secured();
    auto [reader, writer] =
        co_await OpenConnection("127.0.0.1", server.Port(), options);
    std::string error;
    for (int i = 0; i < 100 && error.empty(); ++i) {
      error = co_await ErrorOf(writer.Write(std::string(20000, 'x')));
      co_await Turns();
    }
    EXPECT_NE(error, "");
    writer.WriteSoon("x");
    co_await ErrorOf(writer.Close());
  });
  ::signal(SIGPIPE, previous);
}

// ---- T61: handshakes that stall

class ReliabilityT61 : public coil_testing::NetTest {};

bool WasClosed(const Peer& peer) {
  char byte;
  return ::recv(peer.fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 ||
         errno == ECONNRESET;
}

TEST_F(ReliabilityT61, AFloodOfSilentClientsCostsTheOldestOfThem) {
  RunNet([]() -> Co<void> {
    Reports reports;
    constexpr size_t kMost = 8;
    Server server = co_await StartServer(
        Echo, "127.0.0.1", 0,
        ServerOptions().Tls(ServerContext()).MaxHandshakes(kMost));
    std::vector<Peer> silent;
    size_t most = 0;
    for (int i = 0; i < 100; ++i) {
      silent.push_back(ConnectTo(server.Port()));
      co_await Turns(2);
      most = std::max(most, server.Connections());
    }
    EXPECT_TRUE(
        co_await Eventually([&] { return server.Connections() == kMost; }));
    EXPECT_LE(most, kMost + 2);  // one that is given up goes a turn later
    for (size_t i = 0; i < silent.size(); ++i) {
      EXPECT_EQ(WasClosed(silent[i]), i < silent.size() - kMost) << i;
    }
    // Whoever has something to say is served at once.
    for (int i = 0; i < 20; ++i) {
      silent.push_back(ConnectTo(server.Port()));
      const ConnectOptions options = Secured();
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port(), options);
      co_await writer.Write("hello");
      EXPECT_EQ(co_await reader.ReadExactly(5), "hello");
      co_await writer.Close();
    }
    // A handshake that has ended takes no place: all that is open now stays.
    std::vector<StreamPair> open;
    for (size_t i = 0; i < 2 * kMost; ++i) {
      const ConnectOptions options = Secured();
      open.push_back(
          co_await OpenConnection("127.0.0.1", server.Port(), options));
    }
    for (const StreamPair& pair : open) {
      co_await pair.writer.Write("still here");
      EXPECT_EQ(co_await pair.reader.ReadExactly(10), "still here");
      pair.writer.Abort();
    }
    silent.clear();
    EXPECT_TRUE(co_await Eventually([&] { return server.Connections() == 0; }));
    EXPECT_TRUE(reports.Messages().empty());
  });
}

TEST_F(ReliabilityT61, AHandshakeThatHasJustEndedIsNotGivenUp) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(
        Echo, "127.0.0.1", 0,
        ServerOptions().Tls(ServerContext()).MaxHandshakes(1));
    const ConnectOptions options = Secured();
    auto [reader, writer] =
        co_await OpenConnection("127.0.0.1", server.Port(), options);
    // The server is told of the end of the handshake and of this one together,
    // before the handler has run.
    const Peer silent = ConnectTo(server.Port());
    co_await Turns();
    EXPECT_EQ(co_await ErrorOf(writer.Write("hello")), "");
    std::string answer;
    const auto read = [&reader = reader, &answer]() -> Co<void> {
      answer = co_await reader.ReadExactly(5);
    };
    const std::string error = co_await ErrorOf(read());
    EXPECT_EQ(answer, "hello") << error;
    writer.Abort();
    co_await server.Shutdown(absl::ZeroDuration());
  });
}

TEST_F(ReliabilityT61, ManyThatConnectInOneTurnAreCappedToo) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(
        Echo, "127.0.0.1", 0,
        ServerOptions().Tls(ServerContext()).MaxHandshakes(1));
    std::vector<Peer> silent;
    for (int i = 0; i < 30; ++i) silent.push_back(ConnectTo(server.Port()));
    EXPECT_TRUE(co_await Eventually(
        [&] { return server.Connections() == 1 && WasClosed(silent[28]); }));
    EXPECT_FALSE(WasClosed(silent[29]));
    co_await server.Shutdown(absl::ZeroDuration());
    EXPECT_EQ(server.Connections(), 0u);
  });
}

}  // namespace
}  // namespace coil::net
