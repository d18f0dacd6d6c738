// A client of streams with nginx at the other end: what HTTP asks of streams.

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/streams.h"
#include "coil/net/subprocess.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/timers/sleep.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"
#include "tests/net/tls/tls_testing.h"
#include "tests/peers/peer_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::ClientContext;
using coil_testing::FindProgram;
using coil_testing::RunNet;
using coil_testing::SomeText;

class NginxTest : public coil_testing::NetTest {};

// An nginx that serves a folder at two Unix sockets, which need no free ports.
class Nginx {
 public:
  Nginx() {
    small_ = SomeText(10);
    large_ = SomeText(500000);
    Write("small.txt", small_);
    Write("large.txt", large_);
    const Authority& authority = Authority::Get();
    const auto temporary = [&](const char* what) {
      return absl::StrCat(what, "_temp_path ", folder_.Path(what), ";\n");
    };
    Write("nginx.conf",
          absl::StrCat(
              "daemon off;\nmaster_process off;\nerror_log stderr;\n"
              "user root root;\n",
              "pid ", folder_.Path("pid"), ";\nevents {}\nhttp {\n",
              "access_log off;\n", temporary("client_body"), temporary("proxy"),
              temporary("fastcgi"), temporary("uwsgi"), temporary("scgi"),
              "keepalive_requests 1000;\nserver {\nlisten unix:", Plain(),
              ";\nlisten unix:", Secure(), " ssl;\nssl_certificate ",
              authority.certificate_file, ";\nssl_certificate_key ",
              authority.key_file, ";\nroot ", folder_.Path(""), ";\n}\n}\n"));
    process_ = Command(FindProgram("nginx"))
                   .Arg("-e")
                   .Arg("stderr")
                   .Arg("-c")
                   .Arg(folder_.Path("nginx.conf"))
                   .KillOnDrop()
                   .Spawn();
  }
  std::string Plain() const { return folder_.Path("plain"); }
  std::string Secure() const { return folder_.Path("secure"); }
  const std::string& small() const { return small_; }
  const std::string& large() const { return large_; }

  // As soon as it listens.
  Co<StreamPair> Connect(bool secure) {
    ConnectOptions options;
    if (secure) {
      options.Tls(ClientContext(), SecureOptions().ServerHostname("localhost"));
    }
    std::string path = Plain();
    if (secure) path = Secure();
    for (int i = 0;; ++i) {
      try {
        co_return co_await OpenUnixConnection(path, options);
      } catch (const OsError&) {
        if (i == 5000) throw;
      }
      co_await Sleep(absl::Milliseconds(1));
    }
  }

 private:
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.Path(name), std::ios::binary) << text;
  }

  const coil_testing::SocketFolder folder_;
  std::string small_;
  std::string large_;
  Process process_;
};

std::string Request(const char* path, bool last = false) {
  return absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n",
                      last ? "Connection: close\r\n" : "", "\r\n");
}

// The body of an answer that says how long it is.
Co<std::string> ReadAnswer(StreamReader reader) {
  const std::string head = co_await reader.ReadUntil("\r\n\r\n");
  EXPECT_EQ(head.find("HTTP/1.1 200 OK\r\n"), 0u) << head;
  const std::string field = "Content-Length: ";
  const size_t at = head.find(field);
  if (at == std::string::npos) co_return "";
  co_return co_await reader.ReadExactly(
      static_cast<size_t>(std::atol(head.c_str() + at + field.size())));
}

TEST_F(NginxTest, ManyRequestsOverOneConnection) {
  COIL_NEEDS_PROGRAM("nginx");
  RunNet([]() -> Co<void> {
    Nginx nginx;
    for (const bool secure : {false, true}) {
      auto [reader, writer] = co_await nginx.Connect(secure);
      for (int i = 0; i < 100; ++i) {
        co_await writer.Write(Request("/small.txt"));
        EXPECT_EQ(co_await ReadAnswer(reader), nginx.small());
      }
      // And several on the way at once.
      std::string many;
      for (int i = 0; i < 20; ++i) many += Request("/small.txt");
      co_await writer.Write(many);
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(co_await ReadAnswer(reader), nginx.small());
      }
      co_await writer.Close();
    }
  });
}

TEST_F(NginxTest, ALargeFileArrivesWhole) {
  COIL_NEEDS_PROGRAM("nginx");
  RunNet([]() -> Co<void> {
    Nginx nginx;
    for (const bool secure : {false, true}) {
      auto [reader, writer] = co_await nginx.Connect(secure);
      co_await writer.Write(Request("/large.txt", /*last=*/true));
      const std::string body = co_await ReadAnswer(reader);
      EXPECT_TRUE(body == nginx.large()) << body.size();
      // The end is an orderly one.
      EXPECT_EQ(co_await reader.ReadAll(), "");
      co_await writer.Close();
    }
  });
}

TEST_F(NginxTest, AnAnswerComesAfterAHalfClose) {
  COIL_NEEDS_PROGRAM("nginx");
  RunNet([]() -> Co<void> {
    Nginx nginx;
    // A small file: while nginx waits for room for the rest of a large one, it
    // takes a half-close for a client that has gone.
    for (int i = 0; i < 20; ++i) {
      auto [reader, writer] = co_await nginx.Connect(false);
      co_await writer.Write(Request("/small.txt", /*last=*/true));
      writer.WriteEof();
      EXPECT_EQ(co_await ReadAnswer(reader), nginx.small());
      EXPECT_EQ(co_await reader.ReadAll(), "");
      co_await writer.Close();
    }
  });
}

TEST_F(NginxTest, ARequestThatIsGivenUpDisturbsNobody) {
  COIL_NEEDS_PROGRAM("nginx");
  RunNet([]() -> Co<void> {
    Nginx nginx;
    for (const bool secure : {false, true}) {
      for (int i = 0; i < 10; ++i) {
        auto [reader, writer] = co_await nginx.Connect(secure);
        co_await writer.Write(Request("/large.txt"));
        co_await reader.ReadExactly(static_cast<size_t>(1 + i * 1000));
        writer.Abort();
      }
      auto [reader, writer] = co_await nginx.Connect(secure);
      co_await writer.Write(Request("/small.txt", /*last=*/true));
      EXPECT_EQ(co_await ReadAnswer(reader), nginx.small());
      co_await writer.Close();
    }
  });
}

}  // namespace
}  // namespace coil::net
