// T26: each allocation of each scenario fails once. What is allowed then is
// std::bad_alloc, out of the call or as an error of a task; never a leak, never
// a task that waits for ever, never the end of the program.

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/coil.h"
#include "coil/loop/diagnostics.h"
#include "coil/task/internal/frame_allocator.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"
#include "tests/loop/failing_allocations.h"

namespace coil {
namespace {

using coil_testing::FailAllocationAfter;
using coil_testing::LiveAllocations;
using coil_testing::StopFailingAllocations;

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};
constexpr absl::Duration kSecond = absl::Seconds(1);
constexpr const char kLong[] = "a text that does not fit into a small string";

// ---- the scenarios

Co<int> Value(int n) {
  co_await Yield();
  co_return n;
}
Co<std::string> Text() {
  co_await Sleep(kSecond);
  co_return kLong;
}
Co<void> Forever() { co_await Sleep(absl::InfiniteDuration()); }

Co<void> Awaits() {
  static_cast<void>(co_await Value(1));
  static_cast<void>(co_await Invoke(Value, 2));
}

Co<void> Tasks() {
  std::string captured = kLong;
  auto body = [captured]() -> Co<std::string> {
    co_await Yield();
    co_return captured;
  };
  Task<std::string> a = CreateTask(body, {.name = kLong});
  Task<int> b = CreateTask(Value(1));
  Task<void> c = CreateTask(Sleep(kSecond));
  static_cast<void>(co_await a);
  static_cast<void>(co_await b);
  co_await c;
}

Co<void> Cancels() {
  Task<void> task = CreateTask(Forever());
  Task<void> never = CreateTask(Forever());
  co_await Yield();
  CreateTask(Forever()).Cancel(kLong);  // before its first step
  never.Cancel(kLong);
  task.Cancel(kLong);
  static_cast<void>(co_await Settle(task));
  co_await CancelAndWait(never);
}

Co<void> Futures() {
  Future<std::string> future;
  future.SetName(kLong);
  // Owned by the callback, which may run after this coroutine has failed.
  auto calls = std::make_unique<int>(0);
  future.AddDoneCallback([calls = std::move(calls)](AnyTask) { ++*calls; });
  auto body = [future]() -> Co<void> { static_cast<void>(co_await future); };
  Task<void> waiter = CreateTask(body);
  co_await Yield();
  future.SetResult(kLong);
  co_await waiter;
}

Co<void> Gathers() {
  static_cast<void>(co_await Gather(Value(1), Text()));
  std::vector<Co<int>> all;
  all.push_back(Value(1));
  all.push_back(Value(2));
  static_cast<void>(co_await Gather(std::move(all)));
}

Co<void> Settles() {
  static_cast<void>(co_await GatherSettled(Value(1), Text()));
  static_cast<void>(co_await AsStatus(Value(1)));
}

Co<void> Waits() {
  std::vector<Task<int>> tasks;
  tasks.push_back(CreateTask(Value(1)));
  tasks.push_back(CreateTask(Value(2)));
  static_cast<void>(co_await Wait(tasks));
}

Co<void> AsTheyComplete() {
  std::vector<Co<int>> all;
  all.push_back(Value(1));
  all.push_back(Value(2));
  auto range = AsCompleted(std::move(all));
  while (auto task = co_await range.Next()) static_cast<void>(task->Result());
}

Co<void> Races() { static_cast<void>(co_await Race(Value(1), Forever())); }

Co<void> Shields() { static_cast<void>(co_await Shield(Value(1))); }

Co<void> Groups() {
  auto body = [](TaskGroup& group) -> Co<void> {
    group.CreateTask(Value(1));
    group.CreateTask(Text(), {.name = kLong});
    co_await Yield();
  };
  co_await WithTaskGroup(body);
}

class Manager {
 public:
  Co<std::string> AEnter() { co_return kLong; }
  Co<void> AExit(std::exception_ptr) { co_await Yield(); }
};

Co<void> Managers() {
  Manager manager;
  co_await With(manager, [](std::string&) {});
  co_await Finally([] {}, []() -> Co<void> { co_await Yield(); });
  AsyncExitStack stack;
  static_cast<void>(co_await stack.EnterAsync(manager));
  stack.Callback([] {});
  co_await stack.Close();
}

AsyncGenerator<std::string> Texts() {
  co_yield kLong;
  co_await Yield();
  co_yield kLong;
}

Co<void> Generators() {
  AsyncGenerator<std::string> texts = Texts();
  while (auto text = co_await texts.Next()) co_await Yield();
  AsyncGenerator<std::string> again = Texts();
  static_cast<void>(co_await again.Next());
  co_await again.AClose();
}

Co<void> Limits() {
  static_cast<void>(co_await WithTimeout(kSecond, Value(1)));
  static_cast<void>(co_await WaitFor(Value(1), kSecond));
  static_cast<void>(co_await AsStatus(WithTimeout(kSecond, Forever())));
  Interval interval(kSecond);
  static_cast<void>(co_await interval.Tick());
}

ContextVar<std::string> g_variable("variable", "");

Co<void> Variables() {
  auto token = g_variable.Set(kLong);
  auto body = []() -> Co<void> {
    static_cast<void>(g_variable.Set(kLong));
    co_return;
  };
  co_await CreateTask(body);
  g_variable.Reset(token);
}

Co<void> Locks() {
  Lock lock;
  Semaphore semaphore(1);
  Condition condition;
  auto body = [&]() -> Co<void> {
    Lock::Guard guard = co_await lock.Acquire();
    Semaphore::Permit permit = co_await semaphore.Acquire();
    co_await Yield();
    Lock::Guard own = co_await condition.Acquire();
    condition.NotifyAll();
  };
  // Gather() would leave the others behind when one fails to start.
  auto all = [&](TaskGroup& group) -> Co<void> {
    for (int i = 0; i < 3; ++i) group.CreateTask(body);
    co_return;
  };
  co_await WithTaskGroup(all);
}

Co<void> Queues() {
  Queue<std::string> queue(1);
  PriorityQueue<std::string> ordered;
  Channel<std::string> channel(1);
  auto produce = [&]() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      co_await queue.Put(kLong);
      co_await ordered.Put(kLong);
    }
    queue.Shutdown();
  };
  auto consume = [&]() -> Co<void> {
    while (auto item = co_await queue.Next()) {
      static_cast<void>(co_await ordered.Get());
    }
  };
  auto both = [&](TaskGroup& group) -> Co<void> {
    group.CreateTask(produce);
    group.CreateTask(consume);
    co_return;
  };
  co_await WithTaskGroup(both);
}

Co<void> Threads() {
  static_cast<void>(co_await ToThread([] { return std::string(kLong); }));
}

Co<void> Failures() {
  auto fail = []() -> Co<void> {
    co_await Yield();
    throw std::bad_alloc();
  };
  CreateTask(fail);  // nobody reads its error
  auto group = [&](TaskGroup& g) -> Co<void> {
    g.CreateTask(fail);
    co_await Forever();
  };
  co_await WithTaskGroup(group);
}

Co<void> Dumps() {
  Task<void> task = CreateTask(Forever(), {.name = kLong});
  co_await Yield();
  static_cast<void>(DumpTasks());
  task.Cancel();
}

// A loop that is closed while a task of it waits.
void Closes() {
  EventLoop loop(kVirtual.loop);
  auto main = []() -> Co<void> {
    CreateTask(Forever(), {.name = kLong});
    CreateTask(Text());
    co_return;
  };
  loop.RunUntilComplete(main());
}

template <Co<void> (*kMain)()>
void RunMain() {
  coil::Run(kMain(), kVirtual);
}

struct Scenario {
  const char* name;
  void (*run)();
};

constexpr Scenario kScenarios[] = {
    {"Awaits", RunMain<Awaits>},
    {"Tasks", RunMain<Tasks>},
    {"Cancels", RunMain<Cancels>},
    {"Futures", RunMain<Futures>},
    {"Gathers", RunMain<Gathers>},
    {"Settles", RunMain<Settles>},
    {"Waits", RunMain<Waits>},
    {"AsTheyComplete", RunMain<AsTheyComplete>},
    {"Races", RunMain<Races>},
    {"Shields", RunMain<Shields>},
    {"Groups", RunMain<Groups>},
    {"Managers", RunMain<Managers>},
    {"Generators", RunMain<Generators>},
    {"Limits", RunMain<Limits>},
    {"Variables", RunMain<Variables>},
    {"Locks", RunMain<Locks>},
    {"Queues", RunMain<Queues>},
    {"Threads", RunMain<Threads>},
    {"Failures", RunMain<Failures>},
    {"Dumps", RunMain<Dumps>},
    {"Closes", Closes},
};

// ---- the sweep

bool IsBadAlloc(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (const ExceptionGroup& group) {
    for (const std::exception_ptr& inner : group.Exceptions()) {
      if (!IsBadAlloc(inner)) return false;
    }
    return true;
  } catch (...) {
    return false;
  }
}

// The error that came out of `scenario`; null if there was none.
std::exception_ptr ErrorOf(const Scenario& scenario) {
  try {
    scenario.run();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

class AllocationFailureTest : public ::testing::TestWithParam<Scenario> {};

TEST_P(AllocationFailureTest, EachFailureIsAnErrorAndNothingElse) {
  const Scenario& scenario = GetParam();
  DiagnosticSink before = SetDiagnosticSink([](std::string_view) {});
  // What is made once for the process.
  ErrorOf(scenario);
  coil::Run(Cancels(), kVirtual);
  int injections = 0;
  for (long point = 0; !HasFatalFailure(); ++point) {
    ASSERT_LT(point, 2000) << "it allocates without end";
    internal::t_frame_pool.Trim();
    const long live_before = LiveAllocations();
    FailAllocationAfter(point);
    std::exception_ptr error = ErrorOf(scenario);
    const bool failed = StopFailingAllocations();
    EXPECT_TRUE(error == nullptr || IsBadAlloc(error))
        << "failure " << point << ": " << DescribeException(error);
    error = nullptr;
    internal::t_frame_pool.Trim();
    ASSERT_EQ(LiveAllocations(), live_before) << "leak after failure " << point;
    ASSERT_EQ(internal::LiveFrames(), 0) << "frames after failure " << point;
    if (!failed) break;
    ++injections;
  }
  SetDiagnosticSink(std::move(before));
  EXPECT_GT(injections, 0);
}

INSTANTIATE_TEST_SUITE_P(ReliabilityT26, AllocationFailureTest,
                         ::testing::ValuesIn(kScenarios),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace coil
