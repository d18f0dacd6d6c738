// coil/task/internal/frame_allocator.h
//
// The one place that allocates coroutine frames and task cores: free lists for
// each thread, in classes of 8 bytes up to 2 KiB, last in first out. A class
// takes its first blocks from operator new one by one; one that needs more cuts
// them from slabs of 64 KiB, where they lie side by side without malloc's
// header: a task that waits in an event takes 88 and 112 bytes.
//
// What is given back: a class that keeps more than 16 MiB is swept, as every
// class is at the end of its thread and by Trim(): blocks that came one by one
// go back to operator delete, and slabs whose blocks have all been freed in the
// same thread go back whole. Blocks that are freed in another order than that
// of their making leave few slabs whole until the last are back: while the
// thread has some in use it keeps the rest, up to 128 MiB, and sweeps again
// when they are four times as many, or nearly all. A thread that frees more
// than it made keeps half of the 16 MiB, and orphans the rest.
//
// A block may be freed on another thread: it joins that thread's list. What is
// left of a thread at its end is orphaned and adopted by the next thread that
// needs blocks of the class. Off under AddressSanitizer, which then sees every
// block.
//
// Threads: safe; the lists are thread-local.
// Lifetime: what is freed after the end of a thread's lists is orphaned, too.

#ifndef COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_
#define COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <new>

#include "coil/loop/internal/pooling.h"

namespace coil::internal {

class FramePool {
 public:
  static constexpr size_t kGranule = 8;
  static constexpr size_t kLargest = 2048;
  static constexpr size_t kClasses = kLargest / kGranule + 1;
  static constexpr size_t ClassOf(size_t size) {
    return (size + kGranule - 1) / kGranule;
  }
  // A class of which so many blocks are in use takes them from slabs.
  static constexpr uint32_t kSingles = 64;
  // With malloc's header 64 KiB.
  static constexpr size_t kSlabBytes = (64 << 10) - 16;
  // Bytes that one class keeps before it is swept.
  static constexpr size_t kBytesPerClass = 16 << 20;
  // The same, in these units, in a thread that has blocks of it in use.
  static constexpr uint32_t kMostOfAPeak = 8;
  // A peak is over when no more blocks of the class are in use.
  static constexpr int64_t kFew = 32;

  constexpr FramePool() = default;

  // Aligned to 16 if `size` is a multiple of 16, else to 8.
  void* Allocate(size_t size) {
    const size_t index = ClassOf(size);
    if (index < kClasses) [[likely]] {
      List& list = lists_[index];
      if (Block* block = list.head) [[likely]] {
        list.head = block->next;
        --list.count;
        return block;
      }
    }
    return AllocateSlow(index);
  }

  void Free(void* p, size_t size) noexcept {
    const size_t index = ClassOf(size);
    if (index < kClasses) [[likely]] {
      List& list = lists_[index];
      if (list.count < list.limit) [[likely]] {
        list.Push(static_cast<Block*>(p));
        return;
      }
    }
    FreeSlow(p, index);
  }

  void Trim() noexcept;    // gives back what can be given back
  void Retire() noexcept;  // Trim, and keep nothing from now on

  // For tests: blocks that are kept, and that are in use. A block that another
  // thread frees counts there. Only the slow paths count, so it costs nothing.
  size_t Kept() const noexcept;
  ptrdiff_t InUse() const noexcept;

 private:
  enum class State : uint8_t { kNew, kOpen, kEnded };
  struct Block {
    Block* next;
  };
  struct List {
    void Push(Block* block) noexcept {
      block->next = head;
      head = block;
      ++count;
    }
    Block* head = nullptr;
    char* fresh = nullptr;    // of the slab that blocks are cut from
    uint32_t fresh_left = 0;  // how many
    uint32_t singles = 0;     // how many came one by one
    uint32_t count = 0;
    // Of `count`, before a sweep; zero until the class is used in this thread,
    // and again after the thread has ended.
    uint32_t limit = 0;
  };
  struct Orphans;
  struct Slabs;

  static constexpr uint32_t Ordinary(size_t index) noexcept;
  bool Open() noexcept;
  void* AllocateSlow(size_t index);
  bool CutSlab(List& list, size_t index) noexcept;
  void FreeSlow(void* p, size_t index) noexcept;
  void Sweep(size_t index) noexcept;

  List lists_[kClasses] = {};
  // Blocks that came to this thread and have not left it; the last are those
  // that are too large for a class.
  int64_t obtained_[kClasses + 1] = {};
  State state_ = State::kNew;
};

inline constinit thread_local FramePool t_frame_pool;

#if COIL_FRAME_POOL
// Coroutine frames and task cores of this thread, for the leak checks of tests.
inline ptrdiff_t LiveFrames() noexcept { return t_frame_pool.InUse(); }
inline void* AllocateBlock(size_t size) { return t_frame_pool.Allocate(size); }
inline void FreeBlock(void* p, size_t size) noexcept {
  t_frame_pool.Free(p, size);
}
#else
inline constinit thread_local ptrdiff_t t_live_frames = 0;
inline ptrdiff_t LiveFrames() noexcept { return t_live_frames; }
inline void* AllocateBlock(size_t size) {
  void* p = ::operator new(size);
  ++t_live_frames;
  return p;
}
inline void FreeBlock(void* p, size_t) noexcept {
  --t_live_frames;
  ::operator delete(p);
}
#endif

// For frames: the size of one says nothing about the alignment of what it
// holds, so that each is aligned to 16.
constexpr size_t RoundUpFrame(size_t size) {
  return (size + 15) & ~static_cast<size_t>(15);
}
inline void* AllocateFrame(size_t size) {
  return AllocateBlock(RoundUpFrame(size));
}
inline void FreeFrame(void* p, size_t size) noexcept {
  FreeBlock(p, RoundUpFrame(size));
}

// Gives a class the pool as its allocator. The size of a class is a multiple of
// its alignment, which is at most 16.
class PoolAllocated {
 public:
  static void* operator new(size_t size) { return AllocateBlock(size); }
  static void operator delete(void* p, size_t size) noexcept {
    FreeBlock(p, size);
  }
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_
