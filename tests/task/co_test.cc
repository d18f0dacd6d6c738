// Co<T> and Invoke(): laziness, results of every kind, lifetimes, misuse (A11,
// A12, A44).

#include "coil/task/co.h"

#include <coroutine>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/task/errors.h"
#include "coil/task/invoke.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

using Log = std::vector<std::string>;

Co<int> Double(int n) { co_return 2 * n; }

TEST(CoTest, IsLazyMoveOnlyAndNamesItsValue) {
  static_assert(std::is_same_v<Co<int>::value_type, int>);
  static_assert(!std::is_copy_constructible_v<Co<int>>);
  static_assert(std::is_nothrow_move_constructible_v<Co<int>>);
  static_assert(std::is_same_v<Co<>, Co<void>>);
  bool started = false;
  auto body = [&]() -> Co<void> {
    started = true;
    co_return;
  };
  auto main = [&]() -> Co<void> {
    Co<void> co = body();
    co_await Yield();
    EXPECT_FALSE(started);
    EXPECT_TRUE(co.Valid());
    co_await std::move(co);
    EXPECT_FALSE(co.Valid());
    EXPECT_TRUE(started);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, AnAwaitOfACoroutineIsACallAndNoTask) {
  auto main = []() -> Co<void> {
    const AnyTask self = CurrentTask();
    AnyTask seen;
    auto body = [&]() -> Co<void> {
      seen = CurrentTask();
      co_return;
    };
    const uint64_t before = EventLoop::Current().Iterations();
    co_await body();
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
    EXPECT_EQ(seen, self);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, ResultsMayBeReferencesMoveOnlyConstOrVoid) {
  auto main = []() -> Co<void> {
    int target = 1;
    auto reference = [&]() -> Co<int&> { co_return target; };
    int& got = co_await reference();
    EXPECT_EQ(&got, &target);
    auto const_reference = [&]() -> Co<const int&> { co_return target; };
    const int& got_const = co_await const_reference();
    EXPECT_EQ(&got_const, &target);
    auto pointer = []() -> Co<std::unique_ptr<int>> {
      auto p = std::make_unique<int>(2);
      co_return p;
    };
    std::unique_ptr<int> moved = co_await pointer();
    EXPECT_EQ(*moved, 2);
    auto converts = []() -> Co<std::string> { co_return "literal"; };
    EXPECT_EQ(co_await converts(), "literal");
    auto nothing = []() -> Co<void> { co_return; };
    co_await nothing();
    struct NoDefault {
      explicit NoDefault(int v) : value(v) {}
      int value;
    };
    auto no_default = []() -> Co<NoDefault> { co_return NoDefault(3); };
    EXPECT_EQ((co_await no_default()).value, 3);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, TheResultIsMovedAndNotCopied) {
  struct Counts {
    explicit Counts(int* n) : copies(n) {}
    Counts(const Counts& other) : copies(other.copies) { ++*copies; }
    Counts(Counts&&) = default;
    int* copies;
  };
  int copies = 0;
  auto main = [&]() -> Co<void> {
    auto make = [&]() -> Co<Counts> { co_return Counts(&copies); };
    auto pass = [&]() -> Co<Counts> { co_return co_await make(); };
    Counts result = co_await pass();
    EXPECT_EQ(result.copies, &copies);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(copies, 0);
}

TEST(CoTest, AResultWhoseMoveThrowsIsAnErrorOfTheAwait) {
  struct Bad {
    Bad() = default;
    Bad(Bad&&) { throw std::range_error("move"); }
  };
  auto main = []() -> Co<void> {
    auto make = []() -> Co<Bad> { co_return Bad(); };
    EXPECT_THROW(co_await make(), std::range_error);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, ErrorsPassThroughEveryLevel) {
  Log log;
  auto inner = [&]() -> Co<void> {
    co_await Yield();
    throw std::range_error("deep");
  };
  auto middle = [&]() -> Co<void> {
    struct Note {
      Log* log;
      ~Note() { log->push_back("unwound"); }
    } note{&log};
    co_await inner();
    log.push_back("not reached");
  };
  auto main = [&]() -> Co<void> {
    EXPECT_THROW(co_await middle(), std::range_error);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"unwound"}));
}

TEST(CoTest, ErrorsOfAnyTypePass) {
  auto main = []() -> Co<void> {
    auto throws = []() -> Co<void> {
      throw 42;
      co_return;
    };
    int caught = 0;
    try {
      co_await throws();
    } catch (int e) {
      caught = e;
    }
    EXPECT_EQ(caught, 42);
  };
  coil::Run(main, kVirtual);
}

// -------------------------------------------------------- lifetimes and misuse

TEST(CoTest, ParametersLiveUntilTheResultIsTaken) {
  auto alive = std::make_shared<int>(0);
  auto body = [](std::shared_ptr<int> p) -> Co<int> {
    co_await Yield();
    co_return *p;
  };
  auto main = [&]() -> Co<void> {
    Co<int> co = body(alive);
    EXPECT_EQ(alive.use_count(), 2);
    co_await std::move(co);
    EXPECT_EQ(alive.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, AReferenceToATemporaryLivesThroughTheAwaitOfTheSameExpression) {
  auto length = [](const std::string& s) -> Co<size_t> {
    co_await Yield();
    co_return s.size();
  };
  auto main = [&]() -> Co<void> {
    const size_t n = co_await length(std::string(100, 'x'));
    EXPECT_EQ(n, 100u);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, LocalsAreDestroyedBeforeTheAwaitReturns) {
  Log log;
  struct Note {
    explicit Note(Log* l) : log(l) {}
    Note(const Note&) = delete;
    ~Note() { log->push_back("local"); }
    Log* log;
  };
  auto body = [&]() -> Co<int> {
    Note note(&log);
    co_await Yield();
    co_return 1;
  };
  auto main = [&]() -> Co<void> {
    co_await body();
    log.push_back("after");
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"local", "after"}));
}

TEST(CoTest, AwaitedTwiceNamesTheRule) {
  auto main = []() -> Co<void> {
    Co<int> co = Double(1);
    EXPECT_EQ(co_await co, 2);
    std::string what;
    try {
      co_await co;
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("awaited twice"), std::string::npos) << what;
    Co<int> moved_from = Double(1);
    Co<int> target = std::move(moved_from);
    EXPECT_THROW(co_await moved_from, std::runtime_error);
    EXPECT_THROW(CreateTask(std::move(moved_from)), std::runtime_error);
    EXPECT_EQ(co_await target, 2);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, ACoThatIsDroppedIsReportedWithItsPlace) {
  Log reports;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    {
      Co<int> dropped = Double(1);
    }
    co_return;
  };
  coil::Run(main, kVirtual);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("Double"), std::string::npos) << reports[0];
  EXPECT_NE(reports[0].find("co_test.cc"), std::string::npos) << reports[0];
  EXPECT_NE(reports[0].find("was never awaited"), std::string::npos)
      << reports[0];
}

TEST(CoTest, ACoThatIsDroppedOutsideOfALoopGoesToTheDiagnostics) {
  Log lines;
  auto previous = SetDiagnosticSink(
      [&](std::string_view line) { lines.emplace_back(line); });
  {
    Co<int> dropped = Double(1);
  }
  SetDiagnosticSink(std::move(previous));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("was never awaited"), std::string::npos) << lines[0];
}

TEST(CoTest, ACoThatAnErrorLeavesBehindIsNotReported) {
  Log reports;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    bool caught = false;
    try {
      Co<int> unused = Double(1);
      throw std::range_error("before the await");
    } catch (const std::range_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, Log());
}

TEST(CoTest, DisposeDropsWithoutAReport) {
  Log reports;
  auto alive = std::make_shared<int>(0);
  auto body = [](std::shared_ptr<int>) -> Co<void> { co_return; };
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    Co<void> co = body(alive);
    co.Dispose();
    co.Dispose();
    EXPECT_FALSE(co.Valid());
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports, Log());
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(CoTest, AssignmentSwapsSoThatNothingIsLost) {
  auto main = []() -> Co<void> {
    Co<int> a = Double(1);
    Co<int> b = Double(2);
    a = std::move(b);
    EXPECT_EQ(co_await a, 4);
    EXPECT_EQ(co_await b, 2);
  };
  coil::Run(main, kVirtual);
}

TEST(CoTest, MayBeMadeInOneThreadAndRunInAnother) {
  Co<int> co = Double(21);
  int result = 0;
  std::thread thread([&] { result = coil::Run(std::move(co), kVirtual); });
  thread.join();
  EXPECT_EQ(result, 42);
}

TEST(CoTest, ACallableThatGivesASpentCoIsRefused) {
  auto main = []() -> Co<void> {
    Co<int> spent = Double(1);
    co_await std::move(spent);
    auto gives = [&spent, text = std::string("a state")]() -> Co<int> {
      return std::move(spent);
    };
    std::string what;
    try {
      CreateTask(gives);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("Co: awaited twice"), std::string::npos) << what;
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

// ---------------------------------------------------------- foreign awaitables

// An awaiter that knows nothing of coil.
class ForeignAwaiter {
 public:
  explicit ForeignAwaiter(std::coroutine_handle<>* slot) : slot_(slot) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { *slot_ = handle; }
  int await_resume() const { return 9; }

 private:
  std::coroutine_handle<>* slot_;
};

class WithOperator {
 public:
  explicit WithOperator(std::coroutine_handle<>* slot) : slot_(slot) {}
  ForeignAwaiter operator co_await() const { return ForeignAwaiter(slot_); }

 private:
  std::coroutine_handle<>* slot_;
};

TEST(ForeignAwaiterTest, AreAwaitedAndResumedThroughTheLoop) {
  auto main = []() -> Co<void> {
    std::coroutine_handle<> handle;
    bool resumed = false;
    Task<int> task = CreateTask([&]() -> Co<int> {
      const int a = co_await ForeignAwaiter(&handle);
      const int b = co_await WithOperator(&handle);
      resumed = true;
      co_return a + b;
    });
    co_await Yield();
    handle.resume();  // not inline
    EXPECT_FALSE(resumed);
    co_await Yield();
    handle.resume();
    EXPECT_EQ(co_await task, 18);
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, ReadyOnesDoNotSuspend) {
  auto main = []() -> Co<void> {
    const uint64_t before = EventLoop::Current().Iterations();
    co_await std::suspend_never();
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, AnAwaitSuspendThatSaysNoGoesOn) {
  struct Refuses {
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<>) { return false; }
    int await_resume() const { return 4; }
  };
  auto main = []() -> Co<int> {
    Refuses refuses;
    co_return co_await refuses;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 4);
}

TEST(ForeignAwaiterTest, ACancelIsDeliveredWhenTheOperationHasEnded) {
  auto main = []() -> Co<void> {
    std::coroutine_handle<> handle;
    auto body = [&]() -> Co<int> {
      co_return co_await ForeignAwaiter(&handle);
    };
    Task<int> task = CreateTask(body);
    co_await Yield();
    task.Cancel();
    co_await Yield();
    EXPECT_FALSE(task.Done());
    handle.resume();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(ForeignAwaiterTest, MayBeResumedByAnotherThread) {
  auto main = []() -> Co<void> {
    struct OtherThread {
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        thread = std::thread([handle] { handle.resume(); });
      }
      int await_resume() {
        thread.join();
        return 6;
      }
      std::thread thread;
    };
    const std::thread::id here = std::this_thread::get_id();
    OtherThread operation;
    EXPECT_EQ(co_await operation, 6);
    EXPECT_EQ(std::this_thread::get_id(), here);
  };
  coil::Run(main);
}

// -------------------------------------------------------------------- Invoke

TEST(InvokeTest, OwnsTheCallableAndTheArguments) {
  auto main = []() -> Co<void> {
    auto text = std::make_shared<std::string>("captured");
    auto make = [&]() {
      auto body = [text](std::string suffix) -> Co<std::string> {
        co_await Yield();
        co_return *text + suffix;
      };
      return Invoke(body, " and passed");
    };
    Co<std::string> later = make();
    co_await Yield();
    EXPECT_EQ(co_await std::move(later), "captured and passed");
    EXPECT_EQ(text.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

Co<int> Measure(const std::string& a, std::string b) {
  co_await Yield();
  co_return static_cast<int>(a.size() + b.size());
}

TEST(InvokeTest, ConvertsLiteralsAndKeepsReferencesAlive) {
  auto main = []() -> Co<void> {
    Co<int> later = Invoke(Measure, std::string("123"), "45");
    co_await Yield();
    EXPECT_EQ(co_await std::move(later), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(InvokeTest, TakesMoveOnlyArgumentsAndMemberFunctions) {
  struct Service {
    Co<int> Call(std::unique_ptr<int> p) {
      co_await Yield();
      co_return *p + base;
    }
    int base;
  };
  auto main = []() -> Co<void> {
    Service service{10};
    EXPECT_EQ(
        co_await Invoke(&Service::Call, &service, std::make_unique<int>(5)),
        15);
    EXPECT_EQ(co_await Invoke(&Service::Call, std::ref(service),
                              std::make_unique<int>(6)),
              16);
  };
  coil::Run(main, kVirtual);
}

TEST(InvokeTest, TakesFunctionsThatReturnOtherAwaitables) {
  auto main = []() -> Co<void> {
    auto sleep = [](int n) { return Sleep(absl::Seconds(1), n); };
    EXPECT_EQ(co_await Invoke(sleep, 3), 3);
    auto start = [] { return CreateTask(Double(4)); };
    EXPECT_EQ(co_await Invoke(start), 8);
  };
  coil::Run(main, kVirtual);
}

TEST(InvokeTest, PassesErrorsAndCancels) {
  auto main = []() -> Co<void> {
    auto fails = []() -> Co<void> {
      co_await Yield();
      throw std::range_error("no");
    };
    EXPECT_THROW(co_await Invoke(fails), std::range_error);
    auto forever = []() -> Co<void> {
      co_await Sleep(absl::InfiniteDuration());
    };
    Task<void> task = CreateTask(Invoke(forever));
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
