// tests/sync/sync_testing.h
//
// What the tests of sync share: running under a virtual clock, looking at what
// a task waits for, and telling how it ended.

#ifndef COIL_TESTS_SYNC_SYNC_TESTING_H_
#define COIL_TESTS_SYNC_SYNC_TESTING_H_

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/simulation.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil::sync_testing {

inline const SimulationOptions kSimulation;
inline const RunOptions kVirtual = {.simulation = &kSimulation};

// Runs a coroutine function under a virtual clock, in FIFO order.
template <class F>
auto RunVirtually(F main) {
  return coil::Run(std::move(main), kVirtual);
}

// Lets `n` turns of the loop go by.
inline Co<void> Turns(int n = 1) {
  for (int i = 0; i < n; ++i) co_await Yield();
}

// Every task that is not blocked has run until it is.
inline Co<void> Settled() { co_await Sleep(absl::Nanoseconds(1)); }

// "ok", "cancelled: why", or the text of the error. The task is done.
template <class H>
std::string HowEnded(const H& task) {
  if (!task.Done()) return "pending";
  try {
    if (std::exception_ptr error = task.Exception()) {
      std::rethrow_exception(error);
    }
  } catch (const CancelledError& e) {
    return "cancelled: " + e.message();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "ok";
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

// The same for an await.
template <class E, class A>
Co<std::string> AwaitTextOf(A awaitable) {
  std::string text;
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const E& e) {
    text = e.what();
  }
  co_return text;
}

// What the dump of the tasks says about a suspended task.
template <class T>
std::string WaitOf(const Task<T>& task) {
  std::string text;
  const internal::Leaf* leaf = internal::StateOf(task)->leaf();
  if (leaf != nullptr) leaf->DescribeWait(&text);
  return text;
}

// Two loops in one thread, for what must not be used on both.
class TwoLoops {
 public:
  template <class F>
  auto RunOnFirst(F main) {
    return first_.Run(std::move(main));
  }
  template <class F>
  auto RunOnSecond(F main) {
    return second_.Run(std::move(main));
  }

 private:
  Runner first_{kVirtual};
  Runner second_{kVirtual};
};

}  // namespace coil::sync_testing

#endif  // COIL_TESTS_SYNC_SYNC_TESTING_H_
