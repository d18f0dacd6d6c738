#include "coil/task/internal/frame_allocator.h"

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

void* FramePool::AllocateSlow(size_t size) {
  if (!registered_) {
    registered_ = true;
    limit_ = kBytesPerClass / kGranule;
    t_retirer.Touch();
  }
  return AllocateLarge(size);
}

void* FramePool::AllocateLarge(size_t size) {
  void* p = ::operator new(size);
  ++obtained_;
  return p;
}

void FramePool::FreeSlow(void* p) noexcept {
  --obtained_;
  ::operator delete(p);
}

void FramePool::Trim() noexcept {
  for (List& list : lists_) {
    while (list.head != nullptr) {
      Block* block = list.head;
      list.head = block->next;
      FreeSlow(block);
    }
    list.count = 0;
  }
}

void FramePool::Retire() noexcept {
  limit_ = 0;
  Trim();
}

size_t FramePool::Kept() const noexcept {
  size_t kept = 0;
  for (const List& list : lists_) kept += list.count;
  return kept;
}

}  // namespace coil::internal
