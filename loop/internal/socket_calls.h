// coil/loop/internal/socket_calls.h
//
// The system calls of sockets, files and processes that only `net` makes: the
// second half of the seam of syscalls.h, apart from it so that a program
// without a socket links none.
//
// Threads: the table is swapped while nothing uses it; reading it is safe
//   everywhere.
// Lifetime: a table outlives its use.

#ifndef COIL_LOOP_INTERNAL_SOCKET_CALLS_H_
#define COIL_LOOP_INTERNAL_SOCKET_CALLS_H_

#include <netdb.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>

namespace coil::internal {

// Each member behaves as the function of the C library of the same name.
struct SocketTable {
  int (*socket)(int domain, int type, int protocol);
  int (*socketpair)(int domain, int type, int protocol, int fds[2]);
  int (*bind)(int fd, const sockaddr* address, socklen_t size);
  int (*listen)(int fd, int backlog);
  int (*accept4)(int fd, sockaddr* address, socklen_t* size, int flags);
  int (*connect)(int fd, const sockaddr* address, socklen_t size);
  int (*shutdown)(int fd, int how);
  ssize_t (*recv)(int fd, void* buffer, size_t size, int flags);
  ssize_t (*send)(int fd, const void* buffer, size_t size, int flags);
  ssize_t (*recvfrom)(int fd, void* buffer, size_t size, int flags,
                      sockaddr* address, socklen_t* address_size);
  ssize_t (*sendto)(int fd, const void* buffer, size_t size, int flags,
                    const sockaddr* address, socklen_t address_size);
  ssize_t (*recvmsg)(int fd, msghdr* message, int flags);
  ssize_t (*sendmsg)(int fd, const msghdr* message, int flags);
  int (*recvmmsg)(int fd, mmsghdr* messages, unsigned count, int flags);
  int (*sendmmsg)(int fd, mmsghdr* messages, unsigned count, int flags);
  ssize_t (*sendfile)(int out, int in, off_t* offset, size_t count);
  ssize_t (*splice)(int in, off_t* in_offset, int out, off_t* out_offset,
                    size_t size, unsigned flags);
  int (*getsockname)(int fd, sockaddr* address, socklen_t* size);
  int (*getpeername)(int fd, sockaddr* address, socklen_t* size);
  int (*getsockopt)(int fd, int level, int name, void* value, socklen_t* size);
  int (*setsockopt)(int fd, int level, int name, const void* value,
                    socklen_t size);
  int (*getaddrinfo)(const char* host, const char* service,
                     const addrinfo* hints, addrinfo** result);
  void (*freeaddrinfo)(addrinfo* result);
  int (*getnameinfo)(const sockaddr* address, socklen_t size, char* host,
                     socklen_t host_size, char* service, socklen_t service_size,
                     int flags);
  ssize_t (*pread)(int fd, void* buffer, size_t size, off_t offset);
  ssize_t (*pwritev2)(int fd, const iovec* pieces, int count, off_t offset,
                      int flags);
  ssize_t (*pwrite)(int fd, const void* buffer, size_t size, off_t offset);
  int (*open)(const char* path, int flags);
  int (*open_file)(const char* path, int flags, mode_t permissions);  // open()
  int (*fstat)(int fd, struct stat* status);
  int (*ftruncate)(int fd, off_t size);
  int (*fsync)(int fd);
  int (*fdatasync)(int fd);
  int (*faccessat)(int dirfd, const char* path, int mode, int flags);
  int (*dup_above)(int fd, int least);  // fcntl(fd, F_DUPFD_CLOEXEC, least)
  // Returns its error, as posix_spawn() does.
  int (*posix_spawn)(pid_t* pid, const char* path,
                     const posix_spawn_file_actions_t* actions,
                     const posix_spawnattr_t* attributes, char* const argv[],
                     char* const envp[]);
};

// The real ones.
extern const SocketTable kRealSocketCalls;

// In the source file of the table: reading it through here links the sockets.
extern std::atomic<const SocketTable*> g_socket_calls;

// The table in force.
inline const SocketTable& SockSys() noexcept {
  return *g_socket_calls.load(std::memory_order_acquire);
}

// Puts `table` in force for a scope.
class ScopedSocketCalls {
 public:
  explicit ScopedSocketCalls(const SocketTable* table)
      : previous_(g_socket_calls.exchange(table, std::memory_order_acq_rel)) {}
  ScopedSocketCalls(const ScopedSocketCalls&) = delete;
  ScopedSocketCalls& operator=(const ScopedSocketCalls&) = delete;
  ~ScopedSocketCalls() {
    g_socket_calls.store(previous_, std::memory_order_release);
  }

 private:
  const SocketTable* previous_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_SOCKET_CALLS_H_
