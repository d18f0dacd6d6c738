// Rows of the failure catalogue that concern tasks: T7, T74, T76.

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
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

#if defined(__SANITIZE_ADDRESS__)
#define COIL_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COIL_TEST_ASAN 1
#endif
#endif

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

// T7: errors neither kill the loop nor vanish.
TEST(ReliabilityT7, OfTenThousandTasksEveryLostErrorIsReportedOnce) {
  int reports = 0;
  int callback_reports = 0;
  int thrown_and_lost = 0;
  auto main = [&]() -> Co<void> {
    EventLoop& loop = EventLoop::Current();
    loop.SetExceptionHandler([&](const ExceptionContext& c) {
      if (c.message.find("never retrieved") != std::string::npos) {
        ++reports;
      } else if (c.message.find("Exception in callback") != std::string::npos) {
        ++callback_reports;
      } else {
        ADD_FAILURE() << c.message;
      }
    });
    auto work = [](int i) -> Co<int> {
      for (int turn = 0; turn < i % 5; ++turn) co_await Yield();
      if (i % 10 < 3) throw std::runtime_error("one of the 30 %");
      co_return i;
    };
    std::vector<Task<int>> awaited;
    for (int i = 0; i < 10000; ++i) {
      Task<int> task = CreateTask(work(i));
      if (i % 2 == 0) {
        awaited.push_back(task);
      } else if (i % 10 < 3) {
        ++thrown_and_lost;
      }
      if (i % 100 == 0)
        loop.CallSoon([] { throw std::range_error("callback"); });
    }
    int caught = 0;
    for (auto& task : awaited) {
      auto outcome = co_await Settle(task);
      if (!outcome.Ok()) ++caught;
    }
    EXPECT_EQ(caught, 2000);
    co_await Sleep(absl::Seconds(1));  // the loop is alive
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(thrown_and_lost, 1000);
  EXPECT_EQ(reports, thrown_and_lost);
  EXPECT_EQ(callback_reports, 100);
}

// ---------------------------------------------------------------------- T76

// Each holds on to `alive` in as many places as it can.
using Held = std::shared_ptr<int>;

struct Manager {
  explicit Manager(Held h) : held(std::move(h)) {}
  Co<Held> AEnter() {
    co_await Yield();
    co_return held;
  }
  Co<void> AExit(std::exception_ptr) {
    Held kept = held;
    co_await Yield();
  }
  Held held;
};

AsyncGenerator<Held> Generate(Held held, int n) {
  for (int i = 0; i < n; ++i) {
    co_await Yield();
    co_yield held;
  }
}

Co<void> Leaf(Held held, int turns) {
  Held local = held;
  // Turns only: a loop that is stopped after each turn never lets time pass.
  for (int i = 0; i < turns; ++i) co_await Yield();
  Future<void> future;
  EventLoop::Current().CallSoon([future] {
    if (!future.Done()) future.SetResult();
  });
  co_await future;
}

Co<void> Nested(Held held, int depth) {
  if (depth == 0) {
    co_await Leaf(held, 2);
  } else {
    co_await Nested(held, depth - 1);
  }
}

Co<void> OfTasks(Held held) {
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(Leaf(held, i)));
  for (auto& task : tasks) co_await task;
}

Co<void> OfFutures(Held held) {
  Future<Held> future;
  Task<void> setter = CreateTask([future, held]() -> Co<void> {
    co_await Yield();
    future.SetResult(held);
  });
  co_await future;
  co_await setter;
}

Co<void> OfWith(Held held) {
  co_await With(Manager(held),
                [&](Held inner) -> Co<void> { co_await Leaf(inner, 1); });
}

Co<void> OfFinally(Held held) {
  co_await Finally([&]() -> Co<void> { co_await Leaf(held, 1); },
                   [&]() -> Co<void> { co_await Leaf(held, 1); });
}

Co<void> OfExitStack(Held held) {
  AsyncExitStack stack;
  co_await stack.EnterAsync(Manager(held));
  auto callback = [held]() -> Co<void> { co_await Leaf(held, 1); };
  stack.Callback(callback);
  co_await With(stack, [&]() -> Co<void> { co_await Leaf(held, 1); });
}

Co<void> OfGenerator(Held held) {
  COIL_FOR_AWAIT(Held value, Generate(held, 3)) { co_await Leaf(value, 1); }
  auto named = Generate(held, 3);
  co_await named.Next();
  co_await named.AClose();
}

Co<void> OfInvoke(Held held) {
  auto body = [held](Held other) -> Co<void> { co_await Leaf(other, 2); };
  co_await Invoke(body, held);
}

Co<void> OfSettle(Held held) {
  auto fails = [](Held kept) -> Co<Held> {
    co_await Leaf(kept, 1);
    throw std::runtime_error("settled");
  };
  co_await Settle(fails(held));
  static_cast<void>(co_await AsStatus(fails(held)));
}

Co<void> OfCancel(Held held) {
  Task<void> task = CreateTask(Leaf(held, 2));
  co_await Yield();
  task.Cancel();
  co_await Settle(task);
  Task<void> waiting = CreateTask(Leaf(held, 1));
  Task<void> outer = CreateTask([waiting]() -> Co<void> { co_await waiting; });
  co_await Yield();
  outer.Cancel();
  co_await Settle(outer);
}

struct Scenario {
  std::string_view name;
  Co<void> (*run)(Held);
};

Co<void> OfNested(Held held) { return Nested(std::move(held), 10); }

constexpr Scenario kScenarios[] = {
    {"nested", &OfNested},       {"tasks", &OfTasks},
    {"futures", &OfFutures},     {"with", &OfWith},
    {"finally", &OfFinally},     {"exit stack", &OfExitStack},
    {"generator", &OfGenerator}, {"invoke", &OfInvoke},
    {"settle", &OfSettle},       {"cancel", &OfCancel},
};

// Runs the scenario for `turns` turns of a loop and then does `end` to it. True
// if the scenario had ended by then.
bool RunFor(const Scenario& scenario, int turns, bool cancel) {
  auto alive = std::make_shared<int>(0);
  bool ended = false;
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    Task<void> task;
    loop.CallSoon([&] { task = CreateTask(scenario.run(alive)); });
    for (int i = 0; i <= turns; ++i) {
      loop.Stop();
      loop.RunForever();
    }
    ended = task.Done();
    if (!ended && cancel) {
      loop.CallSoon([task] { task.Cancel(); });
      // It ends by itself; what it leaves behind ends with the loop.
      auto settle = [task]() -> Co<void> { co_await Settle(task); };
      loop.RunUntilComplete(settle());
      EXPECT_TRUE(task.Done());
    }
    loop.Close();
    EXPECT_TRUE(task.Done());
  }
  EXPECT_EQ(alive.use_count(), 1);
  return ended;
}

// T76: destroyed at each of its suspensions, nothing leaks and nothing dies
// twice.
TEST(ReliabilityT76, DestroyedAtEverySuspensionPoint) {
  for (const Scenario& scenario : kScenarios) {
    SCOPED_TRACE(scenario.name);
    int turn = 0;
    while (!RunFor(scenario, turn, /*cancel=*/false)) ++turn;
    EXPECT_GT(turn, 3);
    EXPECT_LT(turn, 100);
  }
}

TEST(ReliabilityT76, CancelledAtEverySuspensionPoint) {
  for (const Scenario& scenario : kScenarios) {
    SCOPED_TRACE(scenario.name);
    int turn = 0;
    while (!RunFor(scenario, turn, /*cancel=*/true)) ++turn;
    EXPECT_GT(turn, 3);
  }
}

// ---------------------------------------------------------------------- T74

// The right forms: each of these would be one of the wrong ones below if the
// callable or the argument were not owned.
TEST(ReliabilityT74, TheDocumentedFormsOwnWhatTheyUse) {
  auto main = []() -> Co<void> {
    const std::string long_text(100, 'x');
    Task<size_t> a;
    Task<size_t> b;
    Task<size_t> c;
    {
      std::string local = long_text;
      auto by_value = [local]() -> Co<size_t> {
        co_await Yield();
        co_return local.size();
      };
      a = CreateTask(std::move(by_value));
      auto parameter = [](std::string s) -> Co<size_t> {
        co_await Yield();
        co_return s.size();
      };
      b = CreateTask(parameter(local));
      auto reference = [](const std::string& s) -> Co<size_t> {
        co_await Yield();
        co_return s.size();
      };
      c = CreateTask(Invoke(reference, local));
    }
    EXPECT_EQ(co_await a, 100u);
    EXPECT_EQ(co_await b, 100u);
    EXPECT_EQ(co_await c, 100u);
  };
  coil::Run(main, kVirtual);
}

#ifdef COIL_TEST_ASAN

Co<size_t> SizeOf(const std::string& s) {
  co_await Yield();
  co_return s.size();
}

Co<size_t> SizeOfView(std::string_view s) {
  co_await Yield();
  size_t n = 0;
  for (char c : s) n += c == 'x';
  co_return n;
}

std::string Long() { return std::string(100, 'x'); }

class Object {
 public:
  Co<size_t> Size() {
    co_await Yield();
    co_return text_.size();
  }

 private:
  std::string text_ = Long();
};

// Functions of their own: in an inlined one, the compiler may keep the local in
// the frame of the coroutine around it, where it lives on.
[[gnu::noinline]] Task<size_t> StartWithALocal() {
  std::string local = Long();
  return CreateTask(SizeOf(local));
}
[[gnu::noinline]] Task<size_t> StartWithACapturedLocal() {
  std::string local = Long();
  return CreateTask([&local]() -> Co<size_t> {
    co_await Yield();
    co_return local.size();
  });
}

template <class F>
void RunUntilItDies(F main) {
  coil::Run(main, kVirtual);
}

// The wrong forms. That ASan finds each of them is what makes them findable.
TEST(ReliabilityT74DeathTest, AReferenceToATemporaryThatIsStartedLater) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 Co<size_t> co = SizeOf(Long());
                 co_await std::move(co);
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, AReferenceToATemporaryInATask) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 Task<size_t> task = CreateTask(SizeOf(Long()));
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, AReferenceToALocalThatIsGone) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 Task<size_t> task = StartWithALocal();
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, AViewOfATemporary) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 Task<size_t> task = CreateTask(SizeOfView(Long()));
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, CapturesOfALambdaThatWasCalledAtOnce) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 auto text = std::make_shared<std::string>(Long());
                 // lint: allow invoked-lambda (the mistake itself)
                 Task<size_t> task = CreateTask([text]() -> Co<size_t> {
                   co_await Yield();
                   co_return text->size();
                 }());
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, CapturesByReferenceOfAScopeThatIsGone) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 Task<size_t> task = StartWithACapturedLocal();
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, ThisOfAnObjectThatIsGone) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 auto object = std::make_unique<Object>();
                 Task<size_t> task = CreateTask(object->Size());
                 object.reset();
                 co_await task;
               }),
               "AddressSanitizer");
}

TEST(ReliabilityT74DeathTest, AReferenceIntoATaskThatIsGone) {
  EXPECT_DEATH(RunUntilItDies([]() -> Co<void> {
                 const std::string* text = nullptr;
                 auto make = []() -> Co<std::string> { co_return Long(); };
                 {
                   Task<std::string> task = CreateTask(make());
                   text = &co_await task;
                 }
                 EXPECT_EQ(text->size(), 100u);
                 EXPECT_EQ((*text)[0], 'x');
               }),
               "AddressSanitizer");
}

#endif  // COIL_TEST_ASAN

}  // namespace
}  // namespace coil
