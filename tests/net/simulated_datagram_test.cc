// Datagrams in the simulated network.

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/os_error.h"
#include "coil/net/datagram.h"
#include "coil/net/datagram_endpoint.h"
#include "coil/net/internal/sim_core.h"
#include "coil/net/internal/sim_port.h"
#include "coil/net/protocol.h"
#include "coil/net/simulated_network.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "tests/net/net_testing.h"
#include "tests/net/simulated_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrnoOf;
using coil_testing::ErrorOf;
using coil_testing::LinkOf;
using coil_testing::OpenDescriptors;
using coil_testing::Pattern;

constexpr absl::Duration kLatency = absl::Milliseconds(10);

Address At(const char* text) { return Address::Parse(text); }

// What has come until nothing more does.
Co<std::vector<std::string>> Drain(DatagramSocket socket) {
  std::vector<std::string> got;
  try {
    for (;;) {
      got.push_back(co_await WithTimeout(absl::Seconds(1), socket.Receive()));
    }
  } catch (const TimeoutError&) {
  }
  co_return got;
}

SIMULATED_TEST(SimulatedDatagramTest, AnswersAndWithoutADescriptor) {
  const int before = OpenDescriptors();
  SimulatedNetwork network(SimulatedNetworkOptions().Link(LinkOf(kLatency)));
  network.AddHost("server", {"10.0.0.1"});
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket client = co_await OpenDatagram("server", 53);
  EXPECT_EQ(client.SockName().Host(), "192.0.2.1");
  EXPECT_EQ(client.PeerName(), At("10.0.0.1:53"));
  const LoopTime begin = coil_testing::LoopNow();
  co_await client.Send("question");
  const Datagram question = co_await server.ReceiveFrom();
  EXPECT_EQ(question.data, "question");
  EXPECT_EQ(question.from, client.SockName());
  EXPECT_FALSE(question.truncated);
  co_await server.SendTo("answer", question.from);
  EXPECT_EQ(co_await client.Receive(), "answer");
  EXPECT_EQ(coil_testing::LoopNow() - begin, 2 * kLatency);
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(network.DatagramsDelivered(), 2u);
  client.Close();
  server.Close();
  EXPECT_EQ(network.DatagramSockets(), 0u);
}

SIMULATED_TEST(SimulatedDatagramTest, ComesWholeHoweverLongItIs) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Link(LinkOf(kLatency)).ReceiveBuffer(1 << 20));
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket client = co_await OpenDatagram(Address(), At("10.0.0.1:53"));
  for (const size_t size : {0, 1, 1460, 65507}) {
    const std::string data = Pattern(size, size);
    co_await client.Send(data);
    EXPECT_TRUE(co_await server.Receive() == data) << size;
  }
  EXPECT_EQ(co_await ErrnoOf(client.Send(Pattern(65508))), EMSGSIZE);
  // Cut off where there is no room, also of the next one's beginning.
  co_await client.Send("0123456789");
  co_await client.Send("next");
  char room[4];
  const DatagramSize cut = co_await server.ReceiveFrom(absl::MakeSpan(room));
  EXPECT_EQ(cut.size, 4u);
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(co_await server.Receive(), "next");
  // Whoever does not wait any more takes nothing.
  Task<std::string> task = CreateTask(server.Receive());
  co_await Yield();
  co_await client.Send("kept");
  task.Cancel();
  EXPECT_EQ(co_await server.Receive(), "kept");
}

SIMULATED_TEST(SimulatedDatagramTest, AreLostDoubledAndOvertaken) {
  SimulatedNetwork network(SimulatedNetworkOptions().Seed(11));
  network.SetLink("default", "10.0.0.1",
                  LinkOf(kLatency).Loss(0.2).Duplication(0.2).Reordering(0.2));
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket client = co_await OpenDatagram(Address(), At("10.0.0.1:53"));
  std::vector<int> count(300);
  bool overtaken = false;
  for (int i = 0; i < 300; ++i) {
    co_await client.Send(std::to_string(i));
    co_await Sleep(absl::Milliseconds(1));
  }
  int last = -1;
  for (const std::string& text : co_await Drain(server)) {
    const int i = std::stoi(text);
    ++count[static_cast<size_t>(i)];
    overtaken |= i < last;
    last = i;
  }
  int times[3] = {};
  for (const int n : count) {
    EXPECT_LE(n, 2);
    ++times[n < 3 ? n : 2];
  }
  EXPECT_TRUE(overtaken);
  for (const int n : times) EXPECT_GT(n, 10);
}

SIMULATED_TEST(SimulatedDatagramTest, AConnectedSocketIsToldThatNobodyListens) {
  SimulatedNetwork network(SimulatedNetworkOptions().Link(LinkOf(kLatency)));
  DatagramSocket client = co_await OpenDatagram(Address(), At("10.0.0.1:53"));
  co_await client.Send("x");
  EXPECT_EQ(co_await ErrnoOf(client.Receive()), ECONNREFUSED);
  co_await client.Send("x");
  co_await Sleep(2 * kLatency);
  EXPECT_EQ(co_await ErrnoOf(client.Send("not sent")), ECONNREFUSED);
  EXPECT_EQ(co_await ErrnoOf(client.Send("x")), 0);
  // Whoever is connected hears nobody else.
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket other = co_await OpenDatagram(At("10.0.0.2:53"));
  co_await other.SendTo("from elsewhere", client.SockName());
  co_await server.SendTo("from there", client.SockName());
  const std::vector<std::string> got = co_await Drain(client);
  EXPECT_EQ(got, std::vector<std::string>{"from there"});
}

SIMULATED_TEST(SimulatedDatagramTest, IsLostInAPartitionAndWhereNoRoomIs) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Link(LinkOf(kLatency)).ReceiveBuffer(10));
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket client = co_await OpenDatagram(Address(), At("10.0.0.1:53"));
  network.Partition("default", "10.0.0.1");
  co_await client.Send("lost");
  EXPECT_TRUE((co_await Drain(server)).empty());
  network.HealAll();
  for (const char* text : {"12345", "67890", "x"}) co_await client.Send(text);
  co_await Sleep(absl::Seconds(1));
  const std::vector<std::string> got = co_await Drain(server);
  EXPECT_EQ(got, (std::vector<std::string>{"12345", "67890"}));
}

SIMULATED_TEST(SimulatedDatagramTest, PortsAreTakenSharedAndBroadcastTo) {
  SimulatedNetwork network;
  network.AddHost("a", {"10.0.0.1"});
  network.AddHost("b", {"10.0.0.2"});
  DatagramSocket first;
  {
    const SimulatedHostScope scope = network.As("a");
    first = co_await OpenDatagram(At("0.0.0.0:53"));
    EXPECT_EQ(co_await ErrnoOf(OpenDatagram(At("10.0.0.1:53"))), EADDRINUSE);
    EXPECT_EQ(co_await ErrnoOf(OpenDatagram(At("10.0.0.2:54"))), EADDRNOTAVAIL);
  }
  DatagramSocket second;
  {
    const SimulatedHostScope scope = network.As("b");
    second = co_await OpenDatagram(At("0.0.0.0:53"));
  }
  DatagramSocket sender = co_await OpenDatagram(
      At("192.0.2.1:0"), Address(), DatagramOptions().Broadcast(true));
  co_await sender.SendTo("to all", At("255.255.255.255:53"));
  const std::vector<std::string> heard = co_await Drain(first);
  EXPECT_EQ(heard, std::vector<std::string>{"to all"});
  const Datagram got = co_await second.ReceiveFrom();
  EXPECT_EQ(got.from, sender.SockName());
  co_await second.SendTo("answer", got.from);
  const Datagram answer = co_await sender.ReceiveFrom();
  EXPECT_EQ(answer.from, At("10.0.0.2:53"));
}

SIMULATED_TEST(SimulatedDatagramTest, BroadcastsToItsRemote) {
  SimulatedNetwork network;
  DatagramSocket heard = co_await OpenDatagram(At("0.0.0.0:53"));
  DatagramSocket sender = co_await OpenDatagram(
      Address(), At("255.255.255.255:53"), DatagramOptions().Broadcast(true));
  EXPECT_EQ(co_await ErrnoOf(sender.Send("to all")), 0);
  const std::vector<std::string> got = co_await Drain(heard);
  EXPECT_EQ(got, std::vector<std::string>{"to all"});
}

SIMULATED_TEST(SimulatedDatagramTest, TakesTheLastPortAndThenThereIsNone) {
  constexpr int kFirst = 49152;
  const auto core = std::make_shared<internal::SimCore>(
      coil::internal::CoreOf(EventLoop::Current()), SimulatedNetworkOptions());
  internal::SimHost& host = core->HostCalled("default");
  std::vector<std::unique_ptr<internal::SimPort>> ports;
  const auto take = [&](int port) {
    ports.push_back(std::make_unique<internal::SimPort>(
        core, host, At("192.0.2.1:0").WithPort(port), Address(), false));
  };
  for (int port = kFirst; port <= 65535; ++port) {
    if (port != 50000) take(port);
  }
  EXPECT_EQ(core->EphemeralPort(), 50000);
  EXPECT_EQ(core->EphemeralPort(), 50000);
  take(50000);
  try {
    core->EphemeralPort();
    ADD_FAILURE();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EADDRINUSE);
  }
  core->ports().clear();  // or each would look for itself
  co_return;
}

SIMULATED_TEST(SimulatedDatagramTest, WaitsForRoomAndForNothing) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Seed(2).SpuriousBlocks(0.5));
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  DatagramSocket client = co_await OpenDatagram(Address(), At("10.0.0.1:53"));
  for (int i = 0; i < 50; ++i) {
    co_await client.Send(std::to_string(i));
    EXPECT_EQ(co_await server.Receive(), std::to_string(i));
  }
}

class Errors final : public DatagramProtocol {
 public:
  void ErrorReceived(const OsError& error) override {
    texts.push_back(error.what());
  }
  std::vector<std::string> texts;
};

SIMULATED_TEST(SimulatedDatagramTest, AnEndpointHasItsNameHere) {
  SimulatedNetwork network;
  const auto errors = std::make_shared<Errors>();
  auto [transport, protocol] = co_await CreateDatagramEndpoint(
      [&] { return errors; }, At("10.0.0.1:53"));
  EXPECT_EQ(transport->SockName(), At("10.0.0.1:53"));
  transport->SendTo(Pattern(65508), At("10.0.0.2:1"));
  co_await Sleep(kLatency);
  EXPECT_EQ(errors->texts,
            std::vector<std::string>{"send to 10.0.0.1:53: Message too long"});
  transport->Close();
  co_await Sleep(kLatency);
}

SIMULATED_TEST(SimulatedDatagramTest, ACrashTakesTheSockets) {
  SimulatedNetwork network(
      SimulatedNetworkOptions().Seed(1).SpuriousBlocks(0.9));
  DatagramSocket server = co_await OpenDatagram(At("10.0.0.1:53"));
  Task<std::string> task = CreateTask(server.Receive());
  Task<void> waits = CreateTask(server.SendTo("x", At("10.0.0.2:1")));
  co_await Yield();
  network.Kill("10.0.0.1");
  EXPECT_EQ(co_await ErrnoOf(task), ENETDOWN);
  EXPECT_EQ(co_await ErrnoOf(waits), ENETDOWN);
  EXPECT_EQ(co_await ErrnoOf(server.SendTo("x", At("10.0.0.2:1"))), ENETDOWN);
  // Who goes on after errors does not go round for ever.
  EXPECT_THROW(co_await WithTimeout(absl::Seconds(1), server.Receive()),
               TimeoutError);
  EXPECT_EQ(network.DatagramSockets(), 0u);
  server = co_await OpenDatagram(At("10.0.0.1:53"));
}

// In callback style, too.
class CountsErrors final : public DatagramProtocol {
 public:
  void ErrorReceived(const OsError& error) override {
    EXPECT_EQ(error.Errno(), ENETDOWN);
    ++errors;
  }
  int errors = 0;
};

SIMULATED_TEST(SimulatedDatagramTest, ACrashIsToldToAnEndpointOnce) {
  SimulatedNetwork network;
  const auto factory = [] { return std::make_shared<CountsErrors>(); };
  auto [transport, protocol] =
      co_await CreateDatagramEndpoint(factory, At("10.0.0.1:53"));
  network.Kill("10.0.0.1");
  co_await Sleep(absl::Seconds(1));
  EXPECT_EQ(protocol->errors, 1);
  transport->Close();
}

}  // namespace
}  // namespace coil::net
