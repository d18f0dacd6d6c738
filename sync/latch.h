// coil/sync/latch.h
//
// Latch counts down to zero once and then lets everybody through: wait for n
// things to have happened. It cannot be used again; a rendezvous of the same
// tasks again and again is coil/sync/barrier.h.
//
// Example:
//   coil::Co<void> Worker(coil::Latch& started) {
//     started.CountDown();
//     co_await coil::Yield();
//   }
//   coil::Co<void> WaitForAll(coil::Latch& started) {
//     co_await started.Wait();
//   }
//
// Ordering: the count of zero makes the tasks that wait runnable in the order
//   in which they began to wait. Wait() at zero does not suspend.
// Cancellation: if CancelledError is delivered, nothing was consumed: the
//   count and the other waiters are as they were.
// Threads: the loop's thread only. The latch belongs to the loop of the first
//   task that had to wait; waiting on a second loop throws std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error. A task that was woken does not touch
//   the latch again. Nothing is allocated.
//
// asyncio has none; std::latch is the model.

#ifndef COIL_SYNC_LATCH_H_
#define COIL_SYNC_LATCH_H_

#include <cstdint>
#include <string>

#include "coil/sync/internal/signal_awaiter.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {

class Latch {
 public:
  // Throws std::invalid_argument if `count` is negative. A count of zero lets
  // everybody through.
  explicit Latch(int64_t count);
  // Wakes each task that waits with std::runtime_error.
  ~Latch() { signal_waiters_.Destroy(); }
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;

  // Throws std::invalid_argument if `n` is negative, std::runtime_error if it
  // is more than what is left; nothing is counted then.
  void CountDown(int64_t n = 1);

  // What is left to be counted.
  int64_t Count() const noexcept { return count_; }
  // Whether Wait() would not wait.
  bool TryWait() const noexcept { return count_ == 0; }

  // Waits until the count is zero.
  // Cancellation: if CancelledError is delivered, nothing was consumed.
  [[nodiscard("co_await it")]] internal::SignalAwaiter<Latch> Wait() noexcept {
    return internal::SignalAwaiter<Latch>(*this);
  }

 private:
  friend class internal::SignalAwaiter<Latch>;
  static constexpr const char* kSignalName = "Latch";
  static constexpr const char* kSignalOperation = "Latch::Wait";
  bool Signalled() const noexcept { return count_ == 0; }
  void DescribeSignal(std::string* out) const;

  internal::WaiterList signal_waiters_;
  internal::LoopBinding binding_;
  int64_t count_;
};

}  // namespace coil

#endif  // COIL_SYNC_LATCH_H_
