// udp_echo [PORT]: a UDP echo server, and clients that do not trust the
// network.
//
// With a port it serves until Ctrl-C. Without one it shows itself: a server
// that loses every third datagram, and clients that ask again until they have
// their answer. What to look for: datagrams with their senders, connected
// sockets, a timeout around a receive, and that a receive which is given up
// loses nothing.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "coil/coil.h"
#include "coil/examples/example_run_options.h"

namespace udp_echo {
namespace {

using coil::net::Address;
using coil::net::Datagram;
using coil::net::DatagramSocket;

// Answers every datagram, but for each `loses`-th one if that is not zero.
coil::Co<void> Serve(DatagramSocket socket, int loses) {
  for (int count = 1;; ++count) {
    const Datagram question = co_await socket.ReceiveFrom();
    if (loses != 0 && count % loses == 0) continue;
    co_await socket.SendTo(question.data, question.from);
  }
}

// Asks until there is an answer; how often that was.
coil::Co<int> Ask(DatagramSocket socket, std::string question) {
  for (int tries = 1;; ++tries) {
    co_await socket.Send(question);
    try {
      const std::string answer =
          co_await coil::WithTimeout(absl::Milliseconds(100), socket.Receive());
      // An answer that comes late belongs to an earlier question.
      if (answer == question) co_return tries;
    } catch (const coil::TimeoutError&) {
      // One of the two is lost: ask again.
    }
  }
}

coil::Co<void> Client(int port, int number) {
  DatagramSocket socket = co_await coil::net::OpenDatagram("127.0.0.1", port);
  for (int i = 1; i <= 3; ++i) {
    const std::string question =
        "client " + std::to_string(number) + ", question " + std::to_string(i);
    const int tries = co_await Ask(socket, question);
    std::printf("%s: answered after %d %s\n", question.c_str(), tries,
                tries == 1 ? "try" : "tries");
  }
}

coil::Co<void> Show() {
  DatagramSocket server =
      co_await coil::net::OpenDatagram(Address::Parse("127.0.0.1:0"));
  coil::Task<void> serving = coil::CreateTask(Serve(server, /*loses=*/3));
  for (int number = 1; number <= 2; ++number) {
    co_await Client(server.SockName().Port(), number);
  }
  co_await coil::CancelAndWait(serving);
}

coil::Co<void> ServeForever(int port) {
  DatagramSocket socket = co_await coil::net::OpenDatagram(
      *Address::FromNumeric("127.0.0.1", port));
  std::printf("serving %s\n", socket.SockName().ToString().c_str());
  std::fflush(stdout);
  co_await Serve(socket, /*loses=*/0);
}

}  // namespace
}  // namespace udp_echo

int main(int argc, char** argv) {
  if (argc > 1) {
    coil::Run(udp_echo::ServeForever(std::atoi(argv[1])));
  } else {
    coil::Run(udp_echo::Show(), ExampleRunOptions());
  }
}
