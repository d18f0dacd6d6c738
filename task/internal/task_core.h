// coil/task/internal/task_core.h
//
// FutureCore is the shared state behind Future<T> and Task<T>; TaskCore adds
// what drives a coroutine: the run-queue link, the place to resume, the cancel
// count.
//
//   ready FIFO ──> TaskCore ──top_──> leaf promise ──parent──> ... ──> root
//                     │                    │
//                     └──leaf()──> the awaiter that the leaf coroutine waits
//                                  in; it lies in the link of the ready FIFO,
//                                  which is free while the task is suspended
//
// States of a task:
//
//   kScheduled ──Run──> kRunning ──leaf arms──> kSuspended ──Wake──> kScheduled
//                          │  └──budget──> kTrampoline (resumed by the same
//                          Run) └──root returns──> kFinished ──Complete──>
//                          kDone
//
// Threads: the loop's thread only, but for the count of references.
// Lifetime: counted. The loop's list of owned tasks holds one reference from
//   creation to completion, so a running task never vanishes.

#ifndef COIL_TASK_INTERNAL_TASK_CORE_H_
#define COIL_TASK_INTERNAL_TASK_CORE_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/errors.h"
#include "coil/task/internal/future_core.h"

// A non-trivial await_suspend must not be inlined on these compilers: locals of
// an inlined one are written after another thread may have resumed the frame.
#if defined(__clang__) && __clang_major__ >= 19
#define COIL_AWAIT_SUSPEND
#else
#define COIL_AWAIT_SUSPEND [[gnu::noinline]]
#endif

namespace coil::internal {

// Sees each step of a task begin and end. The cancel injection and the tracer
// use it.
class StepObserver {
 public:
  // `task` is about to go on.
  virtual void OnResume(TaskCore& task) { static_cast<void>(task); }
  // It is suspended again, or its coroutine has ended (kFinished). May throw
  // what leaves the loop, unless it has ended.
  virtual void OnStep(TaskCore& task) = 0;

 protected:
  ~StepObserver() = default;
};

inline constinit thread_local TaskCore* t_current_task = nullptr;
inline constinit thread_local StepObserver* t_step_observer = nullptr;

class TaskCore : public FutureCore {
 public:
  // The budget of hops between two visits of the pump: see docs/design.
  static constexpr uint8_t kBudget = 128;

  // The task that runs in this thread, or null. Not for coroutine bodies. In
  // the child of a fork, what the parent's task was is none of this thread's
  // loop.
  static TaskCore* Current() noexcept {
    TaskCore* const task = t_current_task;
    return task != nullptr && task->loop_ == LoopCore::Current() ? task
                                                                 : nullptr;
  }

  // --- cancellation -------------------------------------------------------
  bool Cancel(std::string_view message) override;
  int Uncancel() noexcept;
  int Cancelling() const noexcept {
    return cancel_count_ + (extras_ == nullptr ? 0 : extras_->more_cancels);
  }
  // True once if a request is waiting to be delivered.
  bool TakeMustCancel() noexcept {
    if (!must_cancel_) [[likely]]
      return false;
    must_cancel_ = false;
    return true;
  }
  bool MustCancel() const noexcept { return must_cancel_; }
  // A leaf that cannot undo its wait leaves the request for its resume.
  void RequestMustCancel() noexcept { must_cancel_ = true; }
  [[noreturn]] void ThrowCancelled();
  const std::string& CancelMessage() const;

  // --- suspension, called by awaiters -------------------------------------
  // The coroutine of `promise` waits in `leaf` from now on.
  void SuspendOn(Leaf* leaf, PromiseBase* promise) noexcept {
    state_ = State::kSuspended;
    SetIdleWord(leaf);
    top_ = promise;
  }
  // The suspension has failed with an error, and the coroutine goes on with it.
  void StayRunning() noexcept { state_ = State::kRunning; }
  // Suspended, and to be resumed on the next pass.
  void SuspendScheduled(PromiseBase* promise) noexcept {
    state_ = State::kScheduled;
    top_ = promise;
    loop_->Schedule(this);
  }
  // Schedules a suspended task. REQUIRES: it is suspended on a leaf.
  void Wake() noexcept {
    state_ = State::kScheduled;
    loop_->Schedule(this);
  }

  // --- control transfer ----------------------------------------------------
  // `next` is to run now: gives its handle, or, once the budget is spent,
  // leaves it to the pump, which bounds the stack where no tail call is made.
  std::coroutine_handle<> Transfer(PromiseBase* next) noexcept {
    if (--budget_ != 0) [[likely]]
      return next->Handle();
    return TransferSlow(next);
  }
  // Counts an await that may complete at once. True if the time slice is used
  // up and the task has to give way first.
  bool SpendBudget() noexcept {
    if (--budget_ != 0) [[likely]]
      return false;
    budget_ = kBudget;
    return SliceUsedUp();
  }
  // The root coroutine has ended.
  void RootFinished(PromiseBase* root) noexcept {
    state_ = State::kFinished;
    top_ = root;
  }

  // --- the pump -------------------------------------------------------------
  void Run() override;
  void OnLoopClose() noexcept override;
  void Abandon() noexcept override;
  std::string Describe() const override;
  size_t DescribeTo(char* buffer, size_t size) const noexcept override;
  bool Shuffles() const override { return true; }
  // The first step, now, inside CreateTask (asyncio: eager_start).
  void StartEagerly();

  // --- seen from outside
  // ------------------------------------------------------
  // What it waits in; null unless it is suspended.
  Leaf* leaf() const {
    return state_ == State::kSuspended ? static_cast<Leaf*>(IdleWord())
                                       : nullptr;
  }
  // The innermost coroutine; null once the outermost one has ended.
  PromiseBase* top() const {
    return state_ < State::kFinished ? top_ : nullptr;
  }
  ContextBase* context() const {
    return extras_ == nullptr ? nullptr : extras_->context.get();
  }
  void SetContext(ContextRef context) {
    if (context.get() != nullptr || extras_ != nullptr) {
      MutableExtras().context = std::move(context);
    }
  }
  void MarkInternal() noexcept { internal_ = true; }
  bool internal() const { return internal_; }

 protected:
  // Takes over a coroutine that has not started; schedules it unless `eager`.
  // Inline, because what each kind of task adds is stored along with it.
  [[gnu::always_inline]] TaskCore(LoopCore& loop, PromiseBase* root,
                                  std::source_location created, bool eager)
      : FutureCore(loop, /*is_task=*/true, created), top_(root) {
    root->task = this;
    if (t_context != nullptr && !t_context->empty()) [[unlikely]]
      TakeContextAlong();
    loop.Own(this);
    state_ = State::kScheduled;
    if (!eager) loop.Schedule(this);
  }
  ~TaskCore() = default;

  // Moves the outcome out of the root promise and destroys its frame.
  virtual State TakeOutcome(PromiseBase* root) noexcept = 0;
  // Stores a cancellation for a task whose coroutine is gone.
  virtual void StoreCancelled() noexcept = 0;

  void CountCancel(std::string_view message);
  std::coroutine_handle<> TransferSlow(PromiseBase* next) noexcept;
  bool SliceUsedUp() noexcept;
  // These are inline where they are called: in one source.
  inline void EndStep();
  inline void FinishAs(State state) noexcept;
  void BeginStepWithCare();
  void EndStepWithCare(ContextBase* last);
  void EndUnstarted();
  void TakeContextAlong();
  static void DropStrayContext() noexcept;
  void Complete();
  void FinishFailed();
  // Destroys the frames from the leaf to the root, without recursion.
  void DestroyChain() noexcept;
  void ReportPending() const noexcept;

  // Where the coroutine goes on. Once it has ended, TaskState<void> has its
  // result in this place.
  PromiseBase* top_;
};

// The child frame that DestroyChain() has just destroyed: the awaiter in the
// parent's frame must not destroy it again.
inline constinit thread_local void* t_destroyed_child = nullptr;

// More than zero while a coroutine is given up on purpose: the coroutines among
// its arguments and locals die with it, which is no mistake to report.
inline constinit thread_local int t_giving_up = 0;

// Throws std::runtime_error naming the rule: `what` needs a running loop.
[[noreturn]] void ThrowNoLoop(const char* what);
[[noreturn]] void ThrowWrongLoop(const char* what);

inline LoopCore& RequireLoop(const char* what) {
  LoopCore* loop = LoopCore::Current();
  if (loop == nullptr) [[unlikely]]
    ThrowNoLoop(what);
  return *loop;
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_TASK_CORE_H_
