// Connections in the simulated network, one property at a time.

#include "coil/net/simulated_network.h"

#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/net/addr_info.h"
#include "coil/net/resolver.h"
#include "coil/net/streams.h"
#include "coil/sync/queue.h"
#include "coil/task/future.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "tests/net/net_testing.h"
#include "tests/net/simulated_testing.h"

namespace coil::net {
namespace {

using coil_testing::EchoBytes;
using coil_testing::ErrnoOf;
using coil_testing::ErrorOf;
using coil_testing::LinkOf;
using coil_testing::LoopNow;
using coil_testing::OpenDescriptors;
using coil_testing::Pattern;
using coil_testing::ReceiveAll;
using coil_testing::Received;

constexpr absl::Duration kLatency = absl::Milliseconds(10);

SimulatedNetworkOptions Even() {
  return SimulatedNetworkOptions().Link(LinkOf(kLatency));
}

// A server on "server" that hands over what it accepts, and connections to it
// from "client".
class Pairs {
 public:
  explicit Pairs(SimulatedNetwork& network) : network_(network) {
    network.AddHost("server", {"10.0.0.1"});
    network.AddHost("client", {"10.0.0.2"});
  }
  ~Pairs() {
    // The server holds the queue, and what is in there the server.
    while (accepted_->TryGet().has_value()) {
    }
  }
  Co<void> Listen() {
    auto queue = accepted_;
    auto hand_over = [queue](StreamReader reader,
                             StreamWriter writer) -> Co<void> {
      queue->PutNoWait(StreamPair(std::move(reader), std::move(writer)));
      co_return;
    };
    const SimulatedHostScope scope = network_.As("server");
    server = co_await StartServer(hand_over, "10.0.0.1", 80);
  }
  // The client's end; the server's is `other`.
  Co<StreamPair> Connect() {
    const SimulatedHostScope scope = network_.As("client");
    StreamPair client = co_await OpenConnection("server", 80);
    other = co_await accepted_->Get();
    co_return client;
  }

  Server server;
  StreamPair other = StreamPair({}, {});

 private:
  SimulatedNetwork& network_;
  std::shared_ptr<Queue<StreamPair>> accepted_ =
      std::make_shared<Queue<StreamPair>>();
};

SIMULATED_TEST(SimulatedNetworkTest, ServesUnchangedAndWithoutADescriptor) {
  const int before = OpenDescriptors();
  SimulatedNetwork network;
  Server server = co_await StartServer(EchoBytes, "127.0.0.1", 0);
  EXPECT_NE(server.Port(), 0);
  EXPECT_TRUE(server.Sockets().empty());
  auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
  co_await writer.Write("hello\n");
  EXPECT_EQ(co_await reader.ReadLine(), "hello\n");
  EXPECT_EQ(writer.PeerName().Port(), server.Port());
  EXPECT_EQ(writer.SockName().Host(), "127.0.0.1");
  EXPECT_EQ(writer.Socket().Descriptor(), -1);
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(network.Connections(), 1u);
  co_await writer.Close();
  server.Close();
  co_await server.WaitClosed();
  EXPECT_EQ(network.Connections(), 0u);
  EXPECT_EQ(network.BytesDelivered(), 12u);
}

SIMULATED_TEST(SimulatedNetworkTest, ListensAtAllAddressesOfSeveralHosts) {
  SimulatedNetwork network;
  network.AddHost("db", {"10.0.0.1", "fd00::1"});
  std::vector<std::string> hosts = {"db", "10.0.0.2", "10.0.0.2"};
  Server server = co_await StartServer(EchoBytes, hosts, 80);
  std::vector<std::string> listening;
  for (const Address& address : network.Listening()) {
    listening.push_back(address.ToString());
  }
  EXPECT_EQ(listening, (std::vector<std::string>{"10.0.0.1:80", "[fd00::1]:80",
                                                 "10.0.0.2:80"}));
  for (const char* host : {"db", "10.0.0.1", "fd00::1", "10.0.0.2"}) {
    auto [reader, writer] = co_await OpenConnection(std::string(host), 80);
    co_await writer.Write("x");
    EXPECT_EQ(co_await reader.ReadExactly(1), "x") << host;
  }
  EXPECT_EQ(co_await ErrorOf(OpenConnection("nobody", 80)),
            "resolve nobody: Name or service not known");
  server.Close();
  EXPECT_TRUE(network.Listening().empty());
  co_await server.WaitClosed();
}

SIMULATED_TEST(SimulatedNetworkTest, TwoServersShareNoPortUnlessBothSaySo) {
  SimulatedNetwork network;
  Server first = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  EXPECT_EQ(co_await ErrnoOf(StartServer(EchoBytes, "10.0.0.1", 80)),
            EADDRINUSE);
  Server elsewhere = co_await StartServer(EchoBytes, "10.0.0.2", 80);
  first.Close();
  const ServerOptions shared = ServerOptions().ReusePort(true);
  Server second = co_await StartServer(EchoBytes, "10.0.0.1", 80, shared);
  Server third = co_await StartServer(EchoBytes, "10.0.0.1", 80, shared);
  EXPECT_EQ(network.Listening().size(), 3u);
}

SIMULATED_TEST(SimulatedNetworkTest, TimeIsThatOfTheLink) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  const LoopTime begin = LoopNow();
  auto [reader, writer] = co_await OpenConnection("10.0.0.1", 80);
  EXPECT_EQ(LoopNow() - begin, 2 * kLatency);
  co_await writer.Write("x");
  co_await reader.ReadExactly(1);
  EXPECT_EQ(LoopNow() - begin, 4 * kLatency);
}

SIMULATED_TEST(SimulatedNetworkTest, ALinkHasABandwidth) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Link(LinkOf(kLatency).Bandwidth(100 << 10)));
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  auto [reader, writer] = co_await OpenConnection("10.0.0.1", 80);
  const LoopTime begin = LoopNow();
  const std::string data = Pattern(50 << 10);
  co_await writer.Write(data);
  EXPECT_TRUE(co_await reader.ReadExactly(data.size()) == data);
  EXPECT_GE(LoopNow() - begin, absl::Milliseconds(500));
  EXPECT_LE(LoopNow() - begin, absl::Milliseconds(600));
}

SIMULATED_TEST(SimulatedNetworkTest, ATaskActsAsItsHost) {
  SimulatedNetwork network;
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  EXPECT_EQ(client.writer.SockName().Host(), "10.0.0.2");
  EXPECT_EQ(pairs.other.writer.PeerName(), client.writer.SockName());
  // Nobody has entered a host here any more.
  StreamPair other = co_await OpenConnection("server", 80);
  EXPECT_EQ(other.writer.SockName().Host(), "192.0.2.1");
  const SimulatedHostScope scope = network.As("client");
  EXPECT_EQ(co_await ErrnoOf(StartServer(EchoBytes, "10.0.0.1", 81)),
            EADDRNOTAVAIL);
  // A loopback address is its own.
  Server own = co_await StartServer(EchoBytes, "127.0.0.1", 0);
  StreamPair near = co_await OpenConnection("localhost", own.Port());
  const SimulatedHostScope inner = network.As("server");
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("127.0.0.1", own.Port())),
            ECONNREFUSED);
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("fd00::a", 90)), ENETUNREACH);
}

// ---- connecting (T52)

SIMULATED_TEST(SimulatedConnectTest, NobodyListens) {
  SimulatedNetwork network(Even());
  const LoopTime begin = LoopNow();
  EXPECT_EQ(co_await ErrorOf(OpenConnection("10.0.0.1", 80)),
            "connect to 10.0.0.1:80: Connection refused");
  EXPECT_EQ(LoopNow() - begin, 2 * kLatency);
  Server bound = co_await StartServer(EchoBytes, "10.0.0.1", 80,
                                      ServerOptions().StartServing(false));
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("10.0.0.1", 80)), ECONNREFUSED);
  EXPECT_EQ(network.Connections(), 0u);
}

SIMULATED_TEST(SimulatedConnectTest, ABlackHoleTimesOut) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  network.Isolate("10.0.0.1");
  const LoopTime begin = LoopNow();
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("10.0.0.1", 80)), ETIMEDOUT);
  EXPECT_EQ(LoopNow() - begin, absl::Seconds(127));
  network.Rejoin("10.0.0.1");
  // Only the answer is lost.
  network.PartitionOneWay("10.0.0.1", "default");
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("10.0.0.1", 80)), ETIMEDOUT);
  EXPECT_EQ(server.Connections(), 0u);
  EXPECT_EQ(network.Connections(), 0u);
  network.HealAll();
  StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
}

SIMULATED_TEST(SimulatedConnectTest, AHealedWayIsFoundByTheNextTry) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  network.Partition("default", "10.0.0.1");
  const LoopTime begin = LoopNow();
  Task<StreamPair> task = CreateTask(OpenConnection("10.0.0.1", 80));
  co_await Sleep(absl::Milliseconds(2500));
  network.Heal("default", "10.0.0.1");
  co_await task;
  EXPECT_EQ(LoopNow() - begin, absl::Seconds(3) + 2 * kLatency);
}

SIMULATED_TEST(SimulatedConnectTest, CancelledAtAnyTimeLeavesNothing) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80,
                                       ServerOptions().Backlog(1));
  for (int ms = 0; ms <= 40; ms += 5) {
    SCOPED_TRACE(ms);
    auto connect = []() -> Co<void> {
      StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
      co_await Sleep(absl::Hours(1));
    };
    EXPECT_NE(co_await ErrorOf(WithTimeout(absl::Milliseconds(ms), connect())),
              "");
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(network.Connections(), 0u);
    EXPECT_EQ(server.Connections(), 0u);
  }
  // There is room in the backlog.
  const LoopTime begin = LoopNow();
  StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
  EXPECT_EQ(LoopNow() - begin, 2 * kLatency);
}

SIMULATED_TEST(SimulatedConnectTest, AFullBacklogIsTriedAgain) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80,
                                       ServerOptions().Backlog(1));
  network.StopAccepting("10.0.0.1");
  std::vector<Task<StreamPair>> tasks;
  for (int i = 0; i < 3; ++i) {
    tasks.push_back(CreateTask(OpenConnection("10.0.0.1", 80)));
  }
  co_await Sleep(absl::Milliseconds(500));
  // The backlog is one more than it says, as Linux has it.
  EXPECT_TRUE(tasks[0].Done());
  EXPECT_TRUE(tasks[1].Done());
  EXPECT_FALSE(tasks[2].Done());
  EXPECT_EQ(server.Connections(), 0u);
  network.ResumeAccepting("10.0.0.1");
  const StreamPair last = co_await tasks[2];
  co_await last.writer.Write("x");
  EXPECT_EQ(co_await last.reader.ReadExactly(1), "x");
  EXPECT_EQ(server.Connections(), 3u);
}

SIMULATED_TEST(SimulatedConnectTest, ASilentAddressDoesNotHoldUpTheNextOne) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.2", 80);
  network.Isolate("fd00::1");
  const std::vector<Address> both = {Address::Parse("[fd00::1]:80"),
                                     Address::Parse("10.0.0.2:80")};
  const ConnectOptions options =
      ConnectOptions().Resolver(std::make_shared<SystemResolver>(
          ResolverOptions().Override("two", both)));
  const LoopTime begin = LoopNow();
  StreamPair pair = co_await OpenConnection("two", 80, options);
  EXPECT_EQ(pair.writer.PeerName(), both[1]);
  EXPECT_EQ(LoopNow() - begin, absl::Milliseconds(250) + 2 * kLatency);
  EXPECT_EQ(network.Connections(), 1u);  // the loser is closed
}

SIMULATED_TEST(SimulatedConnectTest, ASocketThatClosesResetsItsBacklog) {
  SimulatedNetwork network(Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  network.StopAccepting("10.0.0.1");
  StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
  // One is in the backlog, the other one's last packet is under way.
  co_await Sleep(absl::Seconds(1));
  StreamPair late = co_await OpenConnection("10.0.0.1", 80);
  server.Close();
  EXPECT_EQ((co_await ReceiveAll(pair.reader)).error, ECONNRESET);
  EXPECT_EQ((co_await ReceiveAll(late.reader)).error, ECONNRESET);
}

// ---- the flow of bytes

SIMULATED_TEST(SimulatedStreamTest, AWriterWaitsForItsReader) {
  SimulatedNetwork network(
      Even().SendBuffer(1000).ReceiveBuffer(2000).SegmentSize(300));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string data = Pattern(20000);
  auto write = [&]() -> Co<void> {
    co_await client.writer.Write(data);
    client.writer.WriteEof();
  };
  Task<void> writing = CreateTask(write());
  co_await Sleep(absl::Hours(1));
  EXPECT_FALSE(writing.Done());
  EXPECT_EQ(network.BytesDelivered(), 2000u);  // what the window allows
  const Received received = co_await ReceiveAll(pairs.other.reader);
  EXPECT_TRUE(received.data == data);
  EXPECT_EQ(received.error, 0);
  co_await writing;
}

SIMULATED_TEST(SimulatedStreamTest, ReadsAndWritesArePartial) {
  SimulatedNetwork network(Even().Seed(3).PartialTransfers(0.5));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string data = Pattern(1000);
  int parts = 0;
  for (int i = 0; i < 20; ++i) {
    co_await client.writer.Write(data);
    std::string got;
    while (got.size() < data.size()) {
      const std::string part = co_await pairs.other.reader.Read(1000);
      got += part;
      ++parts;
    }
    EXPECT_TRUE(got == data);
  }
  EXPECT_GT(parts, 30);
}

// T50.
SIMULATED_TEST(ReliabilityT50, AHalfClosedConnectionGoesOnTheOtherWay) {
  SimulatedNetwork network(Even().ReceiveBuffer(5000));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string question = Pattern(30000, 1);
  const std::string answer = Pattern(30000, 2);
  auto ask = [&]() -> Co<void> {
    co_await client.writer.Write(question);
    client.writer.WriteEof();
  };
  Task<void> asking = CreateTask(ask());
  // The end comes behind all that was sent before it.
  Received received = co_await ReceiveAll(pairs.other.reader);
  EXPECT_TRUE(received.data == question);
  EXPECT_EQ(received.error, 0);
  co_await asking;
  auto answer_it = [&]() -> Co<void> {
    co_await pairs.other.writer.Write(answer);
    co_await pairs.other.writer.Close();
  };
  Task<void> answering = CreateTask(answer_it());
  received = co_await ReceiveAll(client.reader);
  EXPECT_TRUE(received.data == answer);
  EXPECT_EQ(received.error, 0);
  co_await answering;
}

// T51: 16 MiB in opt; the same in kind with less.
SIMULATED_TEST(ReliabilityT51, CloseSendsEverythingToASlowReader) {
  SimulatedNetwork network(SimulatedNetworkOptions()
                               .Link(LinkOf(kLatency).Bandwidth(1 << 20))
                               .SegmentSize(16 << 10));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string data = Pattern(2 << 20);
  const LoopTime begin = LoopNow();
  auto send = [&]() -> Co<void> {
    client.writer.WriteSoon(data);
    co_await client.writer.Close();
  };
  Task<void> sending = CreateTask(send());
  std::string got;
  for (;;) {
    const std::string part = co_await pairs.other.reader.Read(32 << 10);
    if (part.empty()) break;
    got += part;
    co_await Sleep(absl::Milliseconds(40));
  }
  EXPECT_TRUE(got == data);
  EXPECT_GE(LoopNow() - begin, absl::Seconds(2));
  co_await sending;
}

// ---- resets

SIMULATED_TEST(SimulatedResetTest, BothEndsAreToldAndNothingComesAfterwards) {
  SimulatedNetwork network(Even());
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  Task<Received> reading = CreateTask(ReceiveAll(client.reader));
  co_await pairs.other.writer.Write("before");
  co_await Sleep(absl::Seconds(1));
  co_await pairs.other.writer.Write("under way");
  EXPECT_EQ(network.ResetConnections("client", "server"), 1u);
  const Received received = co_await reading;
  EXPECT_EQ(received.data, "before");
  EXPECT_EQ(received.error, ECONNRESET);
  EXPECT_EQ(co_await ErrnoOf(client.writer.Write("x")), EPIPE);
  // Whoever had not read loses what has come, and is told, even if the end had
  // come, too.
  EXPECT_EQ(co_await ErrnoOf(pairs.other.writer.Write("x")), ECONNRESET);
  EXPECT_EQ((co_await ReceiveAll(pairs.other.reader)).error, ECONNRESET);
}

SIMULATED_TEST(SimulatedResetTest, DropsWhatWasNotRead) {
  SimulatedNetwork network(Even());
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  co_await pairs.other.writer.Write("never read");
  pairs.other.writer.WriteEof();
  co_await Sleep(absl::Seconds(1));
  network.ResetConnections("client", "server");
  const Received received = co_await ReceiveAll(client.reader);
  EXPECT_EQ(received.data, "");
  EXPECT_EQ(received.error, ECONNRESET);
}

SIMULATED_TEST(SimulatedResetTest, WhoClosesWithUnreadBytesResets) {
  SimulatedNetwork network(Even());
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  co_await client.writer.Write("unread");
  co_await Sleep(absl::Seconds(1));
  co_await pairs.other.writer.Close();
  EXPECT_EQ((co_await ReceiveAll(client.reader)).error, ECONNRESET);
}

SIMULATED_TEST(SimulatedResetTest, WhatIsSentToAClosedEndIsAnsweredByAReset) {
  SimulatedNetwork network(Even());
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  co_await pairs.other.writer.Close();
  const Received received = co_await ReceiveAll(client.reader);
  EXPECT_EQ(received.error, 0);  // an orderly end
  EXPECT_EQ(co_await ErrnoOf(client.writer.Write("x")), 0);
  co_await Sleep(absl::Seconds(1));
  EXPECT_EQ(co_await ErrnoOf(client.writer.Write("x")), ECONNRESET);
}

SIMULATED_TEST(SimulatedResetTest, AHostCrashes) {
  SimulatedNetwork network(Even());
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  Task<Received> reading = CreateTask(ReceiveAll(client.reader));
  co_await Sleep(absl::Milliseconds(1));
  network.Kill("server");
  EXPECT_EQ((co_await ReceiveAll(pairs.other.reader)).error, ECONNRESET);
  EXPECT_EQ((co_await reading).error, ECONNRESET);
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("server", 80)), ECONNREFUSED);
  pairs.server.Close();
  co_await pairs.Listen();  // it is up again
  client = co_await pairs.Connect();
}

// ---- partitions

SIMULATED_TEST(SimulatedPartitionTest, WhatWasSentWaitsAndKeepsItsOrder) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Seed(5).SegmentSize(100).Link(
          SimulatedLink().Latency(kLatency, 10 * kLatency)));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string data = Pattern(5000);
  co_await client.writer.Write(std::string_view(data).substr(0, 2000));
  network.Partition("client", "server");
  const uint64_t before = network.BytesDelivered();
  co_await Sleep(absl::Minutes(5));
  EXPECT_EQ(network.BytesDelivered(), before);
  network.Heal("client", "server");
  co_await client.writer.Write(std::string_view(data).substr(2000));
  client.writer.WriteEof();
  const Received received = co_await ReceiveAll(pairs.other.reader);
  EXPECT_TRUE(received.data == data);
  EXPECT_EQ(received.error, 0);
}

SIMULATED_TEST(SimulatedPartitionTest, AWindowThatOpensMeanwhileIsToldLater) {
  SimulatedNetwork network(Even().ReceiveBuffer(1000).SendBuffer(1000));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  const std::string data = Pattern(4000);
  auto write = [&]() -> Co<void> { co_await client.writer.Write(data); };
  Task<void> writing = CreateTask(write());
  co_await Sleep(absl::Seconds(1));
  network.PartitionOneWay("server", "client");
  EXPECT_EQ((co_await pairs.other.reader.ReadExactly(1000)).size(), 1000u);
  co_await Sleep(absl::Seconds(60));
  EXPECT_FALSE(writing.Done());
  network.Heal("client", "server");
  EXPECT_TRUE(co_await pairs.other.reader.ReadExactly(3000) ==
              data.substr(1000));
  co_await writing;
}

// T54: a dead peer is found out by a deadline, the network's or the program's.
SIMULATED_TEST(ReliabilityT54, ADeadPeerIsGivenUp) {
  SimulatedNetwork network(Even().RetransmitTimeout(absl::Seconds(30)));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  Task<Received> reading = CreateTask(ReceiveAll(client.reader));
  network.Isolate("server");
  const LoopTime begin = LoopNow();
  co_await client.writer.Write("is anybody there?");
  EXPECT_EQ((co_await reading).error, ETIMEDOUT);
  EXPECT_EQ(LoopNow() - begin, absl::Seconds(30) + kLatency);
  EXPECT_EQ(co_await ErrnoOf(client.writer.Write("x")), EPIPE);
  // The other one has sent nothing, and would wait for ever.
  EXPECT_NE(co_await ErrorOf(
                WithTimeout(absl::Seconds(5), pairs.other.reader.ReadLine())),
            "");
  EXPECT_EQ(LoopNow() - begin, absl::Seconds(35) + kLatency);
}

SIMULATED_TEST(SimulatedPartitionTest, WhoHasGivenUpAnswersTheOthersEnd) {
  SimulatedNetwork network(Even().RetransmitTimeout(absl::Seconds(30)));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  network.Isolate("server");
  co_await client.writer.Write("is anybody there?");
  co_await Sleep(absl::Minutes(1));
  network.Rejoin("server");
  pairs.other.writer.WriteEof();
  const Received received =
      co_await WithTimeout(absl::Minutes(1), ReceiveAll(pairs.other.reader));
  EXPECT_EQ(received.error, ECONNRESET);
}

SIMULATED_TEST(SimulatedPartitionTest, AResetThatWasGivenUpIsSentAgain) {
  SimulatedNetwork network(Even().RetransmitTimeout(absl::Seconds(30)));
  Pairs pairs(network);
  co_await pairs.Listen();
  StreamPair client = co_await pairs.Connect();
  network.Isolate("server");
  network.Kill("client");
  co_await Sleep(absl::Minutes(1));
  network.Rejoin("server");
  EXPECT_EQ(co_await ErrnoOf(pairs.other.writer.Write("x")), 0);
  co_await Sleep(absl::Seconds(1));
  EXPECT_EQ(co_await ErrnoOf(pairs.other.writer.Write("x")), ECONNRESET);
}

// ---- servers

SIMULATED_TEST(SimulatedServerTest, ShutsDownWithAGrace) {
  SimulatedNetwork network(Even());
  int finished = 0;
  auto handler = [&finished](StreamReader reader,
                             StreamWriter writer) -> Co<void> {
    const std::string line = co_await reader.ReadLine();
    co_await Sleep(absl::Seconds(line == "slow\n" ? 60 : 2));
    co_await writer.Write("done");
    ++finished;
  };
  Server server = co_await StartServer(std::move(handler), "10.0.0.1", 80);
  StreamPair quick = co_await OpenConnection("10.0.0.1", 80);
  StreamPair slow = co_await OpenConnection("10.0.0.1", 80);
  co_await quick.writer.Write("quick\n");
  co_await slow.writer.Write("slow\n");
  co_await Sleep(absl::Seconds(1));
  const LoopTime begin = LoopNow();
  co_await server.Shutdown(absl::Seconds(10));
  EXPECT_EQ(LoopNow() - begin, absl::Seconds(10));
  EXPECT_EQ(finished, 1);
  EXPECT_EQ((co_await ReceiveAll(quick.reader)).data, "done");
  EXPECT_EQ((co_await ReceiveAll(slow.reader)).data, "");
  EXPECT_EQ(co_await ErrnoOf(OpenConnection("10.0.0.1", 80)), ECONNREFUSED);
}

// ---- the network as an object

SIMULATED_TEST(SimulatedNetworkTest, NewConnectionsAreTheSystemsOnceItIsGone) {
  std::optional<SimulatedNetwork> network(std::in_place, Even());
  Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
  StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
  network.reset();
  // What is there lives on.
  co_await pair.writer.Write("x");
  EXPECT_EQ(co_await pair.reader.ReadExactly(1), "x");
  Server real = co_await StartServer(EchoBytes, "127.0.0.1", 0);
  EXPECT_EQ(real.Sockets().size(), 1u);
}

SIMULATED_TEST(SimulatedNetworkTest, ALoopHasOneAtATime) {
  SimulatedNetwork network;
  EXPECT_EQ(co_await ErrorOf([]() -> Co<void> {
              SimulatedNetwork second;
              co_return;
            }()),
            "SimulatedNetwork: the loop has a simulated network already");
}

TEST(SimulatedNetworkTest, IsForALoop) {
  EXPECT_THROW(SimulatedNetwork(), std::runtime_error);
  const SimulationOptions simulation;
  Runner runner({.simulation = &simulation});
  SimulatedNetwork network(runner.Loop());
  auto main = []() -> Co<void> {
    Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
    StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
  };
  runner.Run(main());
  runner.Close();
  EXPECT_EQ(network.Connections(), 0u);
}

SIMULATED_TEST(SimulatedNetworkTest, RefusesOptionsThatCannotBe) {
  const auto error = [](const SimulatedNetworkOptions& options) {
    try {
      SimulatedNetwork network(options);
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  using Options = SimulatedNetworkOptions;
  EXPECT_EQ(error(Options().Resets(1.5)),
            "SimulatedNetwork: Resets(1.5) is no probability");
  EXPECT_EQ(error(Options().SpuriousBlocks(1)),
            "SimulatedNetwork: SpuriousBlocks(1) is no probability below 1");
  EXPECT_EQ(error(Options().SendBuffer(0)),
            "SimulatedNetwork: SendBuffer() is at least one byte");
  EXPECT_EQ(error(Options().Link(
                SimulatedLink().Latency(absl::Seconds(2), absl::Seconds(1)))),
            "SimulatedNetwork: Latency(2s, 1s) is no range of times");
  EXPECT_EQ(error(Options().ConnectTimeout(absl::ZeroDuration())),
            "SimulatedNetwork: a timeout is longer than no time");
  SimulatedNetwork network;
  network.AddHost("a", {"10.0.0.1"});
  EXPECT_THROW(network.AddHost("a", {}), std::invalid_argument);
  EXPECT_THROW(network.AddHost("b", {"10.0.0.1"}), std::invalid_argument);
  EXPECT_THROW(network.AddHost("c", {"127.0.0.1"}), std::invalid_argument);
  EXPECT_THROW(const auto scope = network.As("nobody"), std::invalid_argument);
  EXPECT_THROW(network.Kill("nobody"), std::invalid_argument);
  co_return;
}

// What is open when the loop ends goes with it, and what outlives it is closed.
TEST(SimulatedNetworkTest, ClosesWithItsLoop) {
  const SimulationOptions simulation;
  std::optional<StreamPair> pair;
  std::optional<Server> server;
  std::optional<SimulatedNetwork> network;
  auto main = [&]() -> Co<void> {
    network.emplace(Even().RecordTrace(true));
    server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
    pair = co_await OpenConnection("10.0.0.1", 80);
    pair->writer.WriteSoon("under way");
    CreateTask(OpenConnection("10.0.0.2", 80));  // and one that is connecting
    co_await Yield();
  };
  coil::Run(main, {.simulation = &simulation});
  EXPECT_EQ(network->Connections(), 0u);
  EXPECT_TRUE(network->Listening().empty());
  const size_t traced = network->Trace().size();
  EXPECT_GT(traced, 5u);
  // As a fixture does at its end: nothing happens any more.
  network->Partition("default", "10.0.0.1");
  network->Heal("default", "10.0.0.1");
  network->Isolate("10.0.0.1");
  network->Rejoin("10.0.0.1");
  network->HealAll();
  network->Kill("10.0.0.1");
  network->ResumeAccepting("10.0.0.1");
  EXPECT_EQ(network->ResetConnections("default", "10.0.0.1"), 0u);
  EXPECT_EQ(network->Trace().size(), traced);
  pair.reset();
  server.reset();
}

TEST(SimulatedNetworkTest, AHostIsLeftWhereverItsFrameDies) {
  const auto scenario = []() -> Co<void> {
    SimulatedNetwork network;
    network.AddHost("a", {"10.0.0.1"});
    const SimulatedHostScope scope = network.As("a");
    co_await Sleep(absl::Seconds(1));
  };
  EXPECT_GT(ForEachDestructionPoint(scenario).points, 0u);
}

SIMULATED_TEST(SimulatedNetworkTest, ResolvesNumbersAndNamesOfHosts) {
  SimulatedNetwork network;
  network.AddHost("db", {"10.0.0.1", "fd00::1"});
  const std::shared_ptr<Resolver> resolver = DefaultResolver();
  const auto resolve = [&resolver](const char* host, const char* service,
                                   int family) -> Co<std::string> {
    ResolveQuery query(host, 80);
    query.Service(service).Family(family);
    std::string text;
    for (const Address& address : co_await resolver->Resolve(query)) {
      text += address.ToString() + ";";
    }
    co_return text;
  };
  EXPECT_EQ(co_await resolve("db", "", AF_UNSPEC), "10.0.0.1:80;[fd00::1]:80;");
  EXPECT_EQ(co_await resolve("db", "8080", AF_INET6), "[fd00::1]:8080;");
  EXPECT_EQ(co_await resolve("10.0.0.1", "81", AF_UNSPEC), "10.0.0.1:81;");
  EXPECT_EQ(co_await resolve("10.9.9.9", "", AF_INET), "10.9.9.9:80;");
  EXPECT_NE(co_await ErrorOf(resolve("db", "http", AF_UNSPEC)), "");
  EXPECT_NE(co_await ErrorOf(resolve("db", "65536", AF_UNSPEC)), "");
  EXPECT_EQ(co_await ErrnoOf(resolve("10.0.0.1", "", AF_INET6)), EAFNOSUPPORT);
}

// The clock may be a real one.
TEST(SimulatedNetworkTest, WorksInRealTime) {
  coil_testing::RunNet([]() -> Co<void> {
    SimulatedNetwork network(
        SimulatedNetworkOptions().PartialTransfers(0.3).SpuriousBlocks(0.3));
    Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
    auto [reader, writer] = co_await OpenConnection("10.0.0.1", 80);
    const std::string data = Pattern(100000);
    for (int i = 0; i < 3; ++i) {
      co_await writer.Write(std::string_view(data).substr(0, 30000));
      EXPECT_TRUE(co_await reader.ReadExactly(30000) == data.substr(0, 30000));
    }
    co_await writer.Close();
    co_await server.Shutdown(absl::Seconds(10));
    EXPECT_EQ(network.Connections(), 0u);
  });
}

}  // namespace
}  // namespace coil::net
