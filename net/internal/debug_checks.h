// coil/net/internal/debug_checks.h
//
// What is looked at in debug mode only: that a descriptor does not block its
// loop (asyncio: A183), and that everything was closed before its loop (A184).
//
// Threads: the loop's thread only.

#ifndef COIL_NET_INTERNAL_DEBUG_CHECKS_H_
#define COIL_NET_INTERNAL_DEBUG_CHECKS_H_

#include "coil/loop/internal/loop_core.h"
#include "coil/net/address.h"

namespace coil::net::internal {

// Throws std::invalid_argument if `fd` is a blocking one. `what` begins the
// message.
void CheckNonBlocking(const coil::internal::LoopCore& loop, int fd,
                      const char* what);

// The loop closes, and `what` is still open. `loss` ends the message.
void ReportUnclosed(const coil::internal::LoopCore& loop, const char* what,
                    const Address& address, const char* loss = "") noexcept;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_DEBUG_CHECKS_H_
