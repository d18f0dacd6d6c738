#include "coil/task/testing_time.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"

namespace coil {
namespace {

constexpr int kMostTurns = 100000;

void RequireVirtualClock(const char* what) {
  internal::LoopCore& loop = internal::RequireLoop(what);
  // A clock that can skip to where it is can skip anywhere.
  if (loop.clock().SkipTo(loop.clock().Now())) return;
  throw std::runtime_error(
      absl::StrCat(what, ": needs a virtual clock (RunOptions::simulation)"));
}

// One turn of the loop. timers/sleep.h is above this package.
class Turn final : public internal::LeafAwaiter<Turn> {
 public:
  Turn() = default;
  bool Ready() noexcept { return false; }
  void Arm() noexcept { GrantNextTurn(); }
  void Unlink() noexcept {}
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void DescribeWait(std::string* out) const override {
    out->append("a turn of the loop");
  }
};

// Until a point in time.
class Until final : public internal::LeafAwaiter<Until>,
                    private internal::TimerNode {
 public:
  explicit Until(LoopTime when) : when_(when) {}
  Until(Until&& other) noexcept
      : LeafAwaiter(std::move(other)), TimerNode(), when_(other.when_) {}
  ~Until() { Dispose(); }
  bool Ready() noexcept { return false; }
  void Arm() noexcept { task_->loop().Arm(this, when_); }
  void Unlink() noexcept { task_->loop().Disarm(this); }
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "virtual time to pass by ",
                    absl::FormatDuration(when_ - task_->loop().Now()));
  }

 private:
  void Fire() noexcept override { Grant(); }

  LoopTime when_;
};

}  // namespace

Co<void> RunUntilIdle() {
  internal::LoopCore* loop = &internal::RequireLoop("RunUntilIdle");
  int turns = 0;
  // At least one turn: a timer may be due that has not fired.
  do {
    if (++turns > kMostTurns) {
      throw std::runtime_error(absl::StrCat(
          "RunUntilIdle: the tasks did not come to rest within ", kMostTurns,
          " turns: one of them polls, or two are in RunUntilIdle()"));
    }
    co_await Turn();
  } while (loop->HasReady());
}

Co<void> AdvanceBy(absl::Duration duration) {
  RequireVirtualClock("AdvanceBy");
  if (duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    throw std::invalid_argument(absl::StrCat("AdvanceBy: time cannot pass by ",
                                             absl::FormatDuration(duration)));
  }
  co_await Until(EventLoop::Current().Now() + duration);
  co_await RunUntilIdle();
}

Co<void> AdvanceTo(LoopTime when) {
  RequireVirtualClock("AdvanceTo");
  if (when == LoopTime::InfiniteFuture()) {
    throw std::invalid_argument("AdvanceTo: the infinite future never comes");
  }
  co_await Until(when);
  co_await RunUntilIdle();
}

Co<Sequencer::Step> Sequencer::At(int n) {
  if (n < next_ || (n == next_ && held_) || waiting_.contains(n)) {
    throw std::invalid_argument(
        absl::StrCat("Sequencer: step ", n, " was used before"));
  }
  if (n == next_) {
    held_ = true;
    co_return Step(this);
  }
  Future<void> turn;
  waiting_.emplace(n, turn);
  std::exception_ptr cancelled;
  try {
    co_await turn;
  } catch (...) {
    cancelled = std::current_exception();
  }
  if (cancelled != nullptr) {
    // Its turn had come already: it goes on to the next.
    if (held_ && next_ == n) Leave();
    std::rethrow_exception(cancelled);
  }
  co_return Step(this);
}

void Sequencer::Leave() {
  held_ = false;
  ++next_;
  const auto at = waiting_.find(next_);
  if (at == waiting_.end()) return;
  Future<void> turn = at->second;
  waiting_.erase(at);
  // A step whose task was cancelled while it waited is left at once.
  if (turn.Done()) return Leave();
  held_ = true;
  turn.SetResult();
}

}  // namespace coil
