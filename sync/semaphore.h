// coil/sync/semaphore.h
//
// Semaphore hands out a number of permits: at most so many tasks at once are in
// a section, use a connection, or talk to a server. BoundedSemaphore refuses to
// get back more than it has handed out.
//
// Example:
//   coil::Co<void> Fetch(coil::Semaphore& connections, int& done) {
//     coil::Semaphore::Permit permit = co_await connections.Acquire();
//     co_await coil::Yield();
//     ++done;
//   }
//
// Ordering: strictly first in, first out. A permit that is returned goes to the
//   first task in line, which runs on the next pass, and nobody overtakes it
//   meanwhile. Acquire() does not suspend while a permit is free.
// Cancellation: if CancelledError is delivered, no permit was taken: one that
//   was handed over already goes on to the next in line.
// Threads: the loop's thread only. The semaphore belongs to the loop of the
//   first task that had to wait; waiting on a second loop throws
//   std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error; a permit that outlives its semaphore
//   holds nothing any more. Nothing is allocated.
//
// A permit may be given up in one place and returned in another: Forget() it,
// and call Release() on the semaphore later.
//
// asyncio: Semaphore, BoundedSemaphore (A108-A112).

#ifndef COIL_SYNC_SEMAPHORE_H_
#define COIL_SYNC_SEMAPHORE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "coil/sync/internal/hand_off.h"
#include "coil/sync/internal/holder_list.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {
namespace internal {
class SemaphoreAwaiter;
}  // namespace internal

class Semaphore {
 public:
  class Permit;

  // Starts with `permits` of them; none is allowed. Throws
  // std::invalid_argument if it is negative. asyncio: A108.
  explicit Semaphore(int64_t permits)
      : Semaphore(permits, std::numeric_limits<int64_t>::max(), "Semaphore") {}
  // Wakes each task that waits with std::runtime_error.
  ~Semaphore() { hand_off_.list().Destroy(); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // co_await semaphore.Acquire() gives a Permit, which is returned when it is
  // released or destroyed. Keep it: a permit that is dropped returns at once.
  // Cancellation: if CancelledError is delivered, no permit was taken. A109.
  [[nodiscard("co_await it")]] internal::SemaphoreAwaiter Acquire() noexcept;

  // A permit if one is free, which implies that nobody waits.
  std::optional<Permit> TryAcquire();

  // Returns a permit that was forgotten, or adds one: the count may exceed the
  // initial one. A BoundedSemaphore throws std::runtime_error instead. A110.
  void Release();

  // Whether Acquire() would wait. asyncio: A111.
  bool Locked() const noexcept { return hand_off_.Free() == 0; }
  // How many permits are free.
  int64_t Available() const noexcept { return hand_off_.Free(); }

 protected:
  Semaphore(int64_t permits, int64_t bound, const char* name);

 private:
  friend class internal::SemaphoreAwaiter;

  // False if that would be more than the bound.
  bool Return() noexcept {
    if (hand_off_.Free() >= bound_) [[unlikely]]
      return false;
    hand_off_.Give();
    return true;
  }
  [[noreturn]] void ThrowOverReleased() const;
  void ReportOverReleased() const noexcept;

  internal::HandOff<> hand_off_;
  internal::LoopBinding binding_;
  internal::HolderList holders_;
  int64_t bound_;
  const char* name_;
};

// Holds one permit. Moves; the moved-from one holds nothing.
class [[nodiscard(
    "a permit that is dropped returns at once")]] Semaphore::Permit
    : private internal::Holder {
 public:
  // Holds nothing.
  Permit() = default;
  Permit(Permit&& other) noexcept : Holder(std::move(other)) {}
  Permit& operator=(Permit&& other) noexcept {
    if (this != &other) {
      Drop();
      TakeOver(other);
    }
    return *this;
  }
  ~Permit() { Drop(); }

  // Returns the permit before the end of the scope. Throws std::runtime_error
  // if it holds nothing: released twice, forgotten, moved from, or the
  // semaphore was destroyed.
  void Release();

  // Gives the permit up without returning it: the semaphore has one less until
  // somebody calls Semaphore::Release(). Throws as Release() does.
  void Forget();

  bool Owns() const noexcept { return owner() != nullptr; }

 private:
  friend class Semaphore;
  friend class internal::SemaphoreAwaiter;

  explicit Permit(Semaphore& semaphore) noexcept
      : Holder(semaphore.holders_, &semaphore) {}
  Semaphore* LeaveSemaphore() noexcept {
    return static_cast<Semaphore*>(Leave());
  }
  void Drop() noexcept {
    if (owner() == nullptr) return;
    Semaphore* const semaphore = LeaveSemaphore();
    if (!semaphore->Return()) [[unlikely]]
      semaphore->ReportOverReleased();
  }
};

// A semaphore that never has more permits than it began with. asyncio: A112.
class BoundedSemaphore : public Semaphore {
 public:
  // Throws std::invalid_argument if `permits` is negative.
  explicit BoundedSemaphore(int64_t permits)
      : Semaphore(permits, permits, "BoundedSemaphore") {}
};

// ---- public interface ends here ----

namespace internal {

class SemaphoreAwaiter final : public LeafAwaiter<SemaphoreAwaiter, Waiter> {
 public:
  explicit SemaphoreAwaiter(Semaphore& semaphore) noexcept
      : semaphore_(&semaphore) {}
  SemaphoreAwaiter(SemaphoreAwaiter&&) = default;
  ~SemaphoreAwaiter() { Dispose(); }

  bool Ready() noexcept {
    if (semaphore_->hand_off_.TryTake()) [[likely]]
      return true;
    return !semaphore_->binding_.Bind(this);
  }
  void Arm() noexcept { semaphore_->hand_off_.Wait(this); }
  void ArmGivingWay() noexcept {
    if (BoundToLoop(semaphore_->binding_)) semaphore_->hand_off_.Join(this);
  }
  void Unlink() noexcept { semaphore_->hand_off_.StopWaiting(this); }
  void GiveBack() noexcept {
    if (Linked()) semaphore_->hand_off_.GiveBack(this);
  }
  Semaphore::Permit Take() {
    if (end_ != WaitEnd::kGranted) [[unlikely]]
      Fail("Semaphore", "Semaphore::Acquire");
    semaphore_->hand_off_.Accept(this);
    return Semaphore::Permit(*semaphore_);
  }
  void DescribeWait(std::string* out) const override {
    out->append(semaphore_->name_);
  }

 private:
  Semaphore* semaphore_;
};

}  // namespace internal

inline internal::SemaphoreAwaiter Semaphore::Acquire() noexcept {
  return internal::SemaphoreAwaiter(*this);
}

// The short name: there is one kind of permit.
using Permit = Semaphore::Permit;

}  // namespace coil

#endif  // COIL_SYNC_SEMAPHORE_H_
