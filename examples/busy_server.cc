// busy_server [SOCKET]: a server with many tasks, to look at while it works.
//
//   ./bazelw run //examples:busy_server -- /tmp/busy.sock
//   ./bazelw run //net:ps -- /tmp/busy.sock           in another terminal
//   ./bazelw run //net:ps -- /tmp/busy.sock --tree
//
// A kitchen with four cooks, and twenty guests who order dish after dish over
// TCP. The table of tasks shows who cooks, who waits for a cook and who for a
// dish. What to look for: DebugServer, names of tasks, and that nothing else in
// the program knows that it is looked at.

#include <cstdio>
#include <string>

#include "coil/coil.h"

namespace busy_server {
namespace {

using coil::net::StreamReader;
using coil::net::StreamWriter;

constexpr int kCooks = 4;
constexpr int kGuests = 20;

// Serves one guest: each line is a dish.
coil::Co<void> Serve(coil::Semaphore& cooks, StreamReader reader,
                     StreamWriter writer) {
  coil::CurrentTask().SetName("table of " + writer.PeerName().ToString());
  for (;;) {
    const std::string dish = co_await reader.ReadLine();
    if (dish.empty()) break;
    {
      const coil::Semaphore::Permit cook = co_await cooks.Acquire();
      co_await coil::Sleep(absl::Milliseconds(50));
    }
    co_await writer.Write(dish);
  }
  co_await writer.Close();
}

coil::Co<void> Guest(int port) {
  auto [reader, writer] = co_await coil::net::OpenConnection("127.0.0.1", port);
  for (int dish = 1;; ++dish) {
    const std::string line = "dish " + std::to_string(dish) + "\n";
    co_await writer.Write(line);
    co_await reader.ReadLine();
  }
}

coil::Co<void> Main(std::string socket) {
  const coil::net::DebugServer debug(std::move(socket));
  coil::Semaphore cooks(kCooks);
  const auto serve = [&cooks](StreamReader reader, StreamWriter writer) {
    return Serve(cooks, std::move(reader), std::move(writer));
  };
  coil::net::Server server =
      co_await coil::net::StartServer(serve, "127.0.0.1", 0);
  const auto guests = [&server](coil::TaskGroup& group) -> coil::Co<void> {
    for (int number = 1; number <= kGuests; ++number) {
      const std::string name = "guest " + std::to_string(number);
      group.CreateTask(Guest(server.Port()), {.name = name});
    }
    co_return;
  };
  std::printf("%s\n", debug.Path().c_str());
  std::fflush(stdout);
  co_await coil::WithTaskGroup(guests);  // until Ctrl-C
}

}  // namespace
}  // namespace busy_server

int main(int argc, char** argv) {
  coil::Run(busy_server::Main(argc > 1 ? argv[1] : ""));
}
