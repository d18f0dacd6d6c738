// coil/net/resolver.h
//
// Resolver turns the name of a host into addresses: an interface, so that a
// program may bring its own. SystemResolver, the default, asks the C library on
// threads of its own, and remembers. A resolver is given to a single call by
// ConnectOptions().Resolver() and ServerOptions().Resolver(), to a whole loop
// by SetDefaultResolver(). Numeric hosts need none and reach none.
//
// Example:
//   // "database" without a name server, and everything else as usual.
//   void KnowTheDatabase() {
//     coil::net::Address address =
//         *coil::net::Address::FromNumeric("192.0.2.7", 0);
//     coil::net::SetDefaultResolver(
//         std::make_shared<coil::net::SystemResolver>(
//             coil::net::ResolverOptions().Override("database", {address})));
//   }
//   coil::Co<std::vector<coil::net::Address>> Find() {
//     co_return co_await coil::net::DefaultResolver()->Resolve(
//         coil::net::ResolveQuery("database", 5432));
//   }
//
// Ordering: addresses are in the order of their preference (RFC 6724, as the C
//   library has it). Questions for one name that overlap are one question.
// Cancellation: who waits is let go at once. Others who wait for the same name
//   are not disturbed; and if nobody is left, an answer that is under way still
//   goes into the cache.
// Threads: the loop's thread only, and one loop for one SystemResolver.
// Lifetime: shared; who resolves keeps it. The default one dies with its loop.
//
// asyncio: none; its getaddrinfo (A216) is in coil/net/addr_info.h. Unlike
// there, an answer is used again for a while: see ResolverOptions.

#ifndef COIL_NET_RESOLVER_H_
#define COIL_NET_RESOLVER_H_

#include <sys/socket.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/net/addr_info.h"
#include "coil/net/address.h"
#include "coil/task/co.h"

namespace coil::net {

// What a resolver is asked.
class ResolveQuery {
 public:
  // `port` is what the addresses are to have.
  explicit ResolveQuery(std::string host, int port = 0)
      : host_(std::move(host)), port_(port) {}

  // Instead of a port: "https", which then says the port.
  ResolveQuery& Service(std::string name) {
    service_ = std::move(name);
    return *this;
  }
  // AF_INET or AF_INET6: only such addresses.
  ResolveQuery& Family(int family) {
    family_ = family;
    return *this;
  }
  // SOCK_STREAM at first; of interest with a service only.
  ResolveQuery& Type(int type) {
    type_ = type;
    return *this;
  }
  // AI_NUMERICHOST, ...; without any, addresses of a family that this machine
  // cannot use are left out.
  ResolveQuery& Flags(int flags) {
    flags_ = flags;
    return *this;
  }

  const std::string& host() const { return host_; }
  int port() const { return port_; }
  const std::string& service() const { return service_; }
  int family() const { return family_; }
  int type() const { return type_; }
  int flags() const { return flags_; }

 private:
  std::string host_;
  int port_;
  std::string service_;
  int family_ = AF_UNSPEC;
  int type_ = SOCK_STREAM;
  int flags_ = 0;
};

class Resolver {
 public:
  virtual ~Resolver() = default;

  // At least one address, each once, best first. Throws ResolveError if there
  // is none, OsError, or std::invalid_argument for what cannot be a host or a
  // port. Called as a plain function: what it returns may outlive the call, but
  // not this object.
  [[nodiscard("co_await it")]] virtual Co<std::vector<Address>> Resolve(
      ResolveQuery query) = 0;
};

class ResolverOptions {
 public:
  ResolverOptions() = default;

  // For how long an answer is used again, since the C library does not say; 30
  // seconds at first. Zero: not at all.
  ResolverOptions& Ttl(absl::Duration ttl) {
    ttl_ = ttl;
    return *this;
  }
  // The same for the answer that there is no such name; one second at first. An
  // answer that nobody could give is never used again.
  ResolverOptions& NegativeTtl(absl::Duration ttl) {
    negative_ttl_ = ttl;
    return *this;
  }
  // How many answers are kept; 256 at first. Then those go that were not used
  // for the longest time. Zero: none.
  ResolverOptions& CacheSize(size_t answers) {
    cache_size_ = answers;
    return *this;
  }
  // For how long a caller waits for an answer; without end at first, so that
  // the system's own limits count (resolv.conf(5)). Then OsError(ETIMEDOUT);
  // the question goes on for the cache.
  ResolverOptions& Timeout(absl::Duration timeout) {
    timeout_ = timeout;
    return *this;
  }
  // As a line of /etc/hosts: these are the addresses of `host`, in any case of
  // letters, and nobody is asked. Ports do not matter. Throws
  // std::invalid_argument for no addresses and for such that are not IP.
  ResolverOptions& Override(std::string_view host,
                            std::vector<Address> addresses);

  absl::Duration ttl() const { return ttl_; }
  absl::Duration negative_ttl() const { return negative_ttl_; }
  size_t cache_size() const { return cache_size_; }
  absl::Duration timeout() const { return timeout_; }
  const std::map<std::string, std::vector<Address>>& overrides() const {
    return overrides_;
  }

 private:
  absl::Duration ttl_ = absl::Seconds(30);
  absl::Duration negative_ttl_ = absl::Seconds(1);
  size_t cache_size_ = 256;
  absl::Duration timeout_ = absl::InfiniteDuration();
  std::map<std::string, std::vector<Address>> overrides_;
};

// getaddrinfo() on threads of its own, behind a cache. Times are those of the
// loop's clock, so that a test under a virtual clock sees answers grow old.
class SystemResolver final : public Resolver {
 public:
  // Throws std::invalid_argument for a negative time.
  explicit SystemResolver(ResolverOptions options = ResolverOptions());
  ~SystemResolver() override;
  SystemResolver(const SystemResolver&) = delete;
  SystemResolver& operator=(const SystemResolver&) = delete;

  // Throws also std::runtime_error without a running loop, and if another loop
  // that is still there has used this object.
  [[nodiscard("co_await it")]] Co<std::vector<Address>> Resolve(
      ResolveQuery query) override;

  // Forgets all answers.
  void ClearCache() noexcept;
  // How many answers are kept, those included that have grown old.
  size_t CachedAnswers() const noexcept;

 private:
  class State;
  std::shared_ptr<State> state_;
};

// The resolver of the running loop, for those who bring none; a SystemResolver
// at first, or the names of its simulated network. Throws std::runtime_error
// without a running loop.
std::shared_ptr<Resolver> DefaultResolver();
// From now on, on the running loop; null restores a SystemResolver. Throws
// std::runtime_error without a running loop.
void SetDefaultResolver(std::shared_ptr<Resolver> resolver);

}  // namespace coil::net

#endif  // COIL_NET_RESOLVER_H_
