// What can be seen of tasks from outside.

#include "coil/task/inspect.h"

#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "coil/task/internal/function_name.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
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

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

// The place of an await below is found by these.
constexpr uint32_t kLineOfSleep = __LINE__ + 1;
Co<void> Inner() { co_await Sleep(absl::Seconds(10)); }
constexpr uint32_t kLineOfInner = __LINE__ + 1;
Co<void> Outer() { co_await Inner(); }

std::vector<std::string> Functions(
    const std::vector<FrameCallGraphEntry>& stack) {
  std::vector<std::string> names;
  for (const FrameCallGraphEntry& frame : stack) {
    names.push_back(frame.function);
  }
  return names;
}

TEST(DumpTasksTest, ShowsNameStateAgeCancelsChainAndWhatTheLeafWaitsFor) {
  std::string dump;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask(Outer(), {.name = "sleeper"});
    co_await Sleep(absl::Seconds(3));
    dump = DumpTasks();
    task.Cancel();
    co_await Settle(task);
  };
  coil::Run(main, kVirtual);
  EXPECT_THAT(dump, HasSubstr("2 tasks\n"));
  EXPECT_THAT(dump, HasSubstr("sleeper: waiting, age 3s\n"
                              "  waits for timer in 7s\n"));
  EXPECT_THAT(dump,
              HasSubstr(absl::StrCat(
                  "  in coil::Inner at inspect_test.cc:", kLineOfSleep, "\n")));
  EXPECT_THAT(dump,
              HasSubstr(absl::StrCat(
                  "  in coil::Outer at inspect_test.cc:", kLineOfInner, "\n")));
  EXPECT_THAT(dump, HasSubstr("  created at inspect_test.cc:"));
  // The task that runs knows its frames by itself only.
  EXPECT_THAT(dump, HasSubstr(": running, age 3s\n  created at"));
}

TEST(DumpTasksTest, OfTheMainTaskShowsTheCallThatRunsIt) {
  auto main = []() -> Co<std::string> { co_return DumpTasks(); };
  const auto at = [](int line) {
    return HasSubstr(absl::StrCat("created at inspect_test.cc:", line, "\n"));
  };
  EXPECT_THAT(coil::Run(main), at(__LINE__));
  EXPECT_THAT(coil::Run(main()), at(__LINE__));
  EXPECT_THAT(coil::Run(main, kVirtual), at(__LINE__));
  Runner runner;
  EXPECT_THAT(runner.Run(main), at(__LINE__));
  EXPECT_THAT(runner.Run(main()), at(__LINE__));
  runner.Close();
  EventLoop loop;
  EXPECT_THAT(loop.RunUntilComplete(main()), at(__LINE__));
}

TEST(DumpTasksTest, CountsCancelRequests) {
  std::string dump;
  auto main = [&]() -> Co<void> {
    auto stubborn = []() -> Co<void> {
      for (int i = 0; i < 2; ++i) {
        try {
          co_await Sleep(absl::Seconds(10));
        } catch (const CancelledError&) {
        }
      }
    };
    Task<void> task = CreateTask(stubborn(), {.name = "stubborn"});
    co_await Yield();
    co_await Yield();
    task.Cancel();
    co_await Yield();
    co_await Yield();
    dump = DumpTasks();
    co_await Settle(task);
  };
  coil::Run(main, kVirtual);
  EXPECT_THAT(dump,
              HasSubstr("stubborn: waiting, age 0, cancel requested 1 time\n"));
}

TEST(DumpTasksTest, WithoutALoopNamesTheRule) {
  EXPECT_THROW(DumpTasks(), std::runtime_error);
}

TEST(DumpTasksTest, OfALoopThatDoesNotRun) {
  Runner runner(kVirtual);
  auto main = []() -> Co<Task<void>> {
    Task<void> task = CreateTask(Outer(), {.name = "left over"});
    co_await Yield();
    co_await Yield();
    co_return task;
  };
  Task<void> task = runner.Run(main);
  EXPECT_THAT(DumpTasks(runner.Loop()),
              HasSubstr("left over: waiting, age 0\n"
                        "  waits for timer in 10s\n"));
}

TEST(DumpTasksTest, OfATaskThatHasNotStartedShowsItsCoroutine) {
  std::string dump;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask(Outer(), {.name = "new"});
    dump = DumpTasks();
    task.Cancel();
    co_await Settle(task);
  };
  coil::Run(main, kVirtual);
  EXPECT_THAT(dump, HasSubstr("new: ready, age 0\n  in coil::Outer at "));
}

// A loop that is made long before, or that sleeps without a timer, does not
// make tasks look older than they are.
TEST(DumpTasksTest, AgeCountsFromTheCreation) {
  std::vector<absl::Duration> ages;
  Runner runner(kVirtual);
  runner.Loop();
  auto main = [&]() -> Co<void> {
    ages.push_back(Inspect(CurrentTask()).age);
    co_await Sleep(absl::Hours(1));
    ages.push_back(Inspect(CurrentTask()).age);
  };
  runner.Run(main);
  runner.Run(main);
  EXPECT_THAT(ages, ElementsAre(absl::ZeroDuration(), absl::Hours(1),
                                absl::ZeroDuration(), absl::Hours(1)));
}

Co<void> Deep(int n) {
  if (n == 0) {
    co_await Sleep(absl::Seconds(1));
  } else {
    co_await Deep(n - 1);
  }
}

TEST(DumpTasksTest, VeryLongChainIsShownByItsEnds) {
  std::string dump;
  size_t frames = 0;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask(Deep(10000));
    co_await Yield();
    co_await Yield();
    dump = DumpTasks();
    frames = StackOf(task).size();
    task.Cancel();
    co_await Settle(task);
  };
  coil::Run(main, kVirtual);
  EXPECT_THAT(dump, HasSubstr("  ... 9941 more frames\n"));
  EXPECT_LT(dump.size(), 10000u);
  EXPECT_EQ(frames, 10001u);
}

TEST(DeadlockTest, MessageHoldsTheDump) {
  auto main = []() -> Co<void> {
    Future<int> never;
    never.SetName("never");
    co_await never;
  };
  std::string message;
  try {
    coil::Run(main, kVirtual);
  } catch (const std::runtime_error& e) {
    message = e.what();
  }
  EXPECT_THAT(message, HasSubstr("deadlock"));
  EXPECT_THAT(message, HasSubstr("1 task\n"));
  EXPECT_THAT(message, HasSubstr("waits for future never\n"));
  EXPECT_THAT(message, HasSubstr("<lambda> at inspect_test.cc:"));
}

// ---- frames

TEST(StackOfTest, LimitKeepsTheInnermostOrTheOutermost) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Deep(2));
    co_await Yield();
    co_await Yield();
    Task<void> pair = CreateTask(Outer());
    co_await Yield();
    co_await Yield();
    EXPECT_THAT(Functions(StackOf(pair)),
                ElementsAre("coil::Inner", "coil::Outer"));
    EXPECT_THAT(Functions(StackOf(pair, 1)), ElementsAre("coil::Inner"));
    EXPECT_THAT(Functions(StackOf(pair, -1)), ElementsAre("coil::Outer"));
    EXPECT_THAT(StackOf(pair, 0), IsEmpty());
    EXPECT_EQ(StackOf(pair, 100).size(), 2u);
    EXPECT_EQ(StackOf(pair, -100).size(), 2u);
    EXPECT_EQ(StackOf(task).size(), 3u);
    EXPECT_EQ(CoroutineOf(pair)->function, "coil::Outer");
    EXPECT_EQ(CoroutineOf(pair)->line, kLineOfInner);
    EXPECT_THAT(
        FormatStack(pair, 1),
        HasSubstr(absl::StrCat("line ", kLineOfSleep, ", in coil::Inner\n")));
    pair.Cancel();
    co_await Settle(pair);
    EXPECT_THAT(StackOf(pair), IsEmpty());
    EXPECT_EQ(CoroutineOf(pair), std::nullopt);
    EXPECT_THAT(StackOf(CurrentTask()), IsEmpty());
    Future<int> future;
    EXPECT_THAT(StackOf(future), IsEmpty());
  };
  coil::Run(main, kVirtual);
}

template <class T>
struct Widget {
  Co<void> Poll(std::vector<int>& out) const {
    out = Lines(co_await CallGraph());
  }
  static std::vector<int> Lines(const FutureCallGraph& graph) {
    names = Functions(graph.call_stack);
    return {};
  }
  Co<void> operator()(int) { co_await Sleep(absl::Seconds(1)); }
  static inline std::vector<std::string> names;
};

TEST(FunctionNameTest, IsThatOfTheSource) {
  auto main = []() -> Co<void> {
    std::vector<int> out;
    Widget<std::vector<int>> widget;
    co_await widget.Poll(out);
  };
  coil::Run(main, kVirtual);
  ASSERT_EQ(Widget<std::vector<int>>::names.size(), 2u);
  EXPECT_THAT(Widget<std::vector<int>>::names[0],
              ::testing::MatchesRegex("coil::Widget(<.*>)?::Poll"));
  EXPECT_THAT(Widget<std::vector<int>>::names[1],
              HasSubstr("FunctionNameTest_IsThatOfTheSource_Test::TestBody()"
                        "::<lambda>"));
}

TEST(FunctionNameTest, OfBothCompilers) {
  using internal::ShortFunctionName;
  EXPECT_EQ(ShortFunctionName("void a::{anonymous}::F(F(int, std::string)::"
                              "_ZN1a1FEiNSs.Frame*)"),
            "a::F");
  EXPECT_EQ(ShortFunctionName("Co<void> a::(anonymous namespace)::F(int, "
                              "std::string)"),
            "a::F");
  EXPECT_EQ(ShortFunctionName("Co<void> a::S::M(T, std::vector<int> &) const "
                              "[T = int]"),
            "a::S::M");
  EXPECT_EQ(ShortFunctionName("void main()::<lambda(int)>::operator()(main()::"
                              "<lambda(int)>::_ZZ4main.Frame*)"),
            "main()::<lambda>");
  EXPECT_EQ(ShortFunctionName("a::{anonymous}::F(int)::<lambda(int, a::S)>"),
            "a::F(int)::<lambda>");
  EXPECT_EQ(ShortFunctionName("auto main()::(anonymous class)::operator()(auto)"
                              " const [x:auto = int]"),
            "main()::<lambda>");
  EXPECT_EQ(ShortFunctionName("coil::Co<std::map<int, long> > a::F(int)"),
            "a::F");
  EXPECT_EQ(ShortFunctionName("int main()"), "main");
  EXPECT_EQ(ShortFunctionName(""), "");
  EXPECT_EQ(ShortFunctionName("odd)"), "odd)");
}

// ---- the graph

TEST(CallGraphTest, ShowsWhoAwaitsWhom) {
  auto main = []() -> Co<void> {
    Task<void> inner = CreateTask(Outer(), {.name = "inner"});
    Task<void> first = CreateTask([inner]() -> Co<void> { co_await inner; },
                                  {.name = "first"});
    Task<void> second = CreateTask([inner]() -> Co<void> { co_await inner; },
                                   {.name = "second"});
    co_await Yield();
    co_await Yield();
    FutureCallGraph graph = CallGraph(inner);
    EXPECT_EQ(graph.future, inner);
    EXPECT_THAT(Functions(graph.call_stack),
                ElementsAre("coil::Inner", "coil::Outer"));
    EXPECT_EQ(graph.awaited_by.size(), 2u);
    EXPECT_EQ(graph.awaited_by[0].future, first);
    EXPECT_EQ(graph.awaited_by[1].future, second);
    EXPECT_EQ(graph.awaited_by[0].call_stack.size(), 1u);
    const std::string text = FormatCallGraph(graph);
    EXPECT_THAT(text, HasSubstr("* inner\n  + Call stack:\n  |   File '"));
    EXPECT_THAT(text, HasSubstr(absl::StrCat("', line ", kLineOfSleep,
                                             ", in coil::Inner\n")));
    EXPECT_THAT(text, HasSubstr("  + Awaited by:\n    * first\n"
                                "      + Call stack:\n      |   File '"));
    EXPECT_THAT(text, HasSubstr("    * second\n"));
    // No frames, but the graph.
    FutureCallGraph bare = CallGraph(inner, 0);
    EXPECT_THAT(bare.call_stack, IsEmpty());
    EXPECT_EQ(bare.awaited_by.size(), 2u);
    const TaskInfo info = Inspect(first);
    EXPECT_THAT(info.awaits, ElementsAre(AnyTask(inner)));
    EXPECT_THAT(Inspect(inner).awaited_by,
                ElementsAre(AnyTask(first), AnyTask(second)));
    inner.Cancel();
    co_await Settle(first);
    co_await Settle(second);
    EXPECT_THAT(CallGraph(inner).awaited_by, IsEmpty());
  };
  coil::Run(main, kVirtual);
}

Co<void> Look(FutureCallGraph& out) { out = co_await CallGraph(); }
Co<void> LookFromBelow(FutureCallGraph& out) { co_await Look(out); }

TEST(CallGraphTest, OfTheCurrentTaskHasItsFrames) {
  auto main = []() -> Co<void> {
    FutureCallGraph graph;
    co_await LookFromBelow(graph);
    EXPECT_EQ(graph.future, CurrentTask());
    EXPECT_EQ(graph.call_stack.size(), 3u);
    EXPECT_EQ(graph.call_stack[0].function, "coil::Look");
    EXPECT_EQ(graph.call_stack[1].function, "coil::LookFromBelow");
    FutureCallGraph limited = co_await CallGraph(0);
    EXPECT_THAT(limited.call_stack, IsEmpty());
  };
  coil::Run(main, kVirtual);
}

TEST(CallGraphTest, OfAFutureShowsItsWaiters) {
  auto main = []() -> Co<void> {
    Future<int> future;
    Task<void> waiter = CreateTask([future]() -> Co<void> { co_await future; });
    co_await Yield();
    FutureCallGraph graph = CallGraph(future);
    EXPECT_EQ(graph.awaited_by.size(), 1u);
    EXPECT_EQ(graph.awaited_by[0].future, waiter);
    future.SetResult(1);
    co_await waiter;
  };
  coil::Run(main, kVirtual);
}

TEST(CallGraphTest, WhatIsReachedTwiceIsExpandedOnce) {
  auto main = []() -> Co<void> {
    // root awaits left and right, both await bottom.
    Task<void> bottom = CreateTask(Inner(), {.name = "bottom"});
    auto wait = [](Task<void> task) -> Co<void> { co_await task; };
    Task<void> left = CreateTask(wait(bottom), {.name = "left"});
    Task<void> right = CreateTask(wait(bottom), {.name = "right"});
    Task<void> root = CreateTask(wait(left), {.name = "root"});
    co_await Yield();
    co_await Yield();
    AwaitEdge edge(right, root);
    FutureCallGraph graph = CallGraph(bottom);
    EXPECT_EQ(graph.awaited_by.size(), 2u);
    EXPECT_EQ(graph.awaited_by[0].awaited_by.size(), 1u);
    EXPECT_FALSE(graph.awaited_by[0].awaited_by[0].repeated);
    EXPECT_TRUE(graph.awaited_by[1].awaited_by[0].repeated);
    EXPECT_THAT(FormatCallGraph(graph), HasSubstr("+ Awaited by: see above\n"));
    const std::string tree = FormatTaskTree(EventLoop::Current());
    EXPECT_THAT(tree, HasSubstr("bottom (shown above)\n"));
    bottom.Cancel();
    co_await Settle(root);
    co_await Settle(right);
  };
  coil::Run(main, kVirtual);
}

TEST(CallGraphTest, LongChainOfTasksIsCutWhereItIsTooDeep) {
  auto main = []() -> Co<void> {
    auto wait = [](Task<void> task) -> Co<void> { co_await task; };
    std::vector<Task<void>> tasks = {CreateTask(Inner())};
    for (int i = 0; i < 5000; ++i) {
      tasks.push_back(CreateTask(wait(tasks.back())));
    }
    co_await Yield();
    co_await Yield();
    FutureCallGraph graph = CallGraph(tasks.front());
    int depth = 0;
    const FutureCallGraph* at = &graph;
    for (; !at->awaited_by.empty(); at = &at->awaited_by[0]) ++depth;
    EXPECT_TRUE(at->repeated);
    EXPECT_GT(depth, 100);
    const std::string tree = FormatTaskTree(EventLoop::Current());
    EXPECT_THAT(tree, HasSubstr("... nested too deeply to be drawn\n"));
    EXPECT_LT(tree.size(), 100000u);
    tasks.front().Cancel();
    co_await Settle(tasks.back());
  };
  coil::Run(main, kVirtual);
}

TEST(AwaitEdgeTest, ShowsWhatTheLibraryCannotSee) {
  auto main = []() -> Co<void> {
    Future<int> future;
    {
      AwaitEdge edge(future, CurrentTask());
      EXPECT_EQ(CallGraph(future).awaited_by.size(), 1u);
    }
    EXPECT_THAT(CallGraph(future).awaited_by, IsEmpty());
    AwaitEdge edge(future, CurrentTask());
    future.SetResult(1);
    EXPECT_THAT(CallGraph(future).awaited_by, IsEmpty());
    AwaitEdge late(future, CurrentTask());
    EXPECT_THAT(CallGraph(future).awaited_by, IsEmpty());
    EXPECT_THROW(AwaitEdge(future, future), std::invalid_argument);
    EXPECT_THROW(AwaitEdge(future, AnyTask()), std::runtime_error);
    co_return;
  };
  coil::Run(main, kVirtual);
}

// ---- table and tree

TEST(TaskTableTest, HasALineForEachTask) {
  auto main = []() -> Co<void> {
    Task<void> inner = CreateTask(Outer(), {.name = "inner"});
    Task<void> outer = CreateTask([inner]() -> Co<void> { co_await inner; },
                                  {.name = "outer"});
    CurrentTask().SetName("main");
    co_await Sleep(absl::Seconds(2));
    const std::string table = FormatTaskTable(EventLoop::Current());
    EXPECT_EQ(table.substr(0, table.find('\n')),
              "name   state    age  cancels  waits for    awaited by  stack");
    EXPECT_THAT(table, HasSubstr("\nmain   running  2s   0\n"));
    EXPECT_THAT(table,
                HasSubstr(absl::StrCat(
                    "\ninner  waiting  2s   0        timer in 8s  outer       "
                    "coil::Inner inspect_test.cc:",
                    kLineOfSleep,
                    " < coil::Outer inspect_test.cc:", kLineOfInner, "\n")));
    EXPECT_THAT(table, HasSubstr("\nouter  waiting  2s   0        task inner"));
    inner.Cancel();
    co_await Settle(outer);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTreeTest, PutsTasksBelowThoseThatAwaitThem) {
  auto main = []() -> Co<void> {
    Task<void> inner = CreateTask(Outer(), {.name = "inner"});
    Task<void> other = CreateTask(Sleep(absl::Seconds(9)), {.name = "other"});
    constexpr uint32_t kLine = __LINE__ + 1;
    auto wait = [](Task<void> task) -> Co<void> { co_await task; };
    Task<void> outer = CreateTask(wait(inner), {.name = "outer"});
    CurrentTask().SetName("main");
    co_await Sleep(absl::Seconds(2));
    AwaitEdge edge(other, outer);
    const std::string tree = FormatTaskTree(EventLoop::Current());
    const std::string expected = absl::StrCat(
        "main: running, age 2s\n"
        "outer: waiting, age 2s\n"
        "└── "
        "coil::TaskTreeTest_PutsTasksBelowThoseThatAwaitThem_Test::TestBody()"
        "::<lambda>::<lambda> inspect_test.cc:",
        kLine,
        "\n"
        "    ├── inner: waiting, age 2s\n"
        "    │   └── coil::Outer inspect_test.cc:",
        kLineOfInner,
        "\n"
        "    │       └── coil::Inner inspect_test.cc:",
        kLineOfSleep,
        "\n"
        "    │           └── waits for timer in 8s\n"
        "    └── other: waiting, age 2s\n");
    EXPECT_EQ(tree.substr(0, expected.size()), expected);
    EXPECT_THAT(tree, HasSubstr("        └── waits for timer in 7s\n"));
    inner.Cancel();
    other.Cancel();
    co_await Settle(outer);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskTreeTest, ReportsCirclesInsteadOfATree) {
  auto main = []() -> Co<void> {
    // a awaits b, b awaits c, c awaits b.
    Future<Task<void>> to_c;
    Task<void> b = CreateTask(
        [to_c]() -> Co<void> {
          Task<void> c = co_await to_c;
          co_await c;
        },
        {.name = "b"});
    auto wait = [](Task<void> task) -> Co<void> { co_await task; };
    Task<void> c = CreateTask(wait(b), {.name = "c"});
    Task<void> a = CreateTask(wait(b), {.name = "a"});
    to_c.SetResult(c);
    for (int i = 0; i < 5; ++i) co_await Yield();
    const std::string tree = FormatTaskTree(EventLoop::Current());
    EXPECT_THAT(tree, HasSubstr("in a circle:\n  b -> c -> b\n"));
    EXPECT_THAT(tree, Not(HasSubstr("└")));
    // The graph of a circle is finite too.
    FutureCallGraph graph = CallGraph(b);
    EXPECT_THAT(FormatCallGraph(graph), HasSubstr("see above"));
    a.Cancel();
    co_await Settle(a);
    EXPECT_TRUE(b.Done());
  };
  coil::Run(main, kVirtual);
}

// ---- context and text

ContextVar<int> g_variable("variable", 0);

TEST(ContextOfTest, IsTheSameObjectForAllSteps) {
  auto main = []() -> Co<void> {
    auto steps = []() -> Co<void> {
      co_await Yield();
      g_variable.Set(1);
      co_await Sleep(absl::Seconds(1));
      g_variable.Set(2);
    };
    Task<void> task = CreateTask(steps());
    Context context = ContextOf(task);
    EXPECT_EQ(context.Get(g_variable), std::nullopt);
    co_await Sleep(absl::Milliseconds(1));
    EXPECT_EQ(context.Get(g_variable), 1);
    co_await task;
    EXPECT_EQ(context.Get(g_variable), 2);
    EXPECT_EQ(ContextOf(task).Get(g_variable), 2);
    EXPECT_EQ(g_variable.Get(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(ContextOfTest, OfTheCurrentTask) {
  auto main = []() -> Co<void> {
    Context context = ContextOf(CurrentTask());
    g_variable.Set(5);
    EXPECT_EQ(context.Get(g_variable), 5);
    co_await Yield();
    EXPECT_EQ(g_variable.Get(), 5);
    g_variable.Set(6);
    EXPECT_EQ(context.Get(g_variable), 6);
    EXPECT_EQ(ContextOf(CurrentTask()).Get(g_variable), 6);
    Future<int> future;
    EXPECT_THROW(ContextOf(future), std::invalid_argument);
  };
  coil::Run(main, kVirtual);
}

// A result whose text must not be asked for.
struct Loud {
  [[maybe_unused]] friend std::ostream& operator<<(std::ostream& out,
                                                   const Loud&) {
    ADD_FAILURE() << "the text form of a task printed its result";
    return out;
  }
};

TEST(TextFormTest, SaysWhatTheTaskDoes) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Outer(), {.name = "worker"});
    EXPECT_TRUE(
        absl::StartsWith(ToString(task), "<worker ready in coil::Outer"))
        << task;
    co_await Sleep(absl::Seconds(1));
    std::ostringstream out;
    out << task;
    EXPECT_THAT(out.str(),
                HasSubstr(absl::StrCat(
                    "<worker waiting in coil::Inner at inspect_test.cc:",
                    kLineOfSleep, " waits for timer in 9s created at ")));
    task.Cancel();
    EXPECT_THAT(ToString(task), HasSubstr(" cancelling=1 "));
    co_await Settle(task);
    EXPECT_TRUE(absl::StartsWith(ToString(task), "<worker cancelled "));
    EXPECT_EQ(ToString(AnyTask()), "<no task>");
    Future<Loud> future;
    EXPECT_THAT(ToString(future), HasSubstr(" pending created at "));
    future.SetResult(Loud());
    EXPECT_THAT(ToString(future), HasSubstr(" done created at "));
    auto fails = []() -> Co<void> {
      co_await Yield();
      throw std::runtime_error("no");
    };
    Task<void> failing = CreateTask(fails());
    co_await Settle(failing);
    EXPECT_THAT(ToString(failing), HasSubstr(" failed created at "));
    EXPECT_THAT(ToString(CurrentTask()), HasSubstr(" running created at "));
  };
  coil::Run(main, kVirtual);
}

TEST(InspectTest, AHandleThatHasOutlivedItsLoopIsDescribed) {
  Task<void> done;
  std::optional<Future<void>> pending;
  auto main = [&]() -> Co<void> {
    pending.emplace();
    done = CreateTask(Sleep(absl::Seconds(1)), {.name = "worker"});
    co_await done;
  };
  // On the heap, so that a look into the loop is seen by the sanitizers.
  auto loop =
      std::make_unique<EventLoop>(LoopOptions{.simulation = &kSimulation});
  loop->RunUntilComplete(main());
  loop = nullptr;
  EXPECT_TRUE(absl::StartsWith(ToString(done), "<worker done "));
  EXPECT_THAT(ToString(*pending), HasSubstr(" pending created at "));
  EXPECT_EQ(Inspect(done).state, "done");
  EXPECT_EQ(Inspect(done).age, absl::ZeroDuration());
}

// It would take minutes if the time grew with the square of their number.
TEST(InspectTest, ManyPartsOfOneWaitAreListedInLinearTime) {
  auto main = []() -> Co<void> {
    constexpr size_t kParts = 300000;
    Future<void> future;
    auto waits = [&]() -> Co<void> { co_await future; };
    std::vector<Task<void>> tasks;
    for (size_t i = 0; i < kParts; ++i) tasks.push_back(CreateTask(waits()));
    auto all = CreateTask(Gather(tasks));
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(Inspect(all).awaits.size(), kParts);
    EXPECT_EQ(Inspect(future).awaited_by.size(), kParts);
    future.SetResult();
    co_await all;
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
