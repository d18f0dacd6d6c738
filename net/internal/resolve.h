// coil/net/internal/resolve.h
//
// From a host and a port to addresses, for those who connect and serve: numeric
// hosts at once, names by a Resolver.
//
// Cancellation: as the resolver's.
// Threads: the loop's thread only.

#ifndef COIL_NET_INTERNAL_RESOLVE_H_
#define COIL_NET_INTERNAL_RESOLVE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coil/net/address.h"
#include "coil/net/resolver.h"
#include "coil/task/co.h"

namespace coil::net::internal {

// The addresses of `host`, at least one, only those of `family` unless that is
// AF_UNSPEC. A null resolver is the loop's. Throws std::invalid_argument for
// what cannot be a host or a port, OsError if there is no address.
Co<std::vector<Address>> ResolveHost(std::string host, int port, int family,
                                     std::shared_ptr<Resolver> resolver);

// A host that is an address; nothing for a name. Throws OsError if the address
// is of another family.
std::optional<Address> NumericAddress(const std::string& host, int port,
                                      int family);

// Throws std::invalid_argument for what cannot be the name of a host.
void CheckHost(const std::string& host);

// {0.0.0.0, ::}, as far as `family` allows.
std::vector<Address> EveryInterface(int port, int family);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_RESOLVE_H_
