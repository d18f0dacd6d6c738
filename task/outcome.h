// coil/task/outcome.h
//
// Outcome<T> is how an operation ended: a value, an error or a cancellation.
// Settle() awaits without throwing what the operation throws; AsStatus() does
// the same for those who use absl::Status.
//
// Example:
//   coil::Co<int> May(bool fail) {
//     if (fail) throw std::runtime_error("no");
//     co_return 1;
//   }
//   coil::Co<bool> Works() {
//     coil::Outcome<int> outcome = co_await coil::Settle(May(true));
//     absl::StatusOr<int> status = co_await coil::AsStatus(May(false));
//     co_return !outcome.Ok() && status.ok();
//   }
//
// Ordering: as the await of the operation itself.
// Cancellation: a cancel of the task that awaits is thrown, or a loop around
//   Settle() could not be stopped; a child that was cancelled by somebody else
//   is an outcome. Throwing costs about 1 us for each level of awaits: neither
//   function throws on the way for a Co, a Task or a leaf operation.
// Threads: the loop's thread only; an Outcome is a value.
// Lifetime: an Outcome owns its value, or a count of the error.
//
//   exception                          absl::StatusCode
//   TimeoutError                       kDeadlineExceeded
//   CancelledError                     kCancelled
//   OsError, std::system_error         by errno (absl::ErrnoToStatusCode)
//   std::invalid_argument              kInvalidArgument
//   std::out_of_range                  kOutOfRange
//   std::bad_alloc                     kResourceExhausted
//   std::logic_error (other)           kFailedPrecondition
//   everything else                    kUnknown

#ifndef COIL_TASK_OUTCOME_H_
#define COIL_TASK_OUTCOME_H_

#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coil/task/co.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil {

template <class T>
class Outcome {
 public:
  using Stored =
      std::conditional_t<std::is_void_v<T>, std::monostate,
                         std::conditional_t<std::is_reference_v<T>,
                                            std::remove_reference_t<T>*, T>>;

  // A value; nothing for void.
  static Outcome Of()
    requires std::is_void_v<T>
  {
    return Outcome(std::variant<Stored, std::exception_ptr>());
  }
  template <class U = Stored>
    requires(!std::is_void_v<T> && std::is_constructible_v<Stored, U &&>)
  static Outcome Of(U&& value) {
    return Outcome(std::variant<Stored, std::exception_ptr>(
        std::in_place_index<0>, std::forward<U>(value)));
  }
  // An error, CancelledError included. REQUIRES: error != nullptr.
  static Outcome OfError(std::exception_ptr error) {
    return Outcome(std::variant<Stored, std::exception_ptr>(
        std::in_place_index<1>, std::move(error)));
  }

  bool Ok() const { return state_.index() == 0; }
  bool Cancelled() const {
    return !Ok() && internal::IsCancelledError(std::get<1>(state_));
  }
  // Null if Ok().
  std::exception_ptr Exception() const {
    return Ok() ? nullptr : std::get<1>(state_);
  }
  // Throws the error if there is one.
  void Rethrow() const {
    if (!Ok()) std::rethrow_exception(std::get<1>(state_));
  }
  // The value; throws the error if there is one.
  decltype(auto) Value() const& {
    Rethrow();
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*std::get<0>(state_));
    } else {
      return static_cast<const T&>(std::get<0>(state_));
    }
  }
  T Value() && {
    Rethrow();
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*std::get<0>(state_));
    } else {
      return std::get<0>(std::move(state_));
    }
  }

 private:
  explicit Outcome(std::variant<Stored, std::exception_ptr> state)
      : state_(std::move(state)) {}
  std::variant<Stored, std::exception_ptr> state_;
};

// The code that the table above gives for `error`, with its text.
absl::Status StatusOf(const std::exception_ptr& error);

namespace internal {

template <class T>
Outcome<T> OutcomeOf(ResultSlot<T> slot) {
  if (slot.HasError()) return Outcome<T>::OfError(slot.Error());
  if constexpr (std::is_void_v<T>) {
    return Outcome<T>::Of();
  } else if constexpr (std::is_reference_v<T>) {
    return Outcome<T>::Of(std::addressof(slot.Take()));
  } else {
    return Outcome<T>::Of(slot.Take());
  }
}

// Decides whether a CancelledError is the awaiting task's own: a request that
// came in while the operation ran, or that was waiting when it began.
class OwnCancel {
 public:
  explicit OwnCancel(const TaskCore* task) noexcept
      : task_(task), count_(task->Cancelling()), pending_(task->MustCancel()) {}
  bool Arrived() const noexcept {
    return pending_ || task_->Cancelling() > count_;
  }

 private:
  const TaskCore* task_;
  int count_;
  bool pending_;
};

// Wraps the awaiter of an operation so that its end is an Outcome.
template <class Awaiter>
class SettleAwaiter {
 public:
  using T = std::remove_cv_t<decltype(std::declval<Awaiter&>().await_resume())>;
  using Value = std::conditional_t<std::is_reference_v<T> &&
                                       !std::is_lvalue_reference_v<T>,
                                   std::remove_cvref_t<T>, T>;

  explicit SettleAwaiter(Awaiter awaiter) : awaiter_(std::move(awaiter)) {}
  SettleAwaiter(SettleAwaiter&&) = default;

  bool await_ready() { return awaiter_.await_ready(); }
  template <class P>
  auto await_suspend(std::coroutine_handle<P> self) {
    return awaiter_.await_suspend(self);
  }
  Outcome<Value> await_resume() {
    if constexpr (requires { awaiter_.TakeSlot(); }) {
      return OutcomeOf<Value>(awaiter_.TakeSlot());
    } else {
      try {
        if constexpr (std::is_void_v<T>) {
          awaiter_.await_resume();
          return Outcome<Value>::Of();
        } else if constexpr (std::is_lvalue_reference_v<T>) {
          return Outcome<Value>::Of(std::addressof(awaiter_.await_resume()));
        } else {
          return Outcome<Value>::Of(awaiter_.await_resume());
        }
      } catch (...) {
        return Outcome<Value>::OfError(std::current_exception());
      }
    }
  }
  void Bind(TaskCore* task) noexcept {
    if constexpr (IsLeafAwaiter<Awaiter>) awaiter_.Bind(task);
  }

 private:
  Awaiter awaiter_;
};

// What Settle() awaits: an awaiter that knows nothing of coil gets a coroutine
// of its own, which gives it another handle than that of Settle().
template <class A>
auto AwaiterToSettle(A&& awaitable) {
  if constexpr (HasIntoAwaiter<A> || IsLeafAwaiter<A>) {
    return GetAwaiter(std::forward<A>(awaitable));
  } else {
    return AwaitInCoroutine<A>(std::forward<A>(awaitable)).IntoAwaiter();
  }
}

// The outcome of something that is done.
template <class State>
auto OutcomeOfDone(const RefPtr<State>& state) {
  using T = decltype(state->slot().Take());
  state->MarkRetrieved();
  if (state->slot().HasError()) {
    return Outcome<T>::OfError(state->StoredError());
  }
  if constexpr (std::is_void_v<T>) {
    return Outcome<T>::Of();
  } else if constexpr (std::is_reference_v<T>) {
    return Outcome<T>::Of(std::addressof(state->slot().Take()));
  } else {
    return Outcome<T>::Of(TakeShared(state));
  }
}

}  // namespace internal

// Awaits `awaitable` and returns how it ended. A cancel of the awaiting task
// itself is thrown.
template <class A>
Co<Outcome<internal::ValueOf<A>>> Settle(A awaitable) {
  internal::TaskCore* task = co_await internal::ThisTask();
  internal::OwnCancel own(task);
  if constexpr (internal::kIsHandle<A>) {
    auto state = internal::StateOf(awaitable);
    using State = typename A::State;
    co_await internal::FutureAwaiter<State, internal::ReadAs::kNothing>(state);
    if (state->Cancelled() && own.Arrived()) {
      std::rethrow_exception(state->StoredError());
    }
    awaitable = A();
    co_return internal::OutcomeOfDone(state);
  } else {
    using Awaiter = decltype(internal::AwaiterToSettle(std::move(awaitable)));
    internal::SettleAwaiter<Awaiter> settle(
        internal::AwaiterToSettle(std::move(awaitable)));
    auto outcome = co_await std::move(settle);
    if (outcome.Cancelled() && own.Arrived()) outcome.Rethrow();
    co_return outcome;
  }
}

// The same as a Status: Co<absl::StatusOr<T>>, or Co<absl::Status> for void.
template <class A>
auto AsStatus(A awaitable) -> Co<std::conditional_t<
    std::is_void_v<internal::ValueOf<A>>, absl::Status,
    absl::StatusOr<std::conditional_t<std::is_void_v<internal::ValueOf<A>>, int,
                                      internal::ValueOf<A>>>>> {
  auto outcome = co_await Settle(std::move(awaitable));
  if (!outcome.Ok()) co_return StatusOf(outcome.Exception());
  if constexpr (std::is_void_v<internal::ValueOf<A>>) {
    co_return absl::OkStatus();
  } else {
    co_return std::move(outcome).Value();
  }
}

}  // namespace coil

#endif  // COIL_TASK_OUTCOME_H_
