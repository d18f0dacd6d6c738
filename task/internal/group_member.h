// coil/task/internal/group_member.h
//
// A task of a TaskGroup: its core has a place in the group, so that a task of a
// group takes no more allocations than any other.
//
// Threads: the loop's thread only.
// Lifetime: part of the task's core. The group lets go of it when the group
//   dies, and the task when it is done.

#ifndef COIL_TASK_INTERNAL_GROUP_MEMBER_H_
#define COIL_TASK_INTERNAL_GROUP_MEMBER_H_

#include <source_location>
#include <string>
#include <utility>

#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"

namespace coil {
class TaskGroup;
}  // namespace coil

namespace coil::internal {

class GroupExit;

// What a task of a group has beside: its place in the group, and, should it
// fail, its turn on the loop.
class GroupMember final : public DoneNode, public Runnable {
 public:
  void OnDone(FutureCore& task) noexcept override;
  TaskCore* Waiter() const override;
  void Run() override;
  void Abandon() noexcept override;
  std::string Describe() const override;

 private:
  friend class coil::TaskGroup;
  friend class GroupExit;
  TaskGroup* group_ = nullptr;  // null once the group is gone
  TaskCore* task_ = nullptr;
  GroupMember* previous_ = nullptr;
  GroupMember* next_ = nullptr;
};

// A task with a place in a group: one allocation.
template <class T>
class GroupCoTask final : public TaskState<T> {
 public:
  using TaskState<T>::TaskState;
  GroupMember& member() { return member_; }

 private:
  void Destroy() noexcept override {
    this->ReportUnretrieved();
    delete this;
  }
  GroupMember member_;
};

// The same for a task that owns its callable.
template <class T, class F>
class GroupCallableTask final : private CallableHolder<F>, public TaskState<T> {
 public:
  GroupCallableTask(LoopCore& loop, F callable, std::source_location created,
                    bool eager)
      : CallableHolder<F>(std::move(callable)),
        TaskState<T>(loop, this->MakeRoot(), created, eager) {}
  GroupMember& member() { return member_; }

 private:
  using State = FutureCore::State;
  State TakeOutcome(PromiseBase* root) noexcept override {
    const State state = TaskState<T>::TakeOutcome(root);
    this->callable_.reset();
    return state;
  }
  void StoreCancelled() noexcept override {
    TaskState<T>::StoreCancelled();
    this->callable_.reset();
  }
  void Destroy() noexcept override {
    this->ReportUnretrieved();
    delete this;
  }
  GroupMember member_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_GROUP_MEMBER_H_
