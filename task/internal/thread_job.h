// coil/task/internal/thread_job.h
//
// A job on a thread pool that a task is suspended in, and its way back to the
// loop. The function, its captures and its result lie in the frame of the task;
// only the node that travels is allocated, because it may outlive the frame: in
// the pool's queue, on the thread, or in the loop's inbox.
//
//   loop's thread         pool's thread
//   Submit ─────────────> Run: call the function, result into the frame
//                         state = kLetGo (release), wake who waits for it
//   Deliver <──────────── Post
//   grant the awaiter
//
// After kLetGo the thread touches nothing of the frame. A frame that is
// destroyed takes the job back, or waits for kLetGo; then it detaches, and
// Deliver() finds nobody.
//
// Threads: ThreadJob: as said at each member; ThreadAwaiter: the loop's.
// Lifetime: ThreadJob is counted: one for the awaiter, one for whoever has it.

#ifndef COIL_TASK_INTERNAL_THREAD_JOB_H_
#define COIL_TASK_INTERNAL_THREAD_JOB_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"

namespace coil::internal {

class ThreadJob;

// The part of the awaiter that the job knows.
class ThreadCaller {
 public:
  // On the pool's thread.
  virtual void Call() noexcept = 0;
  // On the loop's thread, once the job is back.
  virtual void OnBack(bool abandoned) noexcept = 0;

 protected:
  ~ThreadCaller() = default;
};

class ThreadJob final : public ThreadPool::Job, public PoolAllocated {
 public:
  ThreadJob(ThreadCaller* caller, LoopCore& loop, ContextRef context)
      : caller_(caller),
        remote_(loop.remote()),
        context_(std::move(context)),
        back_(this) {}

  // --- the loop's thread ---
  // Throws what ThreadPool::Submit() throws.
  void Submit(ThreadPool& pool);
  // True if the job was taken back before it started: it never runs.
  bool TakeBack(ThreadPool& pool) noexcept;
  // Waits until the thread has let go of the frame. REQUIRES: TakeBack()
  // failed.
  void WaitUntilLetGo() noexcept;
  // The awaiter needs no more of it.
  void Detach() noexcept;

  // --- the pool's thread, or that of ThreadPool::ShutdownNow() ---
  void Run() noexcept override;
  void Abandon() noexcept override;

 private:
  class Back final : public PostNode {
   public:
    explicit Back(ThreadJob* job) noexcept : job_(job) {}
    void Deliver(ReadyQueue&) noexcept override { job_->OnDelivered(); }
    void Abandon() noexcept override { job_->Unref(); }

   private:
    ThreadJob* job_;
  };

  ~ThreadJob() = default;
  void LetGo() noexcept;
  void OnDelivered() noexcept;
  void Unref() noexcept;

  ThreadCaller* caller_;  // cleared on the loop's thread, after kLetGo
  std::shared_ptr<LoopRemote> remote_;
  ContextRef context_;
  Back back_;
  bool abandoned_ = false;
  const uint32_t fork_generation_ = ForkGeneration();
  std::atomic<uint32_t> let_go_{0};
  std::atomic<uint32_t> references_{1};
};

// The part of the awaiter that does not depend on its result.
class ThreadAwaiterBase : public ThreadCaller {
 protected:
  ThreadAwaiterBase(ThreadPool* pool, bool with_context) noexcept
      : pool_(pool), with_context_(with_context) {}
  ThreadAwaiterBase(ThreadAwaiterBase&& other) noexcept
      : ThreadCaller(),
        pool_(other.pool_),
        with_context_(other.with_context_) {}
  ~ThreadAwaiterBase() = default;

  // Makes the job. Throws std::runtime_error if there is no default executor.
  void Prepare(LoopCore& loop);
  // Null, or why the pool refused the job.
  std::exception_ptr Submit(LoopCore& loop) noexcept;
  // The job is back, or will be of no use: the clock may move on.
  void Back(LoopCore& loop) noexcept;
  // For a cancel: true if the job was taken back.
  bool TryTakeBack(LoopCore& loop) noexcept;
  // The frame goes away.
  void Abort(LoopCore& loop) noexcept;
  // Lets go of the job.
  void Drop() noexcept;
  static std::exception_ptr AbandonedError();
  void Describe(std::string* out) const;

 private:
  ThreadPool* pool_;
  ThreadJob* job_ = nullptr;
  bool with_context_;
};

// Awaits `call()` on a thread; refers to `call`, which lies in the same frame.
template <class R, class F>
class ThreadAwaiter final : public LeafAwaiter<ThreadAwaiter<R, F>>,
                            private ThreadAwaiterBase {
 public:
  ThreadAwaiter(ThreadPool* pool, bool with_context, F& call) noexcept
      : ThreadAwaiterBase(pool, with_context), call_(call) {}
  ThreadAwaiter(ThreadAwaiter&&) = default;
  ~ThreadAwaiter() {
    this->Dispose();
    Drop();
  }

  void Validate() { Prepare(this->task_->loop()); }
  bool Ready() noexcept { return false; }
  void Arm() noexcept {
    std::exception_ptr refused = Submit(this->task_->loop());
    if (refused == nullptr) return;
    result_.SetError(std::move(refused));
    this->GrantNextTurn();
  }
  // The frame goes away with the job out.
  void Unlink() noexcept { Abort(this->task_->loop()); }
  void GiveBack() noexcept {}
  R Take() { return result_.Take(); }
  ResultSlot<R> TakeResult() { return std::move(result_); }

  bool OnCancel() noexcept override {
    if (TryTakeBack(this->task_->loop())) {
      this->wait_ = LeafBase::Wait::kCancelled;
      return true;
    }
    // The thread uses the frame: the task goes on when it has let go.
    this->task_->RequestMustCancel();
    return false;
  }
  void DescribeWait(std::string* out) const override { Describe(out); }

 private:
  void Call() noexcept override {
    try {
      if constexpr (std::is_void_v<R>) {
        call_();
        result_.SetValue();
      } else {
        result_.SetValue(call_());
      }
    } catch (...) {
      result_.SetError(std::current_exception());
    }
  }
  void OnBack(bool abandoned) noexcept override {
    Back(this->task_->loop());
    if (abandoned) result_.SetError(AbandonedError());
    this->Grant();
  }

  F& call_;
  ResultSlot<R> result_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_THREAD_JOB_H_
