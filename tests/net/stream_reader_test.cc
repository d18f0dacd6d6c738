#include "coil/net/stream_reader.h"

#include <cerrno>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "coil/task/for_await.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::NetTest;
using coil_testing::Peer;
using coil_testing::RunNet;
using coil_testing::Turns;
using coil_testing::UnixEnds;

class StreamReaderTest : public NetTest {};

std::string Pattern(size_t n) {
  std::string text(n, '\0');
  for (size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

// ---- Read

TEST_F(StreamReaderTest, ReadGivesWhatIsThere) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("hello");
    EXPECT_EQ(co_await c.reader.Read(100), "hello");
    c.peer.Send("world");
    EXPECT_EQ(co_await c.reader.Read(2), "wo");
    EXPECT_EQ(co_await c.reader.Read(100), "rld");
  });
}

TEST_F(StreamReaderTest, ReadOfNothingReturnsAtOnce) {
  RunNet([]() -> Co<void> {
    Connection c;
    EXPECT_EQ(co_await c.reader.Read(0), "");
    EXPECT_EQ(co_await c.reader.Read(absl::Span<char>()), 0u);
    EXPECT_FALSE(c.reader.AtEof());
  });
}

TEST_F(StreamReaderTest, ReadIsEmptyAtTheEndAndStaysSo) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("x");
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.Read(10), "x");
    EXPECT_EQ(co_await c.reader.Read(10), "");
    EXPECT_EQ(co_await c.reader.Read(10), "");
    char byte;
    EXPECT_EQ(co_await c.reader.Read(absl::MakeSpan(&byte, 1)), 0u);
  });
}

TEST_F(StreamReaderTest, DataAndTheEndInOneEventAreBothSeen) {
  // The end of file has no edge of its own then.
  RunNet([]() -> Co<void> {
    for (int i = 0; i < 50; ++i) {
      Connection c;
      Task<std::string> read = CreateTask(c.reader.ReadAll());
      co_await Turns(i % 3);
      c.peer.Send("tail");
      c.peer.ShutdownWrite();
      EXPECT_EQ(co_await read, "tail");
    }
  });
}

TEST_F(StreamReaderTest, ReadIntoASpanOfTheCaller) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("hello");
    std::vector<char> buffer(3);
    EXPECT_EQ(co_await c.reader.Read(absl::MakeSpan(buffer)), 3u);
    EXPECT_EQ(std::string_view(buffer.data(), 3), "hel");
    EXPECT_EQ(co_await c.reader.Read(absl::MakeSpan(buffer)), 2u);
    EXPECT_EQ(std::string_view(buffer.data(), 2), "lo");
  });
}

TEST_F(StreamReaderTest, ReadIntoASpanTakesWhatWasReceivedBefore) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("line\nrest");
    EXPECT_EQ(co_await c.reader.ReadLine(), "line\n");
    std::vector<char> buffer(100);
    EXPECT_EQ(co_await c.reader.Read(absl::MakeSpan(buffer)), 4u);
    EXPECT_EQ(std::string_view(buffer.data(), 4), "rest");
  });
}

TEST_F(StreamReaderTest, NegativeReadIsReadAll) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("all of ");
    Task<std::string> read = CreateTask(c.reader.Read());
    co_await Turns();
    EXPECT_FALSE(read.Done());
    c.peer.Send("it");
    c.peer.Close();
    EXPECT_EQ(co_await read, "all of it");
    EXPECT_TRUE(c.reader.AtEof());
  });
}

TEST_F(StreamReaderTest, ReadAllIsNotStoppedByTheLimit) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/16);
    const std::string data = Pattern(300000);
    std::thread sender([&] {
      c.peer.Send(data);
      c.peer.Close();
    });
    const std::string read = co_await c.reader.ReadAll();
    sender.join();
    EXPECT_EQ(read.size(), data.size());
    EXPECT_TRUE(read == data);
  });
}

// ---- ReadExactly

TEST_F(StreamReaderTest, ReadExactlyWaitsForAll) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> read = CreateTask(c.reader.ReadExactly(6));
    c.peer.Send("abc");
    co_await Turns(20);
    EXPECT_FALSE(read.Done());
    c.peer.Send("defg");
    EXPECT_EQ(co_await read, "abcdef");
    EXPECT_EQ(co_await c.reader.Read(10), "g");
  });
}

TEST_F(StreamReaderTest, ReadExactlyMayExceedTheLimit) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/10);
    const std::string data = Pattern(100000);
    std::thread sender([&] { c.peer.Send(data); });
    EXPECT_TRUE(co_await c.reader.ReadExactly(data.size()) == data);
    sender.join();
  });
}

TEST_F(StreamReaderTest, ReadExactlyOfNothingIsEmpty) {
  RunNet([]() -> Co<void> {
    Connection c;
    EXPECT_EQ(co_await c.reader.ReadExactly(0), "");
  });
}

TEST_F(StreamReaderTest, ReadExactlyRefusesANegativeNumber) {
  RunNet([]() -> Co<void> {
    Connection c;
    const int missing = 3 - 8;
    try {
      (void)c.reader.ReadExactly(missing);
      ADD_FAILURE() << "it was accepted";
    } catch (const std::invalid_argument& e) {
      EXPECT_STREQ(e.what(),
                   "StreamReader::ReadExactly: the number of bytes is -5; it "
                   "is at least 0");
    }
    co_return;
  });
}

TEST_F(StreamReaderTest, ReadExactlySaysWhatWasMissing) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("abc");
    c.peer.Close();
    std::optional<IncompleteReadError> error;
    try {
      co_await c.reader.ReadExactly(5);
    } catch (const IncompleteReadError& e) {
      error.emplace(e);
    }
    EXPECT_TRUE(error.has_value());
    if (!error.has_value()) co_return;
    EXPECT_EQ(error->partial(), "abc");
    EXPECT_EQ(error->expected(), 5u);
    EXPECT_STREQ(error->what(),
                 "the connection ended after 3 of 5 bytes; these are in "
                 "partial()");
    EXPECT_TRUE(c.reader.AtEof());
  });
}

// ---- lines and separators

TEST_F(StreamReaderTest, ReadLineKeepsTheNewlineAndTheLastMayLackIt) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("one\ntwo\n\nthree");
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.ReadLine(), "one\n");
    EXPECT_EQ(co_await c.reader.ReadLine(), "two\n");
    EXPECT_EQ(co_await c.reader.ReadLine(), "\n");
    EXPECT_EQ(co_await c.reader.ReadLine(), "three");
    EXPECT_EQ(co_await c.reader.ReadLine(), "");
  });
}

TEST_F(StreamReaderTest, ALineMayComeInPieces) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> line = CreateTask(c.reader.ReadLine());
    for (char letter : std::string("hello")) {
      c.peer.Send(std::string(1, letter));
      co_await Turns(3);
    }
    EXPECT_FALSE(line.Done());
    c.peer.Send("\nx");
    EXPECT_EQ(co_await line, "hello\n");
  });
}

TEST_F(StreamReaderTest, TheReaderIsARangeOfLines) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("a\nb\nc");
    c.peer.Close();
    std::vector<std::string> lines;
    COIL_FOR_AWAIT(std::string line, c.reader) { lines.push_back(line); }
    EXPECT_EQ(lines, (std::vector<std::string>{"a\n", "b\n", "c"}));
  });
}

TEST_F(StreamReaderTest, ALineAtTheLimitIsReadAndOneAboveIsDropped) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/8);
    c.peer.Send("12345678\n123456789\nnext\n");
    EXPECT_EQ(co_await c.reader.ReadLine(), "12345678\n");
    const std::string error = co_await ErrorOf(c.reader.ReadLine());
    EXPECT_EQ(error,
              "StreamReader: a separator was found, but after 9 bytes; the "
              "limit is 8");
    EXPECT_EQ(co_await c.reader.ReadLine(), "next\n");
  });
}

TEST_F(StreamReaderTest, ALineWithoutAnEndIsAnErrorAtTheLimit) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/8);
    c.peer.Send(std::string(20, 'x'));
    std::optional<LimitOverrunError> error;
    try {
      co_await c.reader.ReadLine();
    } catch (const LimitOverrunError& e) {
      error.emplace(e);
    }
    EXPECT_TRUE(error.has_value());
    // What was received of it is gone, what comes is read on.
    c.peer.Send("\nnext\n");
    std::string line;
    while (line != "next\n") {
      try {
        line = co_await c.reader.ReadLine();
      } catch (const LimitOverrunError&) {
      }
    }
  });
}

TEST_F(StreamReaderTest, ReadUntilTakesTheSeparatorWithIt) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("head\r\n\r\nbody");
    EXPECT_EQ(co_await c.reader.ReadUntil("\r\n\r\n"), "head\r\n\r\n");
    EXPECT_EQ(c.reader.Buffered(), "body");
  });
}

TEST_F(StreamReaderTest, OfSeveralSeparatorsTheFirstToEndWins) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("ab;cd,ef##;");
    EXPECT_EQ(co_await c.reader.ReadUntil(",", ";"), "ab;");
    EXPECT_EQ(co_await c.reader.ReadUntil(";", ","), "cd,");
    EXPECT_EQ(co_await c.reader.ReadUntil("##;", "#"), "ef#");
    const std::vector<std::string> separators = {"x", "#;"};
    EXPECT_EQ(co_await c.reader.ReadUntil(separators), "#;");
    c.peer.Send("g|h--i++");
    const std::vector<std::string_view> views = {"-", "|"};
    EXPECT_EQ(co_await c.reader.ReadUntil(views), "g|");
    // Braces make a list that has a constructor, of all that can stand in them.
    const std::string dashes = "--";
    // lint: allow braced-argument (this one is safe)
    EXPECT_EQ(co_await c.reader.ReadUntil({dashes, "+"}), "h--");
    // lint: allow braced-argument (this one is safe)
    EXPECT_EQ(co_await c.reader.ReadUntil({std::string_view("++"), "=", "."}),
              "i++");
  });
}

TEST_F(StreamReaderTest, ASeparatorMayBeSplitAnywhere) {
  RunNet([]() -> Co<void> {
    const std::string message = "payload<END>";
    for (size_t cut = 1; cut < message.size(); ++cut) {
      Connection c;
      Task<std::string> read = CreateTask(c.reader.ReadUntil("<END>"));
      c.peer.Send(message.substr(0, cut));
      co_await Turns(4);
      EXPECT_FALSE(read.Done());
      c.peer.Send(message.substr(cut));
      EXPECT_EQ(co_await read, message) << cut;
    }
  });
}

TEST_F(StreamReaderTest, ReadUntilLeavesTheDataAtTheLimit) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/8);
    c.peer.Send(std::string(12, 'x'));
    std::optional<LimitOverrunError> error;
    try {
      co_await c.reader.ReadUntil("<>");
    } catch (const LimitOverrunError& e) {
      error.emplace(e);
    }
    EXPECT_TRUE(error.has_value());
    if (!error.has_value()) co_return;
    // All but what might be the beginning of a separator.
    EXPECT_EQ(error->consumed(), c.reader.Buffered().size() - 1);
    EXPECT_GE(c.reader.Buffered().size(), 9u);
  });
}

TEST_F(StreamReaderTest, TheLimitDoesNotCountTheSeparator) {
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/8);
    c.peer.Send("12345678<END>123456789<END>");
    EXPECT_EQ(co_await c.reader.ReadUntil("<END>"), "12345678<END>");
    const std::string error = co_await ErrorOf(c.reader.ReadUntil("<END>"));
    EXPECT_NE(error.find("the limit is 8"), std::string::npos) << error;
    EXPECT_EQ(c.reader.Buffered().substr(0, 9), "123456789");
  });
}

TEST_F(StreamReaderTest, ReadUntilAtTheEndIsIncomplete) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("half");
    c.peer.Close();
    std::optional<IncompleteReadError> error;
    try {
      co_await c.reader.ReadUntil("\n");
    } catch (const IncompleteReadError& e) {
      error.emplace(e);
    }
    EXPECT_TRUE(error.has_value());
    if (!error.has_value()) co_return;
    EXPECT_EQ(error->partial(), "half");
    EXPECT_FALSE(error->expected().has_value());
    EXPECT_TRUE(c.reader.AtEof());
  });
}

TEST_F(StreamReaderTest, ReadUntilRefusesNoSeparator) {
  RunNet([]() -> Co<void> {
    Connection c;
    EXPECT_THROW((void)c.reader.ReadUntil(std::vector<std::string>()),
                 std::invalid_argument);
    EXPECT_THROW((void)c.reader.ReadUntil(""), std::invalid_argument);
    EXPECT_THROW((void)c.reader.ReadUntil("a", ""), std::invalid_argument);
    EXPECT_THROW((void)c.reader.ReadUntil({}), std::invalid_argument);
    EXPECT_THROW((void)c.reader.ReadUntil({"a", ""}), std::invalid_argument);
    co_return;
  });
}

TEST_F(StreamReaderTest, ALongLineIsNotScannedAgainAndAgain) {
  // 200,000 pieces of one byte would take hours if each began at the front.
  RunNet([]() -> Co<void> {
    Connection c(/*limit=*/1 << 20);
    Task<std::string> line = CreateTask(c.reader.ReadLine());
    const std::string piece(50, 'x');
    for (int i = 0; i < 10000; ++i) {
      c.peer.Send(piece);
      if (i % 4 == 0) co_await Yield();
    }
    c.peer.Send("\n");
    EXPECT_EQ((co_await line).size(), 500001u);
  });
}

// ---- Peek and Consume

TEST_F(StreamReaderTest, PeekShowsAndConsumeTakes) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("hello");
    EXPECT_EQ(co_await c.reader.Peek(), "hello");
    c.reader.Consume(2);
    EXPECT_EQ(co_await c.reader.Peek(), "llo");
    Task<std::string_view> more = CreateTask(c.reader.PeekMore(3));
    co_await Turns();
    EXPECT_FALSE(more.Done());
    c.peer.Send(" you");
    EXPECT_EQ(co_await more, "llo you");
    c.reader.Consume(7);
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.Peek(), "");
    EXPECT_EQ(co_await c.reader.PeekMore(0), "");
  });
}

TEST_F(StreamReaderTest, ConsumingMoreThanWasReceivedNamesTheRule) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("hello");
    co_await c.reader.Peek();
    std::string error;
    try {
      c.reader.Consume(6);
    } catch (const std::out_of_range& e) {
      error = e.what();
    }
    EXPECT_EQ(error,
              "StreamReader::Consume: 6 bytes, but only 5 were received");
  });
}

TEST_F(StreamReaderTest, AtEofOnlyWhenEverythingWasRead) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("xy");
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.Read(1), "x");
    EXPECT_EQ(co_await c.reader.PeekMore(1), "y");  // and sees the end
    EXPECT_FALSE(c.reader.AtEof());
    EXPECT_EQ(co_await c.reader.Read(1), "y");
    EXPECT_TRUE(c.reader.AtEof());
  });
}

// ---- errors and misuse

TEST_F(StreamReaderTest, AResetIsAnErrorWithThePeer) {
  RunNet([]() -> Co<void> {
    Connection c;
    const std::string peer = c.writer.PeerName().ToString();
    c.peer.Reset();
    EXPECT_EQ(co_await ErrorOf(c.reader.Read(1)),
              "receive from " + peer + ": Connection reset by peer");
    // It stays so.
    EXPECT_NE(co_await ErrorOf(c.reader.ReadLine()), "");
    bool reset = false;
    try {
      co_await c.reader.Peek();
    } catch (const OsError& error) {
      reset = error.code() == std::errc::connection_reset &&
              error.operation() == "receive" && error.peer() == peer;
    }
    EXPECT_TRUE(reset);
  });
}

TEST_F(StreamReaderTest, ASecondReaderNamesTheRule) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> first = CreateTask(c.reader.Read(10));
    co_await Turns();
    const std::string rule =
        "StreamReader: another task is already waiting to read from " +
        c.writer.PeerName().ToString() + "; a stream has one reader at a time";
    EXPECT_EQ(co_await ErrorOf(c.reader.Read(10)), rule);
    EXPECT_EQ(co_await ErrorOf(c.reader.ReadLine()), rule);
    EXPECT_EQ(co_await ErrorOf(c.reader.Peek()), rule);
    // Also between its wake-up and its step.
    c.peer.Send("hello");
    EXPECT_EQ(co_await first, "hello");
  });
}

TEST_F(StreamReaderTest, AnEmptyReaderNamesTheRule) {
  RunNet([]() -> Co<void> {
    StreamReader reader;
    EXPECT_FALSE(reader);
    EXPECT_THROW((void)reader.Read(1), std::runtime_error);
    EXPECT_THROW((void)reader.Peek(), std::runtime_error);
    EXPECT_THROW((void)reader.AtEof(), std::runtime_error);
    co_return;
  });
}

TEST_F(StreamReaderTest, CopiesReadFromTheSameConnection) {
  RunNet([]() -> Co<void> {
    Connection c;
    StreamReader copy = c.reader;
    c.peer.Send("abc");
    EXPECT_EQ(co_await c.reader.Read(1), "a");
    EXPECT_EQ(co_await copy.Read(1), "b");
    EXPECT_EQ(co_await c.reader.Read(1), "c");
  });
}

TEST_F(StreamReaderTest, AReaderAloneKeepsTheConnectionOpen) {
  RunNet([]() -> Co<void> {
    Connection c;
    StreamReader reader = c.reader;
    c.DropHandles();
    c.peer.Send("still");
    EXPECT_EQ(co_await reader.Read(10), "still");
    reader = {};
    EXPECT_EQ(c.peer.ReceiveAll(), "");
  });
}

TEST_F(StreamReaderTest, OfAnotherLoopNamesTheRule) {
  EventLoop other;
  std::optional<Connection> c;
  other.CallSoon([&] {
    c.emplace();
    other.Stop();
  });
  other.RunForever();
  RunNet([&]() -> Co<void> {
    const std::string error = co_await ErrorOf(c->reader.Read(1));
    EXPECT_NE(error.find("belongs to another event loop"), std::string::npos)
        << error;
    EXPECT_NE(co_await ErrorOf(c->writer.Write("x")), "");
  });
  c.reset();
}

TEST_F(StreamReaderTest, HandlesMayOutliveTheLoop) {
  std::optional<Connection> c;
  RunNet([&]() -> Co<void> {
    c.emplace();
    co_return;
  });
  EXPECT_EQ(c->peer.ReceiveAll(), "");  // closed with the loop
  EXPECT_TRUE(c->writer.PeerName());
  c->writer.WriteSoon("nothing");
  c->writer.Abort();
}

// ---- cancellation

// Starts `read`, cancels it after `sent` was received, and then reads the rest.
Co<void> CancelledAfter(Co<std::string> (*read)(StreamReader),
                        std::string_view sent) {
  Connection c;
  Task<std::string> task = CreateTask(read(c.reader));
  co_await Turns();
  c.peer.Send(sent);
  co_await Turns(20);
  EXPECT_FALSE(task.Done());
  task.Cancel();
  co_await Settle(task);
  EXPECT_TRUE(task.Cancelled());
  c.peer.Send("!");
  c.peer.Close();
  EXPECT_EQ(co_await c.reader.ReadAll(), std::string(sent) + "!");
}

TEST_F(StreamReaderTest, CancelledReadExactlyLeavesItsBytes) {
  RunNet([]() -> Co<void> {
    auto read = [](StreamReader reader) { return reader.ReadExactly(100); };
    co_await CancelledAfter(read, "some");
  });
}

TEST_F(StreamReaderTest, CancelledReadLineLeavesItsBytes) {
  RunNet([]() -> Co<void> {
    auto read = [](StreamReader reader) { return reader.ReadLine(); };
    co_await CancelledAfter(read, "half a line");
  });
}

TEST_F(StreamReaderTest, CancelledReadUntilLeavesItsBytes) {
  RunNet([]() -> Co<void> {
    auto read = [](StreamReader reader) { return reader.ReadUntil("<END>"); };
    co_await CancelledAfter(read, "half<EN");
  });
}

TEST_F(StreamReaderTest, CancelledReadAllLeavesItsBytes) {
  RunNet([]() -> Co<void> {
    auto read = [](StreamReader reader) { return reader.ReadAll(); };
    co_await CancelledAfter(read, "not yet all");
  });
}

TEST_F(StreamReaderTest, AfterACancelAnotherTaskMayRead) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> task = CreateTask(c.reader.Read(10));
    co_await Turns();
    task.Cancel();
    co_await Settle(task);
    c.peer.Send("x");
    EXPECT_EQ(co_await c.reader.Read(10), "x");
  });
}

TEST_F(StreamReaderTest, AWaitingReaderIsDescribed) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> task =
        CreateTask(c.reader.ReadLine(), {.name = "line reader"});
    co_await Turns();
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("data from " + c.writer.PeerName().ToString()),
              std::string::npos)
        << dump;
    task.Cancel();
  });
}

TEST_F(StreamReaderTest, AsStatusGivesTheErrorAsAStatus) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send("x");
    absl::StatusOr<std::string_view> ok = co_await AsStatus(c.reader.Peek());
    EXPECT_TRUE(ok.ok());
    c.reader.Consume(1);
    c.peer.Reset();
    absl::StatusOr<std::string_view> bad = co_await AsStatus(c.reader.Peek());
    EXPECT_FALSE(bad.ok());
    EXPECT_EQ(bad.status().code(), absl::StatusCode::kUnavailable)
        << bad.status();
  });
}

TEST_F(StreamReaderTest, AReaderThatGivesWayKeepsItsPlace) {
  RunNet([]() -> Co<void> {
    Connection c;
    c.peer.Send(Pattern(19));
    char byte = 0;
    // The first one waits, the others complete at once, until one has to give
    // way.
    for (int i = 0; i < 17; ++i) {
      EXPECT_EQ(co_await c.reader.Read(absl::MakeSpan(&byte, 1)), 1u);
    }
    Task<size_t> first = CreateTask(c.reader.Read(absl::MakeSpan(&byte, 1)));
    Task<std::string> second = CreateTask(ErrorOf(c.reader.Read(1)));
    const std::string error = co_await second;
    EXPECT_NE(error.find("another task is already waiting"), std::string::npos)
        << error;
    EXPECT_EQ(co_await first, 1u);
    EXPECT_EQ(byte, Pattern(19)[17]);
    EXPECT_EQ(co_await c.reader.Read(100), Pattern(19).substr(18));
  });
}

TEST_F(StreamReaderTest, TheLimitMayBeAnyNumber) {
  for (const size_t below : {0, 1, 2, 100}) {
    SCOPED_TRACE(below);
    RunNet([&]() -> Co<void> {
      Connection c(std::numeric_limits<size_t>::max() - below);
      c.peer.Send("one\ntwo\r\nthree");
      EXPECT_EQ(co_await c.reader.ReadLine(), "one\n");
      std::vector<std::string> separators = {"\r\n", "b"};
      EXPECT_EQ(co_await c.reader.ReadUntil(separators), "two\r\n");
      Task<std::string> line = CreateTask(c.reader.ReadLine());
      co_await Turns();
      c.peer.Send("\n");
      EXPECT_EQ(co_await line, "three\n");
    });
  }
}

// Sends `text` and a descriptor along with it, at which a recv() stops.
void SendWithDescriptor(const Peer& peer, std::string_view text) {
  iovec piece = {const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = peer.fd();
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  ASSERT_EQ(::sendmsg(peer.fd(), &message, MSG_NOSIGNAL),
            static_cast<ssize_t>(text.size()));
}

TEST_F(StreamReaderTest, WhatLiesBehindADescriptorOfAUnixSocketIsRead) {
  RunNet([]() -> Co<void> {
    Connection c{UnixEnds()};
    SendWithDescriptor(c.peer, "one ");
    c.peer.Send("two\n");
    EXPECT_EQ(co_await c.reader.ReadLine(), "one two\n");
  });
}

void SendUrgent(const Peer& peer) {
  ASSERT_EQ(::send(peer.fd(), "!", 1, MSG_OOB), 1);
}

TEST_F(StreamReaderTest, WhatLiesBehindUrgentDataIsRead) {
  RunNet([]() -> Co<void> {
    Connection c;
    for (int i = 0; i < 3; ++i) {
      c.peer.Send("one ");
      SendUrgent(c.peer);
      c.peer.Send("two\n");
      EXPECT_EQ(co_await c.reader.ReadLine(), "one two\n");
    }
    SendUrgent(c.peer);
    c.peer.Send("the end");
    c.peer.Close();
    EXPECT_EQ(co_await c.reader.Read(100), "the end");
    EXPECT_EQ(co_await c.reader.Read(100), "");
  });
}

TEST_F(StreamReaderTest, UrgentDataAloneIsNothingToRead) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> line = CreateTask(c.reader.ReadLine());
    co_await Turns();
    SendUrgent(c.peer);
    co_await Turns();
    EXPECT_FALSE(line.Done());
    c.peer.Send("one\n");
    EXPECT_EQ(co_await line, "one\n");
  });
}

TEST_F(StreamReaderTest, NoBlockIsHeldWhenEverythingWasTaken) {
  RunNet([]() -> Co<void> {
    Connection c;
    const auto held = [&] { return c.reader.core()->input().capacity(); };
    const std::string data = Pattern(1 << 18);
    Task<std::string> read = CreateTask(c.reader.ReadExactly(data.size()));
    std::thread sender([&] { c.peer.Send(data); });
    EXPECT_TRUE(co_await read == data);
    sender.join();
    EXPECT_EQ(held(), 0u);
    c.peer.Send("x");
    EXPECT_FALSE((co_await c.reader.Peek()).empty());
    EXPECT_GT(held(), 0u);
    c.reader.Consume(1);
    EXPECT_EQ(held(), 0u);
    c.peer.ShutdownWrite();
    EXPECT_EQ(co_await c.reader.Peek(), "");
    EXPECT_EQ(held(), 0u);
  });
}

}  // namespace
}  // namespace coil::net
