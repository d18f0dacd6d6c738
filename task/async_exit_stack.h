// coil/task/async_exit_stack.h
//
// AsyncExitStack collects managers and callbacks while a body runs, and leaves
// them all at the end, last in first out. It is With() for a number of managers
// that is not known before.
//
// Example:
//   class Connection {
//    public:
//     coil::Co<int> AEnter() { co_return 1; }
//     coil::Co<void> AExit(std::exception_ptr) { co_return; }
//   };
//   coil::Co<int> Total(int n) {
//     int total = 0;
//     coil::AsyncExitStack stack;
//     co_await coil::With(stack, [&]() -> coil::Co<void> {
//       for (int i = 0; i < n; ++i) {
//         total += co_await stack.EnterAsync(Connection());
//       }
//     });
//     co_return total;
//   }
//
// Ordering: last in, first out, one after the other in the task that closes.
// Cancellation: a cancel that arrives while one is left is thrown there; the
//   others are left all the same, with CancelledError as the error.
// Threads: the loop's thread only.
// Lifetime: lvalue managers are referred to, rvalues and callables are kept. A
//   stack that is destroyed without Close() drops what it holds without leaving
//   it.
//
// Suppression as in contextlib: what is left later (so: was entered earlier)
// sees the error as it is by then. A callback that throws replaces the error;
// one that returns true drops it for those that come after it.
//
// Python: contextlib.AsyncExitStack.

#ifndef COIL_TASK_ASYNC_EXIT_STACK_H_
#define COIL_TASK_ASYNC_EXIT_STACK_H_

#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/with.h"

namespace coil {

namespace internal {

// One thing to leave.
class ExitNode {
 public:
  ExitNode() = default;
  ExitNode(const ExitNode&) = delete;
  ExitNode& operator=(const ExitNode&) = delete;
  virtual ~ExitNode() = default;
  // True drops `error`. Does not throw: errors come out of the await.
  virtual Co<bool> Exit(const std::exception_ptr& error) = 0;

  std::unique_ptr<ExitNode> next;
};

COIL_LAMBDA_FRAMES_BEGIN
// Turns the result of `f(args...)`, awaited, into "drops the error".
template <class F, class... Args>
Co<bool> CallExit(F& f, Args... args) {
  using R = BodyResult<F, Args&...>;
  if constexpr (std::is_void_v<R>) {
    co_await CallBody(f, args...);
    co_return false;
  } else {
    co_return static_cast<bool>(co_await CallBody(f, args...));
  }
}

// M is a value or an lvalue reference.
template <class M>
class ManagerExit final : public ExitNode {
 public:
  explicit ManagerExit(M&& manager) : manager_(std::forward<M>(manager)) {}
  auto Enter() { return manager_.AEnter(); }
  Co<bool> Exit(const std::exception_ptr& error) override {
    return Leave(manager_, error);
  }

 private:
  static Co<bool> Leave(std::remove_reference_t<M>& manager,
                        std::exception_ptr error) {
    if constexpr (std::is_void_v<ExitResult<M>>) {
      co_await manager.AExit(error);
      co_return false;
    } else {
      co_return co_await manager.AExit(error);
    }
  }
  M manager_;
};

template <class F>
class ErrorExit final : public ExitNode {
 public:
  template <class G>
  explicit ErrorExit(G&& f) : f_(std::forward<G>(f)) {}
  Co<bool> Exit(const std::exception_ptr& error) override {
    return CallExit(f_, error);
  }

 private:
  F f_;
};

template <class F>
class PlainExit final : public ExitNode {
 public:
  template <class G>
  explicit PlainExit(G&& f) : f_(std::forward<G>(f)) {}
  Co<bool> Exit(const std::exception_ptr&) override { return Call(f_); }

 private:
  static Co<bool> Call(F& f) {
    co_await CallBody(f);
    co_return false;
  }
  F f_;
};
COIL_LAMBDA_FRAMES_END

}  // namespace internal

class AsyncExitStack {
 public:
  AsyncExitStack() = default;
  AsyncExitStack(AsyncExitStack&& other) noexcept = default;
  AsyncExitStack& operator=(AsyncExitStack&& other) noexcept;
  ~AsyncExitStack();

  // Enters `manager` and returns what its AEnter() gives; the stack leaves it.
  // Nothing is pushed if AEnter() throws. REQUIRES: the stack stays where it is
  // until this returns; an lvalue manager outlives the stack.
  // Cancellation: if CancelledError is delivered, the manager was not entered.
  template <class M>
  auto EnterAsync(M&& manager) {
    static_assert(
        AsyncManager<std::remove_reference_t<M>>,
        "EnterAsync: the manager needs Co<R> AEnter() and Co<void> or "
        "Co<bool> AExit(std::exception_ptr)");
    internal::CheckManager<M>();
    using Kept = internal::StoredBody<M>;
    return Enter<internal::EnterResult<Kept>, Kept>(std::forward<M>(manager));
  }

  // Calls `f(std::exception_ptr)`, which gets the error or null and returns
  // true to drop it, or nothing. `f` is a plain function.
  template <class F>
  void Push(F&& f) {
    using R = std::invoke_result_t<std::decay_t<F>&, std::exception_ptr&>;
    static_assert(!internal::IsAwaitable<R>,
                  "Push: the callback is a plain function; use PushAsync()");
    Add(std::make_unique<internal::ErrorExit<std::decay_t<F>>>(
        std::forward<F>(f)));
  }
  // The same for a coroutine function, or for a manager (an lvalue) that was
  // entered before.
  template <class F>
  void PushAsync(F&& f) {
    if constexpr (AsyncManager<std::remove_reference_t<F>>) {
      static_assert(std::is_lvalue_reference_v<F>,
                    "PushAsync: a manager that was entered stays where it is; "
                    "EnterAsync() takes one over");
      Add(std::make_unique<internal::ManagerExit<F>>(f));
    } else {
      Add(std::make_unique<internal::ErrorExit<std::decay_t<F>>>(
          std::forward<F>(f)));
    }
  }
  // Calls `f()`, a plain or a coroutine function, at the end. It cannot drop an
  // error, but it may throw one.
  template <class F>
  void Callback(F&& f) {
    Add(std::make_unique<internal::PlainExit<std::decay_t<F>>>(
        std::forward<F>(f)));
  }

  // Moves everything to a new stack, so that leaving this one leaves nothing.
  [[nodiscard]] AsyncExitStack PopAll() noexcept { return std::move(*this); }

  // Leaves everything now, without an error. Throws the error of the last
  // callback that threw, unless a later one dropped it.
  Co<void> Close();

  bool Empty() const { return top_ == nullptr; }

  // For With().
  Co<AsyncExitStack&> AEnter();
  Co<bool> AExit(std::exception_ptr error);

 private:
  COIL_LAMBDA_FRAMES_BEGIN
  template <class R, class M>
  Co<R> Enter(M manager) {
    // Made before the manager is entered: afterwards nothing may fail.
    auto node =
        std::make_unique<internal::ManagerExit<M>>(std::forward<M>(manager));
    internal::ManagerExit<M>& kept = *node;
    if constexpr (std::is_void_v<R>) {
      co_await kept.Enter();
      Add(std::move(node));
    } else {
      R result = co_await kept.Enter();
      Add(std::move(node));
      co_return static_cast<R&&>(result);
    }
  }
  COIL_LAMBDA_FRAMES_END
  void Add(std::unique_ptr<internal::ExitNode> node) noexcept {
    node->next = std::move(top_);
    top_ = std::move(node);
  }
  std::unique_ptr<internal::ExitNode> Pop() noexcept;

  std::unique_ptr<internal::ExitNode> top_;
};

}  // namespace coil

#endif  // COIL_TASK_ASYNC_EXIT_STACK_H_
