// coil/task/invoke.h
//
// Invoke() runs a coroutine function whose callable and arguments live in the
// frame of the call. It is the answer to the trap of coroutine lambdas: their
// captures live in the lambda, which is gone when a temporary one is suspended.
//
// Example:
//   coil::Co<std::string> Append(std::string a, const std::string& b) {
//     co_return a + b;
//   }
//   coil::Co<std::string> Greet(std::string name) {
//     auto body = [name]() -> coil::Co<std::string> { co_return name; };
//     std::string who = co_await coil::Invoke(body);
//     co_return co_await coil::Invoke(Append, "hello ", who);
//   }
//
// Ordering: as an await of what `f` returns.
// Cancellation: passes through.
// Threads: as Co<T>.
// Lifetime: `f` and the arguments are moved or copied into the frame and
//   destroyed with it. Name a lambda that has captures first: g++ 12 destroys a
//   temporary of a type that is not trivially destructible twice.

#ifndef COIL_TASK_INVOKE_H_
#define COIL_TASK_INVOKE_H_

#include <functional>
#include <type_traits>
#include <utility>

#include "coil/task/task.h"

namespace coil {

// Co<T> Invoke(F, Args...) for `f(args...)` that returns a Co<T> or another
// awaitable.
template <class F, class... Args>
auto Invoke(F&& f, Args&&... args) {
  return internal::OwnedCall(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace coil

#endif  // COIL_TASK_INVOKE_H_
