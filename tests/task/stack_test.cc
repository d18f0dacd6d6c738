// Deep and long things on a stack of 512 KiB: T6. g++ makes no tail call at
// -O0, so this fails in the default build if the budget of hops or an iterative
// walk is lost.

#include <pthread.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/async_exit_stack.h"
#include "coil/task/async_generator.h"
#include "coil/task/errors.h"
#include "coil/task/finally.h"
#include "coil/task/future.h"
#include "coil/task/invoke.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/with.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COIL_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COIL_TEST_SANITIZED 1
#endif
#endif

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

constexpr int kDeep = 100000;
#ifdef COIL_TEST_SANITIZED
constexpr int kMany = 200000;
#else
constexpr int kMany = 1000000;
#endif

// Runs `f` in a thread with a small stack and passes its error on.
void OnSmallStack(const std::function<void()>& f) {
  struct Call {
    const std::function<void()>* f;
    std::exception_ptr error;
  } call{&f, nullptr};
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 512 * 1024), 0);
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  auto* c = static_cast<Call*>(argument);
                  try {
                    (*c->f)();
                  } catch (...) {
                    c->error = std::current_exception();
                  }
                  return nullptr;
                },
                &call),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (call.error != nullptr) std::rethrow_exception(call.error);
}

template <class F>
void RunOnSmallStack(F main) {
  OnSmallStack([&] { coil::Run(main, kVirtual); });
}

enum class End { kReturn, kThrow, kSleep };

Co<int> Chain(int depth, End end) {
  if (depth > 0) co_return 1 + co_await Chain(depth - 1, end);
  if (end == End::kThrow) throw std::range_error("bottom");
  if (end == End::kSleep) co_await Sleep(absl::InfiniteDuration());
  co_return 0;
}

TEST(ReliabilityT6, AMillionAwaitsThatCompleteAtOnce) {
  RunOnSmallStack([]() -> Co<void> {
    long sum = 0;
    for (int i = 0; i < 1000000; ++i) sum += co_await Chain(0, End::kReturn);
    EXPECT_EQ(sum, 0);
  });
}

TEST(ReliabilityT6, AMillionAwaitsOfDoneFutures) {
  RunOnSmallStack([]() -> Co<void> {
    Future<int> future;
    future.SetResult(1);
    long sum = 0;
    for (int i = 0; i < 1000000; ++i) sum += co_await future;
    EXPECT_EQ(sum, 1000000);
  });
}

TEST(ReliabilityT6, AChainUnwindsByReturn) {
  RunOnSmallStack([]() -> Co<void> {
    EXPECT_EQ(co_await Chain(kDeep, End::kReturn), kDeep);
  });
}

TEST(ReliabilityT6, AChainUnwindsByThrow) {
  RunOnSmallStack([]() -> Co<void> {
    EXPECT_THROW(co_await Chain(kDeep, End::kThrow), std::range_error);
  });
}

TEST(ReliabilityT6, AChainUnwindsByCancel) {
  RunOnSmallStack([]() -> Co<void> {
    Task<int> task = CreateTask(Chain(kDeep, End::kSleep));
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  });
}

TEST(ReliabilityT6, AChainThatIsSuspendedIsDestroyed) {
  OnSmallStack([] {
    Runner runner(kVirtual);
    auto main = []() -> Co<void> {
      CreateTask(Chain(kDeep, End::kSleep));
      co_await Sleep(absl::Seconds(1));
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
  });
}

Co<void> Follows(Task<void> before) { co_await before; }

TEST(ReliabilityT6, AChainOfTasksUnwindsByReturnAndByCancel) {
  RunOnSmallStack([]() -> Co<void> {
    for (bool cancel : {false, true}) {
      Task<void> first = CreateTask(Sleep(absl::Hours(1)));
      Task<void> last = first;
      for (int i = 0; i < kDeep; ++i) last = CreateTask(Follows(last));
      co_await Sleep(absl::Seconds(1));
      if (cancel) last.Cancel();
      auto outcome = co_await Settle(last);
      EXPECT_EQ(outcome.Cancelled(), cancel);
      EXPECT_EQ(first.Cancelled(), cancel);
    }
  });
}

TEST(ReliabilityT6, AChainOfTasksThatIsSuspendedIsDestroyed) {
  OnSmallStack([] {
    Runner runner(kVirtual);
    auto main = []() -> Co<void> {
      Task<void> last = CreateTask(Sleep(absl::InfiniteDuration()));
      for (int i = 0; i < kDeep; ++i) last = CreateTask(Follows(last));
      co_await Sleep(absl::Seconds(1));
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
  });
}

TEST(ReliabilityT6, AMillionDoneCallbacksInARow) {
  RunOnSmallStack([]() -> Co<void> {
    // Each one sets the next future: nothing runs inline.
    std::vector<Future<void>> futures;
    futures.reserve(kMany);
    for (int i = 0; i < kMany; ++i) futures.emplace_back();
    for (int i = 0; i + 1 < kMany; ++i) {
      futures[i].AddDoneCallback(
          [next = futures[i + 1]](AnyTask) { next.SetResult(); });
    }
    futures[0].SetResult();
    co_await futures.back();
  });
}

TEST(ReliabilityT6, AMillionTasks) {
  RunOnSmallStack([]() -> Co<void> {
    int done = 0;
    auto body = [&done]() -> Co<void> {
      co_await Yield();
      ++done;
    };
    Task<void> last;
    for (int i = 0; i < kMany; ++i) last = CreateTask(body());
    co_await last;
    EXPECT_EQ(done, kMany);
    EXPECT_EQ(AllTasks().size(), 1u);
  });
}

TEST(ReliabilityT6, AMillionTasksAreCancelledAtOnce) {
  RunOnSmallStack([]() -> Co<void> {
    Future<void> gate;
    auto body = []() -> Co<void> { co_await Sleep(absl::Hours(1)); };
    std::vector<Task<void>> tasks;
    for (int i = 0; i < kMany / 4; ++i) tasks.push_back(CreateTask(body()));
    co_await Yield();
    for (auto& task : tasks) task.Cancel();
    int cancelled = 0;
    for (auto& task : tasks) {
      co_await Settle(task);
      if (task.Cancelled()) ++cancelled;
    }
    EXPECT_EQ(cancelled, kMany / 4);
  });
}

Co<int> InvokeChain(int depth) {
  if (depth == 0) co_return 0;
  co_return 1 + co_await Invoke(InvokeChain, depth - 1);
}

TEST(ReliabilityT6, AChainOfInvokes) {
  RunOnSmallStack([]() -> Co<void> {
    EXPECT_EQ(co_await InvokeChain(kDeep / 2), kDeep / 2);
  });
}

Co<void> FinallyChain(int depth, int* cleaned) {
  if (depth == 0) throw std::range_error("bottom");
  co_await Finally(
      [&]() -> Co<void> { co_await FinallyChain(depth - 1, cleaned); },
      [&] { ++*cleaned; });
}

TEST(ReliabilityT6, AChainOfCleanups) {
  RunOnSmallStack([]() -> Co<void> {
    int cleaned = 0;
    EXPECT_THROW(co_await FinallyChain(kDeep / 4, &cleaned), std::range_error);
    EXPECT_EQ(cleaned, kDeep / 4);
  });
}

AsyncGenerator<int> Relay(int depth) {
  if (depth == 0) {
    for (int i = 0; i < 3; ++i) {
      co_await Yield();
      co_yield i;
    }
  } else {
    auto inner = Relay(depth - 1);
    while (auto value = co_await inner.Next()) co_yield *value;
  }
}

TEST(ReliabilityT6, AChainOfGenerators) {
  RunOnSmallStack([]() -> Co<void> {
    int sum = 0;
    auto numbers = Relay(1000);
    while (auto value = co_await numbers.Next()) sum += *value;
    EXPECT_EQ(sum, 3);
  });
}

TEST(ReliabilityT6, AnExitStackOfHundredThousand) {
  RunOnSmallStack([]() -> Co<void> {
    int left = 0;
    AsyncExitStack stack;
    for (int i = 0; i < kDeep; ++i) stack.Callback([&left] { ++left; });
    co_await stack.Close();
    EXPECT_EQ(left, kDeep);
  });
}

TEST(ReliabilityT6, ATaskThatEagerlyStartsOneThatStartsOne) {
  // Each level is a call by its nature; a thousand of them fit.
  RunOnSmallStack([]() -> Co<void> {
    int depth = 0;
    std::function<Co<void>()> body = [&]() -> Co<void> {
      if (++depth < 200) CreateTask(body(), {.eager_start = true});
      co_return;
    };
    CreateTask(body(), {.eager_start = true});
    EXPECT_EQ(depth, 200);
    co_return;
  });
}

// Each callback owns the next future, and nobody completes the first.
TEST(StackTest, ALongChainOfCallbacksThatOwnFuturesIsDropped) {
  auto main = []() -> Co<void> {
    auto alive = std::make_shared<int>(0);
    Future<void> head;
    {
      Future<void> last = head;
      for (int i = 0; i < kDeep; ++i) {
        Future<void> next;
        last.AddDoneCallback([next, alive](AnyTask) {});
        last = next;
      }
    }
    EXPECT_EQ(alive.use_count(), kDeep + 1);
    head = Future<void>();
    EXPECT_EQ(alive.use_count(), 1);
    co_return;
  };
  RunOnSmallStack(main);
}

}  // namespace
}  // namespace coil
