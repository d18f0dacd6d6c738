// coil/task/internal/task_state.h
//
// The typed halves of the shared state: FutureState<T> for Future<T>,
// TaskState<T> for Task<T>, CallableTask<T, F> for a task that owns the
// callable it runs, and the awaiter that both handles share.
//
// Threads: the loop's thread only.
// Lifetime: counted, see task_core.h.

#ifndef COIL_TASK_INTERNAL_TASK_STATE_H_
#define COIL_TASK_INTERNAL_TASK_STATE_H_

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"

namespace coil::internal {

// True if `error` is a CancelledError; does not throw.
bool IsCancelledError(const std::exception_ptr& error) noexcept;
// A CancelledError; without its message if there is no memory for that.
std::exception_ptr CancelledErrorOf(const std::string& message) noexcept;
// Throws InvalidStateError: the result of something that is not done.
[[noreturn]] void ThrowNotDone(const FutureCore& core);
[[noreturn]] void ThrowAlreadyDone(const FutureCore& core);
// Throws std::runtime_error: a task awaits itself, or a future of another loop.
[[noreturn]] void ThrowNotAwaitable(const FutureCore* core,
                                    const TaskCore* task);
inline void CheckAwaitable(const FutureCore* core, const TaskCore* task) {
  if (core == task || !core->BelongsTo(task->loop())) [[unlikely]] {
    ThrowNotAwaitable(core, task);
  }
}
// In debug mode, throws if the loop of `core` runs in another thread.
void CheckThreadSlow(const FutureCore& core, const char* operation);
inline void CheckThread(const FutureCore& core, const char* operation) {
  if (LoopCore::Current() != &core.loop()) [[unlikely]] {
    CheckThreadSlow(core, operation);
  }
}
void DescribeAwaited(const FutureCore& core, std::string* out);

template <class T>
class FutureState final : public FutureCore {
 public:
  FutureState(LoopCore& loop, std::source_location created)
      : FutureCore(loop, /*is_task=*/false, created) {}

  bool Cancel(std::string_view message) override {
    if (Done()) return false;
    slot_.SetError(
        std::make_exception_ptr(CancelledError(std::string(message))));
    Finish(State::kCancelled);
    return true;
  }
  template <class... U>
  void SetResult(U&&... value) {
    if (Done()) ThrowAlreadyDone(*this);
    slot_.SetValue(std::forward<U>(value)...);
    Finish(State::kDone);
  }
  void SetError(std::exception_ptr error) {
    if (Done()) ThrowAlreadyDone(*this);
    slot_.SetError(std::move(error));
    Finish(State::kFailed);
  }
  ResultSlot<T>& slot() { return slot_; }
  std::exception_ptr StoredError() const override { return slot_.Error(); }

  // A future does not run.
  void Run() override {}
  void OnLoopClose() noexcept override {}
  std::string Describe() const override { return Name(); }

 private:
  void Destroy() noexcept override {
    ReportUnretrieved();
    delete this;
  }
  ResultSlot<T> slot_;
};

template <class T>
class TaskState : public TaskCore {
 public:
  [[gnu::always_inline]] TaskState(LoopCore& loop, typename Co<T>::Handle root,
                                   std::source_location created, bool eager)
      : TaskCore(loop, &root.promise(), created, eager) {}

  // REQUIRES: the task has ended.
  ResultSlot<T>& slot() {
    if constexpr (std::is_void_v<T>) {
      return *std::launder(TopAsSlot());
    } else {
      return slot_;
    }
  }
  std::exception_ptr StoredError() const override {
    if (state_ < State::kFinished) return nullptr;
    return const_cast<TaskState*>(this)->slot().Error();
  }

 protected:
  ~TaskState() {
    if constexpr (std::is_void_v<T>) {
      if (Done()) std::destroy_at(&slot());
    }
  }

  State TakeOutcome(PromiseBase* root) noexcept override {
    Promise<T>& promise = static_cast<Promise<T>&>(*root);
    State state = State::kDone;
    OpenSlot();
    if (promise.result().HasError()) [[unlikely]] {
      slot().SetError(promise.result().Error());
      state =
          IsCancelledError(slot().Error()) ? State::kCancelled : State::kFailed;
    } else if constexpr (!std::is_void_v<T>) {
      try {
        slot_.SetValue(promise.result().Take());
      } catch (...) {
        slot_.SetError(std::current_exception());
        state = State::kFailed;
      }
    }
    root->Handle().destroy();
    return state;
  }
  void StoreCancelled() noexcept override {
    OpenSlot();
    slot().SetError(CancelledErrorOf(CancelMessage()));
  }

 private:
  struct Nowhere {};

  // A result without a value is a word, and takes the place of `top_`, of which
  // the base makes no use once the coroutine has ended.
  ResultSlot<void>* TopAsSlot() noexcept {
    static_assert(sizeof(ResultSlot<void>) == sizeof(top_) &&
                  alignof(ResultSlot<void>) == alignof(PromiseBase*));
    return reinterpret_cast<ResultSlot<void>*>(&top_);
  }
  // The coroutine is gone; the slot may be there already, and empty.
  void OpenSlot() noexcept {
    if constexpr (std::is_void_v<T>) std::construct_at(TopAsSlot());
  }

  [[no_unique_address]] std::conditional_t<std::is_void_v<T>, Nowhere,
                                           ResultSlot<T>> slot_;
};

// A task that was given a Co.
template <class T>
class CoTask final : public TaskState<T> {
 public:
  [[gnu::always_inline]] CoTask(LoopCore& loop, typename Co<T>::Handle root,
                                std::source_location created, bool eager)
      : TaskState<T>(loop, root, created, eager) {}

 private:
  void Destroy() noexcept override {
    this->ReportUnretrieved();
    delete this;
  }
};

template <class F>
class CallableHolder {
  static_assert(alignof(F) <= 16,
                "CreateTask: the callable captures something whose alignment "
                "is above 16 bytes, more than a task's memory has; capture it "
                "by reference or through a std::unique_ptr");

 protected:
  explicit CallableHolder(F callable) : callable_(std::move(callable)) {}
  // The coroutine that the callable makes; throws if that was awaited before.
  auto MakeRoot() {
    auto co = (*callable_)();
    if (!co.Valid()) ThrowAwaitedTwice();
    return co.Release();
  }
  std::optional<F> callable_;
};

// The callable lies in the same allocation, and is gone when the task is done.
template <class T, class F>
class CallableTask final : private CallableHolder<F>, public TaskState<T> {
 public:
  CallableTask(LoopCore& loop, F callable, std::source_location created,
               bool eager)
      : CallableHolder<F>(std::move(callable)),
        TaskState<T>(loop, this->MakeRoot(), created, eager) {}

 private:
  using State = FutureCore::State;
  State TakeOutcome(PromiseBase* root) noexcept override {
    const State state = TaskState<T>::TakeOutcome(root);
    this->callable_.reset();
    return state;
  }
  void StoreCancelled() noexcept override {
    TaskState<T>::StoreCancelled();
    this->callable_.reset();
  }
  void Destroy() noexcept override {
    this->ReportUnretrieved();
    delete this;
  }
};

// How the result of a shared state is read.
enum class ReadAs : uint8_t {
  kReference,  // into the shared state
  kMove,       // moved out; whoever reads later gets InvalidStateError
  kNothing,    // only the end is awaited; its errors are not thrown
};

// Awaits a task or a future.
template <class State, ReadAs kRead>
class FutureAwaiter final : public LeafAwaiter<FutureAwaiter<State, kRead>>,
                            private DoneNode {
 public:
  explicit FutureAwaiter(RefPtr<State> state) : state_(std::move(state)) {}
  FutureAwaiter(FutureAwaiter&& other) noexcept
      : LeafAwaiter<FutureAwaiter>(std::move(other)),
        DoneNode(),
        state_(std::move(other.state_)) {}
  ~FutureAwaiter() { this->Dispose(); }

  void Validate() const { CheckAwaitable(state_.get(), this->task_); }
  bool Ready() noexcept { return state_->Done(); }
  void Arm() noexcept { state_->AddDone(this); }
  void ArmGivingWay() noexcept {
    if (state_->Done()) {
      this->Grant();
    } else {
      Arm();
    }
  }
  void Unlink() noexcept { state_->RemoveDone(this); }
  void GiveBack() noexcept {}

  decltype(auto) Take() {
    state_->MarkRetrieved();
    if constexpr (kRead == ReadAs::kMove) {
      return state_->slot().Take();
    } else if constexpr (kRead == ReadAs::kReference) {
      return state_->slot().Get();
    }
  }

  FutureCore* ForwardsCancel() const noexcept override { return state_.get(); }
  void DescribeWait(std::string* out) const override {
    DescribeAwaited(*state_, out);
  }
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override {
    visit(arg, *state_);
  }

 private:
  void OnDone(FutureCore&) noexcept override { this->Grant(); }
  TaskCore* Waiter() const override { return this->task_; }

  RefPtr<State> state_;
};

// The value for a combinator: moved out where nobody else can read it, copied
// otherwise, moved if it cannot be copied. Throws the stored error.
template <class State>
decltype(auto) TakeShared(const RefPtr<State>& state) {
  state->MarkRetrieved();
  auto& slot = state->slot();
  using R = decltype(slot.Take());
  if constexpr (std::is_void_v<R> || std::is_reference_v<R>) {
    return static_cast<R>(slot.Take());
  } else if constexpr (std::is_copy_constructible_v<R>) {
    if (!state->Unique()) return R(slot.Get());
    return slot.Take();
  } else {
    return slot.Take();
  }
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_TASK_STATE_H_
