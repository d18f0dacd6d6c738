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

class HandleState : public Runnable {
 public:
  using Function = absl::AnyInvocable<void()>;

  // `what` is the name of the call that made it, a literal. One count is the
  // caller's.
  HandleState(LoopCore* core, Function function, const char* what,
              std::source_location where, bool shared = false)
      : function_(std::move(function)),
        context_(CaptureContext()),
        core_(core),
        what_(what),
        where_(where),
        shared_(shared) {}

  // As it was made, with one count for the caller and one for a queue.
  void CountQueue() noexcept { count_.store(2, std::memory_order_relaxed); }
  void Ref() noexcept {
    if (shared_) {
      count_.fetch_add(1, std::memory_order_relaxed);
    } else {
      count_.store(count_.load(std::memory_order_relaxed) + 1,
                   std::memory_order_relaxed);
    }
  }
  void Unref() noexcept {
    uint32_t left = 0;
    if (shared_) {
      // Nobody can add to the last one meanwhile.
      if (count_.load(std::memory_order_acquire) != 1) {
        left = count_.fetch_sub(1, std::memory_order_acq_rel) - 1;
      }
    } else {
      // Two locked instructions for each callback are a good part of its price.
      left = count_.load(std::memory_order_relaxed) - 1;
      count_.store(left, std::memory_order_relaxed);
    }
    if (left == 0) delete this;
  }

  // Once it returns true, the callable is destroyed and will never run.
  virtual bool Cancel() noexcept;
  bool Cancelled() const noexcept {
    return state_.load(std::memory_order_acquire) == kCancelled;
  }
  // When it is or was due; the origin for what has no time.
  virtual LoopTime When() const noexcept { return LoopTime(); }

  void Run() override;
  void Abandon() noexcept override;
  std::string Describe() const override;
  size_t DescribeTo(char* buffer, size_t size) const noexcept override;

 protected:
  enum State : uint32_t { kPending, kRunning, kDone, kCancelled };

  virtual ~HandleState() = default;
  void Drop() noexcept;
  // Calls the callable in its context and reports what it throws.
  void Invoke();
  void ReportException() noexcept;

  Function function_;
  ContextRef context_;
  LoopCore* core_;
  const char* what_;
  std::source_location where_;
  std::atomic<uint32_t> count_{1};
  std::atomic<uint32_t> state_{kPending};
  const bool shared_;  // with other threads
};

// Of CallLater() and CallAt().
class TimerState final : public HandleState, public TimerNode {
 public:
  using HandleState::HandleState;
  bool Cancel() noexcept override;
  LoopTime When() const noexcept override { return TimerNode::When(); }
  // The timer's count passes to the ready queue.
  void Fire() noexcept override { core_->Schedule(this); }
  void Abandon() noexcept override { HandleState::Abandon(); }
};

// Of CallSoonThreadSafe().
class PostState final : public HandleState,
                        public PostNode,
                        public PostAllocated<PostState> {
 public:
  PostState(LoopCore* core, Function function, const char* what,
            std::source_location where)
      : HandleState(core, std::move(function), what, where, true) {}
  bool Cancel() noexcept override;
  void Run() override;
  void Deliver() noexcept override { core_->Schedule(this); }
  void Abandon() noexcept override { HandleState::Abandon(); }
};

// A reader, a writer or a signal handler: runs whenever it is told to. It stays
// in use until it is cancelled, and is queued at most once.
class RepeatingState final : public HandleState {
 public:
  using HandleState::HandleState;
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
