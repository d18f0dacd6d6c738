// coil/loop/internal/syscalls.h
//
// The table through which coil makes its system calls, and the seam where tests
// put failures in: an errno at every call site, a clock that jumps, a short
// write. Those that concern sockets are in socket_calls.h, because a program
// without a socket must not link any.
//
// Threads: the table is swapped while no loop runs; any thread may read it.
// Lifetime: a table outlives its use.

#ifndef COIL_LOOP_INTERNAL_SYSCALLS_H_
#define COIL_LOOP_INTERNAL_SYSCALLS_H_

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace coil::internal {

// Each member behaves as the function of the C library of the same name: -1 and
// errno, or what that function's page says.
struct SyscallTable {
  int (*epoll_create1)(int flags);
  int (*epoll_ctl)(int epfd, int op, int fd, epoll_event* event);
  int (*epoll_wait)(int epfd, epoll_event* events, int max, int timeout_ms);
  // ENOSYS where the kernel or the C library lacks it.
  int (*epoll_pwait2)(int epfd, epoll_event* events, int max,
                      const timespec* timeout);
  int (*eventfd)(unsigned initial, int flags);
  ssize_t (*read)(int fd, void* buffer, size_t size);
  ssize_t (*write)(int fd, const void* buffer, size_t size);
  ssize_t (*readv)(int fd, const iovec* pieces, int count);
  ssize_t (*writev)(int fd, const iovec* pieces, int count);
  int (*close)(int fd);
  int (*pipe2)(int fds[2], int flags);
  int (*get_flags)(int fd);             // fcntl(fd, F_GETFL)
  int (*set_flags)(int fd, int flags);  // fcntl(fd, F_SETFL, flags)
  int (*clock_gettime)(clockid_t clock, timespec* now);
  int (*sigaction)(int signal, const struct sigaction* action,
                   struct sigaction* previous);
  int (*kill)(pid_t pid, int signal);
  int (*pidfd_open)(pid_t pid, unsigned flags);
  int (*pidfd_send_signal)(int pidfd, int signal);
  int (*waitid)(idtype_t type, id_t id, siginfo_t* info, int options);
  // Returns its error, as pthread_create() does.
  int (*thread_create)(pthread_t* thread, const pthread_attr_t* attributes,
                       void* (*body)(void*), void* argument);
};

// The real ones.
extern const SyscallTable kRealSyscalls;

inline std::atomic<const SyscallTable*> g_syscalls{&kRealSyscalls};

// The table in force.
inline const SyscallTable& Sys() noexcept {
  return *g_syscalls.load(std::memory_order_acquire);
}

// Puts `table` in force for a scope.
class ScopedSyscalls {
 public:
  explicit ScopedSyscalls(const SyscallTable* table)
      : previous_(g_syscalls.exchange(table, std::memory_order_acq_rel)) {}
  ScopedSyscalls(const ScopedSyscalls&) = delete;
  ScopedSyscalls& operator=(const ScopedSyscalls&) = delete;
  ~ScopedSyscalls() { g_syscalls.store(previous_, std::memory_order_release); }

 private:
  const SyscallTable* previous_;
};

// close() without the trap of EINTR: on Linux the descriptor is gone either
// way.
inline void CloseDescriptor(int fd) noexcept {
  if (fd >= 0) Sys().close(fd);
}

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_SYSCALLS_H_
