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

void HandleState::Drop() noexcept {
  // Moved out first: the destructor of a capture may call back into this
  // handle.
  Function function = std::move(function_);
  function_ = nullptr;
  ContextRef context = std::move(context_);
}

bool HandleState::Cancel() noexcept {
  if (state_.load(std::memory_order_relaxed) != kPending) return false;
  state_.store(kCancelled, std::memory_order_release);
  Drop();
  return true;
}

void HandleState::Invoke() {
  try {
    function_();
  } catch (const LeavesLoop&) {
    throw;
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread is being cancelled; swallowing it would abort
  } catch (...) {
    ReportException();
  }
}

void HandleState::ReportException() noexcept {
  try {
    ExceptionContext context("Exception in callback " + Describe());
    context.exception = std::current_exception();
    context.handle = Describe();
    context.loop = &core_->loop();
    core_->Report(context);
  } catch (...) {
    WriteDiagnostic("coil: exception in a callback, and no memory to say more");
  }
}

void HandleState::Run() {
  struct Release {
    HandleState* state;
    ~Release() { state->Unref(); }
  } release{this};
  if (state_.load(std::memory_order_relaxed) != kPending) return;
  state_.store(kRunning, std::memory_order_relaxed);
  // Outlives the captures, whose destructors run in it too.
  const ContextRef context = std::move(context_);
  ContextScope scope(context.get());
  struct Finish {
    HandleState* state;
    ~Finish() {
      state->state_.store(kDone, std::memory_order_release);
      state->Drop();
    }
  } finish{this};
  Invoke();
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
  std::string text(what_);
  text += " at ";
  text += BaseName(where_.file_name());
  text += ":" + std::to_string(where_.line());
  return text;
}

size_t HandleState::DescribeTo(char* buffer, size_t size) const noexcept {
  BoundedText text(buffer, size);
  text.Put(what_);
  text.Put(" at ");
  text.PutPlace(where_);
  return text.size();
}

bool TimerState::Cancel() noexcept {
  if (!HandleState::Cancel()) return false;
  if (Armed()) {
    core_->Disarm(this);
    Unref();  // the timer queue's; the caller has one of its own
  }
  return true;
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
  while (state == kRunning && LoopCore::Current() != core_) {
    state_.wait(state, std::memory_order_acquire);
    state = state_.load(std::memory_order_acquire);
  }
  return false;
}

void PostState::Run() {
  struct Release {
    PostState* state;
    ~Release() { state->Unref(); }
  } release{this};
  uint32_t expected = kPending;
  if (!state_.compare_exchange_strong(expected, kRunning,
                                      std::memory_order_acq_rel)) {
    return;
  }
  const ContextRef context = std::move(context_);
  ContextScope scope(context.get());
  struct Finish {
    PostState* state;
    ~Finish() {
      state->Drop();
      state->state_.store(kDone, std::memory_order_release);
      state->state_.notify_all();
    }
  } finish{this};
  Invoke();
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
  Invoke();
}

void RepeatingState::Abandon() noexcept {
  queued_ = false;
  Unref();
}

}  // namespace coil::internal
