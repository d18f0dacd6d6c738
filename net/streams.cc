#include "coil/net/streams.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/connect.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/resolve.h"
#include "coil/net/internal/server_state.h"
#include "coil/net/internal/socket_file.h"
#include "coil/net/internal/stream_core.h"
#include "coil/task/errors.h"

namespace coil::net {
namespace {

using internal::Network;
using internal::ServerRef;
using internal::ServerState;

StreamPair Pair(std::unique_ptr<ByteStream> stream, size_t limit) {
  const auto core = internal::StreamRef::Share(
      new internal::StreamCore(std::move(stream), limit));
  return StreamPair(StreamReader(core), StreamWriter(core));
}

// The same, secured if the options say so. `host` is what was connected to.
Co<StreamPair> Secured(std::unique_ptr<ByteStream> stream, std::string host,
                       ConnectOptions options) {
  StreamPair pair = Pair(std::move(stream), options.limit());
  if (options.tls() == nullptr) co_return pair;
  SecureOptions secure = options.tls_options();
  if (secure.server_hostname().empty()) {
    secure.ServerHostname(std::move(host));
  }
  co_await pair.writer.StartTls(options.tls(), secure);
  co_return pair;
}

void CheckLimit(size_t limit) {
  if (limit == 0) {
    throw std::invalid_argument("net: the limit of a stream is at least 1");
  }
}

void CheckOptions(const ConnectOptions& options) {
  CheckLimit(options.limit());
  if (options.happy_eyeballs_delay() < absl::ZeroDuration()) {
    throw std::invalid_argument(
        "OpenConnection: the delay of HappyEyeballsDelay() is negative");
  }
  if (options.interleave() < 0) {
    throw std::invalid_argument(
        absl::StrCat("OpenConnection: Interleave() counts addresses, not ",
                     options.interleave()));
  }
  if (options.local_address() && !options.local_host().empty()) {
    throw std::invalid_argument(
        "OpenConnection: LocalAddress() and LocalHost() exclude each other");
  }
  if (options.tls() != nullptr && options.tls()->IsServer()) {
    throw std::invalid_argument(
        "OpenConnection: the TLS context is one for servers");
  }
}

// Throws what came of all attempts. `peer` is "host:port".
[[noreturn]] void ThrowErrors(const std::vector<OsError>& errors,
                              const std::string& peer, bool all) {
  if (all) {
    std::vector<std::exception_ptr> pointers;
    for (const OsError& error : errors) {
      pointers.push_back(std::make_exception_ptr(error));
    }
    throw ExceptionGroup("OpenConnection: no address could be connected to",
                         std::move(pointers));
  }
  const OsError& first = errors.front();
  if (errors.size() == 1) throw OsError(first);
  std::string text;
  for (const OsError& error : errors) {
    std::string_view what = error.what();
    absl::ConsumePrefix(&what, "connect to ");
    absl::StrAppend(&text, text.empty() ? "" : "; ", what);
  }
  throw OsError(first.Errno(), "connect", absl::StrCat(peer, " (", text, ")"));
}

// Only addresses for which there is one of this side. Throws OsError if none is
// left.
void KeepFamiliesOf(const std::vector<Address>& locals,
                    std::vector<Address>& addresses) {
  std::erase_if(addresses, [&locals](const Address& address) {
    return std::none_of(locals.begin(), locals.end(),
                        [&address](const Address& local) {
                          return local.Family() == address.Family();
                        });
  });
  if (addresses.empty()) {
    throw OsError(EADDRNOTAVAIL, "bind", locals.front().ToString());
  }
}

Co<StreamPair> ConnectToHost(std::string host, int port,
                             ConnectOptions options) {
  CheckOptions(options);
  std::vector<Address> addresses = co_await internal::ResolveHost(
      host, port, options.family(), options.resolver());
  std::vector<Address> locals;
  if (options.local_address()) {
    locals.push_back(options.local_address());
  } else if (!options.local_host().empty()) {
    locals = co_await internal::ResolveHost(
        options.local_host(), options.local_port(), options.family(),
        options.resolver());
  }
  if (!locals.empty()) KeepFamiliesOf(locals, addresses);
  if (options.interleave() > 0 && addresses.size() > 1) {
    addresses = internal::Interleave(addresses, options.interleave());
  }
  internal::ConnectResult result = co_await internal::ConnectToFirst(
      std::move(addresses), std::move(locals), options.happy_eyeballs_delay());
  if (result.stream == nullptr) {
    ThrowErrors(result.errors, absl::StrCat(host, ":", port),
                options.all_errors());
  }
  co_return co_await Secured(std::move(result.stream), std::move(host),
                             options);
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
  if (address.Family() == AF_INET6) {
    socket.SetOption(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  try {
    socket.Bind(address);
  } catch (const OsError& error) {
    // Where IPv6 is switched off, "::" and what "localhost" means are such.
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
  if (options.max_handshakes() < 1) {
    throw std::invalid_argument(
        "StartServer: MaxHandshakes() is at least 1, not 0");
  }
  if (options.tls() != nullptr) {
    if (!options.tls()->IsServer()) {
      throw std::invalid_argument(
          "StartServer: the TLS context is one for clients");
    }
    options.tls()->NewStream(options.tls_options());  // throws what is wrong
  }
}

ServerRef NewState(ConnectionHandler handler, const ServerOptions& options,
                   std::source_location where) {
  ServerRef state = ServerRef::Share(
      new ServerState(std::move(handler), options.limit(), options.tls(),
                      options.tls_options(), where));
  state->SetMaxHandshakes(options.max_handshakes());
  return state;
}

Server MakeServer(ServerRef state, const ServerOptions& options) {
  Server server(std::move(state));
  if (options.start_serving()) server.StartServing();
  return server;
}

Server MakeServer(ConnectionHandler handler, std::vector<Socket> sockets,
                  const ServerOptions& options, std::source_location where) {
  ServerRef state = NewState(std::move(handler), options, where);
  for (Socket& socket : sockets) {
    state->AddSocket(std::move(socket), options.backlog(),
                     options.accept_retry());
  }
  return MakeServer(std::move(state), options);
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
      of_host = co_await internal::ResolveHost(
          std::move(host), port, options.family(), options.resolver());
    }
    for (const Address& address : of_host) {
      if (std::find(addresses.begin(), addresses.end(), address) ==
          addresses.end()) {
        addresses.push_back(address);
      }
    }
  }
  Network* network =
      internal::NetworkOf(coil::internal::RequireLoop("StartServer"));
  if (network != nullptr) [[unlikely]] {
    ServerRef state = NewState(std::move(handler), options, where);
    for (const Address& address : addresses) {
      state->AddAddress(*network, address, options.backlog(),
                        options.reuse_port());
    }
    co_return MakeServer(std::move(state), options);
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
  CheckOptions(options);
  if (!address) {
    throw std::invalid_argument("OpenConnection: the address is empty");
  }
  std::vector<Address> addresses(1, address);
  std::vector<Address> locals;
  if (options.local_address()) locals.push_back(options.local_address());
  internal::ConnectResult result = co_await internal::ConnectToFirst(
      std::move(addresses), std::move(locals), options.happy_eyeballs_delay());
  if (result.stream == nullptr) {
    ThrowErrors(result.errors, address.ToString(), options.all_errors());
  }
  std::string host;
  if (address.IsIp()) host = address.Host();
  co_return co_await Secured(std::move(result.stream), std::move(host),
                             options);
}

Co<StreamPair> OpenConnection(Socket socket, ConnectOptions options) {
  CheckOptions(options);
  if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
    throw std::invalid_argument("OpenConnection: not a stream socket");
  }
  co_return co_await Secured(MakeByteStream(std::move(socket)), std::string(),
                             options);
}

Co<StreamPair> OpenUnixConnection(std::string path, ConnectOptions options) {
  const Address address = Address::Unix(path);
  co_return co_await OpenConnection(address, options);
}

Co<Server> StartServer(internal::CheckedHandler handler, std::string host,
                       int port, ServerOptions options,
                       std::source_location where) {
  return ServeHosts(handler.Take(), std::vector<std::string>(1, host), port,
                    options, where);
}

Co<Server> StartServer(internal::CheckedHandler handler,
                       std::vector<std::string> hosts, int port,
                       ServerOptions options, std::source_location where) {
  if (hosts.empty()) {
    throw std::invalid_argument("StartServer: there is no host to listen at");
  }
  return ServeHosts(handler.Take(), std::move(hosts), port, options, where);
}

Co<Server> StartServer(internal::CheckedHandler handler,
                       std::vector<Socket> sockets, ServerOptions options,
                       std::source_location where) {
  CheckOptions(options);
  if (sockets.empty()) {
    throw std::invalid_argument("StartServer: there is no socket to listen at");
  }
  for (const Socket& socket : sockets) {
    if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
      throw std::invalid_argument("StartServer: not a stream socket");
    }
  }
  co_return MakeServer(handler.Take(), std::move(sockets), options, where);
}

Co<Server> StartUnixServer(internal::CheckedHandler handler, std::string path,
                           ServerOptions options, std::source_location where) {
  CheckOptions(options);
  if (options.reuse_port()) {
    throw std::invalid_argument(
        "StartUnixServer: ReusePort() is for IPv4 and IPv6");
  }
  const Address address = Address::Unix(path);
  ServerRef state = NewState(handler.Take(), options, where);
  internal::RemoveStaleSocket(address, SOCK_STREAM);
  Socket socket(AF_UNIX, SOCK_STREAM);
  socket.Bind(address);
  internal::SocketFile file;
  if (options.cleanup_socket()) file = internal::SocketFile(address);
  state->AddSocket(std::move(socket), options.backlog(), options.accept_retry(),
                   std::move(file));
  co_return MakeServer(std::move(state), options);
}

StreamPair MakeStreams(std::unique_ptr<ByteStream> stream, size_t limit) {
  if (stream == nullptr) {
    throw std::invalid_argument("MakeStreams: the stream is null");
  }
  CheckLimit(limit);
  return Pair(std::move(stream), limit);
}

}  // namespace coil::net
