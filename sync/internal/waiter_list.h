// coil/sync/internal/waiter_list.h
//
// The one place where waiting in a line is written: an intrusive FIFO of
// suspended tasks with direct hand-off and give-back. Everything in sync is
// made of it.
//
//   ring ──> granted, not resumed yet ──> waiting ──> waiting ──> (ring)
//                                         ^ first_waiting_
//
// A waiter that is granted stays in the list until its task resumes: whoever
// destroys the list finds it there, and a grant costs one store.
//
// LoopBinding: a primitive belongs to the loop of its first contended use.
// HandOff (hand_off.h) adds the number of what is free.
//
// Ordering: strictly first in, first out.
// Threads: the loop's thread only.
// Lifetime: nodes live in awaiters, so in frames. Destroy() lets go of all.

#ifndef COIL_SYNC_INTERNAL_WAITER_LIST_H_
#define COIL_SYNC_INTERNAL_WAITER_LIST_H_

#include <cstddef>
#include <cstdint>

#include "coil/loop/internal/loop_core.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"

namespace coil::internal {

struct WaiterLinks {
  WaiterLinks* previous = nullptr;  // null: in no list
  WaiterLinks* next;
};

class LoopBinding;

// How a wait ends, beside a cancel.
enum class WaitEnd : uint8_t {
  kGranted,
  kDestroyed,  // the primitive is gone, nothing of it may be touched
  kWrongLoop,
  kClosed,  // shut down, or closed
  kBroken,
};

// A base of its own, so that these lie in the padding of LeafBase.
class WaiterState : public LeafBase {
 public:
  WaitEnd end() const { return end_; }
  void EndWith(WaitEnd end) noexcept { end_ = end; }

 protected:
  WaiterState() = default;
  WaiterState(WaiterState&& other) noexcept : LeafBase(std::move(other)) {}
  ~WaiterState() = default;

  WaitEnd end_ = WaitEnd::kGranted;
  uint32_t number_;  // how many waited, when it was destroyed
};

// The base of every awaiter in sync: LeafAwaiter<Derived, Waiter>.
class Waiter : public WaiterState, private WaiterLinks {
 public:
  bool Linked() const { return previous != nullptr; }

 protected:
  Waiter() = default;
  Waiter(Waiter&& other) noexcept
      : WaiterState(std::move(other)), WaiterLinks() {}
  ~Waiter() = default;

  // Throws what `end_` stands for: "`name` was destroyed while 2 tasks waited
  // for it", or that `operation` was used on a second loop.
  [[noreturn]] void Fail(const char* name, const char* operation) const;

  // For ArmGivingWay(). Ends the wait of one that stands in no list and does
  // not need the primitive any more.
  void GrantUnlinked(WaitEnd end) noexcept {
    end_ = end;
    Grant();
  }
  // True if the task may wait at the primitive of this binding, which may be
  // that of another loop; otherwise the wait has ended.
  bool BoundToLoop(LoopBinding& binding) noexcept;

 private:
  friend class WaiterList;
};

class WaiterList {
 public:
  WaiterList() noexcept : first_waiting_(&ring_) {
    ring_.previous = ring_.next = &ring_;
  }
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool HasWaiting() const { return first_waiting_ != &ring_; }
  bool HasGranted() const { return ring_.next != first_waiting_; }
  // REQUIRES: HasWaiting().
  Waiter* FirstWaiting() const { return ToWaiter(first_waiting_); }

  // Takes the last place.
  void Append(Waiter* waiter) noexcept {
    WaiterLinks* const links = ToLinks(waiter);
    WaiterLinks* const last = ring_.previous;
    links->previous = last;
    links->next = &ring_;
    last->next = links;
    ring_.previous = links;
    if (first_waiting_ == &ring_) first_waiting_ = links;
  }

  // Leaves the list, waiting or granted. REQUIRES: it is in this list.
  void Remove(Waiter* waiter) noexcept {
    WaiterLinks* const links = ToLinks(waiter);
    if (links == first_waiting_) first_waiting_ = links->next;
    links->previous->next = links->next;
    links->next->previous = links->previous;
    links->previous = nullptr;
  }

  // The first in line goes on with `end`; it stays in the list as granted.
  Waiter* GrantFirst(WaitEnd end = WaitEnd::kGranted) noexcept {
    Waiter* const waiter = FirstWaiting();
    first_waiting_ = first_waiting_->next;
    waiter->end_ = end;
    waiter->Grant();
    return waiter;
  }

  // All who wait go on with `end`, and have left the list.
  void WakeAll(WaitEnd end = WaitEnd::kGranted) noexcept {
    while (HasWaiting()) {
      Waiter* const waiter = FirstWaiting();
      Remove(waiter);
      waiter->end_ = end;
      waiter->Grant();
    }
  }

  // Those who were granted get `end` instead; they stay in the list.
  void SpoilGranted(WaitEnd end) noexcept {
    for (WaiterLinks* l = ring_.next; l != first_waiting_; l = l->next) {
      ToWaiter(l)->end_ = end;
    }
  }

  // Those who were granted keep their grant, and have left the list.
  void ForgetGranted() noexcept {
    while (HasGranted()) Remove(ToWaiter(ring_.next));
  }

  // All, granted or waiting, end with `end` and have left the list.
  void FailAll(WaitEnd end) noexcept { FailAll(end, 0); }

  // One who waits fails with kDestroyed: what it waits at is gone.
  void DestroyOne(Waiter* waiter) noexcept {
    Remove(waiter);
    waiter->end_ = WaitEnd::kDestroyed;
    waiter->number_ = 1;
    waiter->Grant();
  }

  // How many are in the list.
  uint32_t Count() const noexcept;

  // The primitive dies: everybody fails with kDestroyed and `count`.
  void Destroy(uint32_t count) noexcept {
    if (ring_.next != &ring_) [[unlikely]]
      FailAll(WaitEnd::kDestroyed, count);
  }
  void Destroy() noexcept {
    if (ring_.next != &ring_) [[unlikely]]
      FailAll(WaitEnd::kDestroyed, Count());
  }

  // Calls `visit(Waiter*)` for each, granted ones first.
  template <class F>
  void ForEach(F visit) const {
    for (WaiterLinks* l = ring_.next; l != &ring_;) {
      WaiterLinks* const next = l->next;
      visit(ToWaiter(l));
      l = next;
    }
  }

 private:
  // By way of references, which are never null: no test for it.
  static Waiter* ToWaiter(WaiterLinks* links) {
    return &static_cast<Waiter&>(*links);
  }
  static WaiterLinks* ToLinks(Waiter* waiter) {
    return &static_cast<WaiterLinks&>(*waiter);
  }
  void FailAll(WaitEnd end, uint32_t count) noexcept;

  WaiterLinks ring_;
  WaiterLinks* first_waiting_;
};

class LoopBinding {
 public:
  // The task of `waiter` is about to wait. False, with the error left in the
  // waiter, if the primitive belongs to another loop.
  bool Bind(Waiter* waiter) noexcept {
    const uint64_t loop = waiter->task()->loop().id();
    if (loop_ == loop) return true;
    if (loop_ == 0) {
      loop_ = loop;
      return true;
    }
    waiter->EndWith(WaitEnd::kWrongLoop);
    return false;
  }

 private:
  // Its id: a primitive may outlive its loop, and another one lie there.
  uint64_t loop_ = 0;
};

inline bool Waiter::BoundToLoop(LoopBinding& binding) noexcept {
  if (binding.Bind(this)) return true;
  Grant();
  return false;
}

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_WAITER_LIST_H_
