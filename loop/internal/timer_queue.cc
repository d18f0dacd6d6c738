#include "coil/loop/internal/timer_queue.h"

#include <algorithm>
#include <utility>

namespace coil::internal {

// Merges two heaps; the later root becomes the first child of the earlier one.
TimerNode* TimerQueue::Merge(TimerNode* a, TimerNode* b) noexcept {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  if (Before(b, a)) std::swap(a, b);
  b->next_ = a->child_;
  if (a->child_ != nullptr) a->child_->prev_ = b;
  b->prev_ = a;
  a->child_ = b;
  a->prev_ = a->next_ = nullptr;
  return a;
}

// The two passes of a pairing heap: merge pairs from the left, then fold them
// together from the right. Iterative, because a heap may have a million nodes.
TimerNode* TimerQueue::MergeSiblings(TimerNode* first) noexcept {
  TimerNode* pairs = nullptr;  // a stack, linked through next_
  while (first != nullptr) {
    TimerNode* a = first;
    TimerNode* b = a->next_;
    first = b != nullptr ? b->next_ : nullptr;
    a->prev_ = a->next_ = nullptr;
    if (b != nullptr) b->prev_ = b->next_ = nullptr;
    TimerNode* merged = Merge(a, b);
    merged->next_ = pairs;
    pairs = merged;
  }
  TimerNode* root = nullptr;
  while (pairs != nullptr) {
    TimerNode* next = pairs->next_;
    pairs->next_ = nullptr;
    root = Merge(root, pairs);
    pairs = next;
  }
  if (root != nullptr) root->prev_ = root->next_ = nullptr;
  return root;
}

void TimerQueue::RemoveFromHeap(TimerNode* node) noexcept {
  TimerNode* children = node->child_;
  node->child_ = nullptr;
  if (node == heap_) {
    // A chain, which is what a sorted bucket becomes, has one child: O(1).
    if (children != nullptr && children->next_ == nullptr) {
      children->prev_ = nullptr;
      heap_ = children;
    } else {
      heap_ = MergeSiblings(children);
    }
    return;
  }
  if (node->prev_->child_ == node) {
    node->prev_->child_ = node->next_;
  } else {
    node->prev_->next_ = node->next_;
  }
  if (node->next_ != nullptr) node->next_->prev_ = node->prev_;
  node->prev_ = node->next_ = nullptr;
  heap_ = Merge(heap_, MergeSiblings(children));
}

// A bottom-up merge sort of a list linked through next_; no allocation.
TimerNode* TimerQueue::Sort(TimerNode* list) noexcept {
  TimerNode* runs[64] = {};  // runs[i] is null or a sorted list of 2^i nodes
  int used = 0;
  auto merge = [](TimerNode* a, TimerNode* b) {
    TimerNode* head = nullptr;
    TimerNode** tail = &head;
    while (a != nullptr && b != nullptr) {
      TimerNode*& first = Before(b, a) ? b : a;
      *tail = first;
      tail = &first->next_;
      first = *tail;
    }
    *tail = a != nullptr ? a : b;
    return head;
  };
  while (list != nullptr) {
    TimerNode* run = list;
    list = list->next_;
    run->next_ = nullptr;
    int i = 0;
    while (i < used && runs[i] != nullptr) {
      run = merge(runs[i], run);
      runs[i++] = nullptr;
    }
    if (i == used) ++used;
    runs[i] = run;
  }
  TimerNode* sorted = nullptr;
  for (int i = 0; i < used; ++i) sorted = merge(runs[i], sorted);
  return sorted;
}

void TimerQueue::EarliestBucket(int& level, int& slot,
                                uint64_t& start) const noexcept {
  level = 0;
  while (occupied_[level] == 0) ++level;
  slot = __builtin_ctzll(occupied_[level]);
  const int shift = level * kLevelBits;
  const uint64_t above = cursor_ >> shift >> kLevelBits;
  start = ((above << kLevelBits) | static_cast<uint64_t>(slot)) << shift;
}

void TimerQueue::Refill(uint64_t tick) noexcept {
  while (heap_ == nullptr && size_ != 0) {
    int level = 0;
    int slot = 0;
    uint64_t start = 0;
    EarliestBucket(level, slot, start);
    // The cursor never passes the present, so that what is armed from now on
    // lands in the wheel and not in the heap.
    if (start > tick) return;
    cursor_ = start;
    TimerNode* list = slots_[level][slot];
    slots_[level][slot] = nullptr;
    occupied_[level] &= occupied_[level] - 1;
    if (level > 0) {
      while (list != nullptr) {
        TimerNode* next = list->next_;
        Place(list);
        list = next;
      }
      continue;
    }
    // Sorted, the bucket is a chain in which each node has one child.
    list = Sort(list);
    heap_ = list;
    TimerNode* previous = nullptr;
    while (list != nullptr) {
      TimerNode* next = list->next_;
      list->bucket_ = TimerNode::kNear;
      list->prev_ = previous;
      list->next_ = nullptr;
      list->child_ = next;
      previous = list;
      list = next;
    }
  }
}

LoopTime TimerQueue::NextWake() const noexcept {
  if (heap_ != nullptr) return LoopTime::FromNanoseconds(heap_->when_);
  if (size_ == 0) return LoopTime::InfiniteFuture();
  int level = 0;
  int slot = 0;
  uint64_t start = 0;
  EarliestBucket(level, slot, start);
  int64_t earliest = slots_[level][slot]->when_;
  int looked_at = 0;
  for (const TimerNode* node = slots_[level][slot]; node != nullptr;
       node = node->next_) {
    if (++looked_at > kScanLimit) {
      return LoopTime::FromNanoseconds(
          static_cast<int64_t>(start << kTickBits));
    }
    earliest = std::min(earliest, node->when_);
  }
  return LoopTime::FromNanoseconds(earliest);
}

TimerNode* TimerQueue::PopDue(LoopTime now) noexcept {
  if (heap_ == nullptr) {
    const uint64_t tick = Tick(now.Nanoseconds());
    if (size_ == 0) {
      if (tick > cursor_) cursor_ = tick;
      return nullptr;
    }
    Refill(tick);
    if (heap_ == nullptr) return nullptr;
  }
  TimerNode* node = heap_;
  if (node->when_ > now.Nanoseconds()) return nullptr;
  --size_;
  node->bucket_ = TimerNode::kIdle;
  RemoveFromHeap(node);
  return node;
}

}  // namespace coil::internal
