// coil/net/sock.h
//
// SockRecv(), SockSendAll() and their kin are the system calls on a socket that
// the program owns, for coroutines: for those who port code, or who need what a
// stream does not give. Prefer OpenConnection() and OpenDatagram(), whose
// readers lose nothing and whose sockets stay registered.
//
// Example:
//   coil::Co<std::string> Fetch(coil::net::Address server) {
//     coil::net::Socket socket(AF_INET, SOCK_STREAM);
//     co_await coil::net::SockConnect(socket, server);
//     co_await coil::net::SockSendAll(socket, "GET / HTTP/1.0\r\n\r\n");
//     std::string answer;
//     for (;;) {
//       std::string part = co_await coil::net::SockRecv(socket, 65536);
//       if (part.empty()) co_return answer;
//       answer += part;
//     }
//   }
//
// Ordering: each call is tried first, and only then waits.
// Cancellation: a call that is cancelled has received nothing and accepted
//   nothing. SockSendAll() may have sent a part. A cancelled SockConnect() goes
//   on in the system; another one waits for its end.
// Threads: the loop's thread only.
// Lifetime: the socket is borrowed until the call returns. Socket::Close()
//   while a task waits ends its call with OsError(ECONNABORTED); a descriptor
//   that is closed behind coil's back leaves it waiting.
//
// All throw OsError; std::runtime_error without a running loop, if another task
// waits for the same direction of the socket, or if a stream or a callback
// has it; in debug mode std::invalid_argument for a socket that blocks
// (asyncio: A183).
//
// asyncio: sock_recv and the others (A220-A228).

#ifndef COIL_NET_SOCK_H_
#define COIL_NET_SOCK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/address.h"
#include "coil/net/send_file.h"
#include "coil/net/socket.h"
#include "coil/task/co.h"

namespace coil::net {

// Where a SockRecvFrom() came from.
struct SockDatagram {
  SockDatagram() = default;
  std::string data;
  Address from;
};
struct SockSize {
  size_t size = 0;
  Address from;
};
// What SockAccept() gives: non-blocking, and closed in children.
struct SockAccepted {
  SockAccepted() = default;
  Socket socket;
  Address peer;
};

// At most `n` bytes; none at the end of file. asyncio: A220.
[[nodiscard("co_await it")]] Co<std::string> SockRecv(SocketRef socket,
                                                      size_t n);
// The same into `out`, which is the caller's until this returns; how many.
// asyncio: A221.
[[nodiscard("co_await it")]] Co<size_t> SockRecvInto(SocketRef socket,
                                                     absl::Span<char> out);
// One datagram, of which `n` bytes are kept. asyncio: A222.
[[nodiscard("co_await it")]] Co<SockDatagram> SockRecvFrom(SocketRef socket,
                                                           size_t n);
// The same into `out`, at most `n` bytes of it; zero is all. Throws
// std::invalid_argument if `n` is more than that. asyncio: A223.
[[nodiscard("co_await it")]] Co<SockSize> SockRecvFromInto(SocketRef socket,
                                                           absl::Span<char> out,
                                                           size_t n = 0);
// Sends all of `data`, which is borrowed until this returns. After an error or
// a cancel nobody knows how much was sent. asyncio: A224.
[[nodiscard("co_await it")]] Co<void> SockSendAll(SocketRef socket,
                                                  std::string_view data);
// Sends a part of a file, as StreamWriter::SendFile() does, and returns how
// much it was. Throws also std::invalid_argument for a count of zero and for
// what is no stream socket. asyncio: A228.
[[nodiscard("co_await it")]] Co<uint64_t> SockSendFile(
    SocketRef socket, int fd, SendFileOptions options = SendFileOptions());
// One datagram; how many bytes of it were taken. asyncio: A225.
[[nodiscard("co_await it")]] Co<size_t> SockSendTo(SocketRef socket,
                                                   std::string_view data,
                                                   Address to);
// asyncio: A226.
[[nodiscard("co_await it")]] Co<void> SockConnect(SocketRef socket,
                                                  Address address);
// The same to the first address of the family of the socket that
// DefaultResolver() finds. asyncio: A226.
[[nodiscard("co_await it")]] Co<void> SockConnect(SocketRef socket,
                                                  std::string host, int port);
// The next connection to a socket that listens. asyncio: A227.
[[nodiscard("co_await it")]] Co<SockAccepted> SockAccept(SocketRef socket);

}  // namespace coil::net

#endif  // COIL_NET_SOCK_H_
