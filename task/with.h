// coil/task/with.h
//
// With() is `async with`: it enters a manager, runs a body, and leaves the
// manager again, also if the body fails or is cancelled. Use it where leaving
// has to be awaited; what can be let go at once belongs in a destructor.
//
// Example:
//   class Session {
//    public:
//     coil::Co<int> AEnter() { co_return 7; }
//     coil::Co<void> AExit(std::exception_ptr) { co_return; }
//   };
//   coil::Co<int> UseSession() {
//     Session session;
//     co_return co_await coil::With(
//         session, [&](int id) -> coil::Co<int> { co_return id + 1; });
//   }
//
// A manager has two members:
//
//   Co<R> AEnter();                        its result is given to the body
//   Co<void> AExit(std::exception_ptr);    null if the body succeeded
//   Co<bool> AExit(std::exception_ptr);    the same; true drops the error
//
// AExit of type Co<bool> is for bodies of void: a body that has a value to
// return would have none after an error that was dropped.
//
// Ordering: AEnter, body, AExit, one after the other in the same task. If
//   AEnter throws, neither the body nor AExit runs.
// Cancellation: passes into whatever runs. CancelledError out of the body is
//   given to AExit like any error. A cancel that arrives while AExit waits is
//   thrown out of AExit's await, as in Python: what must not be cut short goes
//   in Shield().
// Threads: the loop's thread only.
// Lifetime: an lvalue manager or body is referred to, an rvalue is kept in the
//   frame until AExit is done; so is the result of AEnter. Should the loop be
//   closed while the body is suspended, AExit cannot run: only destructors do.
//
// An error of AExit replaces that of the body. A body is a coroutine function
// that returns Co<T>, or a plain function; it takes the result of AEnter (by
// value, by reference, or not at all).
//
// Python: async with; contextlib.AbstractAsyncContextManager.

#ifndef COIL_TASK_WITH_H_
#define COIL_TASK_WITH_H_

#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/result_slot.h"

namespace coil {

// What With() can enter and leave.
template <class M>
concept AsyncManager = requires(M& manager, std::exception_ptr error) {
  { manager.AEnter() } -> internal::IsAwaitable;
  { manager.AExit(error) } -> internal::IsAwaitable;
};

namespace internal {

template <class M>
using EnterResult = AwaitResult<decltype(std::declval<M&>().AEnter())>;
template <class M>
using ExitResult = AwaitResult<decltype(std::declval<M&>().AExit(
    std::declval<std::exception_ptr&>()))>;

// Keeps what AEnter gave, and gives it to the body in the form that it takes.
template <class R>
class Entered {
 public:
  template <class B>
  static constexpr bool kByMove = std::is_invocable_v<B&, R>;
  template <class B>
  static constexpr bool kByReference = std::is_invocable_v<B&, R&>;

  void Set(R value) { value_.SetValue(static_cast<R&&>(value)); }

  template <class B>
  auto Call(B& body) {
    if constexpr (kByMove<B>) {
      return CallBody(body, static_cast<R&&>(*Pointer()));
    } else if constexpr (kByReference<B>) {
      return CallBody(body, *Pointer());
    } else {
      static_assert(std::is_invocable_v<B&>,
                    "With: the body takes the result of AEnter(), or nothing");
      return CallBody(body);
    }
  }

 private:
  std::remove_reference_t<R>* Pointer() {
    return const_cast<std::remove_reference_t<R>*>(
        std::addressof(value_.Get()));
  }
  ResultSlot<R> value_;
};

template <>
class Entered<void> {
 public:
  template <class B>
  auto Call(B& body) {
    static_assert(std::is_invocable_v<B&>,
                  "With: AEnter() gives nothing, so the body takes nothing");
    return CallBody(body);
  }
};

template <class M, class B>
using WithResult =
    typename decltype(std::declval<Entered<EnterResult<M>>&>().Call(
        std::declval<B&>()))::value_type;

// M and B are values or lvalue references, see StoredBody.
COIL_LAMBDA_FRAMES_BEGIN
template <class T, class M, class B>
Co<T> WithManager(M manager, B body) {
  using R = EnterResult<M>;
  Entered<R> entered;
  if constexpr (std::is_void_v<R>) {
    co_await manager.AEnter();
  } else {
    entered.Set(co_await manager.AEnter());
  }
  ResultSlot<T> slot = co_await SlotOf(entered.Call(body));
  std::exception_ptr error = slot.Error();
  if constexpr (std::is_void_v<ExitResult<M>>) {
    co_await manager.AExit(error);
  } else {
    static_assert(
        std::is_void_v<T>,
        "With: an AExit() of type Co<bool> may drop the error of the "
        "body, and then there is no value to return; make it Co<void>, "
        "or let the body return Co<void>");
    const bool drop = co_await manager.AExit(error);
    if (drop) slot.Clear();
  }
  co_return slot.Take();
}
COIL_LAMBDA_FRAMES_END

// g++ 12 destroys a temporary aggregate in a co_await expression twice.
template <class M>
constexpr void CheckManager() {
  static_assert(
      !kClosuresDieTwice || std::is_lvalue_reference_v<M> ||
          !std::is_aggregate_v<std::remove_cvref_t<M>> ||
          std::is_trivially_destructible_v<std::remove_cvref_t<M>>,
      "g++ 12 destroys a temporary aggregate in a co_await expression "
      "twice: name the manager and pass its name, or give it a "
      "constructor");
}

}  // namespace internal

// Co<T> With(manager, body), where T is what the body returns.
template <class M, class B>
auto With(M&& manager, B&& body) {
  static_assert(
      AsyncManager<std::remove_reference_t<M>>,
      "With: the manager needs Co<R> AEnter() and Co<void> or Co<bool> "
      "AExit(std::exception_ptr)");
  internal::CheckManager<M>();
  internal::CheckBody<B>();
  using Manager = internal::StoredBody<M>;
  using Body = internal::StoredBody<B>;
  return internal::WithManager<internal::WithResult<Manager, Body>, Manager,
                               Body>(std::forward<M>(manager),
                                     std::forward<B>(body));
}

}  // namespace coil

#endif  // COIL_TASK_WITH_H_
