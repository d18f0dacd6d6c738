#include "coil/loop/internal/inbox.h"

#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace coil::internal {
namespace {

struct Node {
  explicit Node(int value = 0) : value(value) {}
  int value;
  Node* next_post = nullptr;
};

using TestInbox = BasicInbox<Node>;

std::vector<int> Values(Node* node) {
  std::vector<int> values;
  for (; node != nullptr; node = node->next_post) values.push_back(node->value);
  return values;
}

TEST(InboxTest, DrainsInTheOrderOfPushes) {
  TestInbox inbox;
  Node a(1), b(2), c(3);
  EXPECT_EQ(inbox.Push(&a), PushResult::kQueued);
  EXPECT_EQ(inbox.Push(&b), PushResult::kQueued);
  EXPECT_EQ(inbox.Push(&c), PushResult::kQueued);
  EXPECT_EQ(Values(inbox.Drain()), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(inbox.Drain(), nullptr);
}

TEST(InboxTest, OnlyTheFirstPushToASleeperWakesIt) {
  TestInbox inbox;
  Node a(1), b(2);
  ASSERT_TRUE(inbox.Park());
  EXPECT_EQ(inbox.Push(&a), PushResult::kWake);
  EXPECT_EQ(inbox.Push(&b), PushResult::kQueued);
  EXPECT_EQ(Values(inbox.Drain()), (std::vector<int>{1, 2}));
}

TEST(InboxTest, OnlyALoopThatIsAwakeTakesAPushToAwake) {
  TestInbox inbox;
  Node a(1), b(2), c(3);
  EXPECT_TRUE(inbox.PushToAwake(&a));
  EXPECT_TRUE(inbox.PushToAwake(&b));
  EXPECT_EQ(Values(inbox.Drain()), (std::vector<int>{1, 2}));
  ASSERT_TRUE(inbox.Park());
  EXPECT_FALSE(inbox.PushToAwake(&c));
  EXPECT_EQ(inbox.Push(&c), PushResult::kWake);
  EXPECT_TRUE(inbox.PushToAwake(&a));
  EXPECT_EQ(Values(inbox.Close()), (std::vector<int>{3, 1}));
  EXPECT_FALSE(inbox.PushToAwake(&b));
}

TEST(InboxTest, DoesNotParkOverWork) {
  TestInbox inbox;
  Node a(1);
  inbox.Push(&a);
  EXPECT_FALSE(inbox.Park());
  EXPECT_EQ(Values(inbox.Drain()), (std::vector<int>{1}));
  EXPECT_TRUE(inbox.Park());
}

TEST(InboxTest, DrainAfterAnIdleSleepTakesTheMarkAway) {
  TestInbox inbox;
  ASSERT_TRUE(inbox.Park());
  EXPECT_EQ(inbox.Drain(), nullptr);
  Node a(1);
  EXPECT_EQ(inbox.Push(&a), PushResult::kQueued);
  inbox.Drain();
}

TEST(InboxTest, CloseRefusesLaterPushesAndReturnsWhatIsLeft) {
  TestInbox inbox;
  Node a(1), b(2), c(3);
  inbox.Push(&a);
  inbox.Push(&b);
  EXPECT_EQ(Values(inbox.Close()), (std::vector<int>{1, 2}));
  EXPECT_EQ(inbox.Push(&c), PushResult::kClosed);
  EXPECT_EQ(inbox.Close(), nullptr);
}

TEST(InboxTest, CloseOfASleeperReturnsNothing) {
  TestInbox inbox;
  ASSERT_TRUE(inbox.Park());
  EXPECT_EQ(inbox.Close(), nullptr);
  Node a(1);
  EXPECT_EQ(inbox.Push(&a), PushResult::kClosed);
}

TEST(InboxTest, NodeMayBePushedAgainAfterItWasDrained) {
  TestInbox inbox;
  Node a(1);
  for (int i = 0; i < 3; ++i) {
    inbox.Push(&a);
    EXPECT_EQ(inbox.Drain(), &a);
    EXPECT_EQ(a.next_post, nullptr);
  }
}

// Named for tests/loop/BUILD: runs under ThreadSanitizer, too.
TEST(InboxThreadsTest, EveryThreadsPostsArriveOnceAndInOrder) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 20'000;
  TestInbox inbox;
  std::vector<std::vector<Node>> nodes(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    nodes[static_cast<size_t>(t)].reserve(kPosts);
    for (int i = 0; i < kPosts; ++i) {
      nodes[static_cast<size_t>(t)].emplace_back(t * kPosts + i);
    }
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&inbox, &mine = nodes[static_cast<size_t>(t)]] {
      for (Node& node : mine) inbox.Push(&node);
    });
  }
  std::vector<int> next(kThreads, 0);
  int seen = 0;
  while (seen < kThreads * kPosts) {
    for (Node* node = inbox.Drain(); node != nullptr; node = node->next_post) {
      const auto t = static_cast<size_t>(node->value / kPosts);
      ASSERT_EQ(node->value % kPosts, next[t]++);
      ++seen;
    }
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace coil::internal
