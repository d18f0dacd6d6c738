// coil/sync/event.h
//
// Event is a flag that tasks wait for: Set() lets all of them go on, and who
// comes later does not wait until Clear().
//
// Example:
//   coil::Co<void> Start(coil::Event& ready, int& started) {
//     co_await ready.Wait();
//     ++started;
//   }
//
// Ordering: Set() makes the tasks that wait runnable in the order in which
//   they began to wait. Wait() on a set event does not suspend.
// Cancellation: if CancelledError is delivered, nothing was consumed: the flag
//   and the other waiters are as they were.
// Threads: the loop's thread only; from another thread use
//   loop.CallSoonThreadSafe([&] { event.Set(); }). The event belongs to the
//   loop of the first task that had to wait; waiting on a second loop throws
//   std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error. A task that was woken does not touch
//   the event again. Nothing is allocated.
//
// A task that was woken goes on even if Clear() is called before it resumes.
//
// asyncio: Event (A98-A101).

#ifndef COIL_SYNC_EVENT_H_
#define COIL_SYNC_EVENT_H_

#include <string>

#include "coil/sync/internal/signal_awaiter.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {

class Event {
 public:
  Event() = default;
  // Wakes each task that waits with std::runtime_error.
  ~Event() { signal_waiters_.Destroy(); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Sets the flag and wakes all who wait; no effect if it is set. A98.
  void Set() noexcept {
    set_ = true;
    signal_waiters_.WakeAll();
  }
  // Those who come from now on wait. asyncio: A99.
  void Clear() noexcept { set_ = false; }
  bool IsSet() const noexcept { return set_; }

  // Waits until the flag is set.
  // Cancellation: if CancelledError is delivered, nothing was consumed. A101.
  [[nodiscard("co_await it")]] internal::SignalAwaiter<Event> Wait() noexcept {
    return internal::SignalAwaiter<Event>(*this);
  }

 private:
  friend class internal::SignalAwaiter<Event>;
  static constexpr const char* kSignalName = "Event";
  static constexpr const char* kSignalOperation = "Event::Wait";
  bool Signalled() const noexcept { return set_; }
  void DescribeSignal(std::string* out) const { out->append("Event"); }

  internal::WaiterList signal_waiters_;
  internal::LoopBinding binding_;
  bool set_ = false;
};

}  // namespace coil

#endif  // COIL_SYNC_EVENT_H_
