// coil/net/internal/connect.h
//
// Happy Eyeballs (RFC 8305): connects to the first of several addresses that
// answers. They are tried one after the other, the next one when the one before
// has failed or has not answered for a while; who answers first wins, the
// others are closed.
//
//   A ─────────────────────────────────  closed
//   ·  delay  B ──────x failed
//   ·         ·       C ──────────────>  connected, wins
//
// Cancellation: closes all.
// Threads: the loop's thread only.

#ifndef COIL_NET_INTERNAL_CONNECT_H_
#define COIL_NET_INTERNAL_CONNECT_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/task/co.h"

namespace coil::net::internal {

// A connection, or why there is none: an error for each address, in their
// order.
struct ConnectResult {
  ConnectResult() = default;
  std::unique_ptr<ByteStream> stream;
  std::vector<OsError> errors;
};

// Each attempt is bound to the first of `locals` of its family that can be
// bound, if there is any. An infinite delay waits for failures only. REQUIRES:
// `addresses` is not empty, delay >= 0.
Co<ConnectResult> ConnectToFirst(std::vector<Address> addresses,
                                 std::vector<Address> locals,
                                 absl::Duration delay);

// The families take turns, in the order in which they appear; `first_count`
// addresses of the first family come before one of the second. REQUIRES:
// first_count > 0. asyncio: A193.
std::vector<Address> Interleave(const std::vector<Address>& addresses,
                                int first_count);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_CONNECT_H_
