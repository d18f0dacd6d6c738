// coil/net/tls/tls.h
//
// Everything of //net/tls: contexts and errors.
//
// Example:
//   coil::net::TlsContext context = coil::net::TlsContext::Client();
//
// Ordering, Cancellation, Threads, Lifetime: see each header.

#ifndef COIL_NET_TLS_TLS_H_
#define COIL_NET_TLS_TLS_H_

// IWYU pragma: begin_exports
#include "coil/net/tls/context.h"
#include "coil/net/tls/error.h"
// IWYU pragma: end_exports

#endif  // COIL_NET_TLS_TLS_H_
