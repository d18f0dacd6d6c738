// TLS with a program that this project has not written: OpenSSL's own client
// and server.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/to_thread.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::Authority;
using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::RunNet;
using coil_testing::ServerContext;

// The command "openssl" with its standard input and output.
class Openssl {
 public:
  explicit Openssl(std::vector<std::string> arguments) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) {
      throw std::runtime_error("pipe2");
    }
    arguments.insert(arguments.begin(), "openssl");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = ::fdopen(out[0], "r");
  }
  ~Openssl() {
    CloseInput();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::fclose(out_);
  }

  void Say(const std::string& text) {
    if (::write(in_, text.data(), text.size()) < 0) CloseInput();
  }
  void CloseInput() {
    if (in_ >= 0) ::close(std::exchange(in_, -1));
  }
  // Waits for a line that contains `word`; what comes behind it.
  std::string Expect(const std::string& word) {
    char line[4096];
    std::string seen;
    while (::fgets(line, sizeof(line), out_) != nullptr) {
      const std::string text = line;
      const size_t at = text.find(word);
      if (at != std::string::npos) return text.substr(at + word.size());
      seen += text;
    }
    ADD_FAILURE() << "no \"" << word << "\" in\n" << seen;
    return "";
  }

 private:
  pid_t pid_;
  int in_;
  FILE* out_;
};

TEST(TlsPeerTest, OpensslsClientTalksToACoilServer) {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    SCOPED_TRACE(version);
    RunNet([version]() -> Co<void> {
      Server server = co_await StartServer(
          Echo, "127.0.0.1", 0, ServerOptions().Tls(ServerContext()));
      Openssl client({"s_client", "-connect",
                      "127.0.0.1:" + std::to_string(server.Port()), "-CAfile",
                      Authority::Get().root_file, "-verify_hostname",
                      "localhost", "-verify_return_error", "-quiet",
                      "-no_ign_eof", version});
      auto talk = [&client] {
        client.Say("hello from s_client\n");
        client.Expect("hello from s_client");
        client.CloseInput();
      };
      co_await ToThread(talk);
      co_await server.Shutdown(absl::Seconds(10));
    });
  }
}

TEST(TlsPeerTest, ACoilClientTalksToOpensslsServer) {
  const Authority& authority = Authority::Get();
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    SCOPED_TRACE(version);
    Openssl server({"s_server", "-accept", "127.0.0.1:0", "-cert",
                    authority.certificate_file, "-key", authority.key_file,
                    "-rev", version});
    const int port = std::stoi(server.Expect("ACCEPT 127.0.0.1:"));
    RunNet([port]() -> Co<void> {
      SecureOptions options;
      options.ServerHostname("localhost");
      TlsContext context = ClientContext();
      for (int i = 0; i < 3; ++i) {
        auto [reader, writer] = co_await OpenConnection(
            "127.0.0.1", port, ConnectOptions().Tls(context, options));
        co_await writer.Write("drawer\n");
        EXPECT_EQ(co_await reader.ReadLine(), "reward\n");
        EXPECT_EQ(writer.GetTlsInfo()->resumed, i != 0);
        co_await writer.Close();
      }
    });
  }
}

TEST(TlsPeerTest, OpensslsServerWithoutATrustedCertificateIsRefused) {
  const Authority& authority = Authority::Get();
  Openssl server({"s_server", "-accept", "127.0.0.1:0", "-cert",
                  authority.certificate_file, "-key", authority.key_file,
                  "-rev"});
  const int port = std::stoi(server.Expect("ACCEPT 127.0.0.1:"));
  RunNet([port]() -> Co<void> {
    const std::string error = co_await coil_testing::ErrorOf(OpenConnection(
        "127.0.0.1", port, ConnectOptions().Tls(TlsContext::Client())));
    EXPECT_NE(error.find("the certificate of the peer is refused"),
              std::string::npos)
        << error;
  });
}

}  // namespace
}  // namespace coil::net
