// coil/task/internal/owned_call.h
//
// OwnedCall() is a coroutine that owns a coroutine function and the arguments
// with which it calls it. What the call converts, a literal to a parameter
// `const std::string&`, lives until the end too: the call is a part of the
// await.

#ifndef COIL_TASK_INTERNAL_OWNED_CALL_H_
#define COIL_TASK_INTERNAL_OWNED_CALL_H_

#include <functional>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/lambda_frames.h"

namespace coil::internal {

COIL_LAMBDA_FRAMES_BEGIN
template <class R, class F, class... Args>
Co<R> OwnedCallFrame(F f, Args... args) {
  if constexpr (std::is_member_pointer_v<F>) {
    co_return co_await std::invoke(f, std::move(args)...);
  } else {
    co_return co_await f(std::move(args)...);
  }
}
COIL_LAMBDA_FRAMES_END

template <class F, class... Args>
auto OwnedCall(F&& f, Args&&... args) {
  using A = std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>;
  static_assert(
      IsAwaitable<A>,
      "Invoke: the callable must return a Co<T> or another awaitable");
  return OwnedCallFrame<ValueOf<A>, std::decay_t<F>, std::decay_t<Args>...>(
      std::forward<F>(f), std::forward<Args>(args)...);
}

// F may be called with these arguments, the first of which is no Options.
template <class Options, class F, class First, class... Args>
concept IsCallWithArguments =
    !std::is_same_v<std::remove_cvref_t<First>, Options> &&
    std::is_invocable_v<std::decay_t<F>&, std::decay_t<First>,
                        std::decay_t<Args>...>;

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_OWNED_CALL_H_
