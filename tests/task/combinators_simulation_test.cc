// The combinators under seeded simulation: time is virtual, the order of the
// ready tasks is shuffled by the seed. Rows T10, T12 and T16 of the reliability
// catalogue.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coil/loop/internal/random.h"
#include "coil/sync/queue.h"
#include "coil/task/as_completed.h"
#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "coil/task/race.h"
#include "coil/task/shield.h"
#include "coil/task/task_group.h"
#include "coil/task/wait.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

using internal::Random;

absl::Duration Ms(uint64_t n) {
  return absl::Milliseconds(static_cast<int64_t>(n));
}

// ---- T10
// -------------------------------------------------------------------------

// When each thing happens, in ticks of a millisecond.
struct Times {
  uint64_t finish;
  uint64_t cancel;
  uint64_t timeout;
};

Co<int> FinishAt(uint64_t tick) {
  co_await Sleep(Ms(tick));
  co_return 1;
}

Co<int> FailAt(uint64_t tick) {
  co_await Sleep(Ms(tick));
  throw std::runtime_error("failed");
}

// Each subject waits by one combinator for what ends at `finish`.
using Subject = std::function<Co<void>(Times)>;

Co<void> GatherTwo(Times t) {
  co_await Gather(FinishAt(t.finish), FinishAt(10));
}

Co<void> GatherMany(Times t) {
  std::vector<Co<int>> all;
  for (int i = 0; i < 4; ++i) all.push_back(FinishAt(t.finish));
  co_await Gather(std::move(all));
}

Co<void> GatherSettledOfAFailure(Times t) {
  co_await GatherSettled(FailAt(t.finish), FinishAt(10));
}

Co<void> RaceAgainstTime(Times t) {
  co_await Race(FinishAt(t.finish), Sleep(Ms(t.timeout)));
}

Co<void> WaitForAll(Times t) {
  std::vector<Task<int>> tasks = {CreateTask(FinishAt(t.finish)),
                                  CreateTask(FinishAt(10))};
  const WaitOptions options = {.timeout = Ms(t.timeout)};
  co_await Wait(std::move(tasks), options);
}

Co<void> WaitForTheFirst(Times t) {
  const WaitOptions options = {.return_when = ReturnWhen::kFirstCompleted};
  co_await Wait(options, CreateTask(FinishAt(t.finish)),
                CreateTask(FinishAt(10)));
}

Co<void> NextOfRange(Times t) {
  std::vector<Co<int>> all;
  all.push_back(FinishAt(t.finish));
  all.push_back(FinishAt(11));
  auto range = AsCompleted(std::move(all), Ms(t.timeout));
  co_await Settle(range.Next());
  co_await Settle(range.Next());
}

Co<void> ShieldOfATask(Times t) { co_await Shield(FinishAt(t.finish)); }

Co<void> CancelAndWaitForCleanup(Times t) {
  auto cleans_up = [](uint64_t tick) -> Co<void> {
    try {
      co_await Sleep(absl::Hours(1));
    } catch (const CancelledError&) {
    }
    co_await Sleep(Ms(tick));
  };
  Task<void> target = CreateTask(cleans_up(t.finish));
  co_await Yield();
  co_await CancelAndWait(target);
}

Co<void> GroupThatWaits(Times t) {
  co_await WithTaskGroup([&](TaskGroup& group) {
    group.CreateTask(FinishAt(t.finish));
    group.CreateTask(FinishAt(10));
  });
}

Co<void> GroupWhoseBodyWaits(Times t) {
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    Task<int> task = group.CreateTask(FinishAt(10));
    co_await Sleep(Ms(t.finish));
    co_await task;
  });
}

Co<void> GroupThatFails(Times t) {
  co_await Settle(WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    group.CreateTask(FailAt(t.finish));
    co_await Sleep(Ms(10));
  }));
}

Co<void> GroupThatIsStopped(Times t) {
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    auto stopper = [&]() -> Co<void> {
      co_await Sleep(Ms(t.finish));
      group.Cancel();
    };
    Task<void> task = group.CreateTask(stopper());
    group.CreateTask(FinishAt(10));
    co_await task;
  });
}

Co<void> GatherUnderATimeout(Times t) {
  co_await Settle(
      WithTimeout(Ms(t.timeout), Gather(FinishAt(t.finish), FinishAt(10))));
}

Co<void> GroupUnderATimeout(Times t) {
  co_await Settle(WithTimeout(Ms(t.timeout), [&]() -> Co<void> {
    co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
      group.CreateTask(FailAt(t.finish));
      co_await Sleep(Ms(10));
    });
  }));
}

struct NamedSubject {
  const char* name;
  Co<void> (*run)(Times);
};

const NamedSubject kSubjects[] = {
    {"GatherTwo", GatherTwo},
    {"GatherMany", GatherMany},
    {"GatherSettledOfAFailure", GatherSettledOfAFailure},
    {"RaceAgainstTime", RaceAgainstTime},
    {"WaitForAll", WaitForAll},
    {"WaitForTheFirst", WaitForTheFirst},
    {"NextOfRange", NextOfRange},
    {"ShieldOfATask", ShieldOfATask},
    {"CancelAndWaitForCleanup", CancelAndWaitForCleanup},
    {"GroupThatWaits", GroupThatWaits},
    {"GroupWhoseBodyWaits", GroupWhoseBodyWaits},
    {"GroupThatFails", GroupThatFails},
    {"GroupThatIsStopped", GroupThatIsStopped},
    {"GatherUnderATimeout", GatherUnderATimeout},
    {"GroupUnderATimeout", GroupUnderATimeout},
};

// A cancel that was accepted is delivered: by the combinator, or by the await
// after it. One that was refused leaves no trace.
Co<void> CheckOneOutcome(const NamedSubject& subject, Times t) {
  const size_t before = AllTasks().size();
  bool passed = false;
  auto run = [&]() -> Co<void> {
    co_await subject.run(t);
    passed = true;
    co_await Yield();
  };
  Task<void> task = CreateTask(run());
  bool accepted = false;
  auto cancel = [&]() -> Co<void> {
    co_await Sleep(Ms(t.cancel));
    accepted = task.Cancel("outside");
  };
  Task<void> canceller = CreateTask(cancel());
  Outcome<void> outcome = co_await Settle(task);
  co_await canceller;
  EXPECT_EQ(outcome.Cancelled(), accepted) << TextOf(outcome);
  EXPECT_EQ(outcome.Ok(), !accepted) << TextOf(outcome);
  EXPECT_TRUE(passed || accepted);
  EXPECT_EQ(task.Cancelling(), accepted ? 1 : 0);
  // What was not awaited ends by itself, soon.
  co_await Sleep(Ms(50));
  EXPECT_EQ(AllTasks().size(), before);
}

TEST(ReliabilityT10, FinishTimeoutAndCancelInOneTickHaveOneOutcome) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    const SimulationOptions simulation = {.seed = seed};
    const RunOptions options = {.simulation = &simulation};
    auto main = [&]() -> Co<void> {
      Random random(seed);
      for (const NamedSubject& subject : kSubjects) {
        const Times t = {.finish = 9 + random.Below(3),
                         .cancel = 9 + random.Below(3),
                         .timeout = 9 + random.Below(3)};
        SCOPED_TRACE(
            std::string(subject.name) + " seed " + std::to_string(seed) +
            " finish " + std::to_string(t.finish) + " cancel " +
            std::to_string(t.cancel) + " timeout " + std::to_string(t.timeout));
        co_await CheckOneOutcome(subject, t);
        if (testing::Test::HasFailure()) co_return;
      }
    };
    coil::Run(main, options);
    if (testing::Test::HasFailure()) break;
  }
}

// ---- T12: Race loses no item
// -----------------------------------------------------

TEST(ReliabilityT12, RaceOfQueuesAndTimeLosesNoItem) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const SimulationOptions simulation = {.seed = seed};
    const RunOptions options = {.simulation = &simulation};
    auto main = [&]() -> Co<void> {
      Random random(seed);
      Queue<int> a;
      Queue<int> b(2);
      std::vector<int> got(40);
      // What a task was cancelled with in its hands is not Race's: a value is
      // counted as soon as the await returns it.
      auto consume = [&]() -> Co<void> {
        for (int i = 0; i < 6; ++i) {
          auto result =
              co_await Race(a.Get(), b.Get(), Sleep(Ms(random.Below(4))));
          if (result.index() == 0) ++got[std::get<0>(result)];
          if (result.index() == 1) ++got[std::get<1>(result)];
        }
      };
      std::vector<bool> put(got.size());
      auto produce = [&](int from) -> Co<void> {
        for (int i = from; i < from + 10; ++i) {
          co_await Sleep(Ms(random.Below(3)));
          Queue<int>& queue = i % 2 == 0 ? a : b;
          auto result = co_await Race(queue.Put(i), Sleep(Ms(random.Below(5))));
          if (result.index() == 0) put[i] = true;
        }
      };
      std::vector<Task<void>> tasks;
      for (int i = 0; i < 5; ++i) tasks.push_back(CreateTask(consume()));
      for (int i = 0; i < 4; ++i) tasks.push_back(CreateTask(produce(10 * i)));
      auto chaos = [&]() -> Co<void> {
        for (int i = 0; i < 4; ++i) {
          co_await Sleep(Ms(random.Below(8)));
          tasks[random.Below(5)].Cancel();  // consumers only
        }
      };
      Task<void> canceller = CreateTask(chaos());
      co_await GatherSettled(tasks);
      co_await canceller;
      for (Queue<int>* queue : {&a, &b}) {
        while (std::optional<int> item = queue->TryGet()) ++got[*item];
      }
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i], put[i] ? 1 : 0) << "item " << i;
      }
    };
    coil::Run(main, options);
    if (testing::Test::HasFailure()) break;
  }
}

// ---- T16
// -------------------------------------------------------------------------

// A tree of groups, gathers and races in which everything goes wrong at random.
class Chaos {
 public:
  explicit Chaos(uint64_t seed) : random_(seed) {}

  Co<void> Group(int depth) {
    std::vector<AnyTask> children;
    auto body = [&](TaskGroup& group) -> Co<void> {
      const uint64_t count = random_.Below(4);
      for (uint64_t i = 0; i < count; ++i) {
        const TaskOptions options = {.eager_start = random_.Below(4) == 0};
        try {
          Task<void> task = group.CreateTask(Child(depth, &group), options);
          children.push_back(task);
          all_.push_back(task);
        } catch (const std::runtime_error&) {
          // An eager child has ended the group.
        }
      }
      if (random_.Below(3) == 0) co_await Child(depth, &group);
      if (random_.Below(6) == 0) throw std::runtime_error("body");
      if (random_.Below(8) == 0) group.Cancel();
      if (random_.Below(3) == 0) co_await Sleep(Ms(random_.Below(5)));
    };
    ++groups_;
    const int entered = CurrentTask().Cancelling();
    co_await AfterwardsCheck(WithTaskGroup(body), &children, entered);
  }

  // Cancels tasks from outside for a while.
  Co<void> Cancels(const AnyTask& root) {
    for (int i = 0; i < 4; ++i) {
      co_await Sleep(Ms(random_.Below(10)));
      if (random_.Below(5) == 0) {
        if (root.Cancel()) ++root_cancels_;
      } else if (!all_.empty()) {
        all_[random_.Below(all_.size())].Cancel();
      }
    }
  }

  int groups() const { return groups_; }
  int root_cancels() const { return root_cancels_; }
  const std::vector<AnyTask>& all() const { return all_; }

 private:
  // Whatever comes out of the group, all its tasks have ended.
  Co<void> AfterwardsCheck(Co<void> group, std::vector<AnyTask>* children,
                           int entered) {
    std::exception_ptr error;
    try {
      co_await std::move(group);
    } catch (...) {
      error = std::current_exception();
    }
    for (const AnyTask& child : *children) EXPECT_TRUE(child.Done());
    EXPECT_GE(CurrentTask().Cancelling(), entered);
    if (error != nullptr) std::rethrow_exception(error);
  }

  Co<void> Child(int depth, TaskGroup* group) {
    if (depth > 0) {
      switch (random_.Below(5)) {
        case 0:
          co_await Group(depth - 1);
          co_return;
        case 1:
          co_await Gather(Group(depth - 1), Leaf(group));
          co_return;
        case 2:
          co_await Race(Group(depth - 1), Leaf(group), Group(depth - 1));
          co_return;
        case 3:
          co_await GatherSettled(Leaf(group), Group(depth - 1));
          co_return;
        default:
          break;
      }
    }
    co_await Leaf(group);
  }

  Co<void> Leaf(TaskGroup* group) {
    const absl::Duration time = Ms(random_.Below(6));
    switch (random_.Below(8)) {
      case 0:
        co_await Sleep(time);
        throw std::runtime_error("leaf");
      case 1:
        group->Cancel();
        co_await Sleep(time);
        co_return;
      case 2: {
        // Cleans up, and swallows the cancel once in a while.
        bool cancelled = false;
        try {
          co_await Sleep(Ms(20));
        } catch (const CancelledError&) {
          cancelled = true;
        }
        if (cancelled) co_await Sleep(time);
        if (cancelled && random_.Below(2) == 0) throw CancelledError("leaf");
        co_return;
      }
      case 3:
        CurrentTask().Cancel();
        co_await Sleep(time);
        co_return;
      case 4:
        throw std::runtime_error("at once");
      default:
        co_await Sleep(time);
    }
  }

  Random random_;
  std::vector<AnyTask> all_;
  int groups_ = 0;
  int root_cancels_ = 0;
};

TEST(ReliabilityT16, AfterGroupExitNoTaskIsLeft) {
  int groups = 0;
  int cancelled = 0;
  int failed = 0;
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const SimulationOptions simulation = {.seed = seed};
    const RunOptions options = {.simulation = &simulation};
    auto main = [&]() -> Co<void> {
      // Errors that a race or a cancelled gather leaves behind are reported.
      EventLoop::Current().SetExceptionHandler([](const ExceptionContext&) {});
      Chaos chaos(seed);
      const size_t before = AllTasks().size();
      const uint64_t depth = 1 + seed % 5;
      Task<void> root = CreateTask(chaos.Group(static_cast<int>(depth)));
      Task<void> canceller = CreateTask(chaos.Cancels(root));
      Outcome<void> outcome = co_await Settle(root);
      // A gather that has failed leaves its siblings running; they end soon.
      co_await canceller;
      co_await Sleep(absl::Seconds(1));
      for (const AnyTask& task : chaos.all()) EXPECT_TRUE(task.Done());
      EXPECT_EQ(AllTasks().size(), before);
      EXPECT_EQ(root.Cancelling() >= chaos.root_cancels(), true);
      groups += chaos.groups();
      if (outcome.Cancelled()) ++cancelled;
      if (!outcome.Ok() && !outcome.Cancelled()) ++failed;
    };
    coil::Run(main, options);
    if (testing::Test::HasFailure()) break;
  }
  // The simulation has seen what it is for.
  EXPECT_GT(groups, 2000);
  EXPECT_GT(cancelled, 20);
  EXPECT_GT(failed, 50);
}

}  // namespace
}  // namespace coil
