// The floor of compare_network: an echo server on bare epoll, which does for a
// message what cannot be left out and nothing else. No cancellation, no errors,
// no limits. Prints its port.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

namespace {

struct Connection {
  int fd;
  std::string* rest;  // what could not be sent at once; null as a rule
};

int g_epoll;
char g_buffer[256 << 10];

void Watch(Connection* connection, int operation, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = connection;
  epoll_ctl(g_epoll, operation, connection->fd, &event);
}

void Accept(int listener) {
  const int fd =
      accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  Watch(new Connection{fd, nullptr}, EPOLL_CTL_ADD, EPOLLIN);
}

void Echo(Connection* connection) {
  const ssize_t n = recv(connection->fd, g_buffer, sizeof(g_buffer), 0);
  if (n <= 0) {
    close(connection->fd);
    delete connection;
    return;
  }
  ssize_t sent =
      send(connection->fd, g_buffer, static_cast<size_t>(n), MSG_NOSIGNAL);
  if (sent == n) return;
  if (sent < 0) sent = 0;
  connection->rest =
      new std::string(g_buffer + sent, static_cast<size_t>(n - sent));
  Watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
}

void SendRest(Connection* connection) {
  std::string& rest = *connection->rest;
  const ssize_t n =
      send(connection->fd, rest.data(), rest.size(), MSG_NOSIGNAL);
  if (n > 0) rest.erase(0, static_cast<size_t>(n));
  if (!rest.empty()) return;
  delete connection->rest;
  connection->rest = nullptr;
  Watch(connection, EPOLL_CTL_MOD, EPOLLIN);
}

}  // namespace

int main() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 4096) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) !=
          0) {
    std::perror("epoll_echo");
    return 1;
  }
  g_epoll = epoll_create1(EPOLL_CLOEXEC);
  Connection accepting{listener, nullptr};
  Watch(&accepting, EPOLL_CTL_ADD, EPOLLIN);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  static epoll_event events[1024];
  for (;;) {
    const int n = epoll_wait(g_epoll, events, 1024, -1);
    for (int i = 0; i < n; ++i) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == &accepting) {
        Accept(listener);
      } else if (connection->rest != nullptr) {
        SendRest(connection);
      } else {
        Echo(connection);
      }
    }
  }
}
