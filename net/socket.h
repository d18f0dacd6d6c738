// coil/net/socket.h
//
// Socket owns a descriptor of a socket: non-blocking, closed in children, and
// closed when it dies. SocketRef is the view of one that somebody else owns.
// Programs that open connections and serve them need neither, unless to set an
// option; for those who bring sockets of their own there is
// MakeByteStream(Socket).
//
// Example:
//   void FreePort() {
//     coil::net::Socket socket(AF_INET, SOCK_STREAM);
//     socket.Bind(coil::net::Address::Parse("127.0.0.1:0"));
//     int port = socket.SockName().Port();
//     socket.SetOption(SOL_SOCKET, SO_KEEPALIVE, 1);
//   }
//
// Ordering: does not apply; nothing here waits.
// Cancellation: does not apply.
// Threads: a Socket may be moved to another thread until a stream is made of
//   it.
// Lifetime: a Socket closes its descriptor; a SocketRef is valid until the
//   descriptor is closed by its owner.
//
// Every system call goes through coil/loop/internal/socket_calls.h.
// asyncio: TransportSocket (A241, A244).

#ifndef COIL_NET_SOCKET_H_
#define COIL_NET_SOCKET_H_

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"

namespace coil::net {

// A socket that somebody else owns: options may be read and set.
class SocketRef {
 public:
  SocketRef() = default;
  explicit SocketRef(int fd) noexcept : fd_(fd) {}

  // -1 for none.
  int Descriptor() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  // setsockopt() and getsockopt() for options that are an int. Throw OsError.
  void SetOption(int level, int name, int value) const;
  int GetOption(int level, int name) const;

  // This end and the other one; no address if it is not bound or connected.
  Address SockName() const noexcept;
  Address PeerName() const noexcept;

 protected:
  int fd_ = -1;
};

class Socket : public SocketRef {
 public:
  Socket() = default;
  // A new socket. Throws OsError.
  Socket(int family, int type, int protocol = 0);
  // Takes over a descriptor; makes it non-blocking, and closed in children.
  // Throws OsError, and then the descriptor is still the caller's.
  static Socket FromDescriptor(int fd);
  // Takes over a descriptor that is known to be both. In debug mode, a stream
  // or a server throws std::invalid_argument for a blocking one (A183).
  static Socket Adopt(int fd) noexcept { return Socket(Owned{}, fd); }

  Socket(Socket&& other) noexcept : SocketRef(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = other.Release();
    }
    return *this;
  }
  ~Socket() { Close(); }

  // Throw OsError with the address.
  void Bind(const Address& address);
  void Listen(int backlog);
  // Starts to connect. True if it is connected already, false if it will be
  // (or fail) when it becomes writable. Throws OsError.
  bool StartConnect(const Address& address);

  // Gives up the descriptor without closing it.
  int Release() noexcept { return std::exchange(fd_, -1); }
  void Close() noexcept;

 private:
  struct Owned {};
  Socket(Owned, int fd) noexcept : SocketRef(fd) {}
};

// A stream on a connected socket, registered with the running loop. Throws
// OsError if the loop cannot watch it, std::runtime_error without a loop.
std::unique_ptr<ByteStream> MakeByteStream(Socket socket);

}  // namespace coil::net

#endif  // COIL_NET_SOCKET_H_
