#include "coil/net/sock.h"

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/net/resolver.h"
#include "coil/net/streams.h"
#include "coil/task/shield.h"
#include "coil/task/testing.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::OpenDescriptors;
using coil_testing::Peer;
using coil_testing::RawListener;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

Socket BoundDatagrams() {
  Socket socket(AF_INET, SOCK_DGRAM);
  socket.Bind(Address::Parse("127.0.0.1:0"));
  return socket;
}

class SockTest : public NetTest {};

TEST_F(SockTest, RecvGivesWhatIsThereAndTheEndOfFile) {
  RunNet([]() -> Co<void> {
    TcpEnds ends;
    ends.peer.Send("hello");
    EXPECT_EQ(co_await SockRecv(ends.socket, 3), "hel");
    EXPECT_EQ(co_await SockRecv(ends.socket, 100000), "lo");
    Task<std::string> waiting = CreateTask(SockRecv(ends.socket, 100));
    co_await Turns();
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("SockRecv: fd " +
                        std::to_string(ends.socket.Descriptor()) + " readable"),
              std::string::npos)
        << dump;
    ends.peer.Send("x");
    EXPECT_EQ(co_await waiting, "x");
    ends.peer.Close();
    EXPECT_EQ(co_await SockRecv(ends.socket, 100), "");
  });
}

TEST_F(SockTest, RecvIntoFillsMemoryOfTheCaller) {
  RunNet([]() -> Co<void> {
    TcpEnds ends;
    char room[4];
    Task<size_t> waiting =
        CreateTask(SockRecvInto(ends.socket, absl::MakeSpan(room)));
    co_await Turns();
    ends.peer.Send("01234");
    EXPECT_EQ(co_await waiting, 4u);
    EXPECT_EQ(std::string(room, 4), "0123");
    EXPECT_EQ(co_await SockRecvInto(ends.socket, absl::MakeSpan(room)), 1u);
  });
}

TEST_F(SockTest, DatagramsComeWithTheirSender) {
  RunNet([]() -> Co<void> {
    Socket server = BoundDatagrams();
    Socket client = BoundDatagrams();
    Task<SockDatagram> waiting = CreateTask(SockRecvFrom(server, 100));
    co_await Turns();
    EXPECT_EQ(co_await SockSendTo(client, "hello", server.SockName()), 5u);
    const SockDatagram& datagram = co_await waiting;
    EXPECT_EQ(datagram.data, "hello");
    EXPECT_EQ(datagram.from, client.SockName());

    EXPECT_EQ(co_await SockSendTo(client, "", server.SockName()), 0u);
    const SockDatagram empty = co_await SockRecvFrom(server, 100);
    EXPECT_EQ(empty.data, "");
    EXPECT_EQ(empty.from, client.SockName());

    char room[8];
    co_await SockSendTo(client, "0123456789", server.SockName());
    SockSize size = co_await SockRecvFromInto(server, absl::MakeSpan(room), 3);
    EXPECT_EQ(size.size, 3u);
    EXPECT_EQ(size.from, client.SockName());
    co_await SockSendTo(client, "0123456789", server.SockName());
    size = co_await SockRecvFromInto(server, absl::MakeSpan(room));
    EXPECT_EQ(size.size, 8u);
    EXPECT_EQ(
        co_await ErrorOf(SockRecvFromInto(server, absl::MakeSpan(room), 9)),
        "SockRecvFromInto: 9 bytes are more than the 8 of the buffer");
    const std::string large(65507, 'x');
    co_await SockSendTo(client, large, server.SockName());
    EXPECT_EQ((co_await SockRecvFrom(server, 100000)).data.size(), 65507u);
  });
}

TEST_F(SockTest, AnErrorOfOneDatagramIsNotThatOfTheNext) {
  RunNet([]() -> Co<void> {
    Address nowhere;
    {
      Socket closed = BoundDatagrams();
      nowhere = closed.SockName();
    }
    Socket socket(AF_INET, SOCK_DGRAM);
    co_await SockConnect(socket, nowhere);
    co_await SockSendAll(socket, "x");
    EXPECT_EQ(co_await ErrorOf(SockRecvFrom(socket, 10)),
              "receive from " + nowhere.ToString() + ": Connection refused");
    Socket server(AF_INET, SOCK_DGRAM);
    server.Bind(nowhere);
    co_await SockSendTo(server, "y", socket.SockName());
    EXPECT_EQ((co_await SockRecvFrom(socket, 10)).data, "y");
  });
}

TEST_F(SockTest, SendAllSendsAll) {
  RunNet([]() -> Co<void> {
    UnixEnds ends;
    coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
    const std::string data(1 << 20, 'x');
    Task<void> sending = CreateTask(SockSendAll(ends.socket, data));
    size_t received = 0;
    while (received < data.size()) {
      co_await Yield();
      received += ends.peer.Receive().size();
    }
    co_await sending;
    co_await SockSendAll(ends.socket, "");
    ends.peer.Close();
    EXPECT_NE(co_await ErrorOf(SockSendAll(ends.socket, data)), "");
  });
}

TEST_F(SockTest, ConnectAndAccept) {
  RunNet([]() -> Co<void> {
    Socket listener = RawListener();
    Task<SockAccepted> accepting = CreateTask(SockAccept(listener));
    co_await Turns();
    Socket client(AF_INET, SOCK_STREAM);
    co_await SockConnect(client, listener.SockName());
    SockAccepted accepted = co_await std::move(accepting);
    EXPECT_EQ(accepted.peer, client.SockName());
    EXPECT_NE(::fcntl(accepted.socket.Descriptor(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(::fcntl(accepted.socket.Descriptor(), F_GETFD), FD_CLOEXEC);
    co_await SockSendAll(client, "hello");
    EXPECT_EQ(co_await SockRecv(accepted.socket, 10), "hello");
  });
}

TEST_F(SockTest, ConnectTakesAName) {
  class Loopback final : public Resolver {
   public:
    Co<std::vector<Address>> Resolve(ResolveQuery query) override {
      EXPECT_EQ(query.family(), AF_INET);
      co_return std::vector<Address>(
          1, *Address::FromNumeric("127.0.0.1", query.port()));
    }
  };
  RunNet([]() -> Co<void> {
    SetDefaultResolver(std::make_shared<Loopback>());
    Socket listener = RawListener();
    Socket client(AF_INET, SOCK_STREAM);
    co_await SockConnect(client, "my.host", listener.SockName().Port());
    EXPECT_EQ(client.PeerName(), listener.SockName());
  });
}

TEST_F(SockTest, ARefusedConnectNamesThePeer) {
  RunNet([]() -> Co<void> {
    Address nowhere;
    {
      Socket listener = RawListener();
      nowhere = listener.SockName();
    }
    Socket client(AF_INET, SOCK_STREAM);
    EXPECT_EQ(co_await ErrorOf(SockConnect(client, nowhere)),
              "connect to " + nowhere.ToString() + ": Connection refused");
  });
}

TEST_F(SockTest, AFullUnixQueueIsNotAConnection) {
  const coil_testing::SocketFolder folder;
  RunNet([&]() -> Co<void> {
    const Address address = Address::Unix(folder.AbstractName());
    Socket listener(AF_UNIX, SOCK_STREAM);
    listener.Bind(address);
    listener.Listen(0);
    std::vector<Socket> clients;
    std::string error;
    for (int i = 0; i < 10 && error.empty(); ++i) {
      clients.emplace_back(AF_UNIX, SOCK_STREAM);
      error = co_await ErrorOf(SockConnect(clients.back(), address));
    }
    EXPECT_EQ(error, "connect to " + address.ToString() +
                         ": Resource temporarily unavailable");
  });
}

// ---- cancellation

TEST_F(SockTest, ACancelledConnectMayBeTriedAgain) {
  static int calls = 0;
  calls = 0;
  SocketShim shim;
  shim.table().connect = [](int fd, const sockaddr* address, socklen_t size) {
    // As over a slow network.
    if (++calls == 1) ::connect(fd, address, size);
    errno = calls == 1 ? EINPROGRESS : EALREADY;
    return -1;
  };
  RunNet([]() -> Co<void> {
    Socket listener = RawListener();
    Socket client(AF_INET, SOCK_STREAM);
    Task<void> connecting =
        CreateTask(SockConnect(client, listener.SockName()));
    co_await Yield();
    co_await CancelAndWait(connecting);
    EXPECT_TRUE(connecting.Cancelled());
    co_await SockConnect(client, listener.SockName());
    EXPECT_EQ(client.PeerName(), listener.SockName());
  });
}

TEST_F(SockTest, ACancelledCallHasConsumedNothing) {
  RunNet([]() -> Co<void> {
    TcpEnds ends;
    Socket listener = RawListener();
    Poller& poller = EventLoop::Current().GetPoller();
    const int watched = poller.WatchCount();
    Task<std::string> receiving = CreateTask(SockRecv(ends.socket, 100));
    Task<SockAccepted> accepting = CreateTask(SockAccept(listener));
    co_await Turns();
    // It is there, and the task that is to have it has not run yet.
    ends.peer.Send("x");
    Peer peer = coil_testing::ConnectTo(listener.SockName().Port());
    poller.Poll(absl::ZeroDuration());
    receiving.Cancel();
    accepting.Cancel();
    co_await Turns();
    EXPECT_TRUE(receiving.Cancelled());
    EXPECT_TRUE(accepting.Cancelled());
    EXPECT_EQ(poller.WatchCount(), watched);
    EXPECT_EQ(co_await SockRecv(ends.socket, 100), "x");
    const SockAccepted accepted = co_await SockAccept(listener);
    EXPECT_TRUE(accepted.socket);
  });
}

TEST_F(SockTest, ACancelledWaitDoesNotEndTheOther) {
  RunNet([]() -> Co<void> {
    UnixEnds ends;
    coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
    const std::string data(1 << 20, 'x');
    Task<std::string> receiving = CreateTask(SockRecv(ends.socket, 10));
    Task<void> sending = CreateTask(SockSendAll(ends.socket, data));
    co_await Turns();
    co_await CancelAndWait(sending);
    ends.peer.Send("x");
    EXPECT_EQ(co_await receiving, "x");
    // The same with the other one.
    receiving = CreateTask(SockRecv(ends.socket, 10));
    sending = CreateTask(SockSendAll(ends.socket, data));
    co_await Turns();
    co_await CancelAndWait(receiving);
    size_t received = 0;
    while (!sending.Done()) {
      received += ends.peer.Receive().size();
      co_await Yield();
    }
    EXPECT_GT(received, data.size() / 2);
  });
}

// ---- closing

TEST_F(SockTest, CloseEndsWhoWaits) {
  RunNet([]() -> Co<void> {
    UnixEnds ends;
    coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
    const std::string data(1 << 20, 'x');
    const std::string fd = std::to_string(ends.socket.Descriptor());
    Poller& poller = EventLoop::Current().GetPoller();
    const int watched = poller.WatchCount();
    Task<std::string> receiving =
        CreateTask(ErrorOf(SockRecv(ends.socket, 10)));
    Task<std::string> sending =
        CreateTask(ErrorOf(SockSendAll(ends.socket, data)));
    co_await Turns();
    EXPECT_EQ(poller.WatchCount(), watched + 1) << "both share it";
    ends.socket.Close();
    EXPECT_EQ(co_await receiving,
              "SockRecv fd " + fd + ": Software caused connection abort");
    EXPECT_EQ(co_await sending,
              "SockSendAll fd " + fd + ": Software caused connection abort");
    EXPECT_EQ(poller.WatchCount(), watched);
    EXPECT_EQ(co_await ErrorOf(SockRecv(ends.socket, 10)),
              "SockRecv: Bad file descriptor");
    // Whoever has the number next starts anew.
    UnixEnds others;
    others.peer.Send("x");
    EXPECT_EQ(co_await SockRecv(others.socket, 10), "x");
  });
}

TEST_F(SockTest, TheLoopMayEndWhileSomebodyWaits) {
  TcpEnds ends;
  RunNet([&]() -> Co<void> {
    CreateTask(SockRecv(ends.socket, 10));
    co_await Turns();
  });
  EventLoop loop;
  loop.CallSoon([&] { CreateTask(SockRecv(ends.socket, 10)); });
  loop.CallLater(absl::Milliseconds(1), [&] { loop.Stop(); });
  loop.RunForever();
}

// ---- misuse

TEST_F(SockTest, MisuseNamesTheRule) {
  RunNet([]() -> Co<void> {
    TcpEnds ends;
    const std::string fd = std::to_string(ends.socket.Descriptor());
    Task<std::string> first = CreateTask(SockRecv(ends.socket, 10));
    co_await Turns();
    EXPECT_EQ(co_await ErrorOf(SockRecv(ends.socket, 10)),
              "SockRecv: another task waits already to receive from fd " + fd);
    ends.peer.Send("x");
    EXPECT_EQ(co_await first, "x") << "it was not disturbed";

    EventLoop::Current().AddReader(ends.socket.Descriptor(), [] {});
    EXPECT_EQ(co_await ErrorOf(SockRecv(ends.socket, 10)),
              "SockRecv: fd " + fd + " belongs to a stream or a callback");
    EventLoop::Current().RemoveReader(ends.socket.Descriptor());
    ends.peer.Send("y");
    EXPECT_EQ(co_await SockRecv(ends.socket, 10), "y");

    EXPECT_EQ(co_await ErrorOf(SockRecv(SocketRef(), 10)),
              "SockRecv: Bad file descriptor");
    EXPECT_NE(co_await ErrorOf(SockRecv(SocketRef(9999), 10)), "");
  });
}

TEST_F(SockTest, DebugModeRefusesASocketThatBlocks) {
  RunNet([]() -> Co<void> {
    TcpEnds ends;
    const int fd = ends.socket.Descriptor();
    EXPECT_EQ(::fcntl(fd, F_SETFL, 0), 0);
    EventLoop::Current().SetDebug(true);
    const std::string rule = ": the socket (fd " + std::to_string(fd) +
                             ") is blocking, and would block the event loop; "
                             "Socket::FromDescriptor() makes it non-blocking";
    char room[4];
    EXPECT_EQ(co_await ErrorOf(SockRecv(ends.socket, 1)), "SockRecv" + rule);
    EXPECT_EQ(co_await ErrorOf(SockRecvInto(ends.socket, absl::MakeSpan(room))),
              "SockRecvInto" + rule);
    EXPECT_EQ(co_await ErrorOf(SockRecvFrom(ends.socket, 1)),
              "SockRecvFrom" + rule);
    EXPECT_EQ(
        co_await ErrorOf(SockRecvFromInto(ends.socket, absl::MakeSpan(room))),
        "SockRecvFromInto" + rule);
    EXPECT_EQ(co_await ErrorOf(SockSendAll(ends.socket, "x")),
              "SockSendAll" + rule);
    EXPECT_EQ(co_await ErrorOf(
                  SockSendTo(ends.socket, "x", Address::Parse("[::1]:1"))),
              "SockSendTo" + rule);
    EXPECT_EQ(co_await ErrorOf(
                  SockConnect(ends.socket, Address::Parse("127.0.0.1:1"))),
              "SockConnect" + rule);
    EXPECT_EQ(co_await ErrorOf(SockAccept(ends.socket)), "SockAccept" + rule);
    EventLoop::Current().SetDebug(false);
    ends.peer.Send("x");
    EXPECT_EQ(co_await SockRecv(ends.socket, 1), "x");
    // It does not block the loop all the same.
    Task<std::string> waiting = CreateTask(SockRecv(ends.socket, 1));
    co_await Turns();
    ends.peer.Send("y");
    EXPECT_EQ(co_await waiting, "y");
  });
}

// ---- faults

TEST_F(SockTest, InterruptedCallsAreMadeAgain) {
  static int calls = 0;
  static auto interrupted = [] {
    if (++calls % 2 == 0) return false;
    errno = EINTR;
    return true;
  };
  SocketShim shim;
  shim.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    return interrupted() ? -1 : ::recv(fd, buffer, size, flags);
  };
  shim.table().send = [](int fd, const void* buffer, size_t size, int flags) {
    return interrupted() ? -1 : ::send(fd, buffer, size, flags);
  };
  shim.table().accept4 = [](int fd, sockaddr* address, socklen_t* size,
                            int flags) {
    return interrupted() ? -1 : ::accept4(fd, address, size, flags);
  };
  shim.table().recvfrom = [](int fd, void* buffer, size_t size, int flags,
                             sockaddr* address, socklen_t* address_size) {
    return interrupted()
               ? -1
               : ::recvfrom(fd, buffer, size, flags, address, address_size);
  };
  shim.table().sendto = [](int fd, const void* buffer, size_t size, int flags,
                           const sockaddr* address, socklen_t address_size) {
    return interrupted()
               ? -1
               : ::sendto(fd, buffer, size, flags, address, address_size);
  };
  RunNet([]() -> Co<void> {
    Socket listener = RawListener();
    Peer peer = coil_testing::ConnectTo(listener.SockName().Port());
    const SockAccepted accepted = co_await SockAccept(listener);
    co_await SockSendAll(accepted.socket, "hello");
    EXPECT_EQ(peer.ReceiveExactly(5), "hello");
    peer.Send("you");
    char room[3];
    EXPECT_EQ(co_await SockRecvInto(accepted.socket, absl::MakeSpan(room)), 3u);
    peer.Send("x");
    EXPECT_EQ(co_await SockRecv(accepted.socket, 10), "x");
    Socket datagrams = BoundDatagrams();
    co_await SockSendTo(datagrams, "x", datagrams.SockName());
    EXPECT_EQ((co_await SockRecvFrom(datagrams, 10)).data, "x");
    co_await SockSendTo(datagrams, "x", datagrams.SockName());
    EXPECT_EQ((co_await SockRecvFromInto(datagrams, absl::MakeSpan(room))).size,
              1u);
  });
}

TEST_F(SockTest, APollerThatRefusesIsAnError) {
  static int fail_operation = 0;
  coil_testing::SystemShim shim;
  shim.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    if (op == fail_operation) {
      errno = ENOMEM;
      return -1;
    }
    return ::epoll_ctl(epfd, op, fd, event);
  };
  RunNet([]() -> Co<void> {
    UnixEnds ends;
    coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
    const std::string data(1 << 20, 'x');
    fail_operation = EPOLL_CTL_ADD;
    EXPECT_NE((co_await ErrorOf(SockRecv(ends.socket, 1)))
                  .find("Cannot allocate memory"),
              std::string::npos);
    fail_operation = 0;
    Task<std::string> receiving = CreateTask(ErrorOf(SockRecv(ends.socket, 1)));
    co_await Turns();
    // The second one of a descriptor modifies.
    fail_operation = EPOLL_CTL_MOD;
    EXPECT_NE((co_await ErrorOf(SockSendAll(ends.socket, data)))
                  .find("Cannot allocate memory"),
              std::string::npos);
    EXPECT_FALSE(receiving.Done());
    fail_operation = 0;
    Task<std::string> sending =
        CreateTask(ErrorOf(SockSendAll(ends.socket, data)));
    co_await Turns();
    // If what is left cannot be watched alone, it ends, too.
    fail_operation = EPOLL_CTL_MOD;
    co_await CancelAndWait(sending);
    EXPECT_NE((co_await receiving).find("Cannot allocate memory"),
              std::string::npos);
    fail_operation = 0;
  });
}

// ---- every suspension

Co<void> EchoBySocks() {
  const coil_testing::SocketFolder folder;
  const Address address = Address::Unix(folder.AbstractName());
  Socket listener(AF_UNIX, SOCK_STREAM);
  listener.Bind(address);
  listener.Listen(10);
  auto serve = [&]() -> Co<void> {
    SockAccepted accepted = co_await SockAccept(listener);
    try {
      for (;;) {
        const std::string data = co_await SockRecv(accepted.socket, 100);
        if (data.empty()) break;
        co_await SockSendAll(accepted.socket, data);
      }
    } catch (const OsError&) {
      // The client has gone.
    }
  };
  Task<void> server = CreateTask(serve());
  Socket client(AF_UNIX, SOCK_STREAM);
  co_await SockConnect(client, address);
  for (int i = 0; i < 2 && !server.Done(); ++i) {
    co_await SockSendAll(client, "x");
    Task<std::string> answer = CreateTask(ErrorOf(SockRecv(client, 10)));
    while (!answer.Done() && !server.Done()) co_await Yield();
    if (!answer.Done()) co_await CancelAndWait(answer);
  }
  client.Close();
  co_await CancelAndWait(server);
}

TEST(SockSweepTest, NothingIsLeftWhereverItIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      EchoBySocks,
      SweepOptions().SecondCancel().Seeds(2).AllowError<OsError>());
  EXPECT_GT(result.points, 3u);
}

TEST(SockSweepTest, NothingIsLeftWhereverTheLoopEnds) {
  const SweepResult result = ForEachDestructionPoint(EchoBySocks);
  EXPECT_GT(result.points, 2u);
}

}  // namespace
}  // namespace coil::net
