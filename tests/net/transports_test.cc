// Protocols connected to servers, and served by them.

#include "coil/net/transports.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/future.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Record;
using coil_testing::Recorder;
using coil_testing::RecordPtr;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::TcpEnds;

class TransportsTest : public coil_testing::NetTest {};

RecordPtr NewRecord() { return std::make_shared<Record>(); }
std::shared_ptr<Recorder> NewRecorder(const RecordPtr& record) {
  return std::make_shared<Recorder>(record);
}

TEST_F(TransportsTest, AServerConnectsAProtocolToEachConnection) {
  RunNet([]() -> Co<void> {
    std::vector<RecordPtr> served;
    auto factory = [&served] {
      served.push_back(NewRecord());
      Record* record = served.back().get();
      record->on_data = [record] {
        record->transport->Write(std::exchange(record->data, ""));
      };
      return std::make_shared<Recorder>(served.back());
    };
    Server server = co_await CreateServer(factory, "127.0.0.1", 0);
    RecordPtr mine[2] = {NewRecord(), NewRecord()};
    for (const RecordPtr& record : mine) {
      auto [transport, protocol] = co_await CreateConnection(
          [&] { return NewRecorder(record); }, "127.0.0.1", server.Port());
      EXPECT_EQ(record->Log(), "made");  // it was told before
      EXPECT_EQ(transport->GetProtocol(), protocol);
      EXPECT_EQ(transport->PeerName().Port(), server.Port());
      EXPECT_NE(transport->SockName().Port(), 0);
      EXPECT_EQ(transport->Socket().GetOption(SOL_SOCKET, SO_TYPE),
                SOCK_STREAM);
      EXPECT_FALSE(transport->GetTlsInfo().has_value());
      transport->Write("ping");
      co_await Eventually([&] { return record->data == "ping"; });
    }
    EXPECT_EQ(server.Connections(), 2u);
    mine[0]->transport->Close();
    co_await Eventually([&] { return served.at(0)->lost; });
    server.Close();
    server.CloseClients();
    co_await server.WaitClosed();
    EXPECT_TRUE(served.at(1)->lost);  // WaitClosed() includes the call
    co_await Eventually([&] { return mine[1]->lost; });
    for (const RecordPtr& record : served) record->on_data = nullptr;
  });
}

TEST_F(TransportsTest, ShutdownLetsConnectionsGoOnAndAbortsThemInTheEnd) {
  RunNet([]() -> Co<void> {
    RecordPtr served = NewRecord();
    auto factory = [&served] { return NewRecorder(served); };
    Server server = co_await CreateServer(factory, "127.0.0.1", 0);
    RecordPtr mine = NewRecord();
    co_await CreateConnection([&] { return NewRecorder(mine); }, "127.0.0.1",
                              server.Port());
    co_await Eventually([&] { return served->transport != nullptr; });
    co_await server.Shutdown(absl::Milliseconds(10));
    co_await Eventually([&] { return served->lost && mine->lost; });
    EXPECT_EQ(served->Log(), "made, lost");
  });
}

TEST_F(TransportsTest, AFactoryThatThrowsLosesItsConnectionOnly) {
  RunNet([]() -> Co<void> {
    Reports reports;
    auto factory = []() -> std::shared_ptr<Recorder> {
      throw std::runtime_error("no protocol");
    };
    Server server = co_await CreateServer(factory, "127.0.0.1", 0);
    RecordPtr mine = NewRecord();
    co_await CreateConnection([&] { return NewRecorder(mine); }, "127.0.0.1",
                              server.Port());
    co_await Eventually([&] { return mine->lost; });
    EXPECT_EQ(reports.Messages().size(), 1u);
    EXPECT_EQ(
        co_await ErrorOf(CreateConnection(factory, "127.0.0.1", server.Port())),
        "no protocol");
  });
}

TEST_F(TransportsTest, AnAcceptedSocketIsConnectedToo) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    TcpEnds ends;
    auto [transport, protocol] = co_await ConnectAcceptedSocket(
        [&] { return NewRecorder(record); }, std::move(ends.socket));
    ends.peer.Send("hi");
    co_await Eventually([&] { return record->data == "hi"; });
    transport->Close();
    Socket datagrams(AF_INET, SOCK_DGRAM);
    EXPECT_EQ(co_await ErrorOf(ConnectAcceptedSocket(
                  [&] { return NewRecorder(record); }, std::move(datagrams))),
              "ConnectAcceptedSocket: not a stream socket");
  });
}

// ---- cancellation

Co<void> EchoOnce() {
  const std::string path = "@coil-transport-test-" + std::to_string(::getpid());
  RecordPtr served = NewRecord();
  RecordPtr mine = NewRecord();
  served->on_data = [record = served.get()] {
    record->transport->Write(record->data);
  };
  Future<void> answered;
  Future<void> lost;
  mine->on_data = [&] {
    if (!answered.Done()) answered.SetResult();
  };
  mine->on_lost = [&] {
    // The server may be cancelled, and not answer.
    if (!answered.Done()) answered.SetResult();
    if (!lost.Done()) lost.SetResult();
  };
  struct Forget {
    ~Forget() {
      for (const RecordPtr& record : {served, mine}) {
        record->on_data = record->on_lost = nullptr;
        if (record->transport != nullptr) record->transport->Abort();
        record->transport.reset();
      }
    }
    RecordPtr served, mine;
  } forget{served, mine};
  // A connection that was accepted may outlive this coroutine.
  auto factory = [served] { return NewRecorder(served); };
  std::vector<Socket> sockets;
  sockets.emplace_back(AF_UNIX, SOCK_STREAM);
  sockets[0].Bind(Address::Unix(path));
  Server server = co_await CreateServer(factory, std::move(sockets));
  auto [transport, protocol] =
      co_await CreateUnixConnection([&] { return NewRecorder(mine); }, path);
  transport->Write("hello");
  co_await answered;
  EXPECT_TRUE(mine->data == "hello" || mine->lost);
  transport->Close();
  co_await lost;
  server.Close();
  co_await server.WaitClosed();
}

TEST(TransportsCancellationTest, NothingIsLeftWhereverAnEchoIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      EchoOnce, SweepOptions().SecondCancel().Seeds(2).AllowError<OsError>());
  EXPECT_GE(result.points, 3u);
}

TEST(TransportsCancellationTest, NothingIsLeftWhereverTheLoopEnds) {
  const SweepResult result = ForEachDestructionPoint(EchoOnce);
  EXPECT_GE(result.points, 3u);
}

}  // namespace
}  // namespace coil::net
