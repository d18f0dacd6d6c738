// coil/net/server_options.h
//
// ServerOptions is how StartServer() listens and what its connections are like.
//
// Example:
//   auto options = coil::net::ServerOptions().Backlog(1000).ReusePort(true);
//
// Ordering: does not apply.
// Cancellation: does not apply.
// Threads: a value.
// Lifetime: owns what it holds.
//
// asyncio: the arguments of create_server and start_server (A199-A206, A210).

#ifndef COIL_NET_SERVER_OPTIONS_H_
#define COIL_NET_SERVER_OPTIONS_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "coil/net/address.h"
#include "coil/net/resolver.h"
#include "coil/net/secure_stream.h"
#include "coil/net/stream_reader.h"

namespace coil::net {

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
  // Who finds the addresses of a name; DefaultResolver() at first.
  ServerOptions& Resolver(std::shared_ptr<net::Resolver> resolver) {
    resolver_ = std::move(resolver);
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
  // False: the file of a Unix socket stays when the server closes. asyncio:
  // A210.
  ServerOptions& CleanupSocket(bool on) {
    cleanup_socket_ = on;
    return *this;
  }
  // For how long accepting pauses when descriptors have run out; one second at
  // first. asyncio: A207, A326.
  ServerOptions& AcceptRetry(absl::Duration pause) {
    accept_retry_ = pause;
    return *this;
  }

  // TLS, as coil/net/tls/context.h has it. The handler is called after the
  // handshake; a handshake that fails closes its connection and nothing else,
  // and is reported in debug mode. asyncio: A204.
  ServerOptions& Tls(std::shared_ptr<const SecureLayer> layer,
                     SecureOptions options = SecureOptions()) {
    tls_ = std::move(layer);
    tls_options_ = std::move(options);
    return *this;
  }

  // How many TLS handshakes may be under way at once, 1,000 at first; at least
  // one. When one more comes, the oldest of them is given up: an honest one
  // takes milliseconds, and those who only connect and say nothing would hold
  // memory until their deadline.
  ServerOptions& MaxHandshakes(size_t handshakes) {
    max_handshakes_ = handshakes;
    return *this;
  }

  const std::shared_ptr<const SecureLayer>& tls() const { return tls_; }
  const SecureOptions& tls_options() const { return tls_options_; }
  size_t max_handshakes() const { return max_handshakes_; }
  size_t limit() const { return limit_; }
  int backlog() const { return backlog_; }
  int family() const { return family_; }
  const std::shared_ptr<net::Resolver>& resolver() const { return resolver_; }
  bool reuse_address() const { return reuse_address_; }
  bool reuse_port() const { return reuse_port_; }
  bool keep_alive() const { return keep_alive_; }
  bool start_serving() const { return start_serving_; }
  bool cleanup_socket() const { return cleanup_socket_; }
  absl::Duration accept_retry() const { return accept_retry_; }

 private:
  size_t limit_ = kDefaultLimit;
  int backlog_ = 100;
  int family_ = AF_UNSPEC;
  std::shared_ptr<net::Resolver> resolver_;
  bool reuse_address_ = true;
  bool reuse_port_ = false;
  bool keep_alive_ = false;
  bool start_serving_ = true;
  bool cleanup_socket_ = true;
  absl::Duration accept_retry_ = absl::Seconds(1);
  std::shared_ptr<const SecureLayer> tls_;
  SecureOptions tls_options_;
  size_t max_handshakes_ = 1000;
};

}  // namespace coil::net

#endif  // COIL_NET_SERVER_OPTIONS_H_
