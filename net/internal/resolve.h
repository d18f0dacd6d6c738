// coil/net/internal/resolve.h
//
// From a host and a port to addresses: numeric hosts at once, names by
// getaddrinfo() on a thread of the loop's default executor.
//
// Cancellation: who waits is let go at once; the thread finishes by itself.
// Threads: the loop's thread only.

#ifndef COIL_NET_INTERNAL_RESOLVE_H_
#define COIL_NET_INTERNAL_RESOLVE_H_

#include <string>
#include <vector>

#include "coil/net/address.h"
#include "coil/task/co.h"

namespace coil::net::internal {

// The addresses of `host`, each once, in the order of getaddrinfo(); only those
// of `family` unless that is AF_UNSPEC. An empty host is every interface, and
// only for servers. Throws std::invalid_argument for what cannot be a host or a
// port, OsError if there is no address.
Co<std::vector<Address>> ResolveHost(std::string host, int port, int family);

// {0.0.0.0, ::}, as far as `family` allows.
std::vector<Address> EveryInterface(int port, int family);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_RESOLVE_H_
