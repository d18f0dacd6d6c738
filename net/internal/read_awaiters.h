// coil/net/internal/read_awaiters.h
//
// The leaf awaiters under StreamReader: each waits for bytes of a connection
// and differs in what it makes of them.
//
// Cancellation: bytes that were received stay in the reader.
// Threads: the loop's thread only.
// Lifetime: hold a reference to the connection.

#ifndef COIL_NET_INTERNAL_READ_AWAITERS_H_
#define COIL_NET_INTERNAL_READ_AWAITERS_H_

#include <cstddef>
#include <exception>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/stream_core.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"

namespace coil::net::internal {

// What all have in common. `Derived` defines
//   absl::Span<char> Room()      where the next bytes go
//   void Received(IoResult)      they are there
//   T Result()                   no throw but std::bad_alloc
template <class Derived>
class ReadAwaiterBase : public coil::internal::LeafAwaiter<Derived>,
                        private ByteStream::ReadRequest {
  using Leaf = coil::internal::LeafAwaiter<Derived>;

 public:
  bool await_ready() {
    Validate();
    if (!core_->Satisfied(have_) && core_->TurnUsedUp()) [[unlikely]] {
      this->wait_ = coil::internal::LeafBase::Wait::kGiveWay;
      return false;
    }
    return Leaf::await_ready();
  }

  void Validate() const {
    if (core_->reader() != nullptr) [[unlikely]]
      core_->ThrowTwoReaders();
    core_->CheckLoop(this->task_);
  }
  bool Ready() noexcept {
    if (core_->Satisfied(have_)) return true;
    const IoResult result = core_->TryRead(*this);
    if (result.Blocked()) return false;
    derived().Received(result);
    return true;
  }
  void Arm() noexcept { core_->StartRead(*this); }
  // The bytes are received at once; only the task runs later.
  void ArmGivingWay() noexcept {
    core_->HoldReader(*this);
    if (!Ready()) return Arm();
    this->Grant();
  }
  void Unlink() noexcept { core_->EndRead(*this); }
  void GiveBack() noexcept { core_->EndRead(*this); }

  decltype(auto) Take() {
    core_->EndRead(*this);
    if (core_->read_error() != 0) [[unlikely]]
      std::rethrow_exception(core_->ReadError());
    return derived().Result();
  }
  // The same without a throw, for AsStatus() and Settle().
  auto TakeResult() {
    using T = decltype(derived().Result());
    coil::internal::ResultSlot<T> slot;
    if (core_->read_error() == 0) {
      try {
        if constexpr (std::is_void_v<T>) {
          Take();
        } else {
          slot.SetValue(Take());
        }
      } catch (...) {
        slot.SetError(std::current_exception());
      }
    } else {
      core_->EndRead(*this);
      slot.SetError(core_->ReadError());
    }
    return slot;
  }

  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "data from ", core_->PeerText(), " (fd ",
                    core_->stream().Descriptor(), ")");
  }

 protected:
  ReadAwaiterBase(StreamRef core, size_t have)
      : core_(std::move(core)), have_(have) {}
  ReadAwaiterBase(ReadAwaiterBase&& other) noexcept
      : Leaf(std::move(other)),
        ReadRequest(),
        core_(std::move(other.core_)),
        have_(other.have_) {}
  ~ReadAwaiterBase() = default;

  StreamRef core_;

 private:
  Derived& derived() { return static_cast<Derived&>(*this); }

  absl::Span<char> ReadBuffer() noexcept override {
    // It is woken next, behind a system call.
    const char* const task = reinterpret_cast<const char*>(this->task_);
    __builtin_prefetch(task, 1);
    __builtin_prefetch(task + 64, 1);
    return derived().Room();
  }
  void OnRead(IoResult result) noexcept override {
    derived().Received(result);
    core_->ReaderAnswered();
    this->Grant();
  }

  size_t have_;  // what is there already and not enough
};

// Waits until more than `have` bytes lie in the reader, or its end is reached.
class FillAwaiter final : public ReadAwaiterBase<FillAwaiter> {
 public:
  explicit FillAwaiter(StreamRef core, size_t have = 0,
                       size_t wanted = std::numeric_limits<size_t>::max())
      : ReadAwaiterBase(std::move(core), have), wanted_(wanted) {}
  FillAwaiter(FillAwaiter&&) = default;
  ~FillAwaiter() { Dispose(); }

  absl::Span<char> Room() noexcept { return core_->ReserveRead(wanted_); }
  void Received(IoResult result) noexcept { core_->FinishRead(result); }
  void Result() noexcept {}

 private:
  size_t wanted_;  // how much more would be enough
};

// The same, and shows the bytes.
class PeekAwaiter final : public ReadAwaiterBase<PeekAwaiter> {
 public:
  explicit PeekAwaiter(StreamRef core) : ReadAwaiterBase(std::move(core), 0) {}
  PeekAwaiter(PeekAwaiter&&) = default;
  ~PeekAwaiter() { Dispose(); }

  absl::Span<char> Room() noexcept {
    return core_->ReserveRead(std::numeric_limits<size_t>::max());
  }
  void Received(IoResult result) noexcept { core_->FinishRead(result); }
  std::string_view Result() noexcept { return core_->input().View(); }
};

// The same, and takes at most `n` of them into a string.
class ReadSomeAwaiter final : public ReadAwaiterBase<ReadSomeAwaiter> {
 public:
  ReadSomeAwaiter(StreamRef core, size_t n)
      : ReadAwaiterBase(std::move(core), 0), n_(n) {}
  ReadSomeAwaiter(ReadSomeAwaiter&&) = default;
  ~ReadSomeAwaiter() { Dispose(); }

  bool await_ready() { return n_ == 0 || ReadAwaiterBase::await_ready(); }
  absl::Span<char> Room() noexcept {
    return core_->ReserveRead(std::numeric_limits<size_t>::max());
  }
  void Received(IoResult result) noexcept { core_->FinishRead(result); }
  std::string Result() {
    std::string result(core_->input().View().substr(0, n_));
    core_->input().Consume(result.size());
    return result;
  }

 private:
  size_t n_;
};

// Reads into memory of the caller: what lies in the reader, or straight from
// the connection.
class ReadIntoAwaiter final : public ReadAwaiterBase<ReadIntoAwaiter> {
 public:
  ReadIntoAwaiter(StreamRef core, absl::Span<char> out)
      : ReadAwaiterBase(std::move(core), 0), out_(out) {}
  ReadIntoAwaiter(ReadIntoAwaiter&&) = default;
  ~ReadIntoAwaiter() { Dispose(); }

  bool await_ready() { return out_.empty() || ReadAwaiterBase::await_ready(); }
  absl::Span<char> Room() noexcept { return out_; }
  void Received(IoResult result) noexcept {
    core_->FinishDirectRead(result);
    if (result.Ok()) received_ = result.bytes();
  }
  // The bytes came and the task will not: the next reader gets them.
  void GiveBack() noexcept {
    core_->Unread(std::string_view(out_.data(), received_));
    ReadAwaiterBase::GiveBack();
  }
  size_t Result() noexcept {
    if (received_ != 0) return received_;
    auto& input = core_->input();
    const size_t n = input.View().copy(out_.data(), out_.size());
    input.Consume(n);
    return n;
  }

 private:
  absl::Span<char> out_;
  size_t received_ = 0;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_READ_AWAITERS_H_
