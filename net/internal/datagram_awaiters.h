// coil/net/internal/datagram_awaiters.h
//
// The leaf awaiters under DatagramSocket.
//
// Cancellation: a datagram that has come stays in the socket, whole; one that
//   waits for room is not sent.
// Threads: the loop's thread only.
// Lifetime: hold a reference to the socket.

#ifndef COIL_NET_INTERNAL_DATAGRAM_AWAITERS_H_
#define COIL_NET_INTERNAL_DATAGRAM_AWAITERS_H_

#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coil/net/internal/datagram_core.h"
#include "coil/net/internal/scratch.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"

namespace coil::net::internal {

[[noreturn]] void ThrowTwoReceivers(const DatagramCore& core);
[[noreturn]] void ThrowReceiveError(const DatagramCore& core, int error);
[[noreturn]] void ThrowSendError(const DatagramCore& core, const Address* to,
                                 int error);

// The result of Take() or its error, without a throw for those who look at the
// slot only.
template <class Awaiter>
auto SlotOf(Awaiter& awaiter) {
  using T = decltype(awaiter.Take());
  coil::internal::ResultSlot<T> slot;
  try {
    if constexpr (std::is_void_v<T>) {
      awaiter.Take();
    } else {
      slot.SetValue(awaiter.Take());
    }
  } catch (...) {
    slot.SetError(std::current_exception());
  }
  return slot;
}

// `Derived` defines T Result(Incoming&).
template <class Derived>
class ReceiveAwaiterBase : public coil::internal::LeafAwaiter<Derived>,
                           private DatagramCore::Receiver {
  using Leaf = coil::internal::LeafAwaiter<Derived>;

 public:
  bool await_ready() {
    Validate();
    if (core_->TurnUsedUp()) [[unlikely]] {
      this->wait_ = coil::internal::LeafBase::Wait::kGiveWay;
      return false;
    }
    return Leaf::await_ready();
  }

  void Validate() const {
    core_->CheckLoop(this->task_);
    if (core_->HasReceiver()) [[unlikely]]
      ThrowTwoReceivers(*core_);
  }
  bool Ready() noexcept { return core_->TryReceive(incoming); }
  void Arm() noexcept { core_->HoldReceiver(*this, /*armed=*/true); }
  void ArmGivingWay() noexcept {
    if (!Ready()) return Arm();
    core_->HoldReceiver(*this, /*armed=*/false);
    this->Grant();
  }
  void Unlink() noexcept { core_->EndReceive(*this); }
  void GiveBack() noexcept {
    core_->EndReceive(*this);
    core_->PutBack(incoming);
  }
  decltype(auto) Take() {
    core_->EndReceive(*this);
    if (incoming.error != 0) [[unlikely]]
      ThrowReceiveError(*core_, incoming.error);
    return static_cast<Derived*>(this)->Result(incoming);
  }
  auto TakeResult() { return SlotOf(*this); }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "a datagram at ", core_->SockText(), " (fd ",
                    core_->socket().Descriptor(), ")");
  }

 protected:
  ReceiveAwaiterBase(DatagramRef core, absl::Span<char> room, size_t heap)
      : core_(std::move(core)) {
    incoming.room = room;
    if (heap > kScratchSize) incoming.rest.resize(heap);
  }
  ReceiveAwaiterBase(ReceiveAwaiterBase&& other) noexcept
      : Leaf(std::move(other)), Receiver(), core_(std::move(other.core_)) {
    incoming = std::move(other.incoming);
  }
  ~ReceiveAwaiterBase() = default;

 private:
  void OnReceived() noexcept override { this->Grant(); }

  DatagramRef core_;
};

class SendAwaiter final : public coil::internal::LeafAwaiter<SendAwaiter>,
                          private DatagramCore::Sender {
 public:
  SendAwaiter(DatagramRef core, std::string_view bytes,
              const std::optional<Address>& address)
      : core_(std::move(core)) {
    data = bytes;
    to = address;
  }
  SendAwaiter(SendAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)), Sender(), core_(std::move(other.core_)) {
    data = other.data;
    to = other.to;
  }
  ~SendAwaiter() { Dispose(); }

  // Throws std::invalid_argument or std::runtime_error.
  void Validate() const;
  bool Ready() noexcept { return core_->TrySend(*this); }
  void Arm() noexcept { core_->AddSender(*this); }
  // It is sent at once; only the task runs later.
  void ArmGivingWay() noexcept {
    if (!Ready()) return Arm();
    Grant();
  }
  void Unlink() noexcept { core_->RemoveSender(*this); }
  void GiveBack() noexcept {}  // it is sent
  void Take() {
    if (error != 0) [[unlikely]]
      ThrowSendError(*core_, to.has_value() ? &*to : nullptr, error);
  }
  auto TakeResult() { return SlotOf(*this); }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "room to send a datagram from ", core_->SockText(),
                    " (fd ", core_->socket().Descriptor(), ")");
  }

 private:
  void OnSent() noexcept override { Grant(); }

  DatagramRef core_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_DATAGRAM_AWAITERS_H_
