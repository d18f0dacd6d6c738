#include "coil/loop/internal/uring_streams.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/syscalls.h"

namespace coil::internal {
namespace {

// Nothing bears it.
constexpr uint64_t kNobody = ~uint64_t{0} - 1;

// The kernel does not know such an operation, or not for this descriptor.
bool IsRefusal(int error) {
  return error == EINVAL || error == EOPNOTSUPP || error == ENOSYS;
}

// It has ended for a reason of its own, and is started again.
bool MayGoOn(int error) {
  return error == ECANCELED || error == EAGAIN || error == EINTR;
}

}  // namespace

// ---- life

int UringStreams::Open(IoUring& ring, uint32_t buffers,
                       uint32_t buffer_size) noexcept {
  if (buffers_.count() == 0) {
    const int error = buffers_.Allocate(buffers, buffer_size);
    if (error != 0) return error;
  }
  // Those that know the second also receive on and on (6.0). It says that there
  // is nothing of the kind.
  int error = buffers_.Register(ring);
  if (error == 0) error = ring.CancelNow(kNobody);
  open_ = error == ENOENT;
  return open_ ? 0 : (error == 0 ? EINVAL : error);
}

int UringStreams::MoveTo(IoUring& ring) noexcept {
  return buffers_.Register(ring);
}

void UringStreams::Refuse() noexcept {
  open_ = false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    Operation* const operation = entries_[i].operation;
    if (operation != nullptr) End(*operation, StreamRing::kRefused);
  }
}

bool UringStreams::Attach(Operation& operation, int fd) noexcept {
  const auto index = static_cast<size_t>(fd);
  if (index >= entries_.size()) {
    try {
      entries_.resize(std::max(index + 1, entries_.size() * 2));
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  entries_[index].operation = &operation;
  operation.fd_ = fd;
  return true;
}

bool UringStreams::Detach(Operation& operation, uint64_t* user_data) noexcept {
  *user_data = UserData(operation);
  Entry& entry = entries_[static_cast<size_t>(operation.fd_)];
  ++entry.generation;
  entry.operation = nullptr;
  Unlist(operation);
  operation.fd_ = -1;
  operation.wanted_ = false;
  const bool armed = std::exchange(operation.armed_, false);
  if (armed) --armed_;
  return armed;
}

// ---- what is to be done

uint64_t UringStreams::UserData(const Operation& operation) const {
  const auto fd = static_cast<size_t>(operation.fd_);
  return (uint64_t{entries_[fd].generation} << 32) | kMark | fd;
}

UringStreams::Operation* UringStreams::Find(uint64_t user_data) const {
  const Entry& entry = entries_[static_cast<uint32_t>(user_data & ~kMark)];
  return entry.generation == static_cast<uint32_t>(user_data >> 32)
             ? entry.operation
             : nullptr;
}

void UringStreams::List(Operation& operation) noexcept {
  if (std::exchange(operation.listed_, true)) return;
  operation.previous_ = last_;
  operation.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &operation;
  last_ = &operation;
}

void UringStreams::Unlist(Operation& operation) noexcept {
  if (!std::exchange(operation.listed_, false)) return;
  Operation* const previous = operation.previous_;
  Operation* const next = operation.next_;
  (previous != nullptr ? previous->next_ : first_) = next;
  (next != nullptr ? next->previous_ : last_) = previous;
}

void UringStreams::Start(Operation& operation) noexcept {
  operation.wanted_ = true;
  if (!operation.armed_) List(operation);
}

void UringStreams::Stop(Operation& operation) noexcept {
  operation.wanted_ = false;
  if (operation.armed_) List(operation);
}

void UringStreams::Prepare(UringSqe& sqe,
                           const Operation& operation) const noexcept {
  sqe.fd = operation.fd_;
  sqe.user_data = UserData(operation);
  if (operation.kind_ == Operation::Kind::kReceive) {
    sqe.opcode = kUringReceive;
    sqe.flags = kUringBufferSelect;
    sqe.ioprio = kUringReceiveMulti;
    sqe.buffers = UringBuffers::kGroup;
  } else {
    sqe.opcode = kUringAccept;
    sqe.ioprio = kUringAcceptMulti;
    sqe.operation = SOCK_NONBLOCK | SOCK_CLOEXEC;
  }
}

bool UringStreams::HandOver(IoUring& ring, uint64_t ignored) noexcept {
  if (!open_) return true;
  buffers_.Refill();
  while (first_ != nullptr) {
    Operation& operation = *first_;
    const bool arms = operation.wanted_ && !operation.armed_;
    const bool cancels =
        !operation.wanted_ && operation.armed_ && !operation.cancelled_;
    if (arms || cancels) {
      UringSqe* const sqe = ring.NextOperation();
      if (sqe == nullptr) return false;
      if (arms) {
        Prepare(*sqe, operation);
        operation.armed_ = true;
        ++armed_;
      } else {
        sqe->opcode = kUringAsyncCancel;
        sqe->fd = -1;
        sqe->address = UserData(operation);
        sqe->user_data = ignored;
        operation.cancelled_ = true;
      }
    }
    Unlist(operation);
  }
  return true;
}

// ---- what comes of it

bool UringStreams::Take(const UringCqe& told) noexcept {
  if (news_count_ == kMostNews) return false;
  Chunk* chunk = nullptr;
  if (told.flags & kUringHasBuffer) {
    const size_t size =
        told.result > 0 ? static_cast<size_t>(told.result) : size_t{0};
    chunk = &buffers_.Take(told.flags >> kUringBufferShift, size);
  }
  news_[news_count_++] = {.user_data = told.user_data,
                          .result = told.result,
                          .more = (told.flags & kUringMore) != 0,
                          .chunk = chunk};
  return true;
}

int UringStreams::Deliver() noexcept {
  // What is taken meanwhile is told of the next time.
  const size_t count = news_count_;
  int told = 0;
  for (size_t i = 0; i < count; ++i) {
    const News news = news_[i];
    Operation* const operation = Find(news.user_data);
    if (operation == nullptr) {
      Drop(news);
      continue;
    }
    ++told;
    Tell(*operation, news);
  }
  std::copy(news_.begin() + static_cast<ptrdiff_t>(count),
            news_.begin() + static_cast<ptrdiff_t>(news_count_), news_.begin());
  news_count_ -= count;
  return told;
}

void UringStreams::Tell(Operation& operation, const News& news) noexcept {
  const bool accepts = operation.kind_ == Operation::Kind::kAccept;
  const int error = news.result < 0 ? -news.result : 0;
  if (!news.more) {
    operation.armed_ = false;
    operation.cancelled_ = false;
    --armed_;
    if (operation.wanted_) List(operation);
  }
  if (accepts && error == 0) return operation.OnAccepted(news.result);
  if (news.result > 0 && news.chunk != nullptr) {
    news.chunk->owner = &operation;
    return operation.OnBytes(*news.chunk);
  }
  if (news.chunk != nullptr) GiveBack(*news.chunk);
  if (!accepts && error == ENOBUFS) return buffers_.OfferMore();
  // Nothing is the end of what comes.
  if (error == 0 || !MayGoOn(error)) {
    End(operation, IsRefusal(error) ? StreamRing::kRefused : error);
  }
}

void UringStreams::End(Operation& operation, int error) noexcept {
  operation.wanted_ = false;
  Unlist(operation);
  operation.OnEnd(error);
}

// Nobody wants it any more.
void UringStreams::Drop(const News& news) noexcept {
  if (news.chunk != nullptr) {
    GiveBack(*news.chunk);
    return;
  }
  // A receive has a buffer with whatever is not an end or an error.
  if (news.result > 0) CloseDescriptor(news.result);
}

void UringStreams::LoseArmed() noexcept {
  for (size_t i = 0; i < entries_.size(); ++i) {
    Operation* const operation = entries_[i].operation;
    if (operation == nullptr || !operation->armed_) continue;
    ++entries_[i].generation;
    operation->armed_ = operation->cancelled_ = false;
    --armed_;
    End(*operation, ENOMEM);
  }
}

void UringStreams::CallBack() noexcept {
  for (uint32_t i = 0; i < buffers_.count(); ++i) {
    Operation* const owner = buffers_.at(i).owner;
    if (owner != nullptr) owner->OnCallBack();
  }
}

}  // namespace coil::internal
