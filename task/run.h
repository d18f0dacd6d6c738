// coil/task/run.h
//
// Run() is the entry point of a program: it makes an event loop, runs a
// coroutine on it to its end, cancels and awaits what is left over, and takes
// the loop down. Runner does the same for several coroutines on one loop.
//
// Example:
//   coil::Co<int> Main() { co_return 0; }
//   int Program() { return coil::Run(Main()); }
//
// Ordering: at the end: cancel all tasks, run until they are done, join the
//   thread pool, close the loop (asyncio's order, A1). One more pass of the
//   loop runs once main is done: what it scheduled before, done-callbacks
//   included, still runs.
// Cancellation: the first SIGINT cancels main; once its cleanup is done, Run()
//   raises SIGINT again with the default action. A second SIGINT ends the
//   process at once, also if a task blocks the loop. InterruptPolicy chooses
//   otherwise. A task that swallows the cancellation at the end keeps Run()
//   from returning.
// Threads: one loop for each thread; Run() inside of a running loop throws
//   std::runtime_error. Signals are handled where Run() is called from the main
//   thread and nobody else handles them.
// Lifetime: `main` is owned; the result is moved out.
//
// RunCoroutineThreadSafe() is in coil/task/thread_future.h, which is included.
// asyncio: run, Runner (A1-A9), loop.run_until_complete (A153).

#ifndef COIL_TASK_RUN_H_
#define COIL_TASK_RUN_H_

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/future.h"
#include "coil/task/task.h"
#include "coil/task/thread_future.h"

namespace coil {

// What Ctrl-C does while Run() runs. "Cancel main" holds if main ends cancelled
// and nobody has taken the request back with Uncancel(); otherwise the result
// or the error of main counts. asyncio: A6.
enum class InterruptPolicy : uint8_t {
  kRaise,          // cancel main, then raise SIGINT with the default action
  kRaiseAlsoTerm,  // the same for SIGTERM
  kThrow,          // cancel main, then throw KeyboardInterrupt out of Run()
  kThrowAlsoTerm,  // the same for SIGTERM
  kLeaveAlone,     // signals are not Run()'s business
};

// All members are trivially destructible.
struct RunOptions {
  // Unset takes COIL_DEBUG from the environment.
  std::optional<bool> debug = std::nullopt;
  // A virtual clock and a seeded order, for tests; borrowed until Run()
  // returns. Signals are left alone then, unless `on_interrupt` is set: a
  // handler is a reason to wait for ever, and a test that is stuck is to fail.
  const SimulationOptions* simulation = nullptr;
  InterruptPolicy on_interrupt = InterruptPolicy::kRaise;
  LoopOptions loop = {};
};

namespace internal {

// A coroutine that cannot be run is disposed of, without a report.
template <class T>
class DisposeOnThrow {
 public:
  explicit DisposeOnThrow(Co<T>& co) : co_(co) {}
  DisposeOnThrow(const DisposeOnThrow&) = delete;
  DisposeOnThrow& operator=(const DisposeOnThrow&) = delete;
  ~DisposeOnThrow() { co_.Dispose(); }

 private:
  Co<T>& co_;
};

}  // namespace internal

class Runner {
 public:
  // The loop is made at the first use.
  explicit Runner(RunOptions options = {});
  // Closes. Errors of the shutdown are reported, not thrown.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs `main` to its end on the loop of this runner; tasks that it leaves run
  // on in the next Run(). What context variables it sets is seen by the next
  // Run(). Throws what `main` throws; std::runtime_error in a running loop,
  // after Close(), or if Stop() ended the loop before `main` did, which then
  // goes on in the next Run(). asyncio: A3.
  template <class T>
  T Run(Co<T> main,
        std::source_location where = std::source_location::current()) {
    internal::DisposeOnThrow<T> guard(main);
    Prepare();
    const TaskOptions options = InContext();
    return Finish<T>(internal::Spawn<T>(internal::CoreOf(*loop_),
                                        std::move(main), options, where));
  }
  // A task of this loop.
  template <class T>
  T Run(Task<T> main,
        std::source_location /*where*/ = std::source_location::current()) {
    Prepare();
    CheckOwn(main);
    return Finish<T>(std::move(main));
  }
  // Any other awaitable, or a coroutine function, which is owned until the end.
  template <class F>
    requires(internal::IsCoroutineFunction<F> ||
             (internal::IsAwaitable<F> &&
              !internal::kIsCo<std::remove_cvref_t<F>> &&
              !internal::kIsHandle<std::remove_cvref_t<F>>))
  decltype(auto) Run(
      F&& main, std::source_location where = std::source_location::current()) {
    if constexpr (internal::IsCoroutineFunction<F>) {
      Prepare();
      const TaskOptions options = InContext();
      auto task = internal::SpawnCallable<std::decay_t<F>>(
          internal::CoreOf(*loop_), std::forward<F>(main), options, where);
      return Finish<typename decltype(task)::value_type>(std::move(task));
    } else {
      return Run(internal::AwaitInCoroutine<std::remove_cvref_t<F>>(
                     std::forward<F>(main)),
                 where);
    }
  }

  // The loop, made now if it was not. Throws std::runtime_error after Close().
  EventLoop& Loop();

  // Cancels and awaits what is left over, waits for the thread pool while the
  // loop runs on, closes the loop. Idempotent. asyncio: A4.
  void Close();

 private:
  // Watches the signals of the policy while `task` runs.
  class InterruptGuard;

  template <class T>
  T Finish(Task<T> task) {
    RunUntilDone(task);
    auto state = internal::StateOf(task);
    task = Task<T>();
    return internal::TakeShared(state);
  }
  // Makes the loop. Throws if it cannot run in this thread now.
  void Prepare();
  // Tasks of Run() run in one context, not in copies of it.
  TaskOptions InContext() const { return {.name = {}, .context = &context_}; }
  void CheckOwn(const AnyTask& task) const;
  void RunUntilDone(const AnyTask& task);
  void CancelAll();

  RunOptions options_;
  std::unique_ptr<EventLoop> loop_;
  Context context_;  // a copy of the one in which the loop was made
  bool closed_ = false;
};

namespace internal {

template <class A>
decltype(auto) RunAndClose(const RunOptions& options, A&& main,
                           std::source_location where) {
  Runner runner(options);
  using T = decltype(runner.Run(std::forward<A>(main), where));
  if constexpr (std::is_void_v<T>) {
    runner.Run(std::forward<A>(main), where);
    runner.Close();
  } else {
    T result = runner.Run(std::forward<A>(main), where);
    runner.Close();
    return static_cast<T>(std::forward<T>(result));
  }
}

}  // namespace internal

// Runs `main` (a Co, or another awaitable that is not bound to a loop yet) on a
// loop of its own and returns its result or throws its error. asyncio: A1.
template <class A>
  requires(internal::IsAwaitable<A> && !internal::IsCoroutineFunction<A>)
decltype(auto) Run(
    A&& main, RunOptions options = {},
    std::source_location where = std::source_location::current()) {
  static_assert(!internal::kIsHandle<std::remove_cvref_t<A>>,
                "Run: a Task or Future belongs to a loop already; co_await it "
                "there, or use Runner::Run() of that loop");
  return internal::RunAndClose(options, std::forward<A>(main), where);
}

// The same for a coroutine function, which is owned until the end.
template <class F>
  requires internal::IsCoroutineFunction<F>
decltype(auto) Run(
    F&& main, RunOptions options = {},
    std::source_location where = std::source_location::current()) {
  return internal::RunAndClose(options, std::forward<F>(main), where);
}
// The same for `main(first, args...)`, with the default options.
template <class F, class First, class... Args>
  requires internal::IsCallWithArguments<RunOptions, F, First, Args...>
decltype(auto) Run(F&& main, First&& first, Args&&... args) {
  return Run(internal::OwnedCall(std::forward<F>(main),
                                 std::forward<First>(first),
                                 std::forward<Args>(args)...));
}

namespace internal {

// Runs `loop` until `task` is done.
void RunLoopUntilDone(EventLoop& loop, const AnyTask& task);

}  // namespace internal

// EventLoop::RunUntilComplete().
template <class A>
decltype(auto) RunLoopUntilComplete(
    EventLoop& loop, A&& awaitable,
    std::source_location where = std::source_location::current()) {
  using D = std::remove_cvref_t<A>;
  if constexpr (internal::kIsHandle<D>) {
    if (!awaitable.Checked().BelongsTo(internal::CoreOf(loop))) {
      internal::ThrowWrongLoop("RunUntilComplete");
    }
    internal::RunLoopUntilDone(loop, awaitable);
    auto state = internal::StateOf(awaitable);
    return internal::TakeShared(state);
  } else if constexpr (internal::kIsCo<D>) {
    // A loop that cannot run it must not own it.
    D main(std::move(awaitable));
    internal::DisposeOnThrow guard(main);
    internal::CheckCanRun(loop, "RunUntilComplete");
    auto task = internal::Spawn(internal::CoreOf(loop), std::move(main),
                                TaskOptions{}, where);
    internal::RunLoopUntilDone(loop, task);
    auto state = internal::StateOf(task);
    task = {};
    return internal::TakeShared(state);
  } else {
    return RunLoopUntilComplete(
        loop, internal::AwaitInCoroutine<D>(std::forward<A>(awaitable)), where);
  }
}

}  // namespace coil

#endif  // COIL_TASK_RUN_H_
