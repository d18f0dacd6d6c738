// coil/task/shield.h
//
// Shield() awaits something without passing a cancellation on to it.
// CancelAndWait() cancels a task and waits until it has ended.
//
// Example:
//   coil::Co<int> Save() { co_return 1; }
//   coil::Co<int> SaveInAnyCase() {
//     co_return co_await coil::Shield(Save());
//   }
//   coil::Co<void> Stop(coil::Task<int> worker) {
//     co_await coil::CancelAndWait(worker);
//     if (!worker.Cancelled()) worker.Result();  // throws the worker's error
//   }
//
// Ordering: Shield() of a coroutine starts it as a task when it is awaited, on
//   the next pass of the loop. What is done already is returned without giving
//   way.
// Cancellation: a cancel of the awaiting task is thrown at once by both; what
//   is waited for goes on. If somebody else cancels what Shield() awaits,
//   CancelledError is thrown, and the awaiting task is not cancelled. A request
//   to cancel that CancelAndWait() has made stands, also if its own wait is
//   cancelled: WithTimeout(d, CancelAndWait(task)) gives up after d.
// Threads: the loop's thread only.
// Lifetime: the loop owns a running task: one that is shielded goes on without
//   a handle. If its caller was cancelled and it fails, its error is reported
//   once, as one that was never retrieved, unless a holder of a handle reads
//   it.
//
// asyncio: shield (A70); `task.cancel(); await wait([task])` is CancelAndWait.

#ifndef COIL_TASK_SHIELD_H_
#define COIL_TASK_SHIELD_H_

#include <string>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/join.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/parts.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/task.h"

namespace coil {
namespace internal {

// Waits until a future is done, whatever becomes of it, and leaves it alone.
class EndAwaiter final : public LeafAwaiter<EndAwaiter>, private DoneNode {
 public:
  explicit EndAwaiter(FutureCore* future)
      : future_(RefPtr<FutureCore>::Share(future)) {}
  EndAwaiter(EndAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        DoneNode(),
        future_(std::move(other.future_)) {}
  ~EndAwaiter() { Dispose(); }

  bool Ready() noexcept { return future_->Done(); }
  void Arm() noexcept { future_->AddDone(this); }
  void Unlink() noexcept { future_->RemoveDone(this); }
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void DescribeWait(std::string* out) const override;
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override {
    visit(arg, *future_);
  }

 private:
  void OnDone(FutureCore&) noexcept override { Grant(); }
  TaskCore* Waiter() const override { return task_; }

  RefPtr<FutureCore> future_;
};

}  // namespace internal

// The result of `awaitable`, or its error. Throws std::runtime_error for an
// empty or awaited Co, an empty handle, the awaiting task itself, and for a
// handle of another loop.
template <class A>
  requires internal::IsAwaitable<A>
Co<internal::ValueOf<A>> Shield(A awaitable) {
  const internal::CallSite here = co_await internal::CallSite();
  internal::CheckPart(awaitable, here.task());
  auto inner = internal::StartPart(here.loop(), awaitable, here.where(),
                                   /*internal=*/false);
  internal::EndAwaiter end(inner.core());
  co_await std::move(end);
  co_return internal::TakeValue(inner);
}

// Cancels `target` and waits until it has ended, in whatever way: its error is
// not thrown. It is not marked as retrieved either: read it from the handle
// (AnyTask::Exception()), or it is reported when the last handle goes away.
// Returns at once if `target` is done. A target that does not follow the
// request is waited for until it ends by itself. Throws std::runtime_error for
// an empty handle, the awaiting task itself, and for a handle of another loop.
Co<void> CancelAndWait(AnyTask target);

}  // namespace coil

#endif  // COIL_TASK_SHIELD_H_
