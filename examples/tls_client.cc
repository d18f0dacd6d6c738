// A client of TLS: connects to a web server, prints what was agreed upon and
// the head of its answer.
//
//   ./bazelw run //examples:tls_client -- example.com
//   ./bazelw run //examples:tls_client -- localhost 8443 /etc/my/ca.pem

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "coil/timers/timeout.h"

namespace {

coil::Co<void> Show(std::string host, int port, coil::net::TlsContext context) {
  auto [reader, writer] = co_await coil::net::OpenConnection(
      host, port, coil::net::ConnectOptions().Tls(context));
  const std::optional<coil::net::TlsInfo> info = writer.GetTlsInfo();
  std::printf("%s: %s, %s%s\n", writer.PeerName().ToString().c_str(),
              info->version.c_str(), info->cipher.c_str(),
              info->resumed ? ", resumed" : "");

  co_await writer.Write("HEAD / HTTP/1.0\r\nHost: " + host +
                        "\r\nConnection: close\r\n\r\n");
  while (std::optional<std::string> line = co_await reader.Next()) {
    std::fputs(line->c_str(), stdout);
  }
  co_await writer.Close();
}

}  // namespace

int main(int argc, char** argv) {
  int port = 443;  // lint: allow fixed-port (that of HTTPS)
  if (argc < 2 || argc > 4 || (argc > 2 && !absl::SimpleAtoi(argv[2], &port))) {
    std::fprintf(stderr, "usage: %s HOST [PORT [CA_FILE]]\n", argv[0]);
    return EXIT_FAILURE;
  }
  try {
    const std::string host = argv[1];
    auto context = coil::net::TlsContext::Client(argc > 3 ? argv[3] : "");
    auto main = [&]() -> coil::Co<void> {
      co_await coil::WithTimeout(absl::Seconds(30), Show(host, port, context));
    };
    coil::Run(main);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
