#include "coil/net/pipe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/task/testing.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::CheckedFd;
using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::SystemShim;
using coil_testing::Turns;

class PipeTest : public NetTest {};

// Both ends in one process.
struct Streams {
  Streams() : Streams(MakePipe()) {}
  explicit Streams(PipeEnds ends)
      : reader(ConnectReadPipe(std::move(ends.read_end))),
        writer(ConnectWritePipe(std::move(ends.write_end))) {}
  StreamReader reader;
  StreamWriter writer;
};

// SIGPIPE does what it does by default, for a scope.
class DefaultSigPipe {
 public:
  DefaultSigPipe() : previous_(::signal(SIGPIPE, SIG_DFL)) {}
  ~DefaultSigPipe() { ::signal(SIGPIPE, previous_); }

 private:
  sighandler_t previous_;
};

bool IsPending(int signal) {
  sigset_t pending;
  ::sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

std::string RefusalOf(int fd, bool reads) {
  try {
    if (reads) {
      static_cast<void>(ConnectReadPipe(fd));
    } else {
      static_cast<void>(ConnectWritePipe(fd));
    }
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "taken";
}

TEST_F(PipeTest, BytesGoThroughInOrder) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    co_await pipe.writer.Write("one\ntwo\n");
    EXPECT_EQ(co_await pipe.reader.ReadLine(), "one\n");
    EXPECT_EQ(co_await pipe.reader.ReadLine(), "two\n");
    Task<std::string> waiting = CreateTask(pipe.reader.Read(100));
    co_await Turns();
    EXPECT_FALSE(waiting.Done());
    pipe.writer.WriteSoon("three");
    EXPECT_EQ(co_await waiting, "three");
  });
}

TEST_F(PipeTest, TheReaderIsAtItsEndWhenTheWriterHasGone) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    Task<std::string> all = CreateTask(pipe.reader.ReadAll());
    co_await pipe.writer.Write("the last words");
    co_await pipe.writer.Close();
    EXPECT_EQ(co_await all, "the last words");
    EXPECT_TRUE(pipe.reader.AtEof());
    EXPECT_EQ(co_await pipe.reader.Read(1), "");
  });
}

TEST_F(PipeTest, DroppedHandlesClose) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    pipe.writer = {};
    EXPECT_EQ(co_await pipe.reader.Read(1), "");
  });
}

TEST_F(PipeTest, WriteEofClosesBecauseAPipeHasOneDirection) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    EXPECT_TRUE(pipe.writer.CanWriteEof());
    pipe.writer.WriteSoon("all");
    pipe.writer.WriteEof();
    EXPECT_EQ(co_await pipe.reader.ReadAll(), "all");
    EXPECT_EQ(pipe.writer.Socket().Descriptor(), -1);
    EXPECT_THROW(pipe.writer.WriteSoon("more"), std::runtime_error);
    co_await pipe.writer.Close();
  });
}

TEST_F(PipeTest, MoreThanAPipeHoldsGoesThrough) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    std::string data;
    for (int i = 0; data.size() < (4 << 20); ++i)
      absl::StrAppend(&data, i, ",");
    Task<void> send = CreateTask([&]() -> Co<void> {
      co_await pipe.writer.Write(data);
      co_await pipe.writer.Close();
    });
    EXPECT_TRUE(co_await pipe.reader.ReadAll() == data);
    co_await send;
  });
}

TEST_F(PipeTest, AnEndMayBeAtAnotherLoopOrThread) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    std::thread sender([end = std::move(write_end)] {
      const std::string data(1 << 20, 'x');
      size_t sent = 0;
      while (sent < data.size()) {  // its end blocks
        const ssize_t n =
            ::write(end.Descriptor(), data.data() + sent, data.size() - sent);
        if (n <= 0) return;
        sent += static_cast<size_t>(n);
      }
    });
    StreamReader reader = ConnectReadPipe(std::move(read_end));
    const std::string data = co_await reader.ReadAll();
    sender.join();
    EXPECT_EQ(data.size(), size_t{1} << 20);
  });
}

TEST_F(PipeTest, TheLimitIsThatOfTheReader) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    StreamReader reader = ConnectReadPipe(std::move(read_end), 10);
    EXPECT_EQ(reader.Limit(), 10u);
    StreamWriter writer = ConnectWritePipe(std::move(write_end));
    co_await writer.Write("a line that is too long\n");
    EXPECT_THROW(co_await reader.ReadLine(), LimitOverrunError);
    EXPECT_THROW(static_cast<void>(ConnectReadPipe(MakePipe().read_end, 0)),
                 std::invalid_argument);
  });
}

// ---- the reader has gone

class ReliabilityT43 : public NetTest {};

TEST_F(ReliabilityT43, WritingToNobodyIsAnErrorAndNoSignal) {
  DefaultSigPipe sigpipe;
  RunNet([]() -> Co<void> {
    Streams pipe;
    pipe.reader = {};
    EXPECT_EQ(co_await ErrorOf(pipe.writer.Write("x")),
              "send to a pipe: Broken pipe");
    EXPECT_EQ(co_await ErrorOf(pipe.writer.Drain()),
              "send to a pipe: Broken pipe");
    EXPECT_FALSE(IsPending(SIGPIPE));
  });
}

TEST_F(PipeTest, AWriterThatWaitsIsToldThatTheReaderHasGone) {
  DefaultSigPipe sigpipe;
  RunNet([]() -> Co<void> {
    for (const bool awaits : {true, false}) {
      Streams pipe;
      const std::string data(1 << 20, 'x');
      Task<std::string> error = CreateTask([&]() -> Co<std::string> {
        if (awaits) co_return co_await ErrorOf(pipe.writer.Write(data));
        pipe.writer.WriteSoon(data);
        co_return co_await ErrorOf(pipe.writer.Drain());
      });
      co_await Turns();
      EXPECT_FALSE(error.Done());
      pipe.reader = {};
      EXPECT_EQ(co_await error, "send to a pipe: Broken pipe");
    }
  });
}

// As on a kernel before 6.18.
void WithoutNoSignal(SocketShim& shim) {
  shim.table().pwritev2 = [](int, const iovec*, int, off_t, int) {
    errno = EOPNOTSUPP;
    return ssize_t{-1};
  };
}

TEST_F(PipeTest, AnOlderKernelGivesNoSignalEither) {
  DefaultSigPipe sigpipe;
  SocketShim shim;
  WithoutNoSignal(shim);
  RunNet([]() -> Co<void> {
    Streams pipe;
    co_await pipe.writer.Write("through");
    EXPECT_EQ(co_await pipe.reader.Read(100), "through");
    pipe.reader = {};
    EXPECT_EQ(co_await ErrorOf(pipe.writer.Write("x")),
              "send to a pipe: Broken pipe");
    EXPECT_FALSE(IsPending(SIGPIPE));
    sigset_t blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT_EQ(sigismember(&blocked, SIGPIPE), 0);
  });
}

TEST_F(PipeTest, ASignalThatSomebodyElseWaitsForIsLeftToThem) {
  SocketShim shim;
  WithoutNoSignal(shim);
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ::raise(SIGPIPE);
  RunNet([]() -> Co<void> {
    Streams pipe;
    pipe.reader = {};
    EXPECT_NE(co_await ErrorOf(pipe.writer.Write("x")), "");
  });
  EXPECT_TRUE(IsPending(SIGPIPE));
  int taken = 0;
  ::sigwait(&pipe_signal, &taken);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// ---- what can be a pipe

TEST_F(PipeTest, WhatCannotBeWaitedForIsRefusedAndStaysTheCallers) {
  RunNet([]() -> Co<void> {
    const std::string path = testing::TempDir() + "/a_regular_file";
    const PipeEnd file = PipeEnd::Adopt(CheckedFd(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open"));
    const std::string number = absl::StrCat("fd ", file.Descriptor());
    EXPECT_EQ(RefusalOf(file.Descriptor(), true),
              "ConnectReadPipe: " + number +
                  " is a regular file; pipes, FIFOs, sockets and terminals can "
                  "be waited for");
    EXPECT_EQ(RefusalOf(file.Descriptor(), false),
              "ConnectWritePipe: " + number +
                  " is a regular file; pipes, FIFOs, sockets and terminals can "
                  "be waited for");
    const PipeEnd null = PipeEnd::Adopt(
        CheckedFd(::open("/dev/null", O_RDWR | O_CLOEXEC), "open"));
    EXPECT_NE(RefusalOf(null.Descriptor(), true).find("a device that cannot"),
              std::string::npos);
    const PipeEnd folder =
        PipeEnd::Adopt(CheckedFd(::open("/", O_RDONLY | O_CLOEXEC), "open"));
    EXPECT_NE(RefusalOf(folder.Descriptor(), true).find("is a folder"),
              std::string::npos);
    for (const PipeEnd* end : {&file, &null, &folder}) {
      EXPECT_GE(::fcntl(end->Descriptor(), F_GETFD), 0) << "still open";
    }
    co_return;
  });
}

TEST_F(PipeTest, TheWrongEndIsRefused) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    EXPECT_EQ(RefusalOf(write_end.Descriptor(), true),
              absl::StrCat("ConnectReadPipe: fd ", write_end.Descriptor(),
                           " is not open for reading"));
    EXPECT_EQ(RefusalOf(read_end.Descriptor(), false),
              absl::StrCat("ConnectWritePipe: fd ", read_end.Descriptor(),
                           " is not open for writing"));
    EXPECT_THROW(static_cast<void>(ConnectReadPipe(-1)), OsError);
    co_return;
  });
}

TEST_F(PipeTest, NeedsALoop) {
  EXPECT_THROW(static_cast<void>(ConnectReadPipe(MakePipe().read_end)),
               std::runtime_error);
}

TEST_F(PipeTest, OnlyTheEndOfAStreamIsNonBlocking) {
  RunNet([]() -> Co<void> {
    auto [read_end, write_end] = MakePipe();
    const int reads = read_end.Descriptor();
    const int writes = write_end.Descriptor();
    for (const int fd : {reads, writes}) {
      EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
      EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    }
    StreamReader reader = ConnectReadPipe(std::move(read_end));
    EXPECT_EQ(::fcntl(reads, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    EXPECT_EQ(::fcntl(writes, F_GETFL) & O_NONBLOCK, 0);
    co_return;
  });
}

TEST_F(PipeTest, AFifoWaitsForItsFirstWriter) {
  RunNet([]() -> Co<void> {
    const std::string path = testing::TempDir() + "/a_fifo";
    ::unlink(path.c_str());
    CheckedFd(::mkfifo(path.c_str(), 0600), "mkfifo");
    StreamReader reader = ConnectReadPipe(CheckedFd(
        ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open"));
    Task<std::string> all = CreateTask(reader.ReadAll());
    co_await Turns();
    EXPECT_FALSE(all.Done());
    StreamWriter writer = ConnectWritePipe(
        CheckedFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "open"));
    co_await writer.Write("first");
    co_await writer.Close();
    EXPECT_EQ(co_await all, "first");
    ::unlink(path.c_str());
  });
}

TEST_F(PipeTest, ATerminalGivesEveryLineThatIsThere) {
  RunNet([]() -> Co<void> {
    const PipeEnd terminal = PipeEnd::Adopt(
        CheckedFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "openpt"));
    CheckedFd(::grantpt(terminal.Descriptor()), "grantpt");
    CheckedFd(::unlockpt(terminal.Descriptor()), "unlockpt");
    const char* const name = ::ptsname(terminal.Descriptor());
    const int line =
        CheckedFd(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), "open");
    // The same device again: one registration for each descriptor.
    StreamWriter writer =
        ConnectWritePipe(CheckedFd(::fcntl(line, F_DUPFD_CLOEXEC, 3), "dup"));
    StreamReader reader = ConnectReadPipe(line);
    // Typed at once; a read() gives one line only, and says nothing of more.
    const std::string typed = "one\ntwo\nthree\n";
    CheckedFd(static_cast<int>(
                  ::write(terminal.Descriptor(), typed.data(), typed.size())),
              "write");
    EXPECT_EQ(co_await reader.ReadLine(), "one\n");
    EXPECT_EQ(co_await reader.ReadLine(), "two\n");
    EXPECT_EQ(co_await reader.ReadLine(), "three\n");
    Task<std::string> next = CreateTask(reader.ReadLine());
    co_await Turns();
    EXPECT_FALSE(next.Done());
    co_await writer.Write("shown\n");
    // After what it has echoed.
    std::string seen;
    while (seen.find("shown") == std::string::npos) {
      char part[100];
      const ssize_t n = ::read(terminal.Descriptor(), part, sizeof(part));
      EXPECT_GT(n, 0) << seen;
      if (n <= 0) break;
      seen.append(part, static_cast<size_t>(n));
    }
  });
}

TEST_F(PipeTest, ASocketIsReadAndWrittenToo) {
  RunNet([]() -> Co<void> {
    int fds[2];
    CheckedFd(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
              "socketpair");
    StreamReader reader = ConnectReadPipe(fds[0]);
    StreamWriter writer = ConnectWritePipe(fds[1]);
    co_await writer.Write("by socket\n");
    EXPECT_EQ(co_await reader.ReadLine(), "by socket\n");
    reader = {};
    EXPECT_EQ(co_await ErrorOf(writer.Write("x")),
              "send to a pipe: Broken pipe");
  });
}

TEST_F(PipeTest, APipeOfPacketsGivesThemAll) {
  RunNet([]() -> Co<void> {
    int fds[2];
    CheckedFd(::pipe2(fds, O_CLOEXEC | O_DIRECT), "pipe2");
    StreamReader reader = ConnectReadPipe(fds[0]);
    StreamWriter writer = ConnectWritePipe(fds[1]);
    for (const char* packet : {"a", "b", "c"}) co_await writer.Write(packet);
    // Each read() gives one packet and is short.
    EXPECT_EQ(co_await reader.ReadExactly(3), "abc");
  });
}

// ---- cancellation and the end of the loop

TEST_F(PipeTest, ACancelledReadLosesNothing) {
  RunNet([]() -> Co<void> {
    Streams pipe;
    Task<std::string> read = CreateTask(pipe.reader.ReadExactly(10));
    co_await pipe.writer.Write("half ");
    co_await Turns();
    read.Cancel();
    EXPECT_EQ(co_await ErrorOf(read), "cancelled");
    co_await pipe.writer.Write("other");
    EXPECT_EQ(co_await pipe.reader.ReadExactly(10), "half other");
  });
}

Co<void> Exchange() {
  Streams there;
  Streams back;
  Task<void> echo =
      CreateTask([reader = there.reader, writer = back.writer]() -> Co<void> {
        try {
          while (std::optional<std::string> line = co_await reader.Next()) {
            co_await writer.Write(*line);
          }
        } catch (const OsError&) {
          // The other end has gone.
        }
      });
  back.writer = {};
  for (const std::string_view line : {"one\n", "two\n"}) {
    co_await there.writer.Write(line);
    const std::string answer = co_await back.reader.ReadLine();
    EXPECT_TRUE(answer == line || answer.empty()) << answer;
  }
  co_await there.writer.Close();
  co_await echo;
}

TEST_F(PipeTest, NothingIsLeftWhereverAnExchangeIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      Exchange, SweepOptions().SecondCancel().Seeds(3).AllowError<OsError>());
  EXPECT_GT(result.points, 8u);
}

TEST_F(PipeTest, NothingIsLeftWhereverTheLoopEnds) {
  EXPECT_GT(ForEachDestructionPoint(Exchange).points, 4u);
}

TEST_F(PipeTest, AStreamOutlivesItsLoop) {
  const StreamReader reader = RunNet([]() -> Co<StreamReader> {
    Streams pipe;
    co_await pipe.writer.Write("x");
    co_return pipe.reader;
  });
  EXPECT_EQ(reader.core()->stream().Descriptor(), -1);
}

// ---- failures, named after their row

class ReliabilityT5 : public NetTest {};

TEST_F(ReliabilityT5, ParkedPipesDoNotSpin) {
  RunNet([]() -> Co<void> {
    std::vector<std::unique_ptr<Streams>> parked;
    for (int i = 0; i < 30; ++i) {
      parked.push_back(std::make_unique<Streams>());
      if (i % 3 == 0) parked.back()->reader = {};
      if (i % 3 == 1) parked.back()->writer = {};
      if (i % 3 == 2) parked.back()->writer.WriteSoon("nobody reads this");
    }
    co_await Sleep(absl::Milliseconds(20));
    const uint64_t before = EventLoop::Current().Iterations();
    co_await Sleep(absl::Milliseconds(100));
    EXPECT_LE(EventLoop::Current().Iterations() - before, 10u);
  });
}

class ReliabilityT48 : public NetTest {};

TEST_F(ReliabilityT48, OneByteAtATimeAndRefusalsChangeNothing) {
  static std::mt19937 random;
  SystemShim system;
  // Shims do not stack: this one takes the edges away too.
  system.table().read = [](int fd, void* buffer, size_t size) {
    if (random() % 10 < 3) {
      errno = random() % 2 == 0 ? EAGAIN : EINTR;
      return ssize_t{-1};
    }
    return ::read(fd, buffer, std::min<size_t>(size, 1 + random() % 3));
  };
  system.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    epoll_event level = *event;
    // But not of the descriptor that wakes the loop, which is never read.
    struct stat status = {};
    ::fstat(fd, &status);
    if (S_ISFIFO(status.st_mode)) {
      level.events &= ~static_cast<uint32_t>(EPOLLET);
    }
    return ::epoll_ctl(epfd, op, fd, &level);
  };
  SocketShim sockets;
  sockets.table().pwritev2 = [](int fd, const iovec* pieces, int, off_t offset,
                                int flags) {
    if (random() % 10 < 3) {
      errno = random() % 2 == 0 ? EAGAIN : EINTR;
      return ssize_t{-1};
    }
    const iovec part = {pieces[0].iov_base,
                        std::min<size_t>(pieces[0].iov_len, 1 + random() % 3)};
    return ::pwritev2(fd, &part, 1, offset, flags);
  };
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    random.seed(seed);
    RunNet([]() -> Co<void> {
      Streams pipe;
      std::string data;
      for (int i = 0; i < 1000; ++i) absl::StrAppend(&data, "line ", i, "\n");
      Task<void> send = CreateTask([&]() -> Co<void> {
        co_await pipe.writer.Write(data.substr(0, 3000));
        pipe.writer.WriteSoon(data.substr(3000));
        co_await pipe.writer.Close();
      });
      std::string received;
      for (int i = 0; i < 300; ++i) received += co_await pipe.reader.ReadLine();
      received += co_await pipe.reader.ReadAll();
      co_await send;
      EXPECT_TRUE(received == data);
    });
  }
}

class PipeSystemCallsTest : public NetTest {};

TEST_F(PipeSystemCallsTest, AMessageCostsOneReadAndOneWrite) {
  static int reads = 0;
  static int writes = 0;
  static int controls = 0;
  SystemShim system;
  system.table().read = [](int fd, void* buffer, size_t size) {
    ++reads;
    return ::read(fd, buffer, size);
  };
  system.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    ++controls;
    return ::epoll_ctl(epfd, op, fd, event);
  };
  SocketShim sockets;
  sockets.table().pwritev2 = [](int fd, const iovec* pieces, int count,
                                off_t offset, int flags) {
    ++writes;
    const ssize_t n = ::pwritev2(fd, pieces, count, offset, flags);
    if (n >= 0 || errno != EOPNOTSUPP) return n;
    return ::writev(fd, pieces, count);
  };
  RunNet([]() -> Co<void> {
    Streams pipe;
    co_await Turns();
    reads = writes = controls = 0;
    for (int i = 0; i < 100; ++i) {
      co_await pipe.writer.Write("message\n");
      EXPECT_EQ(co_await pipe.reader.ReadLine(), "message\n");
    }
    EXPECT_EQ(reads, 100);
    EXPECT_EQ(writes, 100);
    EXPECT_EQ(controls, 0);
  });
}

TEST_F(PipeSystemCallsTest, WhatTheSystemRefusesIsTold) {
  SystemShim system;
  system.table().pipe2 = [](int*, int) {
    errno = EMFILE;
    return -1;
  };
  try {
    MakePipe();
    ADD_FAILURE();
  } catch (const OsError& error) {
    EXPECT_STREQ(error.what(), "pipe: Too many open files");
  }
  system.table().pipe2 = ::pipe2;
  system.table().set_flags = [](int, int) {
    errno = EINVAL;
    return -1;
  };
  RunNet([]() -> Co<void> {
    EXPECT_THROW(static_cast<void>(ConnectReadPipe(MakePipe().read_end)),
                 OsError);
    co_return;
  });
  system.table().set_flags = coil::internal::kRealSyscalls.set_flags;
  system.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    if (op == EPOLL_CTL_ADD && (event->events & EPOLLRDHUP) != 0 &&
        (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
      errno = ENOSPC;
      return -1;
    }
    return ::epoll_ctl(epfd, op, fd, event);
  };
  RunNet([]() -> Co<void> {
    EXPECT_THROW(static_cast<void>(ConnectReadPipe(MakePipe().read_end)),
                 OsError);
    co_return;
  });
}

}  // namespace
}  // namespace coil::net
