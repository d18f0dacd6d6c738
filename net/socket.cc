#include "coil/net/socket.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/close_hook.h"
#include "coil/net/internal/socket_stream.h"

namespace coil::net {

using coil::internal::SockSys;

void SocketRef::SetOption(int level, int name, int value) const {
  if (SockSys().setsockopt(fd_, level, name, &value, sizeof(value)) != 0) {
    throw OsError(errno, "setsockopt");
  }
}

int SocketRef::GetOption(int level, int name) const {
  int value = 0;
  socklen_t size = sizeof(value);
  if (SockSys().getsockopt(fd_, level, name, &value, &size) != 0) {
    throw OsError(errno, "getsockopt");
  }
  return value;
}

Address SocketRef::SockName() const noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (SockSys().getsockname(fd_, address, &size) != 0) return Address();
  return Address::FromSockaddr(address, size);
}

Address SocketRef::PeerName() const noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (SockSys().getpeername(fd_, address, &size) != 0) return Address();
  return Address::FromSockaddr(address, size);
}

Socket::Socket(int family, int type, int protocol) {
  fd_ = SockSys().socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd_ < 0) throw OsError(errno, "socket");
}

Socket Socket::FromDescriptor(int fd) {
  const int flags = coil::internal::Sys().get_flags(fd);
  if (flags < 0) throw OsError(errno, "fcntl");
  if ((flags & O_NONBLOCK) == 0 &&
      coil::internal::Sys().set_flags(fd, flags | O_NONBLOCK) != 0) {
    throw OsError(errno, "fcntl");
  }
  // As fcntl(fd, F_SETFD, FD_CLOEXEC), which cannot fail for an open one.
  ::ioctl(fd, FIOCLEX);
  return Adopt(fd);
}

void Socket::Bind(const Address& address) {
  if (SockSys().bind(fd_, address.Data(), address.Size()) != 0) {
    throw OsError(errno, "bind", address.ToString());
  }
}

void Socket::Listen(int backlog) {
  if (SockSys().listen(fd_, backlog) != 0) {
    throw OsError(errno, "listen", SockName().ToString());
  }
}

bool Socket::StartConnect(const Address& address) {
  if (SockSys().connect(fd_, address.Data(), address.Size()) == 0) return true;
  // An interrupted connect goes on in the background, as one in progress does.
  if (errno == EINPROGRESS || errno == EINTR) return false;
  throw OsError(errno, "connect", address.ToString());
}

void Socket::Close() noexcept {
  const int fd = Release();
  if (fd < 0) return;
  // First: what is watched is given up before it is closed.
  const auto hook = internal::g_close_hook.load(std::memory_order_acquire);
  if (hook != nullptr) hook(fd);
  coil::internal::CloseDescriptor(fd);
}

std::unique_ptr<ByteStream> MakeByteStream(Socket socket) {
  const Address peer = socket.PeerName();
  return internal::MakeSocketStream(std::move(socket), peer);
}

}  // namespace coil::net
