// The echo server of compare_network on asio's coroutines, as asio's own
// examples write one. Prints its port. Tagged manual: `//...` needs no asio.

#define ASIO_STANDALONE 1
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#include <sys/resource.h>

#include <asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using asio::awaitable;
using asio::ip::tcp;

// As in coil_echo: 4 KiB until a message fills it, then four times as much.
constexpr size_t kSmallest = size_t{4} << 10;
constexpr size_t kLargest = size_t{256} << 10;

awaitable<void> Echo(tcp::socket socket, size_t size) {
  std::vector<char> buffer(size);
  try {
    for (;;) {
      const size_t n = co_await socket.async_read_some(asio::buffer(buffer),
                                                       asio::use_awaitable);
      co_await asio::async_write(socket, asio::buffer(buffer.data(), n),
                                 asio::use_awaitable);
      if (n == buffer.size() && n < kLargest) buffer.resize(4 * n);
    }
  } catch (const std::exception&) {
    // The client has gone.
  }
}

awaitable<void> Serve(tcp::acceptor& acceptor, size_t size) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), Echo(std::move(socket), size),
                   asio::detached);
  }
}

}  // namespace

int main() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  asio::io_context context(1);
  tcp::acceptor acceptor(context);
  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), 0);
  acceptor.open(endpoint.protocol());
  acceptor.bind(endpoint);
  acceptor.listen(4096);
  std::printf("%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  asio::co_spawn(context, Serve(acceptor, kSmallest), asio::detached);
  context.run();
}
