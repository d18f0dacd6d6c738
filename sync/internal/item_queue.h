// coil/sync/internal/item_queue.h
//
// What Queue and Channel have in common: items, room for more, and the tasks
// that wait for either. Two hand-offs: `ready_` counts the items that nobody
// was promised, `room_` the places that nobody was promised. Both kinds of task
// move an item in their own step, after they have resumed: a task that is
// cancelled before that has moved nothing, and what it was promised goes on to
// the next in line.
//
//   items_.Size() == ready_.Free() + getters that are granted
//   capacity      == items_.Size() + room_.Free() + putters that are granted
//
// Threads: the loop's thread only.
// Lifetime: as the queue that it is in.

#ifndef COIL_SYNC_INTERNAL_ITEM_QUEUE_H_
#define COIL_SYNC_INTERNAL_ITEM_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "coil/sync/internal/hand_off.h"
#include "coil/sync/internal/put_argument.h"
#include "coil/sync/internal/ring.h"
#include "coil/sync/internal/signal_awaiter.h"
#include "coil/sync/internal/waiter_list.h"

namespace coil::internal {

template <class Q>
class ItemPutter;
template <class Q>
class ItemGetter;
template <class Q>
class ItemGetAwaiter;
template <class Q>
class ItemNextAwaiter;

// `Traits` has kName, kPut, kGet, kJoin and [[noreturn]] ThrowClosed(name).
template <class T, class Items, class Traits>
class ItemQueue {
 public:
  using Item = T;
  using Names = Traits;

  static constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max() / 2;

  // `order` makes the Items.
  template <class... Order>
  explicit ItemQueue(int64_t capacity, Order&&... order)
      : room_(capacity), items_(std::forward<Order>(order)...) {}
  ~ItemQueue() {
    const uint32_t count =
        ready_.list().Count() + room_.list().Count() + signal_waiters_.Count();
    ready_.list().Destroy(count);
    room_.list().Destroy(count);
    signal_waiters_.Destroy(count);
  }
  ItemQueue(const ItemQueue&) = delete;
  ItemQueue& operator=(const ItemQueue&) = delete;

  int64_t Free() const { return ready_.Free(); }
  int64_t Room() const { return room_.Free(); }
  bool Closed() const { return closed_; }
  bool Exhausted() const { return closed_ && items_.Size() == 0; }

  template <class U>
  bool TryPush(U&& item) {
    if (!room_.TryTake()) return false;
    Push(std::forward<U>(item));
    return true;
  }
  std::optional<T> TryPop() {
    if (!ready_.TryTake()) return std::nullopt;
    return Pop();
  }

  // Nothing more comes in; with `drop` what is inside is dropped.
  void Close(bool drop) {
    closed_ = true;
    room_.Drain();
    room_.list().FailAll(WaitEnd::kClosed);
    if (drop) {
      DropItems();
    } else if (items_.Size() == 0) {
      ready_.list().FailAll(WaitEnd::kClosed);
    }
  }

  void Finish(const char* operation) {
    if (unfinished_ == 0) {
      throw std::runtime_error(
          std::string(operation) +
          ": called more often than items were put into the queue");
    }
    if (--unfinished_ == 0) signal_waiters_.WakeAll();
  }

 private:
  friend class ItemPutter<ItemQueue>;
  friend class ItemGetter<ItemQueue>;
  friend class ItemGetAwaiter<ItemQueue>;
  friend class ItemNextAwaiter<ItemQueue>;
  friend class SignalAwaiter<ItemQueue>;

  // The room for it was taken. If it throws, the room is given back.
  template <class U>
  void Push(U&& item) {
    try {
      items_.Push(std::forward<U>(item));
    } catch (...) {
      if (!closed_) room_.Give();
      throw;
    }
    ++unfinished_;
    ready_.Give();
  }

  // It was promised. If it throws, the promise is passed on.
  T Pop() {
    try {
      T item = items_.Pop();
      Popped();
      return item;
    } catch (...) {
      ready_.Give();
      throw;
    }
  }
  void Popped() noexcept {
    if (!closed_) [[likely]] {
      room_.Give();
    } else if (items_.Size() == 0) {
      ready_.list().FailAll(WaitEnd::kClosed);
    }
  }

  void DropItems() {
    ready_.Drain();
    ready_.list().FailAll(WaitEnd::kClosed);
    Ring<T> dropped;  // destroyed last: a destructor may come back here
    items_.ring().Swap(dropped);
    if (unfinished_ == 0) return;
    unfinished_ -= std::min(unfinished_, dropped.Size());
    if (unfinished_ == 0) signal_waiters_.WakeAll();
  }

  // For SignalAwaiter: Join().
  static constexpr const char* kSignalName = Names::kName;
  static constexpr const char* kSignalOperation = Names::kJoin;
  bool Signalled() const noexcept { return unfinished_ == 0; }
  void DescribeSignal(std::string* out) const {
    out->append(Names::kJoin).append(", ").append(std::to_string(unfinished_));
    out->append(" items not done");
  }

  HandOff<> ready_{0};
  HandOff<> room_;
  Items items_;
  WaiterList signal_waiters_;  // those in Join()
  LoopBinding binding_;
  size_t unfinished_ = 0;
  bool closed_ = false;
};

template <class Q>
class ItemPutter final : public LeafAwaiter<ItemPutter<Q>, Waiter> {
 public:
  using T = typename Q::Item;

  template <class U>
  ItemPutter(Q& queue, U&& item)
      : queue_(&queue), item_(std::forward<U>(item)) {}
  // Only an awaiter that is being awaited has a task.
  ItemPutter(ItemPutter&& other)
      : LeafAwaiter<ItemPutter, Waiter>(std::move(other)),
        queue_(other.queue_),
        item_(std::move(other.item_), this->task_ != nullptr) {}
  ~ItemPutter() { this->Dispose(); }

  bool Ready() noexcept {
    if (queue_->room_.TryTake()) [[likely]]
      return true;
    if (queue_->closed_) {
      this->end_ = WaitEnd::kClosed;
      return true;
    }
    return !queue_->binding_.Bind(this);
  }
  void Arm() noexcept { queue_->room_.Wait(this); }
  void ArmGivingWay() noexcept {
    if (queue_->closed_) return this->GrantUnlinked(WaitEnd::kClosed);
    if (this->BoundToLoop(queue_->binding_)) queue_->room_.Join(this);
  }
  void Unlink() noexcept { queue_->room_.StopWaiting(this); }
  void GiveBack() noexcept {
    if (this->Linked()) queue_->room_.GiveBack(this);
  }
  void Take() {
    if (this->end_ != WaitEnd::kGranted) [[unlikely]] {
      if (this->end_ == WaitEnd::kClosed) Q::Names::ThrowClosed(Q::Names::kPut);
      this->Fail(Q::Names::kName, Q::Names::kPut);
    }
    queue_->room_.Accept(this);
    queue_->Push(item_.Value());
  }
  void DescribeWait(std::string* out) const override {
    out->append(Q::Names::kPut).append(", it is full");
  }

 private:
  Q* queue_;
  PutArgument<T> item_;
};

// What Get() and Next() share: their place in line.
template <class Q>
class ItemGetter : public Waiter {
 public:
  bool Ready() noexcept {
    if (queue_->ready_.TryTake()) [[likely]]
      return true;
    if (queue_->Exhausted()) {
      this->end_ = WaitEnd::kClosed;
      return true;
    }
    return !queue_->binding_.Bind(this);
  }
  void Arm() noexcept { queue_->ready_.Wait(this); }
  void ArmGivingWay() noexcept {
    if (queue_->Exhausted()) return GrantUnlinked(WaitEnd::kClosed);
    if (BoundToLoop(queue_->binding_)) queue_->ready_.Join(this);
  }
  void Unlink() noexcept { queue_->ready_.StopWaiting(this); }
  void GiveBack() noexcept {
    if (this->Linked()) queue_->ready_.GiveBack(this);
  }
  void DescribeWait(std::string* out) const final {
    out->append(Q::Names::kGet).append(", it is empty");
  }

 protected:
  explicit ItemGetter(Q* queue) noexcept : queue_(queue) {}
  ItemGetter(ItemGetter&&) = default;
  ~ItemGetter() = default;

  void Accept() {
    if (this->end_ != WaitEnd::kGranted) [[unlikely]] {
      if (this->end_ == WaitEnd::kClosed) Q::Names::ThrowClosed(Q::Names::kGet);
      this->Fail(Q::Names::kName, Q::Names::kGet);
    }
    queue_->ready_.Accept(this);
  }

  Q* queue_;
};

template <class Q>
class ItemGetAwaiter final
    : public LeafAwaiter<ItemGetAwaiter<Q>, ItemGetter<Q>> {
 public:
  explicit ItemGetAwaiter(Q& queue) noexcept
      : LeafAwaiter<ItemGetAwaiter, ItemGetter<Q>>(&queue) {}
  ItemGetAwaiter(ItemGetAwaiter&&) = default;
  ~ItemGetAwaiter() { this->Dispose(); }

  typename Q::Item Take() {
    this->Accept();
    return this->queue_->Pop();
  }
};

template <class Q>
class ItemNextAwaiter final
    : public LeafAwaiter<ItemNextAwaiter<Q>, ItemGetter<Q>> {
 public:
  explicit ItemNextAwaiter(Q& queue) noexcept
      : LeafAwaiter<ItemNextAwaiter, ItemGetter<Q>>(&queue) {}
  ItemNextAwaiter(ItemNextAwaiter&&) = default;
  ~ItemNextAwaiter() { this->Dispose(); }

  std::optional<typename Q::Item> Take() {
    if (this->end_ == WaitEnd::kClosed) return std::nullopt;
    this->Accept();
    return this->queue_->Pop();
  }
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_ITEM_QUEUE_H_
