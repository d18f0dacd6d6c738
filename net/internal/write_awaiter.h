// coil/net/internal/write_awaiter.h
//
// The leaf awaiter of StreamWriter::Write(): sends at once what can be sent,
// and waits in the queue of the connection with the rest.
//
// Cancellation: see StreamWriter.
// Threads: the loop's thread only.
// Lifetime: holds a reference to the connection, borrows the data.

#ifndef COIL_NET_INTERNAL_WRITE_AWAITER_H_
#define COIL_NET_INTERNAL_WRITE_AWAITER_H_

#include <coroutine>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/write_queue.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"

namespace coil::net::internal {

class WriteAwaiter final : public coil::internal::LeafAwaiter<WriteAwaiter>,
                           private WriteQueue::Entry {
 public:
  WriteAwaiter(StreamRef core, std::string_view data)
      : core_(std::move(core)), single_(data), is_single_(true) {}
  WriteAwaiter(StreamRef core, absl::Span<const std::string_view> pieces)
      : core_(std::move(core)), pieces_(pieces), is_single_(false) {}
  // A part of a file, by the one who sends it and whom the others let alone.
  // `*sent` becomes true if a cancel comes when all of it was sent already; it
  // outlives the awaiter.
  struct OfFile {
    explicit OfFile(bool* sent_in) : sent(sent_in) {}
    bool* sent;
  };
  WriteAwaiter(StreamRef core, std::string_view data, OfFile of_file)
      : WriteAwaiter(std::move(core), data) {
    sent_ = of_file.sent;
  }
  WriteAwaiter(WriteAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        Entry(),
        core_(std::move(other.core_)),
        single_(other.single_),
        pieces_(other.pieces_),
        sent_(other.sent_),
        is_single_(other.is_single_) {}
  ~WriteAwaiter() { Dispose(); }

  bool await_ready() {
    Validate();
    if (core_->TurnUsedUp()) [[unlikely]] {
      wait_ = coil::internal::LeafBase::Wait::kGiveWay;
      return false;
    }
    return LeafAwaiter::await_ready();
  }

  template <class P>
  COIL_AWAIT_SUSPEND void await_suspend(std::coroutine_handle<P> self) {
    // A cancel from before is delivered instead of the wait: what Ready() has
    // begun goes on without this task.
    if (Started() && task_->MustCancel()) [[unlikely]]
      core_->KeepRest(*this);
    LeafAwaiter::await_suspend(self);
  }

  void Validate() const {
    if (core_->WriteForbidden() && sent_ == nullptr) [[unlikely]]
      core_->ThrowForbidden("Write");
    core_->CheckLoop(task_);
  }
  bool Ready() noexcept {
    error_ = core_->WriteRefused();
    if (error_ != 0) [[unlikely]]
      return true;
    size_t sent = 0;
    if (is_single_ && core_->QueueEmpty() && !single_.empty()) [[likely]] {
      // As a rule that is all.
      const IoResult result = core_->TrySend(single_);
      if (result.Ok()) {
        sent = result.bytes();
        if (sent == single_.size()) [[likely]]
          return true;
      } else if (!result.Blocked()) {
        error_ = result.error();
        core_->FailWrites(error_);
        return true;
      }
    }
    return ReadyInPieces(sent);
  }
  void Arm() noexcept { core_->Enqueue(*this); }
  // It is sent at once, in its place; only the task runs later.
  void ArmGivingWay() noexcept {
    if (Ready()) return Grant();
    Arm();
  }
  void Unlink() noexcept { core_->Abandon(*this); }
  // It was sent.
  void GiveBack() noexcept {
    if (sent_ != nullptr && error_ == 0) *sent_ = true;
  }
  void Take() {
    if (error_ != 0) [[unlikely]]
      std::rethrow_exception(core_->WriteError(error_));
  }
  coil::internal::ResultSlot<void> TakeResult() {
    coil::internal::ResultSlot<void> slot;
    if (error_ != 0) {
      slot.SetError(core_->WriteError(error_));
    }
    return slot;
  }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "room to send ", Remaining(), " bytes to ",
                    core_->PeerText(), " (fd ", core_->stream().Descriptor(),
                    ")");
  }

 private:
  [[gnu::noinline]] bool ReadyInPieces(size_t sent) noexcept {
    SetPieces(is_single_ ? absl::MakeConstSpan(&single_, 1) : pieces_);
    Skip(sent);
    if (!core_->QueueEmpty()) return Remaining() == 0;
    error_ = core_->SendNow(*this);
    return error_ != 0 || Remaining() == 0;
  }
  void OnDone(int error) noexcept override {
    error_ = error;
    Grant();
  }

  StreamRef core_;
  std::string_view single_;
  absl::Span<const std::string_view> pieces_;
  bool* sent_ = nullptr;  // of a file
  int error_ = 0;
  bool is_single_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_WRITE_AWAITER_H_
