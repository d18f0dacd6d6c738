// Partial calls, resets, closes under a waiter, exhaustion; a test is named
// after its row in the catalogue of failures.

#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/streams.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::ConnectTo;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::FillUp;
using coil_testing::LevelTriggered;
using coil_testing::NetTest;
using coil_testing::Peer;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::ShrinkBuffers;
using coil_testing::SocketShim;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

// ---- T5: idle spin

class ReliabilityT5 : public NetTest {};

TEST_F(ReliabilityT5, ParkedConnectionsDoNotSpin) {
  RunNet([]() -> Co<void> {
    std::vector<std::unique_ptr<Connection>> parked;
    for (int i = 0; i < 40; ++i) {
      parked.push_back(std::make_unique<Connection>());
      Connection& c = *parked.back();
      if (i % 4 == 0) c.peer.ShutdownWrite();
      if (i % 4 == 1) c.peer.Reset();
      if (i % 4 == 2) c.peer.Close();
      if (i % 4 == 3) c.peer.Send("nobody reads this");
      if (i % 8 >= 4) c.writer.WriteEof();
    }
    co_await Sleep(absl::Milliseconds(20));
    const uint64_t before = EventLoop::Current().Iterations();
    co_await Sleep(absl::Milliseconds(200));
    EXPECT_LE(EventLoop::Current().Iterations() - before, 10u);
  });
}

// ---- T13, T14: cancelled exchanges

class ReliabilityT13 : public NetTest {};

TEST_F(ReliabilityT13, ACancelledRequestDoesNotMixAnswers) {
  // Each request is cancelled at a random point; the connection is thrown away
  // then, as one must, and the others keep their answers.
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  RunNet([seed]() -> Co<void> {
    std::mt19937 random(seed);
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      while (std::optional<std::string> line = co_await reader.Next()) {
        for (uint32_t i = random() % 4; i > 0; --i) co_await Yield();
        co_await writer.Write(*line);
      }
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    std::optional<StreamPair> connection;
    int answered = 0;
    for (int id = 0; id < 300; ++id) {
      if (!connection.has_value()) {
        StreamPair fresh = co_await OpenConnection("127.0.0.1", server.Port());
        connection.emplace(std::move(fresh));
      }
      const std::string request = absl::StrCat("request ", id, "\n");
      Task<std::string> exchange = CreateTask([&]() -> Co<std::string> {
        co_await connection->writer.Write(request);
        co_return co_await connection->reader.ReadLine();
      });
      if (random() % 3 == 0) {
        for (uint32_t i = random() % 6; i > 0; --i) co_await Yield();
        exchange.Cancel();
      }
      co_await Settle(exchange);
      if (exchange.Cancelled()) {
        connection->writer.Abort();
        connection.reset();
        continue;
      }
      EXPECT_EQ(exchange.Result(), request);
      ++answered;
    }
    EXPECT_GT(answered, 100);
  });
}

class ReliabilityT14 : public NetTest {};

TEST_F(ReliabilityT14, ThePeerSeesAPrefixOfWholeMessages) {
  // One byte for each send, a third of them refused, and a cancel after each
  // number of turns.
  static std::mt19937 random;
  LevelTriggered level;
  SocketShim shim;
  shim.table().send = [](int fd, const void* buffer, size_t size, int flags) {
    if (random() % 3 == 0) {
      errno = EAGAIN;
      return ssize_t{-1};
    }
    return ::send(fd, buffer, std::min<size_t>(size, 1), flags);
  };
  for (int cancel_after = 0; cancel_after < 60; ++cancel_after) {
    SCOPED_TRACE(cancel_after);
    random.seed(static_cast<uint32_t>(cancel_after));
    RunNet([cancel_after]() -> Co<void> {
      Connection c{UnixEnds()};
      const std::vector<std::string> messages = {"<first>", "<second>",
                                                 "<third>"};
      Task<void> task = CreateTask([&]() -> Co<void> {
        for (const std::string& message : messages) {
          co_await c.writer.Write(message);
        }
      });
      co_await Turns(cancel_after);
      task.Cancel();
      co_await Settle(task);
      co_await c.writer.Write("<last>");
      co_await c.writer.Close();
      const std::string received = c.peer.ReceiveAll();
      bool whole = false;
      std::string prefix;
      for (size_t n = 0; n <= messages.size(); ++n) {
        whole = whole || received == prefix + "<last>";
        if (n < messages.size()) prefix += messages[n];
      }
      EXPECT_TRUE(whole) << received;
    });
  }
}

// ---- T20: closed while awaited

class ReliabilityT20 : public NetTest {};

TEST_F(ReliabilityT20, WhoeverWaitsGetsAnError) {
  RunNet([]() -> Co<void> {
    for (int round = 0; round < 50; ++round) {
      Connection c{UnixEnds()};
      ShrinkBuffers(c.writer.Socket().Descriptor(), c.peer.fd());
      FillUp(c.writer);
      Task<std::string> read = CreateTask(c.reader.ReadLine());
      Task<void> write = CreateTask(c.writer.Write("never"));
      co_await Turns();
      c.writer.Abort();
      EXPECT_NE((co_await ErrorOf(read)).find("connection abort"),
                std::string::npos);
      EXPECT_NE((co_await ErrorOf(write)).find("connection abort"),
                std::string::npos);
    }
  });
}

TEST_F(ReliabilityT20, ClosedInEachTurnOfAnExchange) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    for (int turns = 0; turns < 20; ++turns) {
      for (bool abort : {false, true}) {
        auto [reader, writer] =
            co_await OpenConnection("127.0.0.1", server.Port());
        Task<void> exchange =
            CreateTask([reader = reader, writer = writer]() -> Co<void> {
              for (;;) {
                co_await writer.Write("line\n");
                co_await reader.ReadLine();
              }
            });
        co_await Turns(turns);
        if (abort) {
          writer.Abort();
        } else {
          co_await writer.Close();
        }
        EXPECT_NE(co_await ErrorOf(exchange), "");
      }
    }
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(ReliabilityT20, ANumberThatIsUsedAgainHearsNothingOfTheOldOne) {
  // T18: closed and opened again within one batch of events.
  RunNet([]() -> Co<void> {
    for (int round = 0; round < 100; ++round) {
      std::vector<std::unique_ptr<Connection>> old;
      for (int i = 0; i < 8; ++i) {
        old.push_back(std::make_unique<Connection>(UnixEnds()));
        old.back()->peer.Send("for the old one");
      }
      old.clear();
      std::vector<std::unique_ptr<Connection>> fresh;
      std::vector<Task<std::string>> reads;
      for (int i = 0; i < 8; ++i) {
        fresh.push_back(std::make_unique<Connection>(UnixEnds()));
        reads.push_back(CreateTask(fresh.back()->reader.Read(100)));
      }
      co_await Turns();
      for (const auto& read : reads) EXPECT_FALSE(read.Done());
      for (auto& c : fresh) c->peer.Send("new");
      for (const auto& read : reads) EXPECT_EQ(co_await read, "new");
    }
  });
}

// ---- T24: out of descriptors

class ReliabilityT24 : public NetTest {};

TEST_F(ReliabilityT24, AcceptPausesForASecondAndResumes) {
  static bool exhausted = false;
  static int refused = 0;
  exhausted = true;
  refused = 0;
  SocketShim shim;
  shim.table().accept4 = [](int fd, sockaddr* address, socklen_t* size,
                            int flags) {
    if (!exhausted) return ::accept4(fd, address, size, flags);
    ++refused;
    errno = EMFILE;
    return -1;
  };
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        Reports reports;
        Server server = co_await StartServer(Echo, "127.0.0.1", 0);
        const std::string address = server.Sockets()[0].SockName().ToString();
        Peer peer = ConnectTo(server.Port());
        peer.Send("patience");
        co_await Sleep(absl::Seconds(10));
        EXPECT_GE(refused, 9);
        EXPECT_LE(refused, 11);
        EXPECT_EQ(reports.Messages().size(), static_cast<size_t>(refused));
        EXPECT_EQ(reports.Messages().at(0),
                  "a server cannot accept connections; it tries again in 1s: "
                  "coil::OsError: accept on " +
                      address + ": Too many open files");
        exhausted = false;
        co_await Sleep(absl::Seconds(1));
        EXPECT_TRUE(
            co_await Eventually([&] { return server.Connections() == 1; }));
        EXPECT_EQ(peer.ReceiveExactly(8), "patience");
        peer.Close();
      },
      {.simulation = &simulation});
}

TEST_F(ReliabilityT24, APausedServerCloses) {
  SocketShim shim;
  shim.table().accept4 = [](int, sockaddr*, socklen_t*, int) {
    errno = ENFILE;
    return -1;
  };
  RunNet([]() -> Co<void> {
    Reports reports;
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    Peer peer = ConnectTo(server.Port());
    co_await Eventually([&] { return !reports.Messages().empty(); });
    server.Close();
    co_await server.WaitClosed();
  });
}

// A process of clients: opens `count` connections at once, sends a byte on
// each, and ends with 0 when each was answered.
pid_t StartClients(int port, int count) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  std::vector<int> fds;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < count; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 ||
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) !=
            0 ||
        ::send(fd, "x", 1, MSG_NOSIGNAL) != 1) {
      ::_exit(1);
    }
    fds.push_back(fd);
  }
  for (int fd : fds) {
    char byte;
    if (::recv(fd, &byte, 1, 0) != 1) ::_exit(2);
    ::close(fd);
  }
  ::_exit(0);
}

TEST_F(ReliabilityT24, AllAreServedOnceDescriptorsAreFree) {
  constexpr int kClients = 200;
  static int refused = 0;
  refused = 0;
  SocketShim shim;
  shim.table().accept4 = [](int fd, sockaddr* address, socklen_t* size,
                            int flags) {
    const int result = ::accept4(fd, address, size, flags);
    if (result < 0 && errno == EMFILE) ++refused;
    return result;
  };
  // The listener before the clients, and the clients before the loop.
  std::vector<Socket> sockets;
  sockets.push_back(coil_testing::RawListener(kClients));
  const pid_t child = StartClients(sockets[0].SockName().Port(), kClients);
  ASSERT_GT(child, 0);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  RunNet([&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler([](const ExceptionContext&) {});
    rlimit tight = before;
    tight.rlim_cur = static_cast<rlim_t>(coil_testing::OpenDescriptors() + 20);
    ::setrlimit(RLIMIT_NOFILE, &tight);
    int served = 0;
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      const std::string byte = co_await reader.Read(1);
      // Slow enough for descriptors to run out.
      co_await Sleep(absl::Milliseconds(5));
      co_await writer.Write(byte);
      ++served;
    };
    Server server = co_await StartServer(
        handler, std::move(sockets),
        ServerOptions().Backlog(kClients).AcceptRetry(absl::Milliseconds(20)));
    EXPECT_TRUE(co_await Eventually([&] { return served == kClients; }));
    co_await server.Shutdown(absl::Seconds(5));
  });
  ::setrlimit(RLIMIT_NOFILE, &before);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, kClients);
}

TEST_F(ReliabilityT24, ConnectionsThatAreGoneAreSkipped) {
  static int calls = 0;
  calls = 0;
  SocketShim shim;
  shim.table().accept4 = [](int fd, sockaddr* address, socklen_t* size,
                            int flags) {
    constexpr int kGone[] = {ECONNABORTED, EPROTO, EHOSTUNREACH, EINTR};
    if (calls < 4) {
      errno = kGone[calls++];
      return -1;
    }
    return ::accept4(fd, address, size, flags);
  };
  RunNet([]() -> Co<void> {
    Reports reports;
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
    EXPECT_EQ(calls, 4);
    EXPECT_TRUE(reports.Messages().empty());
  });
}

// ---- T29, T31, T32, T33: load

class ReliabilityT29 : public NetTest {};

TEST_F(ReliabilityT29, ChurnLeavesNothing) {
  RunNet([]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler([](const ExceptionContext&) {});
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    const int before = coil_testing::OpenDescriptors();
    for (int i = 0; i < 1000; ++i) {
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port());
      co_await writer.Write("x");
      if (i % 10 == 0) {
        const linger at_once = {.l_onoff = 1, .l_linger = 0};
        ::setsockopt(writer.Socket().Descriptor(), SOL_SOCKET, SO_LINGER,
                     &at_once, sizeof(at_once));
      } else if (i % 10 != 1) {
        EXPECT_EQ(co_await reader.Read(1), "x");
      }
    }
    EXPECT_TRUE(co_await Eventually([&] { return server.Connections() == 0; }));
    EXPECT_EQ(coil_testing::OpenDescriptors(), before);
  });
}

class ReliabilityT31 : public NetTest {};

TEST_F(ReliabilityT31, APeerThatNeverReadsCostsABoundedAmount) {
  RunNet([]() -> Co<void> {
    std::vector<std::unique_ptr<Connection>> connections;
    std::vector<Task<void>> writers;
    for (int i = 0; i < 50; ++i) {
      connections.push_back(std::make_unique<Connection>(UnixEnds()));
      // Half of them await Write(), half call WriteSoon() and Drain().
      writers.push_back(
          CreateTask([i, writer = connections.back()->writer]() -> Co<void> {
            const std::string chunk(10000, 'x');
            for (;;) {
              if (i % 2 == 0) {
                co_await writer.Write(chunk);
              } else {
                writer.WriteSoon(chunk);
                co_await writer.Drain();
              }
            }
          }));
    }
    co_await Turns(100);
    for (int i = 0; i < 50; ++i) {
      EXPECT_FALSE(writers[i].Done());
      EXPECT_LE(connections[i]->writer.WriteBufferSize(),
                i % 2 == 0 ? size_t{0} : size_t{65536 + 10000});
      writers[i].Cancel();
    }
  });
}

class ReliabilityT32 : public NetTest {};

TEST_F(ReliabilityT32, NothingIsBufferedWhileNobodyReads) {
  RunNet([]() -> Co<void> {
    Connection c;
    std::thread sender([fd = c.peer.fd()] {
      const std::string block(65536, 'x');
      while (::send(fd, block.data(), block.size(), MSG_NOSIGNAL) > 0) {
      }
    });
    co_await Sleep(absl::Milliseconds(50));
    EXPECT_EQ(c.reader.Buffered().size(), 0u);
    co_await c.reader.ReadExactly(100);
    co_await Sleep(absl::Milliseconds(20));
    EXPECT_LE(c.reader.Buffered().size(), 2 * c.reader.Limit());
    const std::string error = co_await ErrorOf(c.reader.ReadUntil("\n"));
    EXPECT_NE(error.find("the limit is 65536"), std::string::npos) << error;
    EXPECT_LE(c.reader.Buffered().size(), 2 * c.reader.Limit());
    c.writer.Abort();
    sender.join();
  });
}

class ReliabilityT33 : public NetTest {};

TEST_F(ReliabilityT33, AFirehoseGivesWay) {
  // The system always has more: only the stream itself can end its turn.
  static int receives = 0;
  receives = 0;
  SocketShim shim;
  shim.table().recv = [](int, void*, size_t size, int) {
    ++receives;
    return static_cast<ssize_t>(size);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("x");  // the first edge
    Task<void> firehose = CreateTask([reader = c.reader]() -> Co<void> {
      for (;;) {
        const size_t n = (co_await reader.Peek()).size();
        reader.Consume(n);
      }
    });
    co_await Turns(10);
    for (int turn = 0; turn < 100; ++turn) {
      const int before = receives;
      co_await Yield();
      EXPECT_GT(receives, before);
      EXPECT_LE(receives - before, 20);
    }
    firehose.Cancel();
  });
}

TEST_F(ReliabilityT33, AWriterWhosePeerIsFastGivesWay) {
  static int sends = 0;
  sends = 0;
  SocketShim shim;
  shim.table().send = [](int, const void*, size_t size, int) {
    ++sends;
    return static_cast<ssize_t>(size);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    Task<void> writer = CreateTask([writer = c.writer]() -> Co<void> {
      for (;;) co_await writer.Write("x");
    });
    co_await Turns(10);
    for (int turn = 0; turn < 100; ++turn) {
      const int before = sends;
      co_await Yield();
      EXPECT_GT(sends, before);
      EXPECT_LE(sends - before, 20);
    }
    writer.Cancel();
  });
}

// ---- T43: SIGPIPE

class ReliabilityT43 : public NetTest {};

// How writing to a peer that is gone fails, which may take a write or two.
template <class Ends>
Co<std::string> ErrorOfWritingToNobody(bool several) {
  Connection c{Ends()};
  c.peer.Close();
  const std::vector<std::string_view> pieces = {"a", "b"};
  std::string error;
  for (int i = 0; i < 3 && error.empty(); ++i) {
    if (several) {
      error = co_await ErrorOf(c.writer.Write(pieces));
    } else {
      error = co_await ErrorOf(c.writer.Write("x"));
    }
    co_await Turns();
  }
  c.writer.WriteSoon("x");
  co_return error;
}

TEST_F(ReliabilityT43, WritingToAClosedPeerIsAnErrorAndNoSignal) {
  const sighandler_t previous = ::signal(SIGPIPE, SIG_DFL);
  RunNet([]() -> Co<void> {
    for (const bool several : {false, true}) {
      EXPECT_EQ(co_await ErrorOfWritingToNobody<UnixEnds>(several),
                "send to unix:: Broken pipe");
      const std::string tcp = co_await ErrorOfWritingToNobody<TcpEnds>(several);
      EXPECT_EQ(tcp.find("send to 127.0.0.1:"), 0u) << tcp;
      EXPECT_NE(tcp.find(": Broken pipe"), std::string::npos) << tcp;
    }
  });
  ::signal(SIGPIPE, previous);
}

// ---- T46: inheritance

class ReliabilityT46 : public NetTest {};

TEST_F(ReliabilityT46, NoSocketIsInherited) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    for (int fd :
         {server.Sockets()[0].Descriptor(), writer.Socket().Descriptor()}) {
      EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
  });
}

// ---- T48: partial calls

class ReliabilityT48 : public NetTest {};

TEST_F(ReliabilityT48, OneByteAtATimeAndRefusalsChangeNothing) {
  static std::mt19937 random;
  LevelTriggered level;
  SocketShim shim;
  shim.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    if (random() % 10 < 3) {
      errno = random() % 2 == 0 ? EAGAIN : EINTR;
      return ssize_t{-1};
    }
    return ::recv(fd, buffer, std::min<size_t>(size, 1 + random() % 3), flags);
  };
  shim.table().send = [](int fd, const void* buffer, size_t size, int flags) {
    if (random() % 10 < 3) {
      errno = random() % 2 == 0 ? EAGAIN : EINTR;
      return ssize_t{-1};
    }
    return ::send(fd, buffer, std::min<size_t>(size, 1 + random() % 3), flags);
  };
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    random.seed(seed);
    RunNet([]() -> Co<void> {
      Server server = co_await StartServer(Echo, "127.0.0.1", 0);
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port());
      std::string data;
      for (int i = 0; i < 2000; ++i) absl::StrAppend(&data, "line ", i, "\n");
      Task<void> send = CreateTask([&, writer = writer]() -> Co<void> {
        co_await writer.Write(data.substr(0, 5000));
        writer.WriteSoon(data.substr(5000, 5000));
        const std::vector<std::string_view> pieces = {
            std::string_view(data).substr(10000, 1),
            std::string_view(data).substr(10001)};
        co_await writer.Write(pieces);
        writer.WriteEof();
      });
      std::string received;
      for (int i = 0; i < 700; ++i) received += co_await reader.ReadLine();
      received += co_await reader.ReadExactly(1000);
      received += co_await reader.ReadUntil("99\n", "77\n");
      received += co_await reader.ReadAll();
      co_await send;
      EXPECT_TRUE(received == data);
    });
  }
}

// ---- T49: reset at any moment

class ReliabilityT49 : public NetTest {};

TEST_F(ReliabilityT49, ResetAfterEachByteOfARequest) {
  RunNet([]() -> Co<void> {
    Reports reports;
    int whole = 0;
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      const std::string head = co_await reader.ReadUntil("\r\n\r\n");
      const std::string body = co_await reader.ReadExactly(10);
      co_await writer.Write(head + body);
      ++whole;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    const std::string request = "GET / HTTP/1.1\r\n\r\n0123456789";
    for (size_t n = 0; n <= request.size(); ++n) {
      Peer peer = ConnectTo(server.Port());
      peer.Send(std::string_view(request).substr(0, n));
      co_await Turns(static_cast<int>(n % 4));
      peer.Reset();
      EXPECT_TRUE(
          co_await Eventually([&] { return server.Connections() == 0; }));
    }
    // Each ended with an error or, at the very end, an answer.
    EXPECT_LE(whole, 1);
    EXPECT_GE(reports.Messages().size() + static_cast<size_t>(whole),
              request.size());
    for (const std::string& message : reports.Messages()) {
      EXPECT_TRUE(message.find("reset by peer") != std::string::npos ||
                  message.find("Broken pipe") != std::string::npos ||
                  message.find("connection ended") != std::string::npos)
          << message;
    }
  });
}

TEST_F(ReliabilityT49, ResetWhileThisEndSends) {
  RunNet([]() -> Co<void> {
    const std::string data(4 << 20, 'x');
    for (size_t received = 0; received < 200000; received += 20000) {
      Connection c;
      Task<void> write = CreateTask(c.writer.Write(data));
      co_await Turns();
      c.peer.ReceiveExactly(received);
      co_await Turns(2);
      c.peer.Reset();
      const std::string error = co_await ErrorOf(write);
      EXPECT_TRUE(error.find("reset by peer") != std::string::npos ||
                  error.find("Broken pipe") != std::string::npos)
          << error;
    }
  });
}

// ---- T50: half close

class ReliabilityT50 : public NetTest {};

TEST_F(ReliabilityT50, EachDirectionEndsByItself) {
  RunNet([]() -> Co<void> {
    // A server that answers only once the request has ended.
    auto handler = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      const std::string request = co_await reader.ReadAll();
      co_await writer.Write(absl::StrCat(request.size(), " bytes"));
      co_await writer.Close();
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    // Whoever reads meanwhile sees nothing yet.
    Task<std::string> answer = CreateTask(reader.ReadAll());
    co_await writer.Write(std::string(1000000, 'x'));
    co_await Turns(20);
    EXPECT_FALSE(answer.Done());
    writer.WriteEof();
    EXPECT_EQ(co_await answer, "1000000 bytes");
    co_await writer.Close();
  });
}

}  // namespace
}  // namespace coil::net
