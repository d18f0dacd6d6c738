#include "coil/loop/internal/uring_files.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdint>

#include "coil/loop/internal/io_uring_abi.h"

namespace coil::internal {
namespace {

// How many are handed over by one call, and how many are in the kernel.
constexpr uint32_t kOperations = 64;
constexpr uint32_t kCompletions = 256;

// Of an operation that asks another one to stop.
constexpr uint64_t kAsks = 0;

uint64_t UserData(const FileRing::Operation& operation) {
  return reinterpret_cast<uintptr_t>(&operation);
}

void Prepare(UringSqe& sqe, const FileRing::Operation& operation) {
  using Kind = FileRing::Kind;
  sqe.fd = operation.fd;
  sqe.flags = operation.aside ? kUringAsync : 0;
  sqe.user_data = UserData(operation);
  switch (operation.kind) {
    case Kind::kOpen:
      sqe.opcode = kUringOpenAt;
      sqe.fd = AT_FDCWD;
      sqe.address = reinterpret_cast<uintptr_t>(operation.address);
      sqe.operation = static_cast<uint32_t>(operation.flags);
      sqe.length = operation.permissions;
      return;
    case Kind::kRead:
    case Kind::kWrite:
      sqe.opcode = operation.kind == Kind::kRead ? kUringRead : kUringWrite;
      sqe.address = reinterpret_cast<uintptr_t>(operation.address);
      sqe.length = operation.size;
      sqe.offset = static_cast<uint64_t>(operation.offset);
      return;
    case Kind::kSync:
    case Kind::kSyncData:
      sqe.opcode = kUringFsync;
      sqe.operation = operation.kind == Kind::kSyncData ? kUringFsyncData : 0;
      return;
    case Kind::kClose:
      sqe.opcode = kUringClose;
      return;
  }
}

}  // namespace

int UringFiles::Open() noexcept {
  return ring_.Open(kOperations, kCompletions, /*any_thread=*/true);
}

bool UringFiles::Begin(Operation& operation) noexcept {
  StateOf(operation) = State::kWaiting;
  waiting_.Push(operation);
  ++under_way_;
  Feed();
  return true;
}

// Puts into the ring what has room there.
void UringFiles::Feed() noexcept {
  while (!waiting_.empty() && in_kernel_ < ring_.Capacity()) {
    UringSqe* const sqe = ring_.NextOperation();
    if (sqe == nullptr) return;
    Operation& operation = waiting_.Pop();
    StateOf(operation) = State::kInKernel;
    Prepare(*sqe, operation);
    ++in_kernel_;
  }
}

void UringFiles::Reap() noexcept {
  while (const UringCqe* told = ring_.Front()) {
    if (told->user_data != kAsks) {
      auto& operation = *reinterpret_cast<Operation*>(
          static_cast<uintptr_t>(told->user_data));
      ResultOf(operation) = told->result;
      StateOf(operation) = State::kDone;
      done_.Push(operation);
    }
    ring_.Pop();
    --in_kernel_;
  }
}

void UringFiles::Turn() noexcept {
  do {
    Feed();
    const bool all = ring_.Unsubmitted() == 0 && !ring_.HoldsBack();
    const bool failed = !all && ring_.Enter(0, nullptr) != 0;
    Reap();
    if (all || failed) return;
  } while (!waiting_.empty() && in_kernel_ < ring_.Capacity());
}

// Until something is done, or the kernel has no memory for a moment.
void UringFiles::Wait() noexcept {
  Feed();
  const int error = ring_.Enter(in_kernel_ > 0 ? 1 : 0, nullptr);
  if ((error == EAGAIN || error == EBUSY) && ring_.Front() == nullptr) {
    constexpr UringTimespec kPause = {.seconds = 0, .nanoseconds = 1'000'000};
    ring_.WaitOnly(1, &kPause);
  }
  Reap();
}

void UringFiles::AskToStop(Operation& operation) noexcept {
  if (StateOf(operation) == State::kWaiting) {
    waiting_.Remove(operation);
    ResultOf(operation) = -ECANCELED;
    StateOf(operation) = State::kDone;
    done_.Push(operation);
    return;
  }
  if (StateOf(operation) != State::kInKernel) return;
  // Without room it is not asked, and ends by itself.
  if (in_kernel_ >= ring_.Capacity()) return;
  UringSqe* const sqe = ring_.NextOperation();
  if (sqe == nullptr) return;
  sqe->opcode = kUringAsyncCancel;
  sqe->fd = -1;
  sqe->address = UserData(operation);
  sqe->user_data = kAsks;
  ++in_kernel_;
}

int32_t UringFiles::Abort(Operation& operation, bool ask) noexcept {
  if (ask) AskToStop(operation);
  while (StateOf(operation) != State::kDone) Wait();
  done_.Remove(operation);
  StateOf(operation) = State::kIdle;
  --under_way_;
  return ResultOf(operation);
}

int UringFiles::Deliver() noexcept {
  // What is begun meanwhile is not told of before the next time.
  Row done = done_;
  done_ = Row();
  int told = 0;
  while (!done.empty()) {
    Operation& operation = done.Pop();
    StateOf(operation) = State::kIdle;
    --under_way_;
    ++told;
    operation.OnDone(ResultOf(operation));
  }
  return told;
}

void UringFiles::FinishAll() noexcept {
  while (!Idle()) {
    WaitForOne();
    Deliver();
  }
}

}  // namespace coil::internal
