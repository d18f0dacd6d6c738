// coil/sync/rw_lock.h
//
// RwLock lets either many readers or one writer into a section that awaits.
//
// Example:
//   coil::Co<int> Read(coil::RwLock& lock, const int& value) {
//     coil::RwLock::ReadGuard guard = co_await lock.AcquireRead();
//     co_await coil::Yield();
//     co_return value;
//   }
//   coil::Co<void> Write(coil::RwLock& lock, int& value, int to) {
//     coil::RwLock::WriteGuard guard = co_await lock.AcquireWrite();
//     co_await coil::Yield();
//     value = to;
//   }
//
// Ordering: one line for both, first in, first out: a reader that comes after a
//   writer in line waits for it, so that no writer starves, and readers that
//   stand next to one another go in together. The lock goes from hand to hand,
//   nobody overtakes.
// Cancellation: if CancelledError is delivered, the lock is not held by this
//   task: what was handed over already goes on to the next in line.
// Threads: the loop's thread only. The lock belongs to the loop of the first
//   task that had to wait; waiting on a second loop throws std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error; a guard that outlives its lock holds
//   nothing any more. Nothing is allocated.
//
// Not reentrant: a reader that asks to read again waits for itself as soon as a
// writer stands in line.
//
// asyncio has none.

#ifndef COIL_SYNC_RW_LOCK_H_
#define COIL_SYNC_RW_LOCK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "coil/sync/internal/holder_list.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {
namespace internal {
class RwReadAwaiter;
class RwWaiter;
class RwWriteAwaiter;
}  // namespace internal

class RwLock {
 public:
  class ReadGuard;
  class WriteGuard;

  RwLock() = default;
  // Wakes each task that waits with std::runtime_error.
  ~RwLock() { waiters_.Destroy(); }
  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  // co_await lock.AcquireRead() gives a guard; keep it.
  // Cancellation: if CancelledError is delivered, the lock is not held.
  [[nodiscard("co_await it")]] internal::RwReadAwaiter AcquireRead() noexcept;
  [[nodiscard("co_await it")]] internal::RwWriteAwaiter AcquireWrite() noexcept;

  // A guard if there would be nothing to wait for.
  std::optional<ReadGuard> TryAcquireRead();
  std::optional<WriteGuard> TryAcquireWrite();

  // How many tasks read, those included that were let in and have not resumed.
  int64_t Readers() const noexcept { return readers_; }
  bool WriteLocked() const noexcept { return written_; }

 private:
  friend class internal::RwReadAwaiter;
  friend class internal::RwWaiter;
  friend class internal::RwWriteAwaiter;

  bool TryRead() noexcept {
    if (written_ || waiters_.HasWaiting()) return false;
    ++readers_;
    return true;
  }
  bool TryWrite() noexcept {
    if (written_ || readers_ != 0) return false;
    written_ = true;
    return true;
  }
  void UnlockRead() noexcept {
    --readers_;
    LetIn();
  }
  void UnlockWrite() noexcept {
    written_ = false;
    LetIn();
  }
  // Grants those at the head of the line who may go in now.
  void LetIn() noexcept {
    if (waiters_.HasWaiting()) [[unlikely]]
      LetInSlow();
  }
  void LetInSlow() noexcept;
  void Describe(std::string* out) const;

  internal::WaiterList waiters_;
  internal::LoopBinding binding_;
  internal::HolderList holders_;
  int64_t readers_ = 0;
  bool written_ = false;
};

// Lets its task read. Moves; the moved-from guard holds nothing.
class [[nodiscard("a guard that is dropped unlocks at once")]] RwLock::ReadGuard
    : private internal::Holder {
 public:
  ReadGuard() = default;
  ReadGuard(ReadGuard&& other) noexcept : Holder(std::move(other)) {}
  ReadGuard& operator=(ReadGuard&& other) noexcept {
    if (this != &other) {
      Drop();
      TakeOver(other);
    }
    return *this;
  }
  ~ReadGuard() { Drop(); }

  // Releases before the end of the scope. Throws std::runtime_error if it holds
  // nothing: released twice, moved from, or the lock was destroyed.
  void Release();
  bool Owns() const noexcept { return owner() != nullptr; }

 private:
  friend class RwLock;
  friend class internal::RwReadAwaiter;
  explicit ReadGuard(RwLock& lock) noexcept : Holder(lock.holders_, &lock) {}
  void Drop() noexcept {
    if (owner() != nullptr) static_cast<RwLock*>(Leave())->UnlockRead();
  }
};

// Lets its task read and write. Moves; the moved-from guard holds nothing.
class [[nodiscard(
    "a guard that is dropped unlocks at once")]] RwLock::WriteGuard
    : private internal::Holder {
 public:
  WriteGuard() = default;
  WriteGuard(WriteGuard&& other) noexcept : Holder(std::move(other)) {}
  WriteGuard& operator=(WriteGuard&& other) noexcept {
    if (this != &other) {
      Drop();
      TakeOver(other);
    }
    return *this;
  }
  ~WriteGuard() { Drop(); }

  // As ReadGuard::Release().
  void Release();
  bool Owns() const noexcept { return owner() != nullptr; }

 private:
  friend class RwLock;
  friend class internal::RwWriteAwaiter;
  explicit WriteGuard(RwLock& lock) noexcept : Holder(lock.holders_, &lock) {}
  void Drop() noexcept {
    if (owner() != nullptr) static_cast<RwLock*>(Leave())->UnlockWrite();
  }
};

// ---- public interface ends here ----

namespace internal {

class RwWaiter : public Waiter {
 public:
  void DescribeWait(std::string* out) const final { lock_->Describe(out); }

 protected:
  friend class coil::RwLock;
  RwWaiter(RwLock* lock, bool writes) noexcept : lock_(lock), writes_(writes) {}
  RwWaiter(RwWaiter&&) = default;
  ~RwWaiter() = default;

  void StandInLine() noexcept { lock_->waiters_.Append(this); }
  // In line first; goes in at once if it may.
  void StandInLineGivingWay() noexcept {
    if (!BoundToLoop(lock_->binding_)) return;
    StandInLine();
    lock_->LetIn();
  }
  // Whoever stood behind this one may go in now.
  void LeaveLine() noexcept {
    lock_->waiters_.Remove(this);
    lock_->LetIn();
  }
  // The task has resumed, or will not: false if the lock is gone.
  bool LeaveGranted() noexcept {
    if (!Linked()) return false;
    lock_->waiters_.Remove(this);
    return true;
  }

  RwLock* lock_;
  bool writes_;
};

class RwReadAwaiter final : public LeafAwaiter<RwReadAwaiter, RwWaiter> {
 public:
  explicit RwReadAwaiter(RwLock& lock) noexcept : LeafAwaiter(&lock, false) {}
  RwReadAwaiter(RwReadAwaiter&&) = default;
  ~RwReadAwaiter() { Dispose(); }

  bool Ready() noexcept {
    return lock_->TryRead() || !lock_->binding_.Bind(this);
  }
  void Arm() noexcept { StandInLine(); }
  void ArmGivingWay() noexcept { StandInLineGivingWay(); }
  void Unlink() noexcept { LeaveLine(); }
  void GiveBack() noexcept {
    if (LeaveGranted()) lock_->UnlockRead();
  }
  RwLock::ReadGuard Take() {
    if (end_ != WaitEnd::kGranted) [[unlikely]]
      Fail("RwLock", "RwLock::AcquireRead");
    LeaveGranted();
    return RwLock::ReadGuard(*lock_);
  }
};

class RwWriteAwaiter final : public LeafAwaiter<RwWriteAwaiter, RwWaiter> {
 public:
  explicit RwWriteAwaiter(RwLock& lock) noexcept : LeafAwaiter(&lock, true) {}
  RwWriteAwaiter(RwWriteAwaiter&&) = default;
  ~RwWriteAwaiter() { Dispose(); }

  bool Ready() noexcept {
    return lock_->TryWrite() || !lock_->binding_.Bind(this);
  }
  void Arm() noexcept { StandInLine(); }
  void ArmGivingWay() noexcept { StandInLineGivingWay(); }
  void Unlink() noexcept { LeaveLine(); }
  void GiveBack() noexcept {
    if (LeaveGranted()) lock_->UnlockWrite();
  }
  RwLock::WriteGuard Take() {
    if (end_ != WaitEnd::kGranted) [[unlikely]]
      Fail("RwLock", "RwLock::AcquireWrite");
    LeaveGranted();
    return RwLock::WriteGuard(*lock_);
  }
};

}  // namespace internal

inline internal::RwReadAwaiter RwLock::AcquireRead() noexcept {
  return internal::RwReadAwaiter(*this);
}
inline internal::RwWriteAwaiter RwLock::AcquireWrite() noexcept {
  return internal::RwWriteAwaiter(*this);
}

}  // namespace coil

#endif  // COIL_SYNC_RW_LOCK_H_
