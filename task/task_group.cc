#include "coil/task/task_group.h"

#include <stdexcept>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"

namespace coil {
namespace {

// What is never grouped. asyncio: SystemExit and KeyboardInterrupt.
bool IsBaseError(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const KeyboardInterrupt&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

namespace internal {

// A failure is handled on the loop, never inline: an eager task would cancel
// the task that is creating it before that had its handle (A59).
void GroupMember::OnDone(FutureCore& task) noexcept {
  if (!task.Failed()) {
    group_->Leave(this);
    return;
  }
  task.Ref();  // until it has run
  task.loop().Schedule(this);
}

TaskCore* GroupMember::Waiter() const {
  return group_ == nullptr ? nullptr : group_->parent_;
}

void GroupMember::Run() {
  if (group_ == nullptr) {
    task_->Unref();
  } else {
    group_->TaskFailed(this);  // keeps the reference
  }
}

void GroupMember::Abandon() noexcept { task_->Unref(); }

std::string GroupMember::Describe() const {
  return absl::StrCat("failure of ", task_->Name(), " in a TaskGroup");
}

void GroupExit::DescribeWait(std::string* out) const {
  size_t count = 0;
  for (GroupMember* m = group_->first_; m != nullptr; m = m->next_) ++count;
  absl::StrAppend(out, "task group: ", count, count == 1 ? " task" : " tasks");
}

void GroupExit::VisitAwaited(void (*visit)(void*, FutureCore&),
                             void* arg) const {
  for (GroupMember* m = group_->first_; m != nullptr; m = m->next_) {
    if (!m->task_->Done()) visit(arg, *m->task_);
  }
}

}  // namespace internal

using internal::GroupMember;
using internal::TaskCore;

TaskGroup::~TaskGroup() {
  // Tasks are left only if the loop is closed: it sees to them.
  for (GroupMember* member = first_; member != nullptr;
       member = member->next_) {
    member->group_ = nullptr;
    if (member->Linked()) member->task_->RemoveDone(member);
  }
  while (GroupMember* member = first_failed_) {
    first_failed_ = member->next_;
    member->task_->Unref();
  }
}

bool TaskGroup::Accepts() const {
  internal::LoopCore* current = internal::LoopCore::Current();
  if (current != &loop()) [[unlikely]] {
    if (current == nullptr) internal::ThrowNoLoop("TaskGroup::CreateTask");
    internal::ThrowWrongLoop("TaskGroup::CreateTask");
  }
  return !aborting_ && (!exiting_ || HasTasks());
}

void TaskGroup::ThrowRefused() const {
  throw std::runtime_error(
      exiting_ && !HasTasks()
          ? "TaskGroup: it is finished; tasks are created while its body or "
            "one "
            "of its tasks runs"
          : "TaskGroup: it is shutting down, because a task or the body has "
            "failed or it was cancelled; no task can be added");
}

void TaskGroup::Join(TaskCore& task, GroupMember& member) noexcept {
  member.task_ = &task;
  if (task.Done() && !task.Failed()) return;
  member.group_ = this;
  Link(&member);
  if (task.Done()) {
    member.OnDone(task);
    return;
  }
  task.AddDone(&member);
  // An eager task may have cancelled the group before it joined (gh-155418).
  if (aborting_) task.Cancel("");
}

void TaskGroup::Link(GroupMember* member) noexcept {
  member->previous_ = last_;
  member->next_ = nullptr;
  (last_ == nullptr ? first_ : last_->next_) = member;
  last_ = member;
}

void TaskGroup::Leave(GroupMember* member) noexcept {
  (member->previous_ == nullptr ? first_ : member->previous_->next_) =
      member->next_;
  (member->next_ == nullptr ? last_ : member->next_->previous_) =
      member->previous_;
  member->previous_ = member->next_ = nullptr;
  if (first_ == nullptr && exit_ != nullptr) {
    std::exchange(exit_, nullptr)->AllLeft();
  }
}

void TaskGroup::TaskFailed(GroupMember* member) noexcept {
  Leave(member);
  (last_failed_ == nullptr ? first_failed_ : last_failed_->next_) = member;
  last_failed_ = member;
  const std::exception_ptr error = member->task_->RetrieveError();
  if (base_error_ == nullptr && IsBaseError(error)) base_error_ = error;
  if (!aborting_ && !parent_cancel_requested_) {
    Abort();
    parent_cancel_requested_ = true;
    parent_->Cancel("");
  }
}

void TaskGroup::Abort() noexcept {
  aborting_ = true;
  for (GroupMember* member = first_; member != nullptr;
       member = member->next_) {
    if (!member->task_->Done()) member->task_->Cancel("");
  }
}

void TaskGroup::Cancel() {
  if (aborting_ || (exiting_ && !HasTasks())) return;
  Abort();
  if (parent_cancel_requested_) return;
  parent_cancel_requested_ = true;
  parent_->Cancel("");
}

void TaskGroup::BeginExit(const std::exception_ptr& body_error) {
  exiting_ = true;
  if (body_error == nullptr) return;
  if (internal::IsCancelledError(body_error)) {
    propagate_ = body_error;
  } else if (base_error_ == nullptr && IsBaseError(body_error)) {
    base_error_ = body_error;
  }
  if (!aborting_) Abort();
}

void TaskGroup::ExitCancelled() {
  pending_ = std::make_exception_ptr(CancelledError(parent_->CancelMessage()));
  if (aborting_) return;
  propagate_ = pending_;
  Abort();
}

void TaskGroup::EndExit(const std::exception_ptr& body_error) {
  if (parent_cancel_requested_) {
    // The request was ours: take it back, also if an error is thrown.
    if (parent_->Uncancel() <= cancelling_) {
      propagate_ = nullptr;
      parent_->TakeMustCancel();  // ours, if the body had no await left
    } else if (propagate_ == nullptr) {
      propagate_ = pending_;  // what is left is not ours (gh-155433)
    }
  }
  if (base_error_ != nullptr) ThrowBaseError(body_error);

  std::vector<std::exception_ptr> errors;
  for (GroupMember* m = first_failed_; m != nullptr; m = m->next_) {
    errors.push_back(m->task_->StoredError());
  }
  if (body_error != nullptr && !internal::IsCancelledError(body_error)) {
    errors.push_back(body_error);
  }
  if (errors.empty()) {
    if (propagate_ != nullptr) std::rethrow_exception(propagate_);
    return;
  }
  if (parent_->Cancelling() > 0) {
    // The errors win over a cancel from outside; the next await delivers that.
    const std::string message = parent_->CancelMessage();
    parent_->Uncancel();
    parent_->Cancel(message);
  }
  throw ExceptionGroup("unhandled errors in a TaskGroup", std::move(errors));
}

void TaskGroup::ThrowBaseError(const std::exception_ptr& body_error) {
  const auto report = [this](const std::exception_ptr& error) {
    if (error == nullptr || error == base_error_ ||
        internal::IsCancelledError(error)) {
      return;
    }
    ExceptionContext context(
        "TaskGroup: an error was displaced by KeyboardInterrupt");
    context.exception = error;
    context.task = parent_->Describe();
    loop().Report(context);
  };
  for (GroupMember* m = first_failed_; m != nullptr; m = m->next_) {
    report(m->task_->StoredError());
  }
  report(body_error);
  std::rethrow_exception(base_error_);
}

void TaskGroup::ThrowNoValue() {
  throw CancelledError(
      "TaskGroup: Cancel() ended the body before it returned a value; let it "
      "return Co<void> or a std::optional");
}

}  // namespace coil
