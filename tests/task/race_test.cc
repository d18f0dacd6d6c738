// Race: the first to end wins, nothing that a loser received is lost.

#include "coil/task/race.h"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "coil/task/future.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/shield.h"
#include "gtest/gtest.h"
#include "tests/task/combinators.h"

namespace coil {
namespace {

// A queue of ints, as small as can be: what is tested is how Race treats its
// grants.
class Items {
 public:
  class GetAwaiter final : public internal::LeafAwaiter<GetAwaiter> {
   public:
    explicit GetAwaiter(Items* items) : items_(items) {}
    GetAwaiter(GetAwaiter&&) = default;
    ~GetAwaiter() { Dispose(); }
    bool Ready() noexcept {
      if (items_->values.empty()) return false;
      item_ = items_->values.front();
      items_->values.pop_front();
      return true;
    }
    void Arm() noexcept { items_->waiters_.push_back(this); }
    void Unlink() noexcept { std::erase(items_->waiters_, this); }
    void GiveBack() noexcept { items_->PutBack(item_); }
    int Take() noexcept { return item_; }
    void DescribeWait(std::string* out) const override { *out += "items"; }
    void Give(int item) noexcept {
      item_ = item;
      Grant();
    }

   private:
    Items* items_;
    int item_ = 0;
  };

  GetAwaiter Get() { return GetAwaiter(this); }
  void Put(int item) {
    if (waiters_.empty()) {
      values.push_back(item);
    } else {
      GetAwaiter* first = waiters_.front();
      waiters_.erase(waiters_.begin());
      first->Give(item);
    }
  }
  void PutBack(int item) {
    if (waiters_.empty()) {
      values.push_front(item);
    } else {
      Put(item);
    }
  }
  size_t Waiters() const { return waiters_.size(); }

  std::deque<int> values;

 private:
  std::vector<GetAwaiter*> waiters_;
};

TEST(RaceTest, TheFirstToEndWins) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    auto text = []() -> Co<std::string> {
      co_await Sleep(absl::Seconds(1));
      co_return "fast";
    };
    std::variant<int, std::string, std::monostate> result =
        co_await Race(After(3, 1), text(), Pause(2));
    EXPECT_EQ(result.index(), 1u);
    EXPECT_EQ(std::get<1>(result), "fast");
    EXPECT_EQ(SecondsSince(start), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, VoidIsMonostateAndReferencesAreWrapped) {
  auto main = []() -> Co<void> {
    int x = 1;
    auto ref = [&]() -> Co<int&> { co_return x; };
    auto result = co_await Race(ref(), Pause(1));
    static_assert(std::is_same_v<
                  decltype(result),
                  std::variant<std::reference_wrapper<int>, std::monostate>>);
    std::get<0>(result).get() = 5;
    EXPECT_EQ(x, 5);
    auto other = co_await Race(Pause(1), After(2, 1));
    EXPECT_EQ(other.index(), 0u);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, TheSameTypeTwiceIsToldByTheIndex) {
  auto main = []() -> Co<void> {
    std::variant<int, int> result = co_await Race(After(2, 7), After(1, 7));
    EXPECT_EQ(result.index(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, MoveOnlyResult) {
  auto main = []() -> Co<void> {
    auto box = []() -> Co<std::unique_ptr<int>> {
      co_await Sleep(absl::Seconds(1));
      co_return std::make_unique<int>(3);
    };
    auto result = co_await Race(box(), Pause(2));
    EXPECT_EQ(*std::get<0>(result), 3);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, LosersAreCancelledAndAwaited) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    auto result = co_await Race(CleansUp(5, &cancels), After(1, 1),
                                CleansUp(2, &cancels));
    EXPECT_EQ(result.index(), 1u);
    EXPECT_EQ(cancels, 2);
    EXPECT_EQ(SecondsSince(start), 6);
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, LoserThatRefusesIsAwaitedAndItsValueDropped) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    std::variant<int, int> result = co_await Race(Refuses(4, 8), After(1, 1));
    EXPECT_EQ(result.index(), 1u);
    EXPECT_EQ(SecondsSince(start), 5);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, ErrorOfTheWinnerIsThrownTheSameObject) {
  auto main = []() -> Co<void> {
    Task<int> failing = CreateTask(FailAfter(1, "no"));
    Task<int> loser = CreateTask(After(9, 1));
    std::exception_ptr thrown;
    try {
      co_await Race(loser, failing);
    } catch (...) {
      thrown = std::current_exception();
    }
    EXPECT_EQ(thrown, failing.Exception());
    EXPECT_TRUE(loser.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, WinnerThatSomebodyCancelledThrowsButDoesNotCancel) {
  auto main = []() -> Co<void> {
    Task<int> winner = CreateTask(After(9, 1));
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [winner] { winner.Cancel("elsewhere"); });
    std::string message;
    try {
      co_await Race(winner, After(5, 1));
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "elsewhere");
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, ErrorOfALoserIsReportedOnce) {
  auto main = []() -> Co<void> {
    Reports reports;
    auto loser = []() -> Co<void> {
      try {
        co_await Sleep(absl::Hours(1));
      } catch (const CancelledError&) {
      }
      throw std::runtime_error("cleanup failed");
    };
    co_await Race(loser(), After(1, 1));
    EXPECT_EQ(reports.texts,
              (std::vector<std::string>{
                  "Task exception was never retrieved: std::runtime_error: "
                  "cleanup failed"}));
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, OfSeveralThatAreDoneTheFirstArgumentWins) {
  auto main = []() -> Co<void> {
    Task<int> a = CreateTask(After(2, 1));
    Task<int> b = CreateTask(After(1, 2));
    Task<int> late = CreateTask(After(100, 3));
    co_await Sleep(absl::Seconds(3));
    bool ran = false;
    auto never = [&]() -> Co<int> {
      ran = true;
      co_return 4;
    };
    auto result = co_await Race(late, a, b, never());
    EXPECT_EQ(result.index(), 1u);
    EXPECT_TRUE(late.Cancelled());
    EXPECT_EQ(b.Result(), 2);
    EXPECT_FALSE(ran);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, WhatCompletesInItsFirstStepKeepsTheOthersFromStarting) {
  auto main = []() -> Co<void> {
    bool ran = false;
    auto quick = []() -> Co<int> { co_return 1; };
    auto never = [&]() -> Co<int> {
      ran = true;
      co_return 2;
    };
    auto result = co_await Race(quick(), never());
    EXPECT_EQ(result.index(), 0u);
    EXPECT_FALSE(ran);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, OneArgumentIsAwaited) {
  auto main = []() -> Co<void> {
    std::variant<int> result = co_await Race(After(1, 4));
    EXPECT_EQ(std::get<0>(result), 4);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, FutureThatLosesIsCancelled) {
  auto main = []() -> Co<void> {
    Future<int> future;
    auto result = co_await Race(future, After(1, 1));
    EXPECT_EQ(result.index(), 1u);
    EXPECT_TRUE(future.Cancelled());
    Future<int> shielded;
    auto other = co_await Race(Shield(shielded), After(1, 1));
    EXPECT_EQ(other.index(), 1u);
    EXPECT_FALSE(shielded.Done());
  };
  coil::Run(main, kVirtual);
}

// The race hears of the end first, and cancels a task that is still suspended
// on what has ended: the request must not get lost there.
template <class Awaited>
Co<int> AwaitsThenSleeps(Awaited awaited, bool* cancelled) {
  co_await Yield();
  try {
    co_await awaited;
  } catch (const CancelledError&) {
    *cancelled = true;
  }
  if (*cancelled) throw CancelledError();
  co_await Sleep(absl::Hours(1));
  co_return 2;
}

TEST(RaceTest, LoserThatAwaitsTheWinnerIsCancelledToo) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    bool cancelled = false;
    Task<int> winner = CreateTask(After(1, 1));
    Task<int> loser = CreateTask(AwaitsThenSleeps(winner, &cancelled));
    std::variant<int, int> result = co_await Race(loser, winner);
    EXPECT_EQ(result.index(), 1u);
    EXPECT_TRUE(cancelled);
    EXPECT_TRUE(loser.Cancelled());
    EXPECT_EQ(SecondsSince(start), 1);
    EXPECT_EQ(winner.Result(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, LoserThatAwaitsTheWinningFutureIsCancelledToo) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    bool cancelled = false;
    Future<int> winner;
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [winner] { winner.SetResult(1); });
    Task<int> loser = CreateTask(AwaitsThenSleeps(winner, &cancelled));
    std::variant<int, int> result = co_await Race(loser, winner);
    EXPECT_EQ(result.index(), 1u);
    EXPECT_TRUE(cancelled);
    EXPECT_TRUE(loser.Cancelled());
    EXPECT_EQ(SecondsSince(start), 1);
  };
  coil::Run(main, kVirtual);
}

// ---- nothing is lost
// -----------------------------------------------------------

TEST(RaceItemTest, ItemGoesToTheWinner) {
  auto main = []() -> Co<void> {
    Items items;
    EventLoop::Current().CallLater(absl::Seconds(1), [&] { items.Put(7); });
    auto result = co_await Race(items.Get(), Sleep(absl::Seconds(2)));
    EXPECT_EQ(std::get<0>(result), 7);
    EXPECT_TRUE(items.values.empty());
    EXPECT_EQ(items.Waiters(), 0u);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceItemTest, ItemThatComesInTheTurnOfTheTimeoutStaysInTheQueue) {
  auto main = []() -> Co<void> {
    Items items;
    // The timer of the sleep fires first, then the item is granted, in one
    // turn.
    Task<std::variant<std::monostate, int>> race =
        CreateTask(Race(Sleep(absl::Seconds(1)), items.Get()));
    co_await Yield();
    co_await Yield();
    EventLoop::Current().CallLater(absl::Seconds(1), [&] { items.Put(7); });
    std::variant<std::monostate, int> result = co_await race;
    EXPECT_EQ(result.index(), 0u);
    EXPECT_EQ(items.values, (std::deque<int>{7}));
    EXPECT_EQ(items.Waiters(), 0u);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceItemTest, TwoQueuesAreNotBothTakenFrom) {
  auto main = []() -> Co<void> {
    Items a;
    Items b;
    a.Put(1);
    b.Put(2);
    auto result = co_await Race(a.Get(), b.Get());
    EXPECT_EQ(std::get<0>(result), 1);
    EXPECT_TRUE(a.values.empty());
    EXPECT_EQ(b.values, (std::deque<int>{2}));
    EventLoop::Current().CallLater(absl::Seconds(1), [&] {
      b.Put(3);
      a.Put(4);
    });
    b.values.clear();
    auto second = co_await Race(a.Get(), b.Get());
    EXPECT_EQ(std::get<1>(second), 3);
    EXPECT_EQ(a.values, (std::deque<int>{4}));
    EXPECT_TRUE(b.values.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(RaceItemTest, CancelInTheTurnOfTheGrantLeavesTheItem) {
  auto main = []() -> Co<void> {
    Items items;
    Task<void> racing = CreateTask([&]() -> Co<void> {
      co_await Race(items.Get(), Sleep(absl::Hours(1)));
    });
    co_await Sleep(absl::Seconds(1));
    items.Put(7);
    racing.Cancel();
    Outcome<void> outcome = co_await Settle(racing);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(items.values, (std::deque<int>{7}));
  };
  coil::Run(main, kVirtual);
}

TEST(RaceItemTest, CancelAfterTheItemWasReceivedReturnsItAndStaysPending) {
  auto main = []() -> Co<void> {
    Items items;
    int cancels = 0;
    int got = 0;
    bool cancelled_later = false;
    Task<void> racing = CreateTask([&]() -> Co<void> {
      auto result = co_await Race(items.Get(), CleansUp(10, &cancels));
      got = std::get<0>(result);
      try {
        co_await Sleep(absl::Seconds(1));
      } catch (const CancelledError& e) {
        cancelled_later = e.message() == "late";
        throw;
      }
    });
    co_await Sleep(absl::Seconds(1));
    items.Put(7);
    co_await Sleep(absl::Seconds(1));
    EXPECT_EQ(cancels, 1) << "the loser is cleaning up";
    EXPECT_TRUE(racing.Cancel("late"));
    Outcome<void> outcome = co_await Settle(racing);
    EXPECT_EQ(cancels, 2) << "passed on to the loser";
    EXPECT_EQ(got, 7);
    EXPECT_TRUE(cancelled_later);
    EXPECT_TRUE(outcome.Cancelled());
  };
  coil::Run(main, kVirtual);
}

TEST(RaceItemTest, CancelInTheTurnOfTheEndReturnsTheResultAndStaysPending) {
  auto main = []() -> Co<void> {
    Future<int> winner;
    int got = 0;
    Task<void> racing = CreateTask([&]() -> Co<void> {
      Future<int> loser;
      auto result = co_await Race(winner, loser);
      got = std::get<0>(result);
      co_await Yield();
      ADD_FAILURE() << "the cancel was lost";
    });
    co_await Sleep(absl::Seconds(1));
    winner.SetResult(4);
    EXPECT_TRUE(racing.Cancel());
    Outcome<void> outcome = co_await Settle(racing);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(got, 4);
  };
  coil::Run(main, kVirtual);
}

// ---- cancellation
// --------------------------------------------------------------

TEST(RaceCancelTest, CancelsAndAwaitsAll) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    int cancels = 0;
    Task<void> racing = CreateTask([&]() -> Co<void> {
      co_await Race(CleansUp(3, &cancels), CleansUp(6, &cancels));
    });
    co_await Sleep(absl::Seconds(1));
    racing.Cancel("stop");
    std::string message;
    try {
      co_await racing;
    } catch (const CancelledError& e) {
      message = e.message();
    }
    EXPECT_EQ(message, "stop");
    EXPECT_EQ(cancels, 2);
    EXPECT_EQ(SecondsSince(start), 7);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceCancelTest, NobodyWinsOnceItIsCancelled) {
  auto main = []() -> Co<void> {
    const LoopTime start = EventLoop::Current().Now();
    Task<void> racing = CreateTask([]() -> Co<void> {
      co_await Race(Refuses(5, 1), Refuses(2, 2));
      ADD_FAILURE() << "must not return";
    });
    co_await Sleep(absl::Seconds(1));
    racing.Cancel();
    Outcome<void> outcome = co_await Settle(racing);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_EQ(SecondsSince(start), 6);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceCancelTest, ARequestFromBeforeIsDelivered) {
  auto main = []() -> Co<void> {
    bool ran = false;
    Task<void> racing = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      auto child = [&]() -> Co<void> {
        ran = true;
        co_return;
      };
      co_await Race(child(), child());
    });
    Outcome<void> outcome = co_await Settle(racing);
    EXPECT_TRUE(outcome.Cancelled());
    EXPECT_FALSE(ran);
  };
  coil::Run(main, kVirtual);
}

Co<int> NestedRace(int depth) {
  if (depth == 0) {
    co_await Sleep(absl::Hours(1));
    co_return 1;
  }
  auto result = co_await Race(NestedRace(depth - 1), Pause(36000));
  co_return std::get<0>(result);
}

TEST(RaceTest, DeepNestingEndsAndIsCancelledWithoutRecursion) {
  auto main = []() -> Co<void> {
    constexpr int kDepth = 5000;
    auto result = co_await Race(NestedRace(kDepth), After(1, 2));
    EXPECT_EQ(result.index(), 1u);
    EXPECT_EQ(AllTasks().size(), 1u);
    EXPECT_EQ(co_await NestedRace(kDepth), 1);
    EXPECT_EQ(AllTasks().size(), 1u);
  };
  coil::Run(main, kVirtual);
}

// ---- misuse
// ------------------------------------------------------------------

TEST(RaceTest, RefusesBeforeAnythingIsStarted) {
  auto main = []() -> Co<void> {
    Reports reports;
    bool ran = false;
    auto child = [&]() -> Co<int> {
      ran = true;
      co_return 1;
    };
    Task<int> empty;
    Outcome<std::variant<int, int>> outcome =
        co_await Settle(Race(child(), empty));
    EXPECT_NE(TextOf(outcome).find("the handle is empty"), std::string::npos);
    co_await Yield();
    EXPECT_FALSE(ran);
    EXPECT_TRUE(reports.texts.empty());
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, RefusesTheAwaitingTaskItself) {
  auto main = []() -> Co<void> {
    Task<int> task;
    task = CreateTask([&]() -> Co<int> {
      co_await Race(task, Pause(1));
      co_return 1;
    });
    Outcome<int> outcome = co_await Settle(task);
    EXPECT_NE(TextOf(outcome).find("a task cannot await itself"),
              std::string::npos);
  };
  coil::Run(main, kVirtual);
}

TEST(RaceTest, LoopThatIsClosedMeanwhileLetsGoOfAll) {
  auto tracker = std::make_shared<int>(0);
  {
    EventLoop loop(LoopOptions{.simulation = &kSimulation});
    loop.SetExceptionHandler([](const ExceptionContext&) {});
    auto main = [&]() -> Co<void> {
      auto child = [](std::shared_ptr<int>) -> Co<int> {
        co_await Sleep(absl::Hours(1));
        co_return 1;
      };
      Task<int> older = CreateTask(child(tracker));
      CreateTask(Race(older, child(tracker)));
      co_await Sleep(absl::Seconds(1));
    };
    loop.RunUntilComplete(main());
    EXPECT_GT(tracker.use_count(), 1);
  }
  EXPECT_EQ(tracker.use_count(), 1);
}

}  // namespace
}  // namespace coil
