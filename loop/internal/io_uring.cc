#include "coil/loop/internal/io_uring.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/internal/syscalls.h"

namespace coil::internal {
namespace {

// Given up one after the other, the newest first, until the kernel agrees.
constexpr uint32_t kGivenUp[] = {
    // Completions are made when the program asks, by the thread that asks: no
    // interrupt in the middle of anything.
    kUringDeferTaskrun,
    kUringSingleIssuer,
    // The same without deferring: no interrupt, and a flag says that there is
    // something to be had.
    kUringCoopTaskrun | kUringTaskrunFlag,
    // One bad operation does not keep the others back.
    kUringSubmitAll,
};

constexpr uint32_t kWanted = kUringDeferTaskrun | kUringSingleIssuer |
                             kUringCoopTaskrun | kUringTaskrunFlag |
                             kUringSubmitAll | kUringCqSize;

// Without these the kernel (before 5.11) is too old to be worth the trouble.
constexpr uint32_t kNeeded =
    kUringFeatSingleMmap | kUringFeatNoDrop | kUringFeatExtArg;

}  // namespace

int IoUring::Open(uint32_t operations, uint32_t completions,
                  bool any_thread) noexcept {
  uint32_t flags = kWanted;
  if (any_thread) flags &= ~(kUringDeferTaskrun | kUringSingleIssuer);
  const uint32_t* next = kGivenUp;
  for (;;) {
    params_ = {};
    params_.flags = flags;
    params_.cq_entries = completions;
    fd_ = UringSys().setup(operations, &params_);
    if (fd_ >= 0) break;
    if (errno != EINVAL || next == std::end(kGivenUp)) return errno;
    flags &= ~*next++;
  }
  flags_ = flags;
  features_ = params_.features;
  const int error = (features_ & kNeeded) == kNeeded ? MapRings() : ENOSYS;
  if (error != 0) Close();
  return error;
}

int IoUring::MapRings() noexcept {
  const size_t size =
      std::max(params_.sq.array + params_.sq_entries * sizeof(uint32_t),
               params_.cq.cqes + params_.cq_entries * sizeof(UringCqe));
  void* memory = UringSys().map(size, fd_, kUringOffsetRings);
  if (memory == MAP_FAILED) return errno;
  rings_ = static_cast<char*>(memory);
  rings_size_ = size;
  sqes_size_ = params_.sq_entries * sizeof(UringSqe);
  memory = UringSys().map(sqes_size_, fd_, kUringOffsetSqes);
  if (memory == MAP_FAILED) return errno;
  sqes_ = static_cast<UringSqe*>(memory);

  const auto at = [this](uint32_t offset) {
    return reinterpret_cast<uint32_t*>(rings_ + offset);
  };
  sq_head_ = at(params_.sq.head);
  sq_tail_ = at(params_.sq.tail);
  sq_flags_ = at(params_.sq.flags);
  sq_mask_ = *at(params_.sq.ring_mask);
  cq_head_ = at(params_.cq.head);
  cq_tail_ = at(params_.cq.tail);
  cq_mask_ = *at(params_.cq.ring_mask);
  cqes_ = reinterpret_cast<UringCqe*>(rings_ + params_.cq.cqes);
  sq_tail_value_ = *sq_tail_;
  // The operations go out in the order in which they lie there.
  uint32_t* const array = at(params_.sq.array);
  for (uint32_t i = 0; i < params_.sq_entries; ++i) array[i] = i;
  return 0;
}

void IoUring::Close() noexcept {
  if (sqes_ != nullptr) UringSys().unmap(sqes_, sqes_size_);
  if (rings_ != nullptr) UringSys().unmap(rings_, rings_size_);
  sqes_ = nullptr;
  rings_ = nullptr;
  CloseDescriptor(fd_);
  fd_ = -1;
}

uint32_t IoUring::Unsubmitted() const noexcept {
  return sq_tail_value_ - Load(sq_head_);
}

UringSqe* IoUring::NextOperation() noexcept {
  if (Unsubmitted() > sq_mask_) return nullptr;
  UringSqe* const sqe = &sqes_[sq_tail_value_++ & sq_mask_];
  std::memset(sqe, 0, sizeof(*sqe));
  return sqe;
}

int IoUring::Enter(uint32_t wait_for, const UringTimespec* timeout) noexcept {
  Store(sq_tail_, sq_tail_value_);
  return EnterWith(Unsubmitted(), wait_for, timeout);
}

int IoUring::WaitOnly(uint32_t wait_for,
                      const UringTimespec* timeout) noexcept {
  return EnterWith(0, wait_for, timeout);
}

int IoUring::EnterWith(uint32_t submit, uint32_t wait_for,
                       const UringTimespec* timeout) noexcept {
  uint32_t flags = kUringEnterGetEvents;
  UringGetEventsArg argument = {};
  const void* last = nullptr;
  size_t size = 0;
  if (wait_for > 0 && timeout != nullptr) {
    flags |= kUringEnterExtArg;
    argument.sigmask_size = _NSIG / 8;
    argument.timeout = reinterpret_cast<uintptr_t>(timeout);
    last = &argument;
    size = sizeof(argument);
  }
  return UringSys().enter(fd_, submit, wait_for, flags, last, size) < 0 ? errno
                                                                        : 0;
}

int IoUring::Register(unsigned operation, void* argument,
                      unsigned count) noexcept {
  return UringSys().register_(fd_, operation, argument, count) < 0 ? errno : 0;
}

int IoUring::SyncCancel(uint64_t user_data, uint32_t flags) noexcept {
  UringSyncCancel cancel = {};
  cancel.user_data = user_data;
  cancel.fd = -1;
  cancel.flags = flags;
  cancel.timeout = {.seconds = -1, .nanoseconds = -1};
  return Register(kUringSyncCancel, &cancel, 1);
}

int IoUring::CancelNow(uint64_t user_data) noexcept {
  return SyncCancel(user_data, 0);
}

int IoUring::CancelAll() noexcept {
  return SyncCancel(0, kUringCancelAll | kUringCancelAny);
}

bool IoUring::Retract(uint64_t user_data, uint64_t told_instead) noexcept {
  // Nobody reads them but Enter().
  for (uint32_t i = Load(sq_head_); i != sq_tail_value_; ++i) {
    UringSqe& sqe = sqes_[i & sq_mask_];
    if (sqe.user_data != user_data) continue;
    std::memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = kUringNop;
    sqe.user_data = told_instead;
    return true;
  }
  return false;
}

}  // namespace coil::internal
