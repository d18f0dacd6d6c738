// Waiters of every kind of descriptor, resets at each byte, an orderly end
// under load; a test is named after its row in the catalogue of failures.

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/datagram.h"
#include "coil/net/signal_set.h"
#include "coil/net/sock.h"
#include "coil/net/streams.h"
#include "coil/task/task.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::ConnectTo;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NetTest;
using coil_testing::OpenDescriptors;
using coil_testing::Peer;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    const std::string data = co_await reader.Read(65536);
    if (data.empty()) co_return;
    co_await writer.Write(data);
  }
}

// ---- T18: numbers that are used again

class ReliabilityT18 : public NetTest {};

// All are ready at once; the first to run closes the others and opens as many
// that take their numbers.
TEST_F(ReliabilityT18, NobodyHearsWhatWasForAnEarlierOwner) {
  constexpr int kPairs = 64;
  RunNet([]() -> Co<void> {
    int wrong = 0;
    for (int round = 0; round < 100; ++round) {
      std::vector<coil_testing::UnixEnds> old(kPairs);
      std::vector<coil_testing::UnixEnds> fresh;
      int first = -1;
      for (coil_testing::UnixEnds& ends : old) {
        const int fd = ends.socket.Descriptor();
        EventLoop::Current().AddReader(fd, [&, fd] {
          if (first >= 0) return;
          first = fd;
          for (coil_testing::UnixEnds& other : old) {
            EventLoop::Current().RemoveReader(other.socket.Descriptor());
          }
          old.clear();
          fresh.resize(kPairs);
          for (coil_testing::UnixEnds& other : fresh) {
            EventLoop::Current().AddReader(other.socket.Descriptor(),
                                           [&] { ++wrong; });
          }
        });
        ends.peer.Send("x");
      }
      co_await Turns(3);
      EXPECT_GE(first, 0);
      EXPECT_EQ(fresh.size(), static_cast<size_t>(kPairs));
      for (coil_testing::UnixEnds& ends : fresh) {
        EventLoop::Current().RemoveReader(ends.socket.Descriptor());
      }
    }
    EXPECT_EQ(wrong, 0);
  });
}

// ---- T21: two waiters, and descriptors that cannot be waited for

class ReliabilityT21 : public NetTest {};

struct DescriptorKind {
  const char* name;
  int (*open)();
  int error;  // of the system if it cannot be waited for
};

int OneOf(int fds[2]) {
  ::close(fds[1]);
  return fds[0];
}

const DescriptorKind kKinds[] = {
    {"tcp", [] { return ::socket(AF_INET, SOCK_STREAM, 0); }, 0},
    {"udp", [] { return ::socket(AF_INET, SOCK_DGRAM, 0); }, 0},
    {"unix", [] { return ::socket(AF_UNIX, SOCK_SEQPACKET, 0); }, 0},
    {"pipe",
     [] {
       int fds[2];
       return ::pipe(fds) == 0 ? OneOf(fds) : -1;
     },
     0},
    {"eventfd", [] { return ::eventfd(0, 0); }, 0},
    {"timerfd", [] { return ::timerfd_create(CLOCK_MONOTONIC, 0); }, 0},
    {"inotify", [] { return ::inotify_init1(0); }, 0},
    {"epoll", [] { return ::epoll_create1(0); }, 0},
    {"terminal", [] { return ::posix_openpt(O_RDWR | O_NOCTTY); }, 0},
    {"/dev/null", [] { return ::open("/dev/null", O_RDWR); }, EPERM},
    {"file", [] { return ::open("/proc/self/exe", O_RDONLY); }, EPERM},
    {"folder", [] { return ::open("/", O_RDONLY); }, EPERM},
    {"path", [] { return ::open("/", O_PATH); }, EBADF},
    {"none", [] { return -1; }, EBADF},
};

TEST_F(ReliabilityT21, EachKindIsWaitedForOrRefusedWithItsReason) {
  RunNet([]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    for (const DescriptorKind& kind : kKinds) {
      SCOPED_TRACE(kind.name);
      const int fd = kind.open();
      EXPECT_EQ(fd >= 0, kind.name != std::string_view("none"));
      int first = 0;
      int second = 0;
      int error = 0;
      try {
        loop.AddReader(fd, [&] { ++first; });
        // The second one takes the place of the first.
        loop.AddReader(fd, [&] { ++second; });
        loop.AddWriter(fd, [] {});
      } catch (const OsError& refused) {
        error = refused.Errno();
      }
      EXPECT_EQ(error, kind.error);
      co_await Turns(2);
      EXPECT_EQ(first, 0);
      EXPECT_EQ(loop.RemoveReader(fd), kind.error == 0);
      EXPECT_EQ(loop.RemoveWriter(fd), kind.error == 0);
      if (fd >= 0) ::close(fd);
    }
  });
}

TEST_F(ReliabilityT21, ASecondWaiterOfOneDirectionIsRefusedAndTheFirstServed) {
  RunNet([]() -> Co<void> {
    coil_testing::UnixEnds ends;
    Task<std::string> first = CreateTask(SockRecv(ends.socket, 10));
    co_await Turns();
    for (int i = 0; i < 3; ++i) {
      EXPECT_NE(co_await ErrorOf(SockRecv(ends.socket, 10)), "");
      std::string error;
      try {
        EventLoop::Current().AddReader(ends.socket.Descriptor(), [] {});
      } catch (const std::exception& refused) {
        error = refused.what();
      }
      EXPECT_NE(error, "");
    }
    EXPECT_FALSE(first.Done());
    ends.peer.Send("served");
    EXPECT_EQ(co_await first, "served");

    coil_testing::Connection c{coil_testing::UnixEnds()};
    Task<std::string> line = CreateTask(c.reader.ReadLine());
    co_await Turns();
    EXPECT_NE(co_await ErrorOf(c.reader.ReadLine()), "");
    c.peer.Send("a line\n");
    EXPECT_EQ(co_await line, "a line\n");
  });
}

// ---- T28: no buffers

class ReliabilityT28 : public NetTest {};

// The system is out of buffers for three sends of ten; it says so by ENOBUFS,
// or by EAGAIN without a place in the queue.
TEST_F(ReliabilityT28, DatagramsWaitForBuffersAndNoneIsLost) {
  static uint32_t calls = 0;
  calls = 0;
  SocketShim shim;
  shim.table().sendto = [](int fd, const void* data, size_t size, int flags,
                           const sockaddr* to, socklen_t to_size) {
    if (++calls * 2654435761u % 10 < 3) {
      errno = ENOBUFS;
      return ssize_t{-1};
    }
    return ::sendto(fd, data, size, flags, to, to_size);
  };
  const SimulationOptions simulation;
  RunNet(
      []() -> Co<void> {
        DatagramSocket server =
            co_await OpenDatagram(*Address::FromNumeric("127.0.0.1", 0));
        DatagramSocket client =
            co_await OpenDatagram(Address(), server.SockName());
        for (int i = 0; i < 2000; ++i) {
          co_await client.Send(absl::StrCat("datagram ", i));
          EXPECT_EQ(co_await server.Receive(), absl::StrCat("datagram ", i));
        }
      },
      {.simulation = &simulation});
  EXPECT_GT(calls, 2500u);
}

// ---- T33: a flood of connections

class ReliabilityT33 : public NetTest {};

TEST_F(ReliabilityT33, AFloodOfConnectionsLeavesTurnsForTheOthers) {
  static int accepted = 0;
  accepted = 0;
  SocketShim shim;
  // There is always one more: the descriptor of an end of a pair.
  shim.table().accept4 = [](int, sockaddr*, socklen_t* size, int) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                     fds) != 0) {
      return -1;
    }
    ::close(fds[1]);
    *size = 0;
    ++accepted;
    return fds[0];
  };
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0,
                                         ServerOptions().Backlog(1000));
    Peer peer = ConnectTo(server.Port());
    for (int turn = 0; turn < 50; ++turn) {
      const int before = accepted;
      co_await Yield();
      EXPECT_LE(accepted - before, 64);
    }
    EXPECT_GT(accepted, 1000);
    server.Close();
    co_await server.WaitClosed();
  });
}

// ---- T47: an end while there is work

class ReliabilityT47 : public NetTest {};

TEST_F(ReliabilityT47, ASignalEndsAServerUnderLoadWithoutACutAnswer) {
  static constexpr int kClients = 100;
  RunNet([]() -> Co<void> {
    Reports reports;
    // The answer comes in two halves, some turns apart.
    auto handler = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      while (std::optional<std::string> line = co_await reader.Next()) {
        co_await writer.Write(line->substr(0, line->size() / 2));
        co_await Turns(3);
        co_await writer.Write(line->substr(line->size() / 2));
        // One answer for each connection: whoever comes later connects anew.
        co_return;
      }
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    int whole = 0;
    int refused = 0;
    int cut = 0;
    auto client = [&, port = server.Port()](int id) -> Co<void> {
      for (int i = 0;; ++i) {
        const std::string request = absl::StrCat("request ", id, " ", i, "\n");
        std::string answer;
        try {
          auto [reader, writer] = co_await OpenConnection("127.0.0.1", port);
          co_await writer.Write(request);
          answer = co_await reader.ReadAll();
          co_await writer.Close();
        } catch (const OsError&) {
          // Not accepted any more.
        }
        if (answer == request) {
          ++whole;
        } else if (answer.empty()) {
          ++refused;
          break;
        } else {
          ++cut;
        }
      }
    };
    auto until_stopped = [&]() -> Co<void> {
      SignalSet stop{SIGTERM};
      EXPECT_EQ(co_await stop.Next(), SIGTERM);
      co_await server.Shutdown(absl::Seconds(10));
    };
    Task<void> stopping = CreateTask(std::move(until_stopped));
    std::vector<Task<void>> clients;
    for (int id = 0; id < kClients; ++id) {
      clients.push_back(CreateTask(client(id)));
    }
    EXPECT_TRUE(co_await Eventually([&] { return whole > kClients; }));
    ::kill(::getpid(), SIGTERM);
    co_await stopping;
    for (const Task<void>& task : clients) co_await task;
    EXPECT_EQ(cut, 0);
    EXPECT_EQ(refused, kClients);
    EXPECT_TRUE(reports.Messages().empty());
  });
}

// ---- T49: reset at each byte

class ReliabilityT49 : public NetTest {};

// A request of 4 KiB and its answer; the client resets the connection after
// each byte that it has sent or received (each 61st here).
TEST_F(ReliabilityT49, ResetAtEachByteOfAnExchange) {
  RunNet([]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler([](const ExceptionContext&) {});
    constexpr size_t kSize = 4096;
    int answered = 0;
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      const std::string request = co_await reader.ReadExactly(kSize);
      co_await writer.Write(request);
      ++answered;
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    const int before = OpenDescriptors();
    const std::string request(kSize, 'r');
    int resets = 0;
    for (size_t n = 0; n <= 2 * kSize; n += 61) {
      Peer peer = ConnectTo(server.Port());
      peer.Send(std::string_view(request).substr(0, std::min(n, kSize)));
      if (n > kSize) {
        size_t left = n - kSize;
        EXPECT_TRUE(co_await Eventually([&] {
          left -= peer.Receive(left).size();
          return left == 0;
        }));
      }
      peer.Reset();
      ++resets;
      EXPECT_TRUE(
          co_await Eventually([&] { return server.Connections() == 0; }));
    }
    EXPECT_EQ(OpenDescriptors(), before);
    EXPECT_GT(answered, resets / 3);
    EXPECT_LT(answered, resets);
  });
}

}  // namespace
}  // namespace coil::net
