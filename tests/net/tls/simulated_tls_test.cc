// TLS in the simulated network: the same code, and what the network does to it.

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/simulation.h"
#include "coil/net/simulated_network.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/net/tls/error.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "tests/net/simulated_testing.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::EchoBytes;
using coil_testing::ErrorOf;
using coil_testing::LinkOf;
using coil_testing::LoopNow;
using coil_testing::Pattern;
using coil_testing::ReceiveAll;
using coil_testing::Received;
using coil_testing::ServerContext;

SIMULATED_TEST(SimulatedTlsTest, ServesUnchanged) {
  SimulatedNetwork network;
  network.AddHost("server", {"10.0.0.1"});
  const ServerOptions serve = ServerOptions().Tls(ServerContext());
  Server server = co_await StartServer(Echo, "server", 443, serve);
  const ConnectOptions connect = ConnectOptions().Tls(
      ClientContext(), SecureOptions().ServerHostname("localhost"));
  auto [reader, writer] = co_await OpenConnection("server", 443, connect);
  const std::string data = Pattern(100000);
  writer.WriteSoon(data);
  EXPECT_TRUE(co_await reader.ReadExactly(data.size()) == data);
  EXPECT_TRUE(writer.GetTlsInfo().has_value());
  // The name is checked here, too.
  EXPECT_NE(co_await ErrorOf(OpenConnection(
                "server", 443, ConnectOptions().Tls(ClientContext()))),
            "");
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(10));
  EXPECT_EQ(network.Connections(), 0u);
}

// T48 with TLS: records are torn at every byte.
TEST(ReliabilityT48, RecordsArriveWhereverTransfersStop) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    const SimulationOptions simulation{.seed = seed};
    auto main = [seed]() -> Co<void> {
      SimulatedNetwork network(SimulatedNetworkOptions()
                                   .Seed(seed)
                                   .LargestRead(1 + seed % 2)
                                   .LargestWrite(1)
                                   .SpuriousBlocks(0.3)
                                   .SegmentSize(1 + seed % 3)
                                   .ReceiveBuffer(50 * seed));
      const ServerOptions serve = ServerOptions().Tls(ServerContext());
      Server server = co_await StartServer(EchoBytes, "10.0.0.1", 443, serve);
      const ConnectOptions connect = ConnectOptions().Tls(
          ClientContext(), SecureOptions().ServerHostname("localhost"));
      StreamPair pair = co_await OpenConnection("10.0.0.1", 443, connect);
      const std::string data = Pattern(1500, seed);
      auto write = [&]() -> Co<void> { co_await pair.writer.Write(data); };
      Task<void> writing = CreateTask(write());
      EXPECT_TRUE(co_await pair.reader.ReadExactly(data.size()) == data);
      co_await writing;
      co_await pair.writer.Close();
      co_await server.Shutdown(absl::Seconds(10));
    };
    coil::Run(main, {.simulation = &simulation});
  }
}

SIMULATED_TEST(SimulatedTlsTest, AConnectionGoesOverToTls) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Seed(4).PartialTransfers(0.5));
  auto handler = [](StreamReader reader, StreamWriter writer) -> Co<void> {
    EXPECT_EQ(co_await reader.ReadLine(), "STARTTLS\n");
    co_await writer.Write("GO\n");
    co_await writer.StartTls(ServerContext());
    co_await writer.Write(co_await reader.ReadLine());
  };
  Server server = co_await StartServer(handler, "10.0.0.1", 143);
  auto [reader, writer] = co_await OpenConnection("10.0.0.1", 143);
  co_await writer.Write("STARTTLS\n");
  EXPECT_EQ(co_await reader.ReadLine(), "GO\n");
  const SecureOptions options = SecureOptions().ServerHostname("localhost");
  co_await writer.StartTls(ClientContext(), options);
  co_await writer.Write("secret\n");
  EXPECT_EQ(co_await reader.ReadLine(), "secret\n");
  EXPECT_EQ(co_await reader.ReadLine(), "");
}

SIMULATED_TEST(SimulatedTlsTest,
               AHandshakeThatAPartitionHoldsUpHasItsDeadline) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Link(LinkOf(absl::Milliseconds(10))));
  const ServerOptions serve = ServerOptions().Tls(ServerContext());
  Server server = co_await StartServer(Echo, "10.0.0.1", 443, serve);
  const ConnectOptions connect = ConnectOptions().Tls(
      ClientContext(), SecureOptions()
                           .ServerHostname("localhost")
                           .HandshakeTimeout(absl::Seconds(5)));
  const LoopTime begin = LoopNow();
  Task<StreamPair> task = CreateTask(OpenConnection("10.0.0.1", 443, connect));
  co_await Sleep(absl::Milliseconds(25));
  network.Isolate("10.0.0.1");
  const std::string error = co_await ErrorOf(task);
  EXPECT_NE(error.find("it did not end within 5s"), std::string::npos) << error;
  EXPECT_EQ(LoopNow() - begin, absl::Milliseconds(5020));
}

// An end that was not said by TLS is an error, at whatever byte the connection
// is reset.
SIMULATED_TEST(SimulatedTlsTest, AResetIsAnError) {
  SimulatedNetwork network;
  const std::string data = Pattern(3000);
  size_t cut = 0;
  auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
    co_await writer.Write(std::string_view(data).substr(0, cut));
    network.ResetConnections("default", "10.0.0.1");
    co_await ReceiveAll(std::move(reader));
  };
  const ServerOptions serve = ServerOptions().Tls(ServerContext());
  Server server =
      co_await StartServer(std::move(handler), "10.0.0.1", 443, serve);
  const ConnectOptions connect = ConnectOptions().Tls(
      ClientContext(), SecureOptions().ServerHostname("localhost"));
  for (cut = 0; cut <= data.size(); cut += 300) {
    StreamPair pair = co_await OpenConnection("10.0.0.1", 443, connect);
    const Received received = co_await ReceiveAll(pair.reader);
    EXPECT_EQ(received.error, ECONNRESET);
    EXPECT_TRUE(data.starts_with(received.data));
  }
}

}  // namespace
}  // namespace coil::net
