// coil/task/async_generator.h
//
// AsyncGenerator<T> is what a coroutine function returns that gives values one
// by one with co_yield, and may await in between. It is a range: take the
// values with Next(), or with COIL_FOR_AWAIT.
//
// Example:
//   coil::AsyncGenerator<int> Count(int n) {
//     for (int i = 0; i < n; ++i) co_yield i;
//   }
//   coil::Co<int> Sum() {
//     int sum = 0;
//     COIL_FOR_AWAIT(int i, Count(10)) {
//       if (i == 7) break;
//       sum += i;
//     }
//     auto numbers = Count(3);
//     while (auto i = co_await numbers.Next()) sum += *i;
//     co_return sum;
//   }
//
// Ordering: the body runs inside of Next(), in the task that calls it, up to
//   the next co_yield. Between two calls it stands still.
// Cancellation: a cancel of the task that awaits Next() is thrown from the
//   await in the body. A body that lets it pass has ended.
// Threads: the loop's thread only; one Next() at a time.
// Lifetime: parameters are copied into the frame, references are not kept
//   alive. Dropping the generator destroys the frame at its co_yield, without
//   running what follows: destructors do the cleanup, so a loop may be left at
//   any time. Cleanup that has to be awaited runs in AClose(), see there. The
//   object may move, but not between the call of Next() or AClose() and the
//   first step of its await.
//
// T may be move-only, and is no reference. Python: async generators.

#ifndef COIL_TASK_ASYNC_GENERATOR_H_
#define COIL_TASK_ASYNC_GENERATOR_H_

#include <coroutine>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/for_await.h"
#include "coil/task/internal/generator_promise.h"

namespace coil {

template <class T>
class [[nodiscard(
    "a generator does nothing until Next() is awaited")]] COIL_CORO_TYPE
    AsyncGenerator {
 public:
  using value_type = T;
  using promise_type = internal::GeneratorPromise<T>;

  AsyncGenerator(AsyncGenerator&& other) noexcept
      : owner_(std::move(other.owner_)) {}
  AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
    owner_.Swap(other.owner_);
    return *this;
  }
  ~AsyncGenerator() = default;

  // Runs the body up to its next co_yield and gives the value, nullopt at the
  // end. An error of the body comes out of here once and ends it; afterwards
  // there is nullopt. Throws std::runtime_error while another Next() is under
  // way.
  // Cancellation: if CancelledError is delivered, no value was taken.
  // Python: anext() (PEP 525).
  Co<std::optional<T>> Next() {
    co_return co_await internal::GeneratorStep<T>(owner_, internal::Ask::kNext);
  }

  // Ends the body early with the cleanup that it awaits: GeneratorExit is
  // thrown from the co_yield at which it stands. The body catches it, remembers
  // it, awaits its cleanup after the catch block, and rethrows or returns:
  //
  //   AsyncGenerator<Row> Rows() {
  //     Cursor cursor = co_await Open();
  //     std::exception_ptr error;
  //     try {
  //       while (auto row = co_await cursor.Fetch()) co_yield *row;
  //     } catch (...) {
  //       error = std::current_exception();
  //     }
  //     co_await cursor.Close();
  //     if (error) std::rethrow_exception(error);
  //   }
  //
  // No effect before the first Next() but that the body never runs, and none
  // after the end. Another error of the body comes out of here. A body that
  // yields once more is destroyed there, and std::runtime_error is thrown.
  // Python: aclose().
  Co<void> AClose() {
    co_await internal::GeneratorStep<T>(owner_, internal::Ask::kClose);
  }

  // ---- public interface ends here ----
  explicit AsyncGenerator(std::coroutine_handle<promise_type> handle) noexcept
      : owner_(handle) {}

 private:
  internal::GeneratorOwner<T> owner_;
};

namespace internal {
template <class T>
AsyncGenerator<T> GeneratorPromise<T>::get_return_object() noexcept {
  return AsyncGenerator<T>(
      std::coroutine_handle<GeneratorPromise<T>>::from_promise(*this));
}
}  // namespace internal

}  // namespace coil

#endif  // COIL_TASK_ASYNC_GENERATOR_H_
