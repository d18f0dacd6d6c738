// TaskGroup: asyncio's TaskGroup, rows A58 to A66. The cancellation of groups
// is in task_group_cancel_test.cc.

#include "coil/task/task_group.h"

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/task/future.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

// The errors of a group that is thrown, as texts, in their order.
std::vector<std::string> ErrorsOf(const std::exception_ptr& error) {
  std::vector<std::string> texts;
  try {
    std::rethrow_exception(error);
  } catch (const ExceptionGroup& group) {
    for (const std::exception_ptr& e : group.Exceptions()) {
      texts.push_back(DescribeException(e));
    }
  } catch (...) {
    texts.push_back("not a group: " + DescribeException(error));
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST(TaskGroupTest, WaitsForAllTasks) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::vector<int> order;
    auto worker = [&](int seconds) -> Co<void> {
      co_await Sleep(absl::Seconds(seconds));
      order.push_back(seconds);
    };
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      for (int seconds : {3, 1, 2}) group.CreateTask(worker(seconds));
      co_return;
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(SecondsSince(start), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, ReturnsWhatTheBodyReturns) {
  auto main = []() -> Co<void> {
    int sum = co_await WithTaskGroup([](TaskGroup& group) -> Co<int> {
      Task<int> a = group.CreateTask(After(1, 1));
      Task<int> b = group.CreateTask(After(2, 2));
      co_return co_await a + co_await b;
    });
    EXPECT_EQ(sum, 3);
    std::unique_ptr<int> box =
        co_await WithTaskGroup([](TaskGroup&) -> Co<std::unique_ptr<int>> {
          co_return std::make_unique<int>(4);
        });
    EXPECT_EQ(*box, 4);
    int x = 0;
    int& ref =
        co_await WithTaskGroup([&](TaskGroup&) -> Co<int&> { co_return x; });
    EXPECT_EQ(&ref, &x);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, BodyMayBeAPlainFunction) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    co_await WithTaskGroup(
        [](TaskGroup& group) { group.CreateTask(Pause(2)); });
    EXPECT_EQ(SecondsSince(start), 2);
    Task<int> task = co_await WithTaskGroup(
        [](TaskGroup& group) { return group.CreateTask(After(1, 7)); });
    EXPECT_TRUE(task.Done());
    EXPECT_EQ(task.Result(), 7);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, EmptyGroupDoesNotGiveWay) {
  auto main = []() -> Co<void> {
    bool other = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      other = true;
      co_return;
    });
    co_await WithTaskGroup([](TaskGroup&) {});
    EXPECT_FALSE(other);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

struct CountedBody {
  explicit CountedBody(int* alive_in) : alive(alive_in) { ++*alive; }
  CountedBody(CountedBody&& other) noexcept : alive(other.alive) { ++*alive; }
  CountedBody(const CountedBody& other) : alive(other.alive) { ++*alive; }
  ~CountedBody() { --*alive; }
  Co<int> operator()(TaskGroup& group) {
    group.CreateTask(Pause(1));
    co_await Sleep(absl::Seconds(2));
    co_return *alive;
  }
  int* alive;
};

TEST(TaskGroupTest, NamedBodyIsReferredTo) {
  auto main = []() -> Co<void> {
    int alive = 0;
    CountedBody body(&alive);
    EXPECT_EQ(co_await WithTaskGroup(body), 1);
    EXPECT_EQ(alive, 1);
  };
  coil::Run(main, kVirtual);
}

#if !defined(__GNUC__) || defined(__clang__) || __GNUC__ >= 13
TEST(TaskGroupTest, TemporaryBodyIsKeptInTheFrame) {
  auto main = []() -> Co<void> {
    int alive = 0;
    Co<int> group = WithTaskGroup(CountedBody(&alive));
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(co_await std::move(group), 1);
    EXPECT_EQ(alive, 0);
  };
  coil::Run(main, kVirtual);
}
#endif

TEST(TaskGroupTest, TasksStartInTheirOrderOnTheNextPass) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    auto worker = [&](int id) -> Co<void> {
      order.push_back(id);
      co_return;
    };
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      for (int id = 1; id <= 3; ++id) group.CreateTask(worker(id));
      order.push_back(0);
      co_return;
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, TasksMayAddTasksWhileTheGroupWaits) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int ran = 0;
    auto leaf = [&]() -> Co<void> {
      co_await Sleep(absl::Seconds(5));
      ++ran;
    };
    TaskGroup* outer = nullptr;
    auto branch = [&]() -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      outer->CreateTask(leaf());
      outer->CreateTask(leaf());
      ++ran;
    };
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      outer = &group;
      group.CreateTask(branch());
      co_return;
    });
    EXPECT_EQ(ran, 3);
    EXPECT_EQ(SecondsSince(start), 6);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, TakesCallablesAwaitablesAndOptions) {
  auto main = []() -> Co<void> {
    auto owned = std::make_shared<int>(5);
    Task<int> from_lambda;
    Task<std::string> from_function;
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      from_lambda = group.CreateTask(
          [owned = std::move(owned)]() -> Co<int> {
            co_await Yield();
            co_return *owned;
          },
          {.name = "lambda"});
      from_function = group.CreateTask(
          []() -> Co<std::string> { co_return CurrentTask().Name(); },
          {.name = "function"});
      Task<void> sleep = group.CreateTask(Sleep(absl::Seconds(1)));
      EXPECT_EQ(from_lambda.Name(), "lambda");
      co_await sleep;
    });
    EXPECT_EQ(from_lambda.Result(), 5);
    EXPECT_EQ(from_function.Result(), "function");
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, CallableIsGoneWhenTheTaskIsDone) {
  auto main = []() -> Co<void> {
    auto tracked = std::make_shared<int>(1);
    Task<void> held;
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      held = group.CreateTask([tracked]() -> Co<void> { co_return; });
      Task<void> never =
          group.CreateTask([tracked]() -> Co<void> { co_return; });
      never.Cancel();
      EXPECT_EQ(tracked.use_count(), 3);
      co_return;
    });
    EXPECT_EQ(tracked.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, TenThousandTasks) {
  auto main = []() -> Co<void> {
    int ran = 0;
    auto worker = [&](int i) -> Co<void> {
      co_await Sleep(absl::Seconds(i % 3));
      ++ran;
    };
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      for (int i = 0; i < 10000; ++i) group.CreateTask(worker(i));
      co_return;
    });
    EXPECT_EQ(ran, 10000);
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

Co<int> NestedGroups(int depth) {
  if (depth == 0) {
    co_await Sleep(absl::Hours(1));
    co_return 0;
  }
  auto body = [depth](TaskGroup& group) -> Co<int> {
    Task<int> inner = group.CreateTask(NestedGroups(depth - 1));
    co_return 1 + co_await inner;
  };
  co_return co_await WithTaskGroup(body);
}

TEST(TaskGroupTest, DeepNestingEndsAndIsCancelled) {
  auto main = []() -> Co<void> {
    constexpr int kDepth = 5000;
    EXPECT_EQ(co_await NestedGroups(kDepth), kDepth);
    Task<int> task = CreateTask(NestedGroups(kDepth));
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    Outcome<int> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, ACallableThatGivesASpentCoIsRefused) {
  auto main = []() -> Co<void> {
    Co<void> spent = Pause(0);
    co_await std::move(spent);
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      auto gives = [&spent, text = std::string("a state")]() -> Co<void> {
        return std::move(spent);
      };
      EXPECT_THROW(group.CreateTask(gives), std::runtime_error);
      EXPECT_EQ(AllTasks().size(), 1u);
      co_return;
    });
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupTest, WaitIsDescribed) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(WithTaskGroup([](TaskGroup& group) {
      group.CreateTask(Pause(5));
      group.CreateTask(Pause(5));
    }));
    co_await Sleep(absl::Seconds(1));
    std::string text;
    auto* core = static_cast<internal::TaskCore*>(task.core());
    core->leaf()->DescribeWait(&text);
    EXPECT_EQ(text, "task group: 2 tasks");
    int awaited = 0;
    core->leaf()->VisitAwaited(
        [](void* arg, internal::FutureCore&) { ++*static_cast<int*>(arg); },
        &awaited);
    EXPECT_EQ(awaited, 2);
    co_await task;
  };
  coil::Run(main, kVirtual);
}

// ---- errors
// --------------------------------------------------------------------

TEST(TaskGroupErrorTest, OneErrorIsAGroupToo) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::string what;
    std::exception_ptr error;
    try {
      co_await WithTaskGroup(
          [](TaskGroup& group) { group.CreateTask(FailAfter(1, "no")); });
    } catch (const ExceptionGroup& group) {
      what = group.what();
      error = std::current_exception();
    }
    EXPECT_EQ(what,
              "unhandled errors in a TaskGroup (1 sub-exception: "
              "std::runtime_error: no)");
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, FailureCancelsTheSiblingsAndTheBody) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    bool body_cancelled = false;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(CleansUp(4, &cancels));
          group.CreateTask(FailAfter(1, "no"));
          group.CreateTask(CleansUp(2, &cancels));
          try {
            co_await Sleep(absl::Hours(1));
          } catch (const CancelledError&) {
            body_cancelled = true;
            throw;
          }
        }));
    EXPECT_EQ(ErrorsOf(outcome.Exception()), Texts{"std::runtime_error: no"});
    EXPECT_TRUE(body_cancelled);
    EXPECT_EQ(cancels, 2);
    EXPECT_EQ(SecondsSince(start), 5);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Sleep(absl::Seconds(1));  // and nothing is left to be delivered
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, ErrorsAreInTheOrderOfTimeTheBodysLast) {
  auto main = []() -> Co<void> {
    auto fails_late = [](int seconds, std::string what) -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      co_await Sleep(absl::Seconds(seconds));
      throw std::runtime_error(what);
    };
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(fails_late(3, "third"));
          group.CreateTask(FailAfter(1, "first"));
          group.CreateTask(fails_late(1, "second"));
          try {
            co_await Sleep(absl::Hours(1));
          } catch (const CancelledError&) {
          }
          throw std::invalid_argument("body");
        }));
    EXPECT_EQ(
        ErrorsOf(outcome.Exception()),
        (Texts{"std::runtime_error: first", "std::runtime_error: second",
               "std::runtime_error: third", "std::invalid_argument: body"}));
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, ErrorsOfOneTurnAreAllThere) {
  auto main = []() -> Co<void> {
    Outcome<void> outcome = co_await Settle(WithTaskGroup([](TaskGroup& group) {
      for (const char* what : {"a", "b", "c"}) {
        group.CreateTask(FailAfter(1, what));
      }
    }));
    EXPECT_EQ(ErrorsOf(outcome.Exception()),
              (Texts{"std::runtime_error: a", "std::runtime_error: b",
                     "std::runtime_error: c"}));
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, BodyErrorCancelsTheTasksAndIsGrouped) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Outcome<int> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<int> {
          group.CreateTask(CleansUp(3, &cancels));
          co_await Sleep(absl::Seconds(1));
          throw std::runtime_error("body");
        }));
    EXPECT_EQ(ErrorsOf(outcome.Exception()), Texts{"std::runtime_error: body"});
    EXPECT_EQ(cancels, 1);
    EXPECT_EQ(SecondsSince(start), 4);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, PlainBodyThatThrows) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) {
          group.CreateTask(CleansUp(1, &cancels));
          throw std::runtime_error("plain");
        }));
    EXPECT_EQ(ErrorsOf(outcome.Exception()),
              Texts{"std::runtime_error: plain"});
    EXPECT_EQ(cancels, 0) << "it had not begun";
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, TheErrorObjectIsThatOfTheTask) {
  auto main = []() -> Co<void> {
    Reports reports;
    Task<int> task;
    std::exception_ptr thrown;
    try {
      co_await WithTaskGroup([&](TaskGroup& group) {
        task = group.CreateTask(FailAfter(1, "no"));
      });
    } catch (const ExceptionGroup& group) {
      thrown = group.Exceptions()[0];
    }
    EXPECT_EQ(thrown, task.Exception());
    task = Task<int>();
    EXPECT_TRUE(reports.texts.empty()) << "errors of a group are retrieved";
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, BodyThatAwaitsTheFailingTaskGetsItsErrorTwice) {
  auto main = []() -> Co<void> {
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([](TaskGroup& group) -> Co<void> {
          Task<int> task = group.CreateTask(FailAfter(1, "no"));
          co_await task;
        }));
    // The body sees the error in the turn in which the group does.
    for (const std::string& text : ErrorsOf(outcome.Exception())) {
      EXPECT_EQ(text, "std::runtime_error: no");
    }
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, FailureIsNotHandledInsideCreateTask) {
  auto main = []() -> Co<void> {
    int steps = 0;
    auto fails = []() -> Co<void> {
      throw std::runtime_error("eager");
      co_return;
    };
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          Task<void> failed = group.CreateTask(fails(), {.eager_start = true});
          EXPECT_TRUE(failed.Done());
          ++steps;
          // Not aborting yet: this is allowed.
          group.CreateTask(Pause(9));
          ++steps;
          co_await Sleep(absl::Hours(1));
          ++steps;
        }));
    EXPECT_EQ(steps, 2);
    EXPECT_EQ(ErrorsOf(outcome.Exception()),
              Texts{"std::runtime_error: eager"});
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, EagerTasksThatEndAtOnceAreNoBurden) {
  auto main = []() -> Co<void> {
    auto quick = []() -> Co<int> { co_return 3; };
    int sum = co_await WithTaskGroup([&](TaskGroup& group) -> Co<int> {
      Task<int> a = group.CreateTask(quick(), {.eager_start = true});
      EXPECT_TRUE(a.Done());
      Task<int> b = group.CreateTask(After(1, 4), {.eager_start = true});
      EXPECT_FALSE(b.Done());
      co_return co_await a + co_await b;
    });
    EXPECT_EQ(sum, 7);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, NestedGroupsFailingTogetherBothSurface) {
  auto main = []() -> Co<void> {
    std::vector<int> cancelling;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& outer) -> Co<void> {
          outer.CreateTask(FailAfter(1, "outer"));
          std::exception_ptr inner_error;
          try {
            co_await WithTaskGroup([](TaskGroup& inner) {
              inner.CreateTask(FailAfter(1, "inner"));
            });
          } catch (const ExceptionGroup&) {
            inner_error = std::current_exception();
          }
          EXPECT_EQ(ErrorsOf(inner_error), Texts{"std::runtime_error: inner"});
          cancelling.push_back(CurrentTask().Cancelling());
          std::rethrow_exception(inner_error);
        }));
    // asyncio: cancelling() is 1 between the groups, and 0 at the end.
    EXPECT_EQ(cancelling, std::vector<int>{1});
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    const Texts errors = ErrorsOf(outcome.Exception());
    EXPECT_EQ(errors.size(), 2u);
    EXPECT_EQ(errors[0], "std::runtime_error: outer");
    EXPECT_NE(errors[1].find("inner"), std::string::npos);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, InnerErrorSwallowedByTheBodyDoesNotSwallowTheOuters) {
  auto main = []() -> Co<void> {
    bool after = false;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& outer) -> Co<void> {
          outer.CreateTask(FailAfter(1, "outer"));
          try {
            co_await WithTaskGroup([](TaskGroup& inner) {
              inner.CreateTask(FailAfter(1, "inner"));
            });
          } catch (const ExceptionGroup&) {
          }
          co_await Sleep(absl::Seconds(1));
          after = true;
        }));
    EXPECT_FALSE(after) << "the cancel of the outer group came after all";
    EXPECT_EQ(ErrorsOf(outcome.Exception()),
              Texts{"std::runtime_error: outer"});
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupErrorTest, KeyboardInterruptIsThrownBareAndTheOthersAreReported) {
  // Out here: an error of main would be lost behind that of Run().
  bool bare = false;
  bool finished = false;
  auto main = [&]() -> Co<void> {
    Reports reports;
    auto interrupts = []() -> Co<void> {
      co_await Sleep(absl::Seconds(1));
      throw KeyboardInterrupt();
    };
    try {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        group.CreateTask(FailAfter(1, "task"));
        group.CreateTask(interrupts());
        try {
          co_await Sleep(absl::Hours(1));
        } catch (const CancelledError&) {
        }
        throw std::runtime_error("body");
      });
    } catch (const KeyboardInterrupt&) {
      bare = true;
    }
    EXPECT_EQ(reports.texts.size(), 2u);
    EXPECT_EQ(reports.texts[0],
              "TaskGroup: an error was displaced by KeyboardInterrupt: "
              "std::runtime_error: task");
    // Only the cancel of the shutdown: the task's end has stopped the loop,
    // too.
    EXPECT_EQ(CurrentTask().Cancelling(), 1);
    finished = true;
  };
  EXPECT_THROW(coil::Run(main, kVirtual), KeyboardInterrupt);
  EXPECT_TRUE(bare);
  EXPECT_TRUE(finished);
}

TEST(TaskGroupErrorTest, KeyboardInterruptOfTheBodyIsBareToo) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    bool bare = false;
    try {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        group.CreateTask(CleansUp(1, &cancels));
        co_await Yield();
        co_await Yield();
        throw KeyboardInterrupt();
      });
    } catch (const KeyboardInterrupt&) {
      bare = true;
    }
    EXPECT_TRUE(bare);
    EXPECT_EQ(cancels, 1);
  };
  coil::Run(main, kVirtual);
}

// ---- misuse
// --------------------------------------------------------------------

TEST(TaskGroupMisuseTest, RefusesWhileShuttingDownAndDisposesOfTheCoroutine) {
  auto main = []() -> Co<void> {
    Reports reports;
    std::vector<std::string> texts;
    int calls = 0;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(FailAfter(1, "no"));
          try {
            co_await Sleep(absl::Hours(1));
          } catch (const CancelledError&) {
          }
          try {
            group.CreateTask(Pause(1));
          } catch (const std::runtime_error& e) {
            texts.push_back(e.what());
          }
          auto callable = [&calls]() -> Co<void> {
            ++calls;
            co_return;
          };
          EXPECT_THROW(group.CreateTask(callable), std::runtime_error);
          EXPECT_THROW(group.CreateTask(Sleep(absl::Seconds(1))),
                       std::runtime_error);
        }));
    EXPECT_EQ(
        texts,
        Texts{"TaskGroup: it is shutting down, because a task or the body "
              "has failed or it was cancelled; no task can be added"});
    EXPECT_EQ(calls, 0);
    EXPECT_TRUE(reports.texts.empty()) << reports.texts[0];
    EXPECT_EQ(ErrorsOf(outcome.Exception()), Texts{"std::runtime_error: no"});
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupMisuseTest, RefusesOnceItIsFinished) {
  auto main = []() -> Co<void> {
    Reports reports;
    TaskGroup* group = nullptr;
    std::string text;
    Task<void> last;
    Task<void> grouped = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& g) {
        group = &g;
        last = g.CreateTask(Pause(1));
      });
    });
    co_await Yield();
    co_await Yield();
    // Between the end of the last task and the turn of its parent.
    while (!last.Done()) co_await Sleep(absl::Milliseconds(100));
    if (!grouped.Done()) {
      try {
        group->CreateTask(Pause(1));
      } catch (const std::runtime_error& e) {
        text = e.what();
      }
      EXPECT_EQ(
          text,
          "TaskGroup: it is finished; tasks are created while its body or "
          "one of its tasks runs");
    } else {
      ADD_FAILURE() << "the moment was missed";
    }
    co_await grouped;
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupMisuseTest, RefusesAnAwaitedCoroutineAndAThreadWithoutTheLoop) {
  TaskGroup* group = nullptr;
  Co<int> left = After(1, 1);
  std::string text;
  EventLoop loop(LoopOptions{.simulation = &kSimulation});
  auto main = [&]() -> Co<void> {
    co_await WithTaskGroup([&](TaskGroup& g) -> Co<void> {
      group = &g;
      Co<int> co = After(1, 1);
      co_await co;
      EXPECT_THROW(g.CreateTask(std::move(co)), std::runtime_error);
      EventLoop::Current().Stop();
      co_await Yield();
      co_await Yield();
    });
  };
  Task<void> task;
  loop.CallSoon([&] { task = CreateTask(main()); });
  loop.RunForever();
  try {
    group->CreateTask(std::move(left));
  } catch (const std::runtime_error& e) {
    text = e.what();
  }
  EXPECT_NE(text.find("TaskGroup::CreateTask: no running event loop"),
            std::string::npos)
      << text;
  loop.RunUntilComplete(task);
}

TEST(TaskGroupTest, CannotBeCopiedOrMoved) {
  static_assert(!std::is_copy_constructible_v<TaskGroup>);
  static_assert(!std::is_move_constructible_v<TaskGroup>);
  static_assert(!std::is_copy_assignable_v<TaskGroup>);
  static_assert(!std::is_move_assignable_v<TaskGroup>);
  static_assert(!std::is_default_constructible_v<TaskGroup>);
}

TEST(TaskGroupTest, ACoroutineFunctionIsGivenItsArguments) {
  auto main = []() -> Co<void> {
    int sum = 0;
    auto add = [&sum](int n, std::unique_ptr<int> more) -> Co<void> {
      co_await Yield();
      sum += n + *more;
    };
    co_await WithTaskGroup([&](TaskGroup& group) {
      group.CreateTask(add, 1, std::make_unique<int>(2));
      group.CreateTask(add, 3, std::make_unique<int>(4));
    });
    EXPECT_EQ(sum, 10);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
