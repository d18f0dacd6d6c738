// coil/sync/internal/signal_awaiter.h
//
// The wait for something that, once it is true, lets everybody go on: an event,
// a latch, a queue whose work is done.
//
// Threads: the loop's thread only.
// Lifetime: a task that was woken does not touch the owner again.

#ifndef COIL_SYNC_INTERNAL_SIGNAL_AWAITER_H_
#define COIL_SYNC_INTERNAL_SIGNAL_AWAITER_H_

#include <string>

#include "coil/sync/internal/waiter_list.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil::internal {

// `Owner` has bool Signalled(), WaiterList signal_waiters_, LoopBinding
// binding_, kSignalName, kSignalOperation, and DescribeSignal(out).
template <class Owner>
class SignalAwaiter final : public LeafAwaiter<SignalAwaiter<Owner>, Waiter> {
 public:
  explicit SignalAwaiter(Owner& owner) noexcept : owner_(&owner) {}
  SignalAwaiter(SignalAwaiter&&) = default;
  ~SignalAwaiter() { this->Dispose(); }

  bool Ready() noexcept {
    return owner_->Signalled() || !owner_->binding_.Bind(this);
  }
  void Arm() noexcept { owner_->signal_waiters_.Append(this); }
  void ArmGivingWay() noexcept {
    if (owner_->Signalled()) {
      this->GrantUnlinked(WaitEnd::kGranted);
    } else if (this->BoundToLoop(owner_->binding_)) {
      Arm();
    }
  }
  void Unlink() noexcept { owner_->signal_waiters_.Remove(this); }
  void GiveBack() noexcept {}  // a signal is not used up
  void Take() const {
    if (this->end_ != WaitEnd::kGranted) [[unlikely]] {
      this->Fail(Owner::kSignalName, Owner::kSignalOperation);
    }
  }
  void DescribeWait(std::string* out) const override {
    owner_->DescribeSignal(out);
  }

 private:
  Owner* owner_;
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_SIGNAL_AWAITER_H_
