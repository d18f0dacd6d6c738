// coil/net/address.h
//
// Address is one end of a connection: an IPv4 or IPv6 address with a port, or
// the path of a Unix socket. It is what the system calls want and what people
// read ("127.0.0.1:80", "[fe80::1%eth0]:80", "unix:/run/x"). Names of hosts are
// not addresses: OpenConnection() and StartServer() resolve them.
//
// Example:
//   void Show() {
//     coil::net::Address address = coil::net::Address::Parse("[::1]:8080");
//     std::string host = address.Host();  // "::1"
//     int port = address.Port();          // 8080
//   }
//
// Ordering: does not apply.
// Cancellation: does not apply.
// Threads: a value.
// Lifetime: owns everything; a copy costs 116 bytes.
//
// asyncio: the tuples of getpeername() and getsockname() (A187, A295).

#ifndef COIL_NET_ADDRESS_H_
#define COIL_NET_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>

#include "coil/loop/internal/language.h"

namespace coil::net {

class Address {
 public:
  // No address; prints as "".
  Address() noexcept : unix_{}, size_(0) {}

  // "192.0.2.1:80" or "[2001:db8::1]:80"; a scope goes behind a "%", as a
  // number or the name of an interface. Throws std::invalid_argument for
  // anything else.
  static Address Parse(std::string_view text);
  // A numeric host, IPv6 without brackets, and a port. Nothing if `host` is not
  // numeric. Throws std::invalid_argument for a port outside of 0 to 65535.
  static std::optional<Address> FromNumeric(std::string_view host, int port);
  // A Unix socket; "@name" is one in the abstract namespace. Throws
  // std::invalid_argument if the path is empty, holds a zero, or is longer than
  // the system allows (107 bytes).
  static Address Unix(std::string_view path);
  // As a system call gave it. What is not IPv4, IPv6 or Unix is no address.
  static Address FromSockaddr(const sockaddr* address, socklen_t size) noexcept;

  // AF_INET, AF_INET6, AF_UNIX, or AF_UNSPEC if there is none.
  int Family() const noexcept { return any_.sa_family; }
  bool IsIp() const noexcept {
    return Family() == AF_INET || Family() == AF_INET6;
  }
  explicit operator bool() const noexcept { return Family() != AF_UNSPEC; }

  // "192.0.2.1", "2001:db8::1%2"; the path of a Unix socket.
  std::string Host() const;
  // Zero unless IsIp().
  int Port() const noexcept;
  // The same address with another port. REQUIRES: IsIp().
  Address WithPort(int port) const;
  // "192.0.2.1:80", "[2001:db8::1]:80", "unix:/run/x", "unix:@name", "unix:"
  // for a Unix socket without a name.
  std::string ToString() const;

  const sockaddr* Data() const noexcept { return &any_; }
  socklen_t Size() const noexcept { return size_; }

  friend bool operator==(const Address& a, const Address& b) noexcept;

 private:
  union {
    sockaddr any_;
    sockaddr_in v4_;
    sockaddr_in6 v6_;
    sockaddr_un unix_;
  };
  socklen_t size_;
};

}  // namespace coil::net

#endif  // COIL_NET_ADDRESS_H_
