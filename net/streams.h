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
// Ordering: the addresses of a host are tried in the order of getaddrinfo().
// Cancellation: a cancelled OpenConnection() or StartServer() has opened
//   nothing.
// Threads: the loop's thread only.
// Lifetime: see StreamReader, StreamWriter and Server.
//
// TCP_NODELAY is on for every connection.
//
// asyncio: open_connection (A279, A186-A194), start_server (A280, A197-A207).

#ifndef COIL_NET_STREAMS_H_
#define COIL_NET_STREAMS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/server.h"
#include "coil/net/socket.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/task/co.h"

namespace coil::net {

// Both ends of one connection: auto [reader, writer] = ...
struct StreamPair {
  StreamPair(StreamReader reader_in, StreamWriter writer_in)
      : reader(std::move(reader_in)), writer(std::move(writer_in)) {}
  StreamReader reader;
  StreamWriter writer;
};

class ConnectOptions {
 public:
  ConnectOptions() = default;

  // How many bytes ReadLine() and ReadUntil() look at; 64 KiB at first. At
  // least one.
  ConnectOptions& Limit(size_t bytes) {
    limit_ = bytes;
    return *this;
  }
  // AF_INET or AF_INET6: only such addresses. asyncio: A189.
  ConnectOptions& Family(int family) {
    family_ = family;
    return *this;
  }
  // The end of the connection on this side; port 0 leaves it to the system.
  // asyncio: A191.
  ConnectOptions& LocalAddress(const Address& address) {
    local_ = address;
    return *this;
  }
  // Where no address can be connected to: throw an ExceptionGroup of all
  // errors, even if it is one, instead of the first. asyncio: A194.
  ConnectOptions& AllErrors(bool on) {
    all_errors_ = on;
    return *this;
  }

  size_t limit() const { return limit_; }
  int family() const { return family_; }
  const Address& local_address() const { return local_; }
  bool all_errors() const { return all_errors_; }

 private:
  size_t limit_ = kDefaultLimit;
  int family_ = AF_UNSPEC;
  Address local_;
  bool all_errors_ = false;
};

class ServerOptions {
 public:
  ServerOptions() = default;

  // As ConnectOptions::Limit(), for each connection.
  ServerOptions& Limit(size_t bytes) {
    limit_ = bytes;
    return *this;
  }
  // How many connections the system keeps until they are accepted; 100 at
  // first. At least one. asyncio: A199.
  ServerOptions& Backlog(int connections) {
    backlog_ = connections;
    return *this;
  }
  // AF_INET or AF_INET6: only such addresses. asyncio: A206.
  ServerOptions& Family(int family) {
    family_ = family;
    return *this;
  }
  // SO_REUSEADDR, on at first: a port can be used again at once. asyncio: A200.
  ServerOptions& ReuseAddress(bool on) {
    reuse_address_ = on;
    return *this;
  }
  // SO_REUSEPORT: several sockets share a port. asyncio: A201.
  ServerOptions& ReusePort(bool on) {
    reuse_port_ = on;
    return *this;
  }
  // SO_KEEPALIVE on every connection. asyncio: A202.
  ServerOptions& KeepAlive(bool on) {
    keep_alive_ = on;
    return *this;
  }
  // False: only bind; Server::StartServing() begins to accept. asyncio: A205.
  ServerOptions& StartServing(bool on) {
    start_serving_ = on;
    return *this;
  }
  // For how long accepting pauses when descriptors have run out; one second at
  // first. asyncio: A207, A326.
  ServerOptions& AcceptRetry(absl::Duration pause) {
    accept_retry_ = pause;
    return *this;
  }

  size_t limit() const { return limit_; }
  int backlog() const { return backlog_; }
  int family() const { return family_; }
  bool reuse_address() const { return reuse_address_; }
  bool reuse_port() const { return reuse_port_; }
  bool keep_alive() const { return keep_alive_; }
  bool start_serving() const { return start_serving_; }
  absl::Duration accept_retry() const { return accept_retry_; }

 private:
  size_t limit_ = kDefaultLimit;
  int backlog_ = 100;
  int family_ = AF_UNSPEC;
  bool reuse_address_ = true;
  bool reuse_port_ = false;
  bool keep_alive_ = false;
  bool start_serving_ = true;
  absl::Duration accept_retry_ = absl::Seconds(1);
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

// Called for each connection, as a task that owns what it is given. A lambda
// with captures lives as long as the server and its connections.
using ConnectionHandler =
    absl::AnyInvocable<Co<void>(StreamReader, StreamWriter)>;

// Listens at `port` of every address of `host`; port 0 takes a free one, see
// Server::Port(). An empty host is every interface, with a socket for IPv4 and
// one for IPv6. Throws OsError if an address cannot be bound, and
// std::invalid_argument. asyncio: A280, A197.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    ConnectionHandler handler, std::string host, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());
// The same for several hosts, of which each address counts once. asyncio: A198.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    ConnectionHandler handler, std::vector<std::string> hosts, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());
// On sockets that are bound already, to IP addresses or to Unix paths. Throws
// std::invalid_argument for none of them or one that is not a stream socket.
// asyncio: A203.
[[nodiscard("co_await it")]] Co<Server> StartServer(
    ConnectionHandler handler, std::vector<Socket> sockets,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current());

// A reader and a writer on a stream of any kind. Throws std::runtime_error
// without a running loop, std::invalid_argument for a limit of zero.
StreamPair MakeStreams(std::unique_ptr<ByteStream> stream,
                       size_t limit = kDefaultLimit);

}  // namespace coil::net

#endif  // COIL_NET_STREAMS_H_
