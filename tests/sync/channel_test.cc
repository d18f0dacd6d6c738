// Channel: order, closing, cancellation, misuse, lifetime. What it shares with
// Queue is tested there in more detail.

#include "coil/sync/channel.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitAll;
using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::RunVirtually;
using sync_testing::StartEach;
using sync_testing::TextOf;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::WaitOf;

TEST(ChannelTest, CapacityBelowOneNamesTheRule) {
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Channel<int> channel(0); }),
            "Channel: the capacity is 0; it is at least 1");
  EXPECT_THROW(Channel<int>(-5), std::invalid_argument);
}

TEST(ChannelTest, ValuesArriveInOrder) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(4);
    Task<void> sender = CreateTask([&]() -> Co<void> {
      for (int i = 0; i < 50; ++i) co_await channel.Send(i);
      channel.Close();
    });
    int expected = 0;
    while (auto value = co_await channel.Next()) {
      EXPECT_EQ(*value, expected++);
    }
    EXPECT_EQ(expected, 50);
    co_await sender;
  });
}

TEST(ChannelTest, StateOfAChannel) {
  Channel<int> channel(2);
  EXPECT_EQ(channel.Capacity(), 2);
  EXPECT_TRUE(channel.Empty());
  EXPECT_TRUE(channel.TrySend(1));
  EXPECT_TRUE(channel.TrySend(2));
  EXPECT_TRUE(channel.Full());
  EXPECT_FALSE(channel.TrySend(3));
  EXPECT_EQ(channel.Size(), 2);
  EXPECT_EQ(channel.TryReceive(), 1);
  EXPECT_EQ(channel.TryReceive(), 2);
  EXPECT_EQ(channel.TryReceive(), std::nullopt);
}

TEST(ChannelTest, SenderWaitsForRoom) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(1);
    co_await channel.Send(1);
    Task<void> sender = CreateTask(channel.Send(2));
    co_await Turns(3);
    EXPECT_FALSE(sender.Done());
    EXPECT_EQ(WaitOf(sender), "Channel::Send, it is full");
    EXPECT_EQ(co_await channel.Receive(), 1);
    co_await sender;
    EXPECT_EQ(co_await channel.Receive(), 2);
  });
}

TEST(ChannelTest, ReceiversAreServedInOrderOfArrival) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(3);
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(CreateTask(channel.Receive()));
    co_await Turns();
    EXPECT_EQ(WaitOf(tasks[0]), "Channel::Receive, it is empty");
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(channel.TrySend(i));
    EXPECT_FALSE(channel.TryReceive().has_value());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await tasks[i], i);
  });
}

FIFO_TEST(ChannelTest, SendersAreServedInOrderOfArrival) {
  Channel<int> channel(1);
  auto tasks = StartEach(5, [&](int i) { return channel.Send(i); });
  co_await Turns();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await channel.Receive(), i);
  co_await AwaitAll(tasks);
}

TEST(ChannelTest, ClosedChannelRefusesAndDrains) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(2);
    co_await channel.Send(1);
    EXPECT_FALSE(channel.Closed());
    channel.Close();
    channel.Close();
    EXPECT_TRUE(channel.Closed());
    EXPECT_EQ(co_await AwaitTextOf<ChannelClosed>(channel.Send(2)),
              "Channel::Send: the channel is closed");
    EXPECT_FALSE(channel.TrySend(2));
    EXPECT_EQ(co_await channel.Receive(), 1);
    EXPECT_EQ(co_await AwaitTextOf<ChannelClosed>(channel.Receive()),
              "Channel::Receive: the channel is closed");
    EXPECT_FALSE((co_await channel.Next()).has_value());
    EXPECT_EQ(channel.TryReceive(), std::nullopt);
  });
}

TEST(ChannelTest, CloseWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    Channel<int> empty(1);
    Channel<int> full(1);
    EXPECT_TRUE(full.TrySend(1));
    Task<int> receiver = CreateTask(empty.Receive());
    Task<std::optional<int>> next = CreateTask(empty.Next());
    Task<void> sender = CreateTask(full.Send(2));
    co_await Turns();
    empty.Close();
    full.Close();
    co_await Turns();
    EXPECT_EQ(HowEnded(receiver), "Channel::Receive: the channel is closed");
    EXPECT_EQ(HowEnded(sender), "Channel::Send: the channel is closed");
    EXPECT_EQ(next.Result(), std::nullopt);
  });
}

TEST(ChannelTest, MoveOnlyValues) {
  RunVirtually([]() -> Co<void> {
    Channel<std::unique_ptr<int>> channel(1);
    auto value = std::make_unique<int>(1);
    co_await channel.Send(std::move(value));
    EXPECT_EQ(value, nullptr);
    std::unique_ptr<int> received = co_await channel.Receive();
    EXPECT_EQ(*received, 1);
  });
}

TEST(ChannelTest, CancelledSendLeavesItsArgumentAlone) {
  RunVirtually([]() -> Co<void> {
    Channel<std::string> channel(1);
    const std::string first = "first";
    EXPECT_TRUE(channel.TrySend(first));
    std::string value = "a value that is too long for the small buffer";
    Task<void> sender = CreateTask(
        [&]() -> Co<void> { co_await channel.Send(std::move(value)); });
    co_await Turns();
    EXPECT_EQ(channel.TryReceive(), first);  // promises the room
    sender.Cancel("why");
    co_await Turns();
    EXPECT_EQ(HowEnded(sender), "cancelled: why");
    EXPECT_EQ(value, "a value that is too long for the small buffer");
    EXPECT_FALSE(channel.Full());
  });
}

TEST(ChannelTest, CancelledReceiveTakesNothing) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(1);
    Task<int> a = CreateTask(channel.Receive());
    Task<int> b = CreateTask(channel.Receive());
    co_await Turns();
    EXPECT_TRUE(channel.TrySend(1));
    a.Cancel();
    EXPECT_EQ(co_await b, 1);
    EXPECT_TRUE(a.Cancelled());
  });
}

TEST(ChannelTest, CancelInBothOrdersWithinOneTurn) {
  RunVirtually([]() -> Co<void> {
    Channel<int> channel(1);
    Task<int> a = CreateTask(channel.Receive());
    co_await Turns();
    a.Cancel();
    EXPECT_TRUE(channel.TrySend(1));
    co_await Turns();
    EXPECT_TRUE(a.Cancelled());
    EXPECT_EQ(channel.Size(), 1);
    Task<void> s = CreateTask(channel.Send(2));
    co_await Turns();
    s.Cancel();
    EXPECT_EQ(channel.TryReceive(), 1);
    co_await Turns();
    EXPECT_TRUE(s.Cancelled());
    EXPECT_TRUE(channel.Empty());
    EXPECT_TRUE(channel.TrySend(3));
  });
}

TEST(ChannelTest, DestroyedChannelWakesThoseWhoWait) {
  RunVirtually([]() -> Co<void> {
    auto channel = std::make_unique<Channel<int>>(1);
    Task<int> a = CreateTask(channel->Receive());
    Task<int> b = CreateTask(channel->Receive());
    co_await Turns();
    EXPECT_TRUE(channel->TrySend(1));
    channel.reset();
    co_await Turns();
    EXPECT_EQ(HowEnded(a), "Channel was destroyed while 2 tasks waited for it");
    EXPECT_EQ(HowEnded(b), "Channel was destroyed while 2 tasks waited for it");
  });
}

TEST(ChannelTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  Channel<int> channel(1);
  loops.RunOnFirst([&]() -> Co<void> {
    Task<int> receiver = CreateTask(channel.Receive());
    co_await Turns();
    receiver.Cancel();
    co_await Turns();
  });
  loops.RunOnSecond([&]() -> Co<void> {
    const std::string text =
        co_await AwaitTextOf<std::runtime_error>(channel.Receive());
    EXPECT_EQ(text.substr(0, 17), "Channel::Receive:");
  });
}

}  // namespace
}  // namespace coil
