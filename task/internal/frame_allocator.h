// coil/task/internal/frame_allocator.h
//
// The one place that allocates coroutine frames and task cores: free lists for
// each thread, in classes of 16 bytes up to 2 KiB, bounded, last in first out.
// Everything comes from operator new, so a block may be freed on another
// thread: it joins that thread's list. Off under AddressSanitizer, which then
// sees every block.
//
// Threads: safe; the lists are thread-local.
// Lifetime: the lists are emptied when their thread ends; what is freed later
// goes
//   to operator delete.

#ifndef COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_
#define COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_

#include <cstddef>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define COIL_FRAME_POOL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define COIL_FRAME_POOL 0
#endif
#endif
#ifndef COIL_FRAME_POOL
#define COIL_FRAME_POOL 1
#endif

namespace coil::internal {

class FramePool {
 public:
  static constexpr size_t kGranule = 16;
  static constexpr size_t kLargest = 2048;
  static constexpr size_t kClasses = kLargest / kGranule + 1;
  // Bytes that one class keeps at most.
  static constexpr size_t kBytesPerClass = 16 << 20;

  constexpr FramePool() = default;

  void* Allocate(size_t size) {
    const size_t index = (size + kGranule - 1) / kGranule;
    if (index < kClasses) [[likely]] {
      List& list = lists_[index];
      if (Block* block = list.head) [[likely]] {
        list.head = block->next;
        --list.count;
        return block;
      }
      return AllocateSlow(index * kGranule);
    }
    return AllocateLarge(size);
  }

  void Free(void* p, size_t size) noexcept {
    const size_t index = (size + kGranule - 1) / kGranule;
    if (index < kClasses) [[likely]] {
      List& list = lists_[index];
      if (list.count * index < limit_) [[likely]] {
        Block* block = static_cast<Block*>(p);
        block->next = list.head;
        list.head = block;
        ++list.count;
        return;
      }
    }
    FreeSlow(p);
  }

  void Trim() noexcept;    // gives everything that is kept back
  void Retire() noexcept;  // Trim, and keep nothing from now on

  // For tests: blocks that are kept, and that are in use. A block that another
  // thread frees counts there. Only the slow paths count, so it costs nothing.
  size_t Kept() const noexcept;
  ptrdiff_t InUse() const noexcept {
    return obtained_ - static_cast<ptrdiff_t>(Kept());
  }

 private:
  struct Block {
    Block* next;
  };
  struct List {
    Block* head = nullptr;
    size_t count = 0;
  };
  void* AllocateSlow(size_t size);
  void* AllocateLarge(size_t size);
  void FreeSlow(void* p) noexcept;

  List lists_[kClasses] = {};
  // In granules; zero until the destructor of this thread's pool is registered,
  // and again after the thread has ended.
  size_t limit_ = 0;
  // Blocks from operator new that were not given back to it.
  ptrdiff_t obtained_ = 0;
  bool registered_ = false;
};

inline constinit thread_local FramePool t_frame_pool;

#if COIL_FRAME_POOL
// Coroutine frames and task cores of this thread, for the leak checks of tests.
inline ptrdiff_t LiveFrames() noexcept { return t_frame_pool.InUse(); }
inline void* AllocateFrame(size_t size) { return t_frame_pool.Allocate(size); }
inline void FreeFrame(void* p, size_t size) noexcept {
  t_frame_pool.Free(p, size);
}
#else
inline constinit thread_local ptrdiff_t t_live_frames = 0;
inline ptrdiff_t LiveFrames() noexcept { return t_live_frames; }
inline void* AllocateFrame(size_t size) {
  void* p = ::operator new(size);
  ++t_live_frames;
  return p;
}
inline void FreeFrame(void* p, size_t) noexcept {
  --t_live_frames;
  ::operator delete(p);
}
#endif

// Gives a class the pool as its allocator.
class PoolAllocated {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* p, size_t size) noexcept {
    FreeFrame(p, size);
  }
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FRAME_ALLOCATOR_H_
