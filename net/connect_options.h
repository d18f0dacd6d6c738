// coil/net/connect_options.h
//
// ConnectOptions is how OpenConnection() connects: which addresses, from which
// one of this side, with TLS or without.
//
// Example:
//   auto options = coil::net::ConnectOptions()
//                      .Family(AF_INET)
//                      .HappyEyeballsDelay(absl::Milliseconds(100));
//
// Ordering: does not apply.
// Cancellation: does not apply.
// Threads: a value.
// Lifetime: owns what it holds.
//
// asyncio: the arguments of create_connection and open_connection (A188-A196).

#ifndef COIL_NET_CONNECT_OPTIONS_H_
#define COIL_NET_CONNECT_OPTIONS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/net/address.h"
#include "coil/net/resolver.h"
#include "coil/net/secure_stream.h"
#include "coil/net/stream_reader.h"

namespace coil::net {

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
  // The same as a name, of whose addresses each connection takes the first of
  // its family that can be bound.
  ConnectOptions& LocalHost(std::string host, int port = 0) {
    local_host_ = std::move(host);
    local_port_ = port;
    return *this;
  }
  // For how long an address may keep the next one from being tried; 250 ms at
  // first. Infinite: until it has failed. asyncio: A192, off at first there.
  ConnectOptions& HappyEyeballsDelay(absl::Duration delay) {
    happy_eyeballs_delay_ = delay;
    return *this;
  }
  // The families take turns, after `count` addresses of the first one; zero
  // leaves the order of the resolver. 1 at first, 0 if HappyEyeballsDelay() is
  // infinite. asyncio: A193.
  ConnectOptions& Interleave(int count) {
    interleave_ = count;
    return *this;
  }
  // Who finds the addresses of a name; DefaultResolver() at first.
  ConnectOptions& Resolver(std::shared_ptr<net::Resolver> resolver) {
    resolver_ = std::move(resolver);
    return *this;
  }
  // Where no address can be connected to: throw an ExceptionGroup of all
  // errors, even if it is one, instead of an OsError whose text has them all
  // and whose errno is that of the first. asyncio: A194.
  ConnectOptions& AllErrors(bool on) {
    all_errors_ = on;
    return *this;
  }

  // TLS, as coil/net/tls/context.h has it. The certificate of the server must
  // be for the host that is connected to, unless `options` names another.
  // asyncio: A188, A195, A196.
  ConnectOptions& Tls(std::shared_ptr<const SecureLayer> layer,
                      SecureOptions options = SecureOptions()) {
    tls_ = std::move(layer);
    tls_options_ = std::move(options);
    return *this;
  }

  const std::shared_ptr<const SecureLayer>& tls() const { return tls_; }
  const SecureOptions& tls_options() const { return tls_options_; }
  size_t limit() const { return limit_; }
  int family() const { return family_; }
  const Address& local_address() const { return local_; }
  const std::string& local_host() const { return local_host_; }
  int local_port() const { return local_port_; }
  absl::Duration happy_eyeballs_delay() const { return happy_eyeballs_delay_; }
  int interleave() const {
    if (interleave_.has_value()) return *interleave_;
    return happy_eyeballs_delay_ == absl::InfiniteDuration() ? 0 : 1;
  }
  const std::shared_ptr<net::Resolver>& resolver() const { return resolver_; }
  bool all_errors() const { return all_errors_; }

 private:
  size_t limit_ = kDefaultLimit;
  int family_ = AF_UNSPEC;
  Address local_;
  std::string local_host_;
  int local_port_ = 0;
  absl::Duration happy_eyeballs_delay_ = absl::Milliseconds(250);
  std::optional<int> interleave_;
  std::shared_ptr<net::Resolver> resolver_;
  bool all_errors_ = false;
  std::shared_ptr<const SecureLayer> tls_;
  SecureOptions tls_options_;
};

}  // namespace coil::net

#endif  // COIL_NET_CONNECT_OPTIONS_H_
