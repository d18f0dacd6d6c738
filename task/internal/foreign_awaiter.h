// coil/task/internal/foreign_awaiter.h
//
// co_await on an awaiter that is not coil's: it gets a coroutine of its own to
// resume, which schedules the task.
//
// Threads: it may be resumed on any thread; else the loop's thread only.
// Lifetime: movable until it suspends; then it stays in its frame.

#ifndef COIL_TASK_INTERNAL_FOREIGN_AWAITER_H_
#define COIL_TASK_INTERNAL_FOREIGN_AWAITER_H_

#include <coroutine>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/task/internal/task_core.h"

namespace coil::internal {

// Gives an awaiter that knows nothing of coil a coroutine to resume. Resuming
// that one, on whatever thread, schedules the task; so the task never runs
// inside of somebody else's callback.
class ForeignResume {
 public:
  class promise_type;
  explicit ForeignResume(std::coroutine_handle<promise_type> handle) noexcept
      : handle_(handle) {}
  ForeignResume(ForeignResume&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  ForeignResume& operator=(ForeignResume&&) = delete;
  ~ForeignResume();

  // A coroutine that wakes `task` when it is resumed.
  static ForeignResume Make(TaskCore* task);
  std::coroutine_handle<> handle() const;
  // It was given to nobody, and is not going to be resumed.
  void Discard() noexcept;

 private:
  std::coroutine_handle<promise_type> handle_;
};

// Awaits `A`, an awaiter from elsewhere: `co_await` works on what is not
// coil's.
//
// Cancellation: such an operation cannot be cancelled: the request is delivered
//   once the operation has ended, and its result is dropped.
// Threads: it may be resumed on any thread, once.
// Lifetime: whoever has the handle resumes it also after the loop was closed:
//   nothing happens then, but what it refers to is freed.
template <class A>
class ForeignAwaiter final : public Leaf {
 public:
  ForeignAwaiter(A&& awaiter, TaskCore* task)
      : awaiter_(std::forward<A>(awaiter)), task_(task) {}
  ForeignAwaiter(ForeignAwaiter&&) = default;
  ForeignAwaiter& operator=(ForeignAwaiter&&) = delete;

  bool await_ready() { return awaiter_.await_ready(); }

  template <class P>
  COIL_AWAIT_SUSPEND void await_suspend(std::coroutine_handle<P> self) {
    resume_.emplace(ForeignResume::Make(task_));
    suspended_ = true;
    PromiseBase* promise = &self.promise();
    task_->SuspendOn(this, promise);
    using Result = decltype(awaiter_.await_suspend(resume_->handle()));
    std::coroutine_handle<> next = std::noop_coroutine();
    try {
      if constexpr (std::is_void_v<Result>) {
        awaiter_.await_suspend(resume_->handle());
      } else if constexpr (std::is_same_v<Result, bool>) {
        if (!awaiter_.await_suspend(resume_->handle())) {
          next = resume_->handle();
        }
      } else {
        next = awaiter_.await_suspend(resume_->handle());
      }
    } catch (...) {
      resume_->Discard();
      task_->StayRunning();
      throw;
    }
    next.resume();
  }

  [[gnu::always_inline]] decltype(auto) await_resume() {
    if (suspended_ && task_->TakeMustCancel()) [[unlikely]] {
      task_->ThrowCancelled();
    }
    return awaiter_.await_resume();
  }

  bool OnCancel() noexcept override {
    task_->RequestMustCancel();
    return false;
  }
  void DescribeWait(std::string* out) const override {
    out->append("an awaiter that is not coil's");
  }

 private:
  A awaiter_;
  TaskCore* task_;
  std::optional<ForeignResume> resume_;
  bool suspended_ = false;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FOREIGN_AWAITER_H_
