#include "coil/task/wait.h"

#include <new>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/loop_core.h"

namespace coil::internal {

void WaitNode::OnDone(FutureCore& future) noexcept {
  wait_->FutureDone(future);
}

TaskCore* WaitNode::Waiter() const { return wait_->task(); }

WaitAwaiter::WaitAwaiter(size_t count, const WaitOptions& options)
    : nodes_(static_cast<WaitNode*>(::operator new(count * sizeof(WaitNode)))),
      options_(options) {}

void WaitAwaiter::Add(FutureCore& future) noexcept {
  ::new (nodes_.get() + count_) WaitNode(this, &future);
  ++count_;
  if (future.Done()) {
    Note(future);
  } else {
    ++pending_;
    future.AddDone(nodes_.get() + count_ - 1);
  }
}

bool WaitAwaiter::Complete() const {
  switch (options_.return_when) {
    case ReturnWhen::kAllCompleted:
      break;
    case ReturnWhen::kFirstCompleted:
      return pending_ < count_;
    case ReturnWhen::kFirstException:
      if (failed_) return true;
      break;
  }
  return pending_ == 0;
}

void WaitAwaiter::Note(const FutureCore& future) noexcept {
  if (future.Failed()) failed_ = true;
}

// Goes on counting while the task is on its way: Complete() is asked on resume.
void WaitAwaiter::FutureDone(FutureCore& future) noexcept {
  --pending_;
  Note(future);
  if (!LeafAwaiter::Armed() || !Complete()) return;
  task_->loop().Disarm(this);
  Grant();
}

void WaitAwaiter::Arm() noexcept {
  if (options_.timeout <= absl::ZeroDuration()) {
    GrantNextTurn();
    return;
  }
  LoopCore& loop = task_->loop();
  if (options_.timeout == absl::InfiniteDuration()) return;
  const LoopTime until = loop.RecentNow() + options_.timeout;
  if (until != LoopTime::InfiniteFuture()) loop.Arm(this, until);
}

// The nodes are linked from Add() on, so also in a wait that never begins.
void WaitAwaiter::Unlink() noexcept {
  if (task_ != nullptr) task_->loop().Disarm(this);
  for (size_t i = 0; i < count_; ++i) {
    WaitNode& node = nodes_.get()[i];
    if (node.Linked()) node.future()->RemoveDone(&node);
  }
}

void WaitAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "wait: ", pending_, " of ", count_, " not done");
}

void WaitAwaiter::VisitAwaited(void (*visit)(void*, FutureCore&),
                               void* arg) const {
  for (size_t i = 0; i < count_; ++i) {
    FutureCore* future = nodes_.get()[i].future();
    if (!future->Done()) visit(arg, *future);
  }
}

void CheckWait(size_t count, const WaitOptions& options) {
  if (count == 0) {
    throw std::invalid_argument("Wait: the set of tasks is empty");
  }
  if (options.return_when > ReturnWhen::kFirstException) {
    throw std::invalid_argument(
        absl::StrCat("Wait: ", static_cast<int>(options.return_when),
                     " is not a value of ReturnWhen"));
  }
}

}  // namespace coil::internal
