// ContextVar and Context, alone and in tasks, callbacks and threads (A139 to
// A147).

#include "coil/task/context_var.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

ContextVar<int> number("number", 1);
ContextVar<std::string> bare("bare");

// Runs `f` in an empty context, so that tests do not see one another.
template <class F>
void Fresh(F f) {
  Context context;
  context.Run(f);
}

TEST(ContextVarTest, GetFallsBackToArgumentThenDefaultThenThrows) {
  Fresh([] {
    EXPECT_EQ(number.Get(), 1);
    EXPECT_EQ(number.Get(5), 5);
    EXPECT_EQ(bare.Get("argument"), "argument");
    std::string what;
    try {
      bare.Get();
    } catch (const std::out_of_range& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("'bare'"), std::string::npos) << what;
    number.Set(9);
    EXPECT_EQ(number.Get(), 9);
    EXPECT_EQ(number.Get(5), 9);
  });
}

TEST(ContextVarTest, ResetRestoresWhatWasThere) {
  Fresh([] {
    auto first = number.Set(2);
    auto second = number.Set(3);
    EXPECT_EQ(first.OldValue(), std::nullopt);
    EXPECT_EQ(second.OldValue(), 2);
    EXPECT_EQ(&second.Var(), &number);
    number.Reset(second);
    EXPECT_EQ(number.Get(), 2);
    number.Reset(std::move(first));
    EXPECT_EQ(number.Get(), 1);
    EXPECT_EQ(number.Get(7), 7);  // not set any more
  });
}

TEST(ContextVarTest, ATokenIsUsedOnce) {
  Fresh([] {
    auto token = number.Set(2);
    number.Reset(token);
    std::string what;
    try {
      number.Reset(token);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("used already"), std::string::npos) << what;
  });
}

TEST(ContextVarTest, ATokenOfAnotherVariableIsRefused) {
  ContextVar<int> other("other");
  Fresh([&] {
    auto token = other.Set(2);
    EXPECT_THROW(number.Reset(token), std::invalid_argument);
  });
}

TEST(ContextVarTest, ATokenOfAnotherContextIsRefused) {
  Fresh([] {
    auto token = number.Set(2);
    Context copy = Context::CopyCurrent();
    copy.Run([&] { EXPECT_THROW(number.Reset(token), std::invalid_argument); });
    number.Reset(token);
    EXPECT_EQ(number.Get(), 1);
  });
}

TEST(ContextVarTest, AReferenceIsKeptByTheContext) {
  auto alive = std::make_shared<int>(1);
  ContextVar<std::shared_ptr<int>> pointer("pointer", nullptr);
  {
    Context context;
    context.Run([&] { pointer.Set(alive); });
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

// ------------------------------------------------------------------- Context

TEST(ContextTest, RunKeepsWhatIsSetInside) {
  Context context;
  EXPECT_EQ(context.Run([] {
    number.Set(4);
    return number.Get();
  }),
            4);
  EXPECT_EQ(context.Get(number), 4);
  EXPECT_EQ(context.Run([] { return number.Get(); }), 4);
}

TEST(ContextTest, RunLeavesTheOuterContextAlone) {
  Fresh([] {
    number.Set(2);
    Context copy = Context::CopyCurrent();
    copy.Run([] { number.Set(3); });
    EXPECT_EQ(number.Get(), 2);
    EXPECT_EQ(copy.Get(number), 3);
  });
}

TEST(ContextTest, RunPassesErrorsAndResultsOn) {
  Context context;
  EXPECT_THROW(context.Run([] { throw std::range_error("no"); }),
               std::range_error);
  int target = 0;
  int& reference = context.Run([&]() -> int& { return target; });
  EXPECT_EQ(&reference, &target);
}

TEST(ContextTest, EnteredTwiceIsRefused) {
  Context context;
  context.Run([&] {
    EXPECT_THROW(context.Run([] {}), std::runtime_error);
    std::thread other(
        [&] { EXPECT_THROW(context.Run([] {}), std::runtime_error); });
    other.join();
    Context copy = context.Copy();
    copy.Run([] {});
  });
  context.Run([] {});
}

TEST(ContextTest, ACopyIsIndependent) {
  Context a;
  a.Run([] { number.Set(1); });
  Context b = a.Copy();
  b.Run([] { number.Set(2); });
  EXPECT_EQ(a.Get(number), 1);
  EXPECT_EQ(b.Get(number), 2);
}

TEST(ContextTest, ACopyOfAnEmptyOneIsIndependent) {
  Context a;
  Context b = a.Copy();
  b.Run([] { number.Set(2); });
  EXPECT_FALSE(a.Contains(number));
  EXPECT_TRUE(b.Contains(number));
}

TEST(ContextTest, TellsWhatIsSetInIt) {
  Context context;
  EXPECT_EQ(context.Size(), 0u);
  EXPECT_FALSE(context.Contains(number));
  EXPECT_EQ(context.Get(number), std::nullopt);  // no fallback
  context.Run([] {
    number.Set(2);
    bare.Set("x");
  });
  EXPECT_EQ(context.Size(), 2u);
  EXPECT_TRUE(context.Contains(bare));
  EXPECT_EQ(context.Names(), (std::vector<std::string>{"number", "bare"}));
}

TEST(ContextTest, AThreadOutsideOfEveryScopeHasItsOwn) {
  std::thread thread([] {
    number.Set(77);
    EXPECT_EQ(number.Get(), 77);
    std::thread inner([] { EXPECT_EQ(number.Get(), 1); });
    inner.join();
  });
  thread.join();
}

TEST(ContextTest, CopiesShareTheTableUntilOneIsWrittenTo) {
  // O(1): a copy does not look at the values. 100,000 copies of a context of
  // 1,000 variables would take 100,000,000 steps otherwise.
  std::vector<std::unique_ptr<ContextVar<int>>> variables;
  for (int i = 0; i < 1000; ++i) {
    variables.push_back(std::make_unique<ContextVar<int>>("v"));
  }
  Context context;
  context.Run([&] {
    for (auto& v : variables) v->Set(1);
    std::vector<Context> copies;
    for (int i = 0; i < 100000; ++i) copies.push_back(Context::CopyCurrent());
    copies.back().Run([&] { variables[0]->Set(2); });
    EXPECT_EQ(copies[0].Get(*variables[0]), 1);
    EXPECT_EQ(copies.back().Get(*variables[0]), 2);
  });
}

// --------------------------------------------------------- tasks and callbacks

TEST(ContextOfTaskTest, ATaskSeesWhatWasSetBeforeItWasMade) {
  auto main = []() -> Co<void> {
    number.Set(5);
    auto read = []() -> Co<int> { co_return number.Get(); };
    Task<int> task = CreateTask(read());
    number.Set(6);
    EXPECT_EQ(co_await task, 5);
    EXPECT_EQ(co_await read(), 6);  // no task, no copy
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, WhatATaskSetsLeaksNeitherToItsParentNorToSiblings) {
  auto main = []() -> Co<void> {
    auto set = [](int value) -> Co<int> {
      number.Set(value);
      co_await Yield();
      co_await Yield();
      co_return number.Get();
    };
    Task<int> a = CreateTask(set(10));
    Task<int> b = CreateTask(set(20));
    EXPECT_EQ(co_await a, 10);
    EXPECT_EQ(co_await b, 20);
    EXPECT_EQ(number.Get(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, AnAwaitedCoroutineSetsForItsCaller) {
  auto main = []() -> Co<void> {
    auto set = []() -> Co<void> {
      co_await Yield();
      number.Set(8);
      co_await Yield();
    };
    co_await set();
    EXPECT_EQ(number.Get(), 8);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, AVariableStaysSetAcrossSuspensions) {
  auto main = []() -> Co<void> {
    number.Set(3);
    co_await Yield();
    EXPECT_EQ(number.Get(), 3);
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(number.Get(), 3);
    auto token = number.Set(4);
    co_await Yield();
    number.Reset(token);
    EXPECT_EQ(number.Get(), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, AGivenContextIsUsedItselfAndNotCopied) {
  auto main = []() -> Co<void> {
    Context context;
    context.Run([] { number.Set(30); });
    auto raise = []() -> Co<int> {
      co_await Yield();
      number.Set(number.Get() + 1);
      co_return number.Get();
    };
    Task<int> first = CreateTask(raise(), {.context = &context});
    EXPECT_EQ(co_await first, 31);
    EXPECT_EQ(context.Get(number), 31);
    Task<int> second = CreateTask(raise, {.context = &context});
    EXPECT_EQ(co_await second, 32);
    EXPECT_EQ(number.Get(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, AnEagerTaskRunsItsFirstStepInItsOwnContext) {
  auto main = []() -> Co<void> {
    number.Set(2);
    auto set = []() -> Co<int> {
      const int seen = number.Get();
      number.Set(50);
      co_await Yield();
      co_return seen * 100 + number.Get();
    };
    Task<int> task = CreateTask(set(), {.eager_start = true});
    EXPECT_EQ(number.Get(), 2);
    EXPECT_EQ(co_await task, 250);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, CallbacksRunInACopyTakenWhenTheyWereRegistered) {
  std::vector<int> seen;
  auto main = [&]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    number.Set(2);
    loop.CallSoon([&] {
      seen.push_back(number.Get());
      number.Set(99);
    });
    loop.CallLater(absl::Seconds(1), [&] { seen.push_back(number.Get()); });
    loop.CallAt(loop.Now() + absl::Seconds(2),
                [&] { seen.push_back(number.Get()); });
    loop.CallSoonThreadSafe([&] { seen.push_back(number.Get()); });
    number.Set(3);
    co_await Sleep(absl::Seconds(3));
    EXPECT_EQ(number.Get(), 3);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(seen, (std::vector<int>{2, 2, 2, 2}));
}

TEST(ContextOfTaskTest, DoneCallbacksRunInTheContextOfTheirRegistration) {
  std::vector<int> seen;
  auto main = [&]() -> Co<void> {
    Future<void> future;
    number.Set(2);
    future.AddDoneCallback([&](AnyTask) { seen.push_back(number.Get()); });
    number.Set(3);
    future.SetResult();
    co_await Yield();
    future.AddDoneCallback([&](AnyTask) { seen.push_back(number.Get()); });
    co_await Yield();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(seen, (std::vector<int>{2, 3}));
}

TEST(ContextOfTaskTest, ThousandTasksKeepTheirOwnValues) {
  auto main = []() -> Co<void> {
    std::vector<Task<bool>> tasks;
    for (int i = 0; i < 1000; ++i) {
      tasks.push_back(CreateTask([i]() -> Co<bool> {
        number.Set(i);
        for (int turn = 0; turn < 5; ++turn) co_await Yield();
        co_return number.Get() == i;
      }));
    }
    for (auto& task : tasks) EXPECT_TRUE(co_await task);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTaskTest, ThreadsAndTasksMayWriteToCopiesOfOneContext) {
  // Under ThreadSanitizer: the table is shared until one of them writes.
  auto main = []() -> Co<void> {
    number.Set(0);
    bare.Set("shared");
    for (int round = 0; round < 200; ++round) {
      auto job = [round] {
        number.Set(round);
        return number.Get() == round && bare.Get() == "shared";
      };
      Task<bool> a = CreateTask(ToThread(job));
      Task<bool> b = CreateTask(ToThread(job));
      co_await Yield();
      number.Set(-round);
      EXPECT_TRUE(co_await a);
      EXPECT_TRUE(co_await b);
      EXPECT_EQ(number.Get(), -round);
    }
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
