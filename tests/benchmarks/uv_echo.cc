// The echo server of compare_network on libuv in C, with callbacks, one buffer
// for all connections, and a write that is tried first. Prints its port. Tagged
// manual: `//...` needs no libuv.

#include <netinet/in.h>
#include <sys/resource.h>
#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

char g_buffer[256 << 10];

struct Write {
  uv_write_t request;
  char data[1];
};

void OnClose(uv_handle_t* handle) {
  delete reinterpret_cast<uv_tcp_t*>(handle);
}

void OnAlloc(uv_handle_t*, size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(g_buffer, sizeof(g_buffer));
}

void OnRead(uv_stream_t* stream, ssize_t n, const uv_buf_t* buffer) {
  if (n == 0) return;
  if (n < 0) {
    uv_close(reinterpret_cast<uv_handle_t*>(stream), OnClose);
    return;
  }
  auto size = static_cast<size_t>(n);
  const char* data = buffer->base;
  const uv_buf_t all =
      uv_buf_init(buffer->base, static_cast<unsigned int>(size));
  const int sent = uv_try_write(stream, &all, 1);
  if (sent > 0) {
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  if (size == 0) return;
  auto* write = static_cast<Write*>(std::malloc(sizeof(Write) + size));
  std::memcpy(write->data, data, size);
  const uv_buf_t rest =
      uv_buf_init(write->data, static_cast<unsigned int>(size));
  uv_write(&write->request, stream, &rest, 1,
           [](uv_write_t* request, int) { std::free(request); });
}

void OnConnection(uv_stream_t* server, int status) {
  if (status != 0) return;
  auto* connection = new uv_tcp_t;
  uv_tcp_init(server->loop, connection);
  if (uv_accept(server, reinterpret_cast<uv_stream_t*>(connection)) != 0) {
    uv_close(reinterpret_cast<uv_handle_t*>(connection), OnClose);
    return;
  }
  uv_tcp_nodelay(connection, 1);
  uv_read_start(reinterpret_cast<uv_stream_t*>(connection), OnAlloc, OnRead);
}

}  // namespace

int main() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t server;
  uv_tcp_init(loop, &server);
  sockaddr_in address{};
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_bind(&server, reinterpret_cast<sockaddr*>(&address), 0);
  uv_listen(reinterpret_cast<uv_stream_t*>(&server), 4096, OnConnection);
  int size = sizeof(address);
  uv_tcp_getsockname(&server, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  uv_run(loop, UV_RUN_DEFAULT);
}
