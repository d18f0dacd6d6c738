// coil/task/internal/thread_result.h
//
// The state behind ThreadFuture<T>: the one place where the result of a task is
// read by other threads.
//
//   other thread: RunCoroutineThreadSafe ──ThreadStart──> loop: Spawn, watch
//   other thread: Cancel ──────────────────CancelPost───> loop: task->Cancel
//   loop: the task is done ──OnDone──> result stored, waiting threads woken,
//                                      awaiting loops told by a post each
//
// Threads: as said at each member; `mutex_` guards the state.
// Lifetime: counted by shared_ptr; while the task runs, it holds itself.

#ifndef COIL_TASK_INTERNAL_THREAD_RESULT_H_
#define COIL_TASK_INTERNAL_THREAD_RESULT_H_

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/co.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil::internal {

[[noreturn]] void ThrowEmptyThreadFuture();

// A task of some loop that awaits a ThreadFuture. Travels to that loop when the
// result is there; may outlive the awaiter.
class ThreadWaiter final : public PostNode {
 public:
  // Called on the awaiter's loop.
  using Notify = void (*)(void* awaiter);
  ThreadWaiter(LoopCore& loop, Notify notify, void* awaiter)
      : remote_(loop.remote()), notify_(notify), awaiter_(awaiter) {}
  // The awaiter is gone. The loop's thread.
  void Detach() noexcept { awaiter_ = nullptr; }
  // The result is there: posts itself. Any thread.
  void Send(std::shared_ptr<ThreadWaiter> self) noexcept;

 private:
  void Deliver(ReadyQueue&) noexcept override;
  void Abandon() noexcept override { self_.reset(); }

  std::shared_ptr<LoopRemote> remote_;
  Notify notify_;
  void* awaiter_;
  std::shared_ptr<ThreadWaiter> self_;  // while it travels
};

// The part that does not depend on the result.
class ThreadResultBase : public std::enable_shared_from_this<ThreadResultBase>,
                         private DoneNode,
                         private LoopResource {
 public:
  explicit ThreadResultBase(LoopCore& loop)
      : loop_(&loop), remote_(loop.remote()) {}
  ThreadResultBase(const ThreadResultBase&) = delete;
  ThreadResultBase& operator=(const ThreadResultBase&) = delete;

  // --- any thread ---
  bool Done() const;
  bool Cancel();
  // Throws TimeoutError, or std::runtime_error in the loop's own thread.
  void Wait(absl::Duration timeout) const;
  // False if the result is there already.
  bool AddWaiter(const std::shared_ptr<ThreadWaiter>& waiter);
  void RemoveWaiter(const std::shared_ptr<ThreadWaiter>& waiter) noexcept;
  LoopCore* loop() const { return loop_; }
  LoopRemote& remote() const { return *remote_; }

  // --- the loop's thread ---
  void Watch(FutureCore& task) noexcept;
  void CancelTask() noexcept;
  // Ends it without a task.
  void Fail(std::exception_ptr error) noexcept;

 protected:
  virtual ~ThreadResultBase() = default;
  // With the mutex held.
  virtual void Store(FutureCore& task) noexcept = 0;
  virtual void StoreError(std::exception_ptr error) noexcept = 0;

  mutable std::mutex mutex_;

 private:
  void OnDone(FutureCore& task) noexcept override;
  void OnLoopClosing() noexcept override;
  void OnLoopClose() noexcept override {}  // has let go before
  void Finish() noexcept;

  LoopCore* const loop_;  // compared only, unless this is its thread
  const std::shared_ptr<LoopRemote> remote_;
  mutable std::condition_variable done_cv_;
  bool done_ = false;
  std::vector<std::shared_ptr<ThreadWaiter>> waiters_;
  // The loop's thread only:
  RefPtr<FutureCore> task_;
  std::shared_ptr<ThreadResultBase> self_;
};

template <class T>
class ThreadResult final : public ThreadResultBase {
 public:
  using ThreadResultBase::ThreadResultBase;

  // A copy where T can be copied, else the value itself, once. REQUIRES: done.
  T Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if constexpr (std::is_void_v<T> || std::is_reference_v<T>) {
      return static_cast<T>(slot_.Take());
    } else if constexpr (std::is_copy_constructible_v<T>) {
      return T(slot_.Get());
    } else {
      if (!slot_.HasValue()) slot_.Get();  // throws
      T value = slot_.Take();
      slot_.Clear();
      return value;
    }
  }

 private:
  void Store(FutureCore& task) noexcept override {
    auto state = RefPtr<TaskState<T>>::Share(static_cast<TaskState<T>*>(&task));
    state->MarkRetrieved();
    if (state->slot().HasError()) {
      slot_.SetError(state->slot().Error());
      return;
    }
    try {
      if constexpr (std::is_void_v<T>) {
        slot_.SetValue();
      } else {
        slot_.SetValue(state->slot().Take());
      }
    } catch (...) {
      slot_.SetError(std::current_exception());
    }
  }
  void StoreError(std::exception_ptr error) noexcept override {
    slot_.SetError(std::move(error));
  }

  ResultSlot<T> slot_;
};

// The error of a future whose loop was closed before the coroutine started.
std::exception_ptr LoopClosedError();
[[noreturn]] void ThrowLoopClosed();
// A task could not be made: tells the loop's exception handler.
void ReportStartFailed(LoopCore& loop,
                       const std::exception_ptr& error) noexcept;

// Carries a coroutine to its loop.
template <class T>
class ThreadStart final : public PostNode {
 public:
  static void Post(Co<T> co, std::shared_ptr<ThreadResult<T>> result,
                   std::source_location created) {
    LoopRemote& remote = result->remote();
    auto start = std::make_unique<ThreadStart>(std::move(co), std::move(result),
                                               created);
    if (!remote.Post(start.get())) {
      start->co_.Dispose();
      ThrowLoopClosed();
    }
    static_cast<void>(start.release());
  }

  ThreadStart(Co<T> co, std::shared_ptr<ThreadResult<T>> result,
              std::source_location created)
      : co_(std::move(co)),
        result_(std::move(result)),
        created_(created),
        context_(CaptureContext()) {}

 private:
  void Deliver(ReadyQueue&) noexcept override {
    std::unique_ptr<ThreadStart> self(this);
    LoopCore& loop = *result_->loop();
    ContextScope scope(context_.get());
    try {
      Task<T> task = Spawn<T>(loop, std::move(co_), TaskOptions{}, created_);
      result_->Watch(task.Checked());
    } catch (...) {
      co_.Dispose();
      ReportStartFailed(loop, std::current_exception());
      result_->Fail(std::current_exception());
    }
  }
  void Abandon() noexcept override {
    std::unique_ptr<ThreadStart> self(this);
    co_.Dispose();
    result_->Fail(LoopClosedError());
  }

  Co<T> co_;
  std::shared_ptr<ThreadResult<T>> result_;
  std::source_location created_;
  ContextRef context_;  // of the thread that asks, as for a callback
};

// Awaits a ThreadFuture on whatever loop.
template <class T>
class ThreadFutureAwaiter final : public LeafAwaiter<ThreadFutureAwaiter<T>> {
 public:
  explicit ThreadFutureAwaiter(std::shared_ptr<ThreadResult<T>> result)
      : result_(std::move(result)) {}
  ThreadFutureAwaiter(ThreadFutureAwaiter&&) = default;
  ~ThreadFutureAwaiter() { this->Dispose(); }

  void Validate() {
    waiter_ =
        std::make_shared<ThreadWaiter>(this->task_->loop(), &OnSent, this);
  }
  bool Ready() noexcept { return result_->Done(); }
  void Arm() noexcept {
    if (result_->AddWaiter(waiter_)) {
      if (IsExternal()) this->task_->loop().BeginExternal();
    } else {
      waiter_->Detach();
      this->GrantNextTurn();
    }
  }
  void Unlink() noexcept {
    waiter_->Detach();
    result_->RemoveWaiter(waiter_);
    if (IsExternal()) this->task_->loop().EndExternal();
  }
  void GiveBack() noexcept {}
  T Take() { return result_->Take(); }

  bool OnCancel() noexcept override {
    Unlink();
    this->wait_ = LeafBase::Wait::kCancelled;
    result_->Cancel();
    return true;
  }
  void DescribeWait(std::string* out) const override {
    out->append("a ThreadFuture");
  }

 private:
  static void OnSent(void* awaiter) {
    auto* self = static_cast<ThreadFutureAwaiter*>(awaiter);
    self->waiter_->Detach();
    if (self->IsExternal()) self->task_->loop().EndExternal();
    self->Grant();
  }
  // A virtual clock waits for other loops, not for its own.
  bool IsExternal() const { return result_->loop() != &this->task_->loop(); }

  std::shared_ptr<ThreadResult<T>> result_;
  std::shared_ptr<ThreadWaiter> waiter_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_THREAD_RESULT_H_
