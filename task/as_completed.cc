#include "coil/task/as_completed.h"

#include <new>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/errors.h"
#include "coil/task/internal/first_of_each.h"

namespace coil::internal {

void CompletionNode::OnDone(FutureCore&) noexcept { queue_->Done(this); }

TaskCore* CompletionNode::Waiter() const {
  CompletionWaiter* waiter = queue_->first_waiter_;
  return waiter == nullptr ? nullptr : waiter->WaitingTask();
}

namespace {

// The running loop; throws for a future of another one.
LoopCore& LoopOf(const std::vector<FutureCore*>& futures) {
  LoopCore& loop = RequireLoop("AsCompleted");
  for (const FutureCore* future : futures) {
    if (!future->BelongsTo(loop)) ThrowWrongLoop("AsCompleted");
  }
  return loop;
}

}  // namespace

CompletionQueue::CompletionQueue(const std::vector<FutureCore*>& futures,
                                 absl::Duration timeout)
    : loop_(LoopOf(futures)),
      loop_id_(loop_.id()),
      nodes_(static_cast<CompletionNode*>(
          ::operator new(futures.size() * sizeof(CompletionNode)))) {
  const std::vector<bool> first = FirstOfEach(futures);
  // The nodes keep the indices of the handles: one that is there again is
  // skipped, not left out. Nothing throws once the first of them is linked.
  for (FutureCore* future : futures) {
    CompletionNode* node =
        ::new (nodes_.get() + count_) CompletionNode(this, future);
    ++count_;
    if (!first[count_ - 1]) continue;
    ++running_;
    if (future->Done()) {
      Done(node);
    } else {
      future->AddDone(node);
    }
  }
  if (running_ == 0 || timeout == absl::InfiniteDuration()) return;
  const LoopTime until = loop_.RecentNow() + timeout;
  if (until != LoopTime::InfiniteFuture()) loop_.Arm(this, until);
}

void CompletionQueue::Close() noexcept {
  loop_.Disarm(this);
  UnlinkAll();
  while (CompletionWaiter* waiter = first_waiter_) {
    first_waiter_ = waiter->next_;
    waiter->completion_ = Completion::kDestroyed;
    waiter->Complete();
  }
  last_waiter_ = nullptr;
}

void CompletionQueue::UnlinkAll() noexcept {
  for (size_t i = 0; i < count_; ++i) {
    CompletionNode& node = nodes_.get()[i];
    // One that is not linked may have outlived its future.
    if (node.Linked()) node.future_->RemoveDone(&node);
  }
}

void CompletionQueue::Done(CompletionNode* node) noexcept {
  --running_;
  (last_done_ == nullptr ? first_done_ : last_done_->next_) = node;
  last_done_ = node;
  if (running_ == 0) loop_.Disarm(this);
  Serve();
}

void CompletionQueue::Fire() noexcept {
  UnlinkAll();
  timeouts_ = running_;
  running_ = 0;
  Serve();
}

bool CompletionQueue::TryNext(CompletionWaiter* waiter) noexcept {
  if (CompletionNode* node = first_done_) {
    first_done_ = node->next_;
    if (first_done_ == nullptr) last_done_ = nullptr;
    node->next_ = nullptr;
    waiter->index_ = static_cast<size_t>(node - nodes_.get());
    waiter->completion_ = Completion::kTask;
  } else if (timeouts_ > 0) {
    --timeouts_;
    waiter->completion_ = Completion::kTimeout;
  } else if (running_ == 0) {
    waiter->completion_ = Completion::kEnd;
  } else {
    return false;
  }
  return true;
}

// Those who wait are told in their order, for as long as there is something to
// tell.
void CompletionQueue::Serve() noexcept {
  while (CompletionWaiter* waiter = first_waiter_) {
    if (!TryNext(waiter)) return;
    first_waiter_ = waiter->next_;
    if (first_waiter_ == nullptr) last_waiter_ = nullptr;
    waiter->Complete();
  }
}

void CompletionQueue::Enqueue(CompletionWaiter* waiter) noexcept {
  waiter->next_ = nullptr;
  (last_waiter_ == nullptr ? first_waiter_ : last_waiter_->next_) = waiter;
  last_waiter_ = waiter;
}

void CompletionQueue::Dequeue(CompletionWaiter* waiter) noexcept {
  CompletionWaiter* previous = nullptr;
  for (CompletionWaiter* w = first_waiter_; w != waiter; w = w->next_) {
    previous = w;
  }
  (previous == nullptr ? first_waiter_ : previous->next_) = waiter->next_;
  if (last_waiter_ == waiter) last_waiter_ = previous;
}

void CompletionQueue::Return(CompletionWaiter* waiter) noexcept {
  if (waiter->completion_ == Completion::kTask) {
    CompletionNode* node = nodes_.get() + waiter->index_;
    node->next_ = first_done_;
    first_done_ = node;
    if (last_done_ == nullptr) last_done_ = node;
  } else if (waiter->completion_ == Completion::kTimeout) {
    ++timeouts_;
  }
  Serve();
}

void CompletionQueue::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "as completed: ", running_, " of ", count_, " not done");
}

void CompletionQueue::VisitAwaited(void (*visit)(void*, FutureCore&),
                                   void* arg) const {
  for (size_t i = 0; i < count_; ++i) {
    const CompletionNode& node = nodes_.get()[i];
    if (node.Linked()) visit(arg, *node.future_);
  }
}

void CheckCompletionQueue(const CompletionQueue* queue, const TaskCore* task) {
  if (queue == nullptr) {
    throw std::runtime_error("AsCompleted: the range was moved from");
  }
  if (!queue->BelongsTo(task->loop())) ThrowWrongLoop("AsCompleted");
}

void ThrowCompletionTimeout() {
  throw TimeoutError(
      "AsCompleted: the timeout has passed and not all tasks are done");
}

void ThrowCompletionDestroyed() {
  throw std::runtime_error(
      "AsCompleted: the range was destroyed while Next() waited");
}

}  // namespace coil::internal
