// coil/net/internal/callback_pump.h
//
// What the transports have in common: they call the program from the loop's
// queue, never from within an event, since the program may do anything there;
// and they live until they have made their last call.
//
//   event ──> Schedule() ──> queue ──> Step(): calls the program
//
// Threads: the loop's thread only.
// Lifetime: alive by itself from Begin() to End() or the close of the loop.

#ifndef COIL_NET_INTERNAL_CALLBACK_PUMP_H_
#define COIL_NET_INTERNAL_CALLBACK_PUMP_H_

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/ready_queue.h"

namespace coil::net::internal {

class CallbackPump : private coil::internal::Runnable,
                     private coil::internal::LoopResource {
 protected:
  explicit CallbackPump(coil::internal::LoopCore& loop)
      : loop_(&loop), context_(coil::internal::CaptureContext()) {}
  ~CallbackPump() = default;

  // `self` owns this.
  void Begin(std::shared_ptr<void> self) {
    self_ = std::move(self);
    loop_->Attach(this);
    Schedule();
  }
  // Step() on the next pass.
  void Schedule() noexcept {
    if (queued_ || ended_) return;
    queued_ = true;
    loop_->Schedule(this);
  }
  // The last call was made. REQUIRES: called by Step(), once.
  void End() noexcept {
    ended_ = true;
    loop_->Detach(this);
    if (!queued_) self_.reset();
  }
  bool ended() const { return ended_; }
  bool stepping() const { return stepping_; }
  coil::internal::LoopCore& loop() const { return *loop_; }

  // Calls the program. Whatever throws but leaves the loop goes to `failed`, as
  // an exception_ptr.
  template <class F, class Failed>
  static void Call(F f, Failed failed) {
    std::exception_ptr error;
    try {
      f();
    } catch (const coil::internal::LeavesLoop&) {
      throw;
    } catch (...) {
      error = std::current_exception();
    }
    if (error != nullptr) failed(error);
  }
  void Report(const char* message, std::exception_ptr error) const noexcept {
    try {
      ExceptionContext context(message);
      context.exception = std::move(error);
      context.handle = Describe();
      context.loop = &loop_->loop();
      loop_->Report(context);
    } catch (const std::bad_alloc&) {
    }
  }

 private:
  // Does what is due.
  virtual void Step() = 0;
  // The loop closes: lets go of the program's objects, without a call.
  virtual void Drop() noexcept = 0;
  virtual std::string Name() const = 0;

  void Run() final {
    queued_ = false;
    const std::shared_ptr<void> self = self_;
    if (ended_) {
      self_.reset();
      return;
    }
    const coil::internal::ContextRef context = context_;
    coil::internal::ContextScope scope(context.get());
    stepping_ = true;
    try {
      Step();
    } catch (...) {
      stepping_ = false;
      Schedule();  // what is left to do
      throw;
    }
    stepping_ = false;
  }
  void Abandon() noexcept final {
    queued_ = false;
    const std::shared_ptr<void> self = std::move(self_);
  }
  std::string Describe() const final { return Name(); }
  void OnLoopClose() noexcept final {
    ended_ = true;
    Drop();
    if (queued_) return;  // until Abandon()
    const std::shared_ptr<void> self = std::move(self_);
  }

  coil::internal::LoopCore* const loop_;
  coil::internal::ContextRef context_;
  std::shared_ptr<void> self_;
  bool queued_ = false;
  bool ended_ = false;
  bool stepping_ = false;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_CALLBACK_PUMP_H_
