// An echo server for a load generator: answers whatever it receives.
//
//   coil_echo [PORT] [spin] [--poller=epoll|io_uring|io_uring_polls]
//
// Listens on the loopback, prints the port, and serves until it is
// interrupted. With `spin` the loop polls for 50 us before it sleeps, which
// trades a core for latency. A poller that is asked for and not to be had is an
// error here: what is measured is what was meant.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "absl/time/time.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/io_uring_poller.h"
#include "coil/net/streams.h"
#include "coil/task/run.h"

namespace {

coil::Co<void> Echo(coil::net::StreamReader reader,
                    coil::net::StreamWriter writer) {
  for (;;) {
    const std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

coil::Co<void> Serve(int port) {
  // A client that goes away in the middle is none of our business here.
  coil::EventLoop::Current().SetExceptionHandler(
      [](const coil::ExceptionContext&) {});
  coil::net::Server server = co_await coil::net::StartServer(
      Echo, "127.0.0.1", port, coil::net::ServerOptions().Backlog(4096));
  std::printf("%d\n", server.Port());
  std::fflush(stdout);
  co_await server.ServeForever();
}

}  // namespace

int main(int argc, char** argv) {
  int port = 0;
  coil::RunOptions options;
  std::unique_ptr<coil::Poller> poller;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "spin") {
      options.loop.busy_poll = absl::Microseconds(50);
    } else if (argument == "--poller=io_uring") {
      poller = std::make_unique<coil::IoUringPoller>();
    } else if (argument == "--poller=io_uring_polls") {
      coil::IoUringOptions polls;
      polls.streams = false;
      poller = std::make_unique<coil::IoUringPoller>(polls);
    } else if (argument == "--poller=epoll") {
      poller = std::make_unique<coil::EpollPoller>();
    } else {
      port = std::atoi(argv[i]);
    }
  }
  options.loop.poller = poller.get();
  coil::Run(Serve(port), options);
}
