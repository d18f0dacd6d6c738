#include "coil/task/internal/frame_allocator.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace coil::internal {
namespace {

// Its destructor empties the pool when the thread ends. The pool itself is
// constant-initialised and has no destructor, so that access needs no guard.
struct Retirer {
  ~Retirer() { t_frame_pool.Retire(); }
  void Touch() const {}
};

thread_local Retirer t_retirer;

// At the begin of a slab. Written under the lock of the slabs only.
struct alignas(16) Slab {
  explicit Slab(size_t block_bytes)
      : blocks(static_cast<uint32_t>((FramePool::kSlabBytes - sizeof(Slab)) /
                                     block_bytes)) {}
  bool Holds(const void* block) const noexcept {
    return static_cast<const char*>(block) <
           reinterpret_cast<const char*>(this) + FramePool::kSlabBytes;
  }

  const uint32_t blocks;
  uint32_t seen = 0;  // blocks of it in the list that is being swept
};

}  // namespace

// What threads have left behind. Pushed to and taken whole, so that nothing can
// change under whoever takes it (ABA).
struct FramePool::Orphans {
  static void Leave(Block* block, size_t index) noexcept {
    LeaveChain(block, block, index);
  }
  // The whole list from `first` to `last`.
  static void LeaveChain(Block* first, Block* last, size_t index) noexcept {
    last->next = heads[index].load(std::memory_order_relaxed);
    while (!heads[index].compare_exchange_weak(last->next, first,
                                               std::memory_order_release,
                                               std::memory_order_relaxed)) {
    }
  }
  static Block* Take(size_t index) noexcept {
    if (heads[index].load(std::memory_order_relaxed) == nullptr) return nullptr;
    return heads[index].exchange(nullptr, std::memory_order_acquire);
  }

  // All of the class goes into `list`.
  static void Adopt(FramePool& pool, List& list, size_t index) noexcept {
    for (Block* block = Take(index); block != nullptr;) {
      Block* const next = block->next;
      list.Push(block);
      ++pool.obtained_;
      block = next;
    }
  }
  // What is behind the first `kept` blocks. REQUIRES: there is something.
  static void LeaveRest(FramePool& pool, List& list, uint32_t kept,
                        size_t index) noexcept {
    Block** end = &list.head;
    for (uint32_t i = 0; i < kept; ++i) end = &(*end)->next;
    Block* const first = std::exchange(*end, nullptr);
    Block* last = first;
    while (last->next != nullptr) last = last->next;
    pool.obtained_ -= static_cast<ptrdiff_t>(list.count - kept);
    list.count = kept;
    LeaveChain(first, last, index);
  }

  static constinit std::atomic<Block*> heads[kClasses];
};
constinit std::atomic<FramePool::Block*> FramePool::Orphans::heads[kClasses]{};

// The slabs of all threads, in order of their addresses. Who does not get the
// lock goes on without slabs, or without a sweep: so the child of a fork, whose
// parent held it in another thread, does not hang.
struct FramePool::Slabs {
  class Lock {
   public:
    Lock() noexcept : held_(!busy.test_and_set(std::memory_order_acquire)) {}
    ~Lock() {
      if (held_) busy.clear(std::memory_order_release);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    explicit operator bool() const { return held_; }

   private:
    const bool held_;
  };
  // Finds the slab that a block was cut from; neighbours are often of the same.
  class Finder {
   public:
    // Null if `block` came from operator new.
    Slab* Of(const Block* block) noexcept {
      const void* const at = block;
      if (last_ != nullptr && last_ < at && last_->Holds(at)) return last_;
      if (all == nullptr) return nullptr;
      const auto above = std::upper_bound(all->begin(), all->end(), at);
      if (above == all->begin() || !above[-1]->Holds(at)) return nullptr;
      return last_ = above[-1];
    }

   private:
    Slab* last_ = nullptr;
  };

  static constinit std::atomic_flag busy;
  // Null until there is a slab. Never destroyed: frames may be freed by the
  // destructors of static objects.
  static constinit std::vector<Slab*>* all;
};
constinit std::atomic_flag FramePool::Slabs::busy;
constinit std::vector<Slab*>* FramePool::Slabs::all = nullptr;

// True unless the thread is ending; makes sure that its end is noticed.
bool FramePool::Open() noexcept {
  if (state_ == State::kNew) {
    state_ = State::kOpen;
    t_retirer.Touch();
  }
  return state_ == State::kOpen;
}

void* FramePool::AllocateSlow(size_t index) {
  if (index < kClasses && Open()) {
    List& list = lists_[index];
    if (list.fresh_left == 0) {
      Orphans::Adopt(*this, list, index);
      if (list.head != nullptr) {
        --list.count;
        return std::exchange(list.head, list.head->next);
      }
    }
    if (list.fresh_left > 0 ||
        (list.singles >= kSingles && CutSlab(list, index))) {
      --list.fresh_left;
      ++obtained_;
      return std::exchange(list.fresh, list.fresh + index * kGranule);
    }
  }
  void* const p = ::operator new(index * kGranule);
  ++obtained_;
  if (index < kClasses) ++lists_[index].singles;
  return p;
}

// Begins a slab. False if that fails: operator new is asked for a block, then.
bool FramePool::CutSlab(List& list, size_t index) noexcept {
  const Slabs::Lock lock;
  if (!lock) return false;
  void* const memory = ::operator new(kSlabBytes, std::nothrow);
  if (memory == nullptr) return false;
  Slab* const slab = new (memory) Slab(index * kGranule);
  try {
    if (Slabs::all == nullptr) Slabs::all = new std::vector<Slab*>();
    std::vector<Slab*>& all = *Slabs::all;
    all.insert(std::lower_bound(all.begin(), all.end(), slab), slab);
  } catch (const std::bad_alloc&) {
    ::operator delete(memory);
    return false;
  }
  list.fresh = reinterpret_cast<char*>(slab + 1);
  list.fresh_left = slab->blocks;
  return true;
}

void FramePool::FreeSlow(void* p, size_t index) noexcept {
  if (index >= kClasses) {
    --obtained_;
    ::operator delete(p);
    return;
  }
  Block* const block = static_cast<Block*>(p);
  if (!Open()) {
    --obtained_;
    Orphans::Leave(block, index);
    return;
  }
  List& list = lists_[index];
  list.Push(block);
  if (list.limit != 0) Sweep(list);
  list.limit = static_cast<uint32_t>(kBytesPerClass / (index * kGranule));
  // A slab whose blocks come back to several threads is whole in none of them:
  // half is kept, the rest is for whoever allocates.
  if (list.count > list.limit / 2) {
    Orphans::LeaveRest(*this, list, list.limit / 2, index);
  }
}

// Gives back what can be given back of the list.
void FramePool::Sweep(List& list) noexcept {
  const Slabs::Lock lock;
  if (!lock) return;
  Slabs::Finder slabs;
  for (Block* block = list.head; block != nullptr; block = block->next) {
    if (Slab* slab = slabs.Of(block)) ++slab->seen;
  }
  Block* block = std::exchange(list.head, nullptr);
  const uint32_t before = std::exchange(list.count, 0);
  while (block != nullptr) {
    Block* const next = block->next;
    const Slab* const slab = slabs.Of(block);
    if (slab == nullptr) {
      ::operator delete(block);
      if (list.singles > 0) --list.singles;
    } else if (slab->seen != slab->blocks) {
      list.Push(block);
    }
    block = next;
  }
  obtained_ -= static_cast<ptrdiff_t>(before - list.count);
  if (Slabs::all == nullptr) return;
  std::erase_if(*Slabs::all, [](Slab* slab) {
    if (std::exchange(slab->seen, 0) != slab->blocks) return false;
    ::operator delete(slab);
    return true;
  });
}

void FramePool::Trim() noexcept {
  for (size_t index = 1; index < kClasses; ++index) {
    List& list = lists_[index];
    Orphans::Adopt(*this, list, index);
    if (list.count > 0) Sweep(list);
  }
}

void FramePool::Retire() noexcept {
  state_ = State::kEnded;
  for (size_t index = 1; index < kClasses; ++index) {
    List& list = lists_[index];
    for (; list.fresh_left > 0; --list.fresh_left) {
      list.Push(reinterpret_cast<Block*>(list.fresh));
      list.fresh += index * kGranule;
      ++obtained_;
    }
    if (list.count > 0) Sweep(list);
    list.limit = 0;
    for (; list.count > 0; --list.count) {
      --obtained_;
      Orphans::Leave(std::exchange(list.head, list.head->next), index);
    }
  }
}

size_t FramePool::Kept() const noexcept {
  size_t kept = 0;
  for (const List& list : lists_) kept += list.count;
  return kept;
}

}  // namespace coil::internal
