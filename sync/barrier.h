// coil/sync/barrier.h
//
// Barrier lets tasks wait for one another: the last of a number of tasks to
// arrive lets all of them go on, again and again. To wait for n things once,
// see coil/sync/latch.h.
//
// Example:
//   coil::Co<void> Player(coil::Barrier& round, int& rounds) {
//     for (int i = 0; i < 3; ++i) {
//       int place = co_await round.Wait();
//       if (place == 0) ++rounds;
//     }
//   }
//
// Ordering: Wait() results in the place at which the task arrived, from 0; the
//   last to arrive does not suspend, the others resume in their order. Tasks
//   that arrive before all of a round have resumed wait for the next round.
// Cancellation: a task that is cancelled before the round is complete has not
//   arrived: the barrier waits for one more, and the others move up. One that
//   is cancelled after that has arrived: the others go on.
// Threads: the loop's thread only. The barrier belongs to the loop of the first
//   task that had to wait; waiting on a second loop throws std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait, each
//   of them gets std::runtime_error; those whose round was complete do not.
//   Nothing is allocated.
//
// asyncio: Barrier (A113-A119); Reset() and Abort() are plain functions here.
// `async with barrier` is an await of Wait() at the head of the scope.

#ifndef COIL_SYNC_BARRIER_H_
#define COIL_SYNC_BARRIER_H_

#include <cstdint>
#include <stdexcept>
#include <string>

#include "coil/sync/internal/waiter_list.h"

namespace coil {
namespace internal {
class BarrierAwaiter;
}  // namespace internal

// The barrier was reset while this task waited, or is broken. asyncio: A119.
class BrokenBarrierError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Barrier {
 public:
  // Throws std::invalid_argument if `parties` is less than 1. asyncio: A113.
  explicit Barrier(int parties);
  // Wakes each task that waits with std::runtime_error.
  ~Barrier();
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  // Waits for the others; results in the place of arrival, from 0 to
  // Parties() - 1. Throws BrokenBarrierError. asyncio: A114.
  [[nodiscard("co_await it")]] internal::BarrierAwaiter Wait() noexcept;

  // Those who wait get BrokenBarrierError, also those whose round was complete
  // and who have not resumed; then the barrier is as new. Tasks that arrived
  // after a complete round stay. asyncio: A116.
  void Reset() noexcept;
  // Breaks the barrier: those who wait, and all who come, get
  // BrokenBarrierError, until Reset(). asyncio: A117.
  void Abort() noexcept;

  int Parties() const noexcept { return parties_; }
  // How many have arrived for this round; 0 while the tasks of a round that is
  // complete have yet to resume. asyncio: A118.
  int NWaiting() const noexcept { return waiters_.HasGranted() ? 0 : waiting_; }
  bool Broken() const noexcept { return broken_; }

 private:
  friend class internal::BarrierAwaiter;

  // One more has arrived. True if that completes the round.
  bool Arrive() noexcept {
    if (waiters_.HasGranted() || waiting_ + 1 < parties_) return false;
    Complete(parties_ - 1);
    return true;
  }
  // Lets the first `n` go.
  void Complete(int n) noexcept;
  void BreakWaiting() noexcept;
  // A task has left; those who came too early may be a round now.
  void Left() noexcept {
    if (waiting_ >= parties_ && !waiters_.HasGranted()) Complete(parties_);
  }

  internal::WaiterList waiters_;
  internal::LoopBinding binding_;
  int parties_;
  int waiting_ = 0;
  bool broken_ = false;
};

// ---- public interface ends here ----

namespace internal {

class BarrierAwaiter final : public LeafAwaiter<BarrierAwaiter, Waiter> {
 public:
  explicit BarrierAwaiter(Barrier& barrier) noexcept : barrier_(&barrier) {}
  BarrierAwaiter(BarrierAwaiter&&) = default;
  ~BarrierAwaiter() { Dispose(); }

  bool Ready() noexcept;
  void Arm() noexcept;
  void ArmGivingWay() noexcept;
  void Unlink() noexcept;
  void GiveBack() noexcept;
  int Take();
  void DescribeWait(std::string* out) const override;

 private:
  friend class coil::Barrier;
  Barrier* barrier_;
};

}  // namespace internal

inline internal::BarrierAwaiter Barrier::Wait() noexcept {
  return internal::BarrierAwaiter(*this);
}

}  // namespace coil

#endif  // COIL_SYNC_BARRIER_H_
