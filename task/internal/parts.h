// coil/task/internal/parts.h
//
// What the combinators do with the awaitables that they are given: a task or a
// future is used as it is, everything else is started as a task of its own.
//
// Threads: the loop's thread only.
// Lifetime: a handle keeps its result; TakeValue() gives it up.

#ifndef COIL_TASK_INTERNAL_PARTS_H_
#define COIL_TASK_INTERNAL_PARTS_H_

#include <cstddef>
#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "coil/task/co.h"
#include "coil/task/internal/join.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil::internal {

template <class A>
using HandleOf = std::conditional_t<kIsHandle<A>, A, Task<ValueOf<A>>>;

// A result in a tuple, and in a container, which cannot hold references.
template <class T>
using TupleValue = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
template <class T>
struct ContainerValueTrait {
  using type = TupleValue<T>;
};
template <class T>
struct ContainerValueTrait<T&> {
  using type = std::reference_wrapper<T>;
};
template <class T>
using ContainerValue = typename ContainerValueTrait<T>::type;

// Throws std::runtime_error for what cannot be awaited by `task`.
template <class A>
void CheckPart(const A& awaitable, const TaskCore* task) {
  if constexpr (kIsHandle<A>) {
    CheckAwaitable(&awaitable.Checked(), task);
  } else if constexpr (kIsCo<A>) {
    if (!awaitable.Valid()) ThrowAwaitedTwice();
  }
}

// Gives up a coroutine that will not run, without the report.
template <class A>
void DisposePart(A& awaitable) noexcept {
  if constexpr (kIsCo<A>) awaitable.Dispose();
}

// `internal`: nobody else has a handle, so nobody misses it at the loop's end.
template <class A>
HandleOf<A> StartPart(LoopCore& loop, A& awaitable, std::source_location where,
                      bool internal) {
  if constexpr (kIsHandle<A>) {
    return std::move(awaitable);
  } else {
    HandleOf<A> task;
    if constexpr (kIsCo<A>) {
      task = Spawn(loop, std::move(awaitable), TaskOptions(), where);
    } else {
      task = Spawn(loop, AwaitInCoroutine<A>(std::move(awaitable)),
                   TaskOptions(), where);
    }
    if (internal) static_cast<TaskCore*>(task.core())->MarkInternal();
    return task;
  }
}

// The result of a handle that is done, moved out where nobody else can read it;
// throws its error. The handle is empty afterwards.
template <class Handle>
auto TakeValue(Handle& handle) -> typename Handle::value_type {
  // The handle's own reference, which may be the last.
  using State = typename Handle::State;
  return TakeShared(
      RefPtr<State>::Adopt(static_cast<State*>(handle.TakeCore().Release())));
}

// ---- several at once --------------------------------------------------------

template <class A>
void CheckParts(std::vector<A>& awaitables, const TaskCore* task) {
  try {
    for (const A& awaitable : awaitables) CheckPart(awaitable, task);
  } catch (...) {
    for (A& awaitable : awaitables) DisposePart(awaitable);
    throw;
  }
}

template <class... A>
void CheckParts(std::tuple<A...>& awaitables, const TaskCore* task) {
  std::apply(
      [&](A&... a) {
        try {
          (CheckPart(a, task), ...);
        } catch (...) {
          (DisposePart(a), ...);
          throw;
        }
      },
      awaitables);
}

// In the order of the arguments.
template <class... A>
std::tuple<HandleOf<A>...> StartParts(const CallSite& here,
                                      std::tuple<A...>& awaitables) {
  return std::apply(
      [&](A&... a) {
        return std::tuple<HandleOf<A>...>{
            StartPart(here.loop(), a, here.where(), /*internal=*/true)...};
      },
      awaitables);
}

template <class A>
void StartParts(const CallSite& here, std::vector<A>& awaitables,
                std::vector<HandleOf<A>>& handles, Join& join) {
  if constexpr (kIsHandle<A>) {
    handles = std::move(awaitables);
    for (A& handle : handles) join.Add(*handle.core());
  } else {
    handles.reserve(awaitables.size());
    for (A& awaitable : awaitables) {
      handles.push_back(StartPart(here.loop(), awaitable, here.where(),
                                  /*internal=*/true));
      join.Add(*handles.back().core());
    }
  }
}

template <class... H>
void AddParts(Join& join, std::tuple<H...>& handles) {
  std::apply([&](H&... handle) { (join.Add(*handle.core()), ...); }, handles);
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_PARTS_H_
