// What lies between the news that a connection has something to read and the
// step of the task that reads it.

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/stream_reader.h"
#include "coil/net/streams.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

class ReadTurnTest : public NetTest {};

// Which calls were made, and what the next receives pretend.
std::vector<std::string> g_calls;
int g_empty_receives = 0;

ssize_t LoggedReceive(int fd, void* buffer, size_t size, int flags) {
  if (g_empty_receives > 0) {
    --g_empty_receives;
    errno = EAGAIN;
    return -1;
  }
  const ssize_t n =
      coil::internal::kRealSocketCalls.recv(fd, buffer, size, flags);
  if (n > 0) {
    g_calls.push_back("receive " + std::string(static_cast<const char*>(buffer),
                                               static_cast<size_t>(n)));
  }
  return n;
}

ssize_t LoggedSend(int fd, const void* data, size_t size, int flags) {
  g_calls.push_back("send " +
                    std::string(static_cast<const char*>(data), size));
  return coil::internal::kRealSocketCalls.send(fd, data, size, flags);
}

// Some bytes are there and the turn of `reader` has come near: the step of
// this task stands in the queue before it.
Co<void> UntilItsTurn(const StreamReader& reader) {
  while (reader.core()->ReaderWaits()) co_await Yield();
}

TEST_F(ReadTurnTest, OneConnectionIsAnsweredBeforeTheNextIsReceivedFrom) {
  g_calls.clear();
  RunNet([]() -> Co<void> {
    Connection a;
    Connection b;
    auto echo = [](Connection& c) -> Co<void> {
      const std::string data = co_await c.reader.Read(10);
      co_await c.writer.Write(data);
    };
    Task<void> first = CreateTask(echo(a));
    Task<void> second = CreateTask(echo(b));
    co_await Turns();
    SocketShim shim;
    shim.table().recv = LoggedReceive;
    shim.table().send = LoggedSend;
    a.peer.Send("a");
    b.peer.Send("b");
    co_await first;
    co_await second;
  });
  EXPECT_EQ(g_calls, (std::vector<std::string>{"receive a", "send a",
                                               "receive b", "send b"}));
}

TEST_F(ReadTurnTest, AWakeUpForNothingGoesOnWaiting) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> task = CreateTask(c.reader.Read(10));
    co_await Turns();
    SocketShim shim;
    shim.table().recv = LoggedReceive;
    g_empty_receives = 1;
    c.peer.Send("abc");
    while (g_empty_receives != 0) co_await Yield();
    co_await Turns();
    EXPECT_FALSE(task.Done());
    c.peer.Send("def");
    EXPECT_EQ(co_await task, "abcdef");
  });
}

TEST_F(ReadTurnTest, CloseComesBeforeTheTurn) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> task = CreateTask(c.reader.Read(10));
    co_await Turns();
    c.peer.Send("abc");
    co_await UntilItsTurn(c.reader);
    EXPECT_FALSE(task.Done());
    c.writer.Abort();
    const std::string error = co_await ErrorOf(task);
    EXPECT_NE(error.find("connection abort"), std::string::npos) << error;
  });
}

TEST_F(ReadTurnTest, ASecondReaderCannotTakeTheTurn) {
  RunNet([]() -> Co<void> {
    Connection c;
    Task<std::string> task = CreateTask(c.reader.Read(10));
    co_await Turns();
    c.peer.Send("abc");
    co_await UntilItsTurn(c.reader);
    EXPECT_NE(co_await ErrorOf(c.reader.Read(10)), "");
    EXPECT_EQ(co_await task, "abc");
  });
}

// A stream that hands over its bytes as soon as it has them, as TLS does: the
// task has its answer before its step.
class Prompt final : public ByteStream {
 public:
  IoResult TryRead(ReadRequest& request) noexcept override {
    if (data_.empty() && !ended_) return IoResult::WouldBlock();
    const absl::Span<char> to = request.ReadBuffer();
    const size_t n = data_.copy(to.data(), to.size());
    data_.erase(0, n);
    return IoResult::Bytes(n);
  }
  void StartRead(ReadRequest& request) noexcept override {
    waiting_ = &request;
  }
  bool CancelRead() noexcept override {
    waiting_ = nullptr;
    return true;
  }
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override {
    return IoResult::Bytes(pieces[0].iov_len);
  }
  void StartWrite(WriteRequest&) noexcept override {}
  bool CancelWrite() noexcept override { return true; }
  void ShutdownWrite() noexcept override {}
  void Close(bool) noexcept override {}

  void Receive(std::string_view bytes) {
    data_.append(bytes);
    ended_ = bytes.empty();
    if (waiting_ == nullptr) return;
    ReadRequest& request = *std::exchange(waiting_, nullptr);
    request.OnRead(TryRead(request));
  }

 private:
  std::string data_;
  bool ended_ = false;
  ReadRequest* waiting_ = nullptr;
};

// `start` begins to read. A cancel meets the bytes: in the system, or in the
// reader.
template <class Start>
Co<void> ACancelMeetsTheBytes(Start start) {
  Connection c;
  auto task = start(c.reader);
  co_await Turns();
  EXPECT_TRUE(c.reader.core()->ReaderWaits());
  c.peer.Send("abc");
  co_await UntilItsTurn(c.reader);
  EXPECT_FALSE(task.Done());
  task.Cancel();
  co_await Settle(task);
  EXPECT_TRUE(task.Cancelled());
  c.peer.Close();
  EXPECT_EQ(co_await c.reader.ReadAll(), "abc");

  auto owned = std::make_unique<Prompt>();
  Prompt& prompt = *owned;
  auto [reader, writer] = MakeStreams(std::move(owned));
  auto granted = start(reader);
  co_await Turns();
  prompt.Receive("abc");
  EXPECT_FALSE(granted.Done());
  granted.Cancel();
  co_await Settle(granted);
  EXPECT_TRUE(granted.Cancelled());
  prompt.Receive("");
  EXPECT_EQ(co_await reader.ReadAll(), "abc");
}

TEST_F(ReadTurnTest, ACancelThatMeetsTheBytesLosesNone) {
  RunNet([]() -> Co<void> {
    auto read = [](StreamReader reader) { return CreateTask(reader.Read(10)); };
    co_await ACancelMeetsTheBytes(read);
    auto peek = [](StreamReader reader) { return CreateTask(reader.Peek()); };
    co_await ACancelMeetsTheBytes(peek);
    auto exactly = [](StreamReader reader) {
      return CreateTask(reader.ReadExactly(3));
    };
    co_await ACancelMeetsTheBytes(exactly);
    auto line = [](StreamReader reader) {
      return CreateTask(reader.ReadLine());
    };
    co_await ACancelMeetsTheBytes(line);
  });
}

TEST_F(ReadTurnTest, ACancelThatMeetsBytesInTheCallersMemoryLosesNone) {
  RunNet([]() -> Co<void> {
    std::vector<char> buffer(10);
    auto into = [&buffer](StreamReader reader) {
      return CreateTask(reader.Read(absl::MakeSpan(buffer)));
    };
    co_await ACancelMeetsTheBytes(into);
  });
}

}  // namespace
}  // namespace coil::net
