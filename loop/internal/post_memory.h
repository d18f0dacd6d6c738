// coil/loop/internal/post_memory.h
//
// The memory of callbacks that are posted: one thread allocates it, another
// frees it, which is what malloc does worst (each end takes the lock of the
// same arena). Here the freeing thread collects blocks into chains of some
// hundred and leaves each in an exchange, where the posting threads pick them
// up. What is kept is bounded: two chains for each thread and 256 in the
// exchange (33 KB each, 8 MB); what is more goes back to operator delete. Off
// under AddressSanitizer.
//
// Threads: any; the chains at hand are thread-local.
// Lifetime: a thread leaves its chains in the exchange when it ends. In the
//   child of a fork the chains of other threads are lost, and no more.

#ifndef COIL_LOOP_INTERNAL_POST_MEMORY_H_
#define COIL_LOOP_INTERNAL_POST_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "coil/loop/internal/block_exchange.h"
#include "coil/loop/internal/pooling.h"

namespace coil::internal {

class PostMemory {
 public:
  // What every block has room for.
  static constexpr size_t kBlockSize = 64;
  static constexpr int kChain = 512;
  static constexpr int kPlaces = 256;

  constexpr PostMemory() = default;

  void* Allocate() {
    if (free_ == nullptr) [[unlikely]] {
      free_ = PickUp();
      if (free_ == nullptr) return ::operator new(kBlockSize);
    }
    return std::exchange(free_, free_->next);
  }

  void Free(void* p) noexcept {
    Block* const block = static_cast<Block*>(p);
    block->next = returned_;
    returned_ = block;
    if (--room_ == 0) [[unlikely]]
      PutDown();
  }

  // Gives back what this thread keeps, and what lies in the exchange.
  void Trim() noexcept;

 private:
  friend struct PostMemoryRetirer;
  enum class State : uint8_t { kNew, kOpen, kEnded };
  struct Block {
    Block* next;
  };
  // True unless the thread is ending; makes sure that its end is noticed.
  bool Open() noexcept;
  Block* PickUp() noexcept;
  void PutDown() noexcept;
  void Retire() noexcept;
  static void Leave(Block* chain) noexcept;
  static void Delete(Block* chain) noexcept;

  Block* free_ = nullptr;      // to be allocated
  Block* returned_ = nullptr;  // a chain that grows
  int room_ = 1;               // for how many more blocks
  State state_ = State::kNew;

  static constinit BlockExchange<Block, kPlaces> exchange_;
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
