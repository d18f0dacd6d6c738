#include "coil/sync/barrier.h"

#include "absl/strings/str_cat.h"

namespace coil {

using internal::BarrierAwaiter;
using internal::WaitEnd;

Barrier::Barrier(int parties) : parties_(parties) {
  if (parties < 1) {
    throw std::invalid_argument(absl::StrCat(
        "Barrier: the number of parties is ", parties, "; it is at least 1"));
  }
}

Barrier::~Barrier() {
  // Those whose round is complete need the barrier no more.
  const uint32_t count = static_cast<uint32_t>(waiting_);
  waiters_.ForgetGranted();
  waiters_.Destroy(count);
}

void Barrier::Complete(int n) noexcept {
  for (int place = 0; place < n; ++place) {
    auto* awaiter = static_cast<BarrierAwaiter*>(waiters_.GrantFirst());
    awaiter->number_ = static_cast<uint32_t>(place);
  }
  waiting_ -= n;
}

void Barrier::BreakWaiting() noexcept {
  while (waiters_.HasWaiting()) waiters_.GrantFirst(WaitEnd::kBroken);
  waiting_ = 0;
}

void Barrier::Reset() noexcept {
  broken_ = false;
  if (waiters_.HasGranted()) {
    waiters_.SpoilGranted(WaitEnd::kBroken);
  } else {
    BreakWaiting();
  }
}

void Barrier::Abort() noexcept {
  broken_ = true;
  waiters_.SpoilGranted(WaitEnd::kBroken);
  BreakWaiting();
}

namespace internal {

bool BarrierAwaiter::Ready() noexcept {
  if (barrier_->broken_) {
    end_ = WaitEnd::kBroken;
    return true;
  }
  if (barrier_->parties_ > 1 && !barrier_->binding_.Bind(this)) return true;
  if (!barrier_->Arrive()) return false;
  number_ = static_cast<uint32_t>(barrier_->parties_ - 1);
  return true;
}

void BarrierAwaiter::Arm() noexcept {
  barrier_->waiters_.Append(this);
  ++barrier_->waiting_;
}

void BarrierAwaiter::ArmGivingWay() noexcept {
  if (barrier_->broken_) return GrantUnlinked(WaitEnd::kBroken);
  if (!BoundToLoop(barrier_->binding_)) return;
  Arm();
  barrier_->Left();  // nobody has, but the round may be complete
}

void BarrierAwaiter::Unlink() noexcept {
  barrier_->waiters_.Remove(this);
  --barrier_->waiting_;
}

// It has arrived all the same: what it holds up is the next round.
void BarrierAwaiter::GiveBack() noexcept {
  if (!Linked()) return;
  barrier_->waiters_.Remove(this);
  barrier_->Left();
}

int BarrierAwaiter::Take() {
  GiveBack();  // it leaves, in any case
  if (end_ == WaitEnd::kBroken) [[unlikely]] {
    throw BrokenBarrierError(
        "Barrier::Wait: the barrier was reset or is broken (Abort())");
  }
  if (end_ != WaitEnd::kGranted) [[unlikely]]
    Fail("Barrier", "Barrier::Wait");
  return static_cast<int>(number_);
}

void BarrierAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "Barrier, ", barrier_->NWaiting(), " of ",
                  barrier_->Parties(), " have arrived");
}

}  // namespace internal
}  // namespace coil
