// Helpers of the tests of //net.

#ifndef COIL_TESTS_NET_NET_TESTING_H_
#define COIL_TESTS_NET_NET_TESTING_H_

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/socket.h"
#include "coil/net/streams.h"
#include "coil/task/co.h"
#include "coil/task/inspect.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/net/shims.h"

namespace coil_testing {

// How many descriptors the process has open.
inline int OpenDescriptors() {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) throw std::runtime_error("/proc/self/fd");
  int count = -1;  // the folder's own
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(dir);
  return count;
}

// A test after which as many descriptors are open as before.
class NetTest : public testing::Test {
 protected:
  void SetUp() override { before_ = OpenDescriptors(); }
  void TearDown() override {
    // The thread of a lookup lets go of its loop a moment after it has posted.
    const absl::Time last = absl::Now() + absl::Seconds(10);
    while (OpenDescriptors() != before_ && absl::Now() < last) {
      std::this_thread::yield();
    }
    EXPECT_EQ(OpenDescriptors(), before_);
  }

 private:
  int before_ = 0;
};

// Runs on a loop in real time. A test that hangs says what its tasks wait for.
template <class F>
auto RunNet(F main, coil::RunOptions options = {}) {
  coil::Runner runner(options);
  coil::TimerHandle alarm = runner.Loop().CallLater(absl::Seconds(30), [] {
    ADD_FAILURE() << "the test hangs\n" << coil::DumpTasks();
    coil::EventLoop::Current().Stop();
  });
  auto task = coil::internal::Spawn(coil::internal::CoreOf(runner.Loop()),
                                    main(), coil::TaskOptions{},
                                    std::source_location::current());
  return runner.Run(std::move(task));
}

// The other end of a connection, played by hand, without a loop.
class Peer {
 public:
  Peer() = default;
  explicit Peer(int fd) : fd_(fd) {}
  Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Peer() { Close(); }

  int fd() const { return fd_; }
  void Send(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n < 0) throw std::runtime_error("Peer::Send");
      data.remove_prefix(static_cast<size_t>(n));
    }
  }
  // What is there now, at most `most` bytes.
  std::string Receive(size_t most = 1 << 20) {
    std::string data(most, '\0');
    const ssize_t n = ::recv(fd_, data.data(), data.size(), MSG_DONTWAIT);
    data.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return data;
  }
  // Waits for `n` bytes, or the end.
  std::string ReceiveExactly(size_t n) {
    std::string data;
    while (data.size() < n) {
      std::string part(n - data.size(), '\0');
      const ssize_t got = ::recv(fd_, part.data(), part.size(), 0);
      if (got <= 0) break;
      data.append(part, 0, static_cast<size_t>(got));
    }
    return data;
  }
  // Waits for the end. What came last is "<reset>" if it was one.
  std::string ReceiveAll() {
    std::string data;
    char part[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_, part, sizeof(part), 0);
      if (n == 0) return data;
      if (n < 0) return data + "<reset>";
      data.append(part, static_cast<size_t>(n));
    }
  }
  void ShutdownWrite() { ::shutdown(fd_, SHUT_WR); }
  void Reset() {
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    Close();
  }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

inline int CheckedFd(int result, const char* what) {
  if (result < 0) throw coil::OsError(errno, what);
  return result;
}

// A listening socket on a free port, without a loop.
inline coil::net::Socket RawListener(int backlog = 100) {
  coil::net::Socket listener(AF_INET, SOCK_STREAM);
  listener.Bind(coil::net::Address::Parse("127.0.0.1:0"));
  listener.Listen(backlog);
  return listener;
}

// A blocking connection to a port of this machine.
inline Peer ConnectTo(int port) {
  Peer peer(
      CheckedFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const coil::net::Address address =
      *coil::net::Address::FromNumeric("127.0.0.1", port);
  CheckedFd(::connect(peer.fd(), address.Data(), address.Size()), "connect");
  const int on = 1;
  ::setsockopt(peer.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return peer;
}

// Two ends of a TCP connection: one for coil, one played by hand.
struct TcpEnds {
  TcpEnds() {
    coil::net::Socket listener = RawListener();
    peer = ConnectTo(listener.SockName().Port());
    pollfd ready = {listener.Descriptor(), POLLIN, 0};
    ::poll(&ready, 1, -1);
    const int fd = CheckedFd(::accept4(listener.Descriptor(), nullptr, nullptr,
                                       SOCK_NONBLOCK | SOCK_CLOEXEC),
                             "accept");
    socket = coil::net::Socket::Adopt(fd);
    socket.SetOption(IPPROTO_TCP, TCP_NODELAY, 1);
  }
  coil::net::Socket socket;
  Peer peer;
};

// The same of a Unix socket, whose buffers hold what they are told to, and
// which knows no timers.
struct UnixEnds {
  UnixEnds() {
    int fds[2];
    CheckedFd(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
              "socketpair");
    peer = Peer(fds[1]);
    socket = coil::net::Socket::FromDescriptor(fds[0]);
  }
  coil::net::Socket socket;
  Peer peer;
};

// The same, with streams on coil's end. Needs a running loop.
struct Connection {
  explicit Connection(size_t limit = coil::net::kDefaultLimit)
      : Connection(TcpEnds(), limit) {}
  template <class Ends>
    requires requires(Ends& ends) { ends.socket; }
  explicit Connection(Ends ends, size_t limit = coil::net::kDefaultLimit)
      : peer(std::move(ends.peer)),
        streams(coil::net::MakeStreams(
            coil::net::MakeByteStream(std::move(ends.socket)), limit)),
        reader(streams.reader),
        writer(streams.writer) {}
  // Nothing keeps the connection open from here on but handles taken before.
  void DropHandles() {
    streams = coil::net::StreamPair({}, {});
    reader = {};
    writer = {};
  }

  Peer peer;
  coil::net::StreamPair streams;
  coil::net::StreamReader reader;
  coil::net::StreamWriter writer;
};

// Small buffers in the system, so that a few KiB fill them.
inline void ShrinkBuffers(int sender, int receiver) {
  const int size = 4096;
  ::setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  ::setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

// Sends until the system takes no more; returns what was sent.
inline std::string FillUp(coil::net::StreamWriter writer) {
  std::string sent;
  const std::string block(4096, 'f');
  for (;;) {
    const ssize_t n = ::send(writer.Socket().Descriptor(), block.data(),
                             block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return sent;
    sent.append(block, 0, static_cast<size_t>(n));
  }
}

// A few turns of the loop, for what happens without anybody waiting for it.
inline coil::Co<void> Turns(int n = 5) {
  for (int i = 0; i < n; ++i) co_await coil::Yield();
}

// Until `condition` holds, looking again in each turn, for at most ten seconds.
template <class F>
coil::Co<bool> Eventually(F condition) {
  const coil::LoopTime end =
      coil::EventLoop::Current().Now() + absl::Seconds(10);
  while (!condition()) {
    if (coil::EventLoop::Current().Now() > end) co_return false;
    co_await coil::Sleep(absl::Milliseconds(1));
  }
  co_return true;
}

// Collects what nobody could receive.
class Reports {
 public:
  Reports() {
    coil::EventLoop::Current().SetExceptionHandler(
        [messages = messages_](const coil::ExceptionContext& context) {
          std::string text = context.message;
          if (context.exception != nullptr) {
            text += ": " + coil::DescribeException(context.exception);
          }
          messages->push_back(text);
        });
  }
  const std::vector<std::string>& Messages() const { return *messages_; }

 private:
  std::shared_ptr<std::vector<std::string>> messages_ =
      std::make_shared<std::vector<std::string>>();
};

// What `awaitable` throws, as text; "" if it throws nothing.
template <class A>
coil::Co<std::string> ErrorOf(A awaitable) {
  std::string text;
  try {
    co_await std::move(awaitable);
  } catch (const std::exception& error) {
    text = error.what();
  } catch (const coil::CancelledError&) {
    text = "cancelled";
  }
  co_return text;
}

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_NET_TESTING_H_
