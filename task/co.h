// coil/task/co.h
//
// Co<T> is what a coroutine function returns: Python's coroutine object. It is
// lazy, moves but does not copy, and is awaited once. Awaiting it is a call
// that may suspend, not a new task; CreateTask() makes it run concurrently.
//
// Example:
//   coil::Co<int> Double(int n) { co_return 2 * n; }
//   coil::Co<int> Quadruple(int n) {
//     int twice = co_await Double(n);
//     co_return co_await Double(twice);
//   }
//
// Ordering: the body starts at the await, in the same step of the same task; a
//   coroutine that never blocks returns without a turn of the loop.
// Cancellation: a cancel of the task is thrown as CancelledError from the await
//   that blocks, through every Co of the chain. A request is not delivered by
//   an await that completes at once.
// Threads: a Co that has not started may be moved to another thread. Once
//   started it belongs to the loop of its task.
// Lifetime: parameters are copied into the frame, references are not kept
//   alive: pass by value what must live until the end. The captures of a lambda
//   that is a coroutine live in the lambda, not in the frame: give such a
//   lambda to CreateTask() or Invoke(), which own it. A Co that is dropped
//   without an await is reported. T may be a reference; it has an alignment of
//   at most 16.
//
// asyncio: coroutine object (A11), awaitables (A12).

#ifndef COIL_TASK_CO_H_
#define COIL_TASK_CO_H_

// clang-format off
#include "coil/loop/internal/language.h"  // first, as <coroutine> complains too
// clang-format on

#include <coroutine>
#include <type_traits>
#include <utility>

#include "coil/task/internal/promise.h"

// Clang 19 can report most references that dangle, but then refuses every
// function that returns a Co without being a coroutine itself, those of the
// standard library included: std::function<Co<void>()>, std::invoke. So it is
// asked for by a macro.
#if defined(COIL_CHECK_CORO_LIFETIMES) && defined(__clang__) && \
    __clang_major__ >= 19
#define COIL_CORO_TYPE [[clang::coro_return_type, clang::coro_lifetimebound]]
#else
#define COIL_CORO_TYPE
#endif

namespace coil {

template <class T = void>
class [[nodiscard(
    "a coroutine does nothing until it is awaited")]] COIL_TRIVIAL_ABI
    COIL_CORO_TYPE Co {
 public:
  using promise_type = internal::Promise<T>;
  using value_type = T;

  Co(Co&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Co& operator=(Co&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Co() {
    if (handle_) [[unlikely]]
      DropUnstarted(handle_);
  }

  // False once it was awaited, moved from or given to a task.
  bool Valid() const noexcept { return handle_ != nullptr; }

  // For co_await; the awaiter owns the coroutine. A Co awaited twice throws
  // std::runtime_error.
  internal::CoAwaiter<T> IntoAwaiter() noexcept {
    return internal::CoAwaiter<T>(std::exchange(handle_, nullptr));
  }

  // Gives up a coroutine that is not to run, without the report.
  void Dispose() noexcept {
    if (handle_) internal::GiveUp(Release());
  }

  // ---- public interface ends here ----
  using Handle = std::coroutine_handle<promise_type>;
  explicit Co(Handle handle) noexcept : handle_(handle) {}
  Handle Release() noexcept { return std::exchange(handle_, nullptr); }

 private:
  // By value: who passes a Co on need not have it in memory.
  [[gnu::noinline, gnu::cold]] static void DropUnstarted(
      Handle handle) noexcept {
    internal::ReportNeverAwaited(handle.promise());
    handle.destroy();
  }

  Handle handle_;
};

namespace internal {

template <class T>
Co<T> Promise<T>::get_return_object() noexcept {
  return Co<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Co<void> Promise<void>::get_return_object() noexcept {
  return Co<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// The awaiter that `co_await awaitable` uses, and what it results in.
template <class A>
decltype(auto) GetAwaiter(A&& awaitable) {
  if constexpr (HasIntoAwaiter<A>) {
    return std::forward<A>(awaitable).IntoAwaiter();
  } else if constexpr (HasMemberCoAwait<A>) {
    return std::forward<A>(awaitable).operator co_await();
  } else {
    return std::forward<A>(awaitable);
  }
}

template <class A>
concept IsAwaitable = HasIntoAwaiter<A> || IsLeafAwaiter<A> ||
                      HasMemberCoAwait<A> || IsForeignAwaiter<A>;

template <class T>
inline constexpr bool kIsCo = false;
template <class T>
inline constexpr bool kIsCo<Co<T>> = true;

}  // namespace internal

// What `co_await std::declval<A>()` gives.
template <class A>
using AwaitResult =
    decltype(internal::GetAwaiter(std::declval<A>()).await_resume());

}  // namespace coil

#endif  // COIL_TASK_CO_H_
