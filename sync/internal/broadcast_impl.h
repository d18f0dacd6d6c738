// coil/sync/internal/broadcast_impl.h
//
// The bodies of Broadcast, and its awaiters. Included by coil/sync/broadcast.h
// only.
//
// Threads: the loop's thread only.
// Lifetime: see coil/sync/broadcast.h.

#ifndef COIL_SYNC_INTERNAL_BROADCAST_IMPL_H_
#define COIL_SYNC_INTERNAL_BROADCAST_IMPL_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/sync/broadcast.h"  // IWYU pragma: keep
#include "coil/sync/internal/waiter_list.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil {

namespace internal {

template <class T>
class BroadcastWaiter : public Waiter {
 public:
  void Validate() const {
    if (subscriber_->broadcast() == nullptr) ThrowNoBroadcast();
    if (subscriber_->waiter_ != nullptr) ThrowReceivedTwice();
  }
  bool Ready() noexcept {
    Broadcast<T>& broadcast = *subscriber_->broadcast();
    return subscriber_->next_ != broadcast.end_ || broadcast.closed_ ||
           !broadcast.binding_.Bind(this);
  }
  void Arm() noexcept {
    subscriber_->waiter_ = this;
    subscriber_->broadcast()->waiters_.Append(this);
  }
  void Unlink() noexcept {
    subscriber_->waiter_ = nullptr;
    subscriber_->broadcast()->waiters_.Remove(this);
  }
  // The value stays the next one of the subscriber.
  void GiveBack() noexcept {
    if (subscriber_ != nullptr) subscriber_->waiter_ = nullptr;
  }
  void DescribeWait(std::string* out) const final {
    out->append("Broadcast, nothing new");
  }

  // The subscriber moves, or goes away (null) while the task waits.
  void SetSubscriber(typename Broadcast<T>::Subscriber* subscriber) noexcept {
    if (subscriber == nullptr) {
      if (this->Linked()) {
        subscriber_->broadcast()->waiters_.DestroyOne(this);
      } else {
        this->end_ = WaitEnd::kDestroyed;
        this->number_ = 1;
      }
    }
    subscriber_ = subscriber;
  }

 protected:
  explicit BroadcastWaiter(typename Broadcast<T>::Subscriber* s) noexcept
      : subscriber_(s) {}
  BroadcastWaiter(BroadcastWaiter&&) = default;
  ~BroadcastWaiter() = default;

  // True if there is a value to take, false at the end.
  bool HasValue() {
    GiveBack();
    if (subscriber_ == nullptr || this->end_ == WaitEnd::kWrongLoop) {
      this->Fail("Broadcast::Subscriber", "Broadcast::Receive");
    }
    if (this->end_ != WaitEnd::kGranted) {
      this->Fail("Broadcast", "Broadcast::Receive");
    }
    // It was destroyed after the value was sent.
    if (subscriber_->broadcast() == nullptr) ThrowNoBroadcast();
    return subscriber_->Size() != 0;
  }
  T TakeValue() { return subscriber_->TakeNext(); }

 private:
  typename Broadcast<T>::Subscriber* subscriber_;  // null: it is destroyed
};

template <class T>
class ReceiveAwaiter final
    : public LeafAwaiter<ReceiveAwaiter<T>, BroadcastWaiter<T>> {
 public:
  explicit ReceiveAwaiter(typename Broadcast<T>::Subscriber& s) noexcept
      : LeafAwaiter<ReceiveAwaiter, BroadcastWaiter<T>>(&s) {}
  ReceiveAwaiter(ReceiveAwaiter&&) = default;
  ~ReceiveAwaiter() { this->Dispose(); }
  void Validate() const { BroadcastWaiter<T>::Validate(); }

  T Take() {
    if (!this->HasValue()) ThrowBroadcastClosed("Broadcast::Receive");
    return this->TakeValue();
  }
};

template <class T>
class BroadcastNextAwaiter final
    : public LeafAwaiter<BroadcastNextAwaiter<T>, BroadcastWaiter<T>> {
 public:
  explicit BroadcastNextAwaiter(typename Broadcast<T>::Subscriber& s) noexcept
      : LeafAwaiter<BroadcastNextAwaiter, BroadcastWaiter<T>>(&s) {}
  BroadcastNextAwaiter(BroadcastNextAwaiter&&) = default;
  ~BroadcastNextAwaiter() { this->Dispose(); }
  void Validate() const { BroadcastWaiter<T>::Validate(); }

  std::optional<T> Take() {
    if (!this->HasValue()) return std::nullopt;
    return this->TakeValue();
  }
};

}  // namespace internal

template <class T>
int64_t Broadcast<T>::Send(T value) {
  if (closed_) internal::ThrowBroadcastClosed("Broadcast::Send");
  if (subscribers_ == 0) return 0;
  Slot& slot = SlotOf(end_);
  // The value that lay here is lost to those who have not seen it.
  if (end_ - oldest_ == slots_.size()) ++oldest_;
  slot.value.reset();
  slot.value.emplace(std::move(value));
  slot.unseen = subscribers_;
  ++end_;
  waiters_.WakeAll();
  return subscribers_;
}

template <class T>
T Broadcast<T>::Subscriber::TakeNext() {
  Broadcast& from = *broadcast();
  if (next_ < from.oldest_) {
    const uint64_t skipped = from.oldest_ - next_;
    next_ = from.oldest_;
    throw BroadcastLagged(static_cast<int64_t>(skipped));
  }
  Slot& slot = from.SlotOf(next_);
  if constexpr (std::is_nothrow_move_constructible_v<T>) {
    if (slot.unseen == 1) {
      T last(*std::move(slot.value));
      ++next_;
      Seen(slot);
      return last;
    }
  }
  T copy(*slot.value);
  ++next_;
  Seen(slot);
  return copy;
}

template <class T>
std::optional<T> Broadcast<T>::Subscriber::TryReceive() {
  if (broadcast() == nullptr) internal::ThrowNoBroadcast();
  if (waiter_ != nullptr) internal::ThrowReceivedTwice();
  if (Size() == 0) return std::nullopt;
  return TakeNext();
}

template <class T>
void Broadcast<T>::Subscriber::MoveFrom(Subscriber& other) noexcept {
  TakeOver(other);
  next_ = other.next_;
  waiter_ = std::exchange(other.waiter_, nullptr);
  if (waiter_ != nullptr) waiter_->SetSubscriber(this);
}

template <class T>
void Broadcast<T>::Subscriber::Unsubscribe() noexcept {
  if (waiter_ != nullptr)
    std::exchange(waiter_, nullptr)->SetSubscriber(nullptr);
  if (broadcast() == nullptr) return;
  Broadcast& from = *broadcast();
  Leave();
  --from.subscribers_;
  for (uint64_t n = std::max(next_, from.oldest_); n != from.end_; ++n) {
    Seen(from.SlotOf(n));
  }
}

}  // namespace coil

#endif  // COIL_SYNC_INTERNAL_BROADCAST_IMPL_H_
