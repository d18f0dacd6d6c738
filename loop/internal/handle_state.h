// coil/loop/internal/handle_state.h
//
// What a Handle refers to: a callable with the context that it runs in, in one
// counted allocation. It is a node of the ready queue; the kinds that wait for
// a time or come from another thread add their nodes.
//
// Threads: the loop's, but for the kind that is shared with other threads: a
//   handle of CallSoonThreadSafe() may be cancelled and dropped anywhere.
// Lifetime: counted; a queue that holds it holds a count.

#ifndef COIL_LOOP_INTERNAL_HANDLE_STATE_H_
#define COIL_LOOP_INTERNAL_HANDLE_STATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/post_memory.h"
#include "coil/loop/internal/ready_queue.h"
#include "coil/loop/internal/timer_queue.h"

namespace coil::internal {

// What all kinds share: one cache line.
class HandleState : public Runnable {
 public:
  using Function = absl::AnyInvocable<void()>;

  // As it was made, with one count for the caller and one for a queue.
  void CountQueue() noexcept {
    count_.store(count_.load(std::memory_order_relaxed) + 1,
                 std::memory_order_relaxed);
  }
  void Ref() noexcept {
    const uint32_t count = count_.load(std::memory_order_relaxed);
    if (count >= kShared) {
      count_.fetch_add(1, std::memory_order_relaxed);
    } else {
      count_.store(count + 1, std::memory_order_relaxed);
    }
  }
  void Unref() noexcept {
    uint32_t left = count_.load(std::memory_order_acquire) - 1;
    if (left > kShared) {
      left = count_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    } else if (left < kShared) {
      // Two locked instructions for each callback are a good part of its price.
      count_.store(left, std::memory_order_relaxed);
    }
    // Of the last count of a shared one: nobody can add to it meanwhile.
    if (left == 0 || left == kShared) delete this;
  }

  // Once it returns true, the callable is destroyed and will never run.
  virtual bool Cancel() noexcept = 0;
  bool Cancelled() const noexcept {
    return state_.load(std::memory_order_acquire) == kCancelled;
  }
  // When it is or was due; the origin for what has no time.
  virtual LoopTime When() const noexcept { return LoopTime(); }

  void Abandon() noexcept override;
  std::string Describe() const override;
  size_t DescribeTo(char* buffer, size_t size) const noexcept override;

 protected:
  enum State : uint32_t { kPending, kRunning, kDone, kCancelled };
  // In the count of those that other threads refer to as well.
  static constexpr uint32_t kShared = uint32_t{1} << 31;

  // One count is the caller's.
  HandleState(Function&& function, std::source_location where,
              bool shared) noexcept
      : function_(std::move(function)),
        where_(where),
        count_(shared ? kShared + 1 : 1) {}
  virtual ~HandleState() = default;
  // The name of the call that made it, a literal.
  virtual const char* What() const noexcept = 0;
  // Destroys the callable and what goes with it.
  virtual void Drop() noexcept = 0;
  // Calls the callable in its context and reports what it throws to `core`.
  void Invoke(LoopCore& core);
  void ReportException(LoopCore& core) noexcept;
  void DropFunction() noexcept;

  Function function_;
  std::source_location where_;
  std::atomic<uint32_t> count_;
  std::atomic<uint32_t> state_{kPending};
};

// Of CallSoon(), and the base of what belongs to the loop's thread alone.
class LocalState : public HandleState {
 public:
  // `what` is the name of the call that made it, a literal.
  LocalState(LoopCore* core, Function&& function, const char* what,
             std::source_location where)
      : HandleState(std::move(function), where, /*shared=*/false),
        context_(CaptureContext()),
        core_(core),
        what_(what) {}

  bool Cancel() noexcept override;
  void Run() override;

 protected:
  const char* What() const noexcept override { return what_; }
  void Drop() noexcept override;

  ContextRef context_;
  LoopCore* core_;
  const char* what_;
};

// Of CallLater() and CallAt().
class TimerState final : public LocalState, public TimerNode {
 public:
  using LocalState::LocalState;
  bool Cancel() noexcept override;
  LoopTime When() const noexcept override { return TimerNode::When(); }
  // The timer's count passes to the ready queue.
  void Fire() noexcept override { core_->Schedule(this); }
  void Abandon() noexcept override { HandleState::Abandon(); }
};

// The loop whose RunForever() is on the stack of this thread, or null; in the
// child of a fork too, unlike LoopCore::Current().
inline constinit thread_local LoopCore* t_loop_around = nullptr;

// Of CallSoonThreadSafe(). One line that goes from core to core for each post:
// what the loop's thread can look up is not in it.
class PostState : public HandleState, public PostAllocated<PostState> {
 public:
  // In the context of this thread.
  static PostState* Make(Function&& function, std::source_location where);

  PostState(Function&& function, std::source_location where) noexcept
      : HandleState(std::move(function), where, /*shared=*/true) {}
  bool Cancel() noexcept override;
  void Run() override;

 protected:
  const char* What() const noexcept override { return "CallSoonThreadSafe"; }
  void Drop() noexcept override { DropFunction(); }
  // `held`, the context, is taken once the callable can be cancelled no more.
  void RunIn(ContextRef* held);
};

// The same with a context, which most programs do not have.
class PostInContext final : public PostState {
 public:
  PostInContext(Function&& function, std::source_location where,
                ContextRef context) noexcept
      : PostState(std::move(function), where), context_(std::move(context)) {}
  void Run() override { RunIn(&context_); }

  // Its memory does not go round.
  static void* operator new(size_t size) { return ::operator new(size); }
  static void operator delete(void* p) noexcept { ::operator delete(p); }

 protected:
  void Drop() noexcept override;

 private:
  ContextRef context_;
};

// A reader, a writer or a signal handler: runs whenever it is told to. It stays
// in use until it is cancelled, and is queued at most once.
class RepeatingState final : public LocalState {
 public:
  using LocalState::LocalState;
  void Trigger() noexcept;
  bool Cancel() noexcept override;
  void Run() override;
  void Abandon() noexcept override;

 private:
  bool queued_ = false;
};

// A counted pointer to a HandleState.
class HandleRef {
 public:
  HandleRef() = default;
  // Takes over a count.
  explicit HandleRef(HandleState* state) noexcept : state_(state) {}
  HandleRef(const HandleRef& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->Ref();
  }
  HandleRef(HandleRef&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)) {}
  HandleRef& operator=(HandleRef other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~HandleRef() {
    if (state_ != nullptr) state_->Unref();
  }
  HandleState* get() const noexcept { return state_; }

 private:
  HandleState* state_ = nullptr;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_HANDLE_STATE_H_
