// coil/task/run.h
//
// Run() is the entry point of a program: it makes an event loop, runs a coroutine on
// it to its end, cancels and awaits what is left over, and takes the loop down.
// Runner does the same for several coroutines on one loop.
//
// Example:
//   coil::Co<int> Main() { co_return 0; }
//   int Program() { return coil::Run(Main()); }
//
// Ordering: at the end: cancel all tasks, run until they are done, join the thread
//   pool, close the loop (asyncio's order, A1).
// Cancellation: the first SIGINT cancels main; once its cleanup is done, Run()
//   raises SIGINT again with the default action. A second SIGINT ends the process
//   at once. InterruptPolicy chooses otherwise.
// Threads: one loop for each thread; Run() inside of a running loop throws
//   std::runtime_error. Signals are handled where Run() is called from the main
//   thread and nobody else handles them.
// Lifetime: `main` is owned; the result is moved out.
//
// asyncio: run, Runner (A1-A9).

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
#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/future.h"
#include "coil/task/task.h"

namespace coil {

// What Ctrl-C does while Run() runs.
enum class InterruptPolicy : uint8_t {
  kRaise,             // cancel main, then raise SIGINT with the default action
  kRaiseAlsoTerm,     // the same for SIGTERM
  kThrow,             // cancel main, then throw KeyboardInterrupt out of Run()
  kThrowAlsoTerm,     // the same for SIGTERM
  kLeaveAlone,        // signals are not Run()'s business
};

// All members are trivially destructible.
struct RunOptions {
  std::optional<bool> debug;  // unset takes COIL_DEBUG from the environment
  // A virtual clock and a seeded order, for tests; borrowed until Run() returns.
  const SimulationOptions* simulation = nullptr;
  InterruptPolicy on_interrupt = InterruptPolicy::kRaise;
  LoopOptions loop;
};

class Runner {
 public:
  // The loop is made at the first use.
  explicit Runner(RunOptions options = {});
  // Closes. Errors of the shutdown are reported, not thrown.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs `main` to its end on the loop of this runner; tasks that it leaves run on
  // in the next Run(). What context variables it sets is seen by the next Run().
  // Throws what `main` throws, std::runtime_error in a running loop or after
  // Close(). asyncio: A3.
  template <class T>
  T Run(Co<T> main) {
    return RunTask<T>([&](internal::LoopCore& loop) {
      return internal::Spawn<T>(loop, std::move(main), TaskOptions{},
                                std::source_location::current());
    });
  }
  template <class T>
  T Run(Task<T> main) {
    return RunTask<T>([&](internal::LoopCore&) { return std::move(main); });
  }
  // Any other awaitable, or a coroutine function, which is owned until the end.
  template <class F>
    requires(internal::IsCoroutineFunction<F> ||
             (internal::IsAwaitable<F> && !internal::kIsCo<std::remove_cvref_t<F>> &&
              !internal::kIsHandle<std::remove_cvref_t<F>>))
  auto Run(F&& main) {
    if constexpr (internal::IsCoroutineFunction<F>) {
      std::decay_t<F> callable(std::forward<F>(main));
      return Run(callable());
    } else {
      return Run(internal::AwaitInCoroutine<std::remove_cvref_t<F>>(
          std::forward<F>(main)));
    }
  }

  // The loop, made now if it was not. Throws std::runtime_error after Close().
  EventLoop& Loop();

  // Cancels and awaits what is left over, ends the thread pool, closes the loop.
  // Idempotent. asyncio: A4.
  void Close();

 private:
  // Watches the signals of the policy while `task` runs.
  class InterruptGuard;

  template <class T, class Make>
  T RunTask(Make make) {
    EventLoop& loop = Loop();
    CheckNotRunning();
    internal::ContextScope scope(context_.ref().get());
    Task<T> task = make(internal::CoreOf(loop));
    RunUntilDone(task);
    return Finish<T>(std::move(task));
  }
  template <class T>
  static T Finish(Task<T> task) {
    auto state = internal::StateOf(task);
    task = Task<T>();
    return internal::TakeShared(state);
  }
  static void CheckNotRunning();
  void RunUntilDone(const AnyTask& task);
  void CancelAll();

  RunOptions options_;
  std::unique_ptr<EventLoop> loop_;
  Context context_;
  bool closed_ = false;
};

// Runs `main` on a loop of its own and returns its result or throws its error.
template <class T>
T Run(Co<T> main, RunOptions options = {}) {
  Runner runner(options);
  if constexpr (std::is_void_v<T>) {
    runner.Run(std::move(main));
    runner.Close();
  } else {
    T result = runner.Run(std::move(main));
    runner.Close();
    return static_cast<T>(std::forward<T>(result));
  }
}

// The same for a coroutine function, which is owned until the end.
template <class F>
  requires internal::IsCoroutineFunction<F>
auto Run(F&& main, RunOptions options = {}) {
  std::decay_t<F> callable(std::forward<F>(main));
  return Run(callable(), options);
}

namespace internal {

// Runs `loop` until `task` is done.
void RunLoopUntilDone(EventLoop& loop, const AnyTask& task);

}  // namespace internal

// EventLoop::RunUntilComplete().
template <class A>
auto RunLoopUntilComplete(EventLoop& loop, A&& awaitable) {
  using D = std::remove_cvref_t<A>;
  if constexpr (internal::kIsHandle<D>) {
    if (&awaitable.Checked().loop() != &internal::CoreOf(loop)) {
      internal::ThrowWrongLoop("RunUntilComplete");
    }
    internal::RunLoopUntilDone(loop, awaitable);
    auto state = internal::StateOf(awaitable);
    return internal::TakeShared(state);
  } else if constexpr (internal::kIsCo<D>) {
    auto task = internal::Spawn(internal::CoreOf(loop), D(std::move(awaitable)),
                                TaskOptions{}, std::source_location::current());
    internal::RunLoopUntilDone(loop, task);
    auto state = internal::StateOf(task);
    task = {};
    return internal::TakeShared(state);
  } else {
    return RunLoopUntilComplete(
        loop, internal::AwaitInCoroutine<D>(std::forward<A>(awaitable)));
  }
}

}  // namespace coil

#endif  // COIL_TASK_RUN_H_
