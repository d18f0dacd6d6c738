// coil/timers/internal/end_of_future.h
//
// EndOfFuture cancels a future or a task and waits until it is done, as
// asyncio's _cancel_and_wait(): a cancel of the waiting task ends the wait at
// once and is not passed on a second time.
//
// Threads: the loop's thread only.
// Lifetime: holds a count of the future.

#ifndef COIL_TIMERS_INTERNAL_END_OF_FUTURE_H_
#define COIL_TIMERS_INTERNAL_END_OF_FUTURE_H_

#include <string>
#include <utility>

#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/internal/task_state.h"

namespace coil::internal {

class EndOfFuture final : public LeafAwaiter<EndOfFuture>, private DoneNode {
 public:
  explicit EndOfFuture(FutureCore* future)
      : future_(RefPtr<FutureCore>::Share(future)) {}
  EndOfFuture(EndOfFuture&& other) noexcept
      : LeafAwaiter(std::move(other)),
        DoneNode(),
        future_(std::move(other.future_)) {}
  ~EndOfFuture() { Dispose(); }

  void Validate() const { CheckAwaitable(future_.get(), task_); }
  bool Ready() noexcept {
    if (!future_->Done()) future_->Cancel("");
    return future_->Done();
  }
  void Arm() noexcept { future_->AddDone(this); }
  void Unlink() noexcept { future_->RemoveDone(this); }
  void GiveBack() noexcept {}
  void Take() noexcept { future_->MarkRetrieved(); }
  void DescribeWait(std::string* out) const override {
    DescribeAwaited(*future_, out);
  }
  void VisitAwaited(void (*visit)(void*, FutureCore&),
                    void* arg) const override {
    visit(arg, *future_);
  }

 private:
  void OnDone(FutureCore&) noexcept override { Grant(); }
  TaskCore* Waiter() const override { return task_; }

  RefPtr<FutureCore> future_;
};

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_END_OF_FUTURE_H_
