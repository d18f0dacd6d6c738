#include "coil/loop/internal/timer_queue.h"

#include <cstdint>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace coil::internal {
namespace {

class Timer final : public TimerNode {
 public:
  explicit Timer(int id = 0) : id(id) {}
  void Fire() noexcept override {}
  const int id;
};

LoopTime At(int64_t nanoseconds) {
  return LoopTime::FromNanoseconds(nanoseconds);
}

int IdOf(TimerNode* node) { return static_cast<Timer*>(node)->id; }

std::vector<int> PopAll(TimerQueue& queue, LoopTime now) {
  std::vector<int> ids;
  while (TimerNode* node = queue.PopDue(now)) ids.push_back(IdOf(node));
  return ids;
}

// The deadlines where shifts and signs go wrong.
const std::vector<int64_t>& Extremes() {
  static const auto* extremes = new std::vector<int64_t>{
      std::numeric_limits<int64_t>::min(),
      std::numeric_limits<int64_t>::min() + 1,
      -1'000'000'000,
      -1,
      0,
      1,
      (int64_t{1} << 20) - 1,
      int64_t{1} << 20,
      (int64_t{1} << 20) + 1,
      (int64_t{1} << 26) - 1,
      int64_t{1} << 26,
      (int64_t{1} << 31) * 1'000'000 - 1'000'000,
      (int64_t{1} << 31) * 1'000'000 + 1'000'000,
      (int64_t{1} << 32) * 1'000'000,
      (int64_t{1} << 62) - 1,
      int64_t{1} << 62,
      std::numeric_limits<int64_t>::max() - 1,
      std::numeric_limits<int64_t>::max(),
  };
  return *extremes;
}

TEST(TimerQueueTest, EmptyQueueWakesNever) {
  TimerQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.NextWake(), LoopTime::InfiniteFuture());
  EXPECT_EQ(queue.PopDue(At(1'000)), nullptr);
}

TEST(TimerQueueTest, TimerIsNotDueBeforeItsDeadline) {
  TimerQueue queue;
  Timer timer;
  queue.Arm(&timer, At(5'000'000'000));
  EXPECT_EQ(queue.PopDue(At(4'999'999'999)), nullptr);
  EXPECT_TRUE(timer.Armed());
  EXPECT_EQ(queue.PopDue(At(5'000'000'000)), &timer);
  EXPECT_FALSE(timer.Armed());
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueueTest, OrderIsByDeadline) {
  TimerQueue queue;
  Timer a(1), b(2), c(3);
  queue.Arm(&a, At(30));
  queue.Arm(&b, At(10));
  queue.Arm(&c, At(20));
  EXPECT_EQ(PopAll(queue, At(100)), (std::vector<int>{2, 3, 1}));
}

TEST(TimerQueueTest, EqualDeadlinesAreFirstInFirstOut) {
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<int> expected;
  for (int i = 0; i < 1'000; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    queue.Arm(timers.back().get(), At(3'000'000'000));
    expected.push_back(i);
  }
  EXPECT_EQ(PopAll(queue, At(3'000'000'000)), expected);
}

TEST(TimerQueueTest, EqualDeadlinesStayInOrderWhenSomeAreInTheHeapAlready) {
  TimerQueue queue;
  Timer first(1), other(2), second(3), third(4);
  queue.Arm(&first, At(5'000'000));
  queue.Arm(&other, At(4'500'000));
  // Moves the bucket into the heap.
  EXPECT_EQ(queue.PopDue(At(4'500'000)), &other);
  queue.Arm(&second, At(5'000'000));
  queue.Arm(&third, At(5'000'000));
  EXPECT_EQ(PopAll(queue, At(5'000'000)), (std::vector<int>{1, 3, 4}));
}

TEST(TimerQueueTest, RearmingPutsATimerBehindItsEquals) {
  TimerQueue queue;
  Timer a(1), b(2);
  queue.Arm(&a, At(50));
  queue.Arm(&b, At(50));
  queue.Disarm(&a);
  queue.Arm(&a, At(50));
  EXPECT_EQ(PopAll(queue, At(50)), (std::vector<int>{2, 1}));
}

TEST(TimerQueueTest, DisarmedTimerNeverFires) {
  TimerQueue queue;
  Timer a(1), b(2), c(3);
  queue.Arm(&a, At(10));
  queue.Arm(&b, At(10));
  queue.Arm(&c, At(10'000'000'000));
  queue.Disarm(&b);
  queue.Disarm(&c);
  EXPECT_FALSE(b.Armed());
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(PopAll(queue, LoopTime::InfiniteFuture()), (std::vector<int>{1}));
}

TEST(TimerQueueTest, DisarmingWhatIsNotArmedDoesNothing) {
  TimerQueue queue;
  Timer timer;
  queue.Disarm(&timer);
  queue.Arm(&timer, At(1));
  queue.PopDue(At(1));
  queue.Disarm(&timer);
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueueTest, DeadlineInThePastIsDueAtOnce) {
  TimerQueue queue;
  Timer warm_up(0), late(1), earlier(2);
  queue.Arm(&warm_up, At(50'000'000'000));
  queue.PopDue(At(50'000'000'000));
  queue.Arm(&late, At(7));
  queue.Arm(&earlier, At(-7));
  EXPECT_EQ(queue.NextWake(), At(-7));
  EXPECT_EQ(PopAll(queue, At(50'000'000'000)), (std::vector<int>{2, 1}));
}

TEST(TimerQueueTest, WhenTellsTheDeadline) {
  TimerQueue queue;
  Timer timer;
  queue.Arm(&timer, At(123'456'789));
  EXPECT_EQ(timer.When(), At(123'456'789));
  queue.Disarm(&timer);
  EXPECT_EQ(timer.When(), At(123'456'789));
}

TEST(TimerQueueTest, NextWakeIsExactForFewTimers) {
  TimerQueue queue;
  Timer a, b;
  queue.Arm(&a, At(90'000'000'007));
  queue.Arm(&b, At(60'000'000'003));
  EXPECT_EQ(queue.NextWake(), At(60'000'000'003));
  queue.Disarm(&b);
  EXPECT_EQ(queue.NextWake(), At(90'000'000'007));
}

TEST(TimerQueueTest, NextWakeIsNeverLateForACrowdedBucket) {
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    queue.Arm(timers.back().get(), At(60'000'000'000 + i * 1000));
  }
  EXPECT_LE(queue.NextWake(), At(60'000'000'000));
  EXPECT_GT(queue.NextWake(), At(0));
}

// Who follows NextWake() makes progress and reaches every timer.
TEST(TimerQueueTest, FollowingNextWakeReachesEveryDeadline) {
  std::mt19937_64 random(7);
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 3'000; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    const int bits = 1 + static_cast<int>(random() % 60);
    queue.Arm(timers.back().get(),
              At(static_cast<int64_t>(random() & ((uint64_t{1} << bits) - 1))));
  }
  LoopTime now = At(0);
  size_t fired = 0;
  size_t looks = 0;
  while (!queue.empty()) {
    ASSERT_LT(++looks, 100'000u);
    const LoopTime wake = queue.NextWake();
    if (wake > now) now = wake;
    while (TimerNode* node = queue.PopDue(now)) {
      ASSERT_LE(node->When(), now);
      ++fired;
    }
  }
  EXPECT_EQ(fired, timers.size());
}

TEST(TimerQueueTest, ExtremeDeadlinesKeepTheirOrder) {
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<int> expected;
  const auto& extremes = Extremes();
  for (size_t i = extremes.size(); i-- > 0;) {
    timers.push_back(std::make_unique<Timer>(static_cast<int>(i)));
    queue.Arm(timers.back().get(), At(extremes[i]));
  }
  for (size_t i = 0; i < extremes.size(); ++i) {
    ASSERT_LE(queue.NextWake(), At(extremes[i])) << i;
    TimerNode* node = queue.PopDue(At(extremes[i]));
    ASSERT_NE(node, nullptr) << i;
    EXPECT_EQ(IdOf(node), static_cast<int>(i));
    EXPECT_EQ(queue.PopDue(At(extremes[i])), nullptr) << i;
  }
  EXPECT_TRUE(queue.empty());
}

TEST(TimerQueueTest, DisarmWorksInEveryPlaceOfTheHeap) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    TimerQueue queue;
    std::vector<std::unique_ptr<Timer>> timers;
    for (int i = 0; i < 40; ++i) {
      timers.push_back(std::make_unique<Timer>(i));
      queue.Arm(timers.back().get(), At(-static_cast<int64_t>(random() % 50)));
    }
    // Some structure in the heap first.
    for (int i = 0; i < 5; ++i) queue.PopDue(At(0));
    for (auto& timer : timers) {
      if (random() % 2 == 0) queue.Disarm(timer.get());
    }
    LoopTime last = At(std::numeric_limits<int64_t>::min());
    while (TimerNode* node = queue.PopDue(At(0))) {
      ASSERT_GE(node->When(), last);
      last = node->When();
    }
    EXPECT_TRUE(queue.empty());
  }
}

// A multimap is the model: same timers due, same order, at random times.
class TimerQueueModelTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(TimerQueueModelTest, BehavesAsAMultimap) {
  const uint64_t seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  TimerQueue queue;
  std::multimap<std::pair<int64_t, uint64_t>, Timer*> model;
  using Entry = decltype(model)::iterator;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<Entry> where;
  for (int i = 0; i < 400; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    where.push_back(model.end());
  }
  uint64_t sequence = 0;
  int64_t now = static_cast<int64_t>(random() % 1'000'000);
  auto distance = [&]() -> int64_t {
    switch (random() % 6) {
      case 0:
        return static_cast<int64_t>(random() % 1'000);
      case 1:
        return static_cast<int64_t>(random() % 5'000'000);
      case 2:
        return static_cast<int64_t>(random() % 1'000'000'000);
      case 3:
        return static_cast<int64_t>(random() % (int64_t{1} << 50));
      case 4:
        return -static_cast<int64_t>(random() % 1'000'000);
      default:
        return 1'000'000 * static_cast<int64_t>(random() % 4);
    }
  };
  for (int step = 0; step < 20'000; ++step) {
    const size_t i = random() % timers.size();
    Timer* timer = timers[i].get();
    switch (random() % 4) {
      case 0:
      case 1:
        if (!timer->Armed()) {
          int64_t when = now + distance();
          if (random() % 50 == 0) {
            when = Extremes()[random() % Extremes().size()];
          }
          queue.Arm(timer, At(when));
          where[i] = model.emplace(std::make_pair(when, sequence++), timer);
        }
        break;
      case 2:
        if (timer->Armed()) model.erase(where[i]);
        queue.Disarm(timer);
        break;
      default: {
        if (random() % 8 != 0) break;
        if (random() % 3 == 0 && !model.empty()) {
          // What a loop does: go exactly where the queue says.
          const int64_t wake = queue.NextWake().Nanoseconds();
          ASSERT_LE(wake, model.begin()->first.first);
          if (wake > now &&
              wake < std::numeric_limits<int64_t>::max() - (int64_t{1} << 51)) {
            now = wake;
          }
        } else {
          now += static_cast<int64_t>(random() % 3'000'000);
        }
        while (TimerNode* node = queue.PopDue(At(now))) {
          ASSERT_FALSE(model.empty());
          ASSERT_EQ(node, model.begin()->second);
          ASSERT_LE(model.begin()->first.first, now);
          model.erase(model.begin());
        }
        if (!model.empty()) {
          ASSERT_GT(model.begin()->first.first, now);
        }
      }
    }
    ASSERT_EQ(queue.size(), model.size());
  }
  for (auto& [key, timer] : model) {
    ASSERT_EQ(queue.PopDue(LoopTime::InfiniteFuture()), timer);
  }
  EXPECT_TRUE(queue.empty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerQueueModelTest,
                         ::testing::Range<uint64_t>(1, 26));

TEST(TimerQueueTest, ManyRandomTimersComeOutInExactOrder) {
  std::mt19937_64 random(3);
  TimerQueue queue;
  const int n = 200'000;
  auto timers = std::make_unique<Timer[]>(n);
  for (int i = 0; i < n; ++i) {
    queue.Arm(&timers[i], At(static_cast<int64_t>(random() % 1'000'000'000)));
  }
  LoopTime last;
  int popped = 0;
  for (int64_t now = 0; !queue.empty(); now += 777'777) {
    while (TimerNode* node = queue.PopDue(At(now))) {
      ASSERT_GE(node->When(), last);
      last = node->When();
      ++popped;
    }
  }
  EXPECT_EQ(popped, n);
}

}  // namespace
}  // namespace coil::internal
