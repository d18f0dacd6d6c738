// AsyncGenerator and COIL_FOR_AWAIT.

#include "coil/task/async_generator.h"

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "coil/task/errors.h"
#include "coil/task/finally.h"
#include "coil/task/for_await.h"
#include "coil/task/future.h"
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

AsyncGenerator<int> Count(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

AsyncGenerator<int> SlowCount(int n) {
  for (int i = 0; i < n; ++i) {
    co_await Sleep(absl::Seconds(1));
    co_yield i;
  }
}

// Counts how often it is destroyed.
class Guard {
 public:
  explicit Guard(int* gone) : gone_(gone) {}
  Guard(const Guard&) = delete;
  ~Guard() { ++*gone_; }

 private:
  int* gone_;
};

AsyncGenerator<int> Guarded(int* gone, int n) {
  Guard guard(gone);
  for (int i = 0; i < n; ++i) {
    co_await Sleep(absl::Seconds(1));
    co_yield i;
  }
}

TEST(AsyncGeneratorTest, GivesItsValuesAndThenNothing) {
  auto main = []() -> Co<void> {
    auto numbers = Count(3);
    EXPECT_EQ(co_await numbers.Next(), 0);
    EXPECT_EQ(co_await numbers.Next(), 1);
    EXPECT_EQ(co_await numbers.Next(), 2);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, TheBodyRunsOnlyInsideOfNext) {
  Log log;
  auto make = [&]() -> AsyncGenerator<int> {
    log.push_back("start");
    co_yield 1;
    log.push_back("between");
    co_yield 2;
    log.push_back("end");
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    EXPECT_TRUE(log.empty());
    co_await numbers.Next();
    EXPECT_EQ(log, (Log{"start"}));
    co_await Yield();
    EXPECT_EQ(log, (Log{"start"}));
    co_await numbers.Next();
    EXPECT_EQ(log, (Log{"start", "between"}));
    co_await numbers.Next();
    EXPECT_EQ(log, (Log{"start", "between", "end"}));
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, AwaitsInTheBodyAreAwaitsOfTheCaller) {
  auto main = []() -> Co<void> {
    AnyTask seen;
    auto make = [&]() -> AsyncGenerator<int> {
      co_await Sleep(absl::Seconds(1));
      seen = CurrentTask();
      co_yield 1;
    };
    auto numbers = make();
    const LoopTime start = EventLoop::Current().Now();
    EXPECT_EQ(co_await numbers.Next(), 1);
    EXPECT_EQ(EventLoop::Current().Now() - start, absl::Seconds(1));
    EXPECT_TRUE(seen == CurrentTask());
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, WhileLoopTakesEverything) {
  auto main = []() -> Co<int> {
    int sum = 0;
    auto numbers = SlowCount(5);
    while (auto i = co_await numbers.Next()) sum += *i;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 10);
}

TEST(AsyncGeneratorTest, ValuesMayBeMoveOnly) {
  auto make = []() -> AsyncGenerator<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(1);
    auto named = std::make_unique<int>(2);
    co_yield std::move(named);
  };
  auto main = [&]() -> Co<int> {
    int sum = 0;
    auto pointers = make();
    while (auto p = co_await pointers.Next()) sum += **p;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 3);
}

TEST(AsyncGeneratorTest, YieldConvertsToTheValueType) {
  auto make = []() -> AsyncGenerator<std::string> {
    co_yield "literal";
    const std::string named = "named";
    co_yield named;
    EXPECT_EQ(named, "named");
  };
  auto main = [&]() -> Co<Log> {
    Log log;
    COIL_FOR_AWAIT(auto s, make()) log.push_back(s);
    co_return log;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), (Log{"literal", "named"}));
}

TEST(AsyncGeneratorTest, AnErrorComesOutOfNextOnce) {
  auto make = []() -> AsyncGenerator<int> {
    co_yield 1;
    co_await Yield();
    throw std::range_error("no");
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    EXPECT_EQ(co_await numbers.Next(), 1);
    EXPECT_THROW(co_await numbers.Next(), std::range_error);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ACancelIsThrownInTheBodyAndEndsIt) {
  int gone = 0;
  bool seen = false;
  auto make = [&]() -> AsyncGenerator<int> {
    Guard guard(&gone);
    bool cancelled = false;
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
      cancelled = true;
    }
    seen = cancelled;
    if (cancelled) throw CancelledError("passed on");
    co_yield 1;
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    auto body = [&]() -> Co<void> { co_await numbers.Next(); };
    Task<void> task = CreateTask(body);
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_TRUE(seen);
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ABodyMayGoOnAfterACancel) {
  auto make = []() -> AsyncGenerator<int> {
    try {
      co_await Sleep(absl::InfiniteDuration());
    } catch (const CancelledError&) {
    }
    co_yield 8;
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    auto body = [&]() -> Co<int> {
      auto value = co_await numbers.Next();
      co_return *value;
    };
    Task<int> task = CreateTask(body);
    co_await Yield();
    task.Cancel();
    EXPECT_EQ(co_await task, 8);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, OneTaskAfterTheOtherMayTakeFromIt) {
  auto main = []() -> Co<void> {
    auto numbers = SlowCount(3);
    auto body = [&]() -> Co<int> {
      auto value = co_await numbers.Next();
      co_return *value;
    };
    Task<int> first = CreateTask(body);
    EXPECT_EQ(co_await first, 0);
    Task<int> second = CreateTask(body);
    EXPECT_EQ(co_await second, 1);
    EXPECT_EQ(co_await numbers.Next(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ASecondNextWhileOneIsUnderWayIsRefused) {
  auto main = []() -> Co<void> {
    auto numbers = SlowCount(3);
    Task<std::optional<int>> first = CreateTask(numbers.Next());
    co_await Yield();
    std::string what;
    try {
      co_await numbers.Next();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("asynchronous generator is already running"),
              std::string::npos)
        << what;
    EXPECT_THROW(co_await numbers.AClose(), std::runtime_error);
    EXPECT_EQ(co_await first, 0);
    EXPECT_EQ(co_await numbers.Next(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ABodyThatAsksItselfIsRefused) {
  AsyncGenerator<int>* self = nullptr;
  auto make = [&]() -> AsyncGenerator<int> {
    EXPECT_THROW(co_await self->Next(), std::runtime_error);
    co_yield 1;
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    self = &numbers;
    EXPECT_EQ(co_await numbers.Next(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, LeavingALoopEarlyDestroysTheFrame) {
  int gone = 0;
  auto main = [&]() -> Co<void> {
    COIL_FOR_AWAIT(int i, Guarded(&gone, 10)) {
      EXPECT_EQ(gone, 0);
      if (i == 2) break;
    }
    EXPECT_EQ(gone, 1);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, DroppedBeforeTheFirstNextNothingRuns) {
  bool ran = false;
  auto make = [&]() -> AsyncGenerator<int> {
    ran = true;
    co_yield 1;
  };
  {
    auto numbers = make();
  }
  EXPECT_FALSE(ran);
}

TEST(AsyncGeneratorTest, AnErrorInTheLoopDestroysTheFrame) {
  int gone = 0;
  auto main = [&]() -> Co<void> {
    bool caught = false;
    try {
      COIL_FOR_AWAIT(int i, Guarded(&gone, 10)) {
        if (i == 1) throw std::runtime_error("leave");
      }
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    EXPECT_EQ(gone, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, DestroyedInTheMiddleOfAStepItIsDestroyedOnce) {
  int gone = 0;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      CreateTask([&]() -> Co<void> {
        COIL_FOR_AWAIT(int i, Guarded(&gone, 10)) { EXPECT_LT(i, 5); }
      });
      co_await Sleep(absl::Milliseconds(2500));
    };
    runner.Run(main);
    EXPECT_EQ(gone, 0);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
    EXPECT_EQ(gone, 1);
  }
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, DestroyedBetweenTwoStepsItIsDestroyedOnce) {
  int gone = 0;
  {
    Runner runner(kVirtual);
    auto main = [&]() -> Co<void> {
      CreateTask([&]() -> Co<void> {
        auto numbers = Guarded(&gone, 10);
        co_await numbers.Next();
        co_await Sleep(absl::InfiniteDuration());
      });
      co_await Sleep(absl::Seconds(5));
    };
    runner.Run(main);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
  }
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, DroppedWhileAnotherTaskIsInItTheStepStillEnds) {
  int gone = 0;
  auto main = [&]() -> Co<void> {
    std::optional<AsyncGenerator<int>> numbers(Guarded(&gone, 10));
    Task<std::optional<int>> task = CreateTask(numbers->Next());
    co_await Yield();
    numbers.reset();
    EXPECT_EQ(gone, 0);
    EXPECT_EQ(co_await task, 0);
    EXPECT_EQ(gone, 1);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, MovesBetweenStepsAndDuringOne) {
  auto main = []() -> Co<void> {
    auto numbers = SlowCount(4);
    EXPECT_EQ(co_await numbers.Next(), 0);
    auto moved = std::move(numbers);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
    EXPECT_EQ(co_await moved.Next(), 1);
    Task<std::optional<int>> task = CreateTask(moved.Next());
    co_await Yield();
    auto again = std::move(moved);
    EXPECT_THROW(co_await again.Next(), std::runtime_error);
    EXPECT_EQ(co_await task, 2);
    EXPECT_EQ(co_await again.Next(), 3);
    EXPECT_EQ(co_await moved.Next(), std::nullopt);
    auto assigned = Count(1);
    assigned = std::move(again);
    EXPECT_EQ(co_await assigned.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
}

AsyncGenerator<int> Tree(int depth) {
  if (depth == 0) {
    co_yield 1;
  } else {
    COIL_FOR_AWAIT(int i, Tree(depth - 1)) co_yield i;
    COIL_FOR_AWAIT(int i, Tree(depth - 1)) co_yield i;
  }
}

TEST(AsyncGeneratorTest, GeneratorsNest) {
  auto main = []() -> Co<int> {
    int leaves = 0;
    COIL_FOR_AWAIT(int i, Tree(8)) leaves += i;
    co_return leaves;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 256);
}

TEST(AsyncGeneratorTest, AMillionValuesNeedNoStack) {
  auto main = []() -> Co<long> {
    long sum = 0;
    auto numbers = Count(1000000);
    while (auto i = co_await numbers.Next()) sum += *i;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 499999500000);
}

TEST(AsyncGeneratorTest, ANextThatWasNeverAwaitedIsReported) {
  std::vector<std::string> reports;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    auto numbers = Count(1);
    {
      auto dropped = numbers.Next();
    }
    EXPECT_EQ(co_await numbers.Next(), 0);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(reports.size(), 1u);
}

// -------------------------------------------------------------------- AClose

AsyncGenerator<int> WithCleanup(Log* log) {
  std::exception_ptr error;
  try {
    for (int i = 0;; ++i) co_yield i;
  } catch (...) {
    error = std::current_exception();
  }
  co_await Sleep(absl::Seconds(1));
  log->push_back("cleaned");
  if (error) std::rethrow_exception(error);
}

TEST(AsyncGeneratorTest, ACloseRunsTheCleanupThatTheBodyAwaits) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto numbers = WithCleanup(&log);
    EXPECT_EQ(co_await numbers.Next(), 0);
    EXPECT_EQ(co_await numbers.Next(), 1);
    co_await numbers.AClose();
    EXPECT_EQ(log, (Log{"cleaned"}));
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
    co_await numbers.AClose();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"cleaned"}));
}

TEST(AsyncGeneratorTest, ACloseWithFinallyIsALoopThatCleansUp) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto numbers = WithCleanup(&log);
    auto cleanup = [&]() -> Co<void> { co_await numbers.AClose(); };
    auto body = [&]() -> Co<void> {
      COIL_FOR_AWAIT(int i, numbers) {
        if (i == 3) throw std::range_error("left");
      }
    };
    EXPECT_THROW(co_await Finally(body, cleanup), std::range_error);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"cleaned"}));
}

TEST(AsyncGeneratorTest, ACloseBeforeTheFirstNextRunsNothing) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto numbers = WithCleanup(&log);
    co_await numbers.AClose();
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(log.empty());
}

TEST(AsyncGeneratorTest, ACloseAfterTheEndDoesNothing) {
  auto main = []() -> Co<void> {
    auto numbers = Count(0);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
    co_await numbers.AClose();
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ACloseRunsTheDestructorsOfAPlainBody) {
  int gone = 0;
  auto main = [&]() -> Co<void> {
    auto numbers = Guarded(&gone, 5);
    co_await numbers.Next();
    co_await numbers.AClose();
    EXPECT_EQ(gone, 1);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, ABodyThatSwallowsGeneratorExitAndReturnsIsClosed) {
  auto make = []() -> AsyncGenerator<int> {
    try {
      co_yield 1;
    } catch (const GeneratorExit&) {
    }
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    co_await numbers.Next();
    co_await numbers.AClose();
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, ABodyThatYieldsAfterGeneratorExitIsAnError) {
  int gone = 0;
  auto make = [&]() -> AsyncGenerator<int> {
    Guard guard(&gone);
    try {
      co_yield 1;
    } catch (const GeneratorExit&) {
    }
    co_yield 2;
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    co_await numbers.Next();
    std::string what;
    try {
      co_await numbers.AClose();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_NE(what.find("asynchronous generator ignored GeneratorExit"),
              std::string::npos)
        << what;
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(gone, 1);
}

TEST(AsyncGeneratorTest, AnErrorOfTheCleanupComesOutOfAClose) {
  auto make = []() -> AsyncGenerator<int> {
    bool closed = false;
    try {
      co_yield 1;
    } catch (const GeneratorExit&) {
      closed = true;
    }
    co_await Yield();
    if (closed) throw std::range_error("cleanup");
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    co_await numbers.Next();
    EXPECT_THROW(co_await numbers.AClose(), std::range_error);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncGeneratorTest, GeneratorExitIsNoStdException) {
  bool swallowed = false;
  auto make = [&]() -> AsyncGenerator<int> {
    try {
      co_yield 1;
    } catch (const std::exception&) {
      swallowed = true;
    }
  };
  auto main = [&]() -> Co<void> {
    auto numbers = make();
    co_await numbers.Next();
    co_await numbers.AClose();
  };
  coil::Run(main, kVirtual);
  EXPECT_FALSE(swallowed);
}

TEST(AsyncGeneratorTest, ACancelDuringACloseIsThrownInTheCleanup) {
  Log log;
  auto main = [&]() -> Co<void> {
    auto numbers = WithCleanup(&log);
    co_await numbers.Next();
    Task<void> task = CreateTask(numbers.AClose());
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_EQ(co_await numbers.Next(), std::nullopt);
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(log.empty());
}

// ------------------------------------------------------------ COIL_FOR_AWAIT

AsyncGenerator<std::pair<std::string, int>> Pairs() {
  co_yield std::make_pair(std::string("a"), 1);
  co_await Yield();
  co_yield std::make_pair(std::string("b"), 2);
}

TEST(ForAwaitTest, StructuredBindings) {
  auto main = []() -> Co<void> {
    std::map<std::string, int> seen;
    COIL_FOR_AWAIT(auto [key, value], Pairs()) { seen[key] = value; }
    EXPECT_EQ(seen.at("b"), 2);
    auto pairs = Pairs();
    COIL_FOR_AWAIT(const auto& [key, value], pairs) seen[key] += value;
    EXPECT_EQ(seen.at("a"), 2);
    COIL_FOR_AWAIT(auto&& [key, value], Pairs()) {
      std::string taken = std::move(key);
      seen[taken] = value + 10;
    }
    EXPECT_EQ(seen.at("a"), 11);
  };
  coil::Run(main, kVirtual);
}

AsyncGenerator<std::tuple<int, int, int, int>> Quads() {
  co_yield std::make_tuple(1, 2, 3, 4);
}

TEST(ForAwaitTest, StructuredBindingsOfFour) {
  auto main = []() -> Co<int> {
    int sum = 0;
    COIL_FOR_AWAIT(auto [a, b, c, d], Quads()) sum = a * b * c * d;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 24);
}

TEST(ForAwaitTest, BreakAndContinue) {
  auto main = []() -> Co<int> {
    int sum = 0;
    COIL_FOR_AWAIT(int i, Count(100)) {
      if (i % 2 == 0) continue;
      if (i > 6) break;
      sum += i;
    }
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 1 + 3 + 5);
}

TEST(ForAwaitTest, AnLvalueRangeGoesOnWhereTheLoopLeftIt) {
  auto main = []() -> Co<void> {
    auto numbers = Count(5);
    COIL_FOR_AWAIT(int i, numbers) {
      if (i == 2) break;
    }
    EXPECT_EQ(co_await numbers.Next(), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(ForAwaitTest, LoopsNest) {
  auto main = []() -> Co<int> {
    int sum = 0;
    COIL_FOR_AWAIT(int i, SlowCount(3)) {
      COIL_FOR_AWAIT(int j, SlowCount(3)) {
        if (j > i) break;
        sum += 10 * i + j;
      }
    }
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 0 + 10 + 11 + 20 + 21 + 22);
}

TEST(ForAwaitTest, BodiesMayAwaitAndReturn) {
  auto find = [](int wanted) -> Co<int> {
    COIL_FOR_AWAIT(int i, Count(10)) {
      co_await Yield();
      if (i == wanted) co_return i * 10;
    }
    co_return -1;
  };
  auto main = [&]() -> Co<void> {
    EXPECT_EQ(co_await find(4), 40);
    EXPECT_EQ(co_await find(40), -1);
  };
  coil::Run(main, kVirtual);
}

TEST(ForAwaitTest, AnEmptyRangeRunsNoBody) {
  auto main = []() -> Co<void> {
    COIL_FOR_AWAIT(int i, Count(0)) ADD_FAILURE() << i;
  };
  coil::Run(main, kVirtual);
}

TEST(ForAwaitTest, WorksInAnIfWithoutBraces) {
  auto main = []() -> Co<int> {
    int sum = 0;
    for (bool run : {true, false}) {
      if (run) {
        COIL_FOR_AWAIT(int i, Count(3)) sum += i;
      } else {
        sum += 100;
      }
    }
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 103);
}

// A range whose Next() is a leaf awaiter, as a queue's may be.
class Ticks {
 public:
  explicit Ticks(int n) : left_(n) {}
  internal::SleepForAwaiter<std::optional<int>> Next() {
    std::optional<int> value;
    if (left_ > 0) value = left_--;
    return Sleep(absl::Seconds(1), value);
  }

 private:
  int left_;
};

TEST(ForAwaitTest, NextMayBeAnyAwaitable) {
  auto main = []() -> Co<int> {
    int sum = 0;
    COIL_FOR_AWAIT(int i, Ticks(3)) sum += i;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 6);
}

TEST(ForAwaitTest, TheRangeMayBeAwaitedFor) {
  auto open = []() -> Co<AsyncGenerator<int>> {
    co_await Yield();
    co_return Count(4);
  };
  auto main = [&]() -> Co<int> {
    int sum = 0;
    COIL_FOR_AWAIT(int i, co_await open()) sum += i;
    co_return sum;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 6);
}

TEST(ForAwaitTest, MoveOnlyItemsAreMovedIntoTheDeclaration) {
  auto make = []() -> AsyncGenerator<std::unique_ptr<int>> {
    for (int i = 0; i < 3; ++i) co_yield std::make_unique<int>(i);
  };
  auto main = [&]() -> Co<int> {
    std::vector<std::unique_ptr<int>> kept;
    COIL_FOR_AWAIT(std::unique_ptr<int> p, make()) kept.push_back(std::move(p));
    co_return static_cast<int>(kept.size());
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 3);
}

TEST(ForAwaitTest, ACancelLeavesTheLoop) {
  int gone = 0;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask([&]() -> Co<void> {
      COIL_FOR_AWAIT(int i, Guarded(&gone, 1000)) EXPECT_LT(i, 3);
    });
    co_await Sleep(absl::Milliseconds(2500));
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_EQ(gone, 1);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
