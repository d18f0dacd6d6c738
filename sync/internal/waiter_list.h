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
//   HandOff      a number of free things (permits, items, room) and the tasks
//                that wait for one. A thing that is given goes to the first
//                waiter, never past it; a waiter that is cancelled after the
//                grant gives it back, and it goes to the next.
//   LoopBinding  a primitive belongs to the loop of its first contended use.
//
// Ordering: strictly first in, first out. Nobody overtakes: a thing is free
//   only while nobody waits.
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
  WaiterLinks* next = nullptr;
};

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
  uint32_t number_ = 0;  // how many waited, when it was destroyed
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
    WaiterLinks* const links = waiter;
    WaiterLinks* const last = ring_.previous;
    links->previous = last;
    links->next = &ring_;
    last->next = links;
    ring_.previous = links;
    if (first_waiting_ == &ring_) first_waiting_ = links;
  }

  // Leaves the list, waiting or granted. REQUIRES: it is in this list.
  void Remove(Waiter* waiter) noexcept {
    WaiterLinks* const links = waiter;
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
  static Waiter* ToWaiter(WaiterLinks* links) {
    return static_cast<Waiter*>(links);
  }
  void FailAll(WaitEnd end, uint32_t count) noexcept;

  WaiterLinks ring_;
  WaiterLinks* first_waiting_;
};

// Things that are taken and given one at a time.
class HandOff {
 public:
  explicit HandOff(int64_t free) noexcept : free_(free) {}

  int64_t Free() const { return free_; }
  WaiterList& list() { return list_; }
  const WaiterList& list() const { return list_; }

  bool TryTake() noexcept {
    if (free_ == 0) return false;
    --free_;
    return true;
  }

  // One more: the first in line gets it, and is returned.
  Waiter* Give() noexcept {
    if (list_.HasWaiting()) return list_.GrantFirst();
    ++free_;
    return nullptr;
  }

  // REQUIRES: TryTake() has failed.
  void Wait(Waiter* waiter) noexcept { list_.Append(waiter); }
  void StopWaiting(Waiter* waiter) noexcept { list_.Remove(waiter); }
  // Takes the last place in line, and is granted if that is the first and one
  // is free. Returns who was granted.
  Waiter* Join(Waiter* waiter) noexcept {
    list_.Append(waiter);
    return TryTake() ? list_.GrantFirst() : nullptr;
  }

  // The task of a granted waiter has resumed: what it was given is its own.
  void Accept(Waiter* waiter) noexcept {
    if (waiter->Linked()) list_.Remove(waiter);
  }
  // A cancel has overtaken the grant: the next in line gets it. REQUIRES: the
  // waiter is linked; one that is not has nothing, and this may be gone.
  Waiter* GiveBack(Waiter* waiter) noexcept {
    list_.Remove(waiter);
    return Give();
  }

  // Nothing is free any more, nothing that is given later is kept.
  void Drain() noexcept { free_ = 0; }

 private:
  int64_t free_;
  WaiterList list_;
};

class LoopBinding {
 public:
  // The task of `waiter` is about to wait. False, with the error left in the
  // waiter, if the primitive belongs to another loop.
  bool Bind(Waiter* waiter) noexcept {
    LoopCore* const loop = &waiter->task()->loop();
    if (loop_ == loop) return true;
    if (loop_ == nullptr) {
      loop_ = loop;
      return true;
    }
    waiter->EndWith(WaitEnd::kWrongLoop);
    return false;
  }

 private:
  LoopCore* loop_ = nullptr;
};

// Waits for something that, once it is true, lets everybody go on: an event, a
// latch, a queue whose work is done. `Owner` has bool Signalled(), WaiterList
// signal_waiters_, LoopBinding binding_, kSignalName, kSignalOperation, and
// DescribeSignal(out).
template <class Owner>
class SignalAwaiter final : public LeafAwaiter<SignalAwaiter<Owner>, Waiter> {
 public:
  explicit SignalAwaiter(Owner& owner) noexcept : owner_(&owner) {}
  SignalAwaiter(SignalAwaiter&&) = default;
  ~SignalAwaiter() { this->Dispose(); }

  bool Ready() noexcept {
    return owner_->Signalled() || !owner_->binding_.Bind(this);
  }
  void Arm() noexcept { owner_->signal_waiters_.Append(this); }
  void Unlink() noexcept { owner_->signal_waiters_.Remove(this); }
  void GiveBack() noexcept {}  // a signal is not used up
  void Take() const {
    if (this->end_ != WaitEnd::kGranted) [[unlikely]] {
      this->Fail(Owner::kSignalName, Owner::kSignalOperation);
    }
  }
  void DescribeWait(std::string* out) const override {
    owner_->DescribeSignal(out);
  }

 private:
  Owner* owner_;
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_WAITER_LIST_H_
