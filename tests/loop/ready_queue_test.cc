#include "coil/loop/internal/ready_queue.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil::internal {
namespace {

using coil_testing::NamedStep;

TEST(ReadyQueueTest, PopsInTheOrderOfPushes) {
  std::vector<std::string> log;
  NamedStep a("a", log), b("b", log), c("c", log);
  ReadyQueue queue;
  EXPECT_TRUE(queue.empty());
  queue.Push(&a);
  queue.Push(&b);
  queue.Push(&c);
  EXPECT_EQ(queue.First(), &a);
  EXPECT_EQ(queue.Pop(), &a);
  EXPECT_EQ(queue.Pop(), &b);
  EXPECT_EQ(queue.Pop(), &c);
  EXPECT_EQ(queue.Pop(), nullptr);
  EXPECT_TRUE(queue.empty());
}

TEST(ReadyQueueTest, NodeMayBePushedAgainAfterItWasPopped) {
  std::vector<std::string> log;
  NamedStep a("a", log);
  ReadyQueue queue;
  for (int i = 0; i < 3; ++i) {
    queue.Push(&a);
    EXPECT_EQ(queue.Pop(), &a);
  }
  EXPECT_TRUE(queue.empty());
}

TEST(ReadyQueueTest, AppendMovesTheOtherBehind) {
  std::vector<std::string> log;
  NamedStep a("a", log), b("b", log), c("c", log);
  ReadyQueue first, second, empty;
  first.Push(&a);
  second.Push(&b);
  second.Push(&c);
  first.Append(second);
  first.Append(empty);
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(first.Pop(), &a);
  EXPECT_EQ(first.Pop(), &b);
  EXPECT_EQ(first.Pop(), &c);
  second.Push(&a);
  EXPECT_EQ(second.Pop(), &a);
}

TEST(ReadyQueueTest, MarkEndsAPassBeforeWhatIsPushedDuringIt) {
  std::vector<std::string> log;
  NamedStep a("a", log), b("b", log), c("c", log);
  ReadyQueue queue;
  queue.Push(&a);
  queue.Push(&b);
  const void* mark = queue.Mark();
  Runnable* node = queue.Pop();
  EXPECT_FALSE(ReadyQueue::EndsPass(node, mark));
  queue.Push(&c);
  node = queue.Pop();
  EXPECT_EQ(node, &b);
  EXPECT_TRUE(ReadyQueue::EndsPass(node, mark));
  EXPECT_EQ(queue.First(), &c);
}

TEST(ReadyQueueTest, MarkWorksForASingleNodeThatIsPushedAgain) {
  std::vector<std::string> log;
  NamedStep a("a", log);
  ReadyQueue queue;
  queue.Push(&a);
  const void* mark = queue.Mark();
  Runnable* node = queue.Pop();
  EXPECT_TRUE(ReadyQueue::EndsPass(node, mark));
  queue.Push(&a);
  EXPECT_EQ(queue.First(), &a);
}

TEST(ReadyQueueTest, DefaultDescriptionFitsTheBuffer) {
  std::vector<std::string> log;
  NamedStep a("a", log);
  char buffer[4];
  EXPECT_EQ(a.DescribeTo(buffer, sizeof(buffer)), 4u);
  EXPECT_EQ(std::string(buffer, 4), "a ca");
  EXPECT_EQ(a.DescribeTo(buffer, 0), 0u);
}

}  // namespace
}  // namespace coil::internal
