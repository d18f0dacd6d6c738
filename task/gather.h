// coil/task/gather.h
//
// Gather() awaits several awaitables at once and returns their results in the
// order of the arguments; GatherSettled() returns how each of them ended,
// errors included. A coroutine becomes a task of its own when the result is
// awaited.
//
// Example:
//   coil::Co<int> Fetch(int id) { co_return id * 10; }
//   coil::Co<int> Sum() {
//     auto [a, b] = co_await coil::Gather(Fetch(1), Fetch(2));
//     std::vector<coil::Co<int>> more;
//     for (int id = 3; id < 100; ++id) more.push_back(Fetch(id));
//     int sum = a + b;
//     for (int value : co_await coil::Gather(std::move(more))) sum += value;
//     co_return sum;
//   }
//
// Use a TaskGroup instead where a failure of one shall cancel the others,
// Race() where the first result ends it.
//
// Ordering: the tasks start in the order of the arguments, on the next pass of
//   the loop; the results are in that order too. What is done already is taken
//   without giving way. The first error in time is thrown at once, the same
//   object; of several that are there from the start, the first argument's. The
//   others keep running, and errors that they have later count as retrieved.
// Cancellation: a cancel of the awaiting task is passed on to every part that
//   is not done (each time, if there are several), Gather() waits until they
//   have all ended, and throws CancelledError whatever became of them;
//   GatherSettled() too. Results are dropped then. Once an error has ended a
//   Gather(), a cancel does not reach the others any more. A part that somebody
//   else cancels is an error like any other: CancelledError is thrown, the
//   awaiting task is not cancelled.
// Threads: the loop's thread only.
// Lifetime: the handles are kept until the end. A result is moved out where
//   nobody else has a handle to its task, copied otherwise; one that cannot be
//   copied is moved, and reading it elsewhere throws InvalidStateError.
//
// The same task twice is awaited once, and its result is there twice. Nothing
// at all gives an empty result. Throws std::runtime_error, before anything is
// started, for an empty or awaited Co, an empty handle, the awaiting task
// itself, and for a handle of another loop.
//
// asyncio: gather (A67-A69); return_exceptions=True is GatherSettled.

#ifndef COIL_TASK_GATHER_H_
#define COIL_TASK_GATHER_H_

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/task/co.h"
#include "coil/task/internal/join.h"
#include "coil/task/internal/parts.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/outcome.h"
#include "coil/task/task.h"

namespace coil {
namespace internal {

// Co<void> for voids only.
template <class... T>
using GatheredTuple =
    std::conditional_t<sizeof...(T) != 0 && (std::is_void_v<T> && ...), void,
                       std::tuple<TupleValue<T>...>>;
template <class T>
struct GatheredVectorTrait {
  using type = std::vector<ContainerValue<T>>;
};
template <>
struct GatheredVectorTrait<void> {
  using type = void;
};
template <class T>
using GatheredVector = typename GatheredVectorTrait<T>::type;

template <class Handle>
TupleValue<typename Handle::value_type> TakeTupleValue(Handle& handle) {
  if constexpr (std::is_void_v<typename Handle::value_type>) {
    TakeValue(handle);
    return std::monostate();
  } else {
    return TakeValue(handle);
  }
}

template <class Handle>
Outcome<typename Handle::value_type> TakeOutcome(Handle& handle) {
  auto state = StateOf(handle);
  static_cast<void>(Handle(std::move(handle)));
  return OutcomeOfDone(state);
}

template <class Handle>
auto TakeValues(std::vector<Handle>& handles) {
  GatheredVector<typename Handle::value_type> values;
  values.reserve(handles.size());
  for (Handle& handle : handles) values.push_back(TakeValue(handle));
  return values;
}

template <class Handle>
auto TakeOutcomes(std::vector<Handle>& handles) {
  std::vector<Outcome<typename Handle::value_type>> outcomes;
  outcomes.reserve(handles.size());
  for (Handle& handle : handles) outcomes.push_back(TakeOutcome(handle));
  return outcomes;
}

// The result is a parameter: g++ 12 cannot mangle the name otherwise.
template <class Result, class... A>
Co<Result> GatherTuple(std::tuple<A...> awaitables) {
  const CallSite here = co_await CallSite();
  CheckParts(awaitables, here.task());
  std::tuple<HandleOf<A>...> handles = StartParts(here, awaitables);
  FixedJoinNodes<sizeof...(A)> nodes;
  Join join(here.task(), nodes.get(), JoinUntil::kFirstError, "gather");
  AddParts(join, handles);
  co_await AwaiterRef(join);
  if (join.First() != nullptr) {
    join.DropErrors();
    join.ThrowFirst();
  }
  if constexpr (!std::is_void_v<Result>) {
    co_return std::apply(
        [](HandleOf<A>&... handle) {
          return Result{TakeTupleValue(handle)...};
        },
        handles);
  }
}

template <class Result, class... A>
Co<Result> GatherTupleSettled(std::tuple<A...> awaitables) {
  const CallSite here = co_await CallSite();
  CheckParts(awaitables, here.task());
  std::tuple<HandleOf<A>...> handles = StartParts(here, awaitables);
  FixedJoinNodes<sizeof...(A)> nodes;
  Join join(here.task(), nodes.get(), JoinUntil::kAllDone, "gather");
  AddParts(join, handles);
  co_await AwaiterRef(join);
  co_return std::apply(
      [](HandleOf<A>&... handle) { return Result{TakeOutcome(handle)...}; },
      handles);
}

}  // namespace internal

// Co<std::tuple<...>>, where void is std::monostate; Co<void> for voids only.
template <class... A>
  requires(internal::IsAwaitable<A> && ...)
[[nodiscard]] auto Gather(A... awaitables) {
  using Result = internal::GatheredTuple<internal::ValueOf<A>...>;
  return internal::GatherTuple<Result, A...>(
      std::tuple<A...>(std::move(awaitables)...));
}

// Co<std::vector<T>>, or Co<void>. References are std::reference_wrapper.
template <class A>
  requires internal::IsAwaitable<A>
Co<internal::GatheredVector<internal::ValueOf<A>>> Gather(
    std::vector<A> awaitables) {
  using Result = internal::GatheredVector<internal::ValueOf<A>>;
  const internal::CallSite here = co_await internal::CallSite();
  internal::CheckParts(awaitables, here.task());
  std::vector<internal::HandleOf<A>> handles;
  internal::JoinNodes nodes(awaitables.size());
  internal::Join join(here.task(), nodes.get(),
                      internal::JoinUntil::kFirstError, "gather");
  internal::StartParts(here, awaitables, handles, join);
  co_await internal::AwaiterRef(join);
  if (join.First() != nullptr) {
    join.DropErrors();
    join.ThrowFirst();
  }
  if constexpr (!std::is_void_v<Result>) {
    co_return internal::TakeValues(handles);
  }
}

// Co<std::tuple<Outcome<T>...>>: waits until all have ended, throws no error of
// theirs.
template <class... A>
  requires(internal::IsAwaitable<A> && ...)
[[nodiscard]] auto GatherSettled(A... awaitables) {
  using Result = std::tuple<Outcome<internal::ValueOf<A>>...>;
  return internal::GatherTupleSettled<Result, A...>(
      std::tuple<A...>(std::move(awaitables)...));
}

template <class A>
  requires internal::IsAwaitable<A>
Co<std::vector<Outcome<internal::ValueOf<A>>>> GatherSettled(
    std::vector<A> awaitables) {
  const internal::CallSite here = co_await internal::CallSite();
  internal::CheckParts(awaitables, here.task());
  std::vector<internal::HandleOf<A>> handles;
  internal::JoinNodes nodes(awaitables.size());
  internal::Join join(here.task(), nodes.get(), internal::JoinUntil::kAllDone,
                      "gather");
  internal::StartParts(here, awaitables, handles, join);
  co_await internal::AwaiterRef(join);
  co_return internal::TakeOutcomes(handles);
}

}  // namespace coil

#endif  // COIL_TASK_GATHER_H_
