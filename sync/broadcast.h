// coil/sync/broadcast.h
//
// Broadcast gives each value to every subscriber: each sees all values that are
// sent from its subscription on. Sending never waits; a subscriber that falls
// behind by more than the capacity loses the oldest values, and is told how
// many. To give each value to one receiver, see coil/sync/channel.h.
//
// Example:
//   coil::Co<int> Last(coil::Broadcast<int>::Subscriber news) {
//     int last = 0;
//     while (auto item = co_await news.Next()) last = *item;
//     co_return last;
//   }
//   void Announce(coil::Broadcast<int>& news) {
//     auto task = coil::CreateTask(Last(news.Subscribe()));
//     news.Send(1);
//     news.Close();
//   }
//
// Ordering: each subscriber sees the values in the order in which they were
//   sent. Send() makes the tasks that wait runnable in the order in which they
//   began to wait.
// Cancellation: if CancelledError is delivered, nothing was consumed: the next
//   Receive() of this subscriber sees the value.
// Threads: the loop's thread only. The broadcast belongs to the loop of the
//   first task that had to wait; waiting on a second loop throws
//   std::runtime_error.
// Lifetime: Broadcast is neither copied nor moved; a Subscriber moves and ends
//   its subscription when it is destroyed. A value is kept until all have seen
//   it, or `capacity` newer ones were sent. If the broadcast or a subscriber is
//   destroyed while a task waits, that task gets std::runtime_error. Nothing is
//   allocated after the constructor.
//
// asyncio has none; tokio::sync::broadcast is the model. T is copyable; the
// last subscriber to see a value gets it by move if that cannot throw.

#ifndef COIL_SYNC_BROADCAST_H_
#define COIL_SYNC_BROADCAST_H_

#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "coil/sync/internal/holder_list.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil {

// This subscriber was too slow: `Skipped()` values are lost to it. The next
// Receive() gives the oldest value that is kept.
class BroadcastLagged : public std::runtime_error {
 public:
  explicit BroadcastLagged(int64_t skipped);
  int64_t Skipped() const noexcept { return skipped_; }

 private:
  int64_t skipped_;
};

// The broadcast was closed: nothing can be sent, or nothing is left to receive.
class BroadcastClosed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace internal {

// Throws std::invalid_argument if it is less than 1.
size_t BroadcastCapacity(int64_t capacity);
[[noreturn]] void ThrowBroadcastClosed(const char* operation);
[[noreturn]] void ThrowNoBroadcast();
[[noreturn]] void ThrowReceivedTwice();

template <class T>
class BroadcastWaiter;
template <class T>
class ReceiveAwaiter;
template <class T>
class BroadcastNextAwaiter;

}  // namespace internal

template <class T>
class Broadcast {
 public:
  class Subscriber;
  static_assert(std::copy_constructible<T>,
                "Broadcast: every subscriber gets a copy of each value");

  // Keeps the last `capacity` values for those who are slow. Throws
  // std::invalid_argument if it is less than 1.
  explicit Broadcast(int64_t capacity)
      : slots_(internal::BroadcastCapacity(capacity)) {}
  // Wakes each task that waits with std::runtime_error.
  ~Broadcast() { waiters_.Destroy(); }
  Broadcast(const Broadcast&) = delete;
  Broadcast& operator=(const Broadcast&) = delete;

  // Sees what is sent from now on.
  [[nodiscard]] Subscriber Subscribe() { return Subscriber(*this); }

  // Gives `value` to all subscribers and returns how many they are; without
  // any, the value is dropped. Throws BroadcastClosed.
  int64_t Send(T value);

  // Subscribers receive what is kept for them, then BroadcastClosed.
  // Idempotent.
  void Close() noexcept {
    closed_ = true;
    waiters_.WakeAll();
  }
  bool Closed() const noexcept { return closed_; }

  int64_t Subscribers() const noexcept { return subscribers_; }
  int64_t Capacity() const noexcept {
    return static_cast<int64_t>(slots_.size());
  }

 private:
  friend class internal::BroadcastWaiter<T>;

  struct Slot {
    std::optional<T> value;
    int64_t unseen = 0;  // how many subscribers have yet to see it
  };
  Slot& SlotOf(uint64_t number) { return slots_[number % slots_.size()]; }
  static void Seen(Slot& slot) noexcept {
    if (--slot.unseen == 0) slot.value.reset();
  }

  std::vector<Slot> slots_;
  uint64_t oldest_ = 0;  // the number of the oldest value that is kept
  uint64_t end_ = 0;     // the number of the next value to be sent
  int64_t subscribers_ = 0;
  bool closed_ = false;
  internal::WaiterList waiters_;
  internal::LoopBinding binding_;
  internal::HolderList holders_;
};

// Sees each value once. Used by one task at a time.
template <class T>
class Broadcast<T>::Subscriber : private internal::Holder {
 public:
  using value_type = T;

  // Without a broadcast; Receive() throws std::runtime_error.
  Subscriber() = default;
  Subscriber(Subscriber&& other) noexcept { MoveFrom(other); }
  Subscriber& operator=(Subscriber&& other) noexcept {
    if (this != &other) {
      Unsubscribe();
      MoveFrom(other);
    }
    return *this;
  }
  ~Subscriber() { Unsubscribe(); }

  // co_await subscriber.Receive() gives the next value. Throws BroadcastLagged
  // if values were lost, BroadcastClosed after the last value,
  // std::runtime_error if another task is in Receive() of this subscriber, or
  // there is no broadcast (any more).
  // Cancellation: if CancelledError is delivered, no value was consumed.
  [[nodiscard("co_await it")]] auto Receive() {
    return internal::ReceiveAwaiter<T>(*this);
  }
  // co_await subscriber.Next() is Receive() with std::nullopt at the end. It
  // throws BroadcastLagged too; call it again to go on.
  [[nodiscard("co_await it")]] auto Next() {
    return internal::BroadcastNextAwaiter<T>(*this);
  }
  // The next value if there is one. Throws as Receive(), but for
  // BroadcastClosed.
  [[nodiscard]] std::optional<T> TryReceive();

  // How many values can be received without waiting, lost ones included.
  int64_t Size() const {
    return broadcast() == nullptr
               ? 0
               : static_cast<int64_t>(broadcast()->end_ - next_);
  }

 private:
  friend class Broadcast;
  friend class internal::BroadcastWaiter<T>;

  explicit Subscriber(Broadcast& broadcast)
      : Holder(broadcast.holders_, &broadcast), next_(broadcast.end_) {
    ++broadcast.subscribers_;
  }
  Broadcast* broadcast() const { return static_cast<Broadcast*>(owner()); }
  void MoveFrom(Subscriber& other) noexcept;
  void Unsubscribe() noexcept;
  // REQUIRES: Size() != 0.
  T TakeNext();

  uint64_t next_ = 0;
  internal::BroadcastWaiter<T>* waiter_ = nullptr;
};

}  // namespace coil

// ---- public interface ends here ----

#include "coil/sync/internal/broadcast_impl.h"  // IWYU pragma: export

#endif  // COIL_SYNC_BROADCAST_H_
