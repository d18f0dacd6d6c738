#include "coil/task/internal/join.h"

#include <exception>

#include "absl/strings/str_cat.h"

namespace coil::internal {
namespace {

// The fan-out that works in this thread; those below wait for it to end.
constinit thread_local FanOut* t_top = nullptr;

}  // namespace

void FanOut::CancelParts() noexcept {
  if (active_) return;
  const bool outermost = t_top == nullptr;
  active_ = true;
  below_ = t_top;
  t_top = this;
  FirstPart();
  if (!outermost) return;
  while (t_top != nullptr) {
    FanOut* top = t_top;
    FutureCore* part = top->NextPart();
    if (part != nullptr) {
      part->Cancel(top->PartsMessage());  // may put another one on top
    } else {
      t_top = top->below_;
      top->active_ = false;
    }
  }
}

void Join::Suspend(PromiseBase* promise) noexcept {
  wait_ = Wait::kArmed;
  task_->SuspendOn(this, promise);
  if (first_ != nullptr) {
    // A race that was decided before it began; a request waits for the next
    // await.
    CancelParts();
  } else if (task_->TakeMustCancel()) {
    // A request from before: this await blocks, so it is delivered here.
    own_cancel_ = true;
    CancelParts();
  }
}

bool Join::OnCancel() noexcept {
  const bool decided = until_ == JoinUntil::kFirstDone && first_ != nullptr;
  if (decided) {
    // The result stands; the request is delivered by the next await.
    task_->RequestMustCancel();
  } else {
    own_cancel_ = true;
  }
  if (CancellingParts()) {
    // A part waits for this very task: the circle is broken here.
    Unlink();
    wait_ = decided ? Wait::kGranted : Wait::kCancelled;
    return true;
  }
  CancelParts();
  return false;
}

void Join::FinishWait() {
  wait_ = Wait::kDone;
  if (until_ == JoinUntil::kFirstDone && first_ != nullptr) return;
  // Both kinds of request are one cancellation.
  if (task_->TakeMustCancel() || own_cancel_) {
    if (until_ != JoinUntil::kFirstDone) DropErrors();
    task_->ThrowCancelled();
  }
}

void Join::DropErrors() noexcept {
  for (size_t i = 0; i < count_; ++i) nodes_[i].part_->MarkRetrieved();
}

void Join::ThrowFirst() { std::rethrow_exception(First()->StoredError()); }

void Join::Unlink() noexcept {
  if (pending_ == 0) return;
  pending_ = 0;
  for (size_t i = 0; i < count_; ++i) nodes_[i].part_->RemoveDone(&nodes_[i]);
}

FutureCore* Join::NextPart() noexcept {
  while (cursor_ < count_) {
    FutureCore* part = nodes_[cursor_++].part_;
    if (!part->Done()) return part;
  }
  return nullptr;
}

std::string_view Join::PartsMessage() const noexcept {
  return own_cancel_ ? std::string_view(task_->CancelMessage())
                     : std::string_view();
}

void Join::DescribeWait(std::string* out) const {
  absl::StrAppend(out, what_, ": ", pending_, " of ", count_, " not done");
}

void Join::VisitAwaited(void (*visit)(void*, FutureCore&), void* arg) const {
  for (size_t i = 0; i < count_; ++i) {
    if (!nodes_[i].part_->Done()) visit(arg, *nodes_[i].part_);
  }
}

}  // namespace coil::internal
