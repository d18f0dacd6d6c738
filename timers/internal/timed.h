// coil/timers/internal/timed.h
//
// Timed<Inner> is the awaiter that WithTimeout() returns: it puts a Deadline
// around Inner, the awaiter of an operation or of a body. It is no coroutine: a
// limit costs neither a frame nor, where the operation completes at once, a
// timer.
//
// Threads: the loop's thread only.
// Lifetime: movable until it is awaited; then it stays in its frame.

#ifndef COIL_TIMERS_INTERNAL_TIMED_H_
#define COIL_TIMERS_INTERNAL_TIMED_H_

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/promise.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"
#include "coil/timers/internal/deadline.h"

namespace coil::internal {

COIL_LAMBDA_FRAMES_BEGIN

// Awaits a Co, which stays one until then: if it is dropped, it says so.
template <class T>
class CoOperation {
 public:
  explicit CoOperation(Co<T>&& co) noexcept : co_(std::move(co)) {}
  CoOperation(CoOperation&&) = default;

  bool await_ready() {
    awaiter_.emplace(co_.IntoAwaiter());
    return awaiter_->await_ready();
  }
  template <class P>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<P> self) noexcept {
    return awaiter_->await_suspend(self);
  }
  T await_resume() { return awaiter_->await_resume(); }
  ResultSlot<T> TakeSlot() { return awaiter_->TakeSlot(); }

 private:
  Co<T> co_;
  std::optional<CoAwaiter<T>> awaiter_;
};

template <class Awaiter>
inline constexpr bool kIsCoOperation = false;
template <class T>
inline constexpr bool kIsCoOperation<CoOperation<T>> = true;

// Puts a deadline around `Inner`, the awaiter of an operation. What completes
// at once never meets the clock.
template <class Inner>
class [[nodiscard("co_await it")]] Timed {
 public:
  using Result = decltype(std::declval<Inner&>().await_resume());

  Timed(DeadlineSpec spec, Inner&& inner)
      : deadline_(spec), inner_(std::move(inner)) {}
  Timed(Timed&&) = default;

  // As a Co, for those who want to store it.
  operator Co<Result>() && { return AsCo(std::move(*this)); }

  void Bind(TaskCore* task) noexcept {
    deadline_.Bind(task);
    if constexpr (IsLeafAwaiter<Inner>) inner_.Bind(task);
  }
  bool await_ready() {
    if constexpr (kIsBody) {
      deadline_.Enter();
      inner_.Start(deadline_);
      return inner_.await_ready();
    } else {
      if (inner_.await_ready()) return true;
      deadline_.Enter();
      return false;
    }
  }
  template <class P>
  auto await_suspend(std::coroutine_handle<P> self) {
    return inner_.await_suspend(self);
  }
  Result await_resume() {
    if constexpr (kIsCoroutine) {
      if (!deadline_.Exit()) [[likely]]
        return inner_.await_resume();
      return TimedOutSlot().Take();
    } else if constexpr (kGivesSlot) {
      return TakeSlot().Take();
    } else {
      bool timed_out = false;
      try {
        Leave leave(deadline_, timed_out);
        return inner_.await_resume();
      } catch (const CancelledError&) {
        if (!timed_out) throw;
      }
      throw TimeoutError();
    }
  }

  // The outcome without a throw.
  ResultSlot<Result> TakeSlot()
    requires requires(Inner& inner) { inner.TakeSlot(); }
  {
    if constexpr (kIsCoroutine) {
      if (!deadline_.Exit()) [[likely]]
        return inner_.TakeSlot();
      return TimedOutSlot();
    } else {
      bool timed_out = false;
      try {
        ResultSlot<Result> slot = TakeInnerSlot(timed_out);
        if (timed_out) ConvertError(slot);
        return slot;
      } catch (const CancelledError&) {
        if (!timed_out) throw;
      }
      ResultSlot<Result> slot;
      slot.SetError(std::make_exception_ptr(TimeoutError()));
      return slot;
    }
  }

 private:
  // A body sees its deadline, so it is entered before the body is called.
  static constexpr bool kIsBody =
      requires(Inner& inner, Deadline& deadline) { inner.Start(deadline); };
  static constexpr bool kGivesSlot =
      requires(Inner& inner) { inner.TakeSlot(); };
  // How a coroutine ended is settled when it resumes its parent. A leaf settles
  // it in its await_resume(), and there it has to see the request of the
  // deadline: what was granted too late is given back.
  static constexpr bool kIsCoroutine = kIsBody || kIsCoOperation<Inner>;

  // Leaves the deadline before a result or an error of the operation gets out.
  class Leave {
   public:
    Leave(Deadline& deadline, bool& timed_out) noexcept
        : deadline_(deadline), timed_out_(timed_out) {}
    Leave(const Leave&) = delete;
    Leave& operator=(const Leave&) = delete;
    ~Leave() { timed_out_ = deadline_.Exit(); }

   private:
    Deadline& deadline_;
    bool& timed_out_;
  };

  ResultSlot<Result> TakeInnerSlot(bool& timed_out) {
    Leave leave(deadline_, timed_out);
    return inner_.TakeSlot();
  }
  [[gnu::noinline, gnu::cold]] ResultSlot<Result> TimedOutSlot() {
    ResultSlot<Result> slot = inner_.TakeSlot();
    ConvertError(slot);
    return slot;
  }
  static void ConvertError(ResultSlot<Result>& slot) {
    if (!slot.HasError() || !IsCancelledError(slot.Error())) return;
    slot.SetError(std::make_exception_ptr(TimeoutError()));
  }

  static Co<Result> AsCo(Timed timed) { co_return co_await std::move(timed); }

  Deadline deadline_;
  Inner inner_;
};

// Awaits what is neither a Co nor a leaf: a handle, or somebody else's awaiter.
template <class A>
Co<ValueOf<A>> AwaitOperation(A awaitable) {
  if constexpr (kIsHandle<A>) {
    auto state = StateOf(awaitable);
    using Shared = typename A::State;
    co_await FutureAwaiter<Shared, ReadAs::kNothing>(state);
    awaitable = A();
    co_return TakeShared(state);
  } else {
    co_return co_await std::move(awaitable);
  }
}

// What was given to WithTimeout(), in a Timed.
template <class A>
auto TimedOperation(DeadlineSpec spec, A& awaitable) {
  if constexpr (kIsCo<A>) {
    return Timed(spec, CoOperation(std::move(awaitable)));
  } else if constexpr (IsLeafAwaiter<A>) {
    return Timed(spec, std::move(awaitable));
  } else {
    return Timed(spec, CoOperation(AwaitOperation(std::move(awaitable))));
  }
}

COIL_LAMBDA_FRAMES_END

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_TIMED_H_
