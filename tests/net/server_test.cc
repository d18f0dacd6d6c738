#include "coil/net/server.h"

#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/streams.h"
#include "coil/task/context_var.h"
#include "coil/task/errors.h"
#include "coil/task/with.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::ConnectTo;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NetTest;
using coil_testing::Peer;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

class ServerTest : public NetTest {};

Co<void> EchoLines(StreamReader reader, StreamWriter writer) {
  while (std::optional<std::string> line = co_await reader.Next()) {
    co_await writer.Write(*line);
  }
}

// Waits until it is cancelled.
Co<void> Forever(StreamReader, StreamWriter) {
  co_await Sleep(absl::InfiniteDuration());
}

TEST_F(ServerTest, AnswersEachConnectionInATaskOfItsOwn) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
    EXPECT_TRUE(server.IsServing());
    EXPECT_GT(server.Port(), 0);
    auto [r1, w1] = co_await OpenConnection("127.0.0.1", server.Port());
    auto [r2, w2] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await w2.Write("two\n");
    EXPECT_EQ(co_await r2.ReadLine(), "two\n");
    co_await w1.Write("one\n");
    EXPECT_EQ(co_await r1.ReadLine(), "one\n");
    EXPECT_EQ(server.Connections(), 2u);
    co_await w1.Close();
    co_await w2.Close();
    co_await Eventually([&] { return server.Connections() == 0; });
    server.Close();
    co_await server.WaitClosed();
  });
}

TEST_F(ServerTest, TheHandlerMayBeALambdaWithCaptures) {
  RunNet([]() -> Co<void> {
    auto greeting = std::make_shared<std::string>("a greeting that is long\n");
    std::weak_ptr<std::string> watched = greeting;
    {
      ConnectionHandler handler = [greeting = std::move(greeting)](
                                      StreamReader,
                                      StreamWriter writer) -> Co<void> {
        co_await Yield();
        co_await writer.Write(*greeting);
      };
      Server server = co_await StartServer(std::move(handler), "127.0.0.1", 0);
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port());
      EXPECT_EQ(co_await reader.ReadAll(), "a greeting that is long\n");
      server.Close();
      co_await server.WaitClosed();
    }
    EXPECT_TRUE(watched.expired());
  });
}

TEST_F(ServerTest, AConnectionClosesWhenItsHandlerReturns) {
  RunNet([]() -> Co<void> {
    auto handler = [](StreamReader, StreamWriter writer) -> Co<void> {
      writer.WriteSoon("bye");
      co_return;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(co_await reader.ReadAll(), "bye");
    co_await Eventually([&] { return server.Connections() == 0; });
  });
}

TEST_F(ServerTest, AHandlerMayGiveItsConnectionAway) {
  RunNet([]() -> Co<void> {
    std::optional<StreamWriter> kept;
    auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
      kept = writer;
      co_return;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await Eventually([&] { return kept.has_value(); });
    co_await Turns();
    EXPECT_EQ(server.Connections(), 1u);
    co_await kept->Write("later");
    kept.reset();
    EXPECT_EQ(co_await reader.ReadAll(), "later");
    server.Close();
    co_await server.WaitClosed();
  });
}

TEST_F(ServerTest, AnErrorOfAHandlerIsReportedAndItsConnectionCloses) {
  RunNet([]() -> Co<void> {
    Reports reports;
    auto handler = [](StreamReader reader, StreamWriter) -> Co<void> {
      co_await reader.ReadLine();
      throw std::runtime_error("no good");
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("x\n");
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_EQ(reports.Messages(),
              std::vector<std::string>{"the handler of a connection has failed:"
                                       " std::runtime_error: no good"});
    // The server goes on.
    auto [reader2, writer2] =
        co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(server.Connections(), 1u);
  });
}

TEST_F(ServerTest, ACancelledHandlerClosesSilently) {
  RunNet([]() -> Co<void> {
    Reports reports;
    std::optional<AnyTask> task;
    std::optional<StreamWriter> kept;
    auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
      task = CurrentTask();
      kept = writer;  // closes all the same
      co_await Sleep(absl::InfiniteDuration());
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await Eventually([&] { return task.has_value(); });
    task->Cancel();
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_TRUE(kept->IsClosing());
    EXPECT_TRUE(reports.Messages().empty());
    server.Close();
    co_await server.WaitClosed();
  });
}

TEST_F(ServerTest, HandlersSeeTheContextOfStartServer) {
  static ContextVar<int> var("var", 0);
  RunNet([]() -> Co<void> {
    std::vector<int> seen;
    auto handler = [&](StreamReader, StreamWriter) -> Co<void> {
      seen.push_back(var.Get());
      var.Set(99);  // in a copy of its own
      co_return;
    };
    var.Set(7);
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    var.Set(8);
    for (int i = 0; i < 2; ++i) {
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port());
      EXPECT_EQ(co_await reader.ReadAll(), "");
    }
    EXPECT_EQ(seen, (std::vector<int>{7, 7}));
  });
}

TEST_F(ServerTest, AcceptedConnectionsHaveNoDelayAndAreNotInherited) {
  RunNet([]() -> Co<void> {
    std::optional<int> no_delay;
    std::optional<int> flags;
    auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
      no_delay = writer.Socket().GetOption(IPPROTO_TCP, TCP_NODELAY);
      flags = ::fcntl(writer.Socket().Descriptor(), F_GETFD);
      co_return;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_EQ(no_delay, 1);
    EXPECT_EQ(flags, FD_CLOEXEC);
    EXPECT_EQ(writer.Socket().GetOption(IPPROTO_TCP, TCP_NODELAY), 1);
  });
}

// ---- sockets and options

TEST_F(ServerTest, EveryInterfaceHasASocketForEachFamily) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "", 0);
    EXPECT_GE(server.Sockets().size(), 1u);
    EXPECT_EQ(server.Sockets()[0].SockName().Family(), AF_INET);
    EXPECT_EQ(server.Sockets()[0].SockName().Port(), server.Port());
    for (SocketRef socket : server.Sockets()) {
      if (socket.SockName().Family() != AF_INET6) continue;
      EXPECT_EQ(socket.GetOption(IPPROTO_IPV6, IPV6_V6ONLY), 1);
      EXPECT_NE(socket.SockName().Port(), 0);
    }
    server.Close();
    EXPECT_TRUE(server.Sockets().empty());
    EXPECT_NE(server.Port(), 0);
  });
}

TEST_F(ServerTest, SeveralHostsAndEachAddressOnce) {
  RunNet([]() -> Co<void> {
    const std::vector<std::string> hosts = {"127.0.0.1", "127.0.0.2",
                                            "127.0.0.1"};
    Server server = co_await StartServer(EchoLines, hosts, 0);
    EXPECT_EQ(server.Sockets().size(), 2u);
    EXPECT_EQ(server.Sockets()[1].SockName().Host(), "127.0.0.2");
  });
}

TEST_F(ServerTest, OnSocketsThatAreThereAlready) {
  RunNet([]() -> Co<void> {
    std::vector<Socket> sockets;
    sockets.emplace_back(AF_INET, SOCK_STREAM);
    sockets[0].Bind(Address::Parse("127.0.0.1:0"));
    const int port = sockets[0].SockName().Port();
    Server server = co_await StartServer(EchoLines, std::move(sockets));
    EXPECT_EQ(server.Port(), port);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
    co_await writer.Write("x\n");
    EXPECT_EQ(co_await reader.ReadLine(), "x\n");
  });
}

TEST_F(ServerTest, OnAUnixSocket) {
  RunNet([]() -> Co<void> {
    const Address name =
        Address::Unix("@coil-server-test-" + std::to_string(::getpid()));
    std::vector<Socket> sockets;
    sockets.emplace_back(AF_UNIX, SOCK_STREAM);
    sockets[0].Bind(name);
    Server server = co_await StartServer(EchoLines, std::move(sockets));
    EXPECT_EQ(server.Port(), 0);
    auto [reader, writer] = co_await OpenConnection(name);
    EXPECT_EQ(writer.PeerName().ToString(), "unix:");
    co_await writer.Write("x\n");
    EXPECT_EQ(co_await reader.ReadLine(), "x\n");
  });
}

TEST_F(ServerTest, OptionsReachTheSockets) {
  RunNet([]() -> Co<void> {
    size_t limit = 0;
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      limit = reader.Limit();
      EXPECT_EQ(writer.Socket().GetOption(SOL_SOCKET, SO_KEEPALIVE), 1);
      co_return;
    };
    ServerOptions options;
    options.Limit(123).ReusePort(true).KeepAlive(true).Backlog(5);
    Server server = co_await StartServer(handler, "127.0.0.1", 0, options);
    EXPECT_EQ(server.Sockets()[0].GetOption(SOL_SOCKET, SO_REUSEADDR), 1);
    Server again = co_await StartServer(handler, "127.0.0.1", server.Port(),
                                        ServerOptions().ReusePort(true));
    EXPECT_EQ(again.Port(), server.Port());
    again.Close();
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_EQ(limit, 123u);
  });
}

TEST_F(ServerTest, APortInUseIsAnErrorWithTheAddress) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
    const std::string address = server.Sockets()[0].SockName().ToString();
    auto start = [&] {
      return StartServer(EchoLines, "127.0.0.1", server.Port());
    };
    EXPECT_EQ(co_await ErrorOf(start()),
              "bind to " + address + ": Address already in use");
  });
}

TEST_F(ServerTest, ABindThatFailsClosesTheOthers) {
  RunNet([]() -> Co<void> {
    Server taken = co_await StartServer(EchoLines, "127.0.0.2", 0);
    const int before = coil_testing::OpenDescriptors();
    const std::vector<std::string> hosts = {"127.0.0.1", "127.0.0.2"};
    EXPECT_NE(co_await ErrorOf(StartServer(EchoLines, hosts, taken.Port())),
              "");
    EXPECT_EQ(coil_testing::OpenDescriptors(), before);
  });
}

TEST_F(ServerTest, BadOptionsNameTheRule) {
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(StartServer(EchoLines, "127.0.0.1", 0,
                                           ServerOptions().Limit(0))),
              "net: the limit of a stream is at least 1");
    EXPECT_EQ(co_await ErrorOf(StartServer(EchoLines, "127.0.0.1", 0,
                                           ServerOptions().Backlog(0))),
              "StartServer: the backlog is at least 1, not 0");
    EXPECT_NE(co_await ErrorOf(StartServer(
                  EchoLines, "127.0.0.1", 0,
                  ServerOptions().AcceptRetry(absl::ZeroDuration()))),
              "");
    EXPECT_EQ(co_await ErrorOf(StartServer(EchoLines, "127.0.0.1", 0,
                                           ServerOptions().MaxHandshakes(0))),
              "StartServer: MaxHandshakes() is at least 1, not 0");
    EXPECT_EQ(co_await ErrorOf(StartServer(EchoLines, "127.0.0.1", 70000)),
              "Address: a port is from 0 to 65535, not 70000");
    EXPECT_THROW((void)StartServer(EchoLines, std::vector<std::string>(), 0),
                 std::invalid_argument);
    EXPECT_NE(co_await ErrorOf(StartServer(EchoLines, std::vector<Socket>())),
              "");
    std::vector<Socket> datagram;
    datagram.emplace_back(AF_INET, SOCK_DGRAM);
    EXPECT_EQ(co_await ErrorOf(StartServer(EchoLines, std::move(datagram))),
              "StartServer: not a stream socket");
  });
}

TEST_F(ServerTest, StartsLaterIfAsked) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0,
                                         ServerOptions().StartServing(false));
    EXPECT_FALSE(server.IsServing());
    EXPECT_NE(co_await ErrorOf(OpenConnection("127.0.0.1", server.Port())), "");
    server.StartServing();
    server.StartServing();
    EXPECT_TRUE(server.IsServing());
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("x\n");
    EXPECT_EQ(co_await reader.ReadLine(), "x\n");
    server.Close();
    EXPECT_THROW(server.StartServing(), std::runtime_error);
  });
}

// ---- the end of a server

TEST_F(ServerTest, CloseKeepsConnectionsAndTwiceIsFine) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("x\n");
    EXPECT_EQ(co_await reader.ReadLine(), "x\n");
    server.Close();
    server.Close();
    EXPECT_FALSE(server.IsServing());
    EXPECT_NE(co_await ErrorOf(OpenConnection("127.0.0.1", server.Port())), "");
    co_await writer.Write("y\n");
    EXPECT_EQ(co_await reader.ReadLine(), "y\n");
  });
}

TEST_F(ServerTest, WaitClosedWaitsForTheCloseAndForTheConnections) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
    Task<void> wait = CreateTask(server.WaitClosed());
    co_await Turns(10);
    EXPECT_FALSE(wait.Done());  // open, though without connections
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await Eventually([&] { return server.Connections() == 1; });
    server.Close();
    co_await Turns(10);
    EXPECT_FALSE(wait.Done());
    co_await writer.Close();
    co_await wait;
  });
}

TEST_F(ServerTest, ServeForeverEndsWithClose) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0,
                                         ServerOptions().StartServing(false));
    Task<void> serve = CreateTask(server.ServeForever());
    co_await Turns();
    EXPECT_TRUE(server.IsServing());
    EXPECT_EQ(co_await ErrorOf(server.ServeForever()),
              "Server::ServeForever: another task is in it already");
    server.Close();
    co_await serve;
    EXPECT_EQ(co_await ErrorOf(server.ServeForever()),
              "Server::ServeForever: the server is closed");
  });
}

TEST_F(ServerTest, ACancelledServeForeverClosesTheServer) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Forever, "127.0.0.1", 0);
    // An idle connection does not hold it up.
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    Task<void> serve = CreateTask(server.ServeForever());
    co_await Turns();
    serve.Cancel();
    co_await Settle(serve);
    EXPECT_TRUE(serve.Cancelled());
    EXPECT_FALSE(server.IsServing());
  });
}

TEST_F(ServerTest, TheDestructorCloses) {
  RunNet([]() -> Co<void> {
    int port = 0;
    {
      Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
      Server moved = std::move(server);
      EXPECT_FALSE(server.IsServing());
      EXPECT_TRUE(moved.IsServing());
      port = moved.Port();
    }
    EXPECT_NE(co_await ErrorOf(OpenConnection("127.0.0.1", port)), "");
  });
}

TEST_F(ServerTest, AnEmptyServerNamesTheRule) {
  RunNet([]() -> Co<void> {
    Server server;
    EXPECT_FALSE(server.IsServing());
    EXPECT_TRUE(server.Sockets().empty());
    server.Close();
    EXPECT_THROW(server.StartServing(), std::runtime_error);
    EXPECT_THROW((void)server.ServeForever(), std::runtime_error);
    co_return;
  });
}

TEST_F(ServerTest, WithClosesAndWaits) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0);
    co_await With(server, [&](Server& inside) -> Co<void> {
      EXPECT_EQ(&inside, &server);
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", inside.Port());
      co_await writer.Write("x\n");
      EXPECT_EQ(co_await reader.ReadLine(), "x\n");
      co_await writer.Close();
    });
    EXPECT_FALSE(server.IsServing());
    EXPECT_EQ(server.Connections(), 0u);
  });
}

TEST_F(ServerTest, ShutdownLetsHandlersFinish) {
  RunNet([]() -> Co<void> {
    auto handler = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      const std::string line = co_await reader.ReadLine();
      co_await Sleep(absl::Milliseconds(20));
      co_await writer.Write("answer to " + line);
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("x\n");
    co_await Eventually([&] { return server.Connections() == 1; });
    co_await server.Shutdown(absl::Seconds(20));
    EXPECT_EQ(server.Connections(), 0u);
    EXPECT_EQ(co_await reader.ReadAll(), "answer to x\n");
  });
}

TEST_F(ServerTest, ShutdownCancelsAtTheDeadlineAndWaitsForCleanup) {
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        Reports reports;
        bool cleaned = false;
        auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
          bool cancelled = false;
          try {
            co_await Sleep(absl::InfiniteDuration());
          } catch (const CancelledError&) {
            cancelled = true;
          }
          if (cancelled) co_await Sleep(absl::Seconds(3));
          cleaned = true;
          co_await writer.Write("cleaned up");
        };
        Server server = co_await StartServer(handler, "127.0.0.1", 0);
        auto [reader, writer] =
            co_await OpenConnection("127.0.0.1", server.Port());
        co_await Eventually([&] { return server.Connections() == 1; });
        const LoopTime start = EventLoop::Current().Now();
        co_await server.Shutdown(absl::Seconds(5));
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(EventLoop::Current().Now() - start, absl::Seconds(8));
        EXPECT_EQ(co_await reader.ReadAll(), "cleaned up");
        EXPECT_TRUE(reports.Messages().empty());
      },
      {.simulation = &simulation});
}

TEST_F(ServerTest, ShutdownAbortsWhatIsStillFlushing) {
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        auto handler = [](StreamReader, StreamWriter writer) -> Co<void> {
          writer.WriteSoon(std::string(64 << 20, 'x'));
          co_return;
        };
        Server server = co_await StartServer(handler, "127.0.0.1", 0);
        Peer silent = ConnectTo(server.Port());
        co_await Eventually([&] { return server.Connections() == 1; });
        co_await server.Shutdown(absl::Seconds(1));
        EXPECT_EQ(server.Connections(), 0u);
        const std::string received = silent.ReceiveAll();
        EXPECT_LT(received.size(), size_t{64} << 20);
        EXPECT_EQ(received.substr(received.size() - 7), "<reset>");
      },
      {.simulation = &simulation});
}

TEST_F(ServerTest, ShutdownInAHandlerNamesTheRule) {
  RunNet([]() -> Co<void> {
    std::string error;
    Server server;
    auto handler = [&](StreamReader, StreamWriter) -> Co<void> {
      error = co_await ErrorOf(server.Shutdown(absl::Seconds(1)));
    };
    server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_EQ(error,
              "Server::Shutdown: called in a handler of this server, which "
              "would wait for itself; do it in another task");
    EXPECT_TRUE(server.IsServing());
  });
}

TEST_F(ServerTest, CloseClientsFlushesAndAbortClientsDoesNot) {
  RunNet([]() -> Co<void> {
    std::vector<StreamWriter> writers;
    auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
      writers.push_back(writer);
      co_return;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    Peer one = ConnectTo(server.Port());
    co_await Eventually([&] { return writers.size() == 1; });
    writers[0].WriteSoon("tail");
    server.CloseClients();
    EXPECT_EQ(one.ReceiveAll(), "tail");
    EXPECT_EQ(server.Connections(), 0u);
    Peer two = ConnectTo(server.Port());
    co_await Eventually([&] { return writers.size() == 2; });
    writers[1].WriteSoon(std::string(64 << 20, 'x'));
    server.AbortClients();
    EXPECT_EQ(server.Connections(), 0u);
    EXPECT_LT(two.ReceiveAll().size(), size_t{64} << 20);
  });
}

TEST_F(ServerTest, RunEndsWithConnectionsOpen) {
  // Nothing leaks and nothing is reported when the loop goes.
  coil_testing::Peer peer;
  RunNet([&]() -> Co<void> {
    static Server server;
    server = co_await StartServer(Forever, "127.0.0.1", 0);
    peer = ConnectTo(server.Port());
    co_await Eventually([] { return server.Connections() == 1; });
  });
  EXPECT_EQ(peer.ReceiveAll(), "");
}

TEST_F(ServerTest, ATaskNamesWhereTheServerWasStarted) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Forever, "127.0.0.1", 0);
    Peer peer = ConnectTo(server.Port());
    co_await Eventually([&] { return server.Connections() == 1; });
    co_await Turns();
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("created at server_test.cc"), std::string::npos)
        << dump;
  });
}

TEST_F(ServerTest, ThousandConnectionsAtOnce) {
  RunNet([]() -> Co<void> {
    constexpr int kConnections = 1000;
    Server server = co_await StartServer(EchoLines, "127.0.0.1", 0,
                                         ServerOptions().Backlog(1024));
    int answered = 0;
    std::vector<Task<void>> clients;
    for (int i = 0; i < kConnections; ++i) {
      clients.push_back(CreateTask([&, i]() -> Co<void> {
        auto [reader, writer] =
            co_await OpenConnection("127.0.0.1", server.Port());
        const std::string line = std::to_string(i) + "\n";
        for (int round = 0; round < 3; ++round) {
          co_await writer.Write(line);
          if (co_await reader.ReadLine() == line) ++answered;
        }
        co_await writer.Close();
      }));
    }
    for (const Task<void>& client : clients) co_await client;
    EXPECT_EQ(answered, 3 * kConnections);
    co_await server.Shutdown(absl::Seconds(10));
    EXPECT_EQ(server.Connections(), 0u);
  });
}

TEST_F(ServerTest, AReportMayEndTheServer) {
  SocketShim shim;
  shim.table().accept4 = [](int, sockaddr*, socklen_t*, int) {
    errno = EMFILE;
    return -1;
  };
  for (const bool drop : {false, true}) {
    SCOPED_TRACE(drop);
    RunNet([&]() -> Co<void> {
      std::optional<Server> server(
          co_await StartServer(Forever, "127.0.0.1", 0));
      int reports = 0;
      EventLoop::Current().SetExceptionHandler([&](const ExceptionContext&) {
        ++reports;
        if (drop) {
          server.reset();
        } else {
          server->Close();
        }
      });
      Peer peer = ConnectTo(server->Port());
      EXPECT_TRUE(co_await Eventually([&] { return reports > 0; }));
      co_await Turns();
      EXPECT_EQ(reports, 1);
    });
  }
}

TEST_F(ServerTest, AReportOfAConnectionMayDropTheServer) {
  // What is accepted cannot be watched.
  static int added = 0;
  added = 0;
  coil_testing::SystemShim shim;
  shim.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    if (op == EPOLL_CTL_ADD && ++added > 2) {
      errno = ENOSPC;
      return -1;
    }
    return ::epoll_ctl(epfd, op, fd, event);
  };
  RunNet([]() -> Co<void> {
    std::optional<Server> server(co_await StartServer(Forever, "127.0.0.1", 0));
    int reports = 0;
    EventLoop::Current().SetExceptionHandler([&](const ExceptionContext&) {
      ++reports;
      server.reset();
    });
    Peer first = ConnectTo(server->Port());
    Peer second = ConnectTo(server->Port());
    EXPECT_TRUE(co_await Eventually([&] { return reports > 0; }));
    co_await Turns();
    EXPECT_EQ(reports, 1);
  });
}

TEST_F(ServerTest, AKeyboardInterruptInAHandlerLeavesTheLoop) {
  auto interrupt = [](StreamReader, StreamWriter) -> Co<void> {
    co_await Yield();
    throw KeyboardInterrupt();
  };
  auto serve = [&]() -> Co<void> {
    Server server = co_await StartServer(interrupt, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await reader.ReadAll();
    co_await Turns();
    ADD_FAILURE() << "the main task goes on";
  };
  EXPECT_THROW(RunNet(serve), KeyboardInterrupt);
}

TEST_F(ServerTest, IsClosedIfItCannotListenEverywhere) {
  static int listens = 0;
  listens = 0;
  SocketShim shim;
  shim.table().listen = [](int fd, int backlog) {
    if (++listens == 2) {
      errno = EADDRINUSE;
      return -1;
    }
    return ::listen(fd, backlog);
  };
  RunNet([]() -> Co<void> {
    const std::vector<std::string> hosts = {"127.0.0.1", "127.0.0.2"};
    Server server = co_await StartServer(Forever, hosts, 0,
                                         ServerOptions().StartServing(false));
    EXPECT_EQ(server.Sockets().size(), 2u);
    EXPECT_THROW(server.StartServing(), OsError);
    EXPECT_FALSE(server.IsServing());
    EXPECT_TRUE(server.Sockets().empty());
    EXPECT_THROW(ConnectTo(server.Port()), OsError);
  });
}

TEST_F(ServerTest, AnIpv6AddressThatIsNotHereIsLeftOut) {
  RunNet([]() -> Co<void> {
    std::vector<std::string> hosts = {"127.0.0.1", "2001:db8::1"};
    Server server = co_await StartServer(Forever, hosts, 0);
    EXPECT_EQ(server.Sockets().size(), 1u);
    hosts = {"2001:db8::1"};
    EXPECT_EQ(co_await ErrorOf(StartServer(Forever, hosts, 0)),
              "bind to [2001:db8::1]:0: Cannot assign requested address");
  });
}

TEST_F(ServerTest, EveryConnectionSendsWithoutDelay) {
  RunNet([]() -> Co<void> {
    std::vector<Socket> sockets;
    sockets.emplace_back(AF_INET, SOCK_STREAM);
    sockets[0].Bind(Address::Parse("127.0.0.1:0"));
    int no_delay = 0;
    auto handler = [&](StreamReader, StreamWriter writer) -> Co<void> {
      no_delay = writer.Socket().GetOption(IPPROTO_TCP, TCP_NODELAY);
      co_return;
    };
    Server server = co_await StartServer(handler, std::move(sockets));
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    EXPECT_EQ(co_await reader.ReadAll(), "");
    EXPECT_EQ(no_delay, 1);
    EXPECT_EQ(writer.Socket().GetOption(IPPROTO_TCP, TCP_NODELAY), 1);
  });
}

}  // namespace
}  // namespace coil::net
