// What a message costs in system calls.

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "coil/net/streams.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::SystemShim;
using coil_testing::Turns;

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

class SystemCallsTest : public NetTest {};

TEST_F(SystemCallsTest, AMessageCostsOneReceiveAndOneSend) {
  static int receives = 0;
  static int sends = 0;
  static int controls = 0;
  SocketShim sockets;
  sockets.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    ++receives;
    return ::recv(fd, buffer, size, flags);
  };
  sockets.table().send = [](int fd, const void* buffer, size_t size,
                            int flags) {
    ++sends;
    return ::send(fd, buffer, size, flags);
  };
  SystemShim system;
  system.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    ++controls;
    return ::epoll_ctl(epfd, op, fd, event);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    Task<void> echo = CreateTask(Echo(c.reader, c.writer));
    co_await Turns(10);
    receives = sends = controls = 0;
    const std::string message(64, 'm');
    for (int i = 0; i < 1000; ++i) {
      c.peer.Send(message);
      std::string answer;
      while (answer.size() < message.size()) {
        co_await Yield();
        answer += c.peer.Receive();
      }
      EXPECT_EQ(answer, message);
    }
    EXPECT_EQ(receives, 1000);
    EXPECT_EQ(sends, 1000);
    EXPECT_EQ(controls, 0);
    c.peer.Close();
    co_await echo;
    EXPECT_EQ(receives, 1001);  // the end of file
  });
}

TEST_F(SystemCallsTest, UrgentDataMakesLaterMessagesNoDearer) {
  static int receives = 0;
  SocketShim sockets;
  sockets.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    ++receives;
    return ::recv(fd, buffer, size, flags);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    Task<void> echo = CreateTask(Echo(c.reader, c.writer));
    co_await Turns();
    EXPECT_EQ(::send(c.peer.fd(), "!", 1, MSG_OOB), 1);
    co_await Turns();
    receives = 0;
    for (int i = 0; i < 100; ++i) {
      c.peer.Send("message");
      co_await Turns();
      EXPECT_EQ(c.peer.Receive(), "message");
    }
    EXPECT_EQ(receives, 100);
    c.peer.Close();
    co_await echo;
  });
}

TEST_F(SystemCallsTest, ABusyConnectionIsReceivedFromInLargePieces) {
  static std::vector<size_t> sizes;
  sizes.clear();
  SocketShim sockets;
  sockets.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    sizes.push_back(size);
    return ::recv(fd, buffer, size, flags);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    std::thread sender([&] {
      c.peer.Send(std::string(16 << 20, 'x'));
      c.peer.Close();
    });
    size_t bytes = 0;
    for (;;) {
      const size_t n = (co_await c.reader.Peek()).size();
      if (n == 0) break;
      bytes += n;
      c.reader.Consume(n);
    }
    sender.join();
    EXPECT_EQ(bytes, size_t{16} << 20);
  });
  EXPECT_EQ(sizes.front(), size_t{4096});
  EXPECT_EQ(*std::max_element(sizes.begin(), sizes.end()), size_t{262144});
}

TEST_F(SystemCallsTest, ReadingFromAnIdleConnectionCostsNoCall) {
  static int receives = 0;
  receives = 0;
  SocketShim sockets;
  sockets.table().recv = [](int fd, void* buffer, size_t size, int flags) {
    ++receives;
    return ::recv(fd, buffer, size, flags);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    for (int i = 0; i < 10; ++i) {
      Task<std::string> read = CreateTask(c.reader.Read(10));
      co_await Turns();
      read.Cancel();
      co_await Settle(read);
    }
    EXPECT_EQ(receives, 0);
    EXPECT_EQ(c.reader.core()->input().capacity(), 0u);  // and holds no memory
  });
}

}  // namespace
}  // namespace coil::net
