// coil/task/internal/join.h
//
// Join is the wait of Gather, GatherSettled and Race: one task waits for
// several futures, its parts, with one intrusive node for each of them. Nothing
// is allocated but the array of the nodes, which the caller brings.
//
//   Join join(task, nodes.get(), JoinUntil::kAllDone);
//   for (auto& handle : handles) join.Add(handle.Checked());
//   co_await std::move(join);        // throws the task's own cancel, nothing
//   else
//
// Ordering: a part that is done tells the join inside its completion; the task
//   goes on in the next pass.
// Cancellation: a cancel of the waiting task is passed on to all parts that are
//   not done, in order, at once; the wait goes on until they have ended.
// Threads: the loop's thread only.
// Lifetime: the parts are borrowed, the caller holds a handle to each of them.

#ifndef COIL_TASK_INTERNAL_JOIN_H_
#define COIL_TASK_INTERNAL_JOIN_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>

#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"

namespace coil::internal {

// Cancels many futures, some of which may be tasks that wait in a FanOut in
// turn. However deep they are nested, the stack does not grow: a FanOut that is
// entered while another one works is put on top of a list, and the outermost
// call goes on with it. The order is that of the recursion: depth first.
class FanOut {
 public:
  FanOut(const FanOut&) = delete;
  FanOut& operator=(const FanOut&) = delete;

 protected:
  FanOut() = default;
  ~FanOut() = default;

  void CancelParts() noexcept;
  // Between the first and the last Cancel() of CancelParts().
  bool CancellingParts() const { return active_; }

 private:
  // Starts over, and gives the next part to cancel; null at the end.
  virtual void FirstPart() noexcept = 0;
  virtual FutureCore* NextPart() noexcept = 0;
  virtual std::string_view PartsMessage() const noexcept = 0;

  FanOut* below_ = nullptr;
  bool active_ = false;
};

enum class JoinUntil : uint8_t {
  kAllDone,     // whatever becomes of the parts
  kFirstError,  // all are done, or one has failed or was cancelled
  kFirstDone,   // one is done: the others are cancelled, and waited for
};

class Join;

class JoinNode final : public DoneNode {
 public:
  JoinNode(Join* join, FutureCore* part) noexcept : join_(join), part_(part) {}
  void OnDone(FutureCore& part) noexcept override;
  TaskCore* Waiter() const override;

 private:
  friend class Join;
  Join* join_;
  FutureCore* part_;
};
static_assert(std::is_trivially_destructible_v<JoinNode>);

// Room for the nodes of a join.
class JoinNodes {
 public:
  explicit JoinNodes(size_t count)
      : nodes_(count == 0 ? nullptr
                          : ::operator new(count * sizeof(JoinNode))) {}
  void* get() const { return nodes_.get(); }

 private:
  struct Free {
    void operator()(void* nodes) const { ::operator delete(nodes); }
  };
  std::unique_ptr<void, Free> nodes_;
};

template <size_t kCount>
class FixedJoinNodes {
 public:
  FixedJoinNodes() {}
  void* get() { return nodes_; }

 private:
  alignas(
      JoinNode) std::byte nodes_[(kCount == 0 ? 1 : kCount) * sizeof(JoinNode)];
};

class Join final : public LeafBase, private FanOut {
 public:
  // `nodes` has room for as many as are added. `what` names the combinator.
  Join(TaskCore* task, void* nodes, JoinUntil until, const char* what) noexcept
      : nodes_(static_cast<JoinNode*>(nodes)), what_(what), until_(until) {
    Bind(task);
  }
  ~Join() { Unlink(); }

  // Counts a part in; the same one may be added twice. All are added before the
  // await.
  void Add(FutureCore& part) noexcept {
    JoinNode* node = ::new (nodes_ + count_) JoinNode(this, &part);
    ++count_;
    if (part.Done()) {
      NoteDone(node);
    } else {
      ++pending_;
      part.AddDone(node);
    }
  }

  // The part that decided: the first that failed, or the first that was done.
  FutureCore* First() const {
    return first_ == nullptr ? nullptr : first_->part_;
  }
  size_t FirstIndex() const { return static_cast<size_t>(first_ - nodes_); }

  // Nobody will read the errors of the parts, those to come included.
  void DropErrors() noexcept;
  // Throws the error of First(), the same object. REQUIRES: it failed.
  [[noreturn]] void ThrowFirst();

  bool await_ready() noexcept { return Complete(); }
  template <class P>
  COIL_AWAIT_SUSPEND void await_suspend(std::coroutine_handle<P> self) {
    Suspend(&self.promise());
  }
  void await_resume() {
    if (wait_ != Wait::kIdle) FinishWait();
  }

  bool OnCancel() noexcept override;
  void DescribeWait(std::string* out) const override;
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override;

 private:
  friend class JoinNode;

  bool Complete() const {
    return pending_ == 0 || (until_ == JoinUntil::kFirstError &&
                             first_ != nullptr && !own_cancel_);
  }
  void NoteDone(JoinNode* node) noexcept {
    if (until_ == JoinUntil::kAllDone || first_ != nullptr || own_cancel_) {
      return;
    }
    if (until_ == JoinUntil::kFirstDone ||
        node->part_->state() != FutureCore::State::kDone) {
      first_ = node;
    }
  }
  void PartDone(JoinNode* node) noexcept {
    --pending_;
    NoteDone(node);
    if (until_ == JoinUntil::kFirstDone && first_ == node) CancelParts();
    if (Armed() && Complete()) Grant();
  }
  void Suspend(PromiseBase* promise) noexcept;
  void FinishWait();
  void Unlink() noexcept;

  void FirstPart() noexcept override { cursor_ = 0; }
  FutureCore* NextPart() noexcept override;
  std::string_view PartsMessage() const noexcept override;

  JoinNode* nodes_;
  JoinNode* first_ = nullptr;
  size_t count_ = 0;
  size_t pending_ = 0;
  size_t cursor_ = 0;
  const char* what_;
  JoinUntil until_;
  bool own_cancel_ = false;
};

inline void JoinNode::OnDone(FutureCore&) noexcept { join_->PartDone(this); }
inline TaskCore* JoinNode::Waiter() const { return join_->task(); }

// Which task runs the coroutine that awaits this, and where that coroutine was
// awaited in turn. A combinator gives the place to the tasks that it starts, so
// that reports name a line of the user's.
class CallSite {
 public:
  void Bind(TaskCore* task) noexcept { task_ = task; }
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> self) noexcept {
    const PromiseBase* caller = self.promise().parent;
    where_ = caller == nullptr ? task_->Created() : caller->where;
    return false;
  }
  CallSite await_resume() const noexcept { return *this; }

  TaskCore* task() const { return task_; }
  LoopCore& loop() const { return task_->loop(); }
  std::source_location where() const { return where_; }

 private:
  TaskCore* task_ = nullptr;
  std::source_location where_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_JOIN_H_
