#include "coil/timers/timeout.h"

#include <stdexcept>

namespace coil {

Co<TimeoutScope&> Timeout::AEnter() {
  internal::TaskCore* task = co_await internal::ThisTask();
  if (deadline_.state() != internal::Deadline::State::kCreated) {
    throw std::runtime_error(
        "Timeout: it has been entered already; make one for each With()");
  }
  task_ = internal::RefPtr<internal::TaskCore>::Share(task);
  deadline_.Bind(task);
  deadline_.Enter();
  co_return scope_;
}

Co<void> Timeout::AExit(std::exception_ptr error) {
  const bool timed_out = deadline_.Exit();
  task_ = internal::RefPtr<internal::TaskCore>();
  if (timed_out && error != nullptr && internal::IsCancelledError(error)) {
    throw TimeoutError();
  }
  co_return;
}

}  // namespace coil
