// Event: order, the flag, cancellation, misuse, lifetime.

#include "coil/sync/event.h"

#include <memory>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::RunVirtually;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::WaitOf;

Co<void> Note(Event& event, std::vector<int>& order, int id) {
  co_await event.Wait();
  order.push_back(id);
}

static_assert(!std::is_copy_constructible_v<Event>);

TEST(EventTest, BeginsUnset) { EXPECT_FALSE(Event().IsSet()); }

TEST(EventTest, SetAndClear) {
  Event event;
  event.Set();
  EXPECT_TRUE(event.IsSet());
  event.Set();
  EXPECT_TRUE(event.IsSet());
  event.Clear();
  EXPECT_FALSE(event.IsSet());
  event.Clear();
  EXPECT_FALSE(event.IsSet());
}

TEST(EventTest, WaitOnASetEventDoesNotSuspend) {
  RunVirtually([]() -> Co<void> {
    Event event;
    event.Set();
    const uint64_t before = EventLoop::Current().Iterations();
    co_await event.Wait();
    co_await event.Wait();
    EXPECT_EQ(EventLoop::Current().Iterations(), before);
  });
}

TEST(EventTest, SetWakesAllInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(CreateTask(Note(event, order, i)));
    }
    co_await Turns();
    EXPECT_TRUE(order.empty());
    event.Set();
    EXPECT_TRUE(order.empty());  // nothing runs inside of Set()
    co_await Turns();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  });
}

TEST(EventTest, WokenStaysWokenIfClearFollows) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    Task<void> waiter = CreateTask(Note(event, order, 1));
    co_await Turns();
    event.Set();
    event.Clear();
    co_await Turns();
    EXPECT_TRUE(waiter.Done());
    EXPECT_EQ(order, (std::vector<int>{1}));
  });
}

TEST(EventTest, WhoComesAfterClearWaits) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    event.Set();
    event.Clear();
    Task<void> waiter = CreateTask(Note(event, order, 1));
    co_await Turns(3);
    EXPECT_FALSE(waiter.Done());
    event.Set();
    co_await waiter;
  });
}

TEST(EventTest, CanBeUsedAgainAndAgain) {
  RunVirtually([]() -> Co<void> {
    Event there;
    Event back;
    int rounds = 0;
    Task<void> other = CreateTask([&]() -> Co<void> {
      for (int i = 0; i < 100; ++i) {
        co_await there.Wait();
        there.Clear();
        back.Set();
      }
    });
    for (int i = 0; i < 100; ++i) {
      there.Set();
      co_await back.Wait();
      back.Clear();
      ++rounds;
    }
    co_await other;
    EXPECT_EQ(rounds, 100);
  });
}

TEST(EventTest, WaiterThatWaitsAgainInTheSamePassWaitsForTheNextSet) {
  RunVirtually([]() -> Co<void> {
    Event event;
    int woken = 0;
    Task<void> waiter = CreateTask([&]() -> Co<void> {
      for (int i = 0; i < 2; ++i) {
        co_await event.Wait();
        event.Clear();
        ++woken;
      }
    });
    co_await Turns();
    event.Set();
    co_await Turns(3);
    EXPECT_EQ(woken, 1);
    event.Set();
    co_await waiter;
    EXPECT_EQ(woken, 2);
  });
}

TEST(EventTest, CancelledWaiterIsRemoved) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(CreateTask(Note(event, order, i)));
    }
    co_await Turns();
    tasks[0].Cancel();
    tasks[2].Cancel("why");
    tasks[4].Cancel();
    co_await Turns();
    EXPECT_EQ(HowEnded(tasks[2]), "cancelled: why");
    event.Set();
    co_await Turns();
    EXPECT_EQ(order, (std::vector<int>{1, 3}));
  });
}

TEST(EventTest, CancelAfterSetIsDelivered) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    Task<void> a = CreateTask(Note(event, order, 1));
    Task<void> b = CreateTask(Note(event, order, 2));
    co_await Turns();
    event.Set();
    a.Cancel();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(order, (std::vector<int>{2}));
    EXPECT_TRUE(event.IsSet());
  });
}

TEST(EventTest, CancelBeforeSetInTheSameTurn) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    Task<void> a = CreateTask(Note(event, order, 1));
    Task<void> b = CreateTask(Note(event, order, 2));
    co_await Turns();
    a.Cancel();
    event.Set();
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(order, (std::vector<int>{2}));
  });
}

TEST(EventTest, DestroyedEventWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto event = std::make_unique<Event>();
    std::vector<int> order;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(CreateTask(Note(*event, order, i)));
    }
    co_await Turns();
    event.reset();
    co_await Turns();
    for (const auto& task : tasks) {
      EXPECT_EQ(HowEnded(task),
                "Event was destroyed while 3 tasks waited for it");
    }
    EXPECT_TRUE(order.empty());
  });
}

TEST(EventTest, DestroyedAfterSetLetsTheWokenGoOn) {
  RunVirtually([]() -> Co<void> {
    auto event = std::make_unique<Event>();
    std::vector<int> order;
    Task<void> a = CreateTask(Note(*event, order, 1));
    Task<void> b = CreateTask(Note(*event, order, 2));
    co_await Turns();
    event->Set();
    event.reset();
    b.Cancel();
    co_await Turns();
    EXPECT_EQ(HowEnded(a), "ok");
    EXPECT_TRUE(b.Cancelled());
  });
}

TEST(EventTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Event event;
  loops.RunOnFirst([&]() -> Co<void> {
    std::vector<int> order;
    Task<void> waiter = CreateTask(Note(event, order, 1));
    co_await Turns();
    event.Set();
    co_await waiter;
    event.Clear();
  });
  loops.RunOnSecond([&]() -> Co<void> {
    const std::string text =
        co_await AwaitTextOf<std::runtime_error>(event.Wait());
    EXPECT_EQ(text.substr(0, 56),
              "Event::Wait: the object belongs to another event loop; a");
    event.Set();
    co_await event.Wait();  // does not wait, so it does not matter
  });
}

TEST(EventTest, DumpSaysWhatItWaitsFor) {
  RunVirtually([]() -> Co<void> {
    Event event;
    std::vector<int> order;
    Task<void> waiter = CreateTask(Note(event, order, 1));
    co_await Turns();
    EXPECT_EQ(WaitOf(waiter), "Event");
    event.Set();
    EXPECT_EQ(WaitOf(waiter), "");
    co_await waiter;
  });
}

TEST(EventTest, SetFromACallback) {
  RunVirtually([]() -> Co<void> {
    Event event;
    EventLoop::Current().CallLater(absl::Hours(1), [&] { event.Set(); });
    co_await event.Wait();
  });
}

}  // namespace
}  // namespace coil
