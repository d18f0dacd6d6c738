// The load generator of compare_network: sends messages to an echo server and
// waits for each of them before it sends the next one on the same connection.
//
//   echo_load PORT PID CONNECTIONS BYTES SECONDS   one message on each
//   echo_load PORT PID hold CONNECTIONS            memory of idle connections
//
// Prints one line of JSON. PID is the server's, whose clock and memory are
// read. One connection of small messages is polled for its answer without
// sleeping, so that only the server's wake-up counts; everything else waits in
// epoll. It knows nothing of coil, and does no more for a message than a send
// and a receive.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kWarmUp = 0.2;
constexpr size_t kSmall = size_t{64} << 10;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "echo_load: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double Seconds() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// What the threads of `pid` have used of a processor, in seconds.
double CpuOf(int pid) {
  clockid_t clock;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 ||
      clock_gettime(clock, &time) != 0) {
    Die("the clock of the server");
  }
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

double MemoryOf(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  double all = 0;
  double resident = 0;
  file >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

int Connect(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    Die("connect");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

void SetNonBlocking(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) Die("fcntl");
}

// Measures from the end of the warm-up on.
class Meter {
 public:
  Meter(int pid, double seconds) : pid_(pid), seconds_(seconds) {
    start_ = Seconds() + kWarmUp;
  }
  // False when the time is over. `now` was read recently.
  bool Goes(double now) {
    if (!measuring_) {
      if (now < start_) return true;
      measuring_ = true;
      times_.clear();
      start_ = now;
      cpu_ = CpuOf(pid_);
      return true;
    }
    if (now < start_ + seconds_) return true;
    cpu_ = CpuOf(pid_) - cpu_;
    elapsed_ = now - start_;
    return false;
  }
  void Answered(double round_trip) {
    times_.push_back(static_cast<float>(round_trip));
  }
  void Print(size_t bytes) {
    if (times_.empty()) {
      errno = ETIMEDOUT;
      Die("no answer");
    }
    const auto n = static_cast<double>(times_.size());
    std::sort(times_.begin(), times_.end());
    const auto at = [&](double part) {
      return static_cast<double>(times_[static_cast<size_t>(part * (n - 1))]) *
             1e6;
    };
    std::printf(
        "{\"rate\": %.1f, \"p50\": %.3f, \"p99\": %.3f, \"cpu\": %.1f, "
        "\"gb\": %.4f}\n",
        n / elapsed_, at(0.5), at(0.99), cpu_ / n * 1e9,
        n / elapsed_ * static_cast<double>(bytes) * 1e-9);
  }

 private:
  const int pid_;
  const double seconds_;
  bool measuring_ = false;
  double start_;
  double cpu_ = 0;
  double elapsed_ = 0;
  std::vector<float> times_;
};

// One connection, whose answers are polled for.
void Spin(int fd, size_t bytes, Meter& meter) {
  const std::string out(bytes, 'x');
  std::string in(bytes, 0);
  for (;;) {
    const double begin = Seconds();
    if (!meter.Goes(begin)) return;
    for (size_t sent = 0; sent < bytes;) {
      const ssize_t n = send(fd, out.data() + sent, bytes - sent, MSG_NOSIGNAL);
      if (n > 0) {
        sent += static_cast<size_t>(n);
      } else if (errno != EAGAIN && errno != EINTR) {
        Die("send");
      }
    }
    for (size_t got = 0; got < bytes;) {
      const ssize_t n = recv(fd, in.data(), bytes - got, MSG_DONTWAIT);
      if (n > 0) {
        got += static_cast<size_t>(n);
      } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        Die("recv");
      }
    }
    meter.Answered(Seconds() - begin);
  }
}

struct Connection {
  int fd = -1;
  size_t sent = 0;
  size_t got = 0;
  double begin = 0;
};

// Sends what is left of the message, as far as there is room.
void SendRest(Connection& connection, const std::string& out) {
  while (connection.sent < out.size()) {
    const ssize_t n = send(connection.fd, out.data() + connection.sent,
                           out.size() - connection.sent, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) return;
      Die("send");
    }
    connection.sent += static_cast<size_t>(n);
  }
}

// True if the whole answer is there.
bool ReceiveSome(Connection& connection, std::string& in, size_t bytes) {
  while (connection.got < bytes) {
    const size_t room = bytes - connection.got;
    const ssize_t n = recv(connection.fd, in.data(), room, 0);
    if (n == 0) {
      errno = ECONNRESET;
      Die("the server has closed");
    }
    if (n < 0) {
      if (errno == EAGAIN) return false;
      Die("recv");
    }
    connection.got += static_cast<size_t>(n);
  }
  return true;
}

void Wait(std::vector<Connection>& connections, size_t bytes, Meter& meter) {
  const std::string out(bytes, 'x');
  std::string in(bytes, 0);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) Die("epoll_create1");
  for (Connection& connection : connections) {
    SetNonBlocking(connection.fd);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &connection;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection.fd, &event) != 0)
      Die("epoll_ctl");
  }
  for (Connection& connection : connections) {
    connection.begin = Seconds();
    SendRest(connection, out);
  }
  std::vector<epoll_event> events(1024);
  for (;;) {
    const int n =
        epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 1000);
    if (n < 0 && errno != EINTR) Die("epoll_wait");
    double now = Seconds();
    if (!meter.Goes(now)) break;
    for (int i = 0; i < n; ++i) {
      auto& connection =
          *static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      SendRest(connection, out);
      if ((events[static_cast<size_t>(i)].events & EPOLLIN) == 0) continue;
      if (!ReceiveSome(connection, in, bytes)) continue;
      now = Seconds();
      meter.Answered(now - connection.begin);
      connection.begin = now;
      connection.sent = connection.got = 0;
      SendRest(connection, out);
    }
  }
  close(epoll);
}

// Opens connections, has one byte echoed on each, and asks what the server has
// grown by for each.
void Hold(int port, int pid, int count) {
  std::vector<int> fds;
  const auto open_one = [&] {
    const int fd = Connect(port);
    char byte = 'x';
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
      Die("echo");
    fds.push_back(fd);
  };
  // The first ones pay for what is there once.
  constexpr int kFirst = 100;
  for (int i = 0; i < kFirst; ++i) open_one();
  const double before = MemoryOf(pid);
  for (int i = 0; i < count; ++i) open_one();
  // lint: allow sleep-in-test (a measurement: the server is to come to rest)
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::printf("{\"bytes\": %.1f}\n", (MemoryOf(pid) - before) / count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr,
                 "echo_load PORT PID CONNECTIONS BYTES SECONDS\n"
                 "echo_load PORT PID hold CONNECTIONS\n");
    return 2;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int port = std::atoi(argv[1]);
  const int pid = std::atoi(argv[2]);
  if (std::string_view(argv[3]) == "hold") {
    Hold(port, pid, std::atoi(argv[4]));
    return 0;
  }
  if (argc < 6) return 2;
  const auto bytes = static_cast<size_t>(std::atoll(argv[4]));
  std::vector<Connection> connections(
      static_cast<size_t>(std::max(1, std::atoi(argv[3]))));
  for (Connection& connection : connections) connection.fd = Connect(port);
  Meter meter(pid, std::atof(argv[5]));
  if (connections.size() == 1 && bytes <= kSmall) {
    Spin(connections[0].fd, bytes, meter);
  } else {
    Wait(connections, bytes, meter);
  }
  meter.Print(bytes);
}
