// coil/sync/internal/hand_off.h
//
// A number of free things (permits, items, room) and the tasks that wait for
// one. A thing that is given goes to the first waiter, never past it; a waiter
// that is cancelled after the grant gives it back, and it goes to the next.
//
// Ordering: strictly first in, first out. Nobody overtakes: a thing is free
//   only while nobody waits.
// Threads: the loop's thread only.
// Lifetime: as WaiterList.

#ifndef COIL_SYNC_INTERNAL_HAND_OFF_H_
#define COIL_SYNC_INTERNAL_HAND_OFF_H_

#include <cstdint>

#include "coil/sync/internal/waiter_list.h"

namespace coil::internal {

// Things that are taken and given one at a time. Where there is but one of them
// (`kSingle`), it is there or not: to store that depends on nothing that was
// stored before, which makes an uncontended lock twice as fast.
template <bool kSingle = false>
class HandOff {
 public:
  explicit HandOff(int64_t free) noexcept : free_(free) {}

  int64_t Free() const { return free_; }
  WaiterList& list() { return list_; }
  const WaiterList& list() const { return list_; }

  bool TryTake() noexcept {
    if (free_ == 0) return false;
    free_ = kSingle ? 0 : free_ - 1;
    return true;
  }

  // One more: the first in line gets it, and is returned.
  Waiter* Give() noexcept {
    if (list_.HasWaiting()) return list_.GrantFirst();
    free_ = kSingle ? 1 : free_ + 1;
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

  // Nothing is free any more.
  void Drain() noexcept { free_ = 0; }

 private:
  int64_t free_;
  WaiterList list_;
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_HAND_OFF_H_
