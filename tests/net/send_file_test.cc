// Files sent over connections.

#include "coil/net/send_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/net/pipe.h"
#include "coil/net/sock.h"
#include "coil/net/transports.h"
#include "coil/task/shield.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil::internal::kRealSocketCalls;
using coil_testing::Connection;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Record;
using coil_testing::Recorder;
using coil_testing::RecordPtr;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

class SendFileTest : public coil_testing::NetTest {};

// A file without a name.
class TestFile {
 public:
  explicit TestFile(size_t size) : text(size, '\0') {
    for (size_t i = 0; i < size; ++i) {
      text[i] = static_cast<char>('a' + i * 7 % 23);
    }
    fd = ::memfd_create("send_file_test", MFD_CLOEXEC);
    if (fd < 0 || ::write(fd, text.data(), size) != ssize_t(size)) {
      throw std::runtime_error("TestFile");
    }
    ::lseek(fd, 0, SEEK_SET);
  }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  ~TestFile() { ::close(fd); }
  off_t Position() const { return ::lseek(fd, 0, SEEK_CUR); }

  std::string text;
  int fd;
};

int sendfiles = 0;
int preads = 0;
size_t sendfile_limit = 0;
int sendfile_error = 0;
int sendfile_error_after = 0;

ssize_t CountedSendfile(int out, int in, off_t* offset, size_t count) {
  if (sendfile_error != 0 && sendfiles >= sendfile_error_after) {
    errno = sendfile_error;
    return -1;
  }
  ++sendfiles;
  if (sendfile_limit != 0 && count > sendfile_limit) count = sendfile_limit;
  return kRealSocketCalls.sendfile(out, in, offset, count);
}
ssize_t CountedPread(int fd, void* buffer, size_t size, off_t offset) {
  ++preads;
  return kRealSocketCalls.pread(fd, buffer, size, offset);
}

// Counts the calls, and lets sendfile() fail.
class Calls {
 public:
  explicit Calls(int error = 0, int after = 0, size_t limit = 0) {
    sendfiles = preads = 0;
    sendfile_error = error;
    sendfile_error_after = after;
    sendfile_limit = limit;
    shim_.table().sendfile = CountedSendfile;
    shim_.table().pread = CountedPread;
  }

 private:
  SocketShim shim_;
};

// What a peer receives while `sending` goes on.
template <class T>
Co<std::string> ReceiveWhile(coil_testing::Peer& peer, Task<T> sending) {
  std::string received;
  while (!sending.Done()) {
    received += peer.Receive();
    co_await Turns(1);
  }
  for (;;) {
    const std::string part = peer.Receive();
    if (part.empty()) break;
    received += part;
  }
  co_return received;
}

TEST_F(SendFileTest, TheKernelSendsAFileInItsPlaceAmongTheWrites) {
  for (const bool tcp : {true, false}) {
    SCOPED_TRACE(tcp);
    RunNet([tcp]() -> Co<void> {
      TestFile file(3'000'000);
      Calls calls;
      std::optional<Connection> connection;
      if (tcp) {
        connection.emplace(TcpEnds());
      } else {
        connection.emplace(UnixEnds());
      }
      StreamWriter writer = connection->writer;
      const std::string before(1'000'000, 'b');
      writer.WriteSoon(before);
      Task<uint64_t> sending = CreateTask(writer.SendFile(file.fd));
      const std::string received =
          co_await ReceiveWhile(connection->peer, sending);
      EXPECT_EQ(sending.Result(), file.text.size());
      co_await writer.Write("after");
      EXPECT_TRUE(received == before + file.text);
      EXPECT_EQ(connection->peer.ReceiveExactly(5), "after");
      EXPECT_EQ(file.Position(), off_t(file.text.size()));
      EXPECT_GT(sendfiles, 3);
      EXPECT_EQ(preads, 0);
    });
  }
}

struct Part {
  uint64_t offset;
  std::optional<uint64_t> count;
  size_t sent;
};

TEST_F(SendFileTest, PartsOfAFileWithTheKernelAndWithout) {
  const Part parts[] = {
      {0, 1, 1},    {0, 1000, 1000},         {10, std::nullopt, 990},
      {10, 5, 5},   {990, 100, 10},  // the file is shorter
      {1000, 7, 0}, {5000, std::nullopt, 0},
  };
  for (const int error : {0, EINVAL, ENOSYS}) {
    for (const Part& part : parts) {
      SCOPED_TRACE(testing::Message() << error << " " << part.offset);
      RunNet([error, &part]() -> Co<void> {
        TestFile file(1000);
        ::lseek(file.fd, 3, SEEK_SET);
        Calls calls(error);
        Connection connection{UnixEnds()};
        SendFileOptions options;
        options.Offset(part.offset);
        if (part.count.has_value()) options.Count(*part.count);
        EXPECT_EQ(co_await connection.writer.SendFile(file.fd, options),
                  part.sent);
        EXPECT_EQ(
            connection.peer.Receive(),
            file.text.substr(std::min<size_t>(part.offset, 1000), part.sent));
        EXPECT_EQ(file.Position(),
                  part.sent == 0 ? 3 : off_t(part.offset + part.sent));
        EXPECT_EQ(preads == 0, error == 0);
      });
    }
  }
}

TEST_F(SendFileTest, WithoutAFallbackItIsAnErrorAndNothingIsSent) {
  RunNet([]() -> Co<void> {
    TestFile file(1000);
    Calls calls(EINVAL);
    Connection connection{UnixEnds()};
    EXPECT_EQ(co_await ErrorOf(connection.writer.SendFile(
                  file.fd, SendFileOptions().Fallback(false))),
              "SendFile: the kernel cannot send fd " + std::to_string(file.fd) +
                  " over this connection, and the options forbid to read it "
                  "instead");
    bool right_type = false;
    try {
      co_await connection.writer.SendFile(file.fd,
                                          SendFileOptions().Fallback(false));
    } catch (const SendfileNotAvailableError&) {
      right_type = true;
    }
    EXPECT_TRUE(right_type);
    co_await connection.writer.Write("goes on");
    EXPECT_EQ(connection.peer.Receive(), "goes on");
    EXPECT_EQ(file.Position(), 0);
  });
}

TEST_F(SendFileTest, NothingElseIsWrittenMeanwhile) {
  RunNet([]() -> Co<void> {
    TestFile file(8'000'000);
    Connection connection;
    StreamWriter writer = connection.writer;
    Task<uint64_t> sending = CreateTask(writer.SendFile(file.fd));
    co_await Turns();
    const std::string busy =
        ": nothing can be written while SendFile() is under way";
    EXPECT_EQ(co_await ErrorOf(writer.Write("x")),
              "StreamWriter::Write" + busy);
    EXPECT_EQ(co_await ErrorOf(writer.SendFile(file.fd)),
              "StreamWriter::SendFile" + busy);
    std::string thrown;
    try {
      writer.WriteSoon("x");
    } catch (const std::runtime_error& error) {
      thrown = error.what();
    }
    EXPECT_EQ(thrown, "StreamWriter::WriteSoon" + busy);
    try {
      writer.WriteEof();
    } catch (const std::runtime_error& error) {
      thrown = error.what();
    }
    EXPECT_EQ(thrown, "StreamWriter::WriteEof" + busy);
    const std::string received =
        co_await ReceiveWhile(connection.peer, sending);
    EXPECT_TRUE(received == file.text);
    writer.WriteEof();
    EXPECT_EQ(co_await ErrorOf(writer.SendFile(file.fd)),
              "StreamWriter::SendFile: nothing can be written after "
              "WriteEof()");
  });
}

TEST_F(SendFileTest, ACancelLeavesThePositionBehindWhatWasSent) {
  for (const int error : {0, EINVAL}) {
    SCOPED_TRACE(error);
    RunNet([error]() -> Co<void> {
      TestFile file(8'000'000);
      Calls calls(error);
      Connection connection;
      StreamWriter writer = connection.writer;
      Task<uint64_t> sending = CreateTask(writer.SendFile(file.fd));
      co_await Eventually([&] { return sendfiles + preads > 0; });
      co_await Sleep(absl::Milliseconds(20));
      sending.Cancel();
      const std::string first = co_await ReceiveWhile(connection.peer, sending);
      EXPECT_TRUE(sending.Cancelled());
      // What was begun may still be on its way.
      Task<void> closing = CreateTask(writer.Close());
      const std::string rest = co_await ReceiveWhile(connection.peer, closing);
      const std::string received = first + rest + connection.peer.ReceiveAll();
      EXPECT_GT(received.size(), 0u);
      EXPECT_LT(received.size(), file.text.size());
      EXPECT_TRUE(received == file.text.substr(0, received.size()));
      EXPECT_EQ(file.Position(), off_t(received.size()));
    });
  }
}

TEST_F(SendFileTest, ACancelThatComesWhenABlockWasSentCountsTheBlock) {
  RunNet([]() -> Co<void> {
    TestFile file(256 << 10);
    Calls calls(EINVAL);
    UnixEnds ends;
    coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
    Connection connection{std::move(ends)};
    Task<uint64_t> sending = CreateTask(connection.writer.SendFile(file.fd));
    // This runs before `sending` does, which is woken by the last bytes.
    size_t received = 0;
    while (received < file.text.size()) {
      co_await Turns(1);
      for (;;) {
        const size_t n = connection.peer.Receive().size();
        if (n == 0) break;
        received += n;
      }
    }
    EXPECT_FALSE(sending.Done());
    EXPECT_EQ(file.Position(), 0);
    sending.Cancel();
    co_await Eventually([&] { return sending.Done(); });
    EXPECT_TRUE(sending.Cancelled());
    EXPECT_EQ(file.Position(), off_t(file.text.size()));
  });
}

TEST_F(SendFileTest, ErrorsInTheMiddle) {
  struct Case {
    int error;
    const char* text;
    bool broken;
  };
  const Case cases[] = {
      {EIO, "SendFile fd", false},
      {EPIPE, "send to unix:: Broken pipe", true},
      {ECONNRESET, "send to unix:: Connection reset by peer", true},
      {EINVAL, "SendFile fd", false},  // too late for another way
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.error);
    RunNet([&c]() -> Co<void> {
      TestFile file(1000);
      Calls calls(c.error, /*after=*/2, /*limit=*/100);
      Connection connection{UnixEnds()};
      const std::string error =
          co_await ErrorOf(connection.writer.SendFile(file.fd));
      EXPECT_EQ(error.substr(0, std::string_view(c.text).size()), c.text);
      EXPECT_EQ(file.Position(), 200);
      EXPECT_EQ(connection.peer.Receive(), file.text.substr(0, 200));
      EXPECT_EQ(co_await ErrorOf(connection.writer.Write("x")) != "", c.broken);
    });
  }
}

TEST_F(SendFileTest, ThePeerGoesAwayAndNoSignalIsRaised) {
  RunNet([]() -> Co<void> {
    TestFile file(1000);
    Connection connection{UnixEnds()};
    connection.peer.Close();
    EXPECT_EQ(co_await ErrorOf(connection.writer.SendFile(file.fd)),
              "send to unix:: Broken pipe");
    EXPECT_EQ(file.Position(), 0);
  });
}

// sendfile() sends in pieces, and the error of a later one is a short count;
// the signal is raised all the same.
TEST_F(SendFileTest, ThePeerGoesAwayInTheMiddleAndNoSignalIsRaised) {
  const sighandler_t previous = ::signal(SIGPIPE, SIG_DFL);
  RunNet([]() -> Co<void> {
    TestFile file(8'000'000);
    for (const bool sock : {false, true}) {
      for (int i = 0; i < 5; ++i) {
        std::string error;
        if (sock) {
          TcpEnds ends;
          ends.peer.Close();
          error = co_await ErrorOf(SockSendFile(ends.socket, file.fd));
        } else {
          Connection connection;
          connection.peer.Close();
          error = co_await ErrorOf(connection.writer.SendFile(file.fd));
        }
        EXPECT_NE(error.find("send"), std::string::npos) << error;
      }
    }
  });
  ::signal(SIGPIPE, previous);
}

TEST_F(SendFileTest, CloseInTheMiddleEndsIt) {
  RunNet([]() -> Co<void> {
    TestFile file(8'000'000);
    Connection connection;
    Task<uint64_t> sending = CreateTask(connection.writer.SendFile(file.fd));
    co_await Turns();
    co_await connection.writer.Close();
    const std::string error = co_await ErrorOf(sending);
    EXPECT_NE(error.find("Software caused connection abort"), std::string::npos)
        << error;
  });
}

TEST_F(SendFileTest, AFrameThatDiesInTheMiddleLetsOthersWrite) {
  RunNet([]() -> Co<void> {
    TestFile file(8'000'000);
    auto connection = std::make_shared<Connection>();
    {
      Task<uint64_t> sending = CreateTask(connection->writer.SendFile(file.fd));
      co_await Turns();
      sending.Cancel();
      co_await Turns();
    }
    Task<void> writing = CreateTask([connection]() -> Co<void> {
      co_await connection->writer.Write("behind");
      connection->writer.WriteEof();
    });
    const std::string received =
        co_await ReceiveWhile(connection->peer, writing);
    EXPECT_EQ(received.substr(received.size() - 6), "behind");
  });
}

TEST_F(SendFileTest, BadValues) {
  RunNet([]() -> Co<void> {
    TestFile file(10);
    Connection connection{UnixEnds()};
    StreamWriter writer = connection.writer;
    EXPECT_EQ(
        co_await ErrorOf(writer.SendFile(file.fd, SendFileOptions().Count(0))),
        "SendFile: the count is above zero");
    EXPECT_EQ(co_await ErrorOf(writer.SendFile(
                  file.fd, SendFileOptions().Offset(1ull << 63))),
              "SendFile: no file is so long that it has the offset "
              "9223372036854775808");
    EXPECT_EQ(co_await ErrorOf(writer.SendFile(-1)),
              "SendFile fd -1: Bad file descriptor");
    PipeEnds pipe = MakePipe();
    EXPECT_EQ(co_await ErrorOf(writer.SendFile(pipe.read_end.Descriptor(),
                                               SendFileOptions().Offset(1))),
              "SendFile fd " + std::to_string(pipe.read_end.Descriptor()) +
                  ": Illegal seek");
  });
}

TEST_F(SendFileTest, OverPipesAndFromPipesItIsReadByTheThreadPool) {
  RunNet([]() -> Co<void> {
    TestFile file(300'000);
    PipeEnds out = MakePipe();
    StreamWriter writer = ConnectWritePipe(std::move(out.write_end));
    StreamReader reader = ConnectReadPipe(std::move(out.read_end));
    Task<uint64_t> sending = CreateTask(writer.SendFile(file.fd));
    EXPECT_TRUE(co_await reader.ReadExactly(300'000) == file.text);
    EXPECT_EQ(co_await sending, 300'000u);

    PipeEnds in = MakePipe();
    EXPECT_EQ(::write(in.write_end.Descriptor(), "piped", 5), 5);
    in.write_end.Close();
    Connection connection{UnixEnds()};
    EXPECT_EQ(co_await connection.writer.SendFile(in.read_end.Descriptor()),
              5u);
    EXPECT_EQ(connection.peer.Receive(), "piped");
  });
}

TEST_F(SendFileTest, APipeThatHasNothingKeepsNobody) {
  for (const bool nonblocking : {false, true}) {
    for (const bool sock : {false, true}) {
      SCOPED_TRACE(testing::Message() << nonblocking << sock);
      RunNet([nonblocking, sock]() -> Co<void> {
        int in[2] = {-1, -1};
        EXPECT_EQ(::pipe2(in, nonblocking ? O_CLOEXEC | O_NONBLOCK : O_CLOEXEC),
                  0);
        Connection connection{UnixEnds()};
        UnixEnds ends;
        Task<uint64_t> sending =
            sock ? CreateTask(SockSendFile(ends.socket, in[0]))
                 : CreateTask(connection.writer.SendFile(in[0]));
        coil_testing::Peer& peer = sock ? ends.peer : connection.peer;
        co_await Sleep(absl::Milliseconds(20));
        EXPECT_EQ(::write(in[1], "late", 4), 4);
        std::string received;
        co_await Eventually([&] {
          received += peer.Receive();
          return received == "late";
        });
        sending.Cancel();
        co_await Eventually([&] { return sending.Done(); });
        EXPECT_TRUE(sending.Cancelled());
        ::close(in[0]);
        ::close(in[1]);
      });
    }
  }
}

TEST_F(SendFileTest, ATransportSendsOneAndReadsNothingMeanwhile) {
  RunNet([]() -> Co<void> {
    TestFile file(4'000'000);
    RecordPtr record = std::make_shared<Record>();
    TcpEnds ends;
    std::shared_ptr<Transport> transport =
        MakeTransport(MakeByteStream(std::move(ends.socket)),
                      std::make_shared<Recorder>(record));
    co_await Turns();
    transport->Write("head ");
    Task<uint64_t> sending = CreateTask(transport->SendFile(file.fd));
    co_await Turns();
    ends.peer.Send("meanwhile");
    std::string thrown;
    try {
      transport->Write("x");
    } catch (const std::runtime_error& error) {
      thrown = error.what();
    }
    EXPECT_EQ(thrown, "Transport::Write: SendFile() is under way");
    co_await Turns(20);
    EXPECT_EQ(record->data, "");
    const std::string received = co_await ReceiveWhile(ends.peer, sending);
    EXPECT_TRUE(received == "head " + file.text);
    co_await Eventually([&] { return record->data == "meanwhile"; });
    transport->Close();
    EXPECT_EQ(co_await ErrorOf(transport->SendFile(file.fd)),
              "Transport::SendFile: the transport is closing");
  });
}

TEST_F(SendFileTest, SockSendFile) {
  for (const int error : {0, EINVAL}) {
    SCOPED_TRACE(error);
    RunNet([error]() -> Co<void> {
      TestFile file(2'000'000);
      Calls calls(error);
      TcpEnds ends;
      Task<uint64_t> sending = CreateTask(SockSendFile(
          ends.socket, file.fd, SendFileOptions().Offset(1).Count(1999990)));
      const std::string received = co_await ReceiveWhile(ends.peer, sending);
      EXPECT_EQ(sending.Result(), 1999990u);
      EXPECT_TRUE(received == file.text.substr(1, 1999990));
      EXPECT_EQ(file.Position(), 1999991);
      EXPECT_EQ(co_await ErrorOf(SockSendFile(ends.socket, file.fd,
                                              SendFileOptions().Count(0))),
                "SockSendFile: the count is above zero");
      Socket datagrams(AF_INET, SOCK_DGRAM);
      EXPECT_EQ(co_await ErrorOf(SockSendFile(datagrams, file.fd)),
                "SockSendFile: not a stream socket");
      if (error == 0) co_return;
      EXPECT_EQ((co_await ErrorOf(SockSendFile(
                     ends.socket, file.fd, SendFileOptions().Fallback(false))))
                    .substr(0, 38),
                "SockSendFile: the kernel cannot send f");
    });
  }
}

TEST_F(SendFileTest, ACancelledSockSendFileLeavesThePosition) {
  for (const int error : {0, EINVAL}) {
    SCOPED_TRACE(error);
    RunNet([error]() -> Co<void> {
      TestFile file(8'000'000);
      Calls calls(error);
      UnixEnds ends;
      coil_testing::ShrinkBuffers(ends.socket.Descriptor(), ends.peer.fd());
      Task<uint64_t> sending = CreateTask(SockSendFile(ends.socket, file.fd));
      std::string received;
      co_await Eventually([&] {
        received += ends.peer.Receive(1000);
        return !received.empty();
      });
      sending.Cancel();
      received += co_await ReceiveWhile(ends.peer, sending);
      EXPECT_TRUE(sending.Cancelled());
      ends.socket.Close();
      received += ends.peer.ReceiveAll();
      EXPECT_LT(received.size(), 256u << 10);
      EXPECT_EQ(file.Position(), off_t(received.size()));
    });
  }
}

}  // namespace
}  // namespace coil::net
