#include "coil/task/internal/promise.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/task/internal/function_name.h"

namespace coil::internal {

void ThrowAwaitedTwice() {
  throw std::runtime_error(
      "Co: awaited twice, or moved from; a coroutine object is awaited once "
      "(CreateTask() gives a Task, which may be awaited many times)");
}

void ThrowValueMovedOut() {
  throw InvalidStateError(
      "Task: the result was moved out by co_await std::move(task) and cannot "
      "be "
      "read again");
}

void ReportNeverAwaited(const PromiseBase& promise) noexcept {
  // While an exception unwinds, a coroutine that was made and not yet awaited
  // is no mistake; nor is one that dies with a task that was cancelled before
  // it began.
  if (std::uncaught_exceptions() != 0 || t_giving_up != 0) return;
  ExceptionContext context(absl::StrCat(
      "coroutine '", ShortFunctionName(promise.where.function_name()), "' (",
      promise.where.file_name(), ":", promise.where.line(),
      ") was never awaited; co_await it, or give it to CreateTask()"));
  if (LoopCore* loop = LoopCore::Current()) {
    loop->Report(context);
  } else {
    WriteDiagnostic(context.message);
  }
}

void DestroyUnfinished(std::coroutine_handle<> child) noexcept {
  if (child.address() == t_destroyed_child) return;
  child.destroy();
}

// The coroutine that stands in for a task in front of a foreign awaiter.
class ForeignResume::promise_type {
 public:
  ForeignResume get_return_object() noexcept {
    return ForeignResume(
        std::coroutine_handle<promise_type>::from_promise(*this));
  }
  std::suspend_always initial_suspend() noexcept { return {}; }
  std::suspend_always final_suspend() noexcept { return {}; }
  void return_void() noexcept {}
  void unhandled_exception() noexcept { std::terminate(); }
};

namespace {

// Carries the wake-up to the loop's thread if the awaiter resumes on another
// one.
class ForeignPost final : public PostNode {
 public:
  explicit ForeignPost(TaskCore* task) : task_(task) {}
  void Deliver() noexcept override {
    task_->Wake();
    delete this;
  }
  void Abandon() noexcept override { delete this; }

 private:
  TaskCore* task_;
};

ForeignResume WakeTask(TaskCore* task, LoopCore* loop,
                       std::shared_ptr<LoopRemote> remote) {
  if (LoopCore::Current() == loop) {
    task->Wake();
    co_return;
  }
  auto post = std::make_unique<ForeignPost>(task);
  if (remote->Post(post.get())) post.release();
}

}  // namespace

ForeignResume ForeignResume::Make(TaskCore* task) {
  return WakeTask(task, &task->loop(), task->loop().remote());
}

std::coroutine_handle<> ForeignResume::handle() const { return handle_; }

ForeignResume::~ForeignResume() {
  if (handle_) handle_.destroy();
}

}  // namespace coil::internal
