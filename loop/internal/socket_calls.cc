#include "coil/loop/internal/socket_calls.h"

#include <fcntl.h>
#include <netdb.h>
#include <spawn.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace coil::internal {
namespace {

// Some of the C library's declarations vary between versions; these do not.
int RecvMmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  return ::recvmmsg(fd, messages, count, flags, nullptr);
}

int SendMmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  return ::sendmmsg(fd, messages, count, flags);
}

int Bind(int fd, const sockaddr* address, socklen_t size) {
  return ::bind(fd, address, size);
}

int Accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return ::accept4(fd, address, size, flags);
}

int Connect(int fd, const sockaddr* address, socklen_t size) {
  return ::connect(fd, address, size);
}

ssize_t RecvFrom(int fd, void* buffer, size_t size, int flags,
                 sockaddr* address, socklen_t* address_size) {
  return ::recvfrom(fd, buffer, size, flags, address, address_size);
}

ssize_t SendTo(int fd, const void* buffer, size_t size, int flags,
               const sockaddr* address, socklen_t address_size) {
  return ::sendto(fd, buffer, size, flags, address, address_size);
}

ssize_t Splice(int in, off_t* in_offset, int out, off_t* out_offset,
               size_t size, unsigned flags) {
  return ::splice(in, in_offset, out, out_offset, size, flags);
}

int GetSockName(int fd, sockaddr* address, socklen_t* size) {
  return ::getsockname(fd, address, size);
}

int GetPeerName(int fd, sockaddr* address, socklen_t* size) {
  return ::getpeername(fd, address, size);
}

int GetNameInfo(const sockaddr* address, socklen_t size, char* host,
                socklen_t host_size, char* service, socklen_t service_size,
                int flags) {
  return ::getnameinfo(address, size, host, host_size, service, service_size,
                       flags);
}

ssize_t PWriteV2(int fd, const iovec* pieces, int count, off_t offset,
                 int flags) {
  return ::pwritev2(fd, pieces, count, offset, flags);
}

int Open(const char* path, int flags) { return ::open(path, flags); }

int OpenFile(const char* path, int flags, mode_t permissions) {
  return ::open(path, flags, permissions);
}

// A macro or a wrapper with some C libraries.
int FStat(int fd, struct stat* status) { return ::fstat(fd, status); }

int DupAbove(int fd, int least) { return ::fcntl(fd, F_DUPFD_CLOEXEC, least); }

int PosixSpawn(pid_t* pid, const char* path,
               const posix_spawn_file_actions_t* actions,
               const posix_spawnattr_t* attributes, char* const argv[],
               char* const envp[]) {
  return ::posix_spawn(pid, path, actions, attributes, argv, envp);
}

}  // namespace

constinit const SocketTable kRealSocketCalls = {
    .socket = ::socket,
    .socketpair = ::socketpair,
    .bind = Bind,
    .listen = ::listen,
    .accept4 = Accept4,
    .connect = Connect,
    .shutdown = ::shutdown,
    .recv = ::recv,
    .send = ::send,
    .recvfrom = RecvFrom,
    .sendto = SendTo,
    .recvmsg = ::recvmsg,
    .sendmsg = ::sendmsg,
    .recvmmsg = RecvMmsg,
    .sendmmsg = SendMmsg,
    .sendfile = ::sendfile,
    .splice = Splice,
    .getsockname = GetSockName,
    .getpeername = GetPeerName,
    .getsockopt = ::getsockopt,
    .setsockopt = ::setsockopt,
    .getaddrinfo = ::getaddrinfo,
    .freeaddrinfo = ::freeaddrinfo,
    .getnameinfo = GetNameInfo,
    .pread = ::pread,
    .pwritev2 = PWriteV2,
    .pwrite = ::pwrite,
    .open = Open,
    .open_file = OpenFile,
    .fstat = FStat,
    .ftruncate = ::ftruncate,
    .fsync = ::fsync,
    .fdatasync = ::fdatasync,
    .faccessat = ::faccessat,
    .dup_above = DupAbove,
    .posix_spawn = PosixSpawn,
};

constinit std::atomic<const SocketTable*> g_socket_calls{&kRealSocketCalls};

}  // namespace coil::internal
