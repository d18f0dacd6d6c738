#include "coil/task/internal/thread_job.h"

#include <stdexcept>

#include "coil/loop/event_loop.h"

namespace coil::internal {

// ----------------------------------------------------------------- ThreadJob

void ThreadJob::Submit(ThreadPool& pool) {
  references_.store(2, std::memory_order_relaxed);
  try {
    pool.Submit(*this);
  } catch (...) {
    references_.store(1, std::memory_order_relaxed);
    throw;
  }
}

bool ThreadJob::TakeBack(ThreadPool& pool) noexcept {
  if (!pool.TryRemove(*this)) return false;
  Unref();  // the pool's
  return true;
}

void ThreadJob::WaitUntilLetGo() noexcept {
  while (let_go_.load(std::memory_order_acquire) == 0) {
    // The thread is not in this forked child: its count is left to us.
    if (fork_generation_ != ForkGeneration()) return Unref();
    let_go_.wait(0, std::memory_order_acquire);
  }
}

void ThreadJob::Detach() noexcept {
  caller_ = nullptr;
  Unref();
}

void ThreadJob::Run() noexcept {
  {
    ContextScope scope(context_.get());
    caller_->Call();
  }
  LetGo();
}

void ThreadJob::Abandon() noexcept {
  abandoned_ = true;
  LetGo();
}

void ThreadJob::LetGo() noexcept {
  // From the store on, the frame may be gone, and the awaiter's reference with
  // it. With the post, so may this and the loop.
  const std::shared_ptr<LoopRemote> remote = std::move(remote_);
  let_go_.store(1, std::memory_order_release);
  let_go_.notify_all();
  if (!remote->Post(&back_)) Unref();
}

void ThreadJob::OnDelivered() noexcept {
  if (ThreadCaller* caller = caller_) caller->OnBack(abandoned_);
  Unref();
}

void ThreadJob::Unref() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// --------------------------------------------------------- ThreadAwaiterBase

void ThreadAwaiterBase::Prepare(LoopCore& loop) {
  if (pool_ == nullptr) pool_ = &loop.loop().DefaultExecutor();
  job_ = new ThreadJob(this, loop,
                       with_context_ ? CaptureContext() : ContextRef());
}

std::exception_ptr ThreadAwaiterBase::Submit(LoopCore& loop) noexcept {
  try {
    job_->Submit(*pool_);
  } catch (...) {
    return std::current_exception();
  }
  loop.BeginExternal();
  return nullptr;
}

void ThreadAwaiterBase::Back(LoopCore& loop) noexcept {
  loop.EndExternal();
  Drop();
}

bool ThreadAwaiterBase::TryTakeBack(LoopCore& loop) noexcept {
  if (!job_->TakeBack(*pool_)) return false;
  Back(loop);
  return true;
}

void ThreadAwaiterBase::Abort(LoopCore& loop) noexcept {
  if (TryTakeBack(loop)) return;
  job_->WaitUntilLetGo();
  Back(loop);
}

void ThreadAwaiterBase::Drop() noexcept {
  if (job_ != nullptr) std::exchange(job_, nullptr)->Detach();
}

std::exception_ptr ThreadAwaiterBase::AbandonedError() {
  return std::make_exception_ptr(std::runtime_error(
      "RunInExecutor: the ThreadPool was shut down before the job started"));
}

void ThreadAwaiterBase::Describe(std::string* out) const {
  out->append("a job on a thread of a pool");
}

}  // namespace coil::internal
