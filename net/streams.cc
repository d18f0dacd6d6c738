#include "coil/net/streams.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/resolve.h"
#include "coil/net/internal/server_state.h"
#include "coil/net/internal/socket_stream.h"
#include "coil/net/internal/stream_core.h"
#include "coil/task/errors.h"

namespace coil::net {
namespace {

using internal::ServerRef;
using internal::ServerState;
using internal::SocketStream;

// A connected stream.
Co<std::unique_ptr<ByteStream>> Connect(Address address, Address local) {
  Socket socket(address.Family(), SOCK_STREAM);
  if (address.IsIp()) socket.SetOption(IPPROTO_TCP, TCP_NODELAY, 1);
  if (local) {
    socket.SetOption(SOL_SOCKET, SO_REUSEADDR, 1);
    socket.Bind(local);
  }
  const bool connected = socket.StartConnect(address);
  auto stream = std::make_unique<SocketStream>(std::move(socket), address,
                                               /*connecting=*/!connected);
  if (!connected) {
    const int error = co_await internal::ConnectAwaiter(*stream);
    if (error != 0) throw OsError(error, "connect", address.ToString());
  }
  co_return std::move(stream);
}

StreamPair Pair(std::unique_ptr<ByteStream> stream, size_t limit) {
  const auto core = internal::StreamRef::Share(
      new internal::StreamCore(std::move(stream), limit));
  return StreamPair(StreamReader(core), StreamWriter(core));
}

void CheckLimit(size_t limit) {
  if (limit == 0) {
    throw std::invalid_argument("net: the limit of a stream is at least 1");
  }
}

Co<StreamPair> ConnectToHost(std::string host, int port,
                             ConnectOptions options) {
  CheckLimit(options.limit());
  std::vector<Address> addresses =
      co_await internal::ResolveHost(std::move(host), port, options.family());
  std::vector<std::exception_ptr> errors;
  for (const Address& address : addresses) {
    if (options.local_address() &&
        options.local_address().Family() != address.Family()) {
      continue;
    }
    try {
      std::unique_ptr<ByteStream> stream =
          co_await Connect(address, options.local_address());
      co_return Pair(std::move(stream), options.limit());
    } catch (const OsError&) {
      errors.push_back(std::current_exception());
    }
  }
  if (errors.empty()) {
    throw OsError(EADDRNOTAVAIL, "bind", options.local_address().ToString());
  }
  if (!options.all_errors()) std::rethrow_exception(errors.front());
  throw ExceptionGroup("OpenConnection: no address could be connected to",
                       std::move(errors));
}

// A bound socket; none if the system does not have the family at all.
std::optional<Socket> BoundSocket(const Address& address,
                                  const ServerOptions& options) {
  Socket socket;
  try {
    socket = Socket(address.Family(), SOCK_STREAM);
  } catch (const OsError& error) {
    if (error.Errno() != EAFNOSUPPORT) throw;
    return std::nullopt;
  }
  if (options.reuse_address()) socket.SetOption(SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port()) socket.SetOption(SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.keep_alive()) socket.SetOption(SOL_SOCKET, SO_KEEPALIVE, 1);
  // Those that are accepted inherit it.
  socket.SetOption(IPPROTO_TCP, TCP_NODELAY, 1);
  if (address.Family() == AF_INET6) {
    socket.SetOption(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  try {
    socket.Bind(address);
  } catch (const OsError& error) {
    // "::" where IPv6 is switched off.
    if (error.Errno() != EADDRNOTAVAIL || address.Family() != AF_INET6) throw;
    return std::nullopt;
  }
  return socket;
}

void CheckOptions(const ServerOptions& options) {
  CheckLimit(options.limit());
  if (options.backlog() < 1) {
    throw std::invalid_argument(absl::StrCat(
        "StartServer: the backlog is at least 1, not ", options.backlog()));
  }
  if (options.accept_retry() <= absl::ZeroDuration()) {
    throw std::invalid_argument(
        "StartServer: the pause of AcceptRetry() is above zero");
  }
}

Server MakeServer(ConnectionHandler handler, std::vector<Socket> sockets,
                  const ServerOptions& options, std::source_location where) {
  ServerRef state = ServerRef::Share(
      new ServerState(std::move(handler), options.limit(), where));
  for (Socket& socket : sockets) {
    state->AddSocket(std::move(socket), options.backlog(),
                     options.accept_retry());
  }
  Server server(state);
  if (options.start_serving()) server.StartServing();
  return server;
}

Co<Server> ServeHosts(ConnectionHandler handler, std::vector<std::string> hosts,
                      int port, ServerOptions options,
                      std::source_location where) {
  CheckOptions(options);
  std::vector<Address> addresses;
  for (std::string& host : hosts) {
    std::vector<Address> of_host;
    if (host.empty()) {
      of_host = internal::EveryInterface(port, options.family());
    } else {
      of_host = co_await internal::ResolveHost(std::move(host), port,
                                               options.family());
    }
    for (const Address& address : of_host) {
      if (std::find(addresses.begin(), addresses.end(), address) ==
          addresses.end()) {
        addresses.push_back(address);
      }
    }
  }
  std::vector<Socket> sockets;
  for (const Address& address : addresses) {
    if (std::optional<Socket> socket = BoundSocket(address, options)) {
      sockets.push_back(std::move(*socket));
    }
  }
  if (sockets.empty()) {
    std::string where_to;
    if (!addresses.empty()) where_to = addresses.front().ToString();
    throw OsError(EADDRNOTAVAIL, "bind", where_to);
  }
  co_return MakeServer(std::move(handler), std::move(sockets), options, where);
}

}  // namespace

Co<StreamPair> OpenConnection(std::string host, int port,
                              ConnectOptions options) {
  return ConnectToHost(std::move(host), port, std::move(options));
}

Co<StreamPair> OpenConnection(Address address, ConnectOptions options) {
  CheckLimit(options.limit());
  if (!address) {
    throw std::invalid_argument("OpenConnection: the address is empty");
  }
  std::unique_ptr<ByteStream> stream =
      co_await Connect(address, options.local_address());
  co_return Pair(std::move(stream), options.limit());
}

Co<Server> StartServer(ConnectionHandler handler, std::string host, int port,
                       ServerOptions options, std::source_location where) {
  return ServeHosts(std::move(handler), std::vector<std::string>(1, host), port,
                    options, where);
}

Co<Server> StartServer(ConnectionHandler handler,
                       std::vector<std::string> hosts, int port,
                       ServerOptions options, std::source_location where) {
  if (hosts.empty()) {
    throw std::invalid_argument("StartServer: there is no host to listen at");
  }
  return ServeHosts(std::move(handler), std::move(hosts), port, options, where);
}

Co<Server> StartServer(ConnectionHandler handler, std::vector<Socket> sockets,
                       ServerOptions options, std::source_location where) {
  CheckOptions(options);
  if (sockets.empty()) {
    throw std::invalid_argument("StartServer: there is no socket to listen at");
  }
  for (const Socket& socket : sockets) {
    if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
      throw std::invalid_argument("StartServer: not a stream socket");
    }
  }
  co_return MakeServer(std::move(handler), std::move(sockets), options, where);
}

StreamPair MakeStreams(std::unique_ptr<ByteStream> stream, size_t limit) {
  if (stream == nullptr) {
    throw std::invalid_argument("MakeStreams: the stream is null");
  }
  CheckLimit(limit);
  return Pair(std::move(stream), limit);
}

}  // namespace coil::net
