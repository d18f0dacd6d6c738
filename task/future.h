// coil/task/future.h
//
// Future<T> is a cell for one result, set by hand: the bridge from callbacks to
// coroutines. Copies refer to the same cell.
//
// Example:
//   coil::Co<int> FromCallback(coil::EventLoop& loop) {
//     coil::Future<int> future;
//     loop.CallSoon([future]() mutable { future.SetResult(7); });
//     co_return co_await future;
//   }
//
// Ordering: those who await it, and its done-callbacks, are scheduled in the
//   order in which they came; nothing runs inside SetResult().
// Cancellation: a task that is cancelled while it awaits a future cancels the
//   future, as in asyncio; await Shield(future) to prevent that.
// Threads: the loop's thread only; it is bound to the loop that runs where it
//   is made. From another thread: loop.CallSoonThreadSafe([f] { f.SetResult(1);
//   }).
// Lifetime: counted. An error that nobody has read is reported when it dies.
//
// asyncio: Future (A45-A54).

#ifndef COIL_TASK_FUTURE_H_
#define COIL_TASK_FUTURE_H_

#include <concepts>
#include <exception>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/task/task.h"

namespace coil {

template <class T = void>
class Future : public AnyTask {
 public:
  using value_type = T;

  // Throws std::runtime_error without a running loop.
  explicit Future(
      std::source_location created = std::source_location::current())
      : AnyTask(
            Core::Adopt(new State(internal::RequireLoop("Future"), created))) {}

  // Throws InvalidStateError if it is done. asyncio: A47.
  template <class U = T>
    requires(!std::is_void_v<T> && std::is_constructible_v<T, U &&>)
  void SetResult(U&& value) const {
    State& s = state();
    internal::CheckThread(s, "Future::SetResult");
    s.SetResult(std::forward<U>(value));
  }
  void SetResult() const
    requires std::is_void_v<T>
  {
    State& s = state();
    internal::CheckThread(s, "Future::SetResult");
    s.SetResult();
  }

  // Completes it with `error`. Throws InvalidStateError if it is done,
  // std::invalid_argument for a null. asyncio: A48.
  void SetException(std::exception_ptr error) const {
    if (error == nullptr) {
      throw std::invalid_argument(
          "Future::SetException: the exception is null");
    }
    State& s = state();
    internal::CheckThread(s, "Future::SetException");
    s.SetError(std::move(error));
  }
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  void SetException(E error) const {
    SetException(std::make_exception_ptr(std::move(error)));
  }

  // As Task::Result(). asyncio: A49.
  decltype(auto) Result() const {
    State& s = state();
    if (!s.Done()) internal::ThrowNotDone(s);
    s.MarkRetrieved();
    return s.slot().Get();
  }

  // co_await future gives const T&; co_await std::move(future) gives T.
  auto IntoAwaiter() const& {
    return internal::FutureAwaiter<State, internal::ReadAs::kReference>(
        internal::RefPtr<State>::Share(&state()));
  }
  auto IntoAwaiter() && {
    return internal::FutureAwaiter<State, internal::ReadAs::kMove>(
        internal::RefPtr<State>::Share(&state()));
  }

  // ---- public interface ends here ----
  using State = internal::FutureState<T>;

 private:
  State& state() const { return static_cast<State&>(Checked()); }
};

namespace internal {
template <class T>
inline constexpr bool kIsHandle<Future<T>> = true;
}  // namespace internal

}  // namespace coil

template <class T>
struct std::hash<coil::Future<T>> : std::hash<coil::AnyTask> {};

#endif  // COIL_TASK_FUTURE_H_
