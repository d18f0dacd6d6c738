// Transports over TLS.

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/send_file.h"
#include "coil/net/tls/context.h"
#include "coil/net/transports.h"
#include "coil/task/co.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::BufferedRecorder;
using coil_testing::ClientContext;
using coil_testing::Diagnostics;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Record;
using coil_testing::Recorder;
using coil_testing::RecordPtr;
using coil_testing::RunNet;
using coil_testing::ServerContext;
using coil_testing::TcpEnds;
using coil_testing::Turns;

class TlsTransportTest : public coil_testing::NetTest {};

RecordPtr NewRecord() { return std::make_shared<Record>(); }

ConnectOptions ClientOptions() {
  return ConnectOptions().Tls(ClientContext(),
                              SecureOptions().ServerHostname("localhost"));
}

// A server that answers with what comes, and its client.
struct Both {
  Both() : served(NewRecord()), mine(NewRecord()) {
    served->on_data = [record = served.get()] {
      record->transport->Write(std::exchange(record->data, ""));
    };
  }
  ~Both() { served->on_data = nullptr; }
  // The client is a BufferedProtocol with that much memory, if any.
  Co<void> Connect(size_t memory = 0) {
    auto factory = [served = served] {
      return std::make_shared<Recorder>(served);
    };
    server = co_await CreateServer(factory, "127.0.0.1", 0,
                                   ServerOptions().Tls(ServerContext()));
    const ConnectOptions options = ClientOptions();
    if (memory == 0) {
      co_await CreateConnection(
          [&] { return std::make_shared<Recorder>(mine); }, "127.0.0.1",
          server.Port(), options);
    } else {
      co_await CreateConnection(
          [&] { return std::make_shared<BufferedRecorder>(mine, memory); },
          "127.0.0.1", server.Port(), options);
    }
    client = mine->transport;
    // So that not everything fits into the system.
    client->Socket().SetOption(SOL_SOCKET, SO_SNDBUF, 16384);
  }
  RecordPtr served;
  RecordPtr mine;
  Server server;
  std::shared_ptr<Transport> client;
};

TEST_F(TlsTransportTest, EchoThroughBothEnds) {
  for (const size_t memory : {0, 100, 65536}) {
    SCOPED_TRACE(memory);
    RunNet([memory]() -> Co<void> {
      Both both;
      co_await both.Connect(memory);
      Transport& client = *both.client;
      EXPECT_EQ(both.mine->Log(), "made");
      EXPECT_TRUE(client.GetTlsInfo().has_value());
      EXPECT_EQ(client.GetTlsInfo()->server_hostname, "localhost");
      EXPECT_FALSE(client.CanWriteEof());
      EXPECT_EQ(client.GetWriteBufferLimits(),
                (std::pair<size_t, size_t>{128 << 10, 512 << 10}));
      const std::string text(3'000'000, 't');
      client.Write(text);
      EXPECT_GT(client.GetWriteBufferSize(), 0u);
      EXPECT_EQ(both.mine->Log(), "made, pause");
      co_await Eventually(
          [&] { return both.mine->data.size() == text.size(); });
      EXPECT_TRUE(both.mine->data == text);
      EXPECT_EQ(both.mine->Count("resume"), 1);
      client.Close();
      co_await Eventually([&] { return both.mine->lost && both.served->lost; });
      EXPECT_EQ(both.mine->log.back(), "lost");
      EXPECT_EQ(both.served->log.back(), "lost");
      EXPECT_EQ(both.served->Count("eof"), 1);
    });
  }
}

TEST_F(TlsTransportTest, CloseSendsWhatIsQueued) {
  RunNet([]() -> Co<void> {
    Both both;
    both.served->on_data = nullptr;
    co_await both.Connect();
    const std::string text(3'000'000, 'q');
    both.client->Write(text);
    both.client->Close();
    co_await Eventually([&] { return both.mine->lost && both.served->lost; });
    EXPECT_TRUE(both.served->data == text);
    EXPECT_EQ(both.mine->Log(), "made, pause, resume, lost");
  });
}

TEST_F(TlsTransportTest, EofReceivedCannotKeepItOpen) {
  RunNet([]() -> Co<void> {
    Diagnostics diagnostics;
    Both both;
    both.served->keep_open = true;
    co_await both.Connect();
    co_await Eventually([&] { return both.served->transport != nullptr; });
    both.client->Close();
    co_await Eventually([&] { return both.served->lost; });
    EXPECT_EQ(diagnostics.messages,
              std::vector<std::string>{
                  "Protocol::EofReceived: returning true has no effect with "
                  "TLS"});
  });
}

TEST_F(TlsTransportTest, APauseHoldsForWhatWasDecryptedToo) {
  RunNet([]() -> Co<void> {
    Both both;
    co_await both.Connect();
    both.mine->on_data = [record = both.mine.get()] {
      record->transport->PauseReading();
    };
    const std::string text(200'000, 'p');
    both.client->Write(text);
    size_t before = 0;
    while (both.mine->data.size() < text.size()) {
      co_await Eventually([&] { return both.mine->data.size() > before; });
      before = both.mine->data.size();
      co_await Turns(10);
      EXPECT_EQ(both.mine->data.size(), before);
      both.client->ResumeReading();
    }
    EXPECT_TRUE(both.mine->data == text);
    both.mine->on_data = nullptr;
    both.client->Abort();
    co_await Eventually([&] { return both.mine->lost && both.served->lost; });
  });
}

TEST_F(TlsTransportTest, StartTlsGoesOnOverTheSameTransport) {
  RunNet([]() -> Co<void> {
    RecordPtr served = NewRecord();
    RecordPtr mine = NewRecord();
    auto factory = [served] { return std::make_shared<Recorder>(served); };
    Server server = co_await CreateServer(factory, "127.0.0.1", 0);
    Task<void> upgrade;
    served->on_data = [&, record = served.get()] {
      if (record->data != "STARTTLS\n") return;
      record->transport->Write("go\n");
      upgrade = CreateTask(record->transport->StartTls(ServerContext()));
    };
    auto [transport, protocol] = co_await CreateConnection(
        [&] { return std::make_shared<Recorder>(mine); }, "127.0.0.1",
        server.Port());
    transport->Write("STARTTLS\n");
    co_await Eventually([&] { return mine->data == "go\n"; });
    co_await transport->StartTls(ClientContext(),
                                 SecureOptions().ServerHostname("localhost"));
    EXPECT_TRUE(transport->GetTlsInfo().has_value());
    EXPECT_EQ(transport->GetWriteBufferLimits().second, size_t{512} << 10);
    transport->Write("secret");
    co_await Eventually([&] { return served->data == "STARTTLS\nsecret"; });
    co_await upgrade;
    served->transport->Write("answer");
    co_await Eventually([&] { return mine->data == "go\nanswer"; });
    served->on_data = nullptr;
    transport->Close();
    co_await Eventually([&] { return mine->lost && served->lost; });
    EXPECT_EQ(mine->log.back(), "lost");
    EXPECT_EQ(co_await ErrorOf(transport->StartTls(ClientContext())),
              "Transport::StartTls: the transport is closing");
  });
}

TEST_F(TlsTransportTest, AHandshakeThatFailsLosesTheConnection) {
  RunNet([]() -> Co<void> {
    RecordPtr mine = NewRecord();
    TcpEnds ends;
    std::shared_ptr<Transport> transport =
        MakeTransport(MakeByteStream(std::move(ends.socket)),
                      std::make_shared<Recorder>(mine));
    co_await Turns();
    Task<void> upgrade = CreateTask(transport->StartTls(
        ClientContext(), SecureOptions().ServerHostname("localhost")));
    co_await Turns();
    ends.peer.Send("this is no handshake");
    EXPECT_NE((co_await ErrorOf(upgrade)).find("TLS handshake"),
              std::string::npos);
    co_await Eventually([&] { return mine->lost; });
    EXPECT_NE(mine->Log().find("made, lost: TLS handshake"), std::string::npos)
        << mine->Log();
  });
}

TEST_F(TlsTransportTest, AnAbortInTheHandshakeIsNoError) {
  RunNet([]() -> Co<void> {
    RecordPtr mine = NewRecord();
    TcpEnds ends;
    std::shared_ptr<Transport> transport =
        MakeTransport(MakeByteStream(std::move(ends.socket)),
                      std::make_shared<Recorder>(mine));
    co_await Turns();
    Task<void> upgrade = CreateTask(transport->StartTls(
        ClientContext(), SecureOptions().ServerHostname("localhost")));
    co_await Turns();
    transport->Abort();
    EXPECT_NE(co_await ErrorOf(upgrade), "");
    co_await Eventually([&] { return mine->lost; });
    EXPECT_EQ(mine->Log(), "made, lost");
  });
}

TEST_F(TlsTransportTest, AFileIsReadByTheThreadPool) {
  RunNet([]() -> Co<void> {
    Both both;
    both.served->on_data = nullptr;
    co_await both.Connect();
    const int fd = ::memfd_create("tls_transport_test", MFD_CLOEXEC);
    const std::string text(1'000'000, 'f');
    EXPECT_EQ(::write(fd, text.data(), text.size()), ssize_t(text.size()));
    bool refused = false;
    try {
      co_await both.client->SendFile(fd, SendFileOptions().Fallback(false));
    } catch (const SendfileNotAvailableError&) {
      refused = true;
    }
    EXPECT_TRUE(refused);
    EXPECT_EQ(co_await both.client->SendFile(fd, SendFileOptions().Offset(1)),
              999'999u);
    co_await Eventually([&] { return both.served->data.size() == 999'999; });
    EXPECT_EQ(::lseek(fd, 0, SEEK_CUR), off_t(1'000'000));
    ::close(fd);
    both.client->Close();
    co_await Eventually([&] { return both.mine->lost && both.served->lost; });
  });
}

}  // namespace
}  // namespace coil::net
