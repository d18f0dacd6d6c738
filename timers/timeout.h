// coil/timers/timeout.h
//
// WithTimeout() gives an operation, or a body of several, a time limit: when it
// is over, what runs is cancelled, and TimeoutError comes out. WaitFor() is the
// same with asyncio's argument order and its rule for a timeout of zero;
// Timeout is the object to keep where the outcome is asked for afterwards.
//
// Example:
//   coil::Co<int> Work() { co_return co_await coil::Sleep(absl::Hours(1), 1); }
//   coil::Co<int> Limited() {
//     int a = co_await coil::WithTimeout(absl::Seconds(2), Work());
//     int b = co_await coil::WithTimeout(
//         absl::Seconds(1), [&](coil::TimeoutScope& scope) -> coil::Co<int> {
//           scope.Reschedule(scope.When() + absl::Seconds(5));
//           co_return co_await Work();
//         });
//     co_return a + b + co_await coil::WaitFor(Work(), absl::Seconds(3));
//   }
//
// Ordering: the limit counts from the await. A limit of zero or less passes on
//   the next turn of the loop: what completes without waiting succeeds. Of
//   several limits that pass at once, the outermost raises TimeoutError.
// Cancellation: a cancel of the task from outside wins over a limit that passes
//   at the same time, and is thrown as CancelledError. Operations give back
//   what was granted to them, so nothing is lost in a timeout. A body that
//   catches the CancelledError of its limit and returns, succeeds; an error
//   that it throws instead passes through.
// Threads: the loop's thread only. The operation runs in the task that awaits,
//   no task is made.
// Lifetime: operations and rvalue bodies are kept in the awaiting frame, lvalue
//   bodies are referred to; nothing is allocated. A TimeoutScope is valid until
//   its body ends.
//
// What these functions return is a Co<T> for every purpose: it is awaited once,
// given to CreateTask(), and converts to Co<T>.
//
// asyncio: timeout, timeout_at, Timeout, wait_for (A75, A82-A91). C++ has no
// chain of exceptions, so an error that passes through does not name the limit.

#ifndef COIL_TIMERS_TIMEOUT_H_
#define COIL_TIMERS_TIMEOUT_H_

#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/loop_time.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/task.h"
#include "coil/task/with.h"
#include "coil/timers/internal/deadline.h"
#include "coil/timers/internal/end_of_future.h"
#include "coil/timers/internal/timed.h"
#include "coil/timers/sleep.h"

namespace coil {

// A time limit, seen from inside of it: a handle, copies refer to the same one.
class TimeoutScope {
 public:
  // The deadline; LoopTime::InfiniteFuture() if there is none. asyncio: A84.
  LoopTime When() const noexcept { return deadline_->When(); }
  // Moves the deadline; a time in the past is due on the next turn,
  // InfiniteFuture() takes the limit away. Throws std::runtime_error once the
  // deadline has passed or the scope was left. asyncio: A85.
  void Reschedule(LoopTime when) { deadline_->Reschedule(when); }
  // True once the deadline has passed, also if the body went on. asyncio: A86.
  bool Expired() const noexcept { return deadline_->Expired(); }

  // ---- public interface ends here ----
  explicit TimeoutScope(internal::Deadline& deadline) noexcept
      : deadline_(&deadline) {}

 private:
  internal::Deadline* deadline_;
};

// A time limit as a manager, for one With(), where the outcome is asked for
// afterwards:
//
//   Timeout limit(absl::Seconds(1));
//   co_await With(limit, body);  // the body may take a TimeoutScope&
//   if (limit.Expired()) ...
//
// asyncio: Timeout (A82-A86).
class Timeout {
 public:
  // `delay` from now. Throws std::runtime_error without a running loop.
  explicit Timeout(absl::Duration delay)
      : Timeout(internal::RequireLoop("Timeout").RecentNow() + delay) {}
  explicit Timeout(LoopTime when)
      : deadline_(internal::DeadlineSpec::At(when)) {}
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;

  // As those of TimeoutScope; Reschedule() also throws before the entry.
  LoopTime When() const noexcept { return deadline_.When(); }
  void Reschedule(LoopTime when) { deadline_.Reschedule(when); }
  bool Expired() const noexcept { return deadline_.Expired(); }

  // For With(). Throws std::runtime_error the second time.
  Co<TimeoutScope&> AEnter();
  // Throws TimeoutError in place of a CancelledError that the limit caused.
  Co<void> AExit(std::exception_ptr error);

 private:
  // First: the timer needs it to the end, also where the frame of the With()
  // was destroyed before it has left.
  internal::RefPtr<internal::TaskCore> task_;
  internal::Deadline deadline_;
  TimeoutScope scope_{deadline_};
};

namespace internal {

// Calls the body of a WithTimeout() once the deadline runs.
template <class T, class B>
class BodyAwaiter {
 public:
  explicit BodyAwaiter(B&& body) : body_(std::forward<B>(body)) {}
  BodyAwaiter(BodyAwaiter&&) = default;

  void Start(Deadline& deadline) {
    if constexpr (std::is_invocable_v<B&, TimeoutScope&>) {
      scope_.emplace(deadline);
      co_.emplace(CallBody(body_, *scope_).IntoAwaiter());
    } else {
      co_.emplace(CallBody(body_).IntoAwaiter());
    }
  }
  bool await_ready() const { return co_->await_ready(); }
  template <class P>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<P> self) noexcept {
    return co_->await_suspend(self);
  }
  T await_resume() { return co_->await_resume(); }
  ResultSlot<T> TakeSlot() { return co_->TakeSlot(); }

 private:
  B body_;
  std::optional<TimeoutScope> scope_;
  std::optional<CoAwaiter<T>> co_;
};

template <class B>
concept IsTimeoutBody =
    !IsAwaitable<std::remove_cvref_t<B>> &&
    (std::is_invocable_v<std::remove_reference_t<B>&, TimeoutScope&> ||
     std::is_invocable_v<std::remove_reference_t<B>&>);

template <class B>
struct TimeoutBodyTrait {
  using T = BodyResult<B>;
};
template <class B>
  requires std::is_invocable_v<B&, TimeoutScope&>
struct TimeoutBodyTrait<B> {
  using T = BodyResult<B, TimeoutScope&>;
};

template <class B>
auto TimedBody(DeadlineSpec spec, B&& body) {
  CheckBody<B>();
  using Stored = StoredBody<B>;
  using T = typename TimeoutBodyTrait<std::remove_reference_t<B>>::T;
  return Timed(spec, BodyAwaiter<T, Stored>(std::forward<B>(body)));
}

}  // namespace internal

// Awaits `awaitable` (a Co, Task, Future or another operation) for `delay` at
// most, and results in what it results in. Throws TimeoutError. An infinite
// `delay` is no limit. A task is cancelled when the time is over, and waited
// for. asyncio: timeout (A82).
template <class A>
  requires internal::IsAwaitable<A>
[[nodiscard("co_await it")]] auto WithTimeout(absl::Duration delay,
                                              A awaitable) {
  return internal::TimedOperation(internal::DeadlineSpec::After(delay),
                                  awaitable);
}

// The same for `body(TimeoutScope&)` or `body()`, which returns Co<T>, or is a
// plain function.
template <class B>
  requires internal::IsTimeoutBody<B>
[[nodiscard("co_await it")]] auto WithTimeout(absl::Duration delay, B&& body) {
  return internal::TimedBody(internal::DeadlineSpec::After(delay),
                             std::forward<B>(body));
}

// The same with a point of the loop's clock: one that has passed already is due
// on the next turn. asyncio: timeout_at (A83).
template <class A>
  requires internal::IsAwaitable<A>
[[nodiscard("co_await it")]] auto WithTimeoutAt(LoopTime when, A awaitable) {
  return internal::TimedOperation(internal::DeadlineSpec::At(when), awaitable);
}
template <class B>
  requires internal::IsTimeoutBody<B>
[[nodiscard("co_await it")]] auto WithTimeoutAt(LoopTime when, B&& body) {
  return internal::TimedBody(internal::DeadlineSpec::At(when),
                             std::forward<B>(body));
}

// WithTimeout() with the arguments the other way round, and another rule for a
// timeout of zero or less: what is done already gives its result, a task that
// is not is cancelled and waited for, and anything else is not even started.
// asyncio: wait_for (A75).
COIL_LAMBDA_FRAMES_BEGIN
template <class A>
  requires internal::IsAwaitable<A>
Co<internal::ValueOf<A>> WaitFor(A awaitable, absl::Duration timeout) {
  if (timeout > absl::ZeroDuration()) {
    co_return co_await WithTimeout(timeout, std::move(awaitable));
  }
  if constexpr (internal::kIsHandle<A>) {
    auto state = internal::StateOf(awaitable);
    internal::EndOfFuture end(state.get());
    awaitable = A();
    const bool too_late = !state->Done();
    co_await std::move(end);
    if (too_late && state->Cancelled()) throw TimeoutError();
    co_return internal::TakeShared(state);
  } else {
    if constexpr (internal::kIsCo<A>) awaitable.Dispose();
    co_await Yield();
    throw TimeoutError();
  }
}
COIL_LAMBDA_FRAMES_END

}  // namespace coil

#endif  // COIL_TIMERS_TIMEOUT_H_
