// Peers that use TLS against us: played by hand with OpenSSL, since no client
// of coil does such things.

#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/net/tls/internal/openssl.h"
#include "coil/net/tls/internal/tls_layer.h"
#include "coil/task/co.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/to_thread.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::AuthoritySpec;
using coil_testing::Certificate;
using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::ErrorOf;
using coil_testing::Peer;
using coil_testing::RunNet;
using coil_testing::ServerContext;
using internal::SslCtxPtr;
using internal::SslPtr;
using internal::SslSessionPtr;

class TlsAttackTest : public coil_testing::NetTest {};

// A connection of a client without a loop, which blocks.
class HandMade {
 public:
  HandMade(SSL_CTX* context, int port, const char* name,
           SSL_SESSION* session = nullptr)
      : peer_(coil_testing::ConnectTo(port)), ssl_(SSL_new(context)) {
    SSL_set_fd(ssl_.get(), peer_.fd());
    SSL_set_tlsext_host_name(ssl_.get(), name);
    if (session != nullptr) SSL_set_session(ssl_.get(), session);
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  SSL* ssl() const { return ssl_.get(); }
  bool connected() const { return connected_; }
  // What the server says to it; "" if it hangs up.
  std::string Ask(const std::string& text) {
    if (SSL_write(ssl(), text.data(), static_cast<int>(text.size())) <= 0) {
      return "";
    }
    std::string answer(100, '\0');
    const int n = SSL_read(ssl(), answer.data(), 100);
    answer.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return answer;
  }
  SslSessionPtr Session() const {
    return SslSessionPtr(SSL_get1_session(ssl()));
  }

 private:
  Peer peer_;
  SslPtr ssl_;
  bool connected_ = false;
};

SslCtxPtr HandMadeContext() {
  return SslCtxPtr(SSL_CTX_new(TLS_client_method()));
}

// A ticket of one name does not open the door of another, behind which a
// certificate is asked for.
TEST_F(TlsAttackTest, ASessionIsNotResumedUnderAnotherName) {
  const Authority& authority = Authority::Get();
  TlsContext guarded = ServerContext();
  guarded.LoadVerifyFile(authority.root_file).RequireClientCertificate();
  TlsContext open = ServerContext();
  open.AddServerName("guarded.example", guarded)
      .AddServerName("same.example", ServerContext());
  RunNet([&]() -> Co<void> {
    Server server =
        co_await StartServer(Echo, "127.0.0.1", 0, ServerOptions().Tls(open));
    auto attack = [port = server.Port()] {
      const SslCtxPtr context = HandMadeContext();
      HandMade first(context.get(), port, "open.example");
      EXPECT_EQ(first.Ask("one"), "one");
      const SslSessionPtr ticket = first.Session();
      HandMade again(context.get(), port, "open.example", ticket.get());
      EXPECT_EQ(again.Ask("two"), "two");
      EXPECT_EQ(SSL_session_reused(again.ssl()), 1);
      const SslSessionPtr newer = again.Session();
      HandMade guarded_one(context.get(), port, "guarded.example", newer.get());
      EXPECT_EQ(guarded_one.Ask("three"), "");
      HandMade honest(context.get(), port, "guarded.example");
      EXPECT_EQ(honest.Ask("four"), "");
    };
    co_await ToThread(attack);
    co_await server.Shutdown(absl::Seconds(10));
  });
}

TEST_F(TlsAttackTest, TheLeastVersionOfANameHolds) {
  TlsContext strict = ServerContext();
  strict.SetMinimumVersion(TlsVersion::kTls13);
  TlsContext lax = ServerContext();
  lax.AddServerName("strict.example", strict);
  RunNet([&]() -> Co<void> {
    Server server =
        co_await StartServer(Echo, "127.0.0.1", 0, ServerOptions().Tls(lax));
    auto attack = [port = server.Port()] {
      const SslCtxPtr context = HandMadeContext();
      SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
      EXPECT_TRUE(HandMade(context.get(), port, "lax.example").connected());
      EXPECT_FALSE(HandMade(context.get(), port, "strict.example").connected());
    };
    co_await ToThread(attack);
  });
}

// The peer never hears of a message that could not be sent, so it says nothing,
// and neither side would hear of the other again.
TEST_F(TlsAttackTest, AHandshakeThatCannotBeSentFails) {
  static int until_failure = 0;
  coil_testing::SocketShim shim;
  shim.table().send = [](int fd, const void* data, size_t size, int flags) {
    if (--until_failure == 0) {
      errno = ENOBUFS;
      return ssize_t{-1};
    }
    return ::send(fd, data, size, flags);
  };
  for (int call = 1; call <= 2; ++call) {
    RunNet([call]() -> Co<void> {
      Server server = co_await StartServer(
          Echo, "127.0.0.1", 0, ServerOptions().Tls(ServerContext()));
      until_failure = call;
      SecureOptions options;
      options.ServerHostname("localhost");
      const std::string error = co_await ErrorOf(
          OpenConnection("127.0.0.1", server.Port(),
                         ConnectOptions().Tls(ClientContext(), options)));
      const std::string wanted = call == 1 ? "No buffer space available"
                                           : "the peer closed the connection";
      EXPECT_NE(error.find(wanted), std::string::npos) << error;
      co_await server.Shutdown(absl::Seconds(10));
    });
  }
}

// Each change of keys costs who gets it more than who asks for it.
TEST_F(TlsAttackTest, AFloodOfMessagesWithoutDataEndsTheConnection) {
  RunNet([]() -> Co<void> {
    std::string error;
    auto handler = [&error](StreamReader reader, StreamWriter) -> Co<void> {
      error = co_await ErrorOf(reader.ReadAll());
    };
    Server server = co_await StartServer(handler, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    auto attack = [port = server.Port()] {
      const SslCtxPtr context = HandMadeContext();
      HandMade flood(context.get(), port, "localhost");
      SSL_set_mode(flood.ssl(), SSL_MODE_AUTO_RETRY);
      for (int i = 0; i < 10000; ++i) {
        SSL_key_update(flood.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        if (SSL_do_handshake(flood.ssl()) != 1) break;
      }
    };
    co_await ToThread(attack);
    co_await server.Shutdown(absl::Seconds(10));
    EXPECT_NE(error.find("too many messages without data"), std::string::npos)
        << error;
  });
}

TEST_F(TlsAttackTest, NowAndThenNewKeysAreWelcome) {
  RunNet([]() -> Co<void> {
    Server server = co_await StartServer(Echo, "127.0.0.1", 0,
                                         ServerOptions().Tls(ServerContext()));
    auto talk = [port = server.Port()] {
      const SslCtxPtr context = HandMadeContext();
      HandMade client(context.get(), port, "localhost");
      for (int i = 0; i < 200; ++i) {
        SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
        EXPECT_EQ(client.Ask("hello"), "hello");
      }
    };
    co_await ToThread(talk);
  });
}

TEST_F(TlsAttackTest, ASecondUpgradeDuringTheFirstIsRefused) {
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    SecureOptions options;
    options.ServerHostname("localhost");
    Task<void> first = CreateTask(writer.StartTls(ClientContext(), options));
    co_await coil_testing::Turns();
    EXPECT_EQ(co_await ErrorOf(writer.StartTls(ClientContext(), options)),
              "StreamWriter::StartTls: a handshake is under way on this "
              "connection");
    EXPECT_FALSE(first.Done());
    EXPECT_FALSE(writer.IsClosing());
    co_await CancelAndWait(first);
    EXPECT_TRUE(writer.IsClosing());
  });
}

TEST_F(TlsAttackTest, AnAbortLetsAnUpgradeGoThatWaitsForTheQueue) {
  RunNet([]() -> Co<void> {
    coil_testing::UnixEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    writer.WriteSoon(std::string(1 << 22, 'q'));
    SecureOptions options;
    options.ServerHostname("localhost");
    Task<void> upgrade = CreateTask(writer.StartTls(ClientContext(), options));
    co_await coil_testing::Turns();
    EXPECT_FALSE(upgrade.Done());
    writer.Abort();
    EXPECT_NE(co_await ErrorOf(upgrade), "");
  });
}

TEST_F(TlsAttackTest, AHandshakeThatTheSystemAbortsIsAnError) {
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    auto [reader, writer] = MakeStreams(MakeByteStream(std::move(ends.socket)));
    coil_testing::SocketShim shim;
    shim.table().recv = [](int, void*, size_t, int) -> ssize_t {
      errno = ECONNABORTED;
      return -1;
    };
    ends.peer.Send("x");
    SecureOptions options;
    options.ServerHostname("localhost");
    EXPECT_NE(co_await ErrorOf(writer.StartTls(ClientContext(), options)), "");
  });
}

TEST_F(TlsAttackTest, ClientsAreToldOfAllAuthorities) {
  const Authority& authority = Authority::Get();
  const Certificate other(AuthoritySpec("another root"), nullptr);
  TlsContext context = ServerContext();
  context.LoadVerifyFile(authority.root_file)
      .LoadVerifyFile(authority.folder.Write("another.pem", other.Pem()));
  const std::shared_ptr<const SecureLayer> layer = context;
  SSL_CTX* ssl =
      std::static_pointer_cast<const internal::TlsLayer>(layer)->context();
  EXPECT_EQ(sk_X509_NAME_num(SSL_CTX_get_client_CA_list(ssl)), 2);
}

}  // namespace
}  // namespace coil::net
