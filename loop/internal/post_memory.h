// coil/loop/internal/post_memory.h
//
// The memory of callbacks that are posted: one thread allocates it, another
// frees it, which is what malloc does worst (each end takes the lock of the
// same arena). Here a posting thread cuts blocks from a slab of 16 KiB, one
// after the other: no block is read before it is written, and those to come can
// be fetched ahead, so that the thread does not wait for lines that lie in the
// other core's cache. The freeing threads count; who counts the last block of a
// slab leaves it in an exchange, where posting threads pick it up. What is kept
// is bounded: three slabs for each thread and 512 in the exchange (8 MB); what
// is more goes back to operator delete. Off under AddressSanitizer.
//
// Threads: any; the slabs at hand are thread-local.
// Lifetime: a slab lives until each of its blocks was freed, so one that is
//   held for long holds 16 KiB. A thread gives up its slabs when it ends. In
//   the child of a fork those of other threads are lost, and no more.

#ifndef COIL_LOOP_INTERNAL_POST_MEMORY_H_
#define COIL_LOOP_INTERNAL_POST_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "coil/loop/internal/block_exchange.h"
#include "coil/loop/internal/pooling.h"
#include "coil/loop/internal/prefetch.h"

namespace coil::internal {

class PostMemory {
 public:
  // What every block has room for, and is aligned to: a cache line.
  static constexpr size_t kBlockSize = 64;
  // Slabs begin at multiples of this: so a block knows its slab.
  static constexpr size_t kSlabAlignment = 16 << 10;
  // With malloc's header as much, so that they can lie side by side.
  static constexpr size_t kSlabBytes = kSlabAlignment - 16;
  static constexpr uint32_t kBlocks = kSlabBytes / kBlockSize - 1;
  static constexpr int kPlaces = 512;

  constexpr PostMemory() = default;

  void* Allocate() {
    if (fresh_left_ == 0) [[unlikely]]
      return AllocateSlow();
    --fresh_left_;
    PrefetchToWrite(fresh_ + kAhead * kBlockSize);
    return std::exchange(fresh_, fresh_ + kBlockSize);
  }

  void Free(void* p) noexcept {
    Slab* const slab = SlabOf(p);
    if (slab != counted_) [[unlikely]]
      Count(slab);
    if (++freed_ == room_) [[unlikely]]
      Flush();
  }

  // Gives back what this thread keeps, and what lies in the exchange.
  void Trim() noexcept;

 private:
  friend struct PostMemoryRetirer;
  enum class State : uint8_t { kNew, kOpen, kEnded };
  // In the place of a slab's first block.
  struct alignas(kBlockSize) Slab {
    std::atomic<uint32_t> left{kBlocks};  // that are not known to be free
  };
  // How many blocks ahead a block is fetched.
  static constexpr size_t kAhead = 8;

  static Slab* SlabOf(void* p) noexcept {
    return reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(p) &
                                   ~(uintptr_t{kSlabAlignment} - 1));
  }
  // True unless the thread is ending; makes sure that its end is noticed.
  bool Open() noexcept;
  void* AllocateSlow();
  // Counts on another slab from now on.
  void Count(Slab* slab) noexcept;
  // Takes what was counted off the slab, or off both.
  void Flush() noexcept;
  void FlushBoth() noexcept;
  void GiveUpFresh() noexcept;
  void Retire() noexcept;
  static void TakeOff(Slab* slab, uint32_t blocks) noexcept;
  static void Delete(Slab* slab) noexcept;

  char* fresh_ = nullptr;  // of the slab that is being cut: the next block
  uint32_t fresh_left_ = 0;
  uint32_t freed_ = 0;  // of `counted_`, not taken off it yet
  uint32_t room_ = 0;   // how many may be counted
  // Of the slab counted on before: two posting threads often take turns.
  uint32_t other_freed_ = 0;
  State state_ = State::kNew;
  Slab* counted_ = nullptr;
  Slab* other_ = nullptr;

  static constinit BlockExchange<Slab, kPlaces> exchange_;
};

inline constinit thread_local PostMemory t_post_memory;

// Gives a class this memory.
template <class Derived>
class PostAllocated {
 public:
  static void* operator new(size_t size) {
    static_assert(sizeof(Derived) <= PostMemory::kBlockSize);
#if COIL_FRAME_POOL
    static_cast<void>(size);
    return t_post_memory.Allocate();
#else
    return ::operator new(size);
#endif
  }
  static void operator delete(void* p) noexcept {
#if COIL_FRAME_POOL
    t_post_memory.Free(p);
#else
    ::operator delete(p);
#endif
  }
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_POST_MEMORY_H_
