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
  try {
    ExceptionContext context(absl::StrCat(
        "coroutine '", ShortFunctionName(promise.where.function_name()), "' (",
        promise.where.file_name(), ":", promise.where.line(),
        ") was never awaited; co_await it, or give it to CreateTask()"));
    if (LoopCore* loop = LoopCore::Current()) {
      loop->Report(context);
    } else {
      WriteDiagnostic(context.message);
    }
  } catch (...) {
    WriteDiagnostic(
        "coil: a coroutine was never awaited, and no memory to say more");
  }
}

void GiveUp(std::coroutine_handle<> coroutine) noexcept {
  ++t_giving_up;
  coroutine.destroy();
  --t_giving_up;
}

void DestroyUnfinished(std::coroutine_handle<> child) noexcept {
  if (child.address() == t_destroyed_child) return;
  child.destroy();
}

}  // namespace coil::internal
