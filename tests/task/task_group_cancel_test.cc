// The cancellation of a TaskGroup: from outside, by an error, by Cancel(), and
// all of them together. asyncio's rows A60 to A62, A65 and A66.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "coil/task/shield.h"
#include "coil/task/task_group.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

bool IsGroup(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const ExceptionGroup&) {
    return true;
  } catch (...) {
    return false;
  }
}

// ---- from outside
// ----------------------------------------------------------------

TEST(TaskGroupCancelTest, InTheBodyCancelsAndAwaitsTheTasks) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        group.CreateTask(CleansUp(5, &cancels));
        group.CreateTask(CleansUp(2, &cancels));
        co_await Sleep(absl::Hours(1));
      });
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel("stop");
    std::string message;
    try {
      co_await task;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "stop");
    EXPECT_EQ(cancels, 2);
    EXPECT_EQ(SecondsSince(start), 6);
    EXPECT_EQ(task.Cancelling(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, WhileExitingCancelsAndAwaitsTheTasks) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup(
          [&](TaskGroup& group) { group.CreateTask(CleansUp(5, &cancels)); });
      ADD_FAILURE() << "must not return";
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel("stop");
    std::string message;
    try {
      co_await task;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "stop");
    EXPECT_EQ(cancels, 1);
    EXPECT_EQ(SecondsSince(start), 6);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, TasksAreCancelledInTheOrderOfTheirCreation) {
  auto main = []() -> Co<void> {
    std::vector<int> order;
    auto notes = [&](int id) -> Co<void> {
      bool cancelled = false;
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
        cancelled = true;
      }
      if (cancelled) order.push_back(id);
    };
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) {
        for (int id = 0; id < 4; ++id) group.CreateTask(notes(id));
      });
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    co_await Settle(task);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, RepeatedCancelsDoNotLeaveEarly) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup(
          [&](TaskGroup& group) { group.CreateTask(CleansUp(10, &cancels)); });
    });
    for (int i = 0; i < 5; ++i) {
      co_await Sleep(absl::Seconds(1));
      EXPECT_TRUE(task.Cancel());
    }
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 11);
    EXPECT_EQ(cancels, 1) << "the tasks are cancelled once, as in asyncio";
    EXPECT_EQ(task.Cancelling(), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, BeforeTheFirstAwaitOfTheExitIsNotLost) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) {
        group.CreateTask(CleansUp(1, &cancels));
        CurrentTask().Cancel();
      });
      ADD_FAILURE() << "must not return";
    });
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, OfAnEmptyGroupIsDeliveredByTheNextAwait) {
  auto main = []() -> Co<void> {
    bool after = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      co_await WithTaskGroup([](TaskGroup&) {});
      after = true;
      co_await Yield();
      ADD_FAILURE() << "must not return";
    });
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(after);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, InTheTurnOfTheLastTaskIsNotLost) {
  auto main = []() -> Co<void> {
    Task<int> last;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup(
          [&](TaskGroup& group) { last = group.CreateTask(After(1, 1)); });
      co_await Yield();
      ADD_FAILURE() << "the cancel was lost";
    });
    co_await Yield();
    while (!last || !last.Done()) co_await Sleep(absl::Milliseconds(100));
    EXPECT_FALSE(task.Done());
    EXPECT_TRUE(task.Cancel());
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_FALSE(last.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, ATaskThatRefusesIsAwaited) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<int> refusing;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) {
        refusing = group.CreateTask(Refuses(20, 3));
      });
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 21);
    EXPECT_EQ(refusing.Result(), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, SwallowedByTheBodyLeavesTheTasksAlone) {
  auto main = []() -> Co<void> {
    Task<int> child;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        child = group.CreateTask(After(10, 1));
        try {
          co_await Sleep(absl::Hours(1));
        } catch (const CancelledError&) {
        }
      });
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Ok());
    EXPECT_EQ(child.Result(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, ReachesTheTasksOfNestedGroups) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    auto inner = [&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
        group.CreateTask(CleansUp(3, &cancels));
        co_await Gather(CleansUp(4, &cancels), CleansUp(2, &cancels));
      });
    };
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& group) {
        group.CreateTask(inner());
        group.CreateTask(inner());
      });
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(cancels, 6);
    // The gather of a body ends before the tasks of its group are cancelled.
    EXPECT_EQ(SecondsSince(start), 1 + 4 + 3);
  };
  coil::Run(main, kVirtual);
}

// ---- together with errors
// ----------------------------------------------------------

TEST(TaskGroupCancelTest, ErrorsWinAndTheNextAwaitIsCancelled) {
  auto main = []() -> Co<void> {
    bool grouped = false;
    std::string message;
    int cancelling = 0;
    auto fails_when_cancelled = []() -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      throw std::runtime_error("cleanup");
    };
    Task<void> task = CreateTask([&]() -> Co<void> {
      try {
        co_await WithTaskGroup([&](TaskGroup& group) {
          group.CreateTask(fails_when_cancelled());
        });
      } catch (const ExceptionGroup&) {
        grouped = true;
      }
      cancelling = CurrentTask().Cancelling();
      try {
        co_await Sleep(absl::Seconds(1));
      } catch (const CancelledError& e) {
        message = e.message();
        throw;
      }
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel("outside");
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(grouped);
    EXPECT_EQ(cancelling, 1);
    EXPECT_EQ(message, "outside");
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, ErrorThenCancelFromOutside) {
  auto main = []() -> Co<void> {
    bool grouped = false;
    int cancelling = -1;
    int cancels = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      try {
        co_await WithTaskGroup([&](TaskGroup& group) {
          group.CreateTask(FailAfter(1, "no"));
          group.CreateTask(CleansUp(10, &cancels));
        });
      } catch (const ExceptionGroup&) {
        grouped = true;
      }
      cancelling = CurrentTask().Cancelling();
      co_await Yield();
      ADD_FAILURE() << "the cancel was lost";
    });
    co_await Sleep(absl::Seconds(3));
    task.Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(grouped);
    EXPECT_EQ(cancelling, 1);
    EXPECT_EQ(cancels, 1);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, BodyErrorAndCancelFromOutside) {
  auto main = []() -> Co<void> {
    bool grouped = false;
    Task<void> task = CreateTask([&]() -> Co<void> {
      try {
        co_await WithTaskGroup([](TaskGroup& group) -> Co<void> {
          group.CreateTask(Refuses(10, 1));
          co_await Sleep(absl::Seconds(1));
          throw std::runtime_error("body");
        });
      } catch (const ExceptionGroup&) {
        grouped = true;
      }
      co_await Yield();
      ADD_FAILURE() << "the cancel was lost";
    });
    co_await Sleep(absl::Seconds(3));
    task.Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(grouped);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, TheCountIsRestoredAfterAFailure) {
  auto main = []() -> Co<void> {
    std::vector<int> counts;
    Task<void> task = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      try {
        co_await Yield();
      } catch (const CancelledError&) {
      }
      counts.push_back(CurrentTask().Cancelling());
      try {
        co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(FailAfter(1, "no"));
          try {
            co_await Sleep(absl::Hours(1));
          } catch (const CancelledError&) {
            counts.push_back(CurrentTask().Cancelling());
          }
        });
      } catch (const ExceptionGroup&) {
      }
      counts.push_back(CurrentTask().Cancelling());
    });
    Outcome<void> outcome = co_await Settle(task);
    // The count stays; as in asyncio the request is renewed together with the
    // errors.
    EXPECT_EQ(counts, (std::vector<int>{1, 2, 1}));
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, BodyThatSwallowsTheInternalCancelStillGetsTheError) {
  auto main = []() -> Co<void> {
    Outcome<int> outcome =
        co_await Settle(WithTaskGroup([](TaskGroup& group) -> Co<int> {
          group.CreateTask(FailAfter(1, "no"));
          try {
            co_await Sleep(absl::Hours(1));
          } catch (const CancelledError&) {
          }
          co_await Sleep(absl::Seconds(1));
          co_return 3;
        }));
    EXPECT_TRUE(IsGroup(outcome.Exception()));
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

// ---- a task that is cancelled
// ------------------------------------------------------

TEST(TaskGroupCancelTest, TaskCancelledByItselfIsIgnored) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<int> cancelled;
    Task<int> sibling;
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      cancelled = group.CreateTask(After(9, 1));
      sibling = group.CreateTask(After(3, 2));
      co_await Sleep(absl::Seconds(1));
      cancelled.Cancel();
      co_await Sleep(absl::Seconds(1));
      group.CreateTask(Pause(2));
    });
    EXPECT_TRUE(cancelled.Cancelled());
    EXPECT_EQ(sibling.Result(), 2);
    EXPECT_EQ(SecondsSince(start), 4);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupCancelTest, BodyThatAwaitsACancelledTaskIsCancelled) {
  auto main = []() -> Co<void> {
    Task<int> sibling;
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          sibling = group.CreateTask(After(9, 1));
          Task<int> task = group.CreateTask(After(9, 1));
          co_await Sleep(absl::Seconds(1));
          task.Cancel();
          co_await task;
        }));
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_TRUE(sibling.Cancelled());
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

// ---- Cancel()
// ----------------------------------------------------------------------

TEST(TaskGroupStopTest, FromTheBodyEndsWithoutAnError) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    bool body_cancelled = false;
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      group.CreateTask(CleansUp(2, &cancels));
      co_await Sleep(absl::Seconds(1));
      group.Cancel();
      group.Cancel();
      EXPECT_EQ(CurrentTask().Cancelling(), 1) << "idempotent";
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
        body_cancelled = true;
        throw;
      }
    });
    EXPECT_TRUE(body_cancelled);
    EXPECT_EQ(cancels, 1);
    EXPECT_EQ(SecondsSince(start), 3);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Sleep(absl::Seconds(1));
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, FromATaskEndsBodyAndSiblings) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    co_await WithTaskGroup([](TaskGroup& group) -> Co<void> {
      auto stopper = [](TaskGroup& g) -> Co<void> {
        co_await Sleep(absl::Seconds(1));
        g.Cancel();
      };
      group.CreateTask(Pause(100));
      group.CreateTask(stopper(group));
      co_await Sleep(absl::Hours(1));
    });
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, WhileExitingKeepsTheValueOfTheBody) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int value = co_await WithTaskGroup([](TaskGroup& group) -> Co<int> {
      auto stopper = [](TaskGroup& g) -> Co<void> {
        co_await Sleep(absl::Seconds(1));
        g.Cancel();
      };
      group.CreateTask(Pause(100));
      group.CreateTask(stopper(group));
      co_return 7;
    });
    EXPECT_EQ(value, 7);
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, BodyThatReturnsWithoutAnAwaitKeepsItsValue) {
  auto main = []() -> Co<void> {
    Task<int> never;
    int value = co_await WithTaskGroup([&](TaskGroup& group) -> Co<int> {
      never = group.CreateTask(After(1, 1));
      group.Cancel();
      co_return 7;
    });
    EXPECT_EQ(value, 7);
    EXPECT_TRUE(never.Cancelled());
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Yield();  // nothing is left to be delivered
    int alone = co_await WithTaskGroup([](TaskGroup& group) -> Co<int> {
      group.Cancel();
      co_return 8;
    });
    EXPECT_EQ(alone, 8);
    co_await Yield();
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, BodyThatHasNoValueYetThrowsAndSaysWhy) {
  auto main = []() -> Co<void> {
    std::string message;
    try {
      co_await WithTaskGroup([](TaskGroup& group) -> Co<int> {
        group.Cancel();
        co_await Sleep(absl::Seconds(1));
        co_return 1;
      });
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message,
              "TaskGroup: Cancel() ended the body before it returned a value; "
              "let it return Co<void> or a std::optional");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, ErrorsOfTheTasksAreThrownAllTheSame) {
  auto main = []() -> Co<void> {
    auto fails_when_cancelled = []() -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      throw std::runtime_error("cleanup");
    };
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(fails_when_cancelled());
          co_await Yield();
          co_await Yield();
          group.Cancel();
        }));
    EXPECT_TRUE(IsGroup(outcome.Exception()));
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
    co_await Yield();
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, BodyErrorAfterCancelIsThrown) {
  auto main = []() -> Co<void> {
    Outcome<void> outcome =
        co_await Settle(WithTaskGroup([](TaskGroup& group) -> Co<void> {
          group.Cancel();
          throw std::runtime_error("body");
          co_return;
        }));
    EXPECT_TRUE(IsGroup(outcome.Exception()));
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

// gh-155433: a cancel from outside that comes while the group ends is not lost.
TEST(TaskGroupStopTest, CancelFromOutsideMeanwhileIsNotLost) {
  auto main = []() -> Co<void> {
    int cancels = 0;
    int cancelling = 0;
    Task<void> task = CreateTask([&]() -> Co<void> {
      try {
        co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(CleansUp(10, &cancels));
          co_await Yield();
          co_await Yield();
          group.Cancel();
        });
        ADD_FAILURE() << "the cancel was lost";
      } catch (const CancelledError&) {
        cancelling = CurrentTask().Cancelling();
        throw;
      }
    });
    co_await Sleep(absl::Seconds(3));
    task.Cancel("outside");
    std::string message;
    try {
      co_await task;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(cancelling, 1);
    EXPECT_EQ(message, "outside");
    EXPECT_EQ(cancels, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, CancelFromOutsideInTheBodyAndCancelTogether) {
  auto main = []() -> Co<void> {
    TaskGroup* group = nullptr;
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await WithTaskGroup([&](TaskGroup& g) -> Co<void> {
        group = &g;
        co_await Sleep(absl::Hours(1));
      });
      ADD_FAILURE() << "the cancel was lost";
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    group->Cancel();
    Outcome<void> outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(task.Cancelling(), 1);
  };
  coil::Run(main, kVirtual);
}

// gh-155418: an eager task cancels the group before it has joined it.
TEST(TaskGroupStopTest,
     EagerTaskThatCancelsTheGroupAndThenSuspendsIsCancelled) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<void> eager;
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      auto child = [&group]() -> Co<void> {
        group.Cancel();
        co_await Sleep(absl::Hours(1));
      };
      eager = group.CreateTask(child(), {.eager_start = true});
      co_await Sleep(absl::Hours(1));
    });
    EXPECT_TRUE(eager.Cancelled());
    EXPECT_EQ(SecondsSince(start), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, OfTheInnerGroupLeavesTheOuterAlone) {
  auto main = []() -> Co<void> {
    Task<int> outer_task;
    co_await WithTaskGroup([&](TaskGroup& outer) -> Co<void> {
      outer_task = outer.CreateTask(After(5, 3));
      co_await WithTaskGroup([](TaskGroup& inner) -> Co<void> {
        inner.CreateTask(Pause(100));
        co_await Sleep(absl::Seconds(1));
        inner.Cancel();
        co_await Sleep(absl::Hours(1));
      });
      EXPECT_EQ(CurrentTask().Cancelling(), 0);
      co_await Sleep(absl::Seconds(1));
    });
    EXPECT_EQ(outer_task.Result(), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, OfTheOuterGroupEndsTheInnerOne) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    bool after_inner = false;
    co_await WithTaskGroup([&](TaskGroup& outer) -> Co<void> {
      auto stopper = [&outer]() -> Co<void> {
        co_await Sleep(absl::Seconds(1));
        outer.Cancel();
      };
      outer.CreateTask(stopper());
      co_await WithTaskGroup(
          [&](TaskGroup& inner) { inner.CreateTask(CleansUp(4, &cancels)); });
      after_inner = true;
    });
    EXPECT_FALSE(after_inner);
    EXPECT_EQ(cancels, 1);
    EXPECT_EQ(SecondsSince(start), 5);
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(TaskGroupStopTest, AddsNothingOnceItEnds) {
  auto main = []() -> Co<void> {
    Reports reports;
    co_await WithTaskGroup([](TaskGroup& group) {
      group.Cancel();
      EXPECT_THROW(group.CreateTask(Pause(1)), std::runtime_error);
    });
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

// ---- the loop is closed
// --------------------------------------------------------------

TEST(TaskGroupTest, LoopThatIsClosedMeanwhileLetsGoOfAll) {
  auto tracker = std::make_shared<int>(0);
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    auto main = [&]() -> Co<void> {
      auto child = [](std::shared_ptr<int>) -> Co<void> {
        co_await Sleep(absl::Hours(1));
      };
      // One that waits in its exit, one in its body, one that is about to
      // handle an error when the loop stops.
      CreateTask(WithTaskGroup([&](TaskGroup& group) {
        group.CreateTask(child(tracker));
        group.CreateTask(
            [tracker]() -> Co<void> { co_await Sleep(absl::Hours(1)); });
      }));
      auto in_body = [&](std::shared_ptr<int> tracked) -> Co<void> {
        co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
          group.CreateTask(child(tracked));
          co_await Sleep(absl::Hours(1));
        });
      };
      CreateTask(in_body(tracker));
      auto failing = [](std::shared_ptr<int>) -> Co<void> {
        co_await Sleep(absl::Seconds(1));
        throw std::runtime_error("in the last turn");
      };
      CreateTask(WithTaskGroup(
          [&](TaskGroup& group) { group.CreateTask(failing(tracker)); }));
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

TEST(TaskGroupTest, LoopThatIsClosedWithTheTasksFirstLetsGoOfAll) {
  auto tracker = std::make_shared<int>(0);
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    TaskGroup* group = nullptr;
    auto main = [&]() -> Co<void> {
      auto child = [](std::shared_ptr<int>) -> Co<void> {
        co_await Sleep(absl::Hours(1));
      };
      // The parent waits for a task that is older than itself.
      Task<void> older = CreateTask(child(tracker));
      auto parent = [&]() -> Co<void> {
        co_await WithTaskGroup([&](TaskGroup& g) -> Co<void> {
          group = &g;
          g.CreateTask(child(tracker));
          co_await older;
        });
      };
      CreateTask(parent());
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

}  // namespace
}  // namespace coil
