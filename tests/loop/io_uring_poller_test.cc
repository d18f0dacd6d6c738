// What is io_uring's alone: probing, flags, failures at each call, and the
// choice between it and epoll. The contract of loop/poller.h is tested on every
// poller by tests/conformance/poller_conformance_test.cc.

#include "coil/loop/io_uring_poller.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/io_uring.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/loop/poller.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::Pipe;
using coil_testing::SocketPair;
using internal::IoUring;
using internal::IoUringTable;
using internal::kRealIoUringCalls;
using internal::UringParams;

class Recorder final : public Poller::Watch {
 public:
  void OnReady(IoEvents) noexcept override { ++heard; }
  int heard = 0;
};

int PollNow(Poller& poller) { return poller.Poll(absl::ZeroDuration()); }

// What the shims below do. One test at a time.
struct Faults {
  int setup_error = 0;            // of each io_uring_setup()
  uint32_t refused_flags = 0;     // EINVAL if it is asked for one of these
  uint32_t missing_features = 0;  // which the kernel does not have
  int map_error = 0;
  std::vector<int> enter_errors;  // of the next calls, 0 for a real call
  // Each call of io_uring_enter(): what was to be submitted, and waited for.
  std::vector<unsigned> submitted;
  std::vector<unsigned> waited_for;
  std::optional<internal::UringTimespec> timeout;
  std::vector<uint32_t> flags;  // of each io_uring_setup()
};
Faults g_faults;

int Fail(int error) {
  errno = error;
  return -1;
}

int FaultySetup(unsigned entries, UringParams* params) {
  g_faults.flags.push_back(params->flags);
  if (g_faults.setup_error != 0) return Fail(g_faults.setup_error);
  if (params->flags & g_faults.refused_flags) return Fail(EINVAL);
  const int fd = kRealIoUringCalls.setup(entries, params);
  params->features &= ~g_faults.missing_features;
  return fd;
}

int FaultyEnter(int ring, unsigned submit, unsigned wait_for, unsigned flags,
                const void* argument, size_t size) {
  g_faults.submitted.push_back(submit);
  g_faults.waited_for.push_back(wait_for);
  g_faults.timeout.reset();
  if (argument != nullptr) {
    g_faults.timeout = *reinterpret_cast<const internal::UringTimespec*>(
        static_cast<const internal::UringGetEventsArg*>(argument)->timeout);
  }
  if (!g_faults.enter_errors.empty()) {
    const int error = g_faults.enter_errors.front();
    g_faults.enter_errors.erase(g_faults.enter_errors.begin());
    if (error != 0) return Fail(error);
  }
  return kRealIoUringCalls.enter(ring, submit, wait_for, flags, argument, size);
}

void* FaultyMap(size_t size, int ring, off_t offset) {
  if (g_faults.map_error != 0) {
    errno = g_faults.map_error;
    return MAP_FAILED;
  }
  return kRealIoUringCalls.map(size, ring, offset);
}

class IoUringPollerTest : public testing::Test {
 protected:
  IoUringPollerTest() {
    g_faults = Faults();
    table_.setup = FaultySetup;
    table_.enter = FaultyEnter;
    table_.map = FaultyMap;
    ::unsetenv("COIL_POLLER");
  }
  ~IoUringPollerTest() override {
    ::unsetenv("COIL_POLLER");
    PreferIoUring(false);
  }

 private:
  IoUringTable table_ = kRealIoUringCalls;
  internal::ScopedIoUringCalls scope_{&table_};
};

// The tests that need a ring, where one is to be had.
class IoUringRingTest : public IoUringPollerTest {
 protected:
  // Where io_uring is denied these tests look at that instead.
  static bool Denied() {
    if (IoUringPoller::Available()) return false;
    EXPECT_THROW(IoUringPoller(), OsError);
    return true;
  }
};

int OpenDescriptors() {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

std::string NameOfNewLoop() {
  EventLoop loop;
  return loop.GetPoller().Name();
}

#ifdef IORING_OFF_SQES
TEST(IoUringAbiTest, IsTheKernels) {
  EXPECT_EQ(sizeof(internal::UringSqe), sizeof(io_uring_sqe));
  EXPECT_EQ(offsetof(internal::UringSqe, operation),
            offsetof(io_uring_sqe, poll32_events));
  EXPECT_EQ(offsetof(internal::UringSqe, length), offsetof(io_uring_sqe, len));
  EXPECT_EQ(offsetof(internal::UringSqe, address),
            offsetof(io_uring_sqe, addr));
  EXPECT_EQ(offsetof(internal::UringSqe, user_data),
            offsetof(io_uring_sqe, user_data));
  EXPECT_EQ(sizeof(internal::UringCqe), sizeof(io_uring_cqe));
  EXPECT_EQ(offsetof(internal::UringCqe, result), offsetof(io_uring_cqe, res));
  EXPECT_EQ(sizeof(UringParams), sizeof(io_uring_params));
  EXPECT_EQ(offsetof(UringParams, sq), offsetof(io_uring_params, sq_off));
  EXPECT_EQ(offsetof(UringParams, cq), offsetof(io_uring_params, cq_off));
  EXPECT_EQ(offsetof(UringParams, features),
            offsetof(io_uring_params, features));
  EXPECT_EQ(internal::kUringPollAdd, IORING_OP_POLL_ADD);
  EXPECT_EQ(internal::kUringAsyncCancel, IORING_OP_ASYNC_CANCEL);
  EXPECT_EQ(internal::kUringFsync, IORING_OP_FSYNC);
  EXPECT_EQ(internal::kUringOpenAt, IORING_OP_OPENAT);
  EXPECT_EQ(internal::kUringClose, IORING_OP_CLOSE);
  EXPECT_EQ(internal::kUringRead, IORING_OP_READ);
  EXPECT_EQ(internal::kUringWrite, IORING_OP_WRITE);
  EXPECT_EQ(internal::kUringAsync, IOSQE_ASYNC);
  EXPECT_EQ(internal::kUringFsyncData, IORING_FSYNC_DATASYNC);
  EXPECT_EQ(internal::kUringCqSize, IORING_SETUP_CQSIZE);
  EXPECT_EQ(internal::kUringOffsetSqes, int64_t{IORING_OFF_SQES});
  EXPECT_EQ(internal::kUringEnterGetEvents, IORING_ENTER_GETEVENTS);
#ifdef IORING_SETUP_DEFER_TASKRUN
  EXPECT_EQ(internal::kUringPollMulti, IORING_POLL_ADD_MULTI);
  EXPECT_EQ(internal::kUringMore, IORING_CQE_F_MORE);
  EXPECT_EQ(internal::kUringSkipSuccess, IOSQE_CQE_SKIP_SUCCESS);
  EXPECT_EQ(internal::kUringSubmitAll, IORING_SETUP_SUBMIT_ALL);
  EXPECT_EQ(internal::kUringCoopTaskrun, IORING_SETUP_COOP_TASKRUN);
  EXPECT_EQ(internal::kUringTaskrunFlag, IORING_SETUP_TASKRUN_FLAG);
  EXPECT_EQ(internal::kUringSingleIssuer, IORING_SETUP_SINGLE_ISSUER);
  EXPECT_EQ(internal::kUringDeferTaskrun, IORING_SETUP_DEFER_TASKRUN);
  EXPECT_EQ(internal::kUringEnterExtArg, IORING_ENTER_EXT_ARG);
  EXPECT_EQ(internal::kUringFeatExtArg, IORING_FEAT_EXT_ARG);
  EXPECT_EQ(internal::kUringFeatNoDrop, IORING_FEAT_NODROP);
  EXPECT_EQ(internal::kUringFeatSingleMmap, IORING_FEAT_SINGLE_MMAP);
  EXPECT_EQ(internal::kUringFeatSkipSuccess, IORING_FEAT_CQE_SKIP);
  EXPECT_EQ(internal::kUringSqOverflow, IORING_SQ_CQ_OVERFLOW);
  EXPECT_EQ(internal::kUringSqTaskrun, IORING_SQ_TASKRUN);
  EXPECT_EQ(offsetof(internal::UringSqe, buffers),
            offsetof(io_uring_sqe, buf_group));
  EXPECT_EQ(sizeof(internal::UringBuffer), sizeof(io_uring_buf));
  EXPECT_EQ(offsetof(internal::UringBuffer, tail),
            offsetof(io_uring_buf, resv));
  EXPECT_EQ(sizeof(internal::UringBufferRing), sizeof(io_uring_buf_reg));
  EXPECT_EQ(sizeof(internal::UringSyncCancel),
            sizeof(io_uring_sync_cancel_reg));
  EXPECT_EQ(internal::kUringAccept, IORING_OP_ACCEPT);
  EXPECT_EQ(internal::kUringReceive, IORING_OP_RECV);
  EXPECT_EQ(internal::kUringAcceptMulti, IORING_ACCEPT_MULTISHOT);
  EXPECT_EQ(internal::kUringReceiveMulti, IORING_RECV_MULTISHOT);
  EXPECT_EQ(internal::kUringBufferSelect, IOSQE_BUFFER_SELECT);
  EXPECT_EQ(internal::kUringHasBuffer, IORING_CQE_F_BUFFER);
  EXPECT_EQ(internal::kUringBufferShift, IORING_CQE_BUFFER_SHIFT);
  EXPECT_EQ(internal::kUringCancelAll, IORING_ASYNC_CANCEL_ALL);
  EXPECT_EQ(internal::kUringCancelAny, IORING_ASYNC_CANCEL_ANY);
  EXPECT_EQ(internal::kUringRegisterBuffers, IORING_REGISTER_PBUF_RING);
  EXPECT_EQ(internal::kUringSyncCancel, IORING_REGISTER_SYNC_CANCEL);
#endif
}
#endif

// ---- whether it is there
// -------------------------------------------------------

// The suites over all pollers leave io_uring out where it is denied. That has
// one of the reasons that are known.
TEST_F(IoUringPollerTest, IsThereOrDenied) {
  IoUring ring;
  const int error = ring.Open(2, 4);
  EXPECT_TRUE(error == 0 || error == EPERM || error == ENOSYS ||
              error == EACCES || error == ENOMEM)
      << error;
  EXPECT_EQ(IoUringPoller::Available(), error == 0);
  RecordProperty("io_uring", error == 0 ? "here" : "denied");
}

TEST_F(IoUringPollerTest, ADeniedRingIsAnErrorByNameAndEpollOtherwise) {
  const int before = OpenDescriptors();
  for (const int error : {EPERM, ENOSYS, EACCES, ENOMEM, EMFILE}) {
    g_faults.setup_error = error;
    EXPECT_FALSE(IoUringPoller::Available());
    try {
      IoUringPoller poller;
      ADD_FAILURE() << error;
    } catch (const OsError& e) {
      EXPECT_EQ(e.Errno(), error);
      EXPECT_EQ(e.operation(), "io_uring_setup");
    }
    EXPECT_STREQ(MakeIoUringPollerOrEpoll()->Name(), "epoll");
    PreferIoUring();
    EXPECT_EQ(NameOfNewLoop(), "epoll");
    ::setenv("COIL_POLLER", "io_uring", 1);
    const CapturedDiagnostics silence;
    EXPECT_EQ(NameOfNewLoop(), "epoll");
    EXPECT_EQ(silence.Count(), 0u);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(IoUringPollerTest, MemoryThatCannotBeSharedIsAnError) {
  const int before = OpenDescriptors();
  g_faults.map_error = ENOMEM;
  EXPECT_FALSE(IoUringPoller::Available());
  EXPECT_STREQ(MakeIoUringPollerOrEpoll()->Name(), "epoll");
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(IoUringPollerTest, AKernelThatIsTooOldIsAsGoodAsNone) {
  for (const uint32_t feature :
       {internal::kUringFeatExtArg, internal::kUringFeatNoDrop,
        internal::kUringFeatSingleMmap}) {
    g_faults.missing_features = feature;
    EXPECT_FALSE(IoUringPoller::Available());
    EXPECT_STREQ(MakeIoUringPollerOrEpoll()->Name(), "epoll");
  }
}

TEST_F(IoUringRingTest, AKernelWhoseTrialFailsIsAsGoodAsNone) {
  if (Denied()) return;
  g_faults.enter_errors = {EINVAL};
  EXPECT_FALSE(IoUringPoller::Available());
  EXPECT_TRUE(IoUringPoller::Available());
}

TEST_F(IoUringRingTest, GivesUpFlagByFlagWhatTheKernelDoesNotKnow) {
  if (Denied()) return;
  const uint32_t newest_first[] = {
      internal::kUringDeferTaskrun, internal::kUringSingleIssuer,
      internal::kUringCoopTaskrun, internal::kUringSubmitAll};
  uint32_t refused = 0;
  for (const uint32_t flag : newest_first) {
    refused |= flag;
    g_faults.refused_flags = refused;
    IoUring ring;
    EXPECT_EQ(ring.Open(2, 4), 0) << flag;
    EXPECT_EQ(ring.flags() & refused, 0u);
    EXPECT_STREQ(MakeIoUringPollerOrEpoll()->Name(), "io_uring");
  }
  g_faults.refused_flags = ~uint32_t{0};
  IoUring ring;
  EXPECT_EQ(ring.Open(2, 4), EINVAL);
}

TEST_F(IoUringRingTest, WorksWithoutSkippedCompletions) {
  if (Denied()) return;
  g_faults.missing_features = internal::kUringFeatSkipSuccess;
  IoUringPoller poller;
  Pipe pipe;
  for (int i = 0; i < 3000; ++i) {
    Recorder watch;
    poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
    EXPECT_EQ(PollNow(poller), 0);
    poller.Remove(watch);
  }
}

// ---- calls
// --------------------------------------------------------------------

TEST_F(IoUringRingTest, OneCallHandsOverAndWaits) {
  if (Denied()) return;
  IoUringPoller poller;
  std::vector<Pipe> pipes(10);
  std::vector<Recorder> watches(10);
  g_faults.submitted.clear();
  g_faults.waited_for.clear();
  for (size_t i = 0; i < 10; ++i) {
    poller.Add(watches[i], pipes[i].read.get(), kReadable, Trigger::kEdge);
  }
  EXPECT_TRUE(g_faults.submitted.empty());
  pipes[3].Put();
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
  EXPECT_EQ(g_faults.submitted, std::vector<unsigned>{10});
  EXPECT_EQ(g_faults.waited_for, std::vector<unsigned>{1});
  for (Recorder& watch : watches) poller.Remove(watch);
}

TEST_F(IoUringRingTest, LookingCostsNoCallIfNothingHasCome) {
  if (Denied()) return;
  IoUringPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(poller), 0);
  g_faults.submitted.clear();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(PollNow(poller), 0);
  EXPECT_TRUE(g_faults.submitted.empty());
  pipe.Put();
  EXPECT_EQ(PollNow(poller), 1);
  EXPECT_LE(g_faults.submitted.size(), 1u);
  poller.Remove(watch);
}

TEST_F(IoUringRingTest, WhatIsAddedAndRemovedWithoutAPollCostsNoCall) {
  if (Denied()) return;
  IoUringPoller poller;
  Pipe pipe;
  Recorder watch;
  g_faults.submitted.clear();
  for (int i = 0; i < 100; ++i) {
    poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
    poller.Modify(watch, 0, Trigger::kLevel);
    poller.Remove(watch);
  }
  EXPECT_EQ(PollNow(poller), 0);
  EXPECT_TRUE(g_faults.submitted.empty());
}

TEST_F(IoUringRingTest, RoundsItsTimeoutUpToTheNanosecond) {
  if (Denied()) return;
  IoUringPoller poller;
  g_faults.enter_errors = {ETIME, ETIME, ETIME, ETIME};
  EXPECT_EQ(poller.Poll(absl::Seconds(3) + absl::Nanoseconds(7)), 0);
  ASSERT_TRUE(g_faults.timeout.has_value());
  EXPECT_EQ(g_faults.timeout->seconds, 3);
  EXPECT_EQ(g_faults.timeout->nanoseconds, 7);
  EXPECT_EQ(poller.Poll(absl::Nanoseconds(1) / 4), 0);
  ASSERT_TRUE(g_faults.timeout.has_value());
  EXPECT_EQ(g_faults.timeout->nanoseconds, 1);
  EXPECT_EQ(poller.Poll(absl::InfiniteDuration()), 0);
  EXPECT_FALSE(g_faults.timeout.has_value());
  EXPECT_EQ(g_faults.waited_for.back(), 1u);
  g_faults.waited_for.clear();
  EXPECT_EQ(poller.Poll(-absl::Seconds(1)), 0);
  EXPECT_TRUE(g_faults.waited_for.empty());
}

TEST_F(IoUringRingTest, AnInterruptedPollIsNoError) {
  if (Denied()) return;
  IoUringPoller poller;
  g_faults.enter_errors = {EINTR};
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 0);
  g_faults.enter_errors = {EBADF};
  try {
    poller.Poll(absl::Seconds(10));
    ADD_FAILURE();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EBADF);
    EXPECT_EQ(e.operation(), "io_uring_enter");
  }
}

TEST_F(IoUringRingTest, WhatTheKernelCannotTakeNowItTakesLater) {
  if (Denied()) return;
  for (const int error : {EAGAIN, EBUSY}) {
    IoUringPoller poller;
    Pipe pipe;
    Recorder watch;
    poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
    pipe.Put();
    g_faults.enter_errors = {error, 0, error, 0, error};
    g_faults.waited_for.clear();
    // Each waits a moment instead, and does not spin.
    EXPECT_EQ(poller.Poll(absl::Seconds(10)), 0);
    EXPECT_EQ(poller.Poll(absl::Seconds(10)), 0);
    EXPECT_EQ(g_faults.waited_for, (std::vector<unsigned>{1, 1, 1, 1}));
    ASSERT_TRUE(g_faults.timeout.has_value());
    EXPECT_EQ(g_faults.timeout->nanoseconds, 1'000'000);
    EXPECT_EQ(PollNow(poller), 0);
    EXPECT_EQ(PollNow(poller), 1);
    poller.Remove(watch);
  }
}

// More than the ring holds, and the kernel takes none of it: what waits outside
// of the ring is not slept on.
TEST_F(IoUringRingTest, WhatDoesNotFitIntoTheRingIsNotSleptOn) {
  if (Denied()) return;
  IoUringPoller poller;
  std::vector<Pipe> pipes(300);
  std::vector<Recorder> watches(300);
  for (size_t i = 0; i < pipes.size(); ++i) {
    poller.Add(watches[i], pipes[i].read.get(), kReadable, Trigger::kEdge);
  }
  pipes.back().Put();
  g_faults.enter_errors = {EAGAIN};
  EXPECT_EQ(poller.Poll(absl::InfiniteDuration()), 0);
  ASSERT_TRUE(g_faults.timeout.has_value());
  EXPECT_EQ(g_faults.timeout->seconds, 0);
  EXPECT_EQ(g_faults.timeout->nanoseconds, 1'000'000);
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
  EXPECT_EQ(watches.back().heard, 1);
  for (Recorder& watch : watches) poller.Remove(watch);
}

TEST_F(IoUringRingTest, AForkedChildMakesNoCall) {
  if (Denied()) return;
  auto poller = std::make_unique<IoUringPoller>();
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);
  const size_t calls = g_faults.submitted.size();
  const pid_t child = ::fork();
  if (child == 0) {
    poller->Remove(watch);
    poller.reset();
    ::_exit(g_faults.submitted.size() == calls ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  poller->Remove(watch);
}

// What is removed cannot be taken back at once, and is silent all the same.
TEST_F(IoUringRingTest, ARemoveThatTheKernelRefusesHolds) {
  if (Denied()) return;
  for (const int error : {EAGAIN, EBUSY, EINTR, EBADF}) {
    IoUringPoller poller;
    Pipe pipe;
    Recorder watch;
    poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
    EXPECT_EQ(PollNow(poller), 0);
    g_faults.enter_errors = {error};
    poller.Remove(watch);
    pipe.Put();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(PollNow(poller), 0);
    EXPECT_EQ(watch.heard, 0);
    g_faults.enter_errors.clear();
  }
}

TEST_F(IoUringRingTest, AnotherThreadsRingIsMadeAnew) {
  if (Denied()) return;
  for (const int error : {EEXIST, EBADR}) {
    IoUringPoller poller;
    Pipe pipe;
    Recorder watch, other;
    poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
    poller.Add(other, pipe.write.get(), kReadable, Trigger::kEdge);
    EXPECT_EQ(PollNow(poller), 0);
    g_faults.enter_errors = {error};
    poller.Poll(absl::Seconds(10));  // returns at once
    pipe.Put();
    EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
    // And if it is a Remove() that finds out.
    g_faults.enter_errors = {EEXIST};
    poller.Remove(other);
    pipe.Take();
    pipe.Put();
    EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
    EXPECT_EQ(watch.heard, 2);
    poller.Remove(watch);
  }
}

// A kernel that lets every thread use a ring finishes polls in the thread that
// handed them over.
TEST_F(IoUringRingTest, TheRingIsMadeAnewWhereTheKernelDoesNotInsist) {
  if (Denied()) return;
  g_faults.refused_flags =
      internal::kUringSingleIssuer | internal::kUringDeferTaskrun;
  IoUringPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(poller), 0);
  const size_t setups = g_faults.flags.size();
  EXPECT_EQ(PollNow(poller), 0);
  EXPECT_EQ(g_faults.flags.size(), setups);
  pipe.Put();
  std::thread([&] { EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1); }).join();
  EXPECT_GT(g_faults.flags.size(), setups);
  EXPECT_EQ(watch.heard, 1);
  poller.Remove(watch);
}

// The kernel says so once, perhaps in the pause before it is asked again.
TEST_F(IoUringRingTest, CompletionsThatWereLostInThePauseAreAskedAgain) {
  if (Denied()) return;
  IoUringPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(poller), 0);
  const size_t setups = g_faults.flags.size();
  g_faults.enter_errors = {EAGAIN, EBADR};
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 0);
  EXPECT_GT(g_faults.flags.size(), setups);
  pipe.Put();
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
  poller.Remove(watch);
}

// More than the ring holds is removed while the kernel takes nothing: the files
// are let go of all the same, so that each peer hears of the end.
TEST_F(IoUringRingTest, ACloseClosesHoweverBusyTheKernelIs) {
  if (Denied()) return;
  IoUringPoller poller;
  std::vector<SocketPair> pairs(300);
  std::vector<Recorder> watches(300);
  for (size_t i = 0; i < pairs.size(); ++i) {
    poller.Add(watches[i], pairs[i].a.get(), kReadable, Trigger::kEdge);
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(PollNow(poller), 0);
  // All but one: the poller goes on.
  g_faults.enter_errors.assign(2000, EBUSY);
  for (size_t i = 1; i < pairs.size(); ++i) {
    poller.Remove(watches[i]);
    pairs[i].a.Close();
  }
  g_faults.enter_errors.clear();
  ASSERT_EQ(::write(pairs[0].b.get(), "x", 1), 1);
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
  EXPECT_EQ(watches[0].heard, 1);
  for (size_t i = 1; i < pairs.size(); ++i) {
    pollfd peer = {.fd = pairs[i].b.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&peer, 1, 10'000), 1) << i;
  }
  poller.Remove(watches[0]);
}

TEST_F(IoUringRingTest, ARingThatCannotBeMadeAnewIsAnErrorUntilItCan) {
  if (Denied()) return;
  IoUringPoller poller;
  Pipe pipe;
  Recorder watch;
  poller.Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(poller), 0);
  g_faults.enter_errors = {EEXIST};
  g_faults.setup_error = EMFILE;
  EXPECT_THROW(poller.Poll(absl::Seconds(10)), OsError);
  EXPECT_THROW(poller.Poll(absl::Seconds(10)), OsError);
  g_faults.setup_error = 0;
  pipe.Put();
  EXPECT_EQ(poller.Poll(absl::Seconds(10)), 1);
  poller.Remove(watch);
}

// ---- choice
// -------------------------------------------------------------------

TEST_F(IoUringPollerTest, EpollIsTheDefault) {
  EXPECT_EQ(NameOfNewLoop(), "epoll");
}

TEST_F(IoUringRingTest, TheProgramAndThenTheEnvironmentChoose) {
  if (Denied()) return;
  struct Case {
    const char* variable;
    bool prefers;
    const char* expected;
  };
  for (const Case& c :
       {Case{"", false, "epoll"}, Case{"", true, "io_uring"},
        Case{"auto", false, "epoll"}, Case{"auto", true, "io_uring"},
        Case{"epoll", true, "epoll"}, Case{"io_uring", false, "io_uring"}}) {
    ::setenv("COIL_POLLER", c.variable, 1);
    PreferIoUring(c.prefers);
    EXPECT_EQ(NameOfNewLoop(), c.expected) << c.variable << c.prefers;
  }
}

TEST_F(IoUringPollerTest, AWishThatNobodyKnowsIsTold) {
  ::setenv("COIL_POLLER", "kqueue", 1);
  const CapturedDiagnostics diagnostics;
  EXPECT_EQ(NameOfNewLoop(), "epoll");
  EXPECT_EQ(diagnostics.Text(),
            "coil: COIL_POLLER is \"kqueue\", which is none of \"epoll\", "
            "\"io_uring\" and \"auto\"; it is not considered\n");
}

TEST_F(IoUringRingTest, IsGivenToALoopByItsOptions) {
  if (Denied()) return;
  ::setenv("COIL_POLLER", "epoll", 1);  // for those that are not given one
  IoUringPoller poller;
  LoopOptions options;
  options.poller = &poller;
  EventLoop loop(options);
  EXPECT_STREQ(loop.GetPoller().Name(), "io_uring");
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

}  // namespace
}  // namespace coil
