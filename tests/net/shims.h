// System calls that a test replaces.

#ifndef COIL_TESTS_NET_SHIMS_H_
#define COIL_TESTS_NET_SHIMS_H_

#include <sys/epoll.h>

#include <cstdint>

#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"

namespace coil_testing {

// System calls of sockets that a test replaces one by one. The calls that it
// does not replace are real. While it lives it is in force.
class SocketShim {
 public:
  SocketShim() : table_(coil::internal::kRealSocketCalls), scope_(&table_) {}
  coil::internal::SocketTable& table() { return table_; }

 private:
  coil::internal::SocketTable table_;
  coil::internal::ScopedSocketCalls scope_;
};

// The same for the other calls.
class SystemShim {
 public:
  SystemShim() : table_(coil::internal::kRealSyscalls), scope_(&table_) {}
  coil::internal::SyscallTable& table() { return table_; }

 private:
  coil::internal::SyscallTable table_;
  coil::internal::ScopedSyscalls scope_;
};

// Level-triggered instead of edge-triggered: a shim that pretends that less was
// there than is takes an edge away.
class LevelTriggered {
 public:
  LevelTriggered() {
    shim_.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
      epoll_event level = *event;
      level.events &= ~static_cast<uint32_t>(EPOLLET);
      // The descriptor that wakes the loop is never read.
      const bool wake = (event->events & (EPOLLIN | EPOLLOUT)) == EPOLLIN &&
                        (event->events & EPOLLET) != 0;
      return coil::internal::kRealSyscalls.epoll_ctl(epfd, op, fd,
                                                     wake ? event : &level);
    };
  }

 private:
  SystemShim shim_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_SHIMS_H_
