#include "coil/net/stream_writer.h"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::FillUp;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::ShrinkBuffers;
using coil_testing::SocketShim;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

class StreamWriterTest : public NetTest {};

// A connection that takes nothing more until the peer reads.
struct FullConnection : Connection {
  FullConnection() : FullConnection(UnixEnds()) {}
  template <class Ends>
  explicit FullConnection(Ends ends) : Connection(std::move(ends)) {
    ShrinkBuffers(writer.Socket().Descriptor(), peer.fd());
    filled = FillUp(writer);
  }
  std::string filled;
};

TEST_F(StreamWriterTest, WriteSendsAtOnce) {
  RunNet([]() -> Co<void> {
    Connection c;
    co_await c.writer.Write("hello");
    EXPECT_EQ(c.peer.ReceiveExactly(5), "hello");
  });
}

TEST_F(StreamWriterTest, WriteOfNothingReturns) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    co_await c.writer.Write("");
    co_await c.writer.Write(absl::Span<const std::string_view>());
    c.writer.WriteSoon("");
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);
  });
}

TEST_F(StreamWriterTest, PiecesGoOutInOneCall) {
  static int calls = 0;
  calls = 0;
  SocketShim shim;
  shim.table().sendmsg = [](int fd, const msghdr* message, int flags) {
    ++calls;
    return ::sendmsg(fd, message, flags);
  };
  RunNet([]() -> Co<void> {
    Connection c;
    const std::vector<std::string_view> pieces = {"a", "", "bc", "def"};
    co_await c.writer.Write(pieces);
    EXPECT_EQ(c.peer.ReceiveExactly(6), "abcdef");
    EXPECT_EQ(calls, 1);
    const std::vector<std::string_view> many(100, "xy");
    co_await c.writer.Write(many);
    EXPECT_EQ(c.peer.ReceiveExactly(200).size(), 200u);
    EXPECT_EQ(calls, 8);
  });
}

TEST_F(StreamWriterTest, WriteWaitsForAPeerThatIsSlow) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("tail"));
    co_await Turns(20);
    EXPECT_FALSE(write.Done());
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);  // borrowed, not copied
    EXPECT_EQ(c.peer.ReceiveExactly(c.filled.size()), c.filled);
    co_await write;
    EXPECT_EQ(c.peer.ReceiveExactly(4), "tail");
  });
}

TEST_F(StreamWriterTest, LargeWritesArriveWhole) {
  RunNet([]() -> Co<void> {
    Connection c;
    std::string data(8 << 20, '\0');
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<char>(i * 2654435761u >> 24);
    }
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await c.writer.Write(data);
    co_await c.writer.Close();
    reader.join();
    EXPECT_TRUE(received == data);
  });
}

TEST_F(StreamWriterTest, TasksThatWriteAtOnceDoNotMix) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    std::vector<Task<void>> tasks;
    std::string expected = c.filled;
    for (int i = 0; i < 10; ++i) {
      const std::string message(3000, static_cast<char>('0' + i));
      tasks.push_back(CreateTask([message, writer = c.writer]() -> Co<void> {
        co_await writer.Write(message);
      }));
      expected += message;
    }
    co_await Turns();
    std::string received;
    while (received.size() < expected.size()) {
      received += c.peer.Receive(1000);
      co_await Yield();
    }
    for (const Task<void>& task : tasks) co_await task;
    EXPECT_TRUE(received == expected);
  });
}

TEST_F(StreamWriterTest, WriteSoonKeepsItsPlaceAmongWrites) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> first = CreateTask(c.writer.Write("first,"));
    co_await Turns();
    c.writer.WriteSoon("second,");
    Task<void> third = CreateTask(c.writer.Write("third."));
    co_await Turns();
    EXPECT_EQ(c.writer.WriteBufferSize(), 7u);
    EXPECT_EQ(c.peer.ReceiveExactly(c.filled.size()), c.filled);
    co_await first;
    co_await third;
    EXPECT_EQ(c.peer.ReceiveExactly(19), "first,second,third.");
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);
  });
}

// ---- water marks

TEST_F(StreamWriterTest, DrainReturnsAtOnceBelowTheHighMark) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon(std::string(65536, 'x'));
    const uint64_t turn = EventLoop::Current().Iterations();
    co_await c.writer.Drain();
    EXPECT_EQ(EventLoop::Current().Iterations(), turn);
  });
}

TEST_F(StreamWriterTest, DrainWaitsFromTheHighMarkToTheLowOne) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    EXPECT_EQ(c.writer.WriteBufferLimits(),
              (std::pair<size_t, size_t>(65536, 16384)));
    c.writer.WriteSoon(std::string(65537, 'x'));
    // Any number of tasks may wait.
    Task<void> one = CreateTask(c.writer.Drain());
    Task<void> two = CreateTask(c.writer.Drain());
    co_await Turns();
    EXPECT_FALSE(one.Done());
    while (!one.Done()) {
      EXPECT_FALSE(two.Done());
      c.peer.Receive(1000);
      co_await Turns(3);
    }
    EXPECT_LE(c.writer.WriteBufferSize(), 16384u);
    EXPECT_GT(c.writer.WriteBufferSize(), 0u);
    co_await two;
  });
}

TEST_F(StreamWriterTest, MarksMayBeMoved) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.SetWriteBufferLimits(0, 0);
    c.writer.WriteSoon("x");  // zero: paused whenever something is queued
    Task<void> drain = CreateTask(c.writer.Drain());
    co_await Turns();
    EXPECT_FALSE(drain.Done());
    c.writer.SetWriteBufferLimits(100, 10);
    co_await drain;
    std::string error;
    try {
      c.writer.SetWriteBufferLimits(1, 2);
    } catch (const std::invalid_argument& e) {
      error = e.what();
    }
    EXPECT_EQ(error,
              "StreamWriter::SetWriteBufferLimits: the low water mark (2) is "
              "not above the high one (1)");
  });
}

TEST_F(StreamWriterTest, DrainTellsWhatWriteSoonCouldNot) {
  RunNet([]() -> Co<void> {
    Connection c;
    const std::string peer = c.writer.PeerName().ToString();
    c.peer.Reset();
    for (int i = 0; i < 3; ++i) {
      c.writer.WriteSoon("x");  // does not throw
      co_await Turns(3);
    }
    const std::string error = co_await ErrorOf(c.writer.Drain());
    EXPECT_TRUE(error == "send to " + peer + ": Connection reset by peer" ||
                error == "send to " + peer + ": Broken pipe")
        << error;
  });
}

TEST_F(StreamWriterTest, ALostConnectionReleasesAllWhoWait) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon(std::string(100000, 'x'));
    Task<void> drain = CreateTask(c.writer.Drain());
    Task<void> write = CreateTask(c.writer.Write("y"));
    co_await Turns();
    c.peer.Reset();
    EXPECT_NE(co_await ErrorOf(drain), "");
    EXPECT_NE(co_await ErrorOf(write), "");
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);
    EXPECT_NE(co_await ErrorOf(c.writer.Write("z")), "");
  });
}

// ---- half close

TEST_F(StreamWriterTest, WriteEofLeavesReadingOpen) {
  RunNet([]() -> Co<void> {
    Connection c;
    EXPECT_TRUE(c.writer.CanWriteEof());
    co_await c.writer.Write("request");
    c.writer.WriteEof();
    c.writer.WriteEof();
    EXPECT_EQ(c.peer.ReceiveAll(), "request");
    c.peer.Send("answer");
    EXPECT_EQ(co_await c.reader.Read(100), "answer");
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.Read(100), "");
  });
}

TEST_F(StreamWriterTest, WriteEofComesBehindWhatIsQueued) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon("queued");
    c.writer.WriteEof();
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await Eventually([&] { return c.writer.WriteBufferSize() == 0; });
    reader.join();
    EXPECT_EQ(received, c.filled + "queued");
  });
}

TEST_F(StreamWriterTest, NothingCanBeWrittenAfterWriteEof) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.writer.WriteEof();
    EXPECT_EQ(co_await ErrorOf(c.writer.Write("x")),
              "StreamWriter::Write: nothing can be written after WriteEof()");
    EXPECT_THROW(c.writer.WriteSoon("x"), std::runtime_error);
  });
}

// ---- close

TEST_F(StreamWriterTest, CloseSendsWhatIsQueuedFirst) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon(std::string(300000, 'q'));
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await c.writer.Close();
    EXPECT_TRUE(c.writer.IsClosing());
    reader.join();
    EXPECT_TRUE(received == c.filled + std::string(300000, 'q'));
  });
}

TEST_F(StreamWriterTest, CloseTwiceAndByTwoTasks) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon("tail");
    Task<void> one = CreateTask(c.writer.Close());
    Task<void> two = CreateTask(c.writer.Close());
    co_await Turns();
    EXPECT_FALSE(one.Done());
    c.peer.ReceiveExactly(c.filled.size());
    co_await one;
    co_await two;
    co_await c.writer.Close();
    EXPECT_EQ(c.peer.ReceiveAll(), "tail");
  });
}

TEST_F(StreamWriterTest, ACancelledCloseGoesOn) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon("tail");
    Task<void> close = CreateTask(c.writer.Close());
    co_await Turns();
    close.Cancel();
    co_await Settle(close);
    EXPECT_TRUE(close.Cancelled());
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await c.writer.Close();
    reader.join();
    EXPECT_EQ(received, c.filled + "tail");
  });
}

TEST_F(StreamWriterTest, TheLastHandleLeavesWhatIsQueuedToBeSent) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon("last words");
    c.DropHandles();
    std::string received;
    std::atomic<bool> done = false;
    std::thread reader([&] {
      received = c.peer.ReceiveAll();
      done = true;
    });
    co_await Eventually([&] { return done.load(); });
    reader.join();
    EXPECT_EQ(received, c.filled + "last words");
  });
}

TEST_F(StreamWriterTest, WhatIsQueuedDoesNotOutliveTheLoop) {
  // The peer never reads; nothing may leak when the loop goes.
  std::unique_ptr<FullConnection> c;
  RunNet([&]() -> Co<void> {
    c = std::make_unique<FullConnection>();
    c->writer.WriteSoon(std::string(1 << 20, 'x'));
    c->DropHandles();
    co_await Turns();
  });
}

TEST_F(StreamWriterTest, WriteAfterCloseIsAnError) {
  RunNet([]() -> Co<void> {
    Connection c;
    co_await c.writer.Close();
    const std::string aborted = "Software caused connection abort";
    EXPECT_NE((co_await ErrorOf(c.writer.Write("x"))).find(aborted),
              std::string::npos);
    EXPECT_NE((co_await ErrorOf(c.writer.Drain())).find(aborted),
              std::string::npos);
    EXPECT_NE((co_await ErrorOf(c.reader.Read(1))).find(aborted),
              std::string::npos);
    c.writer.WriteSoon("dropped");
    c.writer.WriteEof();
    c.writer.Abort();
    EXPECT_EQ(c.writer.Socket().Descriptor(), -1);
  });
}

TEST_F(StreamWriterTest, CloseThrowsWhatNobodyWasTold) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    c.writer.WriteSoon("lost");
    Task<void> close = CreateTask(c.writer.Close());
    co_await Turns();
    c.peer.Reset();
    EXPECT_NE(co_await ErrorOf(close), "");
    EXPECT_EQ(co_await ErrorOf(c.writer.Close()), "");  // now it is known
  });
}

TEST_F(StreamWriterTest, CloseDoesNotThrowWhatWasTold) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("lost"));
    co_await Turns();
    c.peer.Reset();
    EXPECT_NE(co_await ErrorOf(write), "");
    co_await c.writer.Close();
  });
}

TEST_F(StreamWriterTest, AbortDropsAndResets) {
  RunNet([]() -> Co<void> {
    FullConnection c{TcpEnds()};
    c.writer.WriteSoon("dropped");
    Task<void> write = CreateTask(c.writer.Write("dropped too"));
    co_await Turns();
    c.writer.Abort();
    EXPECT_NE(co_await ErrorOf(write), "");
    const std::string received = c.peer.ReceiveAll();
    EXPECT_EQ(received.substr(received.size() - 7), "<reset>");
    co_await c.writer.Close();  // closed already, and nobody lost anything
  });
}

TEST_F(StreamWriterTest, AbortWithNothingQueuedIsAnEnd) {
  RunNet([]() -> Co<void> {
    Connection c;
    co_await c.writer.Write("all");
    c.writer.Abort();
    EXPECT_EQ(c.peer.ReceiveAll(), "all");
  });
}

TEST_F(StreamWriterTest, NamesOfBothEnds) {
  RunNet([]() -> Co<void> {
    Connection c;
    const Address mine = c.writer.SockName();
    const Address peer = c.writer.PeerName();
    EXPECT_EQ(peer, SocketRef(c.peer.fd()).SockName());
    EXPECT_EQ(mine, SocketRef(c.peer.fd()).PeerName());
    co_await c.writer.Close();
    EXPECT_EQ(c.writer.PeerName(), peer);
    EXPECT_FALSE(c.writer.SockName());
  });
}

TEST_F(StreamWriterTest, AnEmptyWriterNamesTheRule) {
  RunNet([]() -> Co<void> {
    StreamWriter writer;
    EXPECT_FALSE(writer);
    EXPECT_THROW((void)writer.Write("x"), std::runtime_error);
    EXPECT_THROW(writer.WriteSoon("x"), std::runtime_error);
    EXPECT_THROW((void)writer.Close(), std::runtime_error);
    co_return;
  });
}

// ---- cancellation

TEST_F(StreamWriterTest, AWriteCancelledBeforeItsFirstByteSendsNothing) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("never"));
    co_await Turns();
    write.Cancel();
    co_await Settle(write);
    EXPECT_TRUE(write.Cancelled());
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);
    c.peer.ReceiveExactly(c.filled.size());
    co_await c.writer.Write("after");
    EXPECT_EQ(c.peer.ReceiveExactly(5), "after");
  });
}

TEST_F(StreamWriterTest, AWriteCancelledHalfWayIsSentWhole) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    const std::string message(100000, 'm');
    Task<void> write = CreateTask(c.writer.Write(message));
    co_await Turns();
    // Some of it goes out.
    std::string received;
    while (received.size() <= c.filled.size()) {
      received += c.peer.Receive(1000);
      co_await Turns(2);
    }
    EXPECT_FALSE(write.Done());
    write.Cancel();
    co_await Settle(write);
    EXPECT_TRUE(write.Cancelled());
    EXPECT_GT(c.writer.WriteBufferSize(), 0u);
    Task<void> next = CreateTask(c.writer.Write("next"));
    const std::string expected = c.filled + message + "next";
    while (received.size() < expected.size()) {
      received += c.peer.Receive(4096);
      co_await Yield();
    }
    co_await next;
    EXPECT_TRUE(received == expected);
  });
}

TEST_F(StreamWriterTest, ACancelFromBeforeDoesNotTearAWrite) {
  // The request is there already when Write() sends a part and has to wait.
  RunNet([]() -> Co<void> {
    Connection c{UnixEnds()};
    ShrinkBuffers(c.writer.Socket().Descriptor(), c.peer.fd());
    const std::string message(1 << 20, 'm');
    Task<void> task = CreateTask([&]() -> Co<void> {
      CurrentTask().Cancel();
      co_await c.writer.Write(message);
    });
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_GT(c.writer.WriteBufferSize(), 0u);
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await c.writer.Close();
    reader.join();
    EXPECT_TRUE(received == message);
  });
}

TEST_F(StreamWriterTest, CancelledWritesDoNotPileUp) {
  // Nothing is kept of those that have sent nothing.
  RunNet([]() -> Co<void> {
    FullConnection c;
    const std::string message(100000, 'm');
    for (int i = 0; i < 100; ++i) {
      Task<void> write = CreateTask(c.writer.Write(message));
      co_await Turns(2);
      write.Cancel();
      co_await Settle(write);
    }
    EXPECT_EQ(c.writer.WriteBufferSize(), 0u);
  });
}

TEST_F(StreamWriterTest, ACancelThatMeetsTheLastByteChangesNothing) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("tail"));
    co_await Turns();
    c.peer.ReceiveExactly(c.filled.size());
    while (!c.writer.core()->QueueEmpty()) co_await Yield();
    EXPECT_FALSE(write.Done());
    write.Cancel();
    co_await Settle(write);
    EXPECT_TRUE(write.Cancelled());
    EXPECT_EQ(c.peer.ReceiveExactly(4), "tail");
    co_await c.writer.Write("x");
    EXPECT_EQ(c.peer.ReceiveExactly(1), "x");
  });
}

TEST_F(StreamWriterTest, ClosedWhileAnotherTaskWrites) {
  // What was written before the close is sent before it.
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("tail"));
    co_await Turns();
    Task<void> close = CreateTask(c.writer.Close());
    co_await Turns();
    std::string received;
    std::thread reader([&] { received = c.peer.ReceiveAll(); });
    co_await write;
    co_await close;
    reader.join();
    EXPECT_EQ(received, c.filled + "tail");
  });
}

TEST_F(StreamWriterTest, ACloseGoesOnWhenTheOnlyWriteIsCancelled) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("never"));
    co_await Turns();
    Task<void> close = CreateTask(c.writer.Close());
    co_await Turns();
    EXPECT_FALSE(close.Done());
    write.Cancel();
    co_await close;
    EXPECT_EQ(c.peer.ReceiveAll(), c.filled);
  });
}

TEST_F(StreamWriterTest, AWaitingWriteIsDescribed) {
  RunNet([]() -> Co<void> {
    FullConnection c;
    Task<void> write = CreateTask(c.writer.Write("tail"));
    co_await Turns();
    const std::string dump = DumpTasks();
    EXPECT_NE(
        dump.find("room to send 4 bytes to " + c.writer.PeerName().ToString()),
        std::string::npos)
        << dump;
    write.Cancel();
  });
}

// Writes that complete at once until one has to give way; that one is the next.
Co<void> WriteUntilTheTurnIsUsedUp(StreamWriter writer) {
  for (int i = 0; i < 16; ++i) co_await writer.Write("a");
}
const std::string kWrittenBefore(16, 'a');

TEST_F(StreamWriterTest, AWriteThatGivesWayKeepsItsPlace) {
  RunNet([]() -> Co<void> {
    Connection c;
    co_await WriteUntilTheTurnIsUsedUp(c.writer);
    Task<void> first = CreateTask(c.writer.Write("first "));
    Task<void> second = CreateTask([&]() -> Co<void> {
      EXPECT_FALSE(first.Done());
      c.writer.WriteSoon("second");
      co_return;
    });
    co_await first;
    co_await second;
    EXPECT_EQ(c.peer.ReceiveExactly(28), kWrittenBefore + "first second");
  });
}

TEST_F(StreamWriterTest, AWriteThatGivesWayComesBeforeTheEnd) {
  for (const bool close : {false, true}) {
    SCOPED_TRACE(close);
    RunNet([&]() -> Co<void> {
      Connection c;
      co_await WriteUntilTheTurnIsUsedUp(c.writer);
      Task<void> first = CreateTask(c.writer.Write("first"));
      co_await Yield();
      EXPECT_FALSE(first.Done());
      if (close) {
        co_await c.writer.Close();
      } else {
        c.writer.WriteEof();
      }
      EXPECT_EQ(co_await ErrorOf(first), "");
      EXPECT_EQ(c.peer.ReceiveAll(), kWrittenBefore + "first");
      co_await c.writer.Close();
    });
  }
}

}  // namespace
}  // namespace coil::net
