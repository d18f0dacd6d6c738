// coil/task/internal/body.h
//
// How a helper that is awaited on the spot (With, WithTimeout, WithTaskGroup,
// Finally) keeps and calls the body that it is given. A body returns a Co<T>,
// or is a plain function that returns void or T.
//
//   template <class B>
//   auto WithX(B&& body) {                     // a plain function, no
//   coroutine
//     internal::CheckBody<B>();
//     return internal::WithXImpl<internal::BodyResult<B, Arg&>,
//                                internal::StoredBody<B>>(
//         std::forward<B>(body));
//   }
//   template <class T, class B>
//   Co<T> WithXImpl(B body) {                  // B is F or F&
//     ...
//     ResultSlot<T> slot = co_await SlotOf(CallBody(body, arg));
//     ...                                      // nothing was thrown
//     co_return slot.Take();                   // void: slot.Take();
//   }
//
// Threads: the loop's thread only.
// Lifetime: an rvalue callable is kept by value in the helper's frame, an
//   lvalue is referred to.

#ifndef COIL_TASK_INTERNAL_BODY_H_
#define COIL_TASK_INTERNAL_BODY_H_

#include <coroutine>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"

namespace coil::internal {

// g++ 12 destroys a temporary closure in a full expression with co_await twice.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
inline constexpr bool kClosuresDieTwice = true;
#else
inline constexpr bool kClosuresDieTwice = false;
#endif

// What the frame of a helper holds for a parameter `F&& f`: F& for an lvalue, F
// for an rvalue.
template <class F>
using StoredBody = std::conditional_t<std::is_lvalue_reference_v<F>, F,
                                      std::remove_cvref_t<F>>;

template <class F>
inline constexpr bool kBodyIsSafe =
    !kClosuresDieTwice || std::is_lvalue_reference_v<F> ||
    std::is_trivially_destructible_v<std::remove_cvref_t<F>>;

// For a parameter `F&& f`: refuses what the compiler would destroy twice.
template <class F>
constexpr void CheckBody() {
  static_assert(
      kBodyIsSafe<F>,
      "g++ 12 destroys the captures of a temporary lambda in a co_await "
      "expression twice. Name the lambda and pass its name: `auto body = "
      "[x]() -> coil::Co<void> {...}; co_await coil::With(manager, body);`, "
      "or capture by reference: `[&]`");
}

template <class R>
struct BodyResultTrait {
  using type = R;
};
template <class T>
struct BodyResultTrait<Co<T>> {
  using type = T;
};
template <class R>
struct BodyResultTrait<R&&> {
  using type = R;
};

// The T of a body `f(args...)` that returns Co<T> or T.
template <class F, class... Args>
using BodyResult =
    typename BodyResultTrait<std::invoke_result_t<F&, Args...>>::type;

COIL_LAMBDA_FRAMES_BEGIN
template <class R, class F, class... Args>
Co<R> CallPlainBody(F& f, Args&&... args) {
  co_return std::invoke(f, std::forward<Args>(args)...);
}
template <class F, class... Args>
Co<void> CallVoidBody(F& f, Args&&... args) {
  std::invoke(f, std::forward<Args>(args)...);
  co_return;
}
COIL_LAMBDA_FRAMES_END
template <class R>
Co<R> ThrowFromBody(std::exception_ptr error,
                    std::add_pointer_t<R> never = nullptr) {
  std::rethrow_exception(error);
  if constexpr (std::is_void_v<R>) {
    co_return;
  } else {
    co_return static_cast<R&&>(*never);
  }
}

// Calls `f(args...)`; its error comes out of the await, also if it is thrown
// before there is a coroutine. REQUIRES: `f` and the arguments outlive the Co,
// which is awaited in the same expression; `f` is an lvalue.
template <class F, class... Args>
Co<BodyResult<F, Args...>> CallBody(F& f, Args&&... args) {
  using R = std::invoke_result_t<F&, Args...>;
  if constexpr (kIsCo<R>) {
    std::exception_ptr error;
    try {
      return std::invoke(f, std::forward<Args>(args)...);
    } catch (...) {
      error = std::current_exception();
    }
    return ThrowFromBody<BodyResult<F, Args...>>(error);
  } else if constexpr (std::is_void_v<R>) {
    return CallVoidBody(f, std::forward<Args>(args)...);
  } else {
    return CallPlainBody<BodyResult<F, Args...>>(f,
                                                 std::forward<Args>(args)...);
  }
}

// Awaits a Co without a throw: gives the slot with its value or its error. A
// cancel of the task is an error like any other here.
template <class T>
class SlotAwaiter {
 public:
  explicit SlotAwaiter(CoAwaiter<T> awaiter) noexcept
      : awaiter_(std::move(awaiter)) {}
  SlotAwaiter(SlotAwaiter&&) = default;

  void Bind(TaskCore*) noexcept {}
  bool await_ready() const { return awaiter_.await_ready(); }
  template <class P>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<P> parent) noexcept {
    return awaiter_.await_suspend(parent);
  }
  ResultSlot<T> await_resume() { return awaiter_.TakeSlot(); }

 private:
  CoAwaiter<T> awaiter_;
};

template <class T>
SlotAwaiter<T> SlotOf(Co<T> co) noexcept {
  return SlotAwaiter<T>(co.IntoAwaiter());
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_BODY_H_
