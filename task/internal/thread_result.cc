#include "coil/task/internal/thread_result.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "coil/loop/event_loop.h"
#include "coil/task/errors.h"

namespace coil::internal {
namespace {

constexpr char kLoopClosed[] =
    "RunCoroutineThreadSafe: the event loop is closed; it has to run until the "
    "coroutine is done";

// Carries a cancel to the loop of the task.
class CancelPost final : public PostNode {
 public:
  explicit CancelPost(std::shared_ptr<ThreadResultBase> result)
      : result_(std::move(result)) {}
  void Deliver(ReadyQueue&) noexcept override {
    std::unique_ptr<CancelPost> self(this);
    result_->CancelTask();
  }
  void Abandon() noexcept override { delete this; }

 private:
  std::shared_ptr<ThreadResultBase> result_;
};

}  // namespace

void ThrowEmptyThreadFuture() {
  throw std::runtime_error(
      "ThreadFuture: it is empty (default-constructed or moved from)");
}

std::exception_ptr LoopClosedError() {
  return std::make_exception_ptr(std::runtime_error(kLoopClosed));
}

void ThrowLoopClosed() { throw std::runtime_error(kLoopClosed); }

void ReportStartFailed(LoopCore& loop,
                       const std::exception_ptr& error) noexcept {
  ExceptionContext context(
      "RunCoroutineThreadSafe: the task could not be started");
  context.exception = error;
  loop.Report(context);
}

// -------------------------------------------------------------- ThreadWaiter

void ThreadWaiter::Send(std::shared_ptr<ThreadWaiter> self) noexcept {
  self_ = std::move(self);
  // With the post, this and the loop may be gone.
  const std::shared_ptr<LoopRemote> remote = remote_;
  // A closed loop has nobody who waits.
  if (!remote->Post(this)) std::shared_ptr<ThreadWaiter>(std::move(self_));
}

void ThreadWaiter::Deliver(ReadyQueue&) noexcept {
  std::shared_ptr<ThreadWaiter> self = std::move(self_);
  if (awaiter_ != nullptr) notify_(awaiter_);
}

// ---------------------------------------------------------- ThreadResultBase

bool ThreadResultBase::Done() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return done_;
}

bool ThreadResultBase::Cancel() {
  if (Done()) return false;
  auto post = std::make_unique<CancelPost>(shared_from_this());
  if (!remote_->Post(post.get())) return false;
  static_cast<void>(post.release());
  return true;
}

void ThreadResultBase::Wait(absl::Duration timeout) const {
  std::unique_lock<std::mutex> lock(mutex_);
  if (done_) return;
  if (LoopCore::Current() == loop_) {
    throw std::runtime_error(
        "ThreadFuture::Get: called in the thread of the loop that has to make "
        "the "
        "result, which would wait for ever; co_await it");
  }
  auto done = [this] { return done_; };
  // The clock of the system ends in 292 years.
  if (timeout > absl::Hours(24 * 365)) {
    done_cv_.wait(lock, done);
  } else if (!done_cv_.wait_until(lock,
                                  std::chrono::steady_clock::now() +
                                      absl::ToChronoNanoseconds(timeout),
                                  done)) {
    throw TimeoutError("ThreadFuture::Get: no result within " +
                       absl::FormatDuration(timeout));
  }
}

bool ThreadResultBase::AddWaiter(const std::shared_ptr<ThreadWaiter>& waiter) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (done_) return false;
  waiters_.push_back(waiter);
  return true;
}

void ThreadResultBase::RemoveWaiter(
    const std::shared_ptr<ThreadWaiter>& waiter) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  auto at = std::find(waiters_.begin(), waiters_.end(), waiter);
  if (at != waiters_.end()) waiters_.erase(at);
}

void ThreadResultBase::Watch(FutureCore& task) noexcept {
  self_ = shared_from_this();
  task_ = RefPtr<FutureCore>::Share(&task);
  task.AddDone(this);
  loop_->Attach(this);
}

void ThreadResultBase::CancelTask() noexcept {
  if (task_) task_->Cancel("");
}

void ThreadResultBase::Fail(std::exception_ptr error) noexcept {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    StoreError(std::move(error));
  }
  Finish();
}

void ThreadResultBase::OnDone(FutureCore& task) noexcept {
  // The last reference may be this one.
  std::shared_ptr<ThreadResultBase> self = std::move(self_);
  loop_->Detach(this);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Store(task);
  }
  Finish();
  task_ = RefPtr<FutureCore>();
}

// The task will be destroyed, but that may have to wait for the very thread
// that waits here.
void ThreadResultBase::OnLoopClosing() noexcept {
  std::shared_ptr<ThreadResultBase> self = std::move(self_);
  loop_->Detach(this);
  task_->RemoveDone(this);
  Fail(LoopClosedError());
  task_ = RefPtr<FutureCore>();
}

void ThreadResultBase::Finish() noexcept {
  std::vector<std::shared_ptr<ThreadWaiter>> waiters;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    waiters.swap(waiters_);
    done_cv_.notify_all();
  }
  for (std::shared_ptr<ThreadWaiter>& waiter : waiters) {
    ThreadWaiter& w = *waiter;
    w.Send(std::move(waiter));
  }
}

}  // namespace coil::internal
