#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/datagram.h"
#include "coil/net/pipe.h"
#include "coil/net/sock.h"
#include "coil/net/streams.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "tests/faults/fault_scenarios.h"
#include "tests/net/socket_folder.h"

namespace coil_testing {

using coil::Co;
using coil::CreateTask;
using coil::Task;
using coil::net::Address;
using coil::net::DatagramSocket;
using coil::net::OpenConnection;
using coil::net::Server;
using coil::net::ServerOptions;
using coil::net::Socket;
using coil::net::StartServer;
using coil::net::StreamReader;
using coil::net::StreamWriter;

Co<void> EchoBack(StreamReader reader, StreamWriter writer) {
  for (;;) {
    const std::string data = co_await reader.Read(65536);
    if (data.empty()) co_return;
    co_await writer.Write(data);
  }
}

Co<void> AskEcho(StreamReader reader, StreamWriter writer) {
  co_await writer.Write("one line\n");
  const std::string line = co_await reader.ReadLine();
  // The connection may end anywhere.
  if (line.empty() || line.back() != '\n') {
    throw coil::net::IncompleteReadError(line, 9);
  }
  Check(line == "one line\n", "the line of an echo");
  const std::vector<std::string_view> pieces = {"two ", "pieces ", "more\n"};
  co_await writer.Write(pieces);
  const std::string several = co_await reader.ReadExactly(16);
  Check(several == "two pieces more\n", "the pieces of an echo");
  writer.WriteSoon("soon\n");
  co_await writer.Drain();
  const std::string soon = co_await reader.ReadUntil("\n");
  Check(soon == "soon\n", "what an echo was sent soon");
  if (!writer.CanWriteEof()) co_return;  // TLS
  writer.WriteEof();
  const std::string rest = co_await reader.ReadAll();
  Check(rest.empty(), "nothing comes after the end");
}

ServerOptions Impatient() {
  return ServerOptions().AcceptRetry(absl::Milliseconds(1));
}

namespace {

Co<void> AskAt(int port) {
  auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
  co_await AskEcho(reader, writer);
  co_await writer.Close();
}

Co<void> TcpEcho() {
  Server server = co_await StartServer(EchoBack, "127.0.0.1", 0, Impatient());
  co_await AskAt(server.Port());
  co_await server.Shutdown(absl::Seconds(1));
}

// Over both families, by name.
Co<void> TcpByName() {
  Server server = co_await StartServer(EchoBack, "localhost", 0, Impatient());
  auto [reader, writer] = co_await OpenConnection("localhost", server.Port());
  co_await AskEcho(reader, writer);
  writer.Abort();
  server.Close();
  co_await server.WaitClosed();
}

Co<void> FiveClients() {
  Server server = co_await StartServer(EchoBack, "127.0.0.1", 0, Impatient());
  auto clients = [port = server.Port()](coil::TaskGroup& group) -> Co<void> {
    for (int i = 0; i < 5; ++i) group.CreateTask(AskAt(port));
    co_return;
  };
  co_await coil::WithTaskGroup(clients);
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> Keepalive() {
  std::vector<Socket> sockets;
  sockets.emplace_back(AF_INET, SOCK_STREAM);
  sockets[0].SetOption(SOL_SOCKET, SO_REUSEADDR, 1);
  sockets[0].Bind(*Address::FromNumeric("127.0.0.1", 0));
  Server server = co_await StartServer(EchoBack, std::move(sockets),
                                       Impatient().KeepAlive(true));
  Socket client(AF_INET, SOCK_STREAM);
  co_await coil::net::SockConnect(client, "127.0.0.1", server.Port());
  Check(client.GetOption(SOL_SOCKET, SO_TYPE) == SOCK_STREAM, "SO_TYPE");
  auto [reader, writer] = co_await OpenConnection(std::move(client));
  co_await AskEcho(reader, writer);
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> UnixEcho() {
  const SocketFolder folder;
  Server server = co_await coil::net::StartUnixServer(
      EchoBack, folder.Path("socket"), Impatient());
  auto [reader, writer] =
      co_await coil::net::OpenUnixConnection(folder.Path("socket"));
  co_await AskEcho(reader, writer);
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> UdpEcho() {
  const Address any = *Address::FromNumeric("127.0.0.1", 0);
  DatagramSocket server = co_await coil::net::OpenDatagram(any);
  // Empty if the system does not tell.
  const int port = server.SockName().Port();
  if (port == 0) throw coil::OsError(ENOTCONN, "SockName");
  DatagramSocket client = co_await coil::net::OpenDatagram("127.0.0.1", port);
  for (int i = 0; i < 3; ++i) {
    co_await client.Send("question");
    coil::net::Datagram question = co_await server.ReceiveFrom();
    Check(question.data == "question" && !question.truncated, "a question");
    co_await server.SendTo(question.data, question.from);
    const std::string answer = co_await client.Receive();
    Check(answer == "question", "an answer");
  }
  client.Close();
}

Co<void> UnixDatagrams() {
  const SocketFolder folder;
  DatagramSocket server =
      co_await coil::net::OpenDatagram(Address::Unix(folder.Path("server")));
  DatagramSocket client =
      co_await coil::net::OpenDatagram(Address::Unix(folder.Path("client")),
                                       Address::Unix(folder.Path("server")));
  co_await client.Send("");
  co_await client.Send("two");
  coil::net::Datagram first = co_await server.ReceiveFrom();
  coil::net::Datagram second = co_await server.ReceiveFrom();
  Check(first.data.empty() && second.data == "two", "the order of datagrams");
  co_await server.SendTo("back", second.from);
  const std::string back = co_await client.Receive();
  Check(back == "back", "an answer");
}

Co<void> Pipes() {
  auto [read_end, write_end] = coil::net::MakePipe();
  StreamReader reader = coil::net::ConnectReadPipe(std::move(read_end));
  StreamWriter writer = coil::net::ConnectWritePipe(std::move(write_end));
  // The only handle: a reader that fails closes the pipe for its writer.
  auto read = [reader = std::move(reader)]() -> Co<std::string> {
    const std::string line = co_await reader.ReadLine();
    Check(std::string_view("line\n").starts_with(line), "a line of a pipe");
    co_return co_await reader.ReadAll();
  };
  Task<std::string> rest = CreateTask(std::move(read));
  co_await writer.Write("line\n");
  const std::vector<std::string_view> pieces = {"a", "b", "c"};
  co_await writer.Write(pieces);
  co_await writer.Write(std::string(100000, 'x'));
  co_await writer.Close();
  const std::string got = co_await rest;
  Check(got.size() == 100003, "what went through a pipe");
}

class OpenFile {
 public:
  explicit OpenFile(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// By the kernel, and over a pipe, for which the file is read.
Co<void> SendFiles() {
  const SocketFolder folder;
  std::ofstream(folder.Path("file")) << std::string(3000, 'f');
  const OpenFile file(folder.Path("file"));
  auto count = [](StreamReader reader, StreamWriter writer) -> Co<void> {
    const std::string all = co_await reader.ReadAll();
    co_await writer.Write(std::to_string(all.size()) + "\n");
  };
  Server server = co_await coil::net::StartUnixServer(
      count, folder.Path("socket"), Impatient());
  auto [reader, writer] =
      co_await coil::net::OpenUnixConnection(folder.Path("socket"));
  co_await writer.SendFile(file.fd());
  writer.WriteEof();
  const std::string size = co_await reader.ReadLine();
  if (size.empty() || size.back() != '\n') {
    throw coil::net::IncompleteReadError(size, 5);
  }
  Check(size == "3000\n", "the size of a file that was sent");
  co_await writer.Close();

  auto [read_end, write_end] = coil::net::MakePipe();
  StreamReader from = coil::net::ConnectReadPipe(std::move(read_end));
  StreamWriter to = coil::net::ConnectWritePipe(std::move(write_end));
  co_await to.SendFile(file.fd());
  co_await to.Close();
  const std::string got = co_await from.ReadAll();
  Check(got.size() == 3000, "a file that went through a pipe");
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> SockCalls() {
  Socket listener(AF_INET, SOCK_STREAM);
  listener.Bind(*Address::FromNumeric("127.0.0.1", 0));
  listener.Listen(5);
  Task<coil::net::SockAccepted> accept =
      CreateTask(coil::net::SockAccept(listener));
  Socket client(AF_INET, SOCK_STREAM);
  co_await coil::net::SockConnect(client, listener.SockName());
  coil::net::SockAccepted accepted = co_await std::move(accept);
  co_await coil::net::SockSendAll(client, "all of this");
  std::string got;
  while (got.size() < 11) {
    const std::string part = co_await coil::net::SockRecv(accepted.socket, 100);
    if (part.empty()) throw coil::net::IncompleteReadError(got, 11);
    got += part;
  }
  Check(got == "all of this", "what a socket has received");

  Socket one(AF_INET, SOCK_DGRAM);
  one.Bind(*Address::FromNumeric("127.0.0.1", 0));
  Socket other(AF_INET, SOCK_DGRAM);
  co_await coil::net::SockSendTo(other, "datagram", one.SockName());
  coil::net::SockDatagram datagram = co_await coil::net::SockRecvFrom(one, 100);
  Check(datagram.data == "datagram", "a datagram");
}

}  // namespace

std::vector<FaultScenario> StreamScenarios() {
  return {
      {"tcp echo", TcpEcho},
      {"tcp by name", TcpByName},
      {"five clients", FiveClients},
      {"own sockets", Keepalive},
      {"unix echo", UnixEcho},
      {"udp echo", UdpEcho},
      {"unix datagrams", UnixDatagrams},
      {"pipes", Pipes},
      {"pipes of old", Pipes, Call::pwritev2},
      {"send files", SendFiles},
      {"sock calls", SockCalls},
  };
}

}  // namespace coil_testing
