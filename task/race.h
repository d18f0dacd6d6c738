// coil/task/race.h
//
// Race() awaits several awaitables until the first of them ends, cancels the
// others, waits for them, and returns the winner's result in a std::variant
// whose index() says which argument won.
//
// Example:
//   coil::Co<int> Slow() { co_return 1; }
//   coil::Co<int> FirstOf(coil::Future<int> stop) {
//     std::variant<int, int> first = co_await coil::Race(Slow(), stop);
//     if (first.index() == 1) co_return -1;
//     co_return std::get<0>(first);
//   }
//
// Use WithTimeout() to limit one operation in time, Wait() with kFirstCompleted
// where nothing shall be cancelled.
//
// Nothing that a loser received is lost. Each argument runs as a task of its
// own (a Task or Future is used as it is), and the moment one has ended, before
// anything else runs, the others are cancelled. An operation of coil
// (Queue::Get(), Lock::Acquire(), a read) that was granted in the same turn
// gives back what it was granted: after Race(queue.Get(), Sleep(d)) the item is
// in the result or in the queue. What is not covered is a coroutine of your own
// that received something and then does not return it: one that awaits again
// before it returns loses what it holds when it is cancelled there, as
// everywhere; and a value that a loser returns in spite of its cancellation is
// dropped. A Task or Future keeps its result for those who hold a handle.
//
// Ordering: the arguments start in their order, on the next pass of the loop;
//   if the first one completes in its first step, the others never begin. Of
//   several that are done before the await, the first argument wins. Race()
//   returns once all losers have ended.
// Cancellation: a cancel of the awaiting task is passed on to all that have not
//   ended; they are waited for, then CancelledError is thrown, and nothing was
//   received. If there is a winner already and only losers are waited for, the
//   result is returned (or its error thrown) and the cancel is delivered by the
//   next await that blocks: so neither is lost. A winner that somebody else
//   cancelled throws CancelledError, though the awaiting task is not cancelled.
// Threads: the loop's thread only.
// Lifetime: the error of the winner is thrown, the same object. The error of a
//   loser is not: it is reported as one that nobody has retrieved, unless a
//   holder of a handle reads it. A winner's value is moved or copied as
//   Gather() does it.
//
// Throws std::runtime_error, before anything is started, for an empty or
// awaited Co, an empty handle, the awaiting task itself, and for a handle of
// another loop.
//
// asyncio: wait(FIRST_COMPLETED), cancel, gather, in one and without the gaps.

#ifndef COIL_TASK_RACE_H_
#define COIL_TASK_RACE_H_

#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "coil/task/co.h"
#include "coil/task/internal/join.h"
#include "coil/task/internal/parts.h"
#include "coil/task/task.h"

namespace coil {
namespace internal {

// void is std::monostate, a reference is std::reference_wrapper.
template <class... T>
using RaceResult = std::variant<ContainerValue<T>...>;

template <size_t kIndex, class Result, class Handle>
void EmplaceWinner(std::optional<Result>& result, Handle& handle) {
  if constexpr (std::is_void_v<typename Handle::value_type>) {
    TakeValue(handle);
    result.emplace(std::in_place_index<kIndex>);
  } else {
    result.emplace(std::in_place_index<kIndex>, TakeValue(handle));
  }
}

template <class Result, class... H, size_t... kIndex>
Result TakeWinner(std::tuple<H...>& handles, size_t winner,
                  std::index_sequence<kIndex...>) {
  std::optional<Result> result;
  ((kIndex == winner ? EmplaceWinner<kIndex>(result, std::get<kIndex>(handles))
                     : void()),
   ...);
  return *std::move(result);
}

// The result is a parameter: g++ 12 cannot mangle the name otherwise.
template <class Result, class... A>
Co<Result> RaceTuple(std::tuple<A...> awaitables) {
  const CallSite here = co_await CallSite();
  CheckParts(awaitables, here.task());
  std::tuple<HandleOf<A>...> handles = StartParts(here, awaitables);
  FixedJoinNodes<sizeof...(A)> nodes;
  Join join(here.task(), nodes.get(), JoinUntil::kFirstDone, "race");
  AddParts(join, handles);
  co_await AwaiterRef(join);
  co_return TakeWinner<Result>(handles, join.FirstIndex(),
                               std::index_sequence_for<A...>());
}

}  // namespace internal

// Co<std::variant<...>>, where void is std::monostate and a reference is
// std::reference_wrapper.
template <class... A>
  requires(internal::IsAwaitable<A> && ...)
[[nodiscard]] auto Race(A... awaitables) {
  static_assert(sizeof...(A) != 0,
                "Race: nothing can end first without any awaitable");
  using Result = internal::RaceResult<internal::ValueOf<A>...>;
  return internal::RaceTuple<Result, A...>(
      std::tuple<A...>(std::move(awaitables)...));
}

}  // namespace coil

#endif  // COIL_TASK_RACE_H_
