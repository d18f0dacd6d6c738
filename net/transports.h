// coil/net/transports.h
//
// Connections in callback style: CreateConnection() connects a protocol to a
// server, CreateServer() gives each connection a protocol of its own. What
// OpenConnection() and StartServer() can do (names, Unix sockets, TLS, options)
// these can too. For those who port code from asyncio; new code is shorter with
// coroutines (coil/net/streams.h).
//
// Example:
//   class Echo final : public coil::net::Protocol {
//    public:
//     void ConnectionMade(
//         std::shared_ptr<coil::net::Transport> transport) override {
//       transport_ = std::move(transport);
//     }
//     void DataReceived(std::string_view data) override {
//       transport_->Write(data);
//     }
//
//    private:
//     std::shared_ptr<coil::net::Transport> transport_;
//   };
//   coil::Co<void> Serve() {
//     coil::net::Server server = co_await coil::net::CreateServer(
//         [] { return std::make_shared<Echo>(); }, "127.0.0.1", 7000);
//     co_await server.ServeForever();
//   }
//   coil::Co<void> Ask() {
//     auto [transport, protocol] = co_await coil::net::CreateConnection(
//         [] { return std::make_shared<Echo>(); }, "127.0.0.1", 7000);
//     transport->Write("hello");
//   }
//
// Ordering: see coil/net/protocol.h. The functions return when ConnectionMade()
//   has been called.
// Cancellation: as of OpenConnection() and StartServer(). A connection that was
//   made already is closed, and its protocol told so.
// Threads: the loop's thread only.
// Lifetime: a factory that is a temporary is kept, one that has a name is
//   referred to until the function returns; CreateServer() keeps a copy.
//
// A factory is called for each connection, once it is there, and returns a
// std::shared_ptr to a class that is derived from Protocol or BufferedProtocol.
//
// asyncio: create_connection (A186, A187), create_server (A197),
// create_unix_connection, create_unix_server (A208, A209),
// connect_accepted_socket (A213).

#ifndef COIL_NET_TRANSPORTS_H_
#define COIL_NET_TRANSPORTS_H_

#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/connect_options.h"
#include "coil/net/internal/protocol_factory.h"
#include "coil/net/protocol.h"
#include "coil/net/server.h"
#include "coil/net/server_options.h"
#include "coil/net/socket.h"
#include "coil/net/streams.h"
#include "coil/net/transport.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"

namespace coil::net {

namespace internal {

using StreamFactory = absl::AnyInvocable<std::shared_ptr<StreamProtocol>()>;

// Gives a protocol to each connection.
ConnectionHandler ProtocolHandler(StreamFactory factory);
// Returns when ConnectionMade() has been called.
Co<std::shared_ptr<Transport>> StartTransport(
    StreamPair streams, std::shared_ptr<StreamProtocol> protocol);
Co<StreamPair> OpenAccepted(net::Socket socket, ServerOptions options);

COIL_LAMBDA_FRAMES_BEGIN
template <class F>
Co<Endpoint<Transport, ProtocolOf<F>>> ConnectProtocol(Co<StreamPair> opening,
                                                       F factory) {
  StreamPair streams = co_await std::move(opening);
  std::shared_ptr<ProtocolOf<F>> protocol = factory();
  std::shared_ptr<StreamProtocol> base = protocol;
  std::shared_ptr<Transport> transport =
      co_await StartTransport(std::move(streams), std::move(base));
  co_return Endpoint<Transport, ProtocolOf<F>>(std::move(transport),
                                               std::move(protocol));
}
COIL_LAMBDA_FRAMES_END

template <class F>
Co<Endpoint<Transport, ProtocolOf<F>>> Connect(F&& factory,
                                               Co<StreamPair> opening) {
  coil::internal::CheckBody<F>();
  return ConnectProtocol<coil::internal::StoredBody<F>>(
      std::move(opening), std::forward<F>(factory));
}

}  // namespace internal

// Connects to `host` at `port`, and a protocol to that. Throws as
// OpenConnection() does, and what the factory throws. asyncio: A186.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto CreateConnection(
    F&& factory, std::string host, int port,
    ConnectOptions options = ConnectOptions()) {
  return internal::Connect(
      std::forward<F>(factory),
      OpenConnection(std::move(host), port, std::move(options)));
}
// The same for one address, also for that of a Unix socket.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto CreateConnection(
    F&& factory, Address address, ConnectOptions options = ConnectOptions()) {
  return internal::Connect(std::forward<F>(factory),
                           OpenConnection(address, std::move(options)));
}
// The same on a socket that is connected already. asyncio: A190.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto CreateConnection(
    F&& factory, net::Socket socket,
    ConnectOptions options = ConnectOptions()) {
  return internal::Connect(
      std::forward<F>(factory),
      OpenConnection(std::move(socket), std::move(options)));
}
// The same for the path of a Unix socket. asyncio: A208.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto CreateUnixConnection(
    F&& factory, std::string path, ConnectOptions options = ConnectOptions()) {
  return internal::Connect(
      std::forward<F>(factory),
      OpenUnixConnection(std::move(path), std::move(options)));
}
// The same for a connection that was accepted elsewhere; of the options those
// of TLS count, which is that of a server. asyncio: A213.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto ConnectAcceptedSocket(
    F&& factory, net::Socket socket, ServerOptions options = ServerOptions()) {
  return internal::Connect(
      std::forward<F>(factory),
      internal::OpenAccepted(std::move(socket), std::move(options)));
}

// Listens at `port` of every address of `host`, as StartServer() does, and
// connects a protocol to each connection. Server::Shutdown() lets the
// connections go on for the grace and aborts what is left. asyncio: A197.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] Co<Server> CreateServer(
    F&& factory, std::string host, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current()) {
  coil::internal::CheckBody<F>();
  return StartServer(internal::ProtocolHandler(std::forward<F>(factory)),
                     std::move(host), port, std::move(options), where);
}
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] Co<Server> CreateServer(
    F&& factory, std::vector<std::string> hosts, int port,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current()) {
  coil::internal::CheckBody<F>();
  return StartServer(internal::ProtocolHandler(std::forward<F>(factory)),
                     std::move(hosts), port, std::move(options), where);
}
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] Co<Server> CreateServer(
    F&& factory, std::vector<net::Socket> sockets,
    ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current()) {
  coil::internal::CheckBody<F>();
  return StartServer(internal::ProtocolHandler(std::forward<F>(factory)),
                     std::move(sockets), std::move(options), where);
}
// The same at the path of a Unix socket. asyncio: A209.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] Co<Server> CreateUnixServer(
    F&& factory, std::string path, ServerOptions options = ServerOptions(),
    std::source_location where = std::source_location::current()) {
  coil::internal::CheckBody<F>();
  return StartUnixServer(internal::ProtocolHandler(std::forward<F>(factory)),
                         std::move(path), std::move(options), where);
}

// A transport on a stream of any kind. ConnectionMade() comes on the next pass
// of the loop. Throws std::invalid_argument for null, std::runtime_error
// without a running loop.
std::shared_ptr<Transport> MakeTransport(
    std::unique_ptr<ByteStream> stream,
    std::shared_ptr<StreamProtocol> protocol);

}  // namespace coil::net

#endif  // COIL_NET_TRANSPORTS_H_
