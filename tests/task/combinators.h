// What the tests of the combinators share: a virtual clock, coroutines that
// behave in some way, and a record of the errors that nobody has received.

#ifndef COIL_TESTS_TASK_COMBINATORS_H_
#define COIL_TESTS_TASK_COMBINATORS_H_

#include <stdexcept>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

namespace coil {

inline const SimulationOptions kSimulation;
inline const RunOptions kVirtual = {.simulation = &kSimulation};

inline Co<int> After(int seconds, int value) {
  co_await Sleep(absl::Seconds(seconds));
  co_return value;
}

inline Co<void> Pause(int seconds) { co_await Sleep(absl::Seconds(seconds)); }

inline Co<int> FailAfter(int seconds, std::string what) {
  co_await Sleep(absl::Seconds(seconds));
  throw std::runtime_error(what);
}

// Runs for an hour; counts how often it is cancelled, and needs `cleanup`
// seconds after the first time.
inline Co<int> CleansUp(int cleanup, int* cancels) {
  bool cancelled = false;
  try {
    co_await Sleep(absl::Hours(1));
  } catch (const CancelledError&) {
    cancelled = true;
  }
  if (cancelled) {
    ++*cancels;
    bool again = false;
    try {
      co_await Sleep(absl::Seconds(cleanup));
    } catch (const CancelledError&) {
      again = true;
    }
    if (again) ++*cancels;
    throw CancelledError("cleaned up");
  }
  co_return 0;
}

// Swallows the first cancel, goes on for `seconds`, and returns `value`.
inline Co<int> Refuses(int seconds, int value) {
  try {
    co_await Sleep(absl::Hours(1));
  } catch (const CancelledError&) {
  }
  co_await Sleep(absl::Seconds(seconds));
  co_return value;
}

inline double SecondsSince(LoopTime start) {
  return absl::ToDoubleSeconds(EventLoop::Current().Now() - start);
}

// Takes the reports of the running loop for as long as it lives.
class Reports {
 public:
  Reports() {
    EventLoop::Current().SetExceptionHandler(
        [this](const ExceptionContext& context) {
          std::string text = context.message;
          if (context.exception != nullptr) {
            text += ": " + DescribeException(context.exception);
          }
          texts.push_back(text);
        });
  }
  Reports(const Reports&) = delete;
  Reports& operator=(const Reports&) = delete;
  ~Reports() { EventLoop::Current().SetExceptionHandler(nullptr); }

  std::vector<std::string> texts;
};

// The text of the error of `outcome`; "" if there is none.
template <class T>
std::string TextOf(const Outcome<T>& outcome) {
  if (outcome.Ok()) return "";
  return DescribeException(outcome.Exception());
}

}  // namespace coil

#endif  // COIL_TESTS_TASK_COMBINATORS_H_
