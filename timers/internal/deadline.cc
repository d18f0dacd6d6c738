#include "coil/timers/internal/deadline.h"

#include <stdexcept>

namespace coil::internal {

void EnteredDeadlines::OnResume(TaskCore& task) {
  if (observer_ != nullptr) observer_->OnResume(task);
}

void EnteredDeadlines::OnStep(TaskCore& task) {
  StepObserver* const observer = observer_;
  ArmAll();
  if (observer != nullptr) observer->OnStep(task);
}

void EnteredDeadlines::ArmAll() noexcept {
  Deadline* reversed = nullptr;
  while (latest_ != nullptr) {
    Deadline* deadline = latest_;
    latest_ = deadline->earlier_;
    deadline->earlier_ = reversed;
    reversed = deadline;
  }
  if (reversed == nullptr) return;
  t_step_observer = observer_;
  while (reversed != nullptr) {
    Deadline* deadline = reversed;
    reversed = deadline->earlier_;
    deadline->Arm();
  }
}

// What has passed already is due on the next turn, in the order of entry.
void Deadline::Arm() noexcept {
  const LoopTime when = When();
  LoopCore& loop = task_->loop();
  const LoopTime now = loop.Now();
  loop.Arm(this, when < now ? now : when);
}

// It is not the latest one that was entered in this step, or it is armed.
void Deadline::Unwatch() noexcept {
  watching_ = false;
  if (t_entered_deadlines.Remove(this)) return;
  if (!Armed()) t_entered_deadlines.ArmAll();
  if (Armed()) task_->loop().Disarm(this);
}

void Deadline::Fire() noexcept {
  watching_ = false;
  state_ = State::kExpiring;
  task_->Cancel("");
}

bool Deadline::ExitExpired() noexcept {
  state_ = State::kExpired;
  if (task_->Uncancel() > cancelling_) return false;
  // Nobody else wants the task cancelled. If the request came too late to be
  // delivered (the body had given way to others and then ended without another
  // await that blocks), it must not hit whatever is awaited next.
  if (!pending_) task_->TakeMustCancel();
  return true;
}

void Deadline::Reschedule(LoopTime when) {
  switch (state_) {
    case State::kCreated:
      throw std::runtime_error(
          "Reschedule: the timeout has not been entered yet");
    case State::kExpiring:
      throw std::runtime_error(
          "Reschedule: the timeout is expiring, it has cancelled its task");
    case State::kExpired:
      throw std::runtime_error("Reschedule: the timeout has expired");
    case State::kExited:
      throw std::runtime_error("Reschedule: the timeout is over, it was left");
    case State::kEntered:
      break;
  }
  // Those that were entered earlier in this step stay before it.
  t_entered_deadlines.ArmAll();
  if (watching_) Unwatch();
  time_ = when.Nanoseconds();
  if (when == LoopTime::InfiniteFuture()) return;
  watching_ = true;
  Arm();
}

}  // namespace coil::internal
