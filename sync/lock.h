// coil/sync/lock.h
//
// Lock lets one task at a time into a section that awaits. Between two awaits
// nothing else runs, so a section without an await needs no lock. For several
// readers see coil/sync/rw_lock.h; to wait for a state of what the lock
// protects see coil/sync/condition.h.
//
// Example:
//   coil::Co<void> AddSlowly(coil::Lock& lock, int& total, int n) {
//     coil::Lock::Guard guard = co_await lock.Acquire();
//     int before = total;
//     co_await coil::Yield();
//     total = before + n;
//   }
//
// Ordering: strictly first in, first out. The lock goes from hand to hand: a
//   release gives it to the first task in line, which runs on the next pass,
//   and nobody overtakes it meanwhile. Acquire() of a free lock does not
//   suspend.
// Cancellation: if CancelledError is delivered, the lock is not held by this
//   task: a lock that was handed over already goes on to the next in line.
// Threads: the loop's thread only. The lock belongs to the loop of the first
//   task that had to wait for it; waiting on a second loop throws
//   std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error; a guard that outlives its lock holds
//   nothing any more. Nothing is allocated.
//
// Any task may release, wherever the guard was moved to. The lock is not
// reentrant: a task that acquires twice waits for itself, and the dump of the
// tasks says so ("Lock held by Task-3").
//
// asyncio: Lock (A92-A97). Unlike there, the lock is held from the moment of
// the hand-off, so Locked() stays true between release and resume.

#ifndef COIL_SYNC_LOCK_H_
#define COIL_SYNC_LOCK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "coil/sync/internal/hand_off.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {
namespace internal {
class ConditionAwaiter;
class LockAwaiter;
class LockWaiter;
}  // namespace internal

class Lock {
 public:
  class Guard;

  Lock() = default;
  // Wakes each task that waits with std::runtime_error.
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  // co_await lock.Acquire() gives a Guard, which holds the lock until it is
  // released or destroyed. Keep it: a guard that is dropped unlocks at once.
  // Cancellation: if CancelledError is delivered, the lock is not held.
  // asyncio: A93, A96.
  [[nodiscard("co_await it")]] internal::LockAwaiter Acquire() noexcept;

  // A guard if the lock is free, which implies that nobody waits for it.
  std::optional<Guard> TryAcquire();

  // Held, or handed over to a task that has not resumed yet. asyncio: A95.
  bool Locked() const noexcept { return hand_off_.Free() == 0; }

 private:
  friend class Condition;
  friend class internal::ConditionAwaiter;
  friend class internal::LockAwaiter;

  void Unlock() noexcept {
    guard_ = nullptr;
    HandedTo(hand_off_.Give());
  }
  void HandedTo(internal::Waiter* waiter) noexcept {
    if (waiter != nullptr) holder_ = waiter->task()->id();
  }
  void Describe(const internal::Waiter& waiter, std::string* out) const;

  internal::HandOff</*kSingle=*/true> hand_off_{1};
  internal::LoopBinding binding_;
  Guard* guard_ = nullptr;  // null while handed over
  uint32_t holder_ = 0;     // the id of the holder's task, which may be gone
};

// Holds the lock. Moves; the moved-from guard holds nothing.
class [[nodiscard("a guard that is dropped unlocks at once")]] Lock::Guard {
 public:
  // Holds nothing.
  Guard() = default;
  Guard(Guard&& other) noexcept { TakeOver(other); }
  Guard& operator=(Guard&& other) noexcept {
    if (this != &other) {
      if (lock_ != nullptr) Unlock();
      TakeOver(other);
    }
    return *this;
  }
  ~Guard() {
    if (lock_ != nullptr) Unlock();
  }

  // Releases before the end of the scope. Throws std::runtime_error if this
  // guard does not hold the lock: released twice, moved from, or the lock was
  // destroyed. asyncio: A94.
  void Release() {
    if (lock_ == nullptr) [[unlikely]]
      ThrowNotHeld();
    Unlock();
  }

  bool Owns() const noexcept { return lock_ != nullptr; }

 private:
  friend class Condition;
  friend class Lock;
  friend class internal::ConditionAwaiter;
  friend class internal::LockAwaiter;

  explicit Guard(Lock& lock) noexcept : lock_(&lock) { lock.guard_ = this; }
  void Unlock() noexcept { std::exchange(lock_, nullptr)->Unlock(); }
  void TakeOver(Guard& other) noexcept {
    lock_ = std::exchange(other.lock_, nullptr);
    if (lock_ != nullptr) lock_->guard_ = this;
  }
  [[noreturn]] static void ThrowNotHeld();

  Lock* lock_ = nullptr;
};

// ---- public interface ends here ----

namespace internal {

// Whoever stands in the line of a lock: Acquire(), or a Condition's wait.
class LockWaiter : public Waiter {
 protected:
  friend class coil::Lock;
  explicit LockWaiter(Lock* lock) noexcept : lock_(lock) {}
  LockWaiter(LockWaiter&&) = default;
  ~LockWaiter() = default;

  Lock* lock_;
};

class LockAwaiter final : public LeafAwaiter<LockAwaiter, LockWaiter> {
 public:
  explicit LockAwaiter(Lock& lock) noexcept : LeafAwaiter(&lock) {}
  LockAwaiter(LockAwaiter&&) = default;
  ~LockAwaiter() { Dispose(); }

  bool Ready() noexcept {
    if (lock_->hand_off_.TryTake()) [[likely]]
      return true;
    return !lock_->binding_.Bind(this);
  }
  void Arm() noexcept { lock_->hand_off_.Wait(this); }
  void ArmGivingWay() noexcept {
    if (BoundToLoop(lock_->binding_)) {
      lock_->HandedTo(lock_->hand_off_.Join(this));
    }
  }
  void Unlink() noexcept { lock_->hand_off_.StopWaiting(this); }
  void GiveBack() noexcept {
    if (Linked()) lock_->HandedTo(lock_->hand_off_.GiveBack(this));
  }
  Lock::Guard Take() {
    if (end_ != WaitEnd::kGranted) [[unlikely]]
      Fail("Lock", "Lock::Acquire");
    lock_->hand_off_.Accept(this);
    lock_->holder_ = task_->id();
    return Lock::Guard(*lock_);
  }
  void DescribeWait(std::string* out) const override {
    lock_->Describe(*this, out);
  }
};

}  // namespace internal

inline internal::LockAwaiter Lock::Acquire() noexcept {
  return internal::LockAwaiter(*this);
}

}  // namespace coil

#endif  // COIL_SYNC_LOCK_H_
