#include "coil/task/internal/foreign_awaiter.h"

#include <atomic>
#include <exception>
#include <memory>
#include <utility>

#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"

namespace coil::internal {

// The coroutine that stands in for a task in front of a foreign awaiter. Its
// frame has two owners: the awaiter, and whoever resumes it. On another thread
// that one is still inside the coroutine when the task goes on.
class ForeignResume::promise_type {
 public:
  // True for the later of the two: it destroys the frame. The other one may not
  // touch it any more.
  bool Leave() noexcept {
    return one_has_left_.exchange(true, std::memory_order_acq_rel);
  }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    COIL_AWAIT_SUSPEND void await_suspend(
        std::coroutine_handle<promise_type> self) const noexcept {
      if (self.promise().Leave()) self.destroy();
    }
    void await_resume() const noexcept {}
  };

  ForeignResume get_return_object() noexcept {
    return ForeignResume(
        std::coroutine_handle<promise_type>::from_promise(*this));
  }
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void return_void() noexcept {}
  void unhandled_exception() noexcept { std::terminate(); }

 private:
  std::atomic<bool> one_has_left_{false};
};

namespace {

// Carries the wake-up to the loop's thread if the awaiter resumes on another
// one.
class ForeignPost final : public PostNode {
 public:
  explicit ForeignPost(TaskCore* task) : task_(task) {}
  void Deliver(ReadyQueue&) noexcept override {
    task_->Wake();
    delete this;
  }
  void Abandon() noexcept override { delete this; }

 private:
  TaskCore* task_;
};

// The loop is known by its remote half, which lives as long as this does: once
// the loop is closed, and the task gone, nothing happens any more.
ForeignResume WakeTask(TaskCore* task, std::shared_ptr<LoopRemote> remote,
                       std::unique_ptr<ForeignPost> post) {
  LoopCore* const here = LoopCore::Current();
  if (here != nullptr && here->remote() == remote) {
    task->Wake();
  } else if (remote->Post(post.get())) {
    post.release();
  }
  co_return;
}

}  // namespace

ForeignResume ForeignResume::Make(TaskCore* task) {
  return WakeTask(task, task->loop().remote(),
                  std::make_unique<ForeignPost>(task));
}

std::coroutine_handle<> ForeignResume::handle() const { return handle_; }

void ForeignResume::Discard() noexcept {
  std::exchange(handle_, nullptr).destroy();
}

ForeignResume::~ForeignResume() {
  if (handle_ && handle_.promise().Leave()) handle_.destroy();
}

}  // namespace coil::internal
