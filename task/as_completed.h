// coil/task/as_completed.h
//
// AsCompleted() is a range of tasks in the order in which they end: each Next()
// gives the next one that is done. Coroutines become tasks when the range is
// made.
//
// Example:
//   coil::Co<int> Fetch(int id) { co_return id; }
//   coil::Co<int> SumOf(std::vector<coil::Co<int>> fetches) {
//     int sum = 0;
//     auto done = coil::AsCompleted(std::move(fetches), absl::Seconds(30));
//     while (auto task = co_await done.Next()) sum += task->Result();
//     co_return sum;
//   }
//
// COIL_FOR_AWAIT(auto task, range) works too. Use Gather() where the results
// are handled together.
//
// Ordering: the order of completion; what is done when the range is made comes
//   first, in the order of the arguments. Each task comes once, also if it was
//   given twice. Several callers of Next() are served first come, first served.
// Cancellation: a cancelled Next() has taken nothing: the task is given to the
//   next caller. Neither leaving the loop nor the timeout cancels a task.
// Threads: the loop's thread only.
// Lifetime: the range holds the handles that it has not given out. A range that
//   is destroyed lets go of its tasks, which run on; a Next() that waits in
//   another task throws std::runtime_error then.
//
// asyncio: as_completed (A76, A77); each task is one that was given, so that
// comparing handles tells which one it is.

#ifndef COIL_TASK_AS_COMPLETED_H_
#define COIL_TASK_AS_COMPLETED_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/parts.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/task.h"

namespace coil {
namespace internal {

class CompletionQueue;

// What a Next() was told.
enum class Completion : uint8_t { kTask, kEnd, kTimeout, kDestroyed };

// A Next() that waits, and what it was given.
class CompletionWaiter {
 public:
  CompletionWaiter(const CompletionWaiter&) = delete;
  CompletionWaiter& operator=(const CompletionWaiter&) = delete;

 protected:
  CompletionWaiter() = default;
  ~CompletionWaiter() = default;

  size_t index_ = 0;
  Completion completion_ = Completion::kEnd;

 private:
  friend class CompletionNode;
  friend class CompletionQueue;
  virtual void Complete() noexcept = 0;
  virtual TaskCore* WaitingTask() const noexcept = 0;

  CompletionWaiter* next_ = nullptr;
};

// A future of the range: waits for its end, then in the queue of those done.
class CompletionNode final : public DoneNode {
 public:
  CompletionNode(CompletionQueue* queue, FutureCore* future) noexcept
      : queue_(queue), future_(future) {}
  void OnDone(FutureCore& future) noexcept override;
  TaskCore* Waiter() const override;

 private:
  friend class CompletionQueue;
  CompletionQueue* queue_;
  FutureCore* future_;
  CompletionNode* next_ = nullptr;
};

// The part of the range without the type.
class CompletionQueue : private TimerNode {
 public:
  bool BelongsTo(const LoopCore& loop) const { return loop_id_ == loop.id(); }
  // The range is gone: those who wait are told.
  void Close() noexcept;
  // Gives the waiter what there is for it; false if it has to wait.
  bool TryNext(CompletionWaiter* waiter) noexcept;
  void Enqueue(CompletionWaiter* waiter) noexcept;
  void Dequeue(CompletionWaiter* waiter) noexcept;
  // Takes back what the waiter was given, and gives it to the one in front.
  void Return(CompletionWaiter* waiter) noexcept;

  void DescribeWait(std::string* out) const;
  void VisitAwaited(void (*visit)(void*, FutureCore&), void* arg) const;

 protected:
  // Throws std::runtime_error without a running loop or for a future of
  // another.
  CompletionQueue(const std::vector<FutureCore*>& futures,
                  absl::Duration timeout);
  ~CompletionQueue() = default;

 private:
  friend class CompletionNode;
  void Fire() noexcept override;
  void Done(CompletionNode* node) noexcept;
  void Serve() noexcept;
  void UnlinkAll() noexcept;

  struct Free {
    void operator()(CompletionNode* nodes) const { ::operator delete(nodes); }
  };

  LoopCore& loop_;
  const uint64_t loop_id_;  // the range may outlive the loop
  std::unique_ptr<CompletionNode, Free> nodes_;
  size_t count_ = 0;
  size_t running_ = 0;  // not done
  size_t timeouts_ =
      0;  // were not done at the timeout, and nobody was told yet
  CompletionNode* first_done_ = nullptr;
  CompletionNode* last_done_ = nullptr;
  CompletionWaiter* first_waiter_ = nullptr;
  CompletionWaiter* last_waiter_ = nullptr;
};

// Counted: a Next() that was given a task may outlive the range.
template <class H>
class CompletionState final : public CompletionQueue {
 public:
  CompletionState(std::vector<H> handles, absl::Duration timeout)
      : CompletionQueue(CoresOf(handles), timeout),
        handles_(std::move(handles)) {}
  void Ref() noexcept { ++references_; }
  void Unref() noexcept {
    if (--references_ == 0) delete this;
  }
  H Take(size_t index) { return std::move(handles_[index]); }

 private:
  static std::vector<FutureCore*> CoresOf(const std::vector<H>& handles) {
    std::vector<FutureCore*> cores;
    cores.reserve(handles.size());
    for (const H& handle : handles) cores.push_back(&handle.Checked());
    return cores;
  }

  std::vector<H> handles_;
  size_t references_ = 1;
};

// Throws std::runtime_error: the range was moved from, or belongs to another
// loop.
void CheckCompletionQueue(const CompletionQueue* queue, const TaskCore* task);
[[noreturn]] void ThrowCompletionTimeout();
[[noreturn]] void ThrowCompletionDestroyed();

template <class H>
class NextAwaiter final : public LeafAwaiter<NextAwaiter<H>>,
                          private CompletionWaiter {
 public:
  explicit NextAwaiter(RefPtr<CompletionState<H>> state) noexcept
      : state_(std::move(state)) {}
  NextAwaiter(NextAwaiter&& other) noexcept
      : LeafAwaiter<NextAwaiter>(std::move(other)),
        CompletionWaiter(),
        state_(std::move(other.state_)) {}
  ~NextAwaiter() { this->Dispose(); }

  void Validate() const { CheckCompletionQueue(state_.get(), this->task_); }
  bool Ready() noexcept { return state_->TryNext(this); }
  void Arm() noexcept { state_->Enqueue(this); }
  void Unlink() noexcept { state_->Dequeue(this); }
  void GiveBack() noexcept { state_->Return(this); }
  std::optional<H> Take() {
    switch (completion_) {
      case Completion::kTask:
        return state_->Take(index_);
      case Completion::kEnd:
        return std::nullopt;
      case Completion::kTimeout:
        ThrowCompletionTimeout();
      case Completion::kDestroyed:
        break;
    }
    ThrowCompletionDestroyed();
  }
  void DescribeWait(std::string* out) const override {
    state_->DescribeWait(out);
  }
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override {
    state_->VisitAwaited(visit, arg);
  }

 private:
  void Complete() noexcept override { this->Grant(); }
  TaskCore* WaitingTask() const noexcept override { return this->task_; }

  RefPtr<CompletionState<H>> state_;
};

}  // namespace internal

// Movable; H is Task<T>, Future<T> or AnyTask.
template <class H>
class AsCompletedRange {
 public:
  AsCompletedRange(AsCompletedRange&&) noexcept = default;
  AsCompletedRange& operator=(AsCompletedRange&&) = delete;
  ~AsCompletedRange() {
    if (state_) state_->Close();
  }

  // A std::optional<H>: the next task that is done, empty after the last one.
  // Throws TimeoutError once the timeout has come and everything that was done
  // by then has been given out: once for each task that was not done, then the
  // range is at its end. Errors of the tasks are not thrown.
  [[nodiscard("co_await it")]] internal::NextAwaiter<H> Next() {
    return internal::NextAwaiter<H>(state_);
  }

  // ---- public interface ends here ----
  AsCompletedRange(std::vector<H> handles, absl::Duration timeout)
      : state_(internal::RefPtr<State>::Adopt(
            new State(std::move(handles), timeout))) {}

 private:
  using State = internal::CompletionState<H>;
  internal::RefPtr<State> state_;
};

// The time counts from this call; an infinite one is none, zero or less passes
// on the next turn of the loop. Throws std::runtime_error without a running
// loop, for an empty handle and for one of another loop.
template <std::derived_from<AnyTask> H>
AsCompletedRange<H> AsCompleted(
    std::vector<H> tasks, absl::Duration timeout = absl::InfiniteDuration()) {
  return AsCompletedRange<H>(std::move(tasks), timeout);
}

// The same for coroutines and other awaitables, each of which becomes a task
// now.
template <class A>
  requires(internal::IsAwaitable<A> && !std::derived_from<A, AnyTask>)
AsCompletedRange<Task<internal::ValueOf<A>>> AsCompleted(
    std::vector<A> awaitables,
    absl::Duration timeout = absl::InfiniteDuration(),
    std::source_location created = std::source_location::current()) {
  internal::LoopCore& loop = internal::RequireLoop("AsCompleted");
  internal::CheckParts(awaitables, nullptr);
  std::vector<Task<internal::ValueOf<A>>> tasks;
  tasks.reserve(awaitables.size());
  for (A& awaitable : awaitables) {
    tasks.push_back(internal::StartPart(loop, awaitable, created,
                                        /*internal=*/false));
  }
  return AsCompletedRange<Task<internal::ValueOf<A>>>(std::move(tasks),
                                                      timeout);
}

}  // namespace coil

#endif  // COIL_TASK_AS_COMPLETED_H_
