// coil/task/to_thread.h
//
// ToThread() runs a function that blocks (file system, foreign libraries) on a
// thread of the loop's default pool, and suspends the task meanwhile;
// RunInExecutor() does it on a ThreadPool of one's own.
//
// Example:
//   int Blocking(int n) { return n + 1; }
//   coil::Co<int> Use() {
//     int a = co_await coil::ToThread(Blocking, 1);
//     co_return co_await coil::ToThread([&] { return a * 2; });
//   }
//
// Ordering: jobs start first in, first out, once ToThread() is awaited; the
//   task goes on, on its own loop, on the pass after the job is done.
// Cancellation: a job that has not started is taken back, and CancelledError is
//   thrown at once. One that runs cannot be stopped: the task stays suspended
//   until the thread lets go, so that what the job refers to stays valid; then
//   CancelledError is thrown, and the result of the job is dropped.
// Threads: called on a loop's thread. The function runs on a thread of the
//   pool, and touches nothing of the loop but by CallSoonThreadSafe(); the
//   result and its destructor belong to the loop's thread.
// Lifetime: an rvalue callable and all arguments are kept in the frame
//   (std::ref() gives a reference), an lvalue callable is referred to. A frame
//   that is destroyed while its job runs waits for it. What completes after the
//   loop was closed is dropped.
//
// An error of the function comes out of the await. ToThread() takes a copy of
// the context along: variables are seen in the thread, and what is set there
// stays there. RunInExecutor() does not, as in asyncio.
//
// asyncio: to_thread (A80), loop.run_in_executor (A172).

#ifndef COIL_TASK_TO_THREAD_H_
#define COIL_TASK_TO_THREAD_H_

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/thread_job.h"

namespace coil {

namespace internal {

template <class F, class... Args>
using ThreadReturn = std::invoke_result_t<std::remove_reference_t<F>&, Args...>;

template <class F, class... Args>
constexpr void CheckThreadFunction() {
  CheckBody<F>();
  static_assert(
      !IsAwaitable<ThreadReturn<F, Args...>>,
      "ToThread: the function blocks and returns its result; a "
      "coroutine function would not run on the thread, await it here");
}

// The result as the frame keeps it: no reference to what the thread had.
template <class R>
using ThreadValue = std::conditional_t<std::is_rvalue_reference_v<R>,
                                       std::remove_reference_t<R>, R>;

COIL_LAMBDA_FRAMES_BEGIN
// `pool` is null for the loop's default one. F is a value or an lvalue
// reference.
template <class R, class F, class... Args>
Co<R> CallInThread(ThreadPool* pool, bool with_context, F f, Args... args) {
  auto call = [&f, &args...]() -> R {
    return std::invoke(f, std::move(args)...);
  };
  ThreadAwaiter<R, decltype(call)> job(pool, with_context, call);
  co_return co_await std::move(job);
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Co<R> ToThread(F, Args...): awaits `f(args...)` on the loop's default
// executor. Throws std::runtime_error after ShutdownDefaultExecutor().
template <class F, class... Args>
auto ToThread(F&& f, Args&&... args) {
  internal::CheckThreadFunction<F, std::decay_t<Args>...>();
  using R =
      internal::ThreadValue<internal::ThreadReturn<F, std::decay_t<Args>...>>;
  return internal::CallInThread<R, internal::StoredBody<F>,
                                std::decay_t<Args>...>(
      nullptr, /*with_context=*/true, std::forward<F>(f),
      std::forward<Args>(args)...);
}

// Co<R> RunInExecutor(ThreadPool&, F): awaits `f()` on `pool`, which outlives
// the await. Throws std::runtime_error if the pool is shut down, also if that
// happens before the job has started.
template <class F>
auto RunInExecutor(ThreadPool& pool, F&& f) {
  internal::CheckThreadFunction<F>();
  using R = internal::ThreadValue<internal::ThreadReturn<F>>;
  return internal::CallInThread<R, internal::StoredBody<F>>(
      &pool, /*with_context=*/false, std::forward<F>(f));
}

}  // namespace coil

#endif  // COIL_TASK_TO_THREAD_H_
