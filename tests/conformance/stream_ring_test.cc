// What is special about streams for which the kernel receives and accepts by
// itself (IoUringPoller): what is held, what is lent, what is left when it is
// refused or a call fails. Where io_uring is denied there is nothing to test.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/os_error.h"
#include "coil/net/server.h"
#include "coil/net/streams.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/conformance/pollers.h"
#include "tests/net/net_testing.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::CreateTask;
using coil::OsError;
using coil::Task;
using coil::internal::IoUringTable;
using coil::internal::kRealIoUringCalls;
using coil::net::Server;
using coil::net::ServerOptions;
using coil::net::StartServer;
using coil::net::StreamReader;
using coil::net::StreamWriter;

std::string Pattern(size_t n) {
  std::string text(n, '\0');
  for (size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i * i % 23);
  return text;
}

class StreamRingTest : public NetTest,
                       public testing::WithParamInterface<const PollerKind*> {
 private:
  ScopedPollerKind scope_{*GetParam()};
};

std::string NameOfKind(const testing::TestParamInfo<const PollerKind*>& info) {
  return info.param->name;
}

INSTANTIATE_TEST_SUITE_P(Pollers, StreamRingTest,
                         testing::ValuesIn(Available({&kEpoll, &kIoUring,
                                                      &kIoUringTwoBuffers,
                                                      &kIoUringPolls})),
                         NameOfKind);

// Nobody reads: the peer comes to a halt, and nothing is lost.
TEST_P(StreamRingTest, APeerIsHeldUpByAReaderThatHasStopped) {
  RunNet([]() -> Co<void> {
    Connection c{UnixEnds()};
    c.peer.Send("x");
    EXPECT_EQ(co_await c.reader.ReadExactly(1), "x");
    const std::string piece = Pattern(100'003);
    std::string sent;
    int halted = 0;
    while (halted < 20 && sent.size() < (size_t{64} << 20)) {
      const ssize_t n = ::send(c.peer.fd(), piece.data(), piece.size(),
                               MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) sent.append(piece, 0, static_cast<size_t>(n));
      halted = n > 0 ? 0 : halted + 1;
      co_await Turns(2);
    }
    EXPECT_LT(sent.size(), size_t{8} << 20);
    c.peer.ShutdownWrite();
    EXPECT_TRUE(co_await c.reader.ReadAll() == sent);
  });
}

TEST_P(StreamRingTest, AMessageCostsNoReceiveWhereTheKernelDoesIt) {
  static int receives = 0, accepts = 0;
  SocketShim sockets;
  sockets.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    ++receives;
    return ::recv(fd, buffer, size, flags);
  };
  sockets.table().accept4 = [](int fd, sockaddr* address, socklen_t* size,
                               int flags) {
    ++accepts;
    return ::accept4(fd, address, size, flags);
  };
  receives = accepts = 0;
  RunNet([]() -> Co<void> {
    auto echo = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      for (;;) {
        const std::string data = co_await reader.Read(100);
        if (data.empty()) co_return;
        co_await writer.Write(data);
      }
    };
    Server server = co_await StartServer(echo, "127.0.0.1", 0);
    Peer peer = ConnectTo(server.Port());
    for (int i = 0; i < 100; ++i) {
      peer.Send("message");
      std::string answer;
      while (answer.size() < 7) {
        co_await coil::Yield();
        answer += peer.Receive();
      }
    }
    peer.Close();
  });
  const bool rings =
      GetParam() == &kIoUring || GetParam() == &kIoUringTwoBuffers;
  EXPECT_EQ(receives == 0, rings);
  EXPECT_EQ(accepts == 0, rings);
}

// What is lent to a connection goes back with it.
TEST_P(StreamRingTest, ConnectionsThatCloseUnreadLeaveNothingBehind) {
  RunNet([]() -> Co<void> {
    for (int i = 0; i < 300; ++i) {
      Connection c{UnixEnds()};
      c.peer.Send("read");
      EXPECT_EQ(co_await c.reader.ReadExactly(1), "r");
      c.peer.Send(Pattern(5000));
      if (i % 3 != 0) co_await Turns(i % 3);
      c.writer.Abort();
    }
    Connection c{UnixEnds()};
    c.peer.Send(Pattern(50'000));
    EXPECT_TRUE(co_await c.reader.ReadExactly(50'000) == Pattern(50'000));
  });
}

TEST_P(StreamRingTest, AClosedStreamIsClosedForThePeerAtOnce) {
  RunNet([]() -> Co<void> {
    for (const bool waits : {false, true}) {
      Connection c;
      c.peer.Send("x");
      EXPECT_EQ(co_await c.reader.ReadExactly(1), "x");
      auto reading = CreateTask(ErrorOf(c.reader.ReadLine()));
      if (waits) co_await Turns();
      c.writer.Abort();
      // In this very step.
      pollfd end = {c.peer.fd(), POLLIN | POLLRDHUP, 0};
      EXPECT_EQ(::poll(&end, 1, 10'000), 1);
      EXPECT_EQ(c.peer.Receive(), "");
      EXPECT_NE(co_await reading, "");
    }
  });
}

TEST_P(StreamRingTest, WhatCameBeforeAResetIsRead) {
  RunNet([]() -> Co<void> {
    for (const bool waits : {false, true}) {
      Connection c;
      c.peer.Send("first");
      EXPECT_EQ(co_await c.reader.ReadExactly(5), "first");
      auto reading = CreateTask(c.reader.ReadExactly(4));
      if (waits) co_await Turns();
      c.peer.Send("last");
      c.peer.Reset();
      EXPECT_EQ(co_await reading, "last");
      EXPECT_NE(co_await ErrorOf(c.reader.ReadExactly(1)), "");
    }
  });
}

TEST_P(StreamRingTest, BytesAndAnEndThatCameWhileNobodyReadAreThere) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("1");
    EXPECT_EQ(co_await c.reader.ReadExactly(1), "1");
    c.peer.Send("23");
    co_await Turns();
    c.peer.Send("45");
    co_await Turns();
    c.peer.ShutdownWrite();
    co_await Turns();
    EXPECT_EQ(co_await c.reader.ReadAll(), "2345");
    co_await c.writer.Write("still");
    EXPECT_EQ(c.peer.ReceiveExactly(5), "still");
  });
}

// The kernel receives on behalf of the thread in which the loop ran.
TEST_P(StreamRingTest, ALoopThatMovesToAnotherThreadKeepsWhatWasReceived) {
  coil::Runner runner;
  coil::EventLoop& loop = runner.Loop();
  std::unique_ptr<Connection> c;
  const std::string data = Pattern(30'000);
  std::string got;
  std::shared_ptr<Task<void>> task;
  auto read = [&]() -> Co<void> {
    c = std::make_unique<Connection>(UnixEnds());
    while (got.size() < data.size()) {
      got += co_await c->reader.Read(100);
    }
  };
  loop.CallSoon([&] {
    task = std::make_shared<Task<void>>(CreateTask(read()));
    loop.CallSoon([&] { loop.CallSoon([&] { loop.Stop(); }); });
  });
  loop.RunForever();
  size_t sent = 0;
  while (sent < data.size()) {
    // Before, during and between the runs.
    const size_t n = std::min<size_t>(1700, data.size() - sent);
    c->peer.Send(std::string_view(data).substr(sent, n));
    sent += n;
    std::thread([&] {
      loop.CallSoon([&] { loop.CallSoon([&] { loop.Stop(); }); });
      loop.RunForever();
    }).join();
  }
  std::thread([&] {
    task->AddDoneCallback([&](const auto&) { loop.Stop(); });
    if (!task->Done()) loop.RunForever();
    EXPECT_TRUE(got == data);
    c->writer.Abort();
    c.reset();
    task.reset();
  }).join();
}

TEST_P(StreamRingTest, AForkedChildLeavesTheParentsStreamsAlone) {
  RunNet([]() -> Co<void> {
    Connection c{UnixEnds()};
    c.peer.Send("one");
    EXPECT_EQ(co_await c.reader.ReadExactly(3), "one");
    auto reading = CreateTask(c.reader.ReadExactly(3));
    co_await Turns();
    const pid_t child = ::fork();
    if (child == 0) {
      c.DropHandles();
      ::_exit(0);
    }
    int status = 1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    c.peer.Send("two");
    EXPECT_EQ(co_await reading, "two");
  });
}

// ---- accepting

Co<void> EchoOnce(StreamReader reader, StreamWriter writer) {
  co_await writer.Write(co_await reader.ReadLine());
}

TEST_P(StreamRingTest, AFloodOfConnectionsIsServedInTurns) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoOnce, "127.0.0.1", 0,
                                         ServerOptions().Backlog(500));
    std::vector<Peer> peers;
    for (int i = 0; i < 300; ++i) {
      peers.push_back(ConnectTo(server.Port()));
      peers.back().Send("hello\n");
    }
    co_await coil::Yield();
    co_await coil::Yield();
    EXPECT_LE(server.Connections(), 3u * 64u);
    for (Peer& peer : peers) {
      EXPECT_TRUE(co_await Eventually([&] {
        pollfd ready = {peer.fd(), POLLIN, 0};
        return ::poll(&ready, 1, 0) == 1;
      }));
      EXPECT_EQ(peer.ReceiveExactly(6), "hello\n");
    }
  });
}

// The process has no descriptors left, until Lift().
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    // Those below are open; the next one would be at least this.
    const int next = CheckedFd(::dup(0), "dup");
    ::close(next);
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &limit_), 0);
    rlimit low = limit_;
    low.rlim_cur = static_cast<rlim_t>(next);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  }
  void Lift() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit_), 0); }

 private:
  rlimit limit_{};
};

TEST_P(StreamRingTest, AServerWithoutDescriptorsGoesOnWhenThereAreSome) {
  RunNet([]() -> Co<void> {
    Reports reports;
    Server server = co_await StartServer(
        EchoOnce, "127.0.0.1", 0,
        ServerOptions().AcceptRetry(absl::Milliseconds(1)));
    Peer peer = ConnectTo(server.Port());
    peer.Send("patience\n");
    NoMoreDescriptors none;
    EXPECT_TRUE(
        co_await Eventually([&] { return reports.Messages().size() >= 2; }));
    EXPECT_EQ(server.Connections(), 0u);
    none.Lift();
    EXPECT_TRUE(co_await Eventually([&] {
      pollfd ready = {peer.fd(), POLLIN, 0};
      return ::poll(&ready, 1, 0) == 1;
    }));
    EXPECT_EQ(peer.ReceiveExactly(9), "patience\n");
    EXPECT_NE(reports.Messages()[0].find("Too many open files"),
              std::string::npos);
  });
}

TEST_P(StreamRingTest, AReportThatNothingIsAcceptedMayEndTheServer) {
  RunNet([]() -> Co<void> {
    auto server = std::make_shared<Server>(
        co_await StartServer(EchoOnce, "127.0.0.1", 0));
    bool reported = false;
    coil::EventLoop::Current().SetExceptionHandler(
        [&](const coil::ExceptionContext&) {
          reported = true;
          *server = Server();
        });
    Peer peer = ConnectTo(server->Port());
    NoMoreDescriptors none;
    EXPECT_TRUE(co_await Eventually([&] { return reported; }));
    none.Lift();
    const std::string end = peer.ReceiveAll();
    EXPECT_TRUE(end.empty() || end == "<reset>") << end;
  });
}

TEST_P(StreamRingTest, AClosedServerHasLetGoOfItsPort) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(EchoOnce, "127.0.0.1", 0);
    const int port = server.Port();
    co_await Turns();
    server.Close();
    coil::net::Socket probe(AF_INET, SOCK_STREAM);
    bool refused = false;
    try {
      probe.StartConnect(*coil::net::Address::FromNumeric("127.0.0.1", port));
      co_await Turns();
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(probe.Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
      refused = error == ECONNREFUSED;
    } catch (const OsError& error) {
      refused = error.Errno() == ECONNREFUSED;
    }
    EXPECT_TRUE(refused);
  });
}

// ---- failures

// The call of `number` of those of a kind fails.
struct Fault {
  bool on = false;
  bool in_register = false;
  int number = -1;
  int error = 0;
  int calls = 0;
};
Fault g_fault;

bool FailsNow(bool in_register) {
  if (!g_fault.on || g_fault.in_register != in_register) return false;
  if (g_fault.calls++ != g_fault.number) return false;
  errno = g_fault.error;
  return true;
}

const IoUringTable& FaultyTable() {
  static const IoUringTable table = [] {
    IoUringTable result = kRealIoUringCalls;
    result.enter = [](int ring, unsigned submit, unsigned wait_for,
                      unsigned flags, const void* argument, size_t size) {
      if (FailsNow(false)) return -1;
      return kRealIoUringCalls.enter(ring, submit, wait_for, flags, argument,
                                     size);
    };
    result.register_ = [](int ring, unsigned operation, void* argument,
                          unsigned count) {
      if (FailsNow(true)) return -1;
      return kRealIoUringCalls.register_(ring, operation, argument, count);
    };
    return result;
  }();
  return table;
}

Co<void> Converse() {
  g_fault.on = true;  // the poller is there
  Server server = co_await StartServer(EchoOnce, "127.0.0.1", 0);
  auto [reader, writer] =
      co_await coil::net::OpenConnection("127.0.0.1", server.Port());
  const std::string line = Pattern(40'000) + "\n";
  co_await writer.Write(line);
  EXPECT_TRUE(co_await reader.ReadLine() == line);
  EXPECT_EQ(co_await reader.ReadAll(), "");
  co_await writer.Close();
  server.Close();
  co_await server.WaitClosed();
}

class StreamRingFaultTest : public NetTest {
 protected:
  static bool Denied() { return Available({&kIoUring}).empty(); }
  // How many calls there are at the most if none fails.
  static int Sweep(bool in_register, int error) {
    for (int number = 0; number < 200; ++number) {
      g_fault = {.in_register = in_register, .number = number, .error = error};
      const ScopedPollerKind kind(kIoUring);
      const coil::internal::ScopedIoUringCalls calls(&FaultyTable());
      RunNet(Converse);
      g_fault.on = false;
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "at call " << number << ", errno " << error;
        return number;
      }
      if (g_fault.calls <= number) return number;
    }
    return 200;
  }
};

// Also EBADR, which says that completions were lost: none was, and those that
// are there count.
TEST_F(StreamRingFaultTest, WhicheverCallFailsNothingIsLost) {
  if (Denied()) return;
  for (const int error : {EINTR, EAGAIN, EBUSY, EBADR}) {
    EXPECT_GT(Sweep(/*in_register=*/false, error), 3);
  }
}

TEST_F(StreamRingFaultTest, WhatCannotBeRegisteredIsPolled) {
  if (Denied()) return;
  for (const int error : {EINVAL, ENOMEM, EPERM}) {
    EXPECT_GE(Sweep(/*in_register=*/true, error), 2);
  }
}

}  // namespace
}  // namespace coil_testing
