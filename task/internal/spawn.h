// coil/task/internal/spawn.h
//
// How a coroutine, an awaitable or a callable becomes a task: what stands
// behind CreateTask(), TaskGroup and Run(). The second half of task.h, which
// includes it.
//
// Threads: the loop's thread only, or before the loop runs.
// Lifetime: the task owns what it is given.

#ifndef COIL_TASK_INTERNAL_SPAWN_H_
#define COIL_TASK_INTERNAL_SPAWN_H_

#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/loop/internal/pooling.h"
#include "coil/task/co.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil::internal {

template <class A>
inline constexpr bool kIsHandle = false;  // Task<T> or Future<T>
template <class T>
inline constexpr bool kIsHandle<Task<T>> = true;

// What an awaitable results in when it is passed by value to a combinator.
template <class A>
struct ValueOfTrait {};
template <class A>
  requires(IsAwaitable<A> && !kIsCo<A> && !kIsHandle<A>)
struct ValueOfTrait<A> {
  using type = std::remove_cvref_t<AwaitResult<A>>;
};
template <class A>
  requires(kIsCo<A> || kIsHandle<A>)
struct ValueOfTrait<A> {
  using type = typename A::value_type;
};
template <class A>
using ValueOf = typename ValueOfTrait<std::remove_cvref_t<A>>::type;

// The shared state behind a handle.
template <class Handle>
RefPtr<typename Handle::State> StateOf(const Handle& handle) {
  return RefPtr<typename Handle::State>::Share(
      static_cast<typename Handle::State*>(&handle.Checked()));
}

// Applies what CreateTask() was given beside the coroutine.
void ApplyOptions(TaskCore& task, TaskOptions options);

// CreateTask() and what it calls are inlined, so that of options that are
// constant nothing is left. Not under AddressSanitizer, which then misses uses
// of the caller's temporaries after their end (seen with clang 19 at -O0).
#if COIL_FRAME_POOL
#define COIL_INLINE_SPAWN [[gnu::always_inline]]
#else
#define COIL_INLINE_SPAWN
#endif

template <class T>
COIL_INLINE_SPAWN inline Task<T> Finished(TaskCore* core,
                                          const TaskOptions& options) {
  auto ref = RefPtr<FutureCore>::Adopt(core);
  if (!options.name.empty() || options.context != nullptr ||
      options.eager_start) {
    ApplyOptions(*core, options);
  }
  return Task<T>(std::move(ref));
}

// Takes over the coroutine, also where it throws.
template <class T>
[[gnu::noinline]] TaskCore* NewCoTask(LoopCore& loop,
                                      typename Co<T>::Handle root, bool eager,
                                      std::source_location created) {
  Co<T> co(root);
  return new CoTask<T>(loop, co.Release(), created, eager);
}

// Makes a task on a loop that may not run yet.
template <class T>
COIL_INLINE_SPAWN inline Task<T> Spawn(LoopCore& loop, Co<T> co,
                                       const TaskOptions& options,
                                       std::source_location created) {
  if (!co.Valid()) [[unlikely]]
    ThrowAwaitedTwice();
  return Finished<T>(
      NewCoTask<T>(loop, co.Release(), options.eager_start, created), options);
}

template <class A>
Co<std::remove_cvref_t<AwaitResult<A>>> AwaitInCoroutine(A awaitable) {
  co_return co_await std::move(awaitable);
}

// A callable without state: calling it needs no object that lives on.
template <class F>
inline constexpr bool kStateless =
    std::is_empty_v<F> || std::is_pointer_v<F> || std::is_function_v<F>;

template <class F>
concept IsCoroutineFunction =
    !IsAwaitable<F> && std::is_invocable_v<std::decay_t<F>&> &&
    requires(std::decay_t<F>& f) { f(); } &&
    IsAwaitable<std::invoke_result_t<std::decay_t<F>&>>;

template <class F>
auto SpawnCallable(LoopCore& loop, F callable, const TaskOptions& options,
                   std::source_location created) {
  using R = std::invoke_result_t<F&>;
  static_assert(
      kIsCo<R>,
      "CreateTask: the callable must return a Co<T>; call it first if "
      "it returns another awaitable");
  using T = typename R::value_type;
  if constexpr (kStateless<F>) {
    return Spawn<T>(loop, callable(), options, created);
  } else {
    return Finished<T>(new CallableTask<T, F>(loop, std::move(callable),
                                              created, options.eager_start),
                       options);
  }
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_SPAWN_H_
