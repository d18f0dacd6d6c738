// coil/net/streams.h
//
// OpenConnection() connects to a server and StartServer() is one: both give a
// StreamReader and a StreamWriter for each connection.
//
// Example:
//   coil::Co<void> Answer(coil::net::StreamReader reader,
//                         coil::net::StreamWriter writer) {
//     std::string line = co_await reader.ReadLine();
//     co_await writer.Write("you said " + line);
//   }
//   coil::Co<std::string> Ask() {
//     coil::net::Server server =
//         co_await coil::net::StartServer(Answer, "127.0.0.1", 0);
//     auto [reader, writer] =
//         co_await coil::net::OpenConnection("127.0.0.1", server.Port());
//     co_await writer.Write("hello\n");
//     std::string answer = co_await reader.ReadLine();
//     co_await writer.Close();
//     co_return answer;
//   }
//
// Ordering: the addresses of a host are tried in the order of the resolver, the
//   families in turn, each a quarter of a second after the one before or at
//   once when that has failed; the first that answers wins (RFC 8305).
// Cancellation: a cancelled OpenConnection() or StartServer() has opened
//   nothing.
// Threads: the loop's thread only.
// Lifetime: see StreamReader, StreamWriter and Server.
//
// TCP_NODELAY is on for every connection.
//
// asyncio: open_connection (A279, A186-A194), start_server (A280, A197-A207),
// open_unix_connection and start_unix_server (A281, A208-A210).

#ifndef COIL_NET_STREAMS_H_
#define COIL_NET_STREAMS_H_

#include <cstddef>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/connect_options.h"
#include "coil/net/server.h"
#include "coil/net/server_options.h"
#include "coil/net/socket.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"

namespace coil::net {

// Both ends of one connection: auto [reader, writer] = ...
struct StreamPair {
  StreamPair(StreamReader reader_in, StreamWriter writer_in)
      : reader(std::move(reader_in)), writer(std::move(writer_in)) {}
  StreamReader reader;
  StreamWriter writer;
};

// Connects to `host`, which is a name or a numeric address, at `port`. Throws
// OsError if no address of the host can be connected to,
// std::invalid_argument for what cannot be a host or a port. For a deadline
// wrap it in WithTimeout(). asyncio: A279.
[[nodiscard("co_await it")]] Co<StreamPair> OpenConnection(
    std::string host, int port, ConnectOptions options = ConnectOptions());
// The same for one address, also for that of a Unix socket.
[[nodiscard("co_await it")]] Co<StreamPair> OpenConnection(
    Address address, ConnectOptions options = ConnectOptions());

// The same on a socket that is connected already; for one that was accepted
// elsewhere, too. Throws std::invalid_argument if it is not a stream socket;
// then it is closed. asyncio: A190, A213.
[[nodiscard("co_await it")]] Co<StreamPair> OpenConnection(
    Socket socket, ConnectOptions options = ConnectOptions());

// The same for the path of a Unix socket; "@name" is one in the abstract
// namespace. Throws also std::invalid_argument for what cannot be a path.
// asyncio: A281.
[[nodiscard("co_await it")]] Co<StreamPair> OpenUnixConnection(
    std::string path, ConnectOptions options = ConnectOptions());

// Called for each connection, as a task that owns what it is given. A lambda
// with captures lives as long as the server and its connections; with g++ 12 it
// needs a name if they have destructors, as a body of With().
using ConnectionHandler =
    absl::AnyInvocable<Co<void>(StreamReader, StreamWriter)>;

namespace internal {

// A ConnectionHandler that is made of what g++ 12 keeps whole: not of a
// temporary lambda with captures that have a destructor. What has a name is
// passed by it, or moved as a ConnectionHandler.
class CheckedHandler {
 public:
  template <class F>
    requires std::is_constructible_v<ConnectionHandler, F>
  CheckedHandler(F&& handler)  // NOLINT: any callable is a handler
      : handler_(std::forward<F>(handler)) {
    if constexpr (!std::is_same_v<F, ConnectionHandler>) {
      coil::internal::CheckBody<F>();
    }
  }
  ConnectionHandler Take() { return std::move(handler_); }

 private:
  ConnectionHandler handler_;
};

}  // namespace internal

// Listens at `port` of every address of `host`; port 0 takes a free one, see
// Server::Port(). An empty host is every interface, with a socket for IPv4 and
// one for IPv6. Throws OsError if an address cannot be bound, and
// std::invalid_argument. An IPv6 address that this machine does not have, as
// where IPv6 is switched off, is left out if another one can be bound;
// Server::Sockets() tells. asyncio: A280, A197.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    internal::CheckedHandler handler, std::string host, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());
// The same for several hosts, of which each address counts once. asyncio: A198.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    internal::CheckedHandler handler, std::vector<std::string> hosts, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());
// On sockets that are bound already, to IP addresses or to Unix paths. Throws
// std::invalid_argument for none of them or one that is not a stream socket.
// asyncio: A203.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    internal::CheckedHandler handler, std::vector<Socket> sockets,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());

// The same at the path of a Unix socket; "@name" is one in the abstract
// namespace. The file that a process has left which has died is replaced; it is
// removed when the server closes, if it is still the same one. Throws OsError
// (EADDRINUSE if somebody listens there, or if it is not a socket),
// std::invalid_argument for what cannot be a path. asyncio: A281, A209, which
// takes the path from whoever listens there.
[[nodiscard("co_await it")]] Co<Server> StartUnixServer(
    internal::CheckedHandler handler, std::string path,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());

// A reader and a writer on a stream of any kind. Throws std::runtime_error
// without a running loop, std::invalid_argument for a limit of zero.
StreamPair MakeStreams(std::unique_ptr<ByteStream> stream,
                       size_t limit = kDefaultLimit);

}  // namespace coil::net

#endif  // COIL_NET_STREAMS_H_
