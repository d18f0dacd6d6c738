// Streams and datagrams with socat at the other end.

#include <string>
#include <utility>

#include "coil/net/datagram.h"
#include "coil/net/streams.h"
#include "coil/net/subprocess.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/task.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"
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

class SocatTest : public coil_testing::NetTest {};

Command Socat() {
  Command command(FindProgram("socat"));
  command.KillOnDrop();
  return command;
}

// What a server of ours that echoes gives back to socat.
Co<void> ClientIsServed(std::string address) {
  const std::string text = SomeText(20000);
  Command socat = Socat();
  socat.Arg("-t5").Arg("-").Arg(std::move(address));
  const CommandResult result = co_await socat.Run(text);
  EXPECT_EQ(result.return_code, 0) << result.err;
  EXPECT_TRUE(result.out == text) << result.out.size() << result.err;
}

// A socat that listens, and its port.
Co<std::pair<Process, int>> Listening(std::string address) {
  Command socat = Socat();
  socat.Arg("-d").Arg("-d").Arg("-t5").Arg(std::move(address)).Arg("EXEC:cat");
  socat.Stderr(Pipe());
  Process process = socat.Spawn();
  const std::string where = co_await LineWith(process.stderr, "listening on");
  // "AF=2 127.0.0.1:4711", or the path of a Unix socket.
  const size_t colon = where.rfind(':');
  const int port =
      colon == std::string::npos ? 0 : std::atoi(where.c_str() + colon + 1);
  co_return std::make_pair(std::move(process), port);
}

// What socat's cat gives back to us, up to the end after our half-close.
Co<void> ServerServes(StreamReader reader, StreamWriter writer) {
  const std::string text = SomeText(20000);
  Task<std::string> read = CreateTask(reader.ReadAll());
  co_await writer.Write(text);
  writer.WriteEof();
  const std::string got = co_await read;
  EXPECT_TRUE(got == text) << got.size();
  co_await writer.Close();
}

TEST_F(SocatTest, IsAClientOverTcp) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    co_await ClientIsServed("TCP:127.0.0.1:" + std::to_string(server.Port()));
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(SocatTest, IsAServerOverTcp) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    auto [process, port] =
        co_await Listening("TCP-LISTEN:0,bind=127.0.0.1,reuseaddr");
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
    co_await ServerServes(reader, writer);
    EXPECT_EQ(co_await process.Wait(), 0);
  });
}

TEST_F(SocatTest, IsAClientOverAUnixSocket) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    const coil_testing::SocketFolder folder;
    Server server = co_await StartUnixServer(Echo, folder.Path("socket"));
    co_await ClientIsServed("UNIX-CONNECT:" + folder.Path("socket"));
    const std::string name = folder.AbstractName();
    Server other = co_await StartUnixServer(Echo, name);
    co_await ClientIsServed("ABSTRACT-CONNECT:" + name.substr(1));
    co_await server.Shutdown(absl::Seconds(10));
    co_await other.Shutdown(absl::Seconds(10));
  });
}

TEST_F(SocatTest, IsAServerOverAUnixSocket) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    const coil_testing::SocketFolder folder;
    auto [process, port] =
        co_await Listening("UNIX-LISTEN:" + folder.Path("socket"));
    EXPECT_EQ(port, 0);
    auto [reader, writer] = co_await OpenUnixConnection(folder.Path("socket"));
    co_await ServerServes(reader, writer);
    EXPECT_EQ(co_await process.Wait(), 0);
  });
}

TEST_F(SocatTest, SendsAndReceivesDatagrams) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    DatagramSocket server =
        co_await OpenDatagram(*Address::FromNumeric("127.0.0.1", 0));
    auto answer = [server]() -> Co<void> {
      Datagram question = co_await server.ReceiveFrom();
      EXPECT_EQ(question.data, "a question");
      co_await server.SendTo("an answer", question.from);
    };
    Task<void> answering = CreateTask(std::move(answer));
    Command socat = Socat();
    socat.Arg("-t1").Arg("-").Arg("UDP:127.0.0.1:" +
                                  std::to_string(server.SockName().Port()));
    const CommandResult result = co_await socat.Run("a question");
    EXPECT_EQ(result.out, "an answer") << result.err;
    co_await answering;
  });
}

TEST_F(SocatTest, IsAClientOverTls) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    // TLS has no half-close: socat hangs up when it has said everything, so it
    // is to say something that is answered at once.
    Command socat = Socat();
    socat.Arg("-t1").Arg("-").Arg(
        "OPENSSL:127.0.0.1:" + std::to_string(server.Port()) +
        ",cafile=" + Authority::Get().root_file + ",commonname=localhost");
    Process process = socat.Stdin(Pipe()).Stdout(Pipe()).Stderr(Pipe()).Spawn();
    for (int i = 0; i < 100; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      co_await process.stdin.Write(line);
      EXPECT_EQ(co_await process.stdout.ReadLine(), line);
    }
    co_await process.stdin.Close();
    EXPECT_EQ(co_await process.Wait(), 0) << co_await process.stderr.ReadAll();
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(SocatTest, IsAServerOverTls) {
  COIL_NEEDS_PROGRAM("socat");
  RunNet([]() -> Co<void> {
    const Authority& authority = Authority::Get();
    auto [process, port] = co_await Listening(
        "OPENSSL-LISTEN:0,bind=127.0.0.1,verify=0,cert=" +
        authority.certificate_file + ",key=" + authority.key_file);
    const ConnectOptions options = ConnectOptions().Tls(
        ClientContext(), SecureOptions().ServerHostname("localhost"));
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", port, options);
    const std::string text = SomeText(20000);
    Task<std::string> read = CreateTask(reader.ReadExactly(text.size()));
    co_await writer.Write(text);
    const std::string got = co_await read;
    EXPECT_TRUE(got == text);
    co_await writer.Close();
    EXPECT_EQ(co_await process.Wait(), 0);
  });
}

}  // namespace
}  // namespace coil::net
