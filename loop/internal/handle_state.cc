#include "coil/loop/internal/handle_state.h"

#include <cxxabi.h>

#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/bounded_text.h"

namespace coil::internal {

static_assert(sizeof(PostState) <= 64);

namespace {

// The post that runs in this thread.
constinit thread_local const PostState* t_running_post = nullptr;

}  // namespace

void HandleState::DropFunction() noexcept {
  // Moved out first: the destructor of a capture may call back into this
  // handle.
  Function function = std::move(function_);
  function_ = nullptr;
}

void LocalState::Drop() noexcept {
  const ContextRef context = std::move(context_);
  DropFunction();
}

bool LocalState::Cancel() noexcept {
  if (state_.load(std::memory_order_relaxed) != kPending) return false;
  state_.store(kCancelled, std::memory_order_release);
  Drop();
  return true;
}

void HandleState::Invoke(LoopCore& core) {
  try {
    function_();
  } catch (const LeavesLoop&) {
    throw;
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread is being cancelled; swallowing it would abort
  } catch (...) {
    ReportException(core);
  }
}

void HandleState::ReportException(LoopCore& core) noexcept {
  try {
    ExceptionContext context("Exception in callback " + Describe());
    context.exception = std::current_exception();
    context.handle = Describe();
    context.loop = &core.loop();
    core.Report(context);
  } catch (...) {
    WriteDiagnostic("coil: exception in a callback, and no memory to say more");
  }
}

void LocalState::Run() {
  struct Release {
    LocalState* state;
    ~Release() { state->Unref(); }
  } release{this};
  if (state_.load(std::memory_order_relaxed) != kPending) return;
  state_.store(kRunning, std::memory_order_relaxed);
  // Outlives the captures, whose destructors run in it too.
  const ContextRef context = std::move(context_);
  ContextScope scope(context.get());
  struct Finish {
    LocalState* state;
    ~Finish() {
      state->state_.store(kDone, std::memory_order_release);
      state->Drop();
    }
  } finish{this};
  Invoke(*core_);
}

void HandleState::Abandon() noexcept {
  uint32_t expected = kPending;
  if (state_.compare_exchange_strong(expected, kDone,
                                     std::memory_order_acq_rel)) {
    Drop();
  }
  Unref();
}

std::string HandleState::Describe() const {
  std::string text(What());
  text += " at ";
  text += BaseName(where_.file_name());
  text += ":" + std::to_string(where_.line());
  return text;
}

size_t HandleState::DescribeTo(char* buffer, size_t size) const noexcept {
  BoundedText text(buffer, size);
  text.Put(What());
  text.Put(" at ");
  text.PutPlace(where_);
  return text.size();
}

bool TimerState::Cancel() noexcept {
  if (!LocalState::Cancel()) return false;
  if (Armed()) {
    core_->Disarm(this);
    Unref();  // the timer queue's; the caller has one of its own
  }
  return true;
}

PostState* PostState::Make(Function&& function, std::source_location where) {
  ContextRef context = CaptureContext();
  if (context.get() == nullptr) [[likely]] {
    return new PostState(std::move(function), where);
  }
  return new PostInContext(std::move(function), where, std::move(context));
}

bool PostState::Cancel() noexcept {
  uint32_t state = kPending;
  if (state_.compare_exchange_strong(state, kCancelled,
                                     std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
    Drop();
    return true;
  }
  // Another thread that cancels may free what the callback uses: it waits until
  // the callback is over (asyncio 3.14). The loop's own thread is inside of it.
  while (state == kRunning && t_running_post != this) {
    state_.wait(state, std::memory_order_acquire);
    state = state_.load(std::memory_order_acquire);
  }
  return false;
}

void PostState::Run() { RunIn(nullptr); }

void PostState::RunIn(ContextRef* held) {
  struct Release {
    PostState* state;
    const PostState* outer;
    ~Release() {
      t_running_post = outer;
      state->Unref();
    }
  } release{this, t_running_post};
  t_running_post = this;
  uint32_t expected = kPending;
  if (!state_.compare_exchange_strong(expected, kRunning,
                                      std::memory_order_acq_rel)) {
    return;
  }
  ContextRef context;
  if (held != nullptr) [[unlikely]]
    context = std::move(*held);
  ContextScope scope(context.get());
  struct Finish {
    PostState* state;
    ~Finish() {
      state->DropFunction();
      state->state_.store(kDone, std::memory_order_release);
      state->state_.notify_all();
    }
  } finish{this};
  Invoke(*t_loop_around);
}

void PostInContext::Drop() noexcept {
  const ContextRef context = std::move(context_);
  DropFunction();
}

void RepeatingState::Trigger() noexcept {
  if (queued_ || Cancelled()) return;
  queued_ = true;
  Ref();
  core_->Schedule(this);
}

bool RepeatingState::Cancel() noexcept {
  const uint32_t state = state_.load(std::memory_order_relaxed);
  if (state == kCancelled) return false;
  state_.store(kCancelled, std::memory_order_release);
  if (state != kRunning) Drop();
  return true;
}

void RepeatingState::Run() {
  struct Release {
    RepeatingState* state;
    ~Release() { state->Unref(); }
  } release{this};
  queued_ = false;
  if (Cancelled()) return;
  state_.store(kRunning, std::memory_order_relaxed);
  const ContextRef context = context_;
  ContextScope scope(context.get());
  struct Finish {
    RepeatingState* state;
    ~Finish() {
      // Cancelled by its own callback, which had to stay alive until now.
      if (state->Cancelled()) {
        state->Drop();
      } else {
        state->state_.store(kPending, std::memory_order_relaxed);
      }
    }
  } finish{this};
  Invoke(*core_);
}

void RepeatingState::Abandon() noexcept {
  queued_ = false;
  Unref();
}

}  // namespace coil::internal
