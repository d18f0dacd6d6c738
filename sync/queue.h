// coil/sync/queue.h
//
// Queue passes items from tasks that make them to tasks that use them, with an
// optional bound that makes the former wait for the latter. LifoQueue gives the
// newest item first, PriorityQueue the least. Queue counts what is not done yet
// (TaskDone(), Join()); coil/sync/channel.h is the plain pipe without that.
//
// Example:
//   coil::Co<void> Produce(coil::Queue<std::string>& queue) {
//     co_await queue.Put("first");
//     co_await queue.Put("second");
//     queue.Shutdown();
//   }
//   coil::Co<size_t> Consume(coil::Queue<std::string>& queue) {
//     size_t length = 0;
//     while (auto item = co_await queue.Next()) length += item->size();
//     co_return length;
//   }
//
// Ordering: tasks in Get() are served strictly first in, first out, and so are
//   tasks in Put(); nobody overtakes, not even by TryGet(). Items of equal
//   priority in a PriorityQueue come in no particular order.
// Cancellation: if CancelledError is delivered, nothing was consumed: a
//   cancelled Get() has taken no item, a cancelled Put() has put none in and
//   has not moved from its argument (see Put()).
// Threads: the loop's thread only. The queue belongs to the loop of the first
//   task that had to wait; waiting on a second loop throws std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error. Waiting allocates nothing; the buffer
//   grows in powers of two and is kept.
//
// An item that was promised to a task in Get() which has not resumed yet is not
// counted by Size() any more, but keeps its room until then. T may be
// move-only. If the move of T throws, or a comparison, the error comes out of
// Put() or Get(), and the item stays where it was as far as T allows it.
//
// asyncio: Queue, PriorityQueue, LifoQueue (A120-A132). Unlike there, a size
// less than 0 is refused.

#ifndef COIL_SYNC_QUEUE_H_
#define COIL_SYNC_QUEUE_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "coil/sync/internal/item_queue.h"
#include "coil/sync/internal/put_argument.h"
#include "coil/sync/internal/ring.h"
#include "coil/sync/internal/signal_awaiter.h"

namespace coil {

// PutNoWait() found no room, GetNoWait() no item. asyncio: A132.
class QueueFull : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class QueueEmpty : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
// The queue was shut down. asyncio: A129.
class QueueShutDown : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace internal {

struct QueueNames {
  static constexpr const char* kName = "Queue";
  static constexpr const char* kPut = "Queue::Put";
  static constexpr const char* kGet = "Queue::Get";
  static constexpr const char* kJoin = "Queue::Join";
  [[noreturn]] static void ThrowClosed(const char* operation);
};

// The capacity for `maxsize`; throws std::invalid_argument if it is negative.
int64_t QueueCapacity(int64_t maxsize, int64_t unbounded);
[[noreturn]] void ThrowQueueFull(int64_t maxsize);
[[noreturn]] void ThrowQueueEmpty();

}  // namespace internal

// What the three kinds of queue have in common.
template <class T, class Items>
class BasicQueue {
  using Impl = internal::ItemQueue<T, Items, internal::QueueNames>;

 public:
  using value_type = T;

  BasicQueue(const BasicQueue&) = delete;
  BasicQueue& operator=(const BasicQueue&) = delete;

  // co_await queue.Put(item) waits for room and adds the item. Throws
  // QueueShutDown.
  //
  // Cancellation: if CancelledError is delivered, or anything else is thrown,
  // the item was not added, and `co_await queue.Put(std::move(item))` has left
  // `item` as it was. To make that so, the operation refers to an rvalue
  // argument until the queue accepts it, so it is awaited in the full
  // expression that made it. An operation that is passed on, as in
  // CreateTask(queue.Put(std::move(item))) or WithTimeout(...), takes the item
  // along when it is moved, and destroys it if it is cancelled. Lvalues, and
  // plain values of up to 32 bytes, are copied at once. asyncio: A122.
  [[nodiscard("co_await it")]] auto Put(T item)
    requires internal::kPutByValue<T>
  {
    return internal::ItemPutter<Impl>(impl_, item);
  }
  [[nodiscard("co_await it")]] auto Put(T&& item COIL_LIFETIME_BOUND)
    requires(!internal::kPutByValue<T>)
  {
    return internal::ItemPutter<Impl>(impl_, std::move(item));
  }
  [[nodiscard("co_await it")]] auto Put(const T& item)
    requires(!internal::kPutByValue<T> && std::copy_constructible<T>)
  {
    return internal::ItemPutter<Impl>(impl_, item);
  }

  // co_await queue.Get() waits for an item and removes it. Throws QueueShutDown
  // once the queue is shut down and empty.
  // Cancellation: if CancelledError is delivered, no item was removed. A124.
  [[nodiscard("co_await it")]] auto Get() {
    return internal::ItemGetAwaiter<Impl>(impl_);
  }

  // co_await queue.Next() is Get() with std::nullopt instead of QueueShutDown:
  //     while (auto item = co_await queue.Next()) Use(*item);
  [[nodiscard("co_await it")]] auto Next() {
    return internal::ItemNextAwaiter<Impl>(impl_);
  }

  // Adds the item if there is room for it: QueueShutDown, else QueueFull. The
  // item is left as it was if anything is thrown. asyncio: A123.
  void PutNoWait(T&& item) {
    if (!impl_.TryPush(std::move(item))) ThrowNoRoom();
  }
  void PutNoWait(const T& item)
    requires std::copy_constructible<T>
  {
    if (!impl_.TryPush(item)) ThrowNoRoom();
  }
  // The same; false, and the item as it was, if there is no room or the queue
  // is shut down.
  [[nodiscard]] bool TryPut(T&& item) { return impl_.TryPush(std::move(item)); }
  [[nodiscard]] bool TryPut(const T& item)
    requires std::copy_constructible<T>
  {
    return impl_.TryPush(item);
  }

  // Removes an item if there is one that was promised to nobody: QueueEmpty, or
  // QueueShutDown if none will come. asyncio: A125.
  T GetNoWait() {
    std::optional<T> item = impl_.TryPop();
    if (!item.has_value()) {
      if (impl_.Exhausted())
        internal::QueueNames::ThrowClosed("Queue::GetNoWait");
      internal::ThrowQueueEmpty();
    }
    return *std::move(item);
  }
  [[nodiscard]] std::optional<T> TryGet() { return impl_.TryPop(); }

  // Says that an item that was taken out is dealt with. Throws
  // std::runtime_error if it is called more often than items were put. A128.
  void TaskDone() { impl_.Finish("Queue::TaskDone"); }
  // co_await queue.Join() waits until every item that was put is dealt with.
  // Cancellation: if CancelledError is delivered, nothing was consumed. A127.
  [[nodiscard("co_await it")]] auto Join() {
    return internal::SignalAwaiter<Impl>(impl_);
  }

  // No more items are let in: Put() throws QueueShutDown, also where it waits.
  // What is inside can still be taken out; then, or if `immediate` drops what
  // is inside and counts it as done, Get() throws too. asyncio: A129.
  void Shutdown(bool immediate = false) { impl_.Close(immediate); }
  bool IsShutDown() const { return impl_.Closed(); }

  // How many items can be taken without waiting; asyncio's qsize(). A126.
  int64_t Size() const { return impl_.Free(); }
  bool Empty() const { return impl_.Free() == 0; }
  // Never true without a bound. True after a shutdown with a bound.
  bool Full() const { return maxsize_ != 0 && impl_.Room() == 0; }
  // 0 is without bound. asyncio: A121.
  int64_t MaxSize() const { return maxsize_; }

 protected:
  // Throws std::invalid_argument if `maxsize` is negative.
  template <class... Order>
  explicit BasicQueue(int64_t maxsize, Order&&... order)
      : impl_(internal::QueueCapacity(maxsize, Impl::kUnbounded),
              std::forward<Order>(order)...),
        maxsize_(maxsize) {}
  ~BasicQueue() = default;

 private:
  [[noreturn]] void ThrowNoRoom() const {
    if (impl_.Closed()) {
      internal::QueueNames::ThrowClosed("Queue::PutNoWait");
    }
    internal::ThrowQueueFull(maxsize_);
  }

  Impl impl_;
  int64_t maxsize_;
};

// First in, first out. A `maxsize` of 0 is without bound; a negative one throws
// std::invalid_argument. asyncio: A120.
template <class T>
class Queue final : public BasicQueue<T, internal::FifoItems<T>> {
 public:
  explicit Queue(int64_t maxsize = 0)
      : BasicQueue<T, internal::FifoItems<T>>(maxsize) {}
};

// Last in, first out. asyncio: A131.
template <class T>
class LifoQueue final : public BasicQueue<T, internal::LifoItems<T>> {
 public:
  explicit LifoQueue(int64_t maxsize = 0)
      : BasicQueue<T, internal::LifoItems<T>>(maxsize) {}
};

// The least item first, by `less`. Get() takes what is least when it resumes.
// asyncio: A130.
template <class T, class Less = std::less<T>>
class PriorityQueue final
    : public BasicQueue<T, internal::PriorityItems<T, Less>> {
 public:
  explicit PriorityQueue(int64_t maxsize = 0, Less less = Less())
      : BasicQueue<T, internal::PriorityItems<T, Less>>(maxsize,
                                                        std::move(less)) {}
};

}  // namespace coil

#endif  // COIL_SYNC_QUEUE_H_
