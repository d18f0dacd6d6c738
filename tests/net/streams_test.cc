#include "coil/net/streams.h"

#include <netdb.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/thread_pool.h"
#include "coil/net/internal/socket_stream.h"
#include "coil/net/resolver.h"
#include "coil/task/errors.h"
#include "coil/task/thread_future.h"
#include "coil/task/to_thread.h"
#include "coil/timers/timeout.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NetTest;
using coil_testing::RawListener;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

class StreamsTest : public NetTest {};

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

TEST_F(StreamsTest, EchoThroughBothEnds) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    for (size_t size : {1, 100, 10000, 1000000}) {
      const std::string message(size, 'm');
      Task<void> write = CreateTask([&, writer = writer]() -> Co<void> {
        co_await writer.Write(message);
      });
      EXPECT_TRUE(co_await reader.ReadExactly(size) == message);
      co_await write;
    }
    co_await writer.Close();
  });
}

TEST_F(StreamsTest, ANameIsResolved) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "localhost", 0,
                                         ServerOptions().Family(AF_INET));
    auto [reader, writer] = co_await OpenConnection(
        "localhost", server.Port(), ConnectOptions().Family(AF_INET));
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
  });
}

TEST_F(StreamsTest, ANumericHostMakesNoLookup) {
  SocketShim shim;
  shim.table().getaddrinfo = [](const char*, const char*, const addrinfo*,
                                addrinfo**) {
    ADD_FAILURE();
    return EAI_FAIL;
  };
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
  });
}

TEST_F(StreamsTest, ANameThatIsNotThereIsAnError) {
  SocketShim shim;
  shim.table().getaddrinfo = [](const char*, const char*, const addrinfo*,
                                addrinfo**) { return EAI_NONAME; };
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(OpenConnection("no.such.host", 80)),
              "resolve no.such.host: Name or service not known");
    EXPECT_EQ(co_await ErrorOf(StartServer(Echo, "no.such.host", 0)),
              "resolve no.such.host: Name or service not known");
  });
}

TEST_F(StreamsTest, WhatCannotBeAHostNamesTheRule) {
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(OpenConnection("", 80)),
              "net: the name of the host is empty");
    EXPECT_EQ(co_await ErrorOf(OpenConnection(std::string("a\0b", 3), 80)),
              "net: the name of a host holds a zero byte");
    EXPECT_EQ(co_await ErrorOf(OpenConnection(std::string(300, 'x'), 80)),
              "net: the name of a host has at most 253 bytes, not 300");
    EXPECT_EQ(co_await ErrorOf(OpenConnection("localhost", -1)),
              "Address: a port is from 0 to 65535, not -1");
    EXPECT_EQ(co_await ErrorOf(OpenConnection(Address())),
              "OpenConnection: the address is empty");
    EXPECT_EQ(co_await ErrorOf(
                  OpenConnection("127.0.0.1", 80, ConnectOptions().Limit(0))),
              "net: the limit of a stream is at least 1");
    EXPECT_EQ(co_await ErrorOf(OpenConnection(
                  "127.0.0.1", 80, ConnectOptions().Family(AF_INET6))),
              "resolve 127.0.0.1: Address family not supported by protocol");
  });
}

// What getaddrinfo() waits for in these tests.
std::atomic<bool> lookup_may_end;
std::atomic<bool> lookup_began;

int SlowLookup(const char*, const char*, const addrinfo*, addrinfo**) {
  lookup_began = true;
  lookup_may_end.wait(false);
  return EAI_NONAME;
}

TEST_F(StreamsTest, ACancelledLookupLetsGoAtOnce) {
  SocketShim shim;
  shim.table().getaddrinfo = SlowLookup;
  lookup_may_end = false;
  lookup_began = false;
  RunNet([]() -> Co<void> {
    Task<StreamPair> open = CreateTask(OpenConnection("slow.host", 80));
    EXPECT_TRUE(co_await Eventually([] { return lookup_began.load(); }));
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("the address of slow.host"), std::string::npos) << dump;
    open.Cancel();
    co_await Settle(open);
    EXPECT_TRUE(open.Cancelled());
  });
  // The loop has ended and the thread has not, which uses the shim.
  const int before = coil_testing::OpenDescriptors();
  lookup_may_end = true;
  lookup_may_end.notify_all();
  while (coil_testing::OpenDescriptors() == before) std::this_thread::yield();
}

Co<void> ConnectByName(int port) {
  auto [reader, writer] = co_await OpenConnection(
      "localhost", port, ConnectOptions().Family(AF_INET));
  co_await writer.Close();
}

TEST_F(StreamsTest, ALookupNeedsNoThreadOfTheDefaultExecutor) {
  ThreadPool one(1);
  RunNet([&]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    EventLoop& loop = EventLoop::Current();
    loop.SetDefaultExecutor(&one);
    const int port = server.Port();
    auto job = [&loop, port] {
      RunCoroutineThreadSafe(ConnectByName(port), loop).Get();
    };
    co_await ToThread(job);
  });
}

TEST_F(StreamsTest, ALookupHoldsVirtualTime) {
  // A thread's work is not overtaken by timers.
  SocketShim shim;
  shim.table().getaddrinfo = SlowLookup;
  lookup_may_end = false;
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        Task<std::string> error =
            CreateTask(ErrorOf(OpenConnection("slow.host", 80)));
        co_await Turns();
        Task<void> later = CreateTask(Sleep(absl::Seconds(1)));
        std::thread release([] {
          lookup_may_end = true;
          lookup_may_end.notify_all();
        });
        EXPECT_NE(co_await error, "");
        EXPECT_FALSE(later.Done());
        release.join();
      },
      {.simulation = &simulation});
}

TEST_F(StreamsTest, ARefusedConnectionNamesThePeer) {
  RunNet([]() -> Co<void> {
    int port = 0;
    {
      Socket listener = RawListener();
      port = listener.SockName().Port();
    }
    const std::string peer = "127.0.0.1:" + std::to_string(port);
    bool refused = false;
    std::string text;
    try {
      co_await OpenConnection("127.0.0.1", port);
    } catch (const OsError& error) {
      refused = error.code() == std::errc::connection_refused;
      text = error.what();
    }
    EXPECT_TRUE(refused);
    EXPECT_EQ(text, "connect to " + peer + ": Connection refused");
  });
}

TEST_F(StreamsTest, AConnectThatFailsBeforeAnybodyWaitsIsAnError) {
  SocketShim shim;
  shim.table().connect = [](int, const sockaddr*, socklen_t) {
    errno = EINPROGRESS;
    return -1;
  };
  static int asked = 0;
  asked = 0;
  shim.table().getsockopt = [](int, int, int, void* value, socklen_t*) {
    // The system tells it once.
    *static_cast<int*>(value) = asked++ == 0 ? ECONNREFUSED : 0;
    return 0;
  };
  RunNet([]() -> Co<void> {
    const Address address = Address::Parse("127.0.0.1:9");
    Socket socket(AF_INET, SOCK_STREAM);
    EXPECT_FALSE(socket.StartConnect(address));
    internal::SocketStream stream(std::move(socket), address,
                                  /*connecting=*/true);
    EXPECT_TRUE(co_await Eventually([&] { return !stream.connecting(); }));
    EXPECT_EQ(co_await internal::ConnectAwaiter(stream), ECONNREFUSED);
  });
}

TEST_F(StreamsTest, OpenUnixConnectionTakesAPath) {
  RunNet([]() -> Co<void> {
    const std::string path = "@coil-streams-test-" + std::to_string(::getpid());
    EXPECT_EQ(co_await ErrorOf(OpenUnixConnection(path)),
              "connect to unix:" + path + ": Connection refused");
    std::vector<Socket> sockets;
    sockets.emplace_back(AF_UNIX, SOCK_STREAM);
    sockets[0].Bind(Address::Unix(path));
    Server server = co_await StartServer(Echo, std::move(sockets));
    auto [reader, writer] = co_await OpenUnixConnection(path);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.Read(1), "x");
    EXPECT_EQ(writer.PeerName().Family(), AF_UNIX);
    EXPECT_NE(co_await ErrorOf(OpenUnixConnection("")), "");
    EXPECT_EQ(
        co_await ErrorOf(OpenUnixConnection(path, ConnectOptions().Limit(0))),
        "net: the limit of a stream is at least 1");
  });
}

TEST_F(StreamsTest, TheNextAddressIsTriedWhenOneFails) {
  SocketShim shim;
  // "localhost" is 127.0.0.7 and 127.0.0.1, and only the latter is served.
  shim.table().getaddrinfo = [](const char*, const char*, const addrinfo* hints,
                                addrinfo** result) {
    addrinfo* first = nullptr;
    addrinfo* second = nullptr;
    ::getaddrinfo("127.0.0.7", nullptr, hints, &first);
    ::getaddrinfo("127.0.0.1", nullptr, hints, &second);
    addrinfo* last = first;
    while (last->ai_next != nullptr) last = last->ai_next;
    last->ai_next = second;
    *result = first;
    return 0;
  };
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("two", server.Port());
    EXPECT_EQ(writer.PeerName().Host(), "127.0.0.1");
    const int port = server.Port();
    server.Close();
    const std::string number = std::to_string(port);
    EXPECT_EQ(co_await ErrorOf(OpenConnection("two", port)),
              "connect to two:" + number + " (127.0.0.7:" + number +
                  ": Connection refused; 127.0.0.1:" + number +
                  ": Connection refused): Connection refused");
    size_t errors = 0;
    try {
      co_await OpenConnection("two", port, ConnectOptions().AllErrors(true));
    } catch (const ExceptionGroup& group) {
      errors = group.Exceptions().size();
    }
    EXPECT_EQ(errors, 2u);
  });
}

TEST_F(StreamsTest, TheLocalAddressMayBeChosen) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection(
        "127.0.0.1", server.Port(),
        ConnectOptions().LocalAddress(Address::Parse("127.0.0.9:0")));
    EXPECT_EQ(writer.SockName().Host(), "127.0.0.9");
    EXPECT_NE(co_await ErrorOf(OpenConnection(
                  "127.0.0.1", server.Port(),
                  ConnectOptions().LocalAddress(Address::Parse("[::1]:0")))),
              "");
  });
}

TEST_F(StreamsTest, ACancelledConnectLeavesNothing) {
  RunNet([]() -> Co<void> {
    // A listener whose backlog is full answers nobody.
    Socket listener = RawListener(/*backlog=*/0);
    const int port = listener.SockName().Port();
    std::vector<Task<StreamPair>> waiting;
    for (int i = 0; i < 8; ++i) {
      waiting.push_back(CreateTask(OpenConnection("127.0.0.1", port)));
    }
    co_await Turns(20);
    const Task<StreamPair>& last = waiting.back();
    EXPECT_FALSE(last.Done());
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("connect to 127.0.0.1:" + std::to_string(port)),
              std::string::npos)
        << dump;
    last.Cancel();
    co_await Settle(last);
    EXPECT_TRUE(last.Cancelled());
    for (const auto& task : waiting) task.Cancel();
  });
}

TEST_F(StreamsTest, ATimeoutOfAConnect) {
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        Socket listener = RawListener(/*backlog=*/0);
        const int port = listener.SockName().Port();
        std::vector<StreamPair> accepted;
        bool timed_out = false;
        while (!timed_out) {
          try {
            accepted.push_back(co_await WithTimeout(
                absl::Seconds(5), OpenConnection("127.0.0.1", port)));
          } catch (const TimeoutError&) {
            timed_out = true;
          }
        }
      },
      {.simulation = &simulation});
}

TEST_F(StreamsTest, EachCallThatConnectsMayFail) {
  // Every call of OpenConnection() and StartServer() in turn, with an errno;
  // nothing leaks, whatever fails.
  static int fail_at = 0;
  static int calls = 0;
  static auto fails = [] {
    if (++calls != fail_at) return false;
    errno = ENOBUFS;
    return true;
  };
  SocketShim shim;
  shim.table().socket = [](int domain, int type, int protocol) {
    return fails() ? -1 : ::socket(domain, type, protocol);
  };
  shim.table().bind = [](int fd, const sockaddr* address, socklen_t size) {
    return fails() ? -1 : ::bind(fd, address, size);
  };
  shim.table().listen = [](int fd, int backlog) {
    return fails() ? -1 : ::listen(fd, backlog);
  };
  shim.table().connect = [](int fd, const sockaddr* address, socklen_t size) {
    return fails() ? -1 : ::connect(fd, address, size);
  };
  shim.table().setsockopt = [](int fd, int level, int name, const void* value,
                               socklen_t size) {
    // A connection without TCP_NODELAY is one all the same.
    return level != IPPROTO_TCP && fails()
               ? -1
               : ::setsockopt(fd, level, name, value, size);
  };
  bool succeeded = false;
  for (fail_at = 1; !succeeded; ++fail_at) {
    SCOPED_TRACE(fail_at);
    calls = 0;
    const int before = coil_testing::OpenDescriptors();
    RunNet([&]() -> Co<void> {
      std::string error;
      try {
        Server server = co_await StartServer(Echo, "127.0.0.1", 0);
        auto [reader, writer] =
            co_await OpenConnection("127.0.0.1", server.Port());
        co_await writer.Write("x");
        EXPECT_EQ(co_await reader.Read(1), "x");
        succeeded = true;
      } catch (const OsError& e) {
        error = e.what();
        EXPECT_EQ(e.Errno(), ENOBUFS);
      }
    });
    EXPECT_EQ(coil_testing::OpenDescriptors(), before);
  }
  EXPECT_GE(fail_at, 8);
}

TEST_F(StreamsTest, ReliabilityT23EpollRefusesAConnection) {
  static int fail_at = 0;
  static int calls = 0;
  coil_testing::SystemShim shim;
  shim.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    if (op == EPOLL_CTL_ADD && ++calls == fail_at) {
      errno = ENOSPC;
      return -1;
    }
    return ::epoll_ctl(epfd, op, fd, event);
  };
  // 1 wakes the loop, 2 listens, 3 connects, 4 is accepted.
  for (fail_at = 2; fail_at <= 4; ++fail_at) {
    SCOPED_TRACE(fail_at);
    calls = 0;
    RunNet([&]() -> Co<void> {
      coil_testing::Reports reports;
      std::string error;
      try {
        Server server = co_await StartServer(Echo, "127.0.0.1", 0);
        auto [reader, writer] =
            co_await OpenConnection("127.0.0.1", server.Port());
        EXPECT_EQ(co_await reader.ReadAll(), "");  // the server dropped it
        EXPECT_EQ(reports.Messages().size(), 1u);
        // and goes on
        auto [reader2, writer2] =
            co_await OpenConnection("127.0.0.1", server.Port());
        co_await writer2.Write("x");
        EXPECT_EQ(co_await reader2.Read(1), "x");
      } catch (const OsError& e) {
        error = e.what();
      }
      EXPECT_EQ(error.empty(), fail_at == 4) << error;
    });
  }
}

// ---- a stream of one's own

// Hands what is written back to the reader, by tries and completions.
class Mirror final : public ByteStream {
 public:
  explicit Mirror(bool* closed) : closed_(closed) {}
  ~Mirror() override { *closed_ = true; }

  IoResult TryRead(ReadRequest& request) noexcept override {
    if (data_.empty()) return IoResult::WouldBlock();
    const absl::Span<char> room = request.ReadBuffer();
    const size_t n = data_.copy(room.data(), room.size());
    data_.erase(0, n);
    return IoResult::Bytes(n);
  }
  void StartRead(ReadRequest& request) noexcept override {
    waiting_ = &request;
  }
  bool CancelRead() noexcept override {
    waiting_ = nullptr;
    return true;
  }
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override {
    size_t n = 0;
    for (const iovec& piece : pieces) {
      data_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
      n += piece.iov_len;
    }
    if (waiting_ != nullptr) {
      ReadRequest& request = *std::exchange(waiting_, nullptr);
      request.OnRead(TryRead(request));
    }
    return IoResult::Bytes(n);
  }
  void StartWrite(WriteRequest&) noexcept override {}
  bool CancelWrite() noexcept override { return true; }
  void ShutdownWrite() noexcept override {}
  bool CanShutdownWrite() const override { return false; }
  void Close(bool) noexcept override {}

 private:
  std::string data_;
  ReadRequest* waiting_ = nullptr;
  bool* closed_;
};

TEST_F(StreamsTest, AByteStreamOfTheUser) {
  bool closed = false;
  const SimulationOptions simulation;
  RunNet(
      [&]() -> Co<void> {
        auto [reader, writer] = MakeStreams(std::make_unique<Mirror>(&closed));
        Task<std::string> line = CreateTask(reader.ReadLine());
        co_await Turns();
        co_await writer.Write("hel");
        co_await writer.Write("lo\nrest");
        EXPECT_EQ(co_await line, "hello\n");
        EXPECT_EQ(co_await reader.Read(10), "rest");
        EXPECT_FALSE(writer.CanWriteEof());
        EXPECT_THROW(writer.WriteEof(), std::runtime_error);
        EXPECT_EQ(writer.PeerName().ToString(), "");
      },
      {.simulation = &simulation});
  EXPECT_TRUE(closed);
}

TEST_F(StreamsTest, MakeStreamsNamesItsRules) {
  RunNet([]() -> Co<void> {
    EXPECT_THROW(MakeStreams(nullptr), std::invalid_argument);
    bool closed = false;
    EXPECT_THROW(MakeStreams(std::make_unique<Mirror>(&closed), 0),
                 std::invalid_argument);
    EXPECT_TRUE(closed);
    co_return;
  });
  bool closed = false;
  EXPECT_THROW(MakeStreams(std::make_unique<Mirror>(&closed)),
               std::runtime_error);
}

TEST_F(StreamsTest, ASocketIsMadeNonBlockingAndClosesWithItsOwner) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  {
    Socket socket = Socket::FromDescriptor(fds[0]);
    EXPECT_EQ(::fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    EXPECT_NE(::fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    Socket moved = std::move(socket);
    EXPECT_FALSE(socket);
    EXPECT_EQ(moved.Descriptor(), fds[0]);
    moved = Socket::Adopt(fds[1]);
    EXPECT_EQ(::fcntl(fds[0], F_GETFD), -1);
    EXPECT_EQ(moved.Release(), fds[1]);
  }
  ::close(fds[1]);
  EXPECT_THROW(Socket::FromDescriptor(-1), OsError);
  EXPECT_THROW(Socket(12345, SOCK_STREAM), OsError);
  EXPECT_THROW(SocketRef(-1).GetOption(SOL_SOCKET, SO_TYPE), OsError);
  EXPECT_THROW(SocketRef(-1).SetOption(SOL_SOCKET, SO_KEEPALIVE, 1), OsError);
}

TEST_F(StreamsTest, ThingsThatCannotBeWatchedAreAnError) {
  RunNet([]() -> Co<void> {
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    EXPECT_THROW(MakeByteStream(Socket::Adopt(file)), OsError);
    EXPECT_EQ(::fcntl(file, F_GETFD), -1);  // closed all the same
    co_return;
  });
}

// A machine without /etc/hosts, as containers are.
TEST_F(StreamsTest, LocalhostNeedsNobodyWhoKnowsIt) {
  SocketShim shim;
  shim.table().getaddrinfo = [](const char* host, const char* service,
                                const addrinfo* hints, addrinfo** list) {
    if (host != nullptr) return EAI_NONAME;
    return ::getaddrinfo(host, service, hints, list);
  };
  RunNet([]() -> Co<void> {
    for (const char* host : {"localhost", "LOCALHOST.", "me.localhost"}) {
      const std::vector<Address> addresses =
          co_await DefaultResolver()->Resolve(
              ResolveQuery(host, 80).Family(AF_INET));
      EXPECT_EQ(addresses.size(), 1u);
      EXPECT_EQ(addresses[0].ToString(), "127.0.0.1:80");
    }
    EXPECT_NE(co_await ErrorOf(
                  DefaultResolver()->Resolve(ResolveQuery("notlocalhost"))),
              "");
  });
}

// The interface under the streams: who waits in it is told when it closes.
TEST_F(StreamsTest, AByteStreamThatClosesTellsThoseWhoWait) {
  struct Waits : ByteStream::ReadRequest, ByteStream::WriteRequest {
    absl::Span<char> ReadBuffer() noexcept override {
      return absl::MakeSpan(room);
    }
    void OnRead(IoResult result) noexcept override { read = result.error(); }
    size_t WritePieces(absl::Span<iovec>) noexcept override { return 0; }
    void OnWritten(IoResult result) noexcept override {
      written = result.error();
    }
    char room[1];
    int read = 0;
    int written = 0;
  };
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    const std::unique_ptr<ByteStream> stream =
        MakeByteStream(std::move(ends.socket));
    Waits waits;
    stream->StartRead(waits);
    stream->StartWrite(waits);
    stream->Close(false);
    EXPECT_EQ(waits.read, ECONNABORTED);
    EXPECT_EQ(waits.written, ECONNABORTED);
    co_return;
  });
}

}  // namespace
}  // namespace coil::net
