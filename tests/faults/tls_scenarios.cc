#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "tests/faults/fault_scenarios.h"
#include "tests/net/tls/tls_testing.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::net::ConnectOptions;
using coil::net::OpenConnection;
using coil::net::SecureOptions;
using coil::net::Server;
using coil::net::StartServer;
using coil::net::StreamReader;
using coil::net::StreamWriter;
using coil::net::TlsContext;

// One for all runs: making them costs more than a run.
const TlsContext& SharedServerContext() {
  static const auto* const context = new TlsContext(ServerContext());
  return *context;
}
// Each its own: one that knows the server would resume the last session.
TlsContext FreshClientContext() { return ClientContext(); }

SecureOptions ForLocalhost() {
  return SecureOptions()
      .ServerHostname("localhost")
      .ShutdownTimeout(absl::Milliseconds(50));
}

Co<void> TlsEcho() {
  Server server = co_await StartServer(
      EchoBack, "127.0.0.1", 0,
      Impatient().Tls(SharedServerContext(),
                      SecureOptions().ShutdownTimeout(absl::Milliseconds(50))));
  ConnectOptions options;
  options.Tls(FreshClientContext(), ForLocalhost());
  auto [reader, writer] =
      co_await OpenConnection("127.0.0.1", server.Port(), options);
  co_await AskEcho(reader, writer);
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> Upgrade(StreamReader reader, StreamWriter writer) {
  const std::string line = co_await reader.ReadLine();
  if (line != "STARTTLS\n") co_return;
  co_await writer.Write("go\n");
  co_await writer.StartTls(SharedServerContext(), SecureOptions());
  co_await EchoBack(reader, writer);
}

Co<void> StartTls() {
  Server server = co_await StartServer(Upgrade, "127.0.0.1", 0, Impatient());
  auto [reader, writer] = co_await OpenConnection("127.0.0.1", server.Port());
  co_await writer.Write("STARTTLS\n");
  const std::string go = co_await reader.ReadLine();
  if (go.empty() || go.back() != '\n')
    throw coil::net::IncompleteReadError("", 3);
  Check(go == "go\n", "the answer to STARTTLS");
  co_await writer.StartTls(FreshClientContext(), ForLocalhost());
  co_await AskEcho(reader, writer);
  writer.Abort();
  co_await server.Shutdown(absl::Seconds(1));
}

}  // namespace

std::vector<FaultScenario> TlsScenarios() {
  return {{"tls echo", TlsEcho}, {"start_tls", StartTls}};
}

}  // namespace coil_testing
