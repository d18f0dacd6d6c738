// CPython's own asyncio at the other end.

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/datagram.h"
#include "coil/net/streams.h"
#include "coil/net/subprocess.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/task.h"
#include "tests/net/net_testing.h"
#include "tests/net/tls/tls_testing.h"
#include "tests/peers/peer_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::FindProgram;
using coil_testing::LineWith;
using coil_testing::RunNet;
using coil_testing::ServerContext;
using coil_testing::SomeText;

class AsyncioTest : public coil_testing::NetTest {};

Command Python(std::vector<std::string> arguments) {
  Command command(FindProgram("python3"));
  command.Arg("tests/peers/asyncio_peer.py").Args(std::move(arguments));
  command.Stdin(Pipe()).Stdout(Pipe()).KillOnDrop();
  return command;
}

Co<int> PortOf(const Process& python) {
  const std::string port = co_await LineWith(python.stdout, "port ");
  co_return std::atoi(port.c_str());
}

Co<void> Talk(StreamReader reader, StreamWriter writer) {
  const std::string text = SomeText(20000);
  Task<std::string> read = CreateTask(reader.ReadExactly(text.size()));
  co_await writer.Write(text);
  const std::string got = co_await read;
  EXPECT_TRUE(got == text) << got.size();
  if (writer.CanWriteEof()) {
    writer.WriteEof();
    EXPECT_EQ(co_await reader.ReadAll(), "");
  }
  co_await writer.Close();
}

TEST_F(AsyncioTest, IsAServer) {
  COIL_NEEDS_PROGRAM("python3");
  RunNet([]() -> Co<void> {
    Process python = Python({"serve"}).Spawn();
    const int port = co_await PortOf(python);
    for (int i = 0; i < 3; ++i) {
      auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
      co_await Talk(reader, writer);
    }
    co_await python.stdin.Close();
    EXPECT_EQ(co_await python.Wait(), 0);
  });
}

TEST_F(AsyncioTest, IsAClient) {
  COIL_NEEDS_PROGRAM("python3");
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    Process python = Python({"client", std::to_string(server.Port())}).Spawn();
    co_await LineWith(python.stdout, "done");
    EXPECT_EQ(co_await python.Wait(), 0);
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(AsyncioTest, IsAServerThatUpgrades) {
  COIL_NEEDS_PROGRAM("python3");
  RunNet([]() -> Co<void> {
    const Authority& authority = Authority::Get();
    Process python = Python({"serve_upgrade", authority.certificate_file,
                             authority.key_file})
                         .Spawn();
    const int port = co_await PortOf(python);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
    co_await writer.Write("STARTTLS\n");
    EXPECT_EQ(co_await reader.ReadLine(), "go\n");
    const SecureOptions options = SecureOptions().ServerHostname("localhost");
    co_await writer.StartTls(ClientContext(), options);
    co_await Talk(reader, writer);
    co_await python.stdin.Close();
    EXPECT_EQ(co_await python.Wait(), 0);
  });
}

TEST_F(AsyncioTest, IsAClientThatUpgrades) {
  COIL_NEEDS_PROGRAM("python3");
  RunNet([]() -> Co<void> {
    auto upgrade = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      EXPECT_EQ(co_await reader.ReadLine(), "STARTTLS\n");
      co_await writer.Write("go\n");
      const SecureOptions options;
      co_await writer.StartTls(ServerContext(), options);
      co_await Echo(reader, writer);
    };
    Server server = co_await StartServer(upgrade, "127.0.0.1", 0);
    Process python = Python({"client_upgrade", std::to_string(server.Port()),
                             Authority::Get().root_file})
                         .Spawn();
    co_await LineWith(python.stdout, "done");
    EXPECT_EQ(co_await python.Wait(), 0);
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(AsyncioTest, SendsDatagramsBack) {
  COIL_NEEDS_PROGRAM("python3");
  RunNet([]() -> Co<void> {
    Process python = Python({"datagrams"}).Spawn();
    const int port = co_await PortOf(python);
    DatagramSocket socket = co_await OpenDatagram("127.0.0.1", port);
    // Not an empty one: asyncio's transports do not send it.
    for (const size_t size : {1, 1000, 60000}) {
      const std::string data(size, 'd');
      co_await socket.Send(data);
      EXPECT_EQ(co_await socket.Receive(), data);
    }
    co_await python.stdin.Close();
    EXPECT_EQ(co_await python.Wait(), 0);
  });
}

}  // namespace
}  // namespace coil::net
