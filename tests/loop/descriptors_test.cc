// AddReader() and AddWriter().

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::Fd;
using coil_testing::Pipe;
using coil_testing::RunOnePass;
using coil_testing::SocketPair;
using Log = std::vector<std::string>;

TEST(DescriptorsTest, ReaderIsCalledWhenThereIsData) {
  EventLoop loop;
  Pipe pipe;
  std::string got;
  loop.AddReader(pipe.read.get(), [&] {
    got = pipe.Take();
    loop.Stop();
  });
  loop.CallSoon([&] { pipe.Put("hello"); });
  loop.RunForever();
  EXPECT_EQ(got, "hello");
}

TEST(DescriptorsTest, ReaderIsCalledAgainAsLongAsThereIsData) {
  EventLoop loop;
  Pipe pipe;
  pipe.Put();
  int calls = 0;
  loop.AddReader(pipe.read.get(), [&] {
    if (++calls == 5) loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(calls, 5);
}

TEST(DescriptorsTest, ReaderIsCalledOncePerPassAlsoIfItIsPolledTwice) {
  EventLoop loop;
  Pipe pipe;
  pipe.Put();
  int calls = 0;
  loop.AddReader(pipe.read.get(), [&] { ++calls; });
  // A pass so long that the descriptors are looked at within it.
  for (int i = 0; i < 300; ++i) loop.CallSoon([] {});
  RunOnePass(loop);
  EXPECT_EQ(calls, 1);
  RunOnePass(loop);
  EXPECT_EQ(calls, 2);
}

TEST(DescriptorsTest, NewReaderReplacesTheOldOne) {
  EventLoop loop;
  Pipe pipe;
  auto token = std::make_shared<int>(1);
  loop.AddReader(pipe.read.get(), [token] { ADD_FAILURE(); });
  loop.AddReader(pipe.read.get(), [&] { loop.Stop(); });
  EXPECT_EQ(token.use_count(), 1);
  pipe.Put();
  loop.RunForever();
}

TEST(DescriptorsTest, ReaderReplacedWhileItIsQueuedDoesNotRun) {
  EventLoop loop;
  Pipe first, second;
  Log log;
  first.Put();
  second.Put();
  auto one = [&](const char* name, Pipe& other) {
    return [&log, &loop, &other, name] {
      log.push_back(name);
      loop.AddReader(other.read.get(), [&log] { log.push_back("new"); });
    };
  };
  loop.AddReader(first.read.get(), one("first", second));
  loop.AddReader(second.read.get(), one("second", first));
  RunOnePass(loop);
  // The other one was queued already, and was replaced before it ran.
  EXPECT_EQ(log.size(), 1u);
}

TEST(DescriptorsTest, RemoveTellsWhetherItWasWatched) {
  EventLoop loop;
  Pipe pipe;
  EXPECT_FALSE(loop.RemoveReader(pipe.read.get()));
  loop.AddReader(pipe.read.get(), [] {});
  EXPECT_FALSE(loop.RemoveWriter(pipe.read.get()));
  EXPECT_TRUE(loop.RemoveReader(pipe.read.get()));
  EXPECT_FALSE(loop.RemoveReader(pipe.read.get()));
}

TEST(DescriptorsTest, ReaderMayRemoveItself) {
  EventLoop loop;
  Pipe pipe;
  pipe.Put();
  auto token = std::make_shared<int>(1);
  int calls = 0;
  loop.AddReader(pipe.read.get(), [&, token] {
    ++calls;
    EXPECT_TRUE(loop.RemoveReader(pipe.read.get()));
    EXPECT_EQ(token.use_count(), 2);  // not under its feet
    loop.CallSoon([&] { loop.Stop(); });
  });
  loop.RunForever();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(DescriptorsTest, ReaderMayRemoveItselfAndComeBack) {
  EventLoop loop;
  Pipe pipe;
  pipe.Put();
  Log log;
  loop.AddReader(pipe.read.get(), [&] {
    log.push_back("old");
    loop.RemoveReader(pipe.read.get());
    loop.AddReader(pipe.read.get(), [&] {
      log.push_back("new");
      loop.Stop();
    });
  });
  loop.RunForever();
  EXPECT_EQ(log, (Log{"old", "new"}));
}

TEST(DescriptorsTest, RemovedReaderThatWasQueuedDoesNotRun) {
  EventLoop loop;
  Pipe first, second;
  first.Put();
  second.Put();
  int calls = 0;
  auto remove_both = [&] {
    ++calls;
    loop.RemoveReader(first.read.get());
    loop.RemoveReader(second.read.get());
  };
  loop.AddReader(first.read.get(), remove_both);
  loop.AddReader(second.read.get(), remove_both);
  RunOnePass(loop);
  RunOnePass(loop);
  EXPECT_EQ(calls, 1);
}

TEST(DescriptorsTest, WriterIsCalledWhenThereIsRoom) {
  EventLoop loop;
  Pipe pipe;
  loop.AddWriter(pipe.write.get(), [&] { loop.Stop(); });
  loop.RunForever();
  EXPECT_TRUE(loop.RemoveWriter(pipe.write.get()));
}

TEST(DescriptorsTest, ReaderAndWriterShareADescriptor) {
  EventLoop loop;
  SocketPair pair;
  Log log;
  loop.AddWriter(pair.a.get(), [&] {
    log.push_back("writer");
    loop.RemoveWriter(pair.a.get());
    EXPECT_EQ(::write(pair.b.get(), "x", 1), 1);
  });
  loop.AddReader(pair.a.get(), [&] {
    log.push_back("reader");
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_EQ(log, (Log{"writer", "reader"}));
  EXPECT_EQ(loop.GetPoller().WatchCount(), 2);
  EXPECT_TRUE(loop.RemoveReader(pair.a.get()));
  EXPECT_EQ(loop.GetPoller().WatchCount(), 1);
}

TEST(DescriptorsTest, RemovingOneOfTwoKeepsTheOther) {
  EventLoop loop;
  SocketPair pair;
  loop.AddReader(pair.a.get(), [] { ADD_FAILURE(); });
  loop.AddWriter(pair.a.get(), [&] { loop.Stop(); });
  EXPECT_TRUE(loop.RemoveReader(pair.a.get()));
  EXPECT_EQ(::write(pair.b.get(), "x", 1), 1);
  loop.RunForever();
}

TEST(DescriptorsTest, HangUpWakesReaderAndWriter) {
  EventLoop loop;
  SocketPair pair;
  const std::string block(1 << 20, 'x');
  while (::write(pair.a.get(), block.data(), block.size()) > 0) {
  }
  Log log;
  loop.AddReader(pair.a.get(), [&] {
    log.push_back("reader");
    loop.RemoveReader(pair.a.get());
  });
  loop.AddWriter(pair.a.get(), [&] {
    log.push_back("writer");
    loop.RemoveWriter(pair.a.get());
    loop.Stop();
  });
  loop.CallSoon([&] { pair.b.Close(); });
  loop.RunForever();
  EXPECT_EQ(log, (Log{"reader", "writer"}));
}

TEST(DescriptorsTest, RegularFileIsRefusedWithItsReason) {
  EventLoop loop;
  Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  auto token = std::make_shared<int>(1);
  try {
    loop.AddReader(file.get(), [token] {});
    FAIL();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EPERM);
  }
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_FALSE(loop.RemoveReader(file.get()));
}

TEST(DescriptorsTest, ClosedDescriptorIsRefused) {
  EventLoop loop;
  EXPECT_THROW(loop.AddReader(-1, [] {}), OsError);
  EXPECT_THROW(loop.AddWriter(987'654, [] {}), OsError);
}

int g_fail_ctl = 0;

int FailingCtl(int epfd, int op, int fd, epoll_event* event) {
  if (g_fail_ctl != 0 && op != EPOLL_CTL_DEL) {
    errno = g_fail_ctl;
    return -1;
  }
  return ::epoll_ctl(epfd, op, fd, event);
}

TEST(DescriptorsTest, FailedReplacementKeepsTheOldReader) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_ctl = FailingCtl;
  internal::ScopedSyscalls scope(&table);
  g_fail_ctl = 0;
  EventLoop loop;
  SocketPair pair;
  bool ran = false;
  loop.AddReader(pair.a.get(), [&] { ran = true; });
  g_fail_ctl = ENOMEM;
  EXPECT_THROW(loop.AddWriter(pair.a.get(), [] { ADD_FAILURE(); }), OsError);
  g_fail_ctl = 0;
  EXPECT_EQ(::write(pair.b.get(), "x", 1), 1);
  RunOnePass(loop);
  EXPECT_TRUE(ran);
}

TEST(DescriptorsTest, ReaderThatThrowsIsReportedAndStays) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  Pipe pipe;
  pipe.Put();
  int calls = 0;
  loop.AddReader(pipe.read.get(), [&] {
    if (++calls == 2) loop.Stop();
    throw std::runtime_error("bad reader");
  });
  loop.RunForever();
  EXPECT_EQ(diagnostics.Count(), 2u);
  EXPECT_NE(diagnostics.Text().find("AddReader at descriptors_test.cc"),
            std::string::npos)
      << diagnostics.Text();
}

TEST(DescriptorsTest, FourHundredPipesAllAnswer) {
  EventLoop loop;
  std::vector<std::unique_ptr<Pipe>> pipes;
  int left = 400;
  for (int i = 0; i < 400; ++i) {
    pipes.push_back(std::make_unique<Pipe>());
    Pipe& pipe = *pipes.back();
    loop.AddReader(pipe.read.get(), [&] {
      pipe.Take();
      if (--left == 0) loop.Stop();
    });
  }
  for (auto& pipe : pipes) pipe->Put();
  loop.RunForever();
  EXPECT_EQ(left, 0);
}

}  // namespace
}  // namespace coil
