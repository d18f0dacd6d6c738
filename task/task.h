// coil/task/task.h
//
// Task<T> is a handle to a coroutine that runs concurrently; CreateTask() makes
// one. AnyTask is the part without the type, which Future<T> shares. The loop
// owns a running task: dropping the handle neither cancels nor loses it.
//
// Example:
//   coil::Co<int> Answer() { co_return 42; }
//   coil::Co<int> Ask() {
//     coil::Task<int> task = coil::CreateTask(Answer(), {.name = "answer"});
//     const int& answer = co_await task;
//     co_return answer;
//   }
//
// Ordering: the first step of a task runs on the next pass of the loop, in the
//   order of the CreateTask() calls; those who await it resume in the order in
//   which they began, on the pass after it is done.
// Cancellation: Cancel() asks; CancelledError is thrown from the await at which
//   the task is suspended, or from its next await that blocks. A task that
//   awaits a task passes the request on. Before the first step, the body never
//   runs.
// Threads: the loop's thread only. From another thread use
//   loop.CallSoonThreadSafe([task] { task.Cancel(); }) or
//   RunCoroutineThreadSafe().
// Lifetime: handles are counted. An error that nobody has read when the last
//   handle goes away is reported to the loop's exception handler.
//
// asyncio: Task (A13-A36), create_task (A13), current_task (A35), all_tasks
// (A36).

#ifndef COIL_TASK_TASK_H_
#define COIL_TASK_TASK_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "coil/task/co.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"

namespace coil {

class Context;

// Names a done-callback, for RemoveDoneCallback().
enum class CallbackId : uint64_t {};

// All members are trivially destructible and copied at once.
struct TaskOptions {
  std::string_view name = {};        // "Task-7" if empty
  const Context* context = nullptr;  // a copy of the current one if null
  bool eager_start = false;          // run the first step inside CreateTask()
};

class COIL_TRIVIAL_ABI AnyTask {
 public:
  AnyTask() = default;

  // Requests cancellation. False if it is done already; true says that the
  // request was made, not that it will be followed. Each call counts. asyncio:
  // A18.
  bool Cancel(std::string_view message = "") const;
  // Takes one request back and returns how many are left. At zero a request
  // that was not delivered yet is dropped. Zero for a future. asyncio: A21.
  int Uncancel() const;
  // How many requests there are. asyncio: A20.
  int Cancelling() const;

  // Ended: with a result, an error, or cancelled. asyncio: A24.
  bool Done() const;
  // Ended by CancelledError. asyncio: A19.
  bool Cancelled() const;
  // The error, null for a result. Throws InvalidStateError while pending,
  // CancelledError if cancelled. Marks the error as read. asyncio: A26.
  std::exception_ptr Exception() const;

  // "Task-7" unless it was given one. asyncio: A32.
  std::string Name() const;
  void SetName(std::string name) const;

  // Calls `f(AnyTask)`, or `f()`, on the loop, never inline, once it is done;
  // also if it is done already. An error of `f` goes to the exception handler.
  // Throws std::invalid_argument if `f` is null. asyncio: A27.
  CallbackId AddDoneCallback(absl::AnyInvocable<void(AnyTask)> f) const;
  template <class F>
    requires(std::is_invocable_v<std::decay_t<F>&> &&
             !std::is_invocable_v<std::decay_t<F>&, AnyTask>)
  CallbackId AddDoneCallback(F&& f) const {
    return AddDoneCallback(absl::AnyInvocable<void(AnyTask)>(
        [f = std::forward<F>(f)](const AnyTask&) mutable {
          static_cast<void>(f());
        }));
  }
  // True if it was registered and had not been scheduled. asyncio: A28.
  bool RemoveDoneCallback(CallbackId id) const;

  // False for a default-constructed or moved-from handle, on which nothing else
  // than assignment and comparison is allowed (std::runtime_error).
  explicit operator bool() const { return static_cast<bool>(core_); }

  friend bool operator==(const AnyTask& a, const AnyTask& b) {
    return a.core_.get() == b.core_.get();
  }
  template <class H>
  friend H AbslHashValue(H h, const AnyTask& task) {
    return H::combine(std::move(h), task.core_.get());
  }

  // ---- public interface ends here ----
  using Core = internal::RefPtr<internal::FutureCore>;
  explicit AnyTask(Core core) noexcept : core_(std::move(core)) {}
  internal::FutureCore* core() const { return core_.get(); }
  Core TakeCore() noexcept { return std::move(core_); }
  internal::FutureCore& Checked() const {
    if (!core_) [[unlikely]]
      ThrowEmpty();
    return *core_;
  }

 private:
  [[noreturn]] static void ThrowEmpty();

  Core core_;
};

template <class T = void>
class COIL_TRIVIAL_ABI Task : public AnyTask {
 public:
  using value_type = T;

  Task() = default;

  // The result; throws the task's error, CancelledError, or InvalidStateError
  // while it runs. Marks an error as read. asyncio: A25.
  decltype(auto) Result() const {
    State& state = CheckedState();
    if (!state.Done()) internal::ThrowNotDone(state);
    state.MarkRetrieved();
    return state.slot().Get();
  }

  // co_await task gives const T&, which lives as long as a handle does.
  auto IntoAwaiter() const& {
    return internal::FutureAwaiter<State, internal::ReadAs::kReference>(
        internal::RefPtr<State>::Share(&CheckedState()));
  }
  // co_await std::move(task) gives T; reading it later throws
  // InvalidStateError.
  auto IntoAwaiter() && {
    return internal::FutureAwaiter<State, internal::ReadAs::kMove>(
        internal::RefPtr<State>::Share(&CheckedState()));
  }

  // ---- public interface ends here ----
  using State = internal::TaskState<T>;
  explicit Task(internal::RefPtr<internal::FutureCore> core)
      : AnyTask(std::move(core)) {}

 private:
  State& CheckedState() const { return static_cast<State&>(Checked()); }
};

// The task that runs now. Throws std::runtime_error outside of a task (in a
// plain callback, or without a loop). asyncio: A35.
AnyTask CurrentTask();
// The same, empty instead of an error.
AnyTask CurrentTaskOrNull() noexcept;
// The tasks of the running loop that are not done, oldest first. asyncio: A36.
std::vector<AnyTask> AllTasks();

}  // namespace coil

#include "coil/task/internal/spawn.h"
// After spawn.h, of which it needs ValueOf.
#include "coil/task/internal/owned_call.h"

namespace coil {

// Starts `co` as a task of the running loop. Throws std::runtime_error without
// one; the coroutine is disposed of then. asyncio: A13.
template <class T>
COIL_INLINE_SPAWN inline Task<T> CreateTask(
    Co<T> co, TaskOptions options = {},
    std::source_location created = std::source_location::current()) {
  internal::LoopCore* loop = internal::LoopCore::Current();
  if (loop == nullptr) [[unlikely]] {
    co.Dispose();
    internal::ThrowNoLoop("CreateTask");
  }
  return internal::Spawn<T>(*loop, std::move(co), options, created);
}

// The same for every other awaitable: CreateTask(Sleep(d)),
// CreateTask(q.Get()). asyncio: ensure_future (A15).
template <class A>
  requires(internal::IsAwaitable<A> && !internal::kIsCo<std::remove_cvref_t<A>>)
auto CreateTask(
    A&& awaitable, TaskOptions options = {},
    std::source_location created = std::source_location::current()) {
  internal::LoopCore& loop = internal::RequireLoop("CreateTask");
  return internal::Spawn(loop,
                         internal::AwaitInCoroutine<std::remove_cvref_t<A>>(
                             std::forward<A>(awaitable)),
                         options, created);
}

// Calls `f()`, which returns a Co, and runs that; the task owns `f`, so a
// lambda with captures is right here.
template <class F>
  requires internal::IsCoroutineFunction<F>
auto CreateTask(
    F&& f, TaskOptions options = {},
    std::source_location created = std::source_location::current()) {
  internal::LoopCore& loop = internal::RequireLoop("CreateTask");
  return internal::SpawnCallable<std::decay_t<F>>(loop, std::forward<F>(f),
                                                  options, created);
}
// The same for `f(first, args...)`; the task owns the arguments too.
template <class F, class First, class... Args>
  requires internal::IsCallWithArguments<TaskOptions, F, First, Args...>
auto CreateTask(F&& f, First&& first, Args&&... args) {
  return CreateTask(internal::OwnedCall(std::forward<F>(f),
                                        std::forward<First>(first),
                                        std::forward<Args>(args)...));
}

}  // namespace coil

template <>
struct std::hash<coil::AnyTask> {
  size_t operator()(const coil::AnyTask& task) const noexcept {
    return std::hash<const void*>()(task.core());
  }
};
template <class T>
struct std::hash<coil::Task<T>> : std::hash<coil::AnyTask> {};

#endif  // COIL_TASK_TASK_H_
