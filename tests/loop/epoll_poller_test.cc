#include "coil/loop/epoll_poller.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::Fd;
using coil_testing::Pipe;
using coil_testing::SocketPair;

class Recorder final : public Poller::Watch {
 public:
  void OnReady(IoEvents events) noexcept override {
    heard.push_back(events);
    if (then != nullptr) then();
  }
  std::vector<IoEvents> heard;
  absl::AnyInvocable<void()> then;
};

int PollNow(Poller& poller) { return poller.Poll(absl::ZeroDuration()); }

// Example of poller.h.
void PollOnce(coil::Poller& poller) { poller.Poll(absl::ZeroDuration()); }

// Example of epoll_poller.h.
void RunOnEpoll() {
  coil::EpollPoller poller;
  coil::LoopOptions options;
  options.poller = &poller;
  coil::EventLoop loop(options);
  loop.CallSoon([&loop] { loop.Stop(); });
  loop.RunForever();
}

TEST(EpollPollerTest, ExamplesOfTheHeaders) {
  RunOnEpoll();
  EpollPoller poller;
  PollOnce(poller);
}

TEST(EpollPollerTest, HasAName) {
  EpollPoller poller;
  EXPECT_STREQ(poller.Name(), "epoll");
}

TEST(EpollPollerTest, TellsThatADescriptorIsReadable) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(watch.Descriptor(), pipe.read.get());
  EXPECT_EQ(PollNow(poller), 0);
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable});
  poller.Remove(watch);
}

TEST(EpollPollerTest, LevelTriggeredRepeatsAsLongAsThereIsData) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(PollNow(poller), 1);
  pipe.Take();
  EXPECT_EQ(PollNow(poller), 0);
  poller.Remove(watch);
}

TEST(EpollPollerTest, EdgeTriggeredTellsOnce) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(PollNow(poller), 0);
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  poller.Remove(watch);
}

TEST(EpollPollerTest, ReportsOnlyWhatIsWaitedFor) {
  EpollPoller poller;
  SocketPair pair;
  Recorder watch;
  poller.Add(watch, pair.a.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(poller), 0);  // it is writable
  poller.Modify(watch, kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kWritable});
  poller.Remove(watch);
}

TEST(EpollPollerTest, EndOfFileIsReadable) {
  EpollPoller poller;
  SocketPair pair;
  Recorder watch;
  poller.Add(watch, pair.a.get(), kReadable, Trigger::kEdge);
  ::shutdown(pair.b.get(), SHUT_WR);
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable | kReadHangUp});
  poller.Remove(watch);
}

TEST(EpollPollerTest, ClosedPeerIsAHangUpForReaderAndWriter) {
  EpollPoller poller;
  SocketPair pair;
  Recorder watch;
  poller.Add(watch, pair.a.get(), kReadable | kWritable, Trigger::kEdge);
  PollNow(poller);
  watch.heard.clear();
  pair.b.Close();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable | kWritable | kHangUp |
                                               kReadHangUp});
  poller.Remove(watch);
}

TEST(EpollPollerTest, ErrorOfAPipeWithoutReaderWakesItsWriter) {
  EpollPoller poller;
  Pipe pipe;
  // Full, so that only the error can make it ready.
  const std::string block(65536, 'x');
  while (::write(pipe.write.get(), block.data(), block.size()) > 0) {
  }
  Recorder watch;
  poller.Add(watch, pipe.write.get(), kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(poller), 0);
  pipe.read.Close();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_TRUE(watch.heard.back() & kWritable);
  poller.Remove(watch);
}

TEST(EpollPollerTest, WatchWithoutInterestDoesNotSpinOnAHangUp) {
  EpollPoller poller;
  SocketPair pair;
  Recorder watch;
  poller.Add(watch, pair.a.get(), 0, Trigger::kLevel);
  pair.b.Close();
  PollNow(poller);
  EXPECT_EQ(PollNow(poller), 0);
  EXPECT_EQ(PollNow(poller), 0);
  poller.Remove(watch);
}

TEST(EpollPollerTest, RemovedWatchHearsNothing) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  poller.Remove(watch);
  EXPECT_FALSE(watch.Watched());
  EXPECT_EQ(PollNow(poller), 0);
  EXPECT_TRUE(watch.heard.empty());
}

TEST(EpollPollerTest, RemovingTwiceDoesNothing) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Remove(watch);
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  poller.Remove(watch);
  poller.Remove(watch);
  EXPECT_EQ(poller.WatchCount(), 0);
}

TEST(EpollPollerTest, CountsItsWatches) {
  EpollPoller poller;
  Pipe pipe;
  Recorder a, b;
  EXPECT_EQ(poller.WatchCount(), 0);
  poller.Add(a, pipe.read.get(), kReadable, Trigger::kLevel);
  poller.Add(b, pipe.write.get(), kWritable, Trigger::kLevel);
  EXPECT_EQ(poller.WatchCount(), 2);
  poller.Remove(a);
  EXPECT_EQ(poller.WatchCount(), 1);
  poller.Remove(b);
}

TEST(EpollPollerTest, WatchMayRemoveAnotherOfTheSameBatch) {
  EpollPoller poller;
  Pipe first, second;
  Recorder a, b;
  poller.Add(a, first.read.get(), kReadable, Trigger::kLevel);
  poller.Add(b, second.read.get(), kReadable, Trigger::kLevel);
  a.then = [&] { poller.Remove(b); };
  b.then = [&] { poller.Remove(a); };
  first.Put();
  second.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(a.heard.size() + b.heard.size(), 1u);
  poller.Remove(a);
  poller.Remove(b);
}

TEST(EpollPollerTest, WatchMayRemoveItself) {
  EpollPoller poller;
  Pipe pipe;
  Recorder watch;
  watch.then = [&] { poller.Remove(watch); };
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_EQ(PollNow(poller), 0);
}

TEST(EpollPollerTest, DescriptorIsWatchedOnlyOnce) {
  EpollPoller poller;
  Pipe pipe;
  Recorder a, b;
  poller.Add(a, pipe.read.get(), kReadable, Trigger::kLevel);
  try {
    poller.Add(b, pipe.read.get(), kReadable, Trigger::kLevel);
    FAIL();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EEXIST);
  }
  EXPECT_FALSE(b.Watched());
  poller.Remove(a);
  poller.Add(b, pipe.read.get(), kReadable, Trigger::kLevel);
  poller.Remove(b);
}

TEST(EpollPollerTest, RefusesWhatCannotBePolled) {
  EpollPoller poller;
  Recorder watch;
  Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  ASSERT_GE(file.get(), 0);
  struct Case {
    int fd;
    int error;
  };
  for (const Case& c :
       {Case{file.get(), EPERM}, Case{-1, EBADF}, Case{1'000'000'000, EBADF}}) {
    try {
      poller.Add(watch, c.fd, kReadable, Trigger::kLevel);
      FAIL() << c.fd;
    } catch (const OsError& e) {
      EXPECT_EQ(e.Errno(), c.error) << c.fd;
      EXPECT_NE(std::string(e.what()).find("fd " + std::to_string(c.fd)),
                std::string::npos)
          << e.what();
    }
    EXPECT_FALSE(watch.Watched());
  }
  EXPECT_EQ(poller.WatchCount(), 0);
}

TEST(EpollPollerTest, DeliversMoreThanOneBatch) {
  EpollPoller poller;
  std::vector<std::unique_ptr<Pipe>> pipes;
  std::vector<std::unique_ptr<Recorder>> watches;
  for (int i = 0; i < 300; ++i) {
    pipes.push_back(std::make_unique<Pipe>());
    watches.push_back(std::make_unique<Recorder>());
    poller.Add(*watches.back(), pipes.back()->read.get(), kReadable,
               Trigger::kEdge);
    pipes.back()->Put();
  }
  int told = 0;
  while (int n = PollNow(poller)) told += n;
  EXPECT_EQ(told, 300);
  for (auto& watch : watches) {
    EXPECT_EQ(watch->heard.size(), 1u);
    poller.Remove(*watch);
  }
}

// ---- timeouts, through the table of system calls
// ------------------------------

int g_waits = 0;
int g_timeout_ms = 0;
timespec g_timeout{};

int RecordWait(int, epoll_event*, int, int timeout_ms) {
  ++g_waits;
  g_timeout_ms = timeout_ms;
  return 0;
}

int RecordPwait2(int, epoll_event*, int, const timespec* timeout) {
  ++g_waits;
  g_timeout = *timeout;
  return 0;
}

int NoPwait2(int, epoll_event*, int, const timespec*) {
  errno = ENOSYS;
  return -1;
}

TEST(EpollPollerTest, WaitsToTheNanosecondWhereTheKernelCan) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_pwait2 = RecordPwait2;
  internal::ScopedSyscalls scope(&table);
  EpollPoller poller;
  poller.Poll(absl::Seconds(3) + absl::Nanoseconds(7));
  EXPECT_EQ(g_timeout.tv_sec, 3);
  EXPECT_EQ(g_timeout.tv_nsec, 7);
  poller.Poll(absl::Nanoseconds(1) / 4);
  EXPECT_EQ(g_timeout.tv_nsec, 1);
}

TEST(EpollPollerTest, RoundsUpToMillisecondsWhereItCannot) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_pwait2 = NoPwait2;
  table.epoll_wait = RecordWait;
  internal::ScopedSyscalls scope(&table);
  EpollPoller poller;
  poller.Poll(absl::Nanoseconds(1));
  EXPECT_EQ(g_timeout_ms, 1);
  poller.Poll(absl::Milliseconds(5) + absl::Nanoseconds(1));
  EXPECT_EQ(g_timeout_ms, 6);
  poller.Poll(absl::Hours(24 * 365));
  EXPECT_EQ(g_timeout_ms, std::numeric_limits<int>::max());
  poller.Poll(absl::InfiniteDuration());
  EXPECT_EQ(g_timeout_ms, -1);
  poller.Poll(-absl::Seconds(1));
  EXPECT_EQ(g_timeout_ms, 0);
}

int g_epoll_error = 0;

int FailingWait(int, epoll_event*, int, int) {
  errno = g_epoll_error;
  return -1;
}

TEST(EpollPollerTest, InterruptedPollIsNoError) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_wait = FailingWait;
  internal::ScopedSyscalls scope(&table);
  EpollPoller poller;
  g_epoll_error = EINTR;
  EXPECT_EQ(PollNow(poller), 0);
  g_epoll_error = EBADF;
  EXPECT_THROW(PollNow(poller), OsError);
}

int NoEpoll(int) {
  errno = EMFILE;
  return -1;
}

TEST(EpollPollerTest, SaysWhatFailedWhenThereAreNoDescriptors) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.epoll_create1 = NoEpoll;
  internal::ScopedSyscalls scope(&table);
  try {
    EpollPoller poller;
    FAIL();
  } catch (const OsError& e) {
    EXPECT_STREQ(e.what(), "epoll_create1: Too many open files");
  }
}

}  // namespace
}  // namespace coil
