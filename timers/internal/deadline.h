// coil/timers/internal/deadline.h
//
// Deadline is the machine behind every timeout: it cancels the task that
// entered it when its time has come, and tells on the way out whether the
// cancellation was its own. Timed<Inner> is the awaiter that puts a deadline
// around another awaiter.
//
//   kCreated ──Enter──> kEntered ──Fire──> kExpiring ──Exit──> kExpired
//                          └──────────────Exit───────────────> kExited
//
// Bookkeeping as in CPython: the count of cancel requests at entry is kept, and
// a cancellation is the deadline's own only if, its own request taken back, no
// more than those are left. So a cancel from outside wins, and of two deadlines
// that pass together only the outer one turns it into TimeoutError.
//
// Threads: the loop's thread only.
// Lifetime: the timer lies in the frame of the await. A Deadline that is
//   destroyed while entered disarms itself.

#ifndef COIL_TIMERS_INTERNAL_DEADLINE_H_
#define COIL_TIMERS_INTERNAL_DEADLINE_H_

#include <coroutine>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

// clang wants to know which functions hand on a Co that they did not make.
#if defined(__clang__) && __clang_major__ >= 19
#define COIL_CORO_WRAPPER [[clang::coro_wrapper]]
#else
#define COIL_CORO_WRAPPER
#endif

namespace coil::internal {

class Deadline;

// The deadlines that were entered in the step that runs in this thread, and are
// not armed yet. Most operations complete without waiting, and then their limit
// never needs a timer: only when the step ends, and the task waits, are they
// armed, in the order of entry.
class EnteredDeadlines final : public StepObserver {
 public:
  constexpr EnteredDeadlines() = default;
  void Add(Deadline* deadline) noexcept;
  // True if it was the latest one, and is gone.
  bool Remove(Deadline* deadline) noexcept;
  // Arms what there is, and ends.
  void ArmAll() noexcept;

 private:
  void OnStep(TaskCore& task) override;

  Deadline* latest_ = nullptr;
  StepObserver* observer_ = nullptr;  // whoever else sees the end of steps
};

inline constinit thread_local EnteredDeadlines t_entered_deadlines;

// When a deadline is: `time` nanoseconds after the entry, or, absolute, at that
// point of the loop's clock. The largest number stands for no deadline.
struct DeadlineSpec {
  static DeadlineSpec After(absl::Duration delay) {
    return {DelayNanoseconds(delay), false};
  }
  static DeadlineSpec At(LoopTime when) { return {when.Nanoseconds(), true}; }

  int64_t time;
  bool absolute;
};

class Deadline final : private TimerNode {
 public:
  enum class State : uint8_t {
    kCreated,
    kEntered,
    kExpiring,  // it has cancelled the task, which has not left yet
    kExpired,
    kExited,
  };

  explicit Deadline(DeadlineSpec spec) noexcept
      : absolute_(spec.absolute), time_(spec.time) {}
  // REQUIRES: not entered.
  Deadline(Deadline&& other) noexcept
      : TimerNode(), absolute_(other.absolute_), time_(other.time_) {}
  Deadline& operator=(Deadline&&) = delete;
  ~Deadline() {
    if (watching_) [[unlikely]]
      Unwatch();
  }

  // The task that will enter.
  void Bind(TaskCore* task) noexcept { task_ = task; }
  // From now on the task is cancelled when the time has come. REQUIRES:
  // kCreated, and bound.
  void Enter() noexcept {
    state_ = State::kEntered;
    cancelling_ = task_->Cancelling();
    pending_ = task_->MustCancel();
    if (time_ == LoopTime::InfiniteFuture().Nanoseconds()) return;
    // The clock is read now, also if the timer is armed later.
    if (!absolute_) {
      time_ = AfterNanoseconds(task_->loop().Now(), time_ > 0 ? time_ : 0)
                  .Nanoseconds();
    }
    watching_ = true;
    t_entered_deadlines.Add(this);
  }

  // Leaves. True if the task was cancelled on behalf of this deadline and of
  // nobody else: a CancelledError then becomes TimeoutError.
  bool Exit() noexcept {
    if (watching_) {
      if (!t_entered_deadlines.Remove(this)) [[unlikely]]
        Unwatch();
      watching_ = false;
    }
    if (state_ == State::kExpiring) [[unlikely]]
      return ExitExpired();
    state_ = State::kExited;
    return false;
  }

  // Throws std::runtime_error unless it is entered and has not passed.
  void Reschedule(LoopTime when);

  LoopTime When() const noexcept { return LoopTime::FromNanoseconds(time_); }
  bool Expired() const noexcept {
    return state_ == State::kExpiring || state_ == State::kExpired;
  }
  State state() const noexcept { return state_; }

 private:
  friend class EnteredDeadlines;

  void Fire() noexcept override;
  void Abandon() noexcept override { watching_ = false; }
  bool ExitExpired() noexcept;
  void Arm() noexcept;
  void Unwatch() noexcept;

  State state_ = State::kCreated;
  bool absolute_;
  bool watching_ = false;   // there is a timer, or it waits for one
  bool pending_ = false;    // a cancel was waiting to be delivered at entry
  int32_t cancelling_ = 0;  // requests at entry
  int64_t time_;            // the delay, until it is entered; then the time
  TaskCore* task_ = nullptr;
  Deadline* earlier_ = nullptr;  // in EnteredDeadlines
};

inline void EnteredDeadlines::Add(Deadline* deadline) noexcept {
  if (latest_ == nullptr) {
    observer_ = t_step_observer;
    t_step_observer = this;
  }
  deadline->earlier_ = latest_;
  latest_ = deadline;
}

inline bool EnteredDeadlines::Remove(Deadline* deadline) noexcept {
  if (latest_ != deadline) return false;
  latest_ = deadline->earlier_;
  if (latest_ == nullptr) t_step_observer = observer_;
  return true;
}

template <class Awaiter>
inline constexpr bool kIsCoAwaiter = false;
template <class T>
inline constexpr bool kIsCoAwaiter<CoAwaiter<T>> = true;

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
  COIL_CORO_WRAPPER operator Co<Result>() && { return AsCo(std::move(*this)); }

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
  static constexpr bool kIsCoroutine = kIsBody || kIsCoAwaiter<Inner>;

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
    if (!IsCancelledError(slot.Error())) return;
    slot.SetError(std::make_exception_ptr(TimeoutError()));
  }

  static Co<Result> AsCo(Timed timed) { co_return co_await std::move(timed); }

  Deadline deadline_;
  Inner inner_;
};

// What was given to WithTimeout(), as the awaiter that goes into a Timed.
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

template <class A>
auto TimedOperation(DeadlineSpec spec, A& awaitable) {
  if constexpr (kIsCo<A>) {
    return Timed(spec, awaitable.IntoAwaiter());
  } else if constexpr (IsLeafAwaiter<A>) {
    return Timed(spec, std::move(awaitable));
  } else {
    return Timed(spec, AwaitOperation<A>(std::move(awaitable)).IntoAwaiter());
  }
}

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_DEADLINE_H_
