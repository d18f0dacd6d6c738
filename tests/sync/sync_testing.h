// tests/sync/sync_testing.h
//
// What the tests of sync share: running under a virtual clock in FIFO order,
// tasks that wait in line, looking at what a task waits for, and telling how it
// ended.

#ifndef COIL_TESTS_SYNC_SYNC_TESTING_H_
#define COIL_TESTS_SYNC_SYNC_TESTING_H_

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
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
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

// As CORO_TEST(), but in FIFO order whatever COIL_TEST_SEED says: the order is
// what these tests are about.
#define FIFO_TEST(test_suite_name, test_name)                       \
  static ::coil::Co<void> FIFO_BODY_(test_suite_name, test_name)(); \
  TEST(test_suite_name, test_name) {                                \
    ::coil::RunCoroTest(FIFO_BODY_(test_suite_name, test_name),     \
                        ::coil::CoroTestOptions{.seed = 0});        \
  }                                                                 \
  static ::coil::Co<void> FIFO_BODY_(test_suite_name, test_name)()

#define FIFO_BODY_(suite, name) FifoTest_##suite##_##name##_Body

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

// Goes in, notes `id` and stays for one turn.
template <class P>
Co<void> Visit(P& primitive, std::vector<int>& order, int id) {
  auto held = co_await primitive.Acquire();
  order.push_back(id);
  co_await Yield();
}

// Notes `id` when the wait is over.
template <class P>
Co<void> Note(P& primitive, std::vector<int>& order, int id) {
  co_await primitive.Wait();
  order.push_back(id);
}

// Starts the tasks start(0) to start(n - 1), in this order. A `start` that is a
// coroutine itself has a name: the tasks refer to it.
template <class F>
auto StartEach(int n, F&& start) {
  std::vector<decltype(CreateTask(start(0)))> tasks;
  for (int id = 0; id < n; ++id) tasks.push_back(CreateTask(start(id)));
  return tasks;
}

template <class T>
Co<void> AwaitAll(std::vector<Task<T>>& tasks) {
  for (Task<T>& task : tasks) co_await task;
}

// How many of `tasks` that come and go five times were inside at once.
template <class P>
Co<int> MostInside(P& primitive, int tasks) {
  int inside = 0;
  int most = 0;
  auto worker = [&](int) -> Co<void> {
    for (int i = 0; i < 5; ++i) {
      auto held = co_await primitive.Acquire();
      most = std::max(most, ++inside);
      co_await Turns(2);
      --inside;
    }
  };
  auto all = StartEach(tasks, worker);
  co_await AwaitAll(all);
  co_return most;
}

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

// Loops one after another, each where the one before it was: what outlives its
// loop must not take the next one for its own.
class LoopsInOnePlace {
 public:
  // On a new loop; the one before it is gone.
  template <class F>
  auto Run(F main) {
    LoopOptions options;
    options.simulation = &kSimulation;
    loop_.emplace(options);
    return loop_->RunUntilComplete(main());
  }

 private:
  std::optional<EventLoop> loop_;
};

// What awaiting `operation()` says on a second loop, once a task has waited in
// it on the first.
template <class F>
std::string TextOnSecondLoop(F operation) {
  LoopsInOnePlace loops;
  loops.Run([&]() -> Co<void> {
    Task<void> waiter = CreateTask(
        [&]() -> Co<void> { static_cast<void>(co_await operation()); });
    co_await Turns();
    waiter.Cancel();
    co_await Turns();
    EXPECT_TRUE(waiter.Cancelled());
  });
  return loops.Run([&]() -> Co<std::string> {
    co_return co_await AwaitTextOf<std::runtime_error>(operation());
  });
}

}  // namespace coil::sync_testing

#endif  // COIL_TESTS_SYNC_SYNC_TESTING_H_
