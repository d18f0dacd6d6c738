// What is epoll's alone. The contract of loop/poller.h is tested on every
// poller by tests/conformance/poller_conformance_test.cc.

#include "coil/loop/epoll_poller.h"

#include <sys/epoll.h>

#include <cerrno>
#include <ctime>
#include <limits>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

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
