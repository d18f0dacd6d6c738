// A server whose process may have only so much memory: T27 of the catalogue of
// failures.

#include <sys/resource.h>

#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/sync/event.h"
#include "coil/task/outcome.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"
#include "tests/faults/processes.h"
#include "tests/net/net_testing.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::CreateTask;
using coil::Task;
using coil::net::Address;
using coil::net::OpenConnection;
using coil::net::Server;
using coil::net::ServerOptions;
using coil::net::Socket;
using coil::net::StartServer;
using coil::net::StreamReader;
using coil::net::StreamWriter;

constexpr rlim_t kMoreMemory = 16 << 20;
constexpr int kSlowClients = 1000;
constexpr size_t kUnfinishedLine = 48 << 10;  // 48 MB of them
constexpr std::string_view kQuit = "quit\n";

// From now on this process gets `bytes` more than it has, and then none.
void LimitMemory(rlim_t bytes) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmData:") {
  }
  rlim_t kib = 0;
  status >> kib;
  const rlimit limit = {kib * 1024 + bytes, kib * 1024 + bytes};
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &limit), 0);
}

// Gives back each line, until a client tells it to end.
Co<void> ServeLines(std::vector<Socket>& sockets) {
  // There is a report of each connection for which the memory does not do.
  int out_of_memory = 0;
  coil::SetDiagnosticSink([&](std::string_view report) {
    out_of_memory += report.find("std::bad_alloc") != report.npos;
  });
  coil::Event quit;
  auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
    for (;;) {
      const std::string line = co_await reader.ReadLine();
      if (line.empty()) co_return;
      co_await writer.Write(line);
      if (line == kQuit) quit.Set();
    }
  };
  Server server = co_await StartServer(handler, std::move(sockets),
                                       ServerOptions().Backlog(4096));
  LimitMemory(kMoreMemory);
  co_await quit.Wait();
  server.Close();
  co_await server.WaitClosed();
  EXPECT_GT(out_of_memory, 0);
}

// Sends a line that does not end, and holds the connection. Returns when the
// server has given it up.
Co<void> BeSlow(Address server) {
  try {
    auto [reader, writer] = co_await OpenConnection(server);
    co_await writer.Write(std::string(kUnfinishedLine, 'x'));
    EXPECT_EQ(co_await reader.Read(1), "");
  } catch (const coil::OsError&) {
    // Reset.
  }
}

Co<std::string> Ask(Address server, std::string_view line) {
  auto [reader, writer] = co_await OpenConnection(server);
  co_await writer.Write(line);
  co_return co_await reader.ReadLine();
}

TEST(ReliabilityT27, AServerThatRunsOutOfMemoryOutlivesItsSlowClients) {
  ASSERT_GT(RaiseDescriptorLimit(kSlowClients + 100), kSlowClients);
  std::vector<Socket> sockets;
  sockets.emplace_back(AF_INET, SOCK_STREAM);
  sockets[0].Bind(*Address::FromNumeric("127.0.0.1", 0));
  sockets[0].Listen(4096);
  const Address address = sockets[0].SockName();
  const pid_t server = InAnotherProcess([&] { return ServeLines(sockets); });
  ASSERT_GT(server, 0);
  sockets.clear();
  RunNet([&]() -> Co<void> {
    std::vector<Task<void>> slow;
    coil::Event refused;
    for (int i = 0; i < kSlowClients; ++i) {
      slow.push_back(CreateTask(BeSlow(address)));
      slow.back().AddDoneCallback([&] { refused.Set(); });
    }
    co_await refused.Wait();
    for (const Task<void>& client : slow) client.Cancel();
    for (const Task<void>& client : slow) co_await coil::Settle(client);
    EXPECT_EQ(co_await Ask(address, "still there?\n"), "still there?\n");
    EXPECT_EQ(co_await Ask(address, kQuit), kQuit);
  });
  EXPECT_EQ(StatusOf(server), 0);
}

}  // namespace
}  // namespace coil_testing
