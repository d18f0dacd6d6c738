// coil/sync/channel.h
//
// Channel passes values from tasks that send to tasks that receive, with a
// bound that makes the former wait for the latter, until it is closed. To count
// what is not done yet, or for another order, see coil/sync/queue.h; to give
// each value to all receivers, see coil/sync/broadcast.h.
//
// Example:
//   coil::Co<void> Send(coil::Channel<int>& numbers) {
//     for (int i = 0; i < 10; ++i) co_await numbers.Send(i);
//     numbers.Close();
//   }
//   coil::Co<int> Sum(coil::Channel<int>& numbers) {
//     int sum = 0;
//     while (auto number = co_await numbers.Next()) sum += *number;
//     co_return sum;
//   }
//
// Ordering: values arrive in the order in which they were accepted; receivers
//   and senders are each served strictly first in, first out; nobody overtakes.
// Cancellation: if CancelledError is delivered, nothing was consumed: a
//   cancelled Receive() has taken no value, a cancelled Send() has sent none
//   and has not moved from its argument (as Queue::Put()).
// Threads: the loop's thread only. The channel belongs to the loop of the first
//   task that had to wait; waiting on a second loop throws std::runtime_error.
// Lifetime: neither copied nor moved. If it is destroyed while tasks wait,
//   each of them gets std::runtime_error. Waiting allocates nothing; the buffer
//   grows up to the capacity and is kept.
//
// asyncio has none; Go's channels and tokio's mpsc are the models.

#ifndef COIL_SYNC_CHANNEL_H_
#define COIL_SYNC_CHANNEL_H_

#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "coil/sync/internal/item_queue.h"
#include "coil/sync/internal/put_argument.h"
#include "coil/sync/internal/ring.h"

namespace coil {

// The channel was closed: nothing can be sent, or nothing is left to receive.
class ChannelClosed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace internal {

struct ChannelNames {
  static constexpr const char* kName = "Channel";
  static constexpr const char* kPut = "Channel::Send";
  static constexpr const char* kGet = "Channel::Receive";
  static constexpr const char* kJoin = "Channel";
  [[noreturn]] static void ThrowClosed(const char* operation);
};

// Throws std::invalid_argument if it is less than 1.
int64_t ChannelCapacity(int64_t capacity);

}  // namespace internal

template <class T>
class Channel {
  using Impl =
      internal::ItemQueue<T, internal::FifoItems<T>, internal::ChannelNames>;

 public:
  using value_type = T;

  // Holds up to `capacity` values. Throws std::invalid_argument if it is less
  // than 1.
  explicit Channel(int64_t capacity)
      : impl_(internal::ChannelCapacity(capacity)), capacity_(capacity) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // co_await channel.Send(value) waits for room and adds the value. Throws
  // ChannelClosed.
  // Cancellation: if CancelledError is delivered, the value was not sent, and
  // an rvalue argument is as it was: see Queue::Put().
  [[nodiscard("co_await it")]] auto Send(T value)
    requires internal::kPutByValue<T>
  {
    return internal::ItemPutter<Impl>(impl_, value);
  }
  [[nodiscard("co_await it")]] auto Send(T&& value COIL_LIFETIME_BOUND)
    requires(!internal::kPutByValue<T>)
  {
    return internal::ItemPutter<Impl>(impl_, std::move(value));
  }
  [[nodiscard("co_await it")]] auto Send(const T& value)
    requires(!internal::kPutByValue<T> && std::copy_constructible<T>)
  {
    return internal::ItemPutter<Impl>(impl_, value);
  }

  // co_await channel.Receive() waits for a value and removes it. Throws
  // ChannelClosed once the channel is closed and empty.
  // Cancellation: if CancelledError is delivered, no value was removed.
  [[nodiscard("co_await it")]] auto Receive() {
    return internal::ItemGetAwaiter<Impl>(impl_);
  }

  // co_await channel.Next() is Receive() with std::nullopt at the end:
  //     while (auto value = co_await channel.Next()) Use(*value);
  [[nodiscard("co_await it")]] auto Next() {
    return internal::ItemNextAwaiter<Impl>(impl_);
  }

  // False, and the value as it was, if there is no room or the channel is
  // closed.
  [[nodiscard]] bool TrySend(T&& value) {
    return impl_.TryPush(std::move(value));
  }
  [[nodiscard]] bool TrySend(const T& value)
    requires std::copy_constructible<T>
  {
    return impl_.TryPush(value);
  }
  [[nodiscard]] std::optional<T> TryReceive() { return impl_.TryPop(); }

  // Nothing more can be sent: Send() throws, also where it waits. What is
  // inside can still be received. Idempotent.
  void Close() { impl_.Close(/*drop=*/false); }
  bool Closed() const { return impl_.Closed(); }

  // How many values can be received without waiting.
  int64_t Size() const { return impl_.Free(); }
  bool Empty() const { return impl_.Free() == 0; }
  // Whether Send() would wait, or throw.
  bool Full() const { return impl_.Room() == 0; }
  int64_t Capacity() const { return capacity_; }

 private:
  Impl impl_;
  int64_t capacity_;
};

}  // namespace coil

#endif  // COIL_SYNC_CHANNEL_H_
