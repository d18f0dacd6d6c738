#include "coil/net/datagram.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/task/outcome.h"
#include "coil/task/shield.h"
#include "coil/task/testing.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::OpenDescriptors;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};
const char kLoopback[] = "127.0.0.1:0";

// Two sockets that are connected to each other, as far as UDP is.
struct Pair {
  Pair() = default;
  DatagramSocket server;  // not connected
  DatagramSocket client;  // connected to it
};

Co<Pair> MakePair() {
  Pair pair;
  pair.server = co_await OpenDatagram(Address::Parse(kLoopback));
  pair.client =
      co_await OpenDatagram("127.0.0.1", pair.server.SockName().Port());
  co_return pair;
}

// A port at which nobody listens.
Address Nowhere() {
  Socket socket(AF_INET, SOCK_DGRAM);
  socket.Bind(Address::Parse(kLoopback));
  return socket.SockName();
}

bool Exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

class DatagramTest : public NetTest {};

TEST_F(DatagramTest, ADatagramComesWithItsSender) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    co_await pair.client.Send("hello");
    const Datagram datagram = co_await pair.server.ReceiveFrom();
    EXPECT_EQ(datagram.data, "hello");
    EXPECT_EQ(datagram.from, pair.client.SockName());
    EXPECT_FALSE(datagram.truncated);
    co_await pair.server.SendTo("you too", datagram.from);
    EXPECT_EQ(co_await pair.client.Receive(), "you too");
    EXPECT_EQ(pair.client.PeerName(), pair.server.SockName());
    EXPECT_FALSE(pair.server.PeerName());
    co_await pair.client.SendTo("again", pair.client.PeerName());
    EXPECT_EQ(co_await pair.server.Receive(), "again");
  });
}

TEST_F(DatagramTest, WhoWaitsIsGivenWhatComes) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    Task<Datagram> received = CreateTask(pair.server.ReceiveFrom());
    co_await Turns();
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("a datagram at 127.0.0.1:"), std::string::npos) << dump;
    co_await pair.client.Send("x");
    EXPECT_EQ((co_await received).data, "x");
  });
}

TEST_F(DatagramTest, DatagramsKeepTheirOrderAndTheirBounds) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    for (int i = 0; i < 100; ++i) {
      co_await pair.client.Send(std::string(static_cast<size_t>(i), 'x'));
    }
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ((co_await pair.server.ReceiveFrom()).data.size(),
                static_cast<size_t>(i));
    }
  });
}

TEST_F(DatagramTest, AnEmptyDatagramIsADatagramAndNotTheEnd) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    co_await pair.client.Send("");
    co_await pair.client.Send("x");
    const Datagram empty = co_await pair.server.ReceiveFrom();
    EXPECT_EQ(empty.data, "");
    EXPECT_EQ(empty.from, pair.client.SockName());
    EXPECT_EQ(co_await pair.server.Receive(), "x");
    char byte;
    co_await pair.client.Send("");
    const DatagramSize size =
        co_await pair.server.ReceiveFrom(absl::MakeSpan(&byte, 1));
    EXPECT_EQ(size.size, 0u);
    EXPECT_FALSE(size.truncated);
  });
}

TEST_F(DatagramTest, ReliabilityT55TheLargestDatagramPasses) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    std::string largest(65507, 'x');
    largest.front() = 'a';
    largest.back() = 'z';
    co_await pair.client.Send(largest);
    const Datagram datagram = co_await pair.server.ReceiveFrom();
    EXPECT_TRUE(datagram.data == largest);
    EXPECT_FALSE(datagram.truncated);
    EXPECT_EQ(
        co_await ErrorOf(pair.client.Send(largest + "x")),
        "send to " + pair.server.SockName().ToString() + ": Message too long");
    // That was the datagram's fault.
    co_await pair.client.Send("x");
    EXPECT_EQ(co_await pair.server.Receive(), "x");
  });
}

TEST_F(DatagramTest, ReliabilityT55ATruncatedDatagramSaysSo) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    for (int i = 0; i < 3; ++i) co_await pair.client.Send("0123456789");
    co_await pair.client.Send("next");
    Datagram cut = co_await pair.server.ReceiveFrom(4);
    EXPECT_EQ(cut.data, "0123");
    EXPECT_TRUE(cut.truncated);
    char room[4];
    const DatagramSize size =
        co_await pair.server.ReceiveFrom(absl::MakeSpan(room));
    EXPECT_EQ(size.size, 4u);
    EXPECT_TRUE(size.truncated);
    EXPECT_EQ(std::string(room, 4), "0123");
    cut = co_await pair.server.ReceiveFrom(10);
    EXPECT_EQ(cut.data, "0123456789");
    EXPECT_FALSE(cut.truncated);
    EXPECT_EQ(co_await pair.server.Receive(0), "");
    co_await pair.client.Send("exact");
    char exact[5];
    EXPECT_FALSE(
        (co_await pair.server.ReceiveFrom(absl::MakeSpan(exact))).truncated);
  });
}

TEST_F(DatagramTest, ReliabilityT55ThatNobodyListensIsToldAndTheSocketGoesOn) {
  RunNet([]() -> Co<void> {
    const Address nowhere = Nowhere();
    DatagramSocket socket = co_await OpenDatagram("127.0.0.1", nowhere.Port());
    co_await socket.Send("x");
    EXPECT_EQ(co_await ErrorOf(socket.Receive()),
              "receive from " + nowhere.ToString() + ": Connection refused");
    co_await socket.Send("x");
    EXPECT_EQ(co_await ErrorOf(socket.Send("y")),
              "send to " + nowhere.ToString() + ": Connection refused");
    // Somebody comes.
    DatagramSocket server = co_await OpenDatagram(nowhere);
    co_await socket.Send("z");
    EXPECT_EQ(co_await server.Receive(), "z");
  });
}

TEST_F(DatagramTest, AnErrorReachesWhoWaits) {
  RunNet([]() -> Co<void> {
    DatagramSocket socket =
        co_await OpenDatagram("127.0.0.1", Nowhere().Port());
    auto waiting = [&]() -> Co<std::string> {
      return ErrorOf(socket.Receive());
    };
    Task<std::string> error = CreateTask(waiting());
    co_await Turns();
    co_await socket.Send("x");
    EXPECT_NE((co_await error).find("Connection refused"), std::string::npos);
  });
}

TEST_F(DatagramTest, AnUnconnectedSocketHearsOfNoErrors) {
  RunNet([]() -> Co<void> {
    DatagramSocket socket = co_await OpenDatagram(Address::Parse(kLoopback));
    co_await socket.SendTo("x", Nowhere());
    DatagramSocket other = co_await OpenDatagram(Address::Parse(kLoopback));
    co_await other.SendTo("y", socket.SockName());
    EXPECT_EQ(co_await socket.Receive(), "y");
  });
}

// ---- cancellation

Co<Datagram> ReceiveOne(DatagramSocket socket, size_t most) {
  co_return co_await socket.ReceiveFrom(most);
}

Co<size_t> ReceiveIntoFour(DatagramSocket socket) {
  char room[4];
  const DatagramSize size = co_await socket.ReceiveFrom(absl::MakeSpan(room));
  co_return size.size;
}

TEST_F(DatagramTest, ACancelledReceiveLosesNothing) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    Task<Datagram> waiting = CreateTask(ReceiveOne(pair.server, 3));
    co_await Turns();
    co_await CancelAndWait(waiting);
    EXPECT_TRUE(waiting.Cancelled());

    // The datagram has come and the task has not run yet: the next one has it,
    // whole, also if this one wanted only some of it.
    for (const bool into : {false, true}) {
      Task<Datagram> from;
      Task<size_t> size;
      if (into) {
        size = CreateTask(ReceiveIntoFour(pair.server));
      } else {
        from = CreateTask(ReceiveOne(pair.server, 4));
      }
      const AnyTask task = into ? AnyTask(size) : AnyTask(from);
      co_await Turns();
      const Socket sender(AF_INET, SOCK_DGRAM);
      for (const std::string text : {"0123456789", "second"}) {
        ::sendto(sender.Descriptor(), text.data(), text.size(), 0,
                 pair.server.SockName().Data(), pair.server.SockName().Size());
      }
      EventLoop::Current().GetPoller().Poll(absl::ZeroDuration());
      EXPECT_FALSE(task.Done());
      co_await CancelAndWait(task);
      EXPECT_TRUE(task.Cancelled());
      const Datagram whole = co_await pair.server.ReceiveFrom();
      EXPECT_EQ(whole.data, "0123456789");
      EXPECT_FALSE(whole.truncated);
      EXPECT_EQ(whole.from.Host(), "127.0.0.1");
      char room[6];
      EXPECT_EQ((co_await pair.server.ReceiveFrom(absl::MakeSpan(room))).size,
                6u);
      EXPECT_EQ(std::string(room, 6), "second");
    }
  });
}

TEST_F(DatagramTest, WhatWasPutBackFitsIntoMemoryOfTheCaller) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    Task<Datagram> task = CreateTask(ReceiveOne(pair.server, 4));
    co_await Turns();
    co_await pair.client.Send("0123456789");
    EventLoop::Current().GetPoller().Poll(absl::ZeroDuration());
    co_await CancelAndWait(task);
    char room[4];
    const DatagramSize size =
        co_await pair.server.ReceiveFrom(absl::MakeSpan(room));
    EXPECT_EQ(std::string(room, 4), "0123");
    EXPECT_TRUE(size.truncated);
    EXPECT_EQ(size.from, pair.client.SockName());
  });
}

// A system whose sockets are full until the test says otherwise.
std::atomic<int> send_error;
std::atomic<int> sends;

class FullShim {
 public:
  FullShim() {
    sends = 0;
    shim_.table().sendto = [](int fd, const void* data, size_t size, int flags,
                              const sockaddr* to, socklen_t to_size) {
      ++sends;
      if (send_error != 0) {
        errno = send_error;
        return ssize_t{-1};
      }
      return ::sendto(fd, data, size, flags, to, to_size);
    };
  }
  ~FullShim() { send_error = 0; }

 private:
  SocketShim shim_;
};

TEST_F(DatagramTest, ReliabilityT28WhereThereIsNoRoomItIsWaitedFor) {
  FullShim shim;
  RunNet(
      []() -> Co<void> {
        Pair pair = co_await MakePair();
        send_error = ENOBUFS;
        auto send = [&](std::string text) -> Co<void> {
          co_await pair.client.Send(text);
        };
        const LoopTime start = EventLoop::Current().Now();
        std::vector<Task<void>> sending;
        for (const char* text : {"a", "b", "c"}) {
          sending.push_back(CreateTask(send(text)));
        }
        co_await Sleep(absl::Milliseconds(100));
        // 1, 2, 4, ... ms: neither spinning nor asleep.
        EXPECT_EQ(sends, 7);
        const std::string dump = DumpTasks();
        EXPECT_NE(dump.find("room to send a datagram from 127.0.0.1:"),
                  std::string::npos)
            << dump;
        // One that is cancelled is not sent.
        co_await CancelAndWait(sending[1]);
        EXPECT_TRUE(sending[1].Cancelled());
        EXPECT_FALSE(sending[0].Done());
        send_error = 0;
        co_await sending[0];
        co_await sending[2];
        EXPECT_LE(EventLoop::Current().Now() - start, absl::Milliseconds(128));
        EXPECT_EQ(co_await pair.server.Receive(), "a");
        EXPECT_EQ(co_await pair.server.Receive(), "c");
        // The next time begins with a short pause.
        send_error = ENOBUFS;
        sends = 0;
        Task<void> last = CreateTask(send("d"));
        co_await Sleep(absl::Milliseconds(2));
        EXPECT_EQ(sends, 2);
        send_error = 0;
        co_await last;
      },
      kVirtual);
}

TEST_F(DatagramTest, ReliabilityT28AnEdgeSaysThatThereIsRoomAgain) {
  FullShim shim;
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    send_error = EAGAIN;
    auto send = [&](std::string text) -> Co<void> {
      co_await pair.client.Send(text);
    };
    Task<void> first = CreateTask(send("a"));
    co_await Turns();
    EXPECT_EQ(sends, 1);
    EXPECT_FALSE(first.Done());
    // Who comes later waits behind it.
    send_error = 0;
    Task<void> second = CreateTask(send("b"));
    co_await Turns();
    EXPECT_FALSE(second.Done());
    // An event of any kind brings the room to light.
    co_await pair.server.SendTo("x", pair.client.SockName());
    co_await first;
    co_await second;
    EXPECT_EQ(co_await pair.server.Receive(), "a");
    EXPECT_EQ(co_await pair.server.Receive(), "b");
  });
}

TEST_F(DatagramTest, AFullUnixSocketIsWaitedForConnectedOrNot) {
  const coil_testing::SocketFolder folder;
  RunNet([&]() -> Co<void> {
    for (const bool connected : {true, false}) {
      SCOPED_TRACE(connected);
      const Address there = Address::Unix(folder.Path("full"));
      DatagramSocket server = co_await OpenDatagram(there);
      DatagramSocket client;
      if (connected) {
        client = co_await OpenDatagram(Address(), there);
      } else {
        client = co_await OpenDatagram(Address::Unix(folder.Path("from")));
      }
      // More than the queue of the system holds.
      constexpr int kMany = 2000;
      auto send_all = [&]() -> Co<void> {
        for (int i = 0; i < kMany; ++i) {
          co_await client.SendTo(std::to_string(i), there);
        }
      };
      Task<void> sending = CreateTask(send_all());
      co_await Turns(20);
      EXPECT_FALSE(sending.Done());
      for (int i = 0; i < kMany; ++i) {
        EXPECT_EQ(co_await server.Receive(), std::to_string(i));
      }
      co_await sending;
    }
  });
}

// ---- closing

TEST_F(DatagramTest, WhoWaitsHearsThatTheSocketWasClosed) {
  FullShim shim;
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    send_error = EAGAIN;
    auto receive = [&]() -> Co<std::string> {
      return ErrorOf(pair.client.Receive());
    };
    auto send = [&]() -> Co<std::string> {
      return ErrorOf(pair.client.Send("x"));
    };
    Task<std::string> receiving = CreateTask(receive());
    Task<std::string> sending = CreateTask(send());
    co_await Turns();
    const std::string peer = pair.client.PeerName().ToString();
    pair.client.Close();
    pair.client.Close();
    EXPECT_TRUE(pair.client.IsClosed());
    EXPECT_EQ(co_await receiving,
              "receive from " + peer + ": Software caused connection abort");
    EXPECT_EQ(co_await sending,
              "send to " + peer + ": Software caused connection abort");
    EXPECT_NE(co_await ErrorOf(pair.client.Receive()), "");
    EXPECT_NE(co_await ErrorOf(pair.client.Send("x")), "");
    EXPECT_FALSE(pair.client.Socket());
    EXPECT_FALSE(pair.client.SockName());
  });
}

TEST_F(DatagramTest, TheSocketClosesWithTheLastOfItsHandles) {
  RunNet([]() -> Co<void> {
    const int before = OpenDescriptors();
    DatagramSocket one = co_await OpenDatagram(Address::Parse(kLoopback));
    DatagramSocket other = one;
    one = DatagramSocket();
    EXPECT_EQ(OpenDescriptors(), before + 1);
    // Who waits keeps it.
    Task<Datagram> waiting = CreateTask(ReceiveOne(other, 1));
    co_await Turns();
    other = DatagramSocket();
    EXPECT_EQ(OpenDescriptors(), before + 1);
    co_await CancelAndWait(waiting);
    EXPECT_EQ(OpenDescriptors(), before);
  });
}

TEST_F(DatagramTest, TheLoopMayEndWhileSomebodyWaits) {
  FullShim shim;
  DatagramSocket survivor;
  RunNet([&]() -> Co<void> {
    Pair pair = co_await MakePair();
    survivor = pair.server;
    send_error = EAGAIN;
    auto send = [](DatagramSocket socket) -> Co<void> {
      co_await socket.Send("x");
    };
    CreateTask(send(pair.client));
    CreateTask(ReceiveOne(pair.server, 10));
    co_await Turns();
  });
  EXPECT_TRUE(survivor.IsClosed());
}

// ---- misuse

TEST_F(DatagramTest, MisuseNamesTheRule) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    const std::string here = pair.server.SockName().ToString();
    Task<Datagram> waiting = CreateTask(ReceiveOne(pair.server, 1));
    co_await Turns();
    EXPECT_EQ(co_await ErrorOf(pair.server.Receive()),
              "DatagramSocket: another task is receiving already at " + here);
    waiting.Cancel();
    EXPECT_EQ(co_await ErrorOf(pair.server.Send("x")),
              "DatagramSocket::Send: the socket has no other end; use "
              "SendTo()");
    EXPECT_EQ(co_await ErrorOf(pair.server.SendTo("x", Address())),
              "DatagramSocket::SendTo: no address");
    EXPECT_EQ(co_await ErrorOf(
                  pair.client.SendTo("x", Address::Parse("127.0.0.1:9"))),
              "DatagramSocket::SendTo: the socket is connected to " + here +
                  " and cannot send to 127.0.0.1:9");
    DatagramSocket none;
    EXPECT_TRUE(none.IsClosed());
    EXPECT_THROW(static_cast<void>(none.Receive()), std::runtime_error);
    EXPECT_THROW(DatagramSocket(Socket(AF_INET, SOCK_STREAM)),
                 std::invalid_argument);
    EXPECT_EQ(co_await ErrorOf(OpenDatagram(Address())),
              "OpenDatagram: neither an address nor a family");
    EXPECT_EQ(co_await ErrorOf(OpenDatagram(Address::Parse(kLoopback),
                                            Address::Parse("[::1]:1"))),
              "OpenDatagram: [::1]:1 is of another family than the rest");
    EXPECT_EQ(co_await ErrorOf(OpenDatagram(
                  Address::Parse(kLoopback), Address(),
                  DatagramOptions().LocalAddress(Address::Parse(kLoopback)))),
              "OpenDatagram: LocalAddress() goes with the name of a host");
  });
}

TEST_F(DatagramTest, ASocketOfAnotherLoopIsRefused) {
  Runner first;
  DatagramSocket socket = first.Run([]() -> Co<DatagramSocket> {
    return OpenDatagram(Address::Parse(kLoopback));
  });
  coil::Run([&]() -> Co<void> {
    EXPECT_NE((co_await ErrorOf(socket.Receive())).find("loop"),
              std::string::npos);
  });
  EXPECT_THROW(DatagramSocket(Socket(AF_INET, SOCK_DGRAM)), std::runtime_error);
}

// ---- options

TEST_F(DatagramTest, SocketsThatShareAPort) {
  RunNet([]() -> Co<void> {
    const DatagramOptions shared = DatagramOptions().ReusePort(true);
    DatagramSocket one =
        co_await OpenDatagram(Address::Parse(kLoopback), Address(), shared);
    DatagramSocket two =
        co_await OpenDatagram(one.SockName(), Address(), shared);
    EXPECT_EQ(one.SockName(), two.SockName());
    EXPECT_NE(co_await ErrorOf(OpenDatagram(one.SockName())), "");
  });
}

TEST_F(DatagramTest, ABroadcastIsNotConnected) {
  RunNet([]() -> Co<void> {
    DatagramSocket server = co_await OpenDatagram(Address::Parse(kLoopback));
    const DatagramOptions options = DatagramOptions().Broadcast(true);
    DatagramSocket socket =
        co_await OpenDatagram(Address(), server.SockName(), options);
    EXPECT_EQ(socket.Socket().GetOption(SOL_SOCKET, SO_BROADCAST), 1);
    co_await socket.Send("who is there");
    const Datagram question = co_await server.ReceiveFrom();
    // Somebody else answers.
    DatagramSocket other = co_await OpenDatagram(Address::Parse(kLoopback));
    co_await other.SendTo("me", question.from);
    const Datagram answer = co_await socket.ReceiveFrom();
    EXPECT_EQ(answer.data, "me");
    EXPECT_EQ(answer.from, other.SockName());
  });
}

TEST_F(DatagramTest, AFamilyIsEnough) {
  RunNet([]() -> Co<void> {
    DatagramSocket socket = co_await OpenDatagram(
        Address(), Address(), DatagramOptions().Family(AF_INET));
    DatagramSocket server = co_await OpenDatagram(Address::Parse(kLoopback));
    co_await socket.SendTo("x", server.SockName());
    EXPECT_EQ(co_await server.Receive(), "x");
  });
}

TEST_F(DatagramTest, ASocketOfTheUser) {
  RunNet([]() -> Co<void> {
    Socket bound(AF_INET, SOCK_DGRAM);
    bound.Bind(Address::Parse(kLoopback));
    DatagramSocket server(std::move(bound));
    Socket connected(AF_INET, SOCK_DGRAM);
    connected.StartConnect(server.SockName());
    DatagramSocket client(std::move(connected));
    co_await client.Send("x");
    EXPECT_EQ(co_await server.Receive(), "x");
  });
}

TEST_F(DatagramTest, ANameIsResolvedAndTheLocalEndChosen) {
  class Two final : public Resolver {
   public:
    Co<std::vector<Address>> Resolve(ResolveQuery query) override {
      std::vector<Address> both;
      both.push_back(Address::Parse("[2001:db8::1]:0").WithPort(query.port()));
      both.push_back(Address::Parse(kLoopback).WithPort(query.port()));
      co_return both;
    }
  };
  SocketShim shim;
  shim.table().connect = [](int fd, const sockaddr* address, socklen_t size) {
    if (address->sa_family == AF_INET6) {
      errno = ENETUNREACH;
      return -1;
    }
    return ::connect(fd, address, size);
  };
  RunNet([]() -> Co<void> {
    DatagramSocket server = co_await OpenDatagram(Address::Parse(kLoopback));
    const int port = server.SockName().Port();
    const auto resolver = std::make_shared<Two>();
    const DatagramOptions options = DatagramOptions().Resolver(resolver);
    DatagramSocket client = co_await OpenDatagram("two", port, options);
    EXPECT_EQ(client.PeerName(), server.SockName()) << "the one with a way";
    const DatagramOptions local =
        DatagramOptions().Resolver(resolver).LocalAddress(
            Address::Parse("127.0.0.9:0"));
    DatagramSocket chosen = co_await OpenDatagram("two", port, local);
    EXPECT_EQ(chosen.SockName().Host(), "127.0.0.9");
  });
}

TEST_F(DatagramTest, AUnixSocketRemovesItsFileAndReplacesAStaleOne) {
  const coil_testing::SocketFolder folder;
  const std::string path = folder.Path("socket");
  {
    // What a process that has died leaves.
    Socket dead(AF_UNIX, SOCK_DGRAM);
    dead.Bind(Address::Unix(path));
  }
  EXPECT_TRUE(Exists(path));
  RunNet([&]() -> Co<void> {
    DatagramSocket server = co_await OpenDatagram(Address::Unix(path));
    EXPECT_EQ(co_await ErrorOf(OpenDatagram(Address::Unix(path))),
              "bind to unix:" + path + ": Address already in use");
    DatagramSocket client =
        co_await OpenDatagram(Address(), Address::Unix(path));
    const std::string large(150000, 'x');
    co_await client.Send(large);
    co_await client.Send(large);
    // More than kLargest only for those who ask for it.
    EXPECT_TRUE(co_await server.Receive(large.size()) == large);
    const Datagram cut = co_await server.ReceiveFrom();
    EXPECT_EQ(cut.data.size(), DatagramSocket::kLargest);
    EXPECT_TRUE(cut.truncated);
    EXPECT_FALSE(cut.from.IsIp());
  });
  EXPECT_FALSE(Exists(path));
}

// ---- faults

TEST_F(DatagramTest, EachCallThatOpensMayFail) {
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
  shim.table().connect = [](int fd, const sockaddr* address, socklen_t size) {
    return fails() ? -1 : ::connect(fd, address, size);
  };
  shim.table().setsockopt = [](int fd, int level, int name, const void* value,
                               socklen_t size) {
    return fails() ? -1 : ::setsockopt(fd, level, name, value, size);
  };
  bool succeeded = false;
  for (fail_at = 1; !succeeded; ++fail_at) {
    calls = 0;
    const int before = OpenDescriptors();
    RunNet([&]() -> Co<void> {
      try {
        const DatagramOptions options = DatagramOptions().ReusePort(true);
        DatagramSocket socket = co_await OpenDatagram(
            Address::Parse(kLoopback), Address::Parse("127.0.0.1:9"), options);
        succeeded = true;
      } catch (const OsError& error) {
        EXPECT_EQ(error.Errno(), ENOBUFS);
      }
    });
    EXPECT_EQ(OpenDescriptors(), before);
  }
  EXPECT_EQ(fail_at, 6);
}

TEST_F(DatagramTest, InterruptedCallsAreMadeAgain) {
  static int interrupts = 0;
  interrupts = 0;
  SocketShim shim;
  shim.table().recvmsg = [](int fd, msghdr* message, int flags) {
    if (++interrupts % 2 == 1) {
      errno = EINTR;
      return ssize_t{-1};
    }
    return ::recvmsg(fd, message, flags);
  };
  shim.table().sendto = [](int fd, const void* data, size_t size, int flags,
                           const sockaddr* to, socklen_t to_size) {
    if (++interrupts % 2 == 1) {
      errno = EINTR;
      return ssize_t{-1};
    }
    return ::sendto(fd, data, size, flags, to, to_size);
  };
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    for (int i = 0; i < 10; ++i) {
      co_await pair.client.Send("x");
      EXPECT_EQ(co_await pair.server.Receive(), "x");
    }
  });
}

TEST_F(DatagramTest, ABusySocketGivesTheOthersTheirTurn) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    for (int i = 0; i < 100; ++i) co_await pair.client.Send("x");
    int turns = 0;
    bool done = false;
    auto count = [&]() -> Co<void> {
      while (!done) {
        ++turns;
        co_await Yield();
      }
    };
    Task<void> other = CreateTask(count());
    for (int i = 0; i < 100; ++i) co_await pair.server.Receive();
    done = true;
    EXPECT_GE(turns, 4);
    co_await other;
  });
}

TEST_F(DatagramTest, WhoOnlySendsGivesWayWhenItsTimeIsUsedUp) {
  RunOptions options;
  options.loop.time_slice = absl::Nanoseconds(1);
  RunNet(
      []() -> Co<void> {
        Pair pair = co_await MakePair();
        int turns = 0;
        bool done = false;
        auto count = [&]() -> Co<void> {
          while (!done) {
            ++turns;
            co_await Yield();
          }
        };
        Task<void> other = CreateTask(count());
        for (int i = 0; i < 20000; ++i) co_await pair.client.Send("x");
        done = true;
        EXPECT_GE(turns, 2);
        co_await other;
      },
      options);
}

TEST_F(DatagramTest, ErrorsMayBeTakenWithoutAThrow) {
  RunNet([]() -> Co<void> {
    Pair pair = co_await MakePair();
    const absl::Status status =
        co_await AsStatus(pair.client.Send(std::string(70000, 'x')));
    EXPECT_FALSE(status.ok());
    co_await pair.client.Send("x");
    const auto received = co_await AsStatus(pair.server.Receive());
    EXPECT_TRUE(received.ok());
  });
}

// ---- every suspension

Co<void> AskThrice() {
  Pair pair = co_await MakePair();
  auto echo = [](DatagramSocket socket) -> Co<void> {
    for (;;) {
      const Datagram question = co_await socket.ReceiveFrom();
      co_await socket.SendTo(question.data, question.from);
    }
  };
  Task<void> server = CreateTask(echo(pair.server));
  for (const std::string text : {"a", "", "c"}) {
    co_await pair.client.Send(text);
    const bool alive = !server.Done();
    if (alive) {
      // A cancelled echo answers no more.
      Task<std::string> answer = CreateTask(pair.client.Receive());
      while (!answer.Done() && !server.Done()) co_await Yield();
      if (!answer.Done()) co_await CancelAndWait(answer);
    }
  }
  co_await CancelAndWait(server);
}

TEST(DatagramSweepTest, NothingIsLeftWhereverItIsCancelled) {
  const SweepResult result =
      ForEachCancellationPoint(AskThrice, SweepOptions().Seeds(2));
  EXPECT_GT(result.points, 3u);
}

TEST(DatagramSweepTest, NothingIsLeftWhereverTheLoopEnds) {
  const SweepResult result = ForEachDestructionPoint(AskThrice);
  EXPECT_GT(result.points, 2u);
}

}  // namespace
}  // namespace coil::net
