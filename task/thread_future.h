// coil/task/thread_future.h
//
// RunCoroutineThreadSafe() starts a coroutine on a loop from another thread,
// and gives a ThreadFuture for its result. The thread waits with Get(); a task
// of another loop awaits it.
//
// Example:
//   coil::Co<int> Answer() { co_return 42; }
//   int FromAnotherThread(coil::EventLoop& loop) {
//     coil::ThreadFuture<int> future =
//         coil::RunCoroutineThreadSafe(Answer(), loop);
//     return future.Get(absl::Seconds(5));
//   }
//
// Ordering: coroutines of one thread start in the order of the calls.
// Cancellation: Cancel() asks the task to cancel, on its loop; the future then
//   ends as the task does. A task that is cancelled while it awaits a
//   ThreadFuture cancels that, and goes on at once.
// Threads: every member may be called from any thread. Get() in the thread of
//   the loop itself would wait for ever: it throws.
// Lifetime: copies refer to the same result. The loop outlives the call of
//   RunCoroutineThreadSafe(), not the future: what a closed loop did not run to
//   the end fails. Whatever happens, the coroutine is destroyed on its loop's
//   thread, or, if that loop refused it, on the thread of the call.
//
// asyncio: run_coroutine_threadsafe (A57), wrap_future (A56),
// concurrent.futures.Future.

#ifndef COIL_TASK_THREAD_FUTURE_H_
#define COIL_TASK_THREAD_FUTURE_H_

#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/internal/thread_result.h"
#include "coil/task/task.h"

namespace coil {

template <class T>
class ThreadFuture {
 public:
  using value_type = T;

  ThreadFuture() = default;

  // Waits for the end and returns the result or throws the error;
  // CancelledError if the task was cancelled. Throws TimeoutError after
  // `timeout`, which changes nothing; std::runtime_error in the thread of the
  // loop while it is not done. Every call gives the result, but a T that can
  // only move is given once: InvalidStateError afterwards.
  T Get(absl::Duration timeout = absl::InfiniteDuration()) const {
    State& state = Checked();
    state.Wait(timeout);
    return state.Take();
  }

  // Asks the task to cancel. False if it is done already, or its loop is
  // closed.
  bool Cancel() const { return Checked().Cancel(); }

  // Ended: with a result, an error, or cancelled.
  bool Done() const { return Checked().Done(); }

  // False for a default-constructed or moved-from one, on which nothing else
  // than assignment is allowed (std::runtime_error).
  explicit operator bool() const { return state_ != nullptr; }

  // co_await future: as Get(), without blocking the thread.
  auto IntoAwaiter() const {
    Checked();
    return internal::ThreadFutureAwaiter<T>(state_);
  }

  // ---- public interface ends here ----
  using State = internal::ThreadResult<T>;
  explicit ThreadFuture(std::shared_ptr<State> state) noexcept
      : state_(std::move(state)) {}

 private:
  State& Checked() const {
    if (state_ == nullptr) internal::ThrowEmptyThreadFuture();
    return *state_;
  }
  std::shared_ptr<State> state_;
};

// Starts `co` as a task of `loop`, which runs in another thread or will run
// later. Throws std::runtime_error if the loop is closed; the coroutine is
// disposed of then.
template <class T>
ThreadFuture<T> RunCoroutineThreadSafe(
    Co<T> co, EventLoop& loop,
    std::source_location created = std::source_location::current()) {
  if (!co.Valid()) internal::ThrowAwaitedTwice();
  auto state =
      std::make_shared<internal::ThreadResult<T>>(internal::CoreOf(loop));
  internal::ThreadStart<T>::Post(std::move(co), state, created);
  return ThreadFuture<T>(std::move(state));
}

}  // namespace coil

#endif  // COIL_TASK_THREAD_FUTURE_H_
