#include "coil/net/internal/resolve.h"

#include <netdb.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/internal/resolver_job.h"

namespace coil::net::internal {

std::vector<Address> EveryInterface(int port, int family) {
  std::vector<Address> addresses;
  if (family != AF_INET6) {
    addresses.push_back(*Address::FromNumeric("0.0.0.0", port));
  }
  if (family != AF_INET) {
    addresses.push_back(*Address::FromNumeric("::", port));
  }
  return addresses;
}

std::optional<Address> NumericAddress(const std::string& host, int port,
                                      int family) {
  std::optional<Address> numeric = Address::FromNumeric(host, port);
  if (numeric.has_value() && family != AF_UNSPEC &&
      family != numeric->Family()) {
    throw OsError(EAFNOSUPPORT, "resolve", host);
  }
  return numeric;
}

void CheckHost(const std::string& host) {
  if (host.empty()) {
    throw std::invalid_argument("net: the name of the host is empty");
  }
  CheckHostText(host);
}

Co<std::vector<Address>> ResolveHost(std::string host, int port, int family,
                                     std::shared_ptr<Resolver> resolver) {
  std::vector<Address> addresses;
  if (std::optional<Address> numeric = NumericAddress(host, port, family)) {
    addresses.push_back(*numeric);
    co_return addresses;
  }
  CheckHost(host);
  if (resolver == nullptr) resolver = DefaultResolver();
  ResolveQuery query(host, port);
  query.Family(family);
  addresses = co_await resolver->Resolve(std::move(query));
  // A resolver of the program's may not look at the family.
  std::erase_if(addresses, [family](const Address& address) {
    return family != AF_UNSPEC && address.Family() != family;
  });
  if (addresses.empty()) throw ResolveError(EAI_ADDRFAMILY, host);
  co_return addresses;
}

}  // namespace coil::net::internal
