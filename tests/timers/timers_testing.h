// tests/timers/timers_testing.h
//
// What the tests of timers share: the virtual time, how a task ended, and
// clocks that misbehave.

#ifndef COIL_TESTS_TIMERS_TIMERS_TESTING_H_
#define COIL_TESTS_TIMERS_TIMERS_TESTING_H_

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/loop_time.h"
#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/run.h"
#include "coil/task/task.h"

namespace coil::timers_testing {

inline const SimulationOptions kSimulation;
inline const RunOptions kVirtual = {.simulation = &kSimulation};

// Runs a coroutine function under a virtual clock, in FIFO order.
template <class F>
auto RunVirtually(F main) {
  return coil::Run(std::move(main), kVirtual);
}

inline LoopTime Now() { return EventLoop::Current().Now(); }

// How long it is since it was made.
class Stopwatch {
 public:
  Stopwatch() : start_(Now()) {}
  absl::Duration Elapsed() const { return Now() - start_; }

 private:
  LoopTime start_;
};

// How many timers are armed on this loop.
inline size_t ArmedTimers() {
  return internal::CoreOf(EventLoop::Current()).TimerCount();
}

// Time passes while no task can run: a computation that blocks the loop, or a
// process that was stopped.
inline void Stall(absl::Duration duration) {
  Clock& clock = internal::CoreOf(EventLoop::Current()).clock();
  static_cast<VirtualClock&>(clock).AdvanceTo(clock.Now() + duration);
}

// "ok", "timeout", "cancelled: why", or the text of the error.
inline std::string Describe(const std::exception_ptr& error) {
  if (error == nullptr) return "ok";
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError& e) {
    return "cancelled: " + e.message();
  } catch (const TimeoutError&) {
    return "timeout";
  } catch (const std::exception& e) {
    return e.what();
  }
}

// The same for a task; "pending" while it runs.
template <class H>
std::string HowEnded(const H& task) {
  if (!task.Done()) return "pending";
  try {
    return Describe(task.Exception());
  } catch (const CancelledError& e) {
    return "cancelled: " + e.message();
  }
}

// The text of what `f()` throws; empty if it throws nothing.
template <class E, class F>
std::string TextOf(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

// How an await ends, its own cancel included. Whatever it results in is
// dropped.
template <class A>
Co<std::string> EndOf(A awaitable) {
  std::exception_ptr error;
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (...) {
    error = std::current_exception();
  }
  co_return Describe(error);
}

// What the task waits for, as the dump of all tasks shows it.
inline std::string WaitOf(const AnyTask& task) {
  std::string text;
  auto& core = static_cast<internal::TaskCore&>(task.Checked());
  if (core.leaf() != nullptr) core.leaf()->DescribeWait(&text);
  return text;
}

}  // namespace coil::timers_testing

#endif  // COIL_TESTS_TIMERS_TIMERS_TESTING_H_
