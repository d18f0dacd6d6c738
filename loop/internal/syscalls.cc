#include "coil/loop/internal/syscalls.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

// Old headers lack the numbers; they are the same on every architecture.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

namespace coil::internal {
namespace {

// Not the C library's: it has no such function before 2.35, and the kernel's
// timespec is that of time_t only where time_t has 64 bits.
int EpollPwait2(int epfd, epoll_event* events, int max,
                const timespec* timeout) {
  if constexpr (sizeof(timespec) != 16) {
    errno = ENOSYS;
    return -1;
  }
  return static_cast<int>(
      ::syscall(SYS_epoll_pwait2, epfd, events, max, timeout, nullptr, 8));
}

int GetFlags(int fd) { return ::fcntl(fd, F_GETFL); }
int SetFlags(int fd, int flags) { return ::fcntl(fd, F_SETFL, flags); }

int PidfdOpen(pid_t pid, unsigned flags) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, flags));
}

int PidfdSendSignal(int pidfd, int signal) {
  return static_cast<int>(
      ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

}  // namespace

constinit const SyscallTable kRealSyscalls = {
    .epoll_create1 = ::epoll_create1,
    .epoll_ctl = ::epoll_ctl,
    .epoll_wait = ::epoll_wait,
    .epoll_pwait2 = EpollPwait2,
    .eventfd = ::eventfd,
    .read = ::read,
    .write = ::write,
    .readv = ::readv,
    .writev = ::writev,
    .close = ::close,
    .pipe2 = ::pipe2,
    .get_flags = GetFlags,
    .set_flags = SetFlags,
    .clock_gettime = ::clock_gettime,
    .sigaction = ::sigaction,
    .kill = ::kill,
    .pidfd_open = PidfdOpen,
    .pidfd_send_signal = PidfdSendSignal,
    .waitid = ::waitid,
    .thread_create = ::pthread_create,
};

}  // namespace coil::internal
