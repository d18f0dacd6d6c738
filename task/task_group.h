// coil/task/task_group.h
//
// WithTaskGroup() runs a body that may start tasks in a TaskGroup, and returns
// when all of them have ended: none outlives the scope. If one fails, the
// others and the body are cancelled, and the errors are thrown together as an
// ExceptionGroup.
//
// Example:
//   coil::Co<int> Fetch(int id) { co_return id; }
//   coil::Co<int> FetchBoth() {
//     co_return co_await coil::WithTaskGroup(
//         [](coil::TaskGroup& group) -> coil::Co<int> {
//           coil::Task<int> a = group.CreateTask(Fetch(1));
//           coil::Task<int> b = group.CreateTask(Fetch(2));
//           co_return co_await a + co_await b;
//         });
//   }
//
// Ordering: the errors are in the order of time, that of the body last. A
//   failure is handled on the turn of the loop after it, never inside
//   CreateTask().
// Cancellation: an error of a task, or of the body, cancels all other tasks,
//   and the body; CancelledError of a task by itself does not. A cancel from
//   outside, in the body or while the group waits for its tasks, cancels the
//   tasks; the group waits until all have ended, however often it is cancelled,
//   and CancelledError is thrown. If there are errors they are thrown instead,
//   and the cancel is delivered by the next await that blocks. What the group
//   itself does to the body with Cancel() is taken back when it ends:
//   CurrentTask().Cancelling() is as before, unless somebody else has cancelled
//   meanwhile.
// Threads: the loop's thread only.
// Lifetime: an lvalue body is referred to, an rvalue is kept in the frame. The
//   group lives as long as WithTaskGroup() runs: a reference to it may be given
//   to its tasks and to nobody else. It can be neither copied nor moved.
//
// Errors are always grouped, also a single one; only KeyboardInterrupt is
// thrown as it is, and the errors that it displaces are reported.
//
// asyncio: TaskGroup (A58-A66), with 3.15's cancel().

#ifndef COIL_TASK_TASK_GROUP_H_
#define COIL_TASK_TASK_GROUP_H_

#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/group_member.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil {

class TaskGroup;

namespace internal {

class GroupExit;

template <class T, class B>
Co<T> RunInTaskGroup(B body);

}  // namespace internal

class TaskGroup {
 public:
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts `co` as a task of the group, as coil::CreateTask() does. Allowed for
  // as long as the body or another task of the group runs. Throws
  // std::runtime_error when the group is finished or shutting down; the
  // coroutine is disposed of then. asyncio: A59.
  template <class T>
  Task<T> CreateTask(
      Co<T> co, TaskOptions options = {},
      std::source_location created = std::source_location::current()) {
    if (!Accepts()) [[unlikely]] {
      co.Dispose();
      ThrowRefused();
    }
    if (!co.Valid()) internal::ThrowAwaitedTwice();
    return Start<T>(new internal::GroupCoTask<T>(loop(), co.Release(), created,
                                                 options.eager_start),
                    options);
  }

  // The same for every other awaitable: group.CreateTask(Sleep(d)).
  template <class A>
    requires(internal::IsAwaitable<A> &&
             !internal::kIsCo<std::remove_cvref_t<A>>)
  auto CreateTask(
      A&& awaitable, TaskOptions options = {},
      std::source_location created = std::source_location::current()) {
    return CreateTask(internal::AwaitInCoroutine<std::remove_cvref_t<A>>(
                          std::forward<A>(awaitable)),
                      options, created);
  }

  // Calls `f()`, which returns a Co, and runs that; the task owns `f`, so a
  // lambda with captures is right here. `f` is not called if the group refuses.
  template <class F>
    requires internal::IsCoroutineFunction<F>
  auto CreateTask(
      F&& f, TaskOptions options = {},
      std::source_location created = std::source_location::current()) {
    using Callable = std::decay_t<F>;
    using R = std::invoke_result_t<Callable&>;
    static_assert(internal::kIsCo<R>,
                  "TaskGroup::CreateTask: the callable must return a Co<T>; "
                  "call it first if it returns another awaitable");
    using T = typename R::value_type;
    if (!Accepts()) [[unlikely]]
      ThrowRefused();
    if constexpr (internal::kStateless<Callable>) {
      Callable callable(std::forward<F>(f));
      return CreateTask(callable(), options, created);
    } else {
      return Start<T>(
          new internal::GroupCallableTask<T, Callable>(
              loop(), std::forward<F>(f), created, options.eager_start),
          options);
    }
  }

  // The same for `f(first, args...)`; the task owns the arguments too.
  template <class F, class First, class... Args>
    requires internal::IsCallWithArguments<TaskOptions, F, First, Args...>
  auto CreateTask(F&& f, First&& first, Args&&... args) {
    return CreateTask(internal::OwnedCall(std::forward<F>(f),
                                          std::forward<First>(first),
                                          std::forward<Args>(args)...));
  }

  // Ends the group early, without an error: cancels its tasks and its body, and
  // lets WithTaskGroup() return as soon as they have ended. Callable from the
  // body and from tasks of the group; no effect if the group ends already. If
  // that cancels a body that was to return a value, there is none:
  // WithTaskGroup() throws CancelledError then; let the body return Co<void> or
  // a std::optional. asyncio: TaskGroup.cancel() of 3.15 (A60).
  void Cancel();

  // ---- public interface ends here ----
 private:
  friend class internal::GroupExit;
  friend class internal::GroupMember;
  template <class T, class B>
  friend Co<T> internal::RunInTaskGroup(B body);

  explicit TaskGroup(internal::TaskCore* parent)
      : parent_(parent),
        cancelling_(parent->Cancelling() - (parent->MustCancel() ? 1 : 0)) {}
  ~TaskGroup();

  internal::LoopCore& loop() const { return parent_->loop(); }
  // Throws std::runtime_error in a thread where the group's loop does not run.
  bool Accepts() const;
  [[noreturn]] void ThrowRefused() const;

  template <class T, class State>
  Task<T> Start(State* state, const TaskOptions& options) {
    // An eager task runs here, and may have ended before it joins.
    Task<T> task = internal::Finished<T>(state, options);
    Join(*state, state->member());
    return task;
  }
  void Join(internal::TaskCore& task, internal::GroupMember& member) noexcept;

  bool HasTasks() const { return first_ != nullptr; }
  void Link(internal::GroupMember* member) noexcept;
  void Leave(internal::GroupMember* member) noexcept;
  void TaskFailed(internal::GroupMember* member) noexcept;
  void Abort() noexcept;

  void BeginExit(const std::exception_ptr& body_error);
  void ExitCancelled();
  // Throws what is to be thrown.
  void EndExit(const std::exception_ptr& body_error);
  [[noreturn]] void ThrowBaseError(const std::exception_ptr& body_error);
  [[noreturn]] static void ThrowNoValue();

  internal::TaskCore* parent_;
  // How many requests the parent had been told of when it entered: those are
  // over, and do not count as cancels from outside.
  int cancelling_;
  internal::GroupMember* first_ = nullptr;  // those that have not ended, oldest
  internal::GroupMember* last_ = nullptr;
  internal::GroupMember* first_failed_ =
      nullptr;  // linked by next_, referenced
  internal::GroupMember* last_failed_ = nullptr;
  internal::GroupExit* exit_ = nullptr;  // where the parent waits for them
  std::exception_ptr base_error_;
  std::exception_ptr propagate_;  // the CancelledError to throw
  std::exception_ptr pending_;    // the last one that came while exiting
  bool exiting_ = false;
  bool aborting_ = false;
  bool parent_cancel_requested_ = false;
};

namespace internal {

// Waits until the group has no tasks; true if the parent was cancelled
// meanwhile.
class GroupExit final : public LeafAwaiter<GroupExit> {
  using Wait = LeafBase::Wait;

 public:
  explicit GroupExit(TaskGroup* group) noexcept : group_(group) {}
  GroupExit(const GroupExit&) = delete;
  ~GroupExit() { Dispose(); }

  bool Ready() noexcept { return !group_->HasTasks(); }
  void Arm() noexcept { group_->exit_ = this; }
  void Unlink() noexcept { group_->exit_ = nullptr; }
  void GiveBack() noexcept {}
  void Take() noexcept {}
  // Instead of a throw.
  bool await_resume() {
    const Wait wait = std::exchange(wait_, Wait::kDone);
    return (wait != Wait::kIdle && task_->TakeMustCancel()) ||
           wait == Wait::kCancelled;
  }
  void AllLeft() noexcept { Grant(); }
  void DescribeWait(std::string* out) const override;
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override;

 private:
  TaskGroup* group_;
};

COIL_LAMBDA_FRAMES_BEGIN
// B is the body or a reference to it.
template <class T, class B>
Co<T> RunInTaskGroup(B body) {
  TaskGroup group(co_await ThisTask());
  ResultSlot<T> result = co_await SlotOf(CallBody(body, group));
  const std::exception_ptr error = result.Error();
  group.BeginExit(error);
  while (group.HasTasks()) {
    GroupExit exit(&group);
    const bool cancelled = co_await AwaiterRef(exit);
    if (cancelled) group.ExitCancelled();
  }
  group.EndExit(error);
  if constexpr (!std::is_void_v<T>) {
    if (error != nullptr) TaskGroup::ThrowNoValue();
    co_return result.Take();
  }
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Runs `body(group)`, waits for the tasks that it started, and returns what the
// body returned. The body returns Co<T>, or is a plain function that returns
// void or T.
template <class B>
  requires std::is_invocable_v<B&, TaskGroup&>
Co<internal::BodyResult<B, TaskGroup&>> WithTaskGroup(B&& body) {
  internal::CheckBody<B>();
  return internal::RunInTaskGroup<internal::BodyResult<B, TaskGroup&>,
                                  internal::StoredBody<B>>(
      std::forward<B>(body));
}

}  // namespace coil

#endif  // COIL_TASK_TASK_GROUP_H_
