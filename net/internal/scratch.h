// coil/net/internal/scratch.h
//
// Where bytes of unknown number are received before they are copied to where
// they stay: one for each loop, so that a socket that waits holds no memory.
//
// Threads: the loop's thread only.
// Lifetime: what LoopLocal<Scratch> gives; not across a suspension.

#ifndef COIL_NET_INTERNAL_SCRATCH_H_
#define COIL_NET_INTERNAL_SCRATCH_H_

#include <cstddef>
#include <memory>

#include "coil/loop/internal/loop_core.h"

namespace coil::net::internal {

// What fits into a datagram of IP, and more.
inline constexpr size_t kScratchSize = size_t{64} << 10;

struct Scratch {
  explicit Scratch(coil::internal::LoopCore&) : bytes(new char[kScratchSize]) {}
  const std::unique_ptr<char[]> bytes;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SCRATCH_H_
