#include "coil/task/internal/frame_allocator.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
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
      ++pool.obtained_[index];
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
    pool.obtained_[index] -= list.count - kept;
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
  // At the begin of a slab. Written under the lock only.
  struct alignas(16) Slab {
    explicit Slab(size_t block_bytes)
        : blocks(static_cast<uint32_t>((kSlabBytes - sizeof(Slab)) /
                                       block_bytes)) {}
    bool Holds(const void* block) const noexcept {
      return static_cast<const char*>(block) <
             reinterpret_cast<const char*>(this) + kSlabBytes;
    }

    const uint32_t blocks;
    // While a list is swept: how many blocks of the slab are in it, these
    // blocks, and the next slab of which there are some.
    uint32_t seen = 0;
    Block* first = nullptr;
    Block* last = nullptr;
    Slab* next_seen = nullptr;
  };
  class Lock {
   public:
    explicit Lock(int tries = 1) noexcept {
      for (; tries > 0 && !held_; --tries) {
        held_ = !busy.test_and_set(std::memory_order_acquire);
        if (!held_ && tries > 1) std::this_thread::yield();
      }
    }
    ~Lock() {
      if (held_) busy.clear(std::memory_order_release);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    explicit operator bool() const { return held_; }

   private:
    bool held_ = false;
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
constinit std::vector<FramePool::Slabs::Slab*>* FramePool::Slabs::all = nullptr;

// How many blocks a thread keeps that has none in use.
constexpr uint32_t FramePool::Ordinary(size_t index) noexcept {
  return static_cast<uint32_t>(kBytesPerClass / (index * kGranule));
}

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
      ++obtained_[index];
      return std::exchange(list.fresh, list.fresh + index * kGranule);
    }
  }
  void* const p = ::operator new(index * kGranule);
  ++obtained_[std::min(index, kClasses)];
  if (index < kClasses) ++lists_[index].singles;
  return p;
}

// Begins a slab. False if that fails: operator new is asked for a block, then.
bool FramePool::CutSlab(List& list, size_t index) noexcept {
  const Slabs::Lock lock;
  if (!lock) return false;
  void* const memory = ::operator new(kSlabBytes, std::nothrow);
  if (memory == nullptr) return false;
  auto* const slab = new (memory) Slabs::Slab(index * kGranule);
  try {
    if (Slabs::all == nullptr) Slabs::all = new std::vector<Slabs::Slab*>();
    std::vector<Slabs::Slab*>& all = *Slabs::all;
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
    --obtained_[kClasses];
    ::operator delete(p);
    return;
  }
  Block* const block = static_cast<Block*>(p);
  if (!Open()) {
    --obtained_[index];
    Orphans::Leave(block, index);
    return;
  }
  List& list = lists_[index];
  list.Push(block);
  if (list.limit != 0) Sweep(index);
  const uint32_t ordinary = Ordinary(index);
  list.limit = ordinary;
  // More were freed here than made. A slab whose blocks come back to several
  // threads is whole in none of them: half is kept, the rest is for whoever
  // allocates.
  uint32_t kept = ordinary / 2;
  // As far as this thread knows: others may have freed them.
  const int64_t in_use = obtained_[index] - list.count;
  if (in_use > kFew) {
    // What is kept are the blocks of a peak that is not over, and worth another
    // look when it is.
    const uint32_t most = kMostOfAPeak * ordinary;
    list.limit = static_cast<uint32_t>(std::clamp<int64_t>(
        std::min(int64_t{4} * list.count, obtained_[index] - 1 - kFew),
        ordinary, most));
    kept = list.count <= most ? most : most / 2;
  }
  if (list.count > kept) Orphans::LeaveRest(*this, list, kept, index);
}

// Gives back what can be given back of the class. Each block is looked at once,
// and what stays lies in the order of the slabs afterwards.
void FramePool::Sweep(size_t index) noexcept {
  // Much is at stake where a peak has ended, and a child of a fork must not
  // wait for ever.
  const Slabs::Lock lock(/*tries=*/64);
  if (!lock) return;
  List& list = lists_[index];
  const uint32_t before = list.count;
  Slabs::Finder slabs;
  Slabs::Slab* seen = nullptr;
  for (Block* block = std::exchange(list.head, nullptr); block != nullptr;) {
    Block* const next = block->next;
    if (Slabs::Slab* slab = slabs.Of(block)) {
      if (slab->seen++ == 0) {
        slab->next_seen = std::exchange(seen, slab);
        slab->first = nullptr;
        slab->last = block;
      }
      block->next = std::exchange(slab->first, block);
    } else {
      ::operator delete(block);
      --list.count;
      if (list.singles > 0) --list.singles;
    }
    block = next;
  }
  // The slab that blocks are cut from is whole with those that are not cut yet.
  const Slabs::Slab* const cut =
      list.fresh_left == 0
          ? nullptr
          : slabs.Of(reinterpret_cast<const Block*>(list.fresh));
  bool some_are_whole = false;
  for (Slabs::Slab* slab = seen; slab != nullptr; slab = slab->next_seen) {
    const uint32_t fresh = slab == cut ? list.fresh_left : 0;
    if (slab->seen + fresh == slab->blocks) {
      list.count -= slab->seen;
      if (slab == cut) list.fresh_left = 0;
      some_are_whole = true;
      continue;
    }
    slab->last->next = std::exchange(list.head, slab->first);
    slab->seen = 0;
  }
  obtained_[index] -= before - list.count;
  if (!some_are_whole) return;
  std::erase_if(*Slabs::all, [](Slabs::Slab* slab) {
    if (slab->seen == 0) return false;
    ::operator delete(slab);
    return true;
  });
}

void FramePool::Trim() noexcept {
  for (size_t index = 1; index < kClasses; ++index) {
    List& list = lists_[index];
    Orphans::Adopt(*this, list, index);
    if (list.count > 0) Sweep(index);
    list.limit = std::min(list.limit, Ordinary(index));
  }
}

void FramePool::Retire() noexcept {
  state_ = State::kEnded;
  for (size_t index = 1; index < kClasses; ++index) {
    List& list = lists_[index];
    for (; list.fresh_left > 0; --list.fresh_left) {
      list.Push(reinterpret_cast<Block*>(list.fresh));
      list.fresh += index * kGranule;
      ++obtained_[index];
    }
    if (list.count > 0) Sweep(index);
    list.limit = 0;
    for (; list.count > 0; --list.count) {
      --obtained_[index];
      Orphans::Leave(std::exchange(list.head, list.head->next), index);
    }
  }
}

size_t FramePool::Kept() const noexcept {
  size_t kept = 0;
  for (const List& list : lists_) kept += list.count;
  return kept;
}

ptrdiff_t FramePool::InUse() const noexcept {
  int64_t obtained = 0;
  for (const int64_t blocks : obtained_) obtained += blocks;
  return static_cast<ptrdiff_t>(obtained) - static_cast<ptrdiff_t>(Kept());
}

}  // namespace coil::internal
