// coil/net/addr_info.h
//
// GetAddrInfo() and GetNameInfo() are the C library's functions of these names
// for coroutines: from a host and a service to addresses, and back. They ask
// anew each time; what OpenConnection() asks is a Resolver
// (coil/net/resolver.h), which remembers.
//
// Example:
//   coil::Co<void> Show() {
//     std::vector<coil::net::AddrInfo> found =
//         co_await coil::net::GetAddrInfo("localhost", "http");
//     for (const coil::net::AddrInfo& info : found) {
//       coil::net::NameInfo name =
//           co_await coil::net::GetNameInfo(info.address);
//       std::string host = name.host;  // "localhost"
//     }
//   }
//
// Ordering: addresses are in the order of the C library (RFC 6724).
// Cancellation: at once. The thread that asks finishes by itself, also after
//   the loop has ended; a question that no thread has begun with is taken back.
// Threads: the loop's thread only. The C library is asked on eight threads of
//   its own, which all loops share and which nothing else can keep busy.
// Lifetime: results own what they hold.
//
// In debug mode a question that takes longer than the loop's
// SlowCallbackDuration() is written to the diagnostic sink.
//
// asyncio: getaddrinfo and getnameinfo (A216), slow DNS (A181).

#ifndef COIL_NET_ADDR_INFO_H_
#define COIL_NET_ADDR_INFO_H_

#include <netdb.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/net/address.h"
#include "coil/task/co.h"

namespace coil::net {

// A name has no address, or nobody could tell. The text is that of the
// resolver: "resolve no.such.host: Name or service not known". Errno() is the
// nearest errno: ENXIO where the name is unknown, EAGAIN where it is worth
// another try. Python: socket.gaierror.
class ResolveError : public OsError {
 public:
  // `code` is one of netdb.h's EAI_*; `system_error` the errno where it is
  // EAI_SYSTEM.
  ResolveError(int code, std::string_view host, int system_error = 0);

  int Code() const noexcept { return code_; }
  // There is no such name, or it has no such address: asking again will not
  // help for a while.
  bool IsNotFound() const noexcept;
  const char* what() const noexcept override { return text_->c_str(); }

 private:
  int code_;
  // Shared, so that copying the exception cannot throw.
  std::shared_ptr<const std::string> text_;
};

// One of the answers.
struct AddrInfo {
  int family = AF_UNSPEC;  // AF_INET or AF_INET6
  int type = 0;            // SOCK_STREAM, ...
  int protocol = 0;        // IPPROTO_TCP, ...
  Address address;
  std::string canonical_name;  // of the first one, with AI_CANONNAME
};

// What to ask for; zero is everything.
struct AddrInfoOptions {
  int family = AF_UNSPEC;
  int type = 0;
  int protocol = 0;
  int flags = 0;  // AI_PASSIVE, AI_CANONNAME, ...
};

// `service` is a name, a number, or empty for port 0; an empty host is this
// machine, or every interface with AI_PASSIVE. Throws ResolveError,
// std::invalid_argument for what cannot be a host or a service,
// std::runtime_error without a running loop. asyncio: A216.
[[nodiscard("co_await it")]] Co<std::vector<AddrInfo>> GetAddrInfo(
    std::string host, std::string service = "", AddrInfoOptions options = {});
// The same for a port, from 0 to 65535.
[[nodiscard("co_await it")]] Co<std::vector<AddrInfo>> GetAddrInfo(
    std::string host, int port, AddrInfoOptions options = {});

// The names of an address.
struct NameInfo {
  std::string host;
  std::string service;
};

// `flags` are NI_NUMERICHOST, NI_NAMEREQD, ... Throws ResolveError,
// std::invalid_argument for an address that is not IPv4 or IPv6,
// std::runtime_error without a running loop. asyncio: A216.
[[nodiscard("co_await it")]] Co<NameInfo> GetNameInfo(Address address,
                                                      int flags = 0);

}  // namespace coil::net

#endif  // COIL_NET_ADDR_INFO_H_
