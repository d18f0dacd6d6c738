// coil/task/wait.h
//
// Wait() waits for tasks and futures until all, the first, or the first error
// of them is there, or until a time has passed, and says which are done. It
// cancels nothing and throws no error of theirs.
//
// Example:
//   coil::Co<size_t> DoneInASecond(std::vector<coil::Task<int>> tasks) {
//     const coil::WaitOptions options = {.timeout = absl::Seconds(1)};
//     coil::WaitResult<coil::Task<int>> result =
//         co_await coil::Wait(std::move(tasks), options);
//     for (const coil::Task<int>& late : result.pending) late.Cancel();
//     co_return result.done.size();
//   }
//
// Use Gather() for the results, AsCompleted() to handle each one as it is done,
// Race() to keep the first and cancel the others.
//
// Ordering: `done` and `pending` are in the order of the arguments, each task
//   once. They are as of the moment at which Wait() returns, so that with
//   kFirstCompleted more than one may be done. If the condition holds from the
//   start, Wait() returns without giving way.
// Cancellation: thrown at once; the tasks are left alone.
// Threads: the loop's thread only.
// Lifetime: the handles that were given come back in the result. Errors do not
//   count as retrieved.
//
// asyncio: wait (A71-A74).

#ifndef COIL_TASK_WAIT_H_
#define COIL_TASK_WAIT_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/task/co.h"
#include "coil/task/internal/first_of_each.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/task.h"

namespace coil {

enum class ReturnWhen : uint8_t {
  kAllCompleted,
  kFirstCompleted,  // one is done, in whatever way
  kFirstException,  // one has failed (a cancelled one has not), or all are done
};

// All members are trivially destructible.
struct WaitOptions {
  ReturnWhen return_when = ReturnWhen::kAllCompleted;
  // From the await on. Infinite: none. Zero or less: one turn of the loop.
  absl::Duration timeout = absl::InfiniteDuration();
};

// H is AnyTask, Task<T> or Future<T>.
template <class H>
class WaitResult {
 public:
  WaitResult() = default;
  WaitResult(std::vector<H> done_in, std::vector<H> pending_in,
             bool timed_out_in)
      : done(std::move(done_in)),
        pending(std::move(pending_in)),
        timed_out(timed_out_in) {}

  std::vector<H> done;
  std::vector<H> pending;
  bool timed_out = false;  // what was waited for had not come about
};

namespace internal {

class WaitAwaiter;

class WaitNode final : public DoneNode {
 public:
  WaitNode(WaitAwaiter* wait, FutureCore* future) noexcept
      : wait_(wait), future_(future) {}
  FutureCore* future() const { return future_; }
  void OnDone(FutureCore& future) noexcept override;
  TaskCore* Waiter() const override;

 private:
  WaitAwaiter* wait_;
  FutureCore* future_;
};

class WaitAwaiter final : public LeafAwaiter<WaitAwaiter>, private TimerNode {
 public:
  // `count` futures are added before the await.
  WaitAwaiter(size_t count, const WaitOptions& options);
  WaitAwaiter(const WaitAwaiter&) = delete;
  ~WaitAwaiter() { Unlink(); }

  // Counts a future in.
  void Add(FutureCore& future) noexcept;
  // True once the wait is over because of the futures.
  bool Complete() const;

  bool Ready() noexcept { return Complete(); }
  void Arm() noexcept;
  void Unlink() noexcept;
  void GiveBack() noexcept { Unlink(); }
  void Take() noexcept { Unlink(); }
  void DescribeWait(std::string* out) const override;
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override;

 private:
  friend class WaitNode;
  void Fire() noexcept override { Grant(); }
  void FutureDone(FutureCore& future) noexcept;
  void Note(const FutureCore& future) noexcept;

  struct Free {
    void operator()(WaitNode* nodes) const { ::operator delete(nodes); }
  };
  std::unique_ptr<WaitNode, Free> nodes_;
  size_t count_ = 0;
  size_t pending_ = 0;
  WaitOptions options_;
  bool failed_ = false;
};

// Throws std::invalid_argument: nothing to wait for, or no such condition.
void CheckWait(size_t count, const WaitOptions& options);

template <class H>
void KeepFirstOfEach(std::vector<H>& handles) {
  std::vector<FutureCore*> futures;
  futures.reserve(handles.size());
  for (const H& handle : handles) futures.push_back(handle.core());
  const std::vector<bool> first = FirstOfEach(futures);
  size_t kept = 0;
  for (size_t i = 0; i < handles.size(); ++i) {
    if (!first[i]) continue;
    if (kept != i) handles[kept] = std::move(handles[i]);
    ++kept;
  }
  handles.erase(handles.begin() + static_cast<ptrdiff_t>(kept), handles.end());
}

}  // namespace internal

// Throws std::invalid_argument if `handles` is empty, std::runtime_error for an
// empty handle, the awaiting task itself, and for a handle of another loop.
template <class H>
Co<WaitResult<H>> Wait(std::vector<H> handles, WaitOptions options = {}) {
  static_assert(std::derived_from<H, AnyTask>,
                "Wait: takes tasks and futures; make a coroutine a task with "
                "CreateTask() first, or you could not tell which one is done");
  internal::TaskCore* task = co_await internal::ThisTask();
  internal::CheckWait(handles.size(), options);
  for (const H& handle : handles) {
    internal::CheckAwaitable(&handle.Checked(), task);
  }
  internal::KeepFirstOfEach(handles);
  internal::WaitAwaiter wait(handles.size(), options);
  for (const H& handle : handles) wait.Add(*handle.core());
  co_await internal::AwaiterRef(wait);
  WaitResult<H> result;
  for (H& handle : handles) {
    (handle.Done() ? result.done : result.pending).push_back(std::move(handle));
  }
  result.timed_out = !wait.Complete();
  co_return result;
}

// The same for tasks of different types.
template <class... H>
  requires(sizeof...(H) != 0 && (std::derived_from<H, AnyTask> && ...))
Co<WaitResult<AnyTask>> Wait(WaitOptions options, H... handles) {
  std::vector<AnyTask> all;
  all.reserve(sizeof...(H));
  (all.push_back(std::move(handles)), ...);
  return Wait(std::move(all), options);
}

}  // namespace coil

#endif  // COIL_TASK_WAIT_H_
