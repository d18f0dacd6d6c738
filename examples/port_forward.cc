// port_forward PORT HOST HOST_PORT: whoever connects to PORT of this machine
// talks to HOST_PORT of HOST. Port 0 takes a free one and says which.
//
// What to look for: two streams that feed each other, each as fast as the other
// end takes it and not faster; an end of file that is passed on while the other
// direction goes on; Happy Eyeballs in OpenConnection(); a task group, in which
// the failure of one direction ends the other.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "coil/coil.h"

namespace port_forward {
namespace {

using coil::net::Server;
using coil::net::StreamReader;
using coil::net::StreamWriter;

// Until the end of file, which is passed on.
coil::Co<void> Pump(StreamReader from, StreamWriter to) {
  for (;;) {
    const std::string_view data = co_await from.Peek();
    if (data.empty()) break;
    co_await to.Write(data);  // waits where the other end is slow
    from.Consume(data.size());
  }
  to.WriteEof();
}

coil::Co<void> Forward(StreamReader reader, StreamWriter writer,
                       std::string host, int port) {
  auto there = co_await coil::net::OpenConnection(host, port);
  co_await coil::WithTaskGroup([&](coil::TaskGroup& group) {
    group.CreateTask(Pump(reader, there.writer));
    group.CreateTask(Pump(there.reader, writer));
  });
}

coil::Co<void> Serve(StreamReader reader, StreamWriter writer, std::string host,
                     int port) {
  const std::string client = writer.PeerName().ToString();
  auto outcome =
      co_await coil::Settle(Forward(std::move(reader), writer, host, port));
  if (outcome.Ok()) co_return;
  writer.Abort();  // the client is to see that this was not the end
  const absl::Status status = coil::StatusOf(outcome.Exception());
  std::fprintf(stderr, "port_forward: %s: %s\n", client.c_str(),
               std::string(status.message()).c_str());
}

coil::Co<void> Main(int port, std::string host, int host_port) {
  // A name of its own: g++ 12 would destroy it twice in the expression below.
  auto serve = [host, host_port](StreamReader reader, StreamWriter writer) {
    return Serve(std::move(reader), std::move(writer), host, host_port);
  };
  Server server = co_await coil::net::StartServer(serve, "127.0.0.1", port);
  std::printf("forwarding port %d\n", server.Port());
  std::fflush(stdout);
  co_await server.ServeForever();
}

}  // namespace
}  // namespace port_forward

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: port_forward PORT HOST HOST_PORT\n", stderr);
    return 2;
  }
  coil::Run(
      port_forward::Main(std::atoi(argv[1]), argv[2], std::atoi(argv[3])));
}
