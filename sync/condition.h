// coil/sync/condition.h
//
// Condition lets a task that holds a lock wait until another one says that what
// the lock protects has changed.
//
// Example:
//   coil::Co<int> TakeOne(coil::Condition& changed, std::vector<int>& stock) {
//     coil::Lock::Guard guard = co_await changed.Acquire();
//     co_await changed.WaitFor(guard, [&] { return !stock.empty(); });
//     int taken = stock.back();
//     stock.pop_back();
//     co_return taken;
//   }
//   coil::Co<void> PutOne(coil::Condition& changed, std::vector<int>& stock) {
//     coil::Lock::Guard guard = co_await changed.Acquire();
//     stock.push_back(1);
//     changed.Notify();
//   }
//
// Ordering: Notify() picks those who wait longest. A task that was notified
//   takes its place in the line of the lock at once, before tasks that ask for
//   the lock later, and resumes when the lock is handed to it.
// Cancellation: Wait() returns or throws with the guard holding the lock, also
//   under repeated cancels; CancelledError is delivered once the lock is held
//   again. If it is delivered, no notification was consumed: one that had
//   reached this task goes on to the next.
// Threads: the loop's thread only; a condition has the loop of its lock.
// Lifetime: neither copied nor moved; a lock that is given is borrowed and
//   outlives the condition. If the condition is destroyed while tasks wait,
//   each of them gets std::runtime_error, with the guard holding the lock if
//   the lock is there still. Wait() allocates nothing.
//
// asyncio: Condition (A102-A107).

#ifndef COIL_SYNC_CONDITION_H_
#define COIL_SYNC_CONDITION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/sync/internal/waiter_list.h"
#include "coil/sync/lock.h"
#include "coil/task/co.h"

namespace coil {

class Condition {
 public:
  // A condition with a lock of its own.
  Condition() : lock_(&own_.emplace()) {}
  // Several conditions may share one lock. asyncio: A102.
  explicit Condition(Lock& lock) noexcept : lock_(&lock) {}
  // Wakes each task that waits with std::runtime_error.
  ~Condition();
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  // As those of the lock. asyncio: A103.
  [[nodiscard("co_await it")]] internal::LockAwaiter Acquire() noexcept {
    return lock_->Acquire();
  }
  std::optional<Lock::Guard> TryAcquire() { return lock_->TryAcquire(); }
  bool Locked() const noexcept { return lock_->Locked(); }

  // Releases the lock, waits to be notified, and acquires the lock again. May
  // wake without a notification. The guard stays where it is until then.
  // Throws std::runtime_error if `guard` does not hold the lock of this
  // condition.
  // Cancellation: CancelledError is thrown with the lock held again, whatever
  // the number of cancels; a notification goes on to the next. asyncio: A104.
  [[nodiscard("co_await it")]] internal::ConditionAwaiter Wait(
      Lock::Guard& guard) noexcept;

  // Waits until `predicate()` is true and returns its value. It is asked first
  // without waiting, and always with the lock held; its errors are thrown.
  // A coroutine: `guard` is borrowed until it returns. Cancellation: as Wait().
  // asyncio: A105.
  template <class F>
  auto WaitFor(Lock::Guard& guard, F&& predicate)
      -> Co<std::decay_t<decltype(predicate())>> {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
    static_assert(
        std::is_lvalue_reference_v<F> ||
            std::is_trivially_destructible_v<std::decay_t<F>>,
        "WaitFor: g++ 12 destroys this temporary twice; name the predicate "
        "first, or capture by reference");
#endif
    return WaitForOwned<F>(guard, std::forward<F>(predicate));
  }

  // Wakes the first `n` of those who wait; they go on once the lock is
  // released. Throws std::runtime_error if the lock is not held,
  // std::invalid_argument if `n` is negative. asyncio: A106.
  void Notify(int64_t n = 1);
  // Wakes all. Throws std::runtime_error if the lock is not held. A107.
  void NotifyAll();

 private:
  friend class internal::ConditionAwaiter;

  // `F` is a reference for a predicate that has a name: it is not copied.
  template <class F>
  Co<std::decay_t<std::invoke_result_t<F&>>> WaitForOwned(Lock::Guard& guard,
                                                          F predicate);
  void CheckLocked(const char* operation) const;
  void NotifyFirst() noexcept;

  std::optional<Lock> own_;
  Lock* lock_;
  internal::WaiterList waiters_;
  int64_t in_line_ = 0;  // those of this condition who wait for the lock
};

// ---- public interface ends here ----

namespace internal {

// Stands in the line of the condition, and from the notification or the cancel
// on in the line of the lock.
class ConditionAwaiter final
    : public LeafAwaiter<ConditionAwaiter, LockWaiter> {
 public:
  ConditionAwaiter(Condition& condition, Lock::Guard& guard) noexcept
      : LeafAwaiter(condition.lock_), condition_(&condition), guard_(&guard) {}
  ConditionAwaiter(ConditionAwaiter&&) = default;
  ~ConditionAwaiter() { Dispose(); }

  void Validate() const;
  bool Ready() noexcept { return !lock_->binding_.Bind(this); }
  void Arm() noexcept;
  void Unlink() noexcept;
  void GiveBack() noexcept;
  void Take();
  // The lock is acquired first, so a cancel may have to wait.
  bool OnCancel() noexcept override;
  void DescribeWait(std::string* out) const override;

 private:
  friend class coil::Condition;
  enum class Phase : uint8_t {
    kHolding,   // the guard holds the lock
    kWaiting,   // in the line of the condition
    kNotified,  // in the line of the lock
    kLeaving,   // the same, cancelled before it was notified
    kOrphaned,  // the same, the condition was destroyed
  };

  // Takes a place in the line of the lock, and the lock if it is free.
  void JoinLine(Phase phase) noexcept;
  // Has left the line of the lock; true if the guard holds the lock again,
  // false if the lock is gone.
  bool LeaveLine() noexcept;

  Condition* condition_;  // null once it is destroyed
  Lock::Guard* guard_;
  Phase phase_ = Phase::kHolding;
};

}  // namespace internal

inline internal::ConditionAwaiter Condition::Wait(Lock::Guard& guard) noexcept {
  return internal::ConditionAwaiter(*this, guard);
}

template <class F>
Co<std::decay_t<std::invoke_result_t<F&>>> Condition::WaitForOwned(
    Lock::Guard& guard, F predicate) {
  for (;;) {
    auto result = predicate();
    if (result) co_return result;
    co_await Wait(guard);
  }
}

}  // namespace coil

#endif  // COIL_SYNC_CONDITION_H_
