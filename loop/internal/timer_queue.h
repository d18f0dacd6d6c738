// coil/loop/internal/timer_queue.h
//
// The timers of one loop, in exact order of (deadline, sequence): equal
// deadlines fire first in, first out. Nodes are intrusive and live in coroutine
// frames, so arming allocates nothing and removal is immediate.
//
// Two structures share the nodes:
//
//   far    a hierarchical wheel, 8 levels of 64 unsorted buckets; a tick is
//          2^20 ns (about 1 ms). Arming and cancelling touch one bucket.
//   near   a pairing heap of what falls into ticks up to the cursor. When it
//   runs
//          empty, the next bucket of the wheel is sorted and becomes a chain,
//          which is a heap whose pops cost O(1).
//
// Most timers are timeouts that are cancelled before they fire: they never
// leave the wheel.
//
// Ordering: exact, by deadline and then by order of arming.
// Threads: the loop's thread only.
// Lifetime: a node is disarmed before it dies.

#ifndef COIL_LOOP_INTERNAL_TIMER_QUEUE_H_
#define COIL_LOOP_INTERNAL_TIMER_QUEUE_H_

#include <cstddef>
#include <cstdint>

#include "coil/loop/loop_time.h"

namespace coil::internal {

// A timer. Derived classes say what happens when it is due.
class TimerNode {
 public:
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

  // Called by the loop when the deadline has come, after the node was disarmed.
  // Must not throw: it schedules work, it does not do it.
  virtual void Fire() noexcept = 0;

  // The loop is closing and the node was disarmed: let go of what is held.
  virtual void Abandon() noexcept {}

  bool Armed() const { return bucket_ != kIdle; }
  LoopTime When() const { return LoopTime::FromNanoseconds(when_); }

 protected:
  ~TimerNode() = default;

 private:
  friend class TimerQueue;
  static constexpr uint16_t kIdle = 0xffff;
  static constexpr uint16_t kNear = 0xfffe;

  int64_t when_ = 0;
  uint64_t sequence_ = 0;
  // In a bucket: neighbours. In the heap: `prev_` is the left sibling or, for a
  // first child, the parent; `next_` is the right sibling.
  TimerNode* prev_ = nullptr;
  TimerNode* next_ = nullptr;
  TimerNode* child_ = nullptr;
  uint16_t bucket_ = kIdle;
};

class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // REQUIRES: !node->Armed().
  void Arm(TimerNode* node, LoopTime when) noexcept;
  // No effect on a node that is not armed.
  void Disarm(TimerNode* node) noexcept;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  // When to look again: the earliest deadline, or, where that lies in a crowded
  // bucket that is not sorted yet, the time at which the bucket begins.
  // InfiniteFuture() when no timer is armed.
  LoopTime NextWake() const noexcept;

  // The first timer due at `now`, disarmed; nullptr when there is none.
  TimerNode* PopDue(LoopTime now) noexcept;

 private:
  static constexpr int kTickBits = 20;
  static constexpr int kLevelBits = 6;
  static constexpr int kSlots = 1 << kLevelBits;
  static constexpr int kLevels = 8;  // 8 * 6 + 20 bits cover 63
  static constexpr int kScanLimit = 16;

  static bool Before(const TimerNode* a, const TimerNode* b) {
    return a->when_ != b->when_ ? a->when_ < b->when_
                                : a->sequence_ < b->sequence_;
  }
  static uint64_t Tick(int64_t when) {
    return when <= 0 ? 0 : static_cast<uint64_t>(when) >> kTickBits;
  }
  static TimerNode* Merge(TimerNode* a, TimerNode* b) noexcept;
  static TimerNode* MergeSiblings(TimerNode* first) noexcept;
  static TimerNode* Sort(TimerNode* list) noexcept;

  void Place(TimerNode* node) noexcept;
  void RemoveFromHeap(TimerNode* node) noexcept;
  // Fills the empty heap from the buckets that begin at or before `tick`.
  void Refill(uint64_t tick) noexcept;
  // The earliest bucket, which holds the earliest timer of the wheel.
  // REQUIRES: the wheel is not empty.
  void EarliestBucket(int& level, int& slot, uint64_t& start) const noexcept;

  TimerNode* heap_ = nullptr;
  uint64_t cursor_ = 0;  // ticks up to and including this one are in the heap
  uint64_t sequence_ = 0;
  size_t size_ = 0;
  uint64_t occupied_[kLevels] = {};
  TimerNode* slots_[kLevels][kSlots] = {};
};

inline void TimerQueue::Place(TimerNode* node) noexcept {
  const uint64_t tick = Tick(node->when_);
  if (tick <= cursor_) {
    node->bucket_ = TimerNode::kNear;
    node->prev_ = node->next_ = node->child_ = nullptr;
    heap_ = heap_ == nullptr ? node : Merge(heap_, node);
    return;
  }
  const int level = (63 - __builtin_clzll((tick ^ cursor_) | 1)) / kLevelBits;
  const int slot =
      static_cast<int>((tick >> (level * kLevelBits)) & (kSlots - 1));
  TimerNode*& head = slots_[level][slot];
  node->bucket_ = static_cast<uint16_t>(level * kSlots + slot);
  node->prev_ = nullptr;
  node->next_ = head;
  if (head != nullptr) head->prev_ = node;
  head = node;
  occupied_[level] |= uint64_t{1} << slot;
}

inline void TimerQueue::Arm(TimerNode* node, LoopTime when) noexcept {
  node->when_ = when.Nanoseconds();
  node->sequence_ = sequence_++;
  ++size_;
  Place(node);
}

inline void TimerQueue::Disarm(TimerNode* node) noexcept {
  const uint16_t bucket = node->bucket_;
  if (bucket == TimerNode::kIdle) return;
  --size_;
  node->bucket_ = TimerNode::kIdle;
  if (bucket == TimerNode::kNear) {
    RemoveFromHeap(node);
    return;
  }
  if (node->next_ != nullptr) node->next_->prev_ = node->prev_;
  if (node->prev_ != nullptr) {
    node->prev_->next_ = node->next_;
    return;
  }
  const int level = bucket >> kLevelBits;
  const int slot = bucket & (kSlots - 1);
  slots_[level][slot] = node->next_;
  if (node->next_ == nullptr) occupied_[level] &= ~(uint64_t{1} << slot);
}

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_TIMER_QUEUE_H_
