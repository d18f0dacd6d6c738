// coil/net/internal/block_pool.h
//
// The memory that received bytes lie in. A connection holds a block only while
// it has bytes that nobody has taken, so ten thousand idle connections hold
// none, and a busy one gets the block that is still in the cache.
//
// Sizes are 4, 16, 64 and 256 KiB, of which each thread keeps some; anything
// larger goes to the allocator. Nothing is kept under AddressSanitizer, which
// then finds uses of bytes that were given back.
//
// Threads: any; each has its own.
// Lifetime: what is kept is freed when the thread ends.

#ifndef COIL_NET_INTERNAL_BLOCK_POOL_H_
#define COIL_NET_INTERNAL_BLOCK_POOL_H_

#include <cstddef>

namespace coil::net::internal {

inline constexpr size_t kSmallestBlock = size_t{4} << 10;
inline constexpr size_t kLargestPooledBlock = size_t{256} << 10;

// At least `size` bytes; `*capacity` says how many. Null if there is no memory.
char* AllocateBlock(size_t size, size_t* capacity) noexcept;
void FreeBlock(char* block, size_t capacity) noexcept;

// For tests: how many bytes this thread keeps.
size_t KeptBlockBytes() noexcept;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_BLOCK_POOL_H_
