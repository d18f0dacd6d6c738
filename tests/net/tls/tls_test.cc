// TLS over streams: a server and its client, both of coil, and clients and
// servers that misbehave, played by hand.

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/net/tls/error.h"
#include "coil/sync/event.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::Certificate;
using coil_testing::CertificateSpec;
using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Peer;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::ServerContext;

class TlsTest : public coil_testing::NetTest {
 protected:
  static Co<Server> Serve(TlsContext context) {
    return StartServer(Echo, "127.0.0.1", 0, ServerOptions().Tls(context));
  }
  static Co<StreamPair> Connect(const Server& server, TlsContext context,
                                std::string name = "localhost") {
    return OpenConnection(
        "127.0.0.1", server.Port(),
        ConnectOptions().Tls(context, SecureOptions().ServerHostname(name)));
  }
};

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 12345;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

TEST_F(TlsTest, EchoThroughBothEnds) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    auto [reader, writer] = co_await Connect(server, ClientContext());
    for (int i = 0; i < 3; ++i) {
      co_await writer.Write("hello\n");
      EXPECT_EQ(co_await reader.ReadLine(), "hello\n");
    }
    co_await writer.Close();
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(TlsTest, ANumericHostIsCheckedAgainstTheCertificate) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    auto [reader, writer] = co_await OpenConnection(
        "127.0.0.1", server.Port(), ConnectOptions().Tls(ClientContext()));
    co_await writer.Write("numeric\n");
    EXPECT_EQ(co_await reader.ReadLine(), "numeric\n");
    co_await writer.Close();
  });
}

TEST_F(TlsTest, WhatWasAgreedUponIsTold) {
  RunNet([]() -> Co<void> {
    TlsContext serving = ServerContext();
    serving.SetAlpnProtocols({"h2", "http/1.1"});
    Server server = co_await Serve(serving);
    TlsContext context = ClientContext().SetAlpnProtocols({"spdy", "http/1.1"});
    auto [reader, writer] = co_await Connect(server, context);
    const std::optional<TlsInfo> info = writer.GetTlsInfo();
    EXPECT_TRUE(info.has_value());
    if (info.has_value()) {
      EXPECT_EQ(info->version, "TLSv1.3");
      EXPECT_NE(info->cipher, "");
      EXPECT_EQ(info->alpn, "http/1.1");
      EXPECT_EQ(info->server_hostname, "localhost");
      EXPECT_EQ(info->peer_certificate, Authority::Get().server.Pem());
      EXPECT_FALSE(info->resumed);
    }
    co_await writer.Close();
  });
}

TEST_F(TlsTest, NoCommonProtocolIsNoFailure) {
  RunNet([]() -> Co<void> {
    TlsContext serving = ServerContext();
    serving.SetAlpnProtocols({"h2"});
    Server server = co_await Serve(serving);
    TlsContext context = ClientContext().SetAlpnProtocols({"other"});
    auto [reader, writer] = co_await Connect(server, context);
    EXPECT_EQ(writer.GetTlsInfo()->alpn, "");
    co_await writer.Close();
  });
}

TEST_F(TlsTest, APlainConnectionHasNoTlsInfo) {
  RunNet([]() -> Co<void> {
    coil_testing::Connection c;
    EXPECT_EQ(c.writer.GetTlsInfo(), std::nullopt);
    co_return;
  });
}

TEST_F(TlsTest, EachVersionWorksAndTheOldOnesDoNot) {
  for (const TlsVersion version : {TlsVersion::kTls12, TlsVersion::kTls13}) {
    RunNet([version]() -> Co<void> {
      Server server =
          co_await Serve(ServerContext().SetMaximumVersion(version));
      auto [reader, writer] = co_await Connect(server, ClientContext());
      EXPECT_EQ(writer.GetTlsInfo()->version,
                version == TlsVersion::kTls12 ? "TLSv1.2" : "TLSv1.3");
      co_await writer.Write("x\n");
      EXPECT_EQ(co_await reader.ReadLine(), "x\n");
      co_await writer.Close();
    });
  }
  RunNet([]() -> Co<void> {
    Server server =
        co_await Serve(ServerContext().SetMaximumVersion(TlsVersion::kTls12));
    TlsContext context = ClientContext().SetMinimumVersion(TlsVersion::kTls13);
    const std::string error = co_await ErrorOf(Connect(server, context));
    EXPECT_NE(error.find("TLS handshake with localhost (127.0.0.1:"),
              std::string::npos)
        << error;
  });
}

// ---- much data

TEST_F(TlsTest, MuchDataGoesBothWaysAtOnce) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    auto [reader, writer] = co_await Connect(server, ClientContext());
    const std::string data = Pattern(3000001);
    auto send = [&writer = writer, &data]() -> Co<void> {
      co_await writer.Write(data);
    };
    Task<void> sending = CreateTask(send);
    std::string got;
    while (got.size() < data.size()) {
      const std::string part = co_await reader.Read(1 << 20);
      if (part.empty()) break;
      got += part;
    }
    EXPECT_TRUE(got == data);
    co_await sending;
    co_await writer.Close();
  });
}

TEST_F(TlsTest, ManyPiecesArriveInOrder) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    auto [reader, writer] = co_await Connect(server, ClientContext());
    std::vector<std::string> parts;
    std::vector<std::string_view> pieces;
    std::string all;
    for (size_t i = 0; i < 100; ++i) {
      parts.push_back(Pattern(i * 37));
      all += parts.back();
    }
    for (const std::string& part : parts) pieces.push_back(part);
    auto send = [&writer = writer, &pieces]() -> Co<void> {
      co_await writer.Write(pieces);
    };
    Task<void> sending = CreateTask(send);
    const std::string got = co_await reader.ReadExactly(all.size());
    EXPECT_TRUE(got == all);
    co_await sending;
    co_await writer.Close();
  });
}

TEST_F(TlsTest, WhatIsQueuedIsSentBeforeTheEnd) {
  RunNet([]() -> Co<void> {
    const std::string data = Pattern(1 << 20);
    auto handler = [&data](StreamReader, StreamWriter writer) -> Co<void> {
      writer.WriteSoon(data);
      co_return;  // and lets go of the connection
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    auto [reader, writer] = co_await Connect(server, ClientContext());
    // The end was announced, or this would throw.
    EXPECT_TRUE(co_await reader.ReadAll() == data);
    co_await writer.Close();
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(TlsTest, AWriterThatNobodyReadsFromWaitsForRoom) {
  RunNet([]() -> Co<void> {
    Future<void> written;
    auto handler = [&written](StreamReader, StreamWriter writer) -> Co<void> {
      const std::string block(1 << 20, 'b');
      for (int i = 0; i < 64; ++i) co_await writer.Write(block);
      written.SetResult();
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    auto [reader, writer] = co_await Connect(server, ClientContext());
    co_await coil_testing::Turns(50);
    EXPECT_FALSE(written.Done());
    size_t got = 0;
    for (;;) {
      const std::string part = co_await reader.Read(1 << 20);
      if (part.empty()) break;
      got += part.size();
    }
    EXPECT_EQ(got, size_t{64} << 20);
    co_await writer.Close();
  });
}

// ---- misuse

TEST_F(TlsTest, MisuseNamesItsRule) {
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(StartServer(
                  Echo, "127.0.0.1", 0, ServerOptions().Tls(ClientContext()))),
              "StartServer: the TLS context is one for clients");
    EXPECT_EQ(co_await ErrorOf(OpenConnection(
                  "127.0.0.1", 1, ConnectOptions().Tls(ServerContext()))),
              "OpenConnection: the TLS context is one for servers");
    Server server = co_await Serve(ServerContext());
    const std::pair<std::string, std::string> bad_names[] = {
        {std::string("local\0host", 10), "others go by their name in ASCII"},
        {"b\xc3\xbc"
         "cher.example",
         "others go by their name in ASCII"},
        {std::string(254, 'a'), "a host name has at most 253 bytes"},
    };
    for (const auto& [name, rule] : bad_names) {
      const std::string error =
          co_await ErrorOf(Connect(server, ClientContext(), name));
      EXPECT_NE(error.find(rule), std::string::npos) << error;
    }
    SecureOptions options;
    options.ServerHostname("localhost").HandshakeTimeout(absl::ZeroDuration());
    EXPECT_EQ(co_await ErrorOf(OpenConnection(
                  "127.0.0.1", server.Port(),
                  ConnectOptions().Tls(ClientContext(), options))),
              "TLS: the timeout of the handshake is above zero, not 0");
    SecureOptions named;
    named.ServerHostname("localhost");
    EXPECT_EQ(
        co_await ErrorOf(StartServer(
            Echo, "127.0.0.1", 0, ServerOptions().Tls(ServerContext(), named))),
        "TLS: ServerHostname() is for the side that connects");
  });
}

TEST_F(TlsTest, AUnixConnectionNeedsTheNameOfItsServer) {
  RunNet([]() -> Co<void> {
    coil_testing::UnixEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    const std::string error =
        co_await ErrorOf(writer.StartTls(ClientContext()));
    EXPECT_NE(error.find("a client needs the name that the certificate of its "
                         "server is for"),
              std::string::npos)
        << error;
    // Nothing has been done to the connection.
    co_await writer.Write("plain");
    EXPECT_EQ(ends.peer.Receive(), "plain");
  });
}

TEST_F(TlsTest, FilesThatDoNotServeAreNamed) {
  const Authority& authority = Authority::Get();
  const std::string garbage = authority.folder.Write("garbage.pem", "garbage");
  const std::string locked =
      authority.folder.Write("locked.key", authority.server.KeyPem("secret"));
  const std::string other =
      authority.folder.Write("other.key", authority.root.KeyPem());
  const auto error_of = [](auto f) {
    try {
      f();
      return std::string();
    } catch (const OsError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(error_of([] { TlsContext::Client("/nowhere/ca.pem"); }),
            "open /nowhere/ca.pem: No such file or directory");
  EXPECT_NE(error_of([&] {
              TlsContext::Client(garbage);
            }).find("load authorities from " + garbage),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              TlsContext::Server(garbage, authority.key_file);
            }).find("load certificates from " + garbage),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              TlsContext::Server(authority.certificate_file, other);
            }).find("load a key from " + other),
            std::string::npos);
  // An encrypted key asks nobody at the terminal.
  EXPECT_NE(error_of([&] {
              TlsContext::Server(authority.certificate_file, locked);
            }).find("load a key from " + locked),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              TlsContext::Server(authority.certificate_file, locked, "wrong");
            }).find("load a key from " + locked),
            std::string::npos);
  EXPECT_EQ(error_of([&] {
              TlsContext::Server(authority.certificate_file, locked, "secret");
            }),
            "");
  EXPECT_NE(error_of([] { TlsContext::Client().LoadVerifyText("nothing"); }),
            "");
  EXPECT_NE(error_of([] { ServerContext().SetCiphers("NO-SUCH-CIPHER"); }), "");
  EXPECT_THROW(ClientContext().SetAlpnProtocols({""}), std::invalid_argument);
  EXPECT_THROW(ClientContext().RequireClientCertificate(),
               std::invalid_argument);
}

// ---- names, sessions, certificates of clients

TEST_F(TlsTest, TheServerShowsTheCertificateOfTheNameThatIsAskedFor) {
  const Authority& authority = Authority::Get();
  CertificateSpec spec;
  spec.alternative_names = "DNS:other.example,DNS:*.wild.example";
  const Certificate other(spec, &authority.root);
  const std::string certificate =
      authority.folder.Write("other.pem", other.Pem());
  const std::string key =
      authority.folder.Write("other_name.key", other.KeyPem());
  RunNet([&]() -> Co<void> {
    TlsContext others = TlsContext::Server(certificate, key);
    TlsContext context = ServerContext();
    context.AddServerName("other.example", others)
        .AddServerName("*.wild.example", others);
    Server server = co_await Serve(context);
    for (const char* name :
         {"other.example", "OTHER.example", "a.wild.example"}) {
      auto [reader, writer] = co_await Connect(server, ClientContext(), name);
      EXPECT_EQ(writer.GetTlsInfo()->peer_certificate, other.Pem());
      co_await writer.Close();
    }
    auto [reader, writer] = co_await Connect(server, ClientContext());
    EXPECT_EQ(writer.GetTlsInfo()->peer_certificate, authority.server.Pem());
    co_await writer.Close();
    // A wildcard is one label.
    const std::string error =
        co_await ErrorOf(Connect(server, ClientContext(), "a.b.wild.example"));
    EXPECT_NE(error.find("it is not for a.b.wild.example"), std::string::npos)
        << error;
  });
}

class TlsVersionTest : public TlsTest,
                       public testing::WithParamInterface<TlsVersion> {};
INSTANTIATE_TEST_SUITE_P(Versions, TlsVersionTest,
                         testing::Values(TlsVersion::kTls12,
                                         TlsVersion::kTls13));

TEST_P(TlsVersionTest, ASessionIsResumedByItsContextOnly) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    TlsContext context = ClientContext().SetMaximumVersion(GetParam());
    for (int i = 0; i < 4; ++i) {
      auto [reader, writer] = co_await Connect(server, context);
      co_await writer.Write("x\n");  // the ticket comes with the answer
      EXPECT_EQ(co_await reader.ReadLine(), "x\n");
      EXPECT_EQ(writer.GetTlsInfo()->resumed, i != 0);
      co_await writer.Close();
    }
    auto [reader, writer] = co_await Connect(server, ClientContext());
    EXPECT_FALSE(writer.GetTlsInfo()->resumed);
    co_await writer.Close();
    // Nor under another name.
    auto [reader2, writer2] = co_await Connect(server, context, "127.0.0.1");
    EXPECT_FALSE(writer2.GetTlsInfo()->resumed);
    co_await writer2.Close();
  });
}

TEST_F(TlsTest, AClientShowsACertificateWhereOneIsRequired) {
  const Authority& authority = Authority::Get();
  RunNet([&]() -> Co<void> {
    TlsContext demanding = ServerContext();
    demanding.LoadVerifyFile(authority.root_file).RequireClientCertificate();
    Server server = co_await Serve(demanding);
    TlsContext known = ClientContext();
    known.LoadCertChain(authority.certificate_file, authority.key_file);
    auto [reader, writer] = co_await Connect(server, known);
    co_await writer.Write("known\n");
    EXPECT_EQ(co_await reader.ReadLine(), "known\n");
    co_await writer.Close();

    // With TLS 1.3 a client learns of the refusal when it reads.
    auto anonymous = [&]() -> Co<void> {
      auto [r, w] = co_await Connect(server, ClientContext());
      co_await w.Write("unknown\n");
      static_cast<void>(co_await r.ReadLine());
    };
    const std::string error = co_await ErrorOf(anonymous());
    EXPECT_NE(error.find("certificate required"), std::string::npos) << error;
  });
}

// ---- peers that misbehave

TEST_F(TlsTest, AHandshakeThatFailsDoesNotStopTheServer) {
  RunNet([]() -> Co<void> {
    Reports reports;
    Server server = co_await Serve(ServerContext());
    Peer plain = coil_testing::ConnectTo(server.Port());
    plain.Send("GET / HTTP/1.0\r\n\r\n");
    Peer gone = coil_testing::ConnectTo(server.Port());
    gone.Reset();
    auto [reader, writer] = co_await Connect(server, ClientContext());
    co_await writer.Write("still there\n");
    EXPECT_EQ(co_await reader.ReadLine(), "still there\n");
    co_await writer.Close();
    EXPECT_TRUE(co_await Eventually([&] { return server.Connections() == 0; }));
    EXPECT_EQ(plain.ReceiveAll(), "");
    EXPECT_TRUE(reports.Messages().empty());
  });
}

TEST_F(TlsTest, InDebugModeAHandshakeThatFailsIsReported) {
  RunOptions options;
  options.debug = true;
  RunNet(
      []() -> Co<void> {
        Reports reports;
        Server server = co_await Serve(ServerContext());
        Peer plain = coil_testing::ConnectTo(server.Port());
        plain.Send("GET / HTTP/1.0\r\n\r\n");
        EXPECT_TRUE(
            co_await Eventually([&] { return !reports.Messages().empty(); }));
        EXPECT_NE(reports.Messages()[0].find("TLS handshake with 127.0.0.1:"),
                  std::string::npos)
            << reports.Messages()[0];
      },
      options);
}

TEST_F(TlsTest, ReliabilityT61AHandshakeThatStallsHasADeadline) {
  RunNet([]() -> Co<void> {
    SecureOptions options;
    options.HandshakeTimeout(absl::Milliseconds(10));
    Server server = co_await StartServer(
        Echo, "127.0.0.1", 0, ServerOptions().Tls(ServerContext(), options));
    std::vector<Peer> silent;
    for (int i = 0; i < 20; ++i) {
      silent.push_back(coil_testing::ConnectTo(server.Port()));
    }
    for (Peer& peer : silent) {
      EXPECT_TRUE(co_await Eventually([&] {
        char byte;
        return ::recv(peer.fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 ||
               errno == ECONNRESET;
      }));
    }
    EXPECT_EQ(server.Connections(), 0u);
  });
}

TEST_F(TlsTest, AClientsHandshakeHasADeadlineThatNamesIt) {
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    SecureOptions options;
    options.ServerHostname("localhost")
        .HandshakeTimeout(absl::Milliseconds(10));
    const std::string error =
        co_await ErrorOf(writer.StartTls(ClientContext(), options));
    EXPECT_NE(error.find("it did not end within 10ms"), std::string::npos)
        << error;
    EXPECT_TRUE(writer.IsClosing());
  });
}

TEST_F(TlsTest, AServerThatHangsUpInTheHandshakeIsAnError) {
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    ends.peer.ShutdownWrite();
    SecureOptions options;
    options.ServerHostname("localhost");
    const std::string error =
        co_await ErrorOf(writer.StartTls(ClientContext(), options));
    EXPECT_NE(error.find("the peer closed the connection"), std::string::npos)
        << error;
  });
}

// A connection over which a man in the middle sits, who passes on what he gets,
// as often as he is told to.
class Middle {
 public:
  // Connects to `port` for the client whose end is `client`.
  explicit Middle(int port) : server(coil_testing::ConnectTo(port)) {}

  // Passes on what is there now; whether that was anything.
  bool Pass() {
    const std::string up = ends.peer.Receive();
    if (!up.empty()) server.Send(up);
    const std::string down = server.Receive();
    if (!down.empty()) ends.peer.Send(down);
    return !up.empty() || !down.empty();
  }
  // The client's end, when the handshake has ended.
  Co<StreamPair> ShakeHands() {
    StreamPair pair = MakeStreams(MakeByteStream(std::move(ends.socket)));
    SecureOptions options;
    options.ServerHostname("localhost");
    Task<void> handshake =
        CreateTask(pair.writer.StartTls(ClientContext(), options));
    co_await PassUntil(handshake);
    co_await handshake;
    co_return pair;
  }
  Co<void> PassUntil(AnyTask done) {
    while (!done.Done()) {
      Pass();
      co_await Sleep(absl::Microseconds(100));
    }
  }

  coil_testing::TcpEnds ends;
  Peer server;
};

TEST_F(TlsTest, ReliabilityT59AnEndThatIsNotAnnouncedIsAnError) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    Middle middle(server.Port());
    auto [reader, writer] = co_await middle.ShakeHands();
    co_await writer.Write("hello\n");
    Task<std::string> line = CreateTask(reader.ReadLine());
    co_await middle.PassUntil(line);
    EXPECT_EQ(co_await line, "hello\n");
    middle.ends.peer.ShutdownWrite();  // the wire is cut
    const std::string error = co_await ErrorOf(reader.ReadLine());
    EXPECT_NE(error.find("without close_notify"), std::string::npos) << error;
    writer.Abort();
  });
}

TEST_F(TlsTest, ARecordThatWasTamperedWithIsAnError) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    Middle middle(server.Port());
    auto [reader, writer] = co_await middle.ShakeHands();
    co_await coil_testing::Turns();
    while (middle.Pass()) co_await Sleep(absl::Milliseconds(1));
    middle.ends.peer.Send(std::string("\x17\x03\x03\x00\x20", 5) +
                          std::string(32, 'x'));
    const std::string error = co_await ErrorOf(reader.ReadLine());
    EXPECT_NE(error.find("bad record mac"), std::string::npos) << error;
    EXPECT_NE(co_await ErrorOf(writer.Write("more")), "");
    writer.Abort();
  });
}

// ---- StartTls

// The server's half of an upgrade in the middle of a connection.
Co<void> UpgradeAndEcho(StreamReader reader, StreamWriter writer) {
  const std::string command = co_await reader.ReadLine();
  if (command != "STARTTLS\n") co_return;
  co_await writer.Write("go ahead\n");
  co_await writer.StartTls(ServerContext());
  co_await Echo(reader, writer);
}

TEST_F(TlsTest, AConnectionIsUpgraded) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(UpgradeAndEcho, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("STARTTLS\n");
    EXPECT_EQ(co_await reader.ReadLine(), "go ahead\n");
    SecureOptions options;
    options.ServerHostname("localhost");
    co_await writer.StartTls(ClientContext(), options);
    EXPECT_TRUE(writer.GetTlsInfo().has_value());
    co_await writer.Write("secret\n");
    EXPECT_EQ(co_await reader.ReadLine(), "secret\n");
    co_await writer.Close();
    co_await server.Shutdown(absl::Seconds(10));
  });
}

// The client does not wait for the answer: its first record lies in the reader
// already when the server upgrades (gh-142352).
TEST_F(TlsTest, AHandshakeThatWasReceivedAlreadyIsNotLost) {
  RunNet([]() -> Co<void> {
    auto handler = [](StreamReader reader, StreamWriter writer) -> Co<void> {
      // Reads more than the line.
      while (co_await reader.ReadExactly(1) != "\n") continue;
      static_cast<void>(co_await reader.Peek());
      co_await writer.StartTls(ServerContext());
      co_await Echo(reader, writer);
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0);
    auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
    co_await writer.Write("STARTTLS\n");
    SecureOptions options;
    options.ServerHostname("localhost");
    co_await writer.StartTls(ClientContext(), options);
    co_await writer.Write("secret\n");
    EXPECT_EQ(co_await reader.ReadLine(), "secret\n");
    co_await writer.Close();
  });
}

TEST_F(TlsTest, ReliabilityT60WhatWasInjectedBeforeTheUpgradeIsNotAccepted) {
  for (const size_t size : {1, 2, 5, 100, 1000, 4096}) {
    SCOPED_TRACE(size);
    RunNet([size]() -> Co<void> {
      std::string seen;
      auto handler = [&seen](StreamReader reader,
                             StreamWriter writer) -> Co<void> {
        try {
          while (co_await reader.ReadExactly(1) != "\n") continue;
          static_cast<void>(co_await reader.Peek());
          co_await writer.Write("go ahead\n");
          co_await writer.StartTls(ServerContext());
          seen = co_await reader.ReadLine();
        } catch (const OsError&) {
          // Refused: as good.
        }
      };
      Server server = co_await StartServer(handler, "127.0.0.1", 0);
      auto [reader, writer] =
          co_await OpenConnection("127.0.0.1", server.Port());
      const std::string injected(size, 'i');
      co_await writer.Write("STARTTLS\n" + injected);
      EXPECT_EQ(co_await reader.ReadLine(), "go ahead\n");
      SecureOptions options;
      options.ServerHostname("localhost");
      bool secured = true;
      try {
        co_await writer.StartTls(ClientContext(), options);
      } catch (const OsError&) {
        secured = false;  // a part of it came later, and was refused
      }
      if (secured) {
        co_await writer.Write("mine\n");
        EXPECT_TRUE(co_await Eventually([&] { return !seen.empty(); }));
        EXPECT_EQ(seen, "mine\n");
      } else {
        EXPECT_TRUE(
            co_await Eventually([&] { return server.Connections() == 0; }));
        EXPECT_EQ(seen, "");
      }
      writer.Abort();
    });
  }
}

TEST_F(TlsTest, AnUpgradeIsRefusedWhileSomebodyReads) {
  RunNet([]() -> Co<void> {
    coil_testing::Connection c;
    Task<std::string> reading = CreateTask(c.reader.ReadLine());
    co_await Yield();
    SecureOptions options;
    options.ServerHostname("localhost");
    EXPECT_EQ(co_await ErrorOf(c.writer.StartTls(ClientContext(), options)),
              "StreamWriter::StartTls: a task is reading from the connection; "
              "what it would get is not secured");
    EXPECT_EQ(co_await ErrorOf(c.writer.StartTls(nullptr)),
              "StreamWriter::StartTls: the context is null");
    c.peer.Send("plain\n");
    EXPECT_EQ(co_await reading, "plain\n");
  });
}

// ---- closing

TEST_F(TlsTest, CloseWaitsUntilThePeerTakesLeaveTooOrTheDeadline) {
  RunNet([]() -> Co<void> {
    Event leave;
    auto handler = [&leave](StreamReader reader,
                            StreamWriter writer) -> Co<void> {
      EXPECT_EQ(co_await reader.ReadAll(), "");
      co_await leave.Wait();
      co_await writer.Close();
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    auto [reader, writer] = co_await Connect(server, ClientContext());
    Task<void> closing = CreateTask(writer.Close());
    co_await coil_testing::Turns(50);
    EXPECT_FALSE(closing.Done());
    leave.Set();
    co_await closing;

    leave.Clear();
    SecureOptions hasty;
    hasty.ServerHostname("localhost").ShutdownTimeout(absl::Milliseconds(5));
    auto [reader2, writer2] =
        co_await OpenConnection("127.0.0.1", server.Port(),
                                ConnectOptions().Tls(ClientContext(), hasty));
    co_await writer2.Close();  // nobody answers
    leave.Set();
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(TlsTest, HalfAConnectionCannotBeClosed) {
  RunNet([]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    auto [reader, writer] = co_await Connect(server, ClientContext());
    EXPECT_FALSE(writer.CanWriteEof());
    EXPECT_THROW(writer.WriteEof(), std::runtime_error);
    co_await writer.Close();
  });
}

TEST_F(TlsTest, TheLoopMayEndWithConnectionsInEveryState) {
  std::vector<StreamPair> kept;
  RunNet([&]() -> Co<void> {
    Server server = co_await Serve(ServerContext());
    kept.push_back(co_await Connect(server, ClientContext()));
    kept.push_back(co_await Connect(server, ClientContext()));
    Peer silent = coil_testing::ConnectTo(server.Port());
    co_await coil_testing::Turns();
    kept[1].writer.WriteSoon(std::string(1 << 20, 'x'));
    CreateTask(kept[1].writer.Close());
    co_await Yield();
  });
  kept.clear();
}

// ---- cancellation

Co<void> TlsEcho() {
  Server server = co_await StartServer(Echo, "127.0.0.1", 0,
                                       ServerOptions().Tls(ServerContext()));
  SecureOptions options;
  options.ServerHostname("localhost");
  auto [reader, writer] =
      co_await OpenConnection("127.0.0.1", server.Port(),
                              ConnectOptions().Tls(ClientContext(), options));
  co_await writer.Write("one\n");
  EXPECT_EQ(co_await reader.ReadLine(), "one\n");
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(10));
}

TEST_F(TlsTest, ReliabilityT62ACancelAnywhereLeavesNothing) {
  for (int point = 0;; point = point < 40 ? point + 1 : point * 5 / 4) {
    bool reached = false;
    RunNet([&]() -> Co<void> {
      Task<void> task = CreateTask(TlsEcho());
      for (int i = 0; i < point && !task.Done(); ++i) co_await Yield();
      reached = !task.Done();
      co_await CancelAndWait(task);
    });
    if (!reached) break;
    if (point > 2000) break;
  }
}

}  // namespace
}  // namespace coil::net
