// Datagrams in callback style.

#include "coil/net/datagram_endpoint.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::Diagnostics;
using coil_testing::Eventually;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

class DatagramEndpointTest : public coil_testing::NetTest {};

struct Seen {
  std::vector<std::string> log;
  std::vector<Address> from;
  std::shared_ptr<DatagramTransport> transport;
  std::function<void()> on_datagram;
  std::function<void()> on_error;
  bool lost = false;
  bool alive = false;
  std::string Log() const { return absl::StrJoin(log, ", "); }
};
using SeenPtr = std::shared_ptr<Seen>;

class Watcher final : public DatagramProtocol {
 public:
  explicit Watcher(SeenPtr seen) : seen_(std::move(seen)) {
    seen_->alive = true;
  }
  ~Watcher() override { seen_->alive = false; }
  void ConnectionMade(std::shared_ptr<DatagramTransport> transport) override {
    seen_->log.push_back("made");
    seen_->transport = std::move(transport);
  }
  void ConnectionLost(std::exception_ptr error) override {
    seen_->log.push_back(coil_testing::ErrorText(error));
    seen_->lost = true;
    seen_->transport.reset();
  }
  void DatagramReceived(std::string_view data, const Address& from) override {
    seen_->log.push_back(absl::StrCat("<", data, ">"));
    seen_->from.push_back(from);
    if (seen_->on_datagram) seen_->on_datagram();
  }
  void ErrorReceived(const OsError& error) override {
    seen_->log.push_back(error.what());
    if (seen_->on_error) seen_->on_error();
  }
  void PauseWriting() override { seen_->log.push_back("pause"); }
  void ResumeWriting() override { seen_->log.push_back("resume"); }

 private:
  SeenPtr seen_;
};

SeenPtr NewSeen() { return std::make_shared<Seen>(); }

Address Loopback() { return Address::Parse("127.0.0.1:0"); }

template <class F>
std::string ThrownBy(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

bool full = false;
int error_of_next = 0;

// sendto() that says that there is no room while `full`.
class FullSocket {
 public:
  FullSocket() {
    full = true;
    shim_.table().sendto = [](int fd, const void* buffer, size_t size,
                              int flags, const sockaddr* address,
                              socklen_t address_size) -> ssize_t {
      if (error_of_next != 0) {
        errno = std::exchange(error_of_next, 0);
        return -1;
      }
      if (full) {
        // No event would follow, as there was room; it is tried again later.
        errno = ENOBUFS;
        return -1;
      }
      return coil::internal::kRealSocketCalls.sendto(fd, buffer, size, flags,
                                                     address, address_size);
    };
  }

 private:
  SocketShim shim_;
};

TEST_F(DatagramEndpointTest, DatagramsGoToAndFro) {
  RunNet([]() -> Co<void> {
    SeenPtr served = NewSeen();
    SeenPtr mine = NewSeen();
    auto [server, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(served); }, Loopback());
    EXPECT_EQ(served->Log(), "made");
    EXPECT_EQ(server->GetProtocol(), protocol);
    served->on_datagram = [&served] {
      served->transport->SendTo("answer to " + served->log.back(),
                                served->from.back());
    };
    auto [client, watcher] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(mine); }, Address(),
        server->SockName());
    EXPECT_EQ(client->PeerName(), server->SockName());
    for (const char* text : {"one", "", "three"}) client->SendTo(text);
    client->SendTo("four", server->SockName());
    co_await Eventually([&] { return mine->log.size() == 5; });
    EXPECT_EQ(served->Log(), "made, <one>, <>, <three>, <four>");
    EXPECT_EQ(mine->Log(),
              "made, <answer to <one>>, <answer to <>>, <answer to <three>>, "
              "<answer to <four>>");
    EXPECT_EQ(mine->from.at(0), server->SockName());
    served->on_datagram = nullptr;
    client->Close();
    server->Close();
    server->Close();
    EXPECT_FALSE(mine->lost);  // never inline
    co_await Turns();
    EXPECT_EQ(mine->log.back(), "lost");
    EXPECT_EQ(served->log.back(), "lost");
    EXPECT_EQ(client->GetProtocol(), nullptr);
  });
}

TEST_F(DatagramEndpointTest, BadAddressesAreRefused) {
  RunNet([]() -> Co<void> {
    SeenPtr seen = NewSeen();
    auto factory = [&] { return std::make_shared<Watcher>(seen); };
    const Address other = Address::Parse("127.0.0.1:9");
    auto [open, protocol] =
        co_await CreateDatagramEndpoint(factory, Loopback());
    EXPECT_EQ(ThrownBy([&, &transport = *open] { transport.SendTo("x"); }),
              "DatagramTransport::SendTo: the endpoint is not connected, and "
              "there is no address");
    auto [connected, protocol2] =
        co_await CreateDatagramEndpoint(factory, "127.0.0.1", 7);
    EXPECT_EQ(ThrownBy([&other, &transport = *connected] {
                transport.SendTo("x", other);
              }),
              "DatagramTransport::SendTo: the endpoint is connected to "
              "127.0.0.1:7, not to 127.0.0.1:9");
    EXPECT_EQ(
        ThrownBy([&transport = *open] { transport.SetProtocol(nullptr); }),
        "DatagramTransport: the protocol is null");
    open->Abort();
    connected->Abort();
    co_await Turns();
  });
}

TEST_F(DatagramEndpointTest, ErrorsAreToldAndTheEndpointGoesOn) {
  RunNet([]() -> Co<void> {
    SeenPtr seen = NewSeen();
    FullSocket socket;
    full = false;
    auto [transport, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(seen); }, Loopback());
    error_of_next = EPERM;
    transport->SendTo("refused", transport->SockName());
    EXPECT_EQ(seen->Log(), "made");  // never inline
    transport->SendTo("mine", transport->SockName());
    co_await Eventually([&] { return seen->log.size() == 3; });
    EXPECT_EQ(seen->log.at(1), "send to " + transport->SockName().ToString() +
                                   ": Operation not permitted");
    EXPECT_EQ(seen->log.at(2), "<mine>");
    transport->Close();
    co_await Turns();
  });
}

TEST_F(DatagramEndpointTest, WhoeverSendsAgainAfterAnErrorKeepsNobodyElse) {
  RunNet([]() -> Co<void> {
    SeenPtr seen = NewSeen();
    FullSocket socket;
    full = false;
    auto [transport, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(seen); }, Loopback());
    int errors = 0;
    const auto send = [&] {
      error_of_next = EPERM;
      seen->transport->SendTo("again", seen->transport->SockName());
    };
    seen->on_error = [&] {
      if (++errors < 10000) send();
    };
    send();
    co_await Turns(5);
    EXPECT_GE(errors, 1);
    EXPECT_LE(errors, 6);
    seen->on_error = nullptr;
    transport->Abort();
    co_await Turns();
    EXPECT_EQ(seen->log.back(), "lost");
  });
}

TEST_F(DatagramEndpointTest, WritingResumesInAStepOfItsOwn) {
  RunNet([]() -> Co<void> {
    SeenPtr seen = NewSeen();
    FullSocket socket;
    auto [transport, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(seen); }, Loopback());
    transport->SetWriteBufferLimits(0);
    transport->SendTo("x", transport->SockName());
    transport->SetWriteBufferLimits(100, 100);
    EXPECT_EQ(seen->Log(), "made, pause");
    co_await Turns();
    EXPECT_EQ(seen->Log(), "made, pause, resume");
    transport->Abort();
    co_await Turns();
  });
}

TEST_F(DatagramEndpointTest, NobodyListensThere) {
  RunNet([]() -> Co<void> {
    SeenPtr seen = NewSeen();
    int port;
    {
      DatagramSocket gone = co_await OpenDatagram(Loopback());
      port = gone.SockName().Port();
    }
    auto [transport, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(seen); }, "127.0.0.1", port);
    transport->SendTo("anybody?");
    co_await Eventually([&] { return seen->log.size() == 2; });
    EXPECT_NE(seen->Log().find("Connection refused"), std::string::npos)
        << seen->Log();
    EXPECT_FALSE(transport->IsClosing());
    transport->Abort();
    co_await Turns();
    EXPECT_EQ(seen->log.back(), "lost");
  });
}

TEST_F(DatagramEndpointTest, WhatFindsNoRoomIsQueuedAndCounted) {
  for (const bool abort : {false, true}) {
    SCOPED_TRACE(abort);
    RunNet([abort]() -> Co<void> {
      SeenPtr seen = NewSeen();
      SeenPtr received = NewSeen();
      FullSocket socket;
      auto [target, protocol1] = co_await CreateDatagramEndpoint(
          [&] { return std::make_shared<Watcher>(received); }, Loopback());
      auto [transport, protocol2] = co_await CreateDatagramEndpoint(
          [&] { return std::make_shared<Watcher>(seen); }, Loopback());
      const Address to = target->SockName();
      transport->SetWriteBufferLimits(20, 10);
      transport->SendTo("0123", to);
      EXPECT_EQ(transport->GetWriteBufferSize(), 12u);  // a header of 8 bytes
      transport->SendTo("", to);
      EXPECT_EQ(seen->Log(), "made");
      transport->SendTo("x", to);
      EXPECT_EQ(seen->Log(), "made, pause");
      EXPECT_EQ(transport->GetWriteBufferSize(), 29u);
      if (abort) {
        transport->Abort();
      } else {
        transport->Close();
        transport->SendTo("dropped", to);
      }
      full = false;
      co_await Eventually([&] { return seen->lost; });
      EXPECT_EQ(seen->Log(),
                abort ? "made, pause, lost" : "made, pause, resume, lost");
      co_await Eventually([&] { return abort || received->log.size() == 4; });
      EXPECT_EQ(received->Log(), abort ? "made" : "made, <0123>, <>, <x>");
      target->Abort();
      co_await Turns();
    });
  }
}

TEST_F(DatagramEndpointTest, ErrorsOfCallbacksAreReportedAndItGoesOn) {
  RunNet([]() -> Co<void> {
    Reports reports;
    SeenPtr seen = NewSeen();
    seen->on_datagram = [] { throw std::runtime_error("mine"); };
    auto [transport, protocol] = co_await CreateDatagramEndpoint(
        [&] { return std::make_shared<Watcher>(seen); }, Loopback());
    transport->SendTo("1", transport->SockName());
    transport->SendTo("2", transport->SockName());
    co_await Eventually([&] { return seen->log.size() == 3; });
    EXPECT_EQ(reports.Messages().size(), 2u);
    EXPECT_EQ(reports.Messages().at(0),
              "a protocol's DatagramReceived() has failed: std::runtime_error: "
              "mine");
    transport->Close();
    co_await Turns();
  });
}

TEST_F(DatagramEndpointTest, ALoopThatClosesDropsTheProtocolWithoutACall) {
  for (const bool queued : {false, true}) {
    SeenPtr seen = NewSeen();
    std::shared_ptr<DatagramTransport> outside;
    FullSocket socket;
    RunNet([&]() -> Co<void> {
      auto [transport, protocol] = co_await CreateDatagramEndpoint(
          [&] { return std::make_shared<Watcher>(seen); }, Loopback());
      outside = transport;
      if (queued) transport->SendTo("x", transport->SockName());
    });
    seen->transport.reset();
    EXPECT_EQ(seen->Log(), "made");
    EXPECT_FALSE(seen->alive);
    outside->SendTo("dropped", Loopback());
    outside->Close();
    outside->Abort();
  }
}

}  // namespace
}  // namespace coil::net
