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
  const auto ordinary =
      static_cast<uint32_t>(kBytesPerClass / (index * kGranule));
  list.limit = ordinary;
  if (list.count < obtained_[index]) {
    // Blocks of this thread are in use: what is kept are those of a peak that
    // is not over, and they are worth another look when that is.
    const auto most = std::min<int64_t>(obtained_[index] - 1, UINT32_MAX);
    list.limit = std::max(ordinary, static_cast<uint32_t>(std::min<int64_t>(
                                        most, int64_t{4} * list.count)));
  } else if (list.count > ordinary / 2) {
    // More were freed here than made. A slab whose blocks come back to several
    // threads is whole in none of them: half is kept, the rest is for whoever
    // allocates.
    Orphans::LeaveRest(*this, list, ordinary / 2, index);
  }
}

// Gives back what can be given back of the class.
void FramePool::Sweep(size_t index) noexcept {
  const Slabs::Lock lock;
  if (!lock) return;
  List& list = lists_[index];
  const uint32_t before = list.count;
  Slabs::Finder slabs;
  // The slab that blocks are cut from is whole with those that are not cut yet.
  Slab* cut = nullptr;
  if (list.fresh_left > 0) {
    cut = slabs.Of(reinterpret_cast<Block*>(list.fresh));
    cut->seen = list.fresh_left;
  }
  uint32_t whole = 0;  // blocks of the list whose slab is all here
  for (Block** link = &list.head; *link != nullptr;) {
    Block* const block = *link;
    if (Slab* slab = slabs.Of(block)) {
      if (++slab->seen == slab->blocks) {
        whole += slab->blocks - (slab == cut ? list.fresh_left : 0);
      }
      link = &block->next;
      continue;
    }
    *link = block->next;
    ::operator delete(block);
    --list.count;
    if (list.singles > 0) --list.singles;
  }
  if (cut != nullptr && cut->seen == cut->blocks) list.fresh_left = 0;
  // A second look at each block would cost as much as the first.
  if (whole == list.count) {
    list.head = nullptr;
  } else if (whole > 0) {
    for (Block** link = &list.head; *link != nullptr;) {
      const Slab* const slab = slabs.Of(*link);
      if (slab->seen == slab->blocks) {
        *link = (*link)->next;
      } else {
        link = &(*link)->next;
      }
    }
  }
  list.count -= whole;
  obtained_[index] -= before - list.count;
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
    if (list.count > 0) Sweep(index);
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
