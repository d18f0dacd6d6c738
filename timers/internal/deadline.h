// coil/timers/internal/deadline.h
//
// Deadline is the machine behind every timeout: it cancels the task that
// entered it when its time has come, and tells on the way out whether the
// cancellation was its own.
//
//   kCreated ──Enter──> kEntered ──Fire──> kExpiring ──Exit──> kExpired
//                          └──────────────Exit───────────────> kExited
//
// Bookkeeping as in CPython: the count of cancel requests at entry is kept, and
// a cancellation is the deadline's own only if, its own request taken back, no
// more than those are left. So a cancel from outside wins, and of two deadlines
// that pass together only the outer one turns it into TimeoutError.
//
// Threads: the loop's thread only.
// Lifetime: the timer lies in the frame of the await. A Deadline that is
//   destroyed while entered disarms itself.

#ifndef COIL_TIMERS_INTERNAL_DEADLINE_H_
#define COIL_TIMERS_INTERNAL_DEADLINE_H_

#include <cstdint>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/task/internal/task_core.h"
#include "coil/timers/sleep.h"

namespace coil::internal {

class Deadline;

// The deadlines that were entered in the step that runs in this thread, and are
// not armed yet. Most operations complete without waiting, and then their limit
// never needs a timer: only when the step ends, and the task waits, are they
// armed, in the order of entry.
class EnteredDeadlines final : public StepObserver {
 public:
  constexpr EnteredDeadlines() = default;
  void Add(Deadline* deadline) noexcept;
  // True if it was the latest one, and is gone.
  bool Remove(Deadline* deadline) noexcept;
  // Arms what there is, and ends.
  void ArmAll() noexcept;

 private:
  void OnResume(TaskCore& task) override;
  void OnStep(TaskCore& task) override;

  Deadline* latest_ = nullptr;
  StepObserver* observer_ = nullptr;  // whoever else sees the end of steps
};

inline constinit thread_local EnteredDeadlines t_entered_deadlines;

// When a deadline is: `time` nanoseconds after the entry, or, absolute, at that
// point of the loop's clock. The largest number stands for no deadline.
struct DeadlineSpec {
  static DeadlineSpec After(absl::Duration delay) {
    return {DelayNanoseconds(delay), false};
  }
  static DeadlineSpec At(LoopTime when) { return {when.Nanoseconds(), true}; }

  int64_t time;
  bool absolute;
};

class Deadline final : private TimerNode {
 public:
  enum class State : uint8_t {
    kCreated,
    kEntered,
    kExpiring,  // it has cancelled the task, which has not left yet
    kExpired,
    kExited,
  };

  explicit Deadline(DeadlineSpec spec) noexcept
      : absolute_(spec.absolute), time_(spec.time) {}
  // REQUIRES: not entered. It may be bound: g++ 12 moves an awaiter that
  // await_transform() has returned by reference into the frame.
  Deadline(Deadline&& other) noexcept
      : TimerNode(),
        absolute_(other.absolute_),
        time_(other.time_),
        task_(other.task_) {}
  Deadline& operator=(Deadline&&) = delete;
  ~Deadline() {
    if (watching_) [[unlikely]]
      Unwatch();
  }

  // The task that will enter.
  void Bind(TaskCore* task) noexcept { task_ = task; }
  // From now on the task is cancelled when the time has come. REQUIRES:
  // kCreated, and bound.
  void Enter() noexcept {
    state_ = State::kEntered;
    cancelling_ = task_->Cancelling();
    pending_ = task_->MustCancel();
    if (time_ == LoopTime::InfiniteFuture().Nanoseconds()) return;
    // It counts from now, also if the timer is armed later.
    if (!absolute_) {
      time_ = AfterNanoseconds(task_->loop().RecentNow(), time_ > 0 ? time_ : 0)
                  .Nanoseconds();
    }
    watching_ = true;
    t_entered_deadlines.Add(this);
  }

  // Leaves. True if the task was cancelled on behalf of this deadline and of
  // nobody else: a CancelledError then becomes TimeoutError.
  bool Exit() noexcept {
    if (watching_) {
      if (!t_entered_deadlines.Remove(this)) [[unlikely]]
        Unwatch();
      watching_ = false;
    }
    if (state_ == State::kExpiring) [[unlikely]]
      return ExitExpired();
    state_ = State::kExited;
    return false;
  }

  // Throws std::runtime_error unless it is entered and has not passed.
  void Reschedule(LoopTime when);

  LoopTime When() const noexcept { return LoopTime::FromNanoseconds(time_); }
  bool Expired() const noexcept {
    return state_ == State::kExpiring || state_ == State::kExpired;
  }
  State state() const noexcept { return state_; }

 private:
  friend class EnteredDeadlines;

  void Fire() noexcept override;
  void Abandon() noexcept override { watching_ = false; }
  bool ExitExpired() noexcept;
  void Arm() noexcept;
  void Unwatch() noexcept;

  State state_ = State::kCreated;
  bool absolute_;
  bool watching_ = false;   // there is a timer, or it waits for one
  bool pending_ = false;    // a cancel was waiting to be delivered at entry
  int32_t cancelling_ = 0;  // requests at entry
  int64_t time_;            // the delay, until it is entered; then the time
  TaskCore* task_ = nullptr;
  Deadline* earlier_ = nullptr;  // in EnteredDeadlines
};

inline void EnteredDeadlines::Add(Deadline* deadline) noexcept {
  if (latest_ == nullptr) {
    observer_ = t_step_observer;
    t_step_observer = this;
  }
  deadline->earlier_ = latest_;
  latest_ = deadline;
}

inline bool EnteredDeadlines::Remove(Deadline* deadline) noexcept {
  if (latest_ != deadline) return false;
  latest_ = deadline->earlier_;
  if (latest_ == nullptr) t_step_observer = observer_;
  return true;
}

}  // namespace coil::internal

#endif  // COIL_TIMERS_INTERNAL_DEADLINE_H_
