#include "coil/loop/internal/post_memory.h"

#include <cstdint>
#include <new>
#include <utility>

namespace coil::internal {

// Its destructor gives the slabs up when the thread ends. They themselves are
// constant-initialised and have no destructor, so that access needs no guard.
struct PostMemoryRetirer {
  ~PostMemoryRetirer() { t_post_memory.Retire(); }
  void Touch() const {}
};

namespace {

thread_local PostMemoryRetirer t_retirer;

}  // namespace

constinit BlockExchange<PostMemory::Slab, PostMemory::kPlaces>
    PostMemory::exchange_;

void* PostMemory::AllocateSlow() {
  const bool open = Open();
  Slab* slab = exchange_.Pick();
  if (slab == nullptr) {
    slab =
        new (::operator new(kSlabBytes, std::align_val_t{kSlabAlignment})) Slab;
  } else {
    // Nobody else knows it.
    slab->left.store(kBlocks, std::memory_order_relaxed);
  }
  fresh_ = reinterpret_cast<char*>(slab + 1);
  fresh_left_ = kBlocks - 1;
  void* const block = std::exchange(fresh_, fresh_ + kBlockSize);
  if (!open) GiveUpFresh();
  return block;
}

void PostMemory::Count(Slab* slab) noexcept {
  std::swap(counted_, other_);
  std::swap(freed_, other_freed_);
  if (counted_ != slab) {
    if (freed_ != 0) Flush();
    counted_ = slab;
  }
  // After the end of a thread nobody would take it off.
  room_ = Open() ? kBlocks : 1;
}

void PostMemory::Flush() noexcept {
  // With nothing to count the slab may be anybody's.
  TakeOff(std::exchange(counted_, nullptr), std::exchange(freed_, 0));
}

void PostMemory::FlushBoth() noexcept {
  if (freed_ != 0) Flush();
  if (other_freed_ == 0) return;
  TakeOff(std::exchange(other_, nullptr), std::exchange(other_freed_, 0));
}

void PostMemory::TakeOff(Slab* slab, uint32_t blocks) noexcept {
  // Acquire and release: who picks the slab up sees what those wrote who freed
  // its blocks. One who has freed all needs no locked instruction.
  if (blocks != kBlocks &&
      slab->left.fetch_sub(blocks, std::memory_order_acq_rel) != blocks) {
    return;
  }
  if (!exchange_.Put(slab)) Delete(slab);
}

void PostMemory::GiveUpFresh() noexcept {
  if (fresh_left_ == 0) return;
  TakeOff(SlabOf(fresh_), std::exchange(fresh_left_, 0));
}

bool PostMemory::Open() noexcept {
  if (state_ == State::kNew) [[unlikely]] {
    state_ = State::kOpen;
    t_retirer.Touch();
  }
  return state_ == State::kOpen;
}

void PostMemory::Trim() noexcept {
  FlushBoth();
  GiveUpFresh();
  while (Slab* slab = exchange_.Pick()) Delete(slab);
}

void PostMemory::Retire() noexcept {
  state_ = State::kEnded;
  FlushBoth();
  GiveUpFresh();
}

void PostMemory::Delete(Slab* slab) noexcept {
  ::operator delete(slab, std::align_val_t{kSlabAlignment});
}

}  // namespace coil::internal
