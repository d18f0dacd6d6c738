// The test kit, seen as its user sees it: what passes, and what a failure says.

#include "coil/task/testing.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// ---- tests that are to fail are run by a process of their own

std::string RunSelf(const std::string& test, const std::string& setting = "",
                    const std::string& flags = "") {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  path[length > 0 ? length : 0] = '\0';
  const std::string command = absl::StrCat(
      "env -u XML_OUTPUT_FILE -u GTEST_OUTPUT -u TEST_TARGET "
      "-u TESTBRIDGE_TEST_ONLY -u COIL_TEST_SEED -u COIL_SWEEP_POINT "
      "-u TEST_SHARD_INDEX -u TEST_TOTAL_SHARDS ",
      setting, " '", path, "' --gtest_also_run_disabled_tests --gtest_filter='",
      test, "' ", flags, " 2>&1");
  FILE* out = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), out)) > 0;) {
    text.append(buffer, n);
  }
  pclose(out);
  return text;
}

Co<int> Value(int i) {
  co_await Yield();
  co_return i;
}

// ---- bodies

CORO_TEST(CoroTest, BodyRunsInVirtualTime) {
  const LoopTime start = EventLoop::Current().Now();
  co_await Sleep(absl::Hours(24));
  EXPECT_EQ(EventLoop::Current().Now() - start, absl::Hours(24));
}

CORO_TEST(CoroTest, MayEndWithoutAwaiting) { co_return; }

class CoroFixture : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { suite_set_up_ = true; }
  void SetUp() override { value_ = 7; }
  void TearDown() override { EXPECT_EQ(value_, 8); }
  static inline bool suite_set_up_ = false;
  int value_ = 0;
};

CORO_TEST_F(CoroFixture, SeesTheMembersOfTheFixture) {
  EXPECT_TRUE(suite_set_up_);
  EXPECT_EQ(value_, 7);
  co_await Yield();
  value_ = 8;
}

TEST_F(CoroFixture, MixesWithPlainTests) { value_ = 8; }

class CoroParameters : public ::testing::TestWithParam<int> {};

TEST_P(CoroParameters, RunAnyBody) {
  RunCoroTest([]() -> Co<void> {
    const int seconds = GetParam();
    EXPECT_EQ(co_await Sleep(absl::Seconds(seconds), seconds), seconds);
  });
}
INSTANTIATE_TEST_SUITE_P(All, CoroParameters, ::testing::Values(1, 2));

TEST(RunCoroTestTest, RealClock) {
  bool ran = false;
  RunCoroTest(
      [&]() -> Co<void> {
        EXPECT_THROW(co_await AdvanceBy(absl::Seconds(1)), std::runtime_error);
        ran = true;
      },
      {.real_clock = true});
  EXPECT_TRUE(ran);
}

CORO_TEST(DISABLED_Fails, Throws) {
  co_await Yield();
  throw std::runtime_error("the reason");
}

TEST(CoroTestFailure, ErrorOfTheBodyFailsTheTestAndSaysHowToReplay) {
  const std::string out = RunSelf("DISABLED_Fails.Throws");
  EXPECT_THAT(out, HasSubstr("the body threw std::runtime_error: the reason"));
  EXPECT_THAT(out, HasSubstr("seed 0"));
  EXPECT_THAT(out, HasSubstr("\nreplay: /"));
  EXPECT_THAT(out, HasSubstr(" --gtest_filter=DISABLED_Fails.Throws\n"));
  EXPECT_THAT(out, Not(HasSubstr("replay: COIL_TEST_SEED")));
}

TEST(CoroTestFailure, SeedIsPartOfTheReplay) {
  const std::string out =
      RunSelf("DISABLED_Fails.Throws", "COIL_TEST_SEED=7", "--gtest_repeat=2");
  EXPECT_THAT(out, HasSubstr("seed 7"));
  EXPECT_THAT(out, HasSubstr("replay: COIL_TEST_SEED=7 /"));
  // The next repetition takes the next seed.
  EXPECT_THAT(out, HasSubstr("replay: COIL_TEST_SEED=8 /"));
  EXPECT_THAT(RunSelf("DISABLED_Fails.Throws", "COIL_TEST_SEED=x"),
              HasSubstr("COIL_TEST_SEED is no number: \"x\""));
  EXPECT_THAT(
      RunSelf("DISABLED_Fails.Throws", "TEST_TARGET=//a:b COIL_TEST_SEED=7"),
      HasSubstr("replay: bazel test //a:b --test_env=COIL_TEST_SEED=7 "
                "--test_filter=DISABLED_Fails.Throws\n"));
}

// With a seed the order of ready tasks changes; two seeds among ten differ.
CORO_TEST(DISABLED_Fails, Order) {
  std::string order;
  auto note = [&order](char c) -> Co<void> {
    order.push_back(c);
    co_return;
  };
  for (char c : {'a', 'b', 'c', 'd', 'e'}) CreateTask(note(c));
  co_await RunUntilIdle();
  EXPECT_EQ(order, "") << "order=" << order;
}

TEST(CoroTestFailure, SeedShufflesReadyTasks) {
  const std::string fifo = RunSelf("DISABLED_Fails.Order");
  EXPECT_THAT(fifo, HasSubstr("order=abcde"));
  const std::string shuffled =
      RunSelf("DISABLED_Fails.Order", "COIL_TEST_SEED=1", "--gtest_repeat=5");
  EXPECT_NE(shuffled.find("order="), std::string::npos);
  size_t fifos = 0;
  for (size_t at = 0;
       (at = shuffled.find("order=abcde", at)) != std::string::npos; ++at) {
    ++fifos;
  }
  EXPECT_LT(fifos, 5u);
}

// ---- what is left over

CORO_TEST(DISABLED_Leaves, Task) {
  CreateTask(Sleep(absl::Hours(1)), {.name = "forgotten"});
  co_await Yield();
}

CORO_TEST(DISABLED_Leaves, Timer) {
  EventLoop::Current().CallLater(absl::Hours(1), [] {});
  co_return;
}

CORO_TEST(DISABLED_Leaves, Descriptor) {
  EXPECT_GE(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
  co_return;
}

CORO_TEST(DISABLED_Leaves, Watch) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  EventLoop::Current().AddReader(ends[0], [] {});
  co_return;
}

CORO_TEST(DISABLED_Leaves, Handle) {
  static Task<void>* const kept = new Task<void>();
  *kept = CreateTask(Sleep(absl::Seconds(1)));
  co_await *kept;
}

CORO_TEST(DISABLED_Leaves, Error) {
  auto fails = []() -> Co<void> {
    co_await Yield();
    throw std::runtime_error("unread");
  };
  CreateTask(fails());
  co_await Sleep(absl::Seconds(1));
}

CORO_TEST(DISABLED_Leaves, Coroutine) {
  {
    Co<int> never = Value(1);
  }
  co_return;
}

CORO_TEST(DISABLED_Leaves, StubbornTask) {
  auto stubborn = []() -> Co<void> {
    for (;;) {
      try {
        co_await Sleep(absl::InfiniteDuration());
      } catch (const CancelledError&) {
      }
    }
  };
  CreateTask(stubborn());
  co_await Yield();
}

CORO_TEST(DISABLED_Leaves, Deadlock) {
  Future<int> never;
  never.SetName("never");
  co_await never;
}

TEST(LeftOverTest, EachKindFailsTheTestAndIsNamed) {
  const std::string task = RunSelf("DISABLED_Leaves.Task");
  EXPECT_THAT(task, HasSubstr("tasks are left over: 1 task\nforgotten: "
                              "waiting, age 0\n  waits for timer in 1h\n"));
  EXPECT_THAT(RunSelf("DISABLED_Leaves.Timer"),
              HasSubstr("left over: 1 armed timer more than before"));
  EXPECT_THAT(RunSelf("DISABLED_Leaves.Descriptor"),
              HasSubstr("left over: 1 open descriptor more than before"));
  const std::string watch = RunSelf("DISABLED_Leaves.Watch");
  EXPECT_THAT(watch,
              HasSubstr("left over: 1 watched descriptor more than before"));
  EXPECT_THAT(watch,
              HasSubstr("left over: 2 open descriptors more than before"));
  EXPECT_THAT(RunSelf("DISABLED_Leaves.Handle"),
              HasSubstr("left over: 1 coroutine frame or task state more"));
  EXPECT_THAT(RunSelf("DISABLED_Leaves.Error"),
              HasSubstr("reported to the loop's exception handler: Task "
                        "exception was never retrieved: std::runtime_error: "
                        "unread"));
  EXPECT_THAT(RunSelf("DISABLED_Leaves.Coroutine"),
              HasSubstr("was never awaited"));
  const std::string stubborn = RunSelf("DISABLED_Leaves.StubbornTask");
  EXPECT_THAT(stubborn, HasSubstr("tasks are left over: 1 task\n"));
  EXPECT_THAT(stubborn, HasSubstr("the tasks that are left over do not end: "));
  const std::string deadlock = RunSelf("DISABLED_Leaves.Deadlock");
  EXPECT_THAT(deadlock, HasSubstr("the test does not come to an end: "));
  EXPECT_THAT(deadlock, HasSubstr("waits for future never\n"));
}

CORO_TEST(LeftOverTest, TaskThatEndsInTheSameInstantIsNone) {
  Task<void> task = CreateTask(Sleep(absl::Hours(1)));
  co_await Yield();
  task.Cancel();  // it ends after the body
}

CORO_TEST(LeftOverTest, ReportsThatWereTakenDoNotFailTheTest) {
  auto fails = []() -> Co<void> {
    co_await Yield();
    throw std::runtime_error("unread");
  };
  CreateTask(fails());
  co_await Sleep(absl::Seconds(1));
  EXPECT_THAT(TakeReports(),
              ElementsAre(HasSubstr("never retrieved: std::runtime_error: "
                                    "unread")));
  EXPECT_THAT(TakeReports(), IsEmpty());
}

TEST(LeftOverTest, CheckCanBeSwitchedOff) {
  RunCoroTest(
      []() -> Co<void> {
        CreateTask(Sleep(absl::Hours(1)));
        co_return;
      },
      {.check_leftovers = false});
}

TEST(TakeReportsTest, OutsideOfATestNamesTheRule) {
  EXPECT_THROW(TakeReports(), std::runtime_error);
}

// ---- assertions

Co<int> Throws() {
  co_await Yield();
  throw std::invalid_argument("bad");
}

TEST(CoAssertTest, ThatHoldGoOn) {
  bool reached = false;
  RunCoroTest([&]() -> Co<void> {
    CO_ASSERT_EQ(co_await Value(1), 1) << "not printed";
    CO_ASSERT_NE(co_await Value(1), co_await Value(2));
    CO_ASSERT_LT(1, co_await Value(2));
    CO_ASSERT_LE(co_await Value(2), 2);
    CO_ASSERT_GT(co_await Value(2), 1);
    CO_ASSERT_GE(co_await Value(2), 2);
    CO_ASSERT_TRUE(co_await Value(1) == 1);
    CO_ASSERT_FALSE(co_await Value(1) == 2);
    CO_ASSERT_STREQ("a", "a");
    CO_ASSERT_STRNE("a", "b");
    CO_ASSERT_DOUBLE_EQ(1.0, 1.0);
    CO_ASSERT_NEAR(1.0, 1.05, 0.1);
    CO_ASSERT_THAT(co_await Value(3), ::testing::Gt(2));
    CO_ASSERT_THROW(co_await Throws(), std::invalid_argument);
    CO_ASSERT_ANY_THROW(co_await Throws());
    CO_ASSERT_NO_THROW(co_await Value(1));
    if (co_await Value(0)) CO_FAIL() << "not reached";
    reached = true;
  });
  EXPECT_TRUE(reached);
}

#define FAILING_ASSERTION(name, ...)         \
  CORO_TEST(DISABLED_Asserts, name) {        \
    co_await Yield();                        \
    __VA_ARGS__ << " the text that follows"; \
    ADD_FAILURE() << "the body went on";     \
  }
FAILING_ASSERTION(Eq, CO_ASSERT_EQ(co_await Value(1), 2))
FAILING_ASSERTION(Ne, CO_ASSERT_NE(co_await Value(1), 1))
FAILING_ASSERTION(Lt, CO_ASSERT_LT(co_await Value(1), 1))
FAILING_ASSERTION(Le, CO_ASSERT_LE(co_await Value(1), 0))
FAILING_ASSERTION(Gt, CO_ASSERT_GT(co_await Value(1), 1))
FAILING_ASSERTION(Ge, CO_ASSERT_GE(co_await Value(1), 2))
FAILING_ASSERTION(True, CO_ASSERT_TRUE(co_await Value(0)))
FAILING_ASSERTION(False, CO_ASSERT_FALSE(co_await Value(1)))
FAILING_ASSERTION(StrEq, CO_ASSERT_STREQ("a", "b"))
FAILING_ASSERTION(Near, CO_ASSERT_NEAR(1.0, 2.0, 0.1))
FAILING_ASSERTION(That, CO_ASSERT_THAT(co_await Value(3), ::testing::Gt(3)))
FAILING_ASSERTION(Throw, CO_ASSERT_THROW(co_await Value(1), std::bad_alloc))
FAILING_ASSERTION(OtherThrow,
                  CO_ASSERT_THROW(co_await Throws(), std::bad_alloc))
FAILING_ASSERTION(AnyThrow, CO_ASSERT_ANY_THROW(co_await Value(1)))
FAILING_ASSERTION(NoThrow, CO_ASSERT_NO_THROW(co_await Throws()))
FAILING_ASSERTION(Fail, CO_FAIL())
FAILING_ASSERTION(Pending, CO_ASSERT_PENDING(CreateTask(Value(1))))
FAILING_ASSERTION(Done, CO_ASSERT_DONE(CreateTask(Sleep(absl::Seconds(1)))))

TEST(CoAssertTest, EachEndsTheBodyWhereItFails) {
  const std::string out = RunSelf("DISABLED_Asserts.*");
  EXPECT_THAT(out, HasSubstr("[  FAILED  ] 18 tests"));
  EXPECT_THAT(out, Not(HasSubstr("the body went on")));
  size_t texts = 0;
  for (size_t at = 0;
       (at = out.find(" the text that follows", at)) != std::string::npos;
       ++at) {
    ++texts;
  }
  EXPECT_EQ(texts, 18u);
  EXPECT_THAT(out, HasSubstr("co_await Value(1)"));
  EXPECT_THAT(out, HasSubstr("it is pending: <Task-"));
  EXPECT_THAT(out, HasSubstr("it is done: <Task-"));
}

Co<void> FailsInside() {
  CO_ASSERT_EQ(1, 2);
  co_await Yield();
}
CORO_TEST(DISABLED_Asserts2, InACalledCoroutine) {
  co_await FailsInside();
  ADD_FAILURE() << "the caller goes on";
  CO_RETURN_ON_FAILURE();
  ADD_FAILURE() << "and does not end";
}
CORO_TEST(DISABLED_Asserts2, Skips) {
  co_await Yield();
  CO_SKIP() << "for a reason";
  ADD_FAILURE() << "the body went on";
}

TEST(CoAssertTest, EndsItsOwnCoroutineOnly) {
  const std::string out = RunSelf("DISABLED_Asserts2.InACalledCoroutine");
  EXPECT_THAT(out, HasSubstr("the caller goes on"));
  EXPECT_THAT(out, Not(HasSubstr("and does not end")));
}

TEST(CoAssertTest, SkipEndsTheBody) {
  const std::string out = RunSelf("DISABLED_Asserts2.Skips");
  EXPECT_THAT(out, HasSubstr("[  SKIPPED ] 1 test"));
  EXPECT_THAT(out, Not(HasSubstr("the body went on")));
}

// ---- virtual time

CORO_TEST(RunUntilIdleTest, RunsWhatIsReadyAndNothingElse) {
  int steps = 0;
  auto walk = [&steps]() -> Co<void> {
    for (int i = 0; i < 10; ++i) {
      co_await Yield();
      ++steps;
    }
    co_await Sleep(absl::Nanoseconds(1));
    ++steps;
  };
  Task<void> task = CreateTask(walk());
  const LoopTime start = EventLoop::Current().Now();
  co_await RunUntilIdle();
  EXPECT_EQ(steps, 10);
  EXPECT_EQ(EventLoop::Current().Now(), start);
  EXPECT_PENDING(task);
  co_await task;
  EXPECT_EQ(steps, 11);
  EXPECT_DONE(task);
}

CORO_TEST(RunUntilIdleTest, FiresTimersThatAreDue) {
  bool fired = false;
  EventLoop& loop = EventLoop::Current();
  loop.CallAt(loop.Now(), [&] { fired = true; });
  co_await RunUntilIdle();
  EXPECT_TRUE(fired);
}

CORO_TEST(RunUntilIdleTest, TasksThatNeverRestAreAnError) {
  auto poll = []() -> Co<void> {
    for (;;) co_await Yield();
  };
  Task<void> task = CreateTask(poll());
  EXPECT_THROW(co_await RunUntilIdle(), std::runtime_error);
  task.Cancel();
  co_await Settle(task);
}

CORO_TEST(AdvanceByTest, StopsExactlyThereAndSettles) {
  std::vector<std::string> log;
  auto tick = [&log](absl::Duration d, std::string name) -> Co<void> {
    co_await Sleep(d);
    log.push_back(name);
    co_await Yield();
    log.push_back(name + "'");
  };
  Task<void> one = CreateTask(tick(absl::Seconds(1), "1"));
  Task<void> two = CreateTask(tick(absl::Seconds(2), "2"));
  Task<void> three = CreateTask(tick(absl::Nanoseconds(2000000001), "3"));
  const LoopTime start = EventLoop::Current().Now();
  co_await RunUntilIdle();
  co_await AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(EventLoop::Current().Now() - start, absl::Seconds(2));
  EXPECT_THAT(log, ElementsAre("1", "1'", "2", "2'"));
  co_await AdvanceTo(start + absl::Seconds(3));
  EXPECT_THAT(log, ElementsAre("1", "1'", "2", "2'", "3", "3'"));
  EXPECT_EQ(EventLoop::Current().Now() - start, absl::Seconds(3));
  co_await AdvanceTo(start);  // past
  co_await AdvanceBy(absl::ZeroDuration());
  EXPECT_EQ(EventLoop::Current().Now() - start, absl::Seconds(3));
}

CORO_TEST(AdvanceByTest, BadDurationsNameTheRule) {
  EXPECT_THROW(co_await AdvanceBy(absl::Seconds(-1)), std::invalid_argument);
  EXPECT_THROW(co_await AdvanceBy(absl::InfiniteDuration()),
               std::invalid_argument);
  EXPECT_THROW(co_await AdvanceTo(LoopTime::InfiniteFuture()),
               std::invalid_argument);
}

CORO_TEST(SequencerTest, OrdersStepsOfSeveralTasks) {
  Sequencer sequencer;
  std::string log;
  auto step = [&](int n) -> Co<void> {
    Sequencer::Step turn = co_await sequencer.At(n);
    log += std::to_string(n);
    co_await Sleep(absl::Seconds(1));
    log += "-";
  };
  std::vector<Task<void>> tasks;
  for (int n : {3, 1, 0, 2}) tasks.push_back(CreateTask(step(n)));
  for (Task<void>& task : tasks) co_await task;
  EXPECT_EQ(log, "0-1-2-3-");
  EXPECT_THROW(static_cast<void>(co_await sequencer.At(2)),
               std::invalid_argument);
}

CORO_TEST(SequencerTest, CancelledStepIsPassedOver) {
  Sequencer sequencer;
  std::string log;
  auto step = [&](int n) -> Co<void> {
    Sequencer::Step turn = co_await sequencer.At(n);
    log += std::to_string(n);
  };
  Task<void> one = CreateTask(step(1));
  Task<void> two = CreateTask(step(2));
  Task<void> three = CreateTask(step(3));
  co_await RunUntilIdle();
  two.Cancel();
  co_await RunUntilIdle();
  {
    Sequencer::Step turn = co_await sequencer.At(0);
    EXPECT_THROW(static_cast<void>(co_await sequencer.At(0)),
                 std::invalid_argument);
  }
  one.Cancel();  // its turn has come, but it has not gone on
  co_await RunUntilIdle();
  EXPECT_EQ(log, "3");
  EXPECT_TRUE(two.Cancelled());
  EXPECT_TRUE(one.Cancelled());
}

}  // namespace
}  // namespace coil
