// coil/task/internal/leaf_awaiter.h
//
// The base of every awaiter that a task can be suspended in: Sleep,
// Lock::Acquire, Queue::Get, a socket's read. It holds the protocol once, so
// that each primitive writes only what is its own:
//
//   void Validate()   throws on misuse, before anything else; optional
//   bool Ready()      completes at once if it can; takes what it grants; no
//   throw void Arm()        queues up; later somebody calls Grant() after
//   unlinking it;
//                     no throw: an error is kept for Take(), and granted
//   void Unlink()     leaves the queue; called only while armed
//   void GiveBack()   returns a grant that a cancel has overtaken
//   T    Take()       the result; may throw the operation's own errors
//   void DescribeWait(std::string*) const
//
// A derived class calls Dispose() in its destructor.
//
// A task whose awaits all complete at once has to give way when its time slice
// is used up. It does so at an operation that defines
//
//   void ArmGivingWay()   stands in for Ready() and Arm(): queues up first, and
//                     is granted at once if it could be. So it keeps its place,
//                     and whoever destroys the primitive finds it.
//
//   kIdle ──Ready()──> kDone                      (did not suspend)
//     └──Arm()──> kArmed ──Grant()──> kGranted ──await_resume──> kDone
//                    └──cancel: Unlink()──> kCancelled          (throws)
//   kGranted and a cancel before the resume: GiveBack(), then it throws.
//
// Cancellation: whoever sees CancelledError has consumed nothing.
// Threads: the loop's thread only.
// Lifetime: movable until it suspends; then it stays in its frame.

#ifndef COIL_TASK_INTERNAL_LEAF_AWAITER_H_
#define COIL_TASK_INTERNAL_LEAF_AWAITER_H_

#include <coroutine>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/task/internal/task_core.h"

namespace coil::internal {

class LeafBase : public Leaf {
 public:
  // Called by the coroutine's await_transform.
  void Bind(TaskCore* task) noexcept { task_ = task; }
  TaskCore* task() const { return task_; }

 protected:
  enum class Wait : uint8_t {
    kIdle,
    kGiveWay,  // the time slice is used up: try on the next pass
    kArmed,
    kGranted,
    kCancelled,
    kDone,
  };

  LeafBase() = default;
  // A move before the suspension: takes the operation, not the wait.
  LeafBase(LeafBase&& other) noexcept : Leaf(), task_(other.task_) {}
  LeafBase& operator=(LeafBase&&) = delete;
  ~LeafBase() = default;

  bool Armed() const { return wait_ == Wait::kArmed; }

  // The operation is complete; the task runs on the next pass. REQUIRES: armed,
  // and unlinked from whatever it was queued in.
  void Grant() noexcept {
    wait_ = Wait::kGranted;
    task_->Wake();
  }

  // Called from Arm(): nothing to wait for but one turn of the loop. The task
  // is runnable at once, so a cancel finds no leaf to undo.
  void GrantNextTurn() noexcept { Grant(); }

  TaskCore* task_ = nullptr;
  Wait wait_ = Wait::kIdle;
};

// `Base` adds what several awaiters share, for example a place in one queue.
template <class Derived, class Base = LeafBase>
class LeafAwaiter : public Base {
 public:
  void Validate() const noexcept {}

  bool await_ready() {
    derived().Validate();
    if (this->task_->SpendBudget()) [[unlikely]] {
      if constexpr (CanArmGivingWay()) {
        this->wait_ = Wait::kGiveWay;
        return false;
      }
    }
    return derived().Ready();
  }

  template <class P>
  COIL_AWAIT_SUSPEND void await_suspend(std::coroutine_handle<P> self) {
    PromiseBase* promise = &self.promise();
    if (this->task_->TakeMustCancel()) [[unlikely]] {
      // A request from before: this await blocks, so it is delivered here.
      this->wait_ = Wait::kCancelled;
      this->task_->SuspendScheduled(promise);
      return;
    }
    if constexpr (CanArmGivingWay()) {
      if (this->wait_ == Wait::kGiveWay) [[unlikely]] {
        this->wait_ = Wait::kArmed;
        this->task_->SuspendOn(this, promise);
        derived().ArmGivingWay();
        return;
      }
    }
    this->wait_ = Wait::kArmed;
    this->task_->SuspendOn(this, promise);
    derived().Arm();
  }

  [[gnu::always_inline]] decltype(auto) await_resume() {
    if (this->wait_ != Wait::kIdle) FinishWait();
    return derived().Take();
  }

  // The result as a slot, where the operation can give its errors without a
  // throw: it defines ResultSlot<T> TakeResult(). A cancel is thrown all the
  // same.
  template <class D = Derived>
    requires requires(D& d) { d.TakeResult(); }
  auto TakeSlot() {
    if (this->wait_ != Wait::kIdle) FinishWait();
    return derived().TakeResult();
  }

  bool OnCancel() noexcept override {
    derived().Unlink();
    this->wait_ = Wait::kCancelled;
    return true;
  }

 protected:
  using Base::Base;
  LeafAwaiter() = default;
  LeafAwaiter(LeafAwaiter&&) = default;
  ~LeafAwaiter() = default;

  // The frame goes away: leaves the queue, or returns the grant.
  [[gnu::always_inline]] void Dispose() noexcept {
    if (this->wait_ == Wait::kArmed || this->wait_ == Wait::kGranted)
        [[unlikely]] {
      Abandon();
    }
  }

 private:
  using Wait = typename Base::Wait;
  static constexpr bool CanArmGivingWay() {
    return requires(Derived& d) { d.ArmGivingWay(); };
  }
  Derived& derived() { return static_cast<Derived&>(*this); }

  [[gnu::noinline, gnu::cold]] void Abandon() noexcept {
    if (std::exchange(this->wait_, Wait::kDone) == Wait::kArmed) {
      derived().Unlink();
    } else {
      derived().GiveBack();
    }
  }

  void FinishWait() {
    const Wait wait = std::exchange(this->wait_, Wait::kDone);
    if (this->task_->MustCancel() || wait == Wait::kCancelled) [[unlikely]] {
      DeliverCancel(wait);
    }
  }
  // Both kinds of request are one cancellation.
  [[noreturn, gnu::noinline, gnu::cold]] void DeliverCancel(Wait wait) {
    this->task_->TakeMustCancel();
    if (wait == Wait::kGranted) derived().GiveBack();
    this->task_->ThrowCancelled();
  }
};

// The task of the coroutine that awaits this; completes at once.
class ThisTask {
 public:
  void Bind(TaskCore* task) noexcept { task_ = task; }
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  TaskCore* await_resume() const noexcept { return task_; }

 private:
  TaskCore* task_ = nullptr;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_LEAF_AWAITER_H_
