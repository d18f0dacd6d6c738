// The contract of loop/poller.h, on every poller.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/loop/poller.h"
#include "gtest/gtest.h"
#include "tests/conformance/pollers.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::Fd;
using coil_testing::Pipe;
using coil_testing::PollerKind;
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

absl::Duration Monotonic() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

int PollNow(Poller& poller) { return poller.Poll(absl::ZeroDuration()); }

class PollerConformanceTest : public testing::TestWithParam<const PollerKind*> {
 protected:
  // Before the poller, which it concerns.
  const coil_testing::ScopedPollerKind kind_{*GetParam()};

 public:
  std::unique_ptr<Poller> poller = GetParam()->make();
};

TEST_P(PollerConformanceTest, TellsThatADescriptorIsReadable) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(watch.Descriptor(), pipe.read.get());
  EXPECT_EQ(PollNow(*poller), 0);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable});
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, LevelTriggeredRepeatsAsLongAsThereIsData) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  pipe.Take();
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, EdgeTriggeredTellsOnce) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 0);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ReportsOnlyWhatIsWaitedFor) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);  // it is writable
  poller->Modify(watch, kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kWritable});
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, EndOfFileIsReadable) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kEdge);
  ::shutdown(pair.b.get(), SHUT_WR);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable | kReadHangUp});
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ClosedPeerIsAHangUpForReaderAndWriter) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable | kWritable, Trigger::kEdge);
  PollNow(*poller);
  watch.heard.clear();
  pair.b.Close();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable | kWritable | kHangUp |
                                               kReadHangUp});
  poller->Remove(watch);
}

// Two ends of a TCP connection.
struct TcpPair {
  TcpPair() {
    const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    a = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener.get(), raw, size) != 0 ||
        ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), raw, &size) != 0 ||
        ::connect(a.get(), raw, size) != 0) {
      throw OsError(errno, "TcpPair");
    }
    b = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  Fd a;
  Fd b;
};

// The mark of urgent data stays until somebody reads past it, which a reader
// that knows nothing of it does not do.
TEST_P(PollerConformanceTest, UrgentDataIsNoNewsByLevel) {
  TcpPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kLevel);
  ASSERT_EQ(::send(pair.b.get(), "!", 1, MSG_OOB), 1);
  EXPECT_EQ(PollNow(*poller), 0);
  ASSERT_EQ(::send(pair.b.get(), "x", 1, 0), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable});
  char byte = 0;
  EXPECT_EQ(::recv(pair.a.get(), &byte, 1, MSG_DONTWAIT), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, UrgentDataIsToldOnceByEdge) {
  TcpPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kEdge);
  ASSERT_EQ(::send(pair.b.get(), "!", 1, MSG_OOB), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kReadable | kUrgent});
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ErrorOfAPipeWithoutReaderWakesItsWriter) {
  Pipe pipe;
  // Full, so that only the error can make it ready.
  const std::string block(65536, 'x');
  while (::write(pipe.write.get(), block.data(), block.size()) > 0) {
  }
  Recorder watch;
  poller->Add(watch, pipe.write.get(), kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);
  pipe.read.Close();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_TRUE(watch.heard.back() & kWritable);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, WatchWithoutInterestDoesNotSpinOnAHangUp) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), 0, Trigger::kLevel);
  pair.b.Close();
  PollNow(*poller);
  EXPECT_EQ(PollNow(*poller), 0);
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, RemovedWatchHearsNothing) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  poller->Remove(watch);
  EXPECT_FALSE(watch.Watched());
  EXPECT_EQ(PollNow(*poller), 0);
  EXPECT_TRUE(watch.heard.empty());
}

TEST_P(PollerConformanceTest, RemovingTwiceDoesNothing) {
  Pipe pipe;
  Recorder watch;
  poller->Remove(watch);
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  poller->Remove(watch);
  poller->Remove(watch);
  EXPECT_EQ(poller->WatchCount(), 0);
}

TEST_P(PollerConformanceTest, CountsItsWatches) {
  Pipe pipe;
  Recorder a, b;
  EXPECT_EQ(poller->WatchCount(), 0);
  poller->Add(a, pipe.read.get(), kReadable, Trigger::kLevel);
  poller->Add(b, pipe.write.get(), kWritable, Trigger::kLevel);
  EXPECT_EQ(poller->WatchCount(), 2);
  poller->Remove(a);
  EXPECT_EQ(poller->WatchCount(), 1);
  poller->Remove(b);
}

TEST_P(PollerConformanceTest, WatchMayRemoveAnotherOfTheSameBatch) {
  Pipe first, second;
  Recorder a, b;
  poller->Add(a, first.read.get(), kReadable, Trigger::kLevel);
  poller->Add(b, second.read.get(), kReadable, Trigger::kLevel);
  a.then = [&] { poller->Remove(b); };
  b.then = [&] { poller->Remove(a); };
  first.Put();
  second.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(a.heard.size() + b.heard.size(), 1u);
  poller->Remove(a);
  poller->Remove(b);
}

TEST_P(PollerConformanceTest, WatchMayRemoveItself) {
  Pipe pipe;
  Recorder watch;
  watch.then = [&] { poller->Remove(watch); };
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 0);
}

TEST_P(PollerConformanceTest, DescriptorIsWatchedOnlyOnce) {
  Pipe pipe;
  Recorder a, b;
  poller->Add(a, pipe.read.get(), kReadable, Trigger::kLevel);
  try {
    poller->Add(b, pipe.read.get(), kReadable, Trigger::kLevel);
    FAIL();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EEXIST);
  }
  EXPECT_FALSE(b.Watched());
  poller->Remove(a);
  poller->Add(b, pipe.read.get(), kReadable, Trigger::kLevel);
  poller->Remove(b);
}

TEST_P(PollerConformanceTest, RefusesWhatCannotBePolled) {
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
      poller->Add(watch, c.fd, kReadable, Trigger::kLevel);
      FAIL() << c.fd;
    } catch (const OsError& e) {
      EXPECT_EQ(e.Errno(), c.error) << c.fd;
      EXPECT_NE(std::string(e.what()).find("fd " + std::to_string(c.fd)),
                std::string::npos)
          << e.what();
    }
    EXPECT_FALSE(watch.Watched());
  }
  EXPECT_EQ(poller->WatchCount(), 0);
}

TEST_P(PollerConformanceTest, DeliversMoreThanOneBatch) {
  std::vector<Pipe> pipes(300);
  std::vector<std::unique_ptr<Recorder>> watches;
  for (Pipe& pipe : pipes) {
    watches.push_back(std::make_unique<Recorder>());
    watches.back()->then = [&pipe] { pipe.Take(); };
    poller->Add(*watches.back(), pipe.read.get(), kReadable, Trigger::kEdge);
    pipe.Put();
  }
  while (PollNow(*poller) > 0) {
  }
  for (auto& watch : watches) {
    // Where the kernel runs out of room an edge may be told again.
    EXPECT_GE(watch->heard.size(), 1u);
    if (GetParam()->completions == 0) {
      EXPECT_EQ(watch->heard.size(), 1u);
    }
    poller->Remove(*watch);
  }
}

// What is behind a full batch is looked at again when its turn comes.
TEST_P(PollerConformanceTest, LevelTellsWhatHoldsNow) {
  std::vector<Pipe> pipes(300);
  std::vector<std::unique_ptr<Recorder>> watches;
  const auto empty_all = [&] {
    for (Pipe& pipe : pipes) pipe.Take();
  };
  for (Pipe& pipe : pipes) {
    watches.push_back(std::make_unique<Recorder>());
    poller->Add(*watches.back(), pipe.read.get(), kReadable, Trigger::kLevel);
    pipe.Put();
  }
  EXPECT_GT(PollNow(*poller), 0);
  empty_all();
  EXPECT_EQ(PollNow(*poller), 0);
  for (auto& watch : watches) poller->Remove(*watch);
}

TEST_P(PollerConformanceTest, WhoIsAlwaysReadyByLevelStarvesNobody) {
  std::vector<Pipe> pipes(300);
  std::vector<std::unique_ptr<Recorder>> watches;
  for (Pipe& pipe : pipes) {
    watches.push_back(std::make_unique<Recorder>());
    poller->Add(*watches.back(), pipe.read.get(), kReadable, Trigger::kLevel);
    pipe.Put();
  }
  for (int i = 0; i < 10; ++i) EXPECT_GT(PollNow(*poller), 0);
  for (auto& watch : watches) {
    EXPECT_GT(watch->heard.size(), 0u);
    poller->Remove(*watch);
  }
}

// ---- what is changed while it is watched
// -------------------------------------

TEST_P(PollerConformanceTest, ModifyReportsWhatIsReadyAlready) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Modify(watch, kReadable | kWritable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, std::vector<IoEvents>{kWritable});
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Modify(watch, kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ModifyInADeliveryHolds) {
  SocketPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kWritable, Trigger::kLevel);
  watch.then = [&] { poller->Modify(watch, kReadable, Trigger::kLevel); };
  EXPECT_EQ(PollNow(*poller), 1);
  watch.then = nullptr;
  EXPECT_EQ(PollNow(*poller), 0);
  ASSERT_EQ(::send(pair.b.get(), "x", 1, 0), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard.back(), kReadable);
  poller->Remove(watch);
}

// The number is a new descriptor's, and the event was the old one's.
TEST_P(PollerConformanceTest, AnEventOfAnEarlierOwnerIsNotTold) {
  Pipe first, second;
  Recorder a, b;
  poller->Add(a, first.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 0);
  first.Put();
  const int number = first.read.get();
  poller->Remove(a);
  // A copy keeps the old one alive.
  const Fd copy(::dup(number));
  ASSERT_EQ(::dup2(second.read.get(), number), number);
  poller->Add(b, number, kReadable, Trigger::kEdge);
  first.Put();
  EXPECT_EQ(PollNow(*poller), 0);
  second.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_TRUE(a.heard.empty());
  EXPECT_EQ(b.heard.size(), 1u);
  poller->Remove(b);
}

// In the very batch that brings the event of the old one.
TEST_P(PollerConformanceTest, AnEventOfAnEarlierOwnerInTheBatchIsNotTold) {
  Pipe first, second, empty;
  Recorder a, b, successor;
  poller->Add(a, first.read.get(), kReadable, Trigger::kEdge);
  poller->Add(b, second.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 0);
  // Whoever is told first gives the other one's number away.
  const auto give_away = [&](Recorder& other, int number) {
    if (successor.Watched()) return;
    poller->Remove(other);
    ASSERT_EQ(::dup2(empty.read.get(), number), number);
    poller->Add(successor, number, kReadable, Trigger::kEdge);
  };
  a.then = [&] { give_away(b, second.read.get()); };
  b.then = [&] { give_away(a, first.read.get()); };
  first.Put();
  second.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 0);
  EXPECT_TRUE(successor.Watched());
  EXPECT_TRUE(successor.heard.empty());
  poller->Remove(a);
  poller->Remove(b);
  poller->Remove(successor);
}

// The event lies behind one that counts, where a queue has it already.
TEST_P(PollerConformanceTest, AnEventOfAnEarlierOwnerOnItsWayIsNotTold) {
  Pipe first, second, third, empty;
  Recorder a, b, c, successor;
  poller->Add(a, first.read.get(), kReadable, Trigger::kEdge);
  poller->Add(b, second.read.get(), kReadable, Trigger::kEdge);
  poller->Add(c, third.read.get(), kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 0);
  first.Put();
  second.Put();
  poller->Remove(c);
  poller->Remove(b);
  const int number = second.read.get();
  ASSERT_EQ(::dup2(empty.read.get(), number), number);
  poller->Add(successor, number, kReadable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 0);
  EXPECT_EQ(a.heard.size(), 1u);
  EXPECT_TRUE(successor.heard.empty());
  poller->Remove(a);
  poller->Remove(successor);
}

// A poller that held on to the file would keep the end from the peer.
TEST_P(PollerConformanceTest, CloseBehindRemoveCloses) {
  TcpPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable | kWritable, Trigger::kEdge);
  PollNow(*poller);
  poller->Remove(watch);
  pair.a.Close();
  char byte;
  EXPECT_EQ(::recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST_P(PollerConformanceTest, CloseInADeliveryCloses) {
  TcpPair pair;
  Recorder watch;
  poller->Add(watch, pair.a.get(), kReadable, Trigger::kEdge);
  watch.then = [&] {
    poller->Remove(watch);
    pair.a.Close();
    char byte;
    EXPECT_EQ(::recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), 0);
  };
  ::shutdown(pair.b.get(), SHUT_WR);
  EXPECT_EQ(PollNow(*poller), 1);
}

TEST_P(PollerConformanceTest, AWatchAddedInADeliveryIsToldNext) {
  Pipe first, second;
  Recorder a, b;
  poller->Add(a, first.read.get(), kReadable, Trigger::kEdge);
  a.then = [&] {
    poller->Add(b, second.read.get(), kReadable, Trigger::kEdge);
  };
  second.Put();
  first.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_TRUE(b.heard.empty());
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(b.heard.size(), 1u);
  poller->Remove(a);
  poller->Remove(b);
}

// A half-closed connection is no news for who only writes, and must not make a
// waiting poll return again and again.
TEST_P(PollerConformanceTest, AnEndIsNoNewsForAWriter) {
  SocketPair pair;
  const std::string block(65536, 'x');
  while (::send(pair.a.get(), block.data(), block.size(), 0) > 0) {
  }
  Recorder watch;
  for (const Trigger trigger : {Trigger::kLevel, Trigger::kEdge}) {
    poller->Add(watch, pair.a.get(), kWritable, trigger);
    EXPECT_EQ(PollNow(*poller), 0);
    ::shutdown(pair.b.get(), SHUT_WR);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(PollNow(*poller), 0);
    // By now it sleeps through.
    const absl::Duration end = Monotonic() + absl::Milliseconds(5);
    int polls = 0;
    for (; Monotonic() < end; ++polls) {
      EXPECT_EQ(poller->Poll(absl::Milliseconds(5)), 0);
    }
    // The end of a ring, of an earlier test, interrupts.
    EXPECT_LT(polls, 100);
    poller->Remove(watch);
  }
  // And hears when there is room.
  poller->Add(watch, pair.a.get(), kWritable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);
  std::string sink(1 << 20, 0);
  while (::recv(pair.b.get(), sink.data(), sink.size(), 0) > 0) {
  }
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(watch.heard, (std::vector<IoEvents>{kWritable, kWritable}));
  while (::send(pair.a.get(), block.data(), block.size(), 0) > 0) {
  }
  EXPECT_EQ(PollNow(*poller), 0);
  poller->Remove(watch);
}

// ---- waiting
// ------------------------------------------------------------------

TEST_P(PollerConformanceTest, WaitsForItsTimeAndNotLess) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kEdge);
  for (const absl::Duration timeout :
       {absl::Microseconds(700), absl::Milliseconds(3)}) {
    // Again where it is interrupted: by the end of a ring, of an earlier test.
    absl::Duration longest;
    for (int i = 0; i < 100 && longest < timeout; ++i) {
      const absl::Duration start = Monotonic();
      EXPECT_EQ(poller->Poll(timeout), 0);
      longest = std::max(longest, Monotonic() - start);
    }
    EXPECT_GE(longest, timeout);
  }
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, AnotherThreadWakesIt) {
  const Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Recorder watch;
  poller->Add(watch, wake.get(), kReadable, Trigger::kEdge);
  for (int i = 0; i < 20; ++i) {
    std::thread other([&] {
      const uint64_t one = 1;
      EXPECT_EQ(::write(wake.get(), &one, sizeof(one)), 8);
    });
    // Never read: each write is an edge.
    while (poller->Poll(absl::InfiniteDuration()) == 0) {
    }
    other.join();
  }
  EXPECT_GE(watch.heard.size(), 20u);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ASignalEndsAWaitWithoutAnError) {
  struct sigaction action{}, previous{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGUSR2, &action, &previous);
  const pid_t process = ::getpid();
  const auto thread = static_cast<pid_t>(::syscall(SYS_gettid));
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done.load()) {
      ::syscall(SYS_tgkill, process, thread, SIGUSR2);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(poller->Poll(absl::InfiniteDuration()), 0);
  }
  done.store(true);
  other.join();
  ::sigaction(SIGUSR2, &previous, nullptr);
}

// ---- threads and processes
// -----------------------------------------------------

// Made here, used there, ended here, as a loop is that a thread runs.
TEST_P(PollerConformanceTest, MovesToAnotherThreadAndBack) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);
  std::thread other([&] {
    EXPECT_EQ(PollNow(*poller), 0);
    pipe.Put();
    EXPECT_EQ(poller->Poll(absl::Seconds(10)) + PollNow(*poller) > 0, true);
    pipe.Take();
    while (PollNow(*poller) > 0) {
    }
  });
  other.join();
  pipe.Put();
  // The kernel lets go of what the thread has left behind in its own time.
  for (int i = 0; i < 1000 && poller->Poll(absl::Milliseconds(10)) == 0; ++i) {
  }
  EXPECT_EQ(PollNow(*poller), 1);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, RemoveInAnotherThreadHolds) {
  Pipe pipe;
  Recorder a, b;
  poller->Add(a, pipe.read.get(), kReadable, Trigger::kEdge);
  poller->Add(b, pipe.write.get(), kWritable, Trigger::kEdge);
  EXPECT_EQ(PollNow(*poller), 1);
  std::thread([&] { poller->Remove(a); }).join();
  pipe.Put();
  // What is ready may be told again.
  for (int i = 0; i < 3; ++i) PollNow(*poller);
  EXPECT_TRUE(a.heard.empty());
  poller->Remove(b);
}

TEST_P(PollerConformanceTest, AChildMayRemoveAndDestroyWithoutHarm) {
  Pipe pipe;
  Recorder watch;
  poller->Add(watch, pipe.read.get(), kReadable, Trigger::kLevel);
  EXPECT_EQ(PollNow(*poller), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    poller->Remove(watch);
    poller.reset();
    ::_exit(0);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  pipe.Put();
  EXPECT_EQ(PollNow(*poller), 1);
  EXPECT_EQ(PollNow(*poller), 1);
  poller->Remove(watch);
}

TEST_P(PollerConformanceTest, ManyAreAddedAndRemovedInTurn) {
  std::vector<Pipe> pipes(64);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::unique_ptr<Recorder>> watches;
    for (Pipe& pipe : pipes) {
      watches.push_back(std::make_unique<Recorder>());
      poller->Add(*watches.back(), pipe.read.get(), kReadable,
                  round % 2 ? Trigger::kLevel : Trigger::kEdge);
    }
    pipes[static_cast<size_t>(round)].Put();
    EXPECT_EQ(PollNow(*poller), 1);
    for (auto& watch : watches) poller->Remove(*watch);
    EXPECT_EQ(PollNow(*poller), 0);
    EXPECT_EQ(pipes[static_cast<size_t>(round)].Take(), "x");
  }
  EXPECT_EQ(poller->WatchCount(), 0);
}

// More edges in one pass than a queue of completions may hold, again and again.
TEST_P(PollerConformanceTest, NoEdgeIsLostWhenManyComeAtOnce) {
  std::vector<Pipe> pipes(40);
  std::vector<std::unique_ptr<Recorder>> watches;
  for (Pipe& pipe : pipes) {
    watches.push_back(std::make_unique<Recorder>());
    watches.back()->then = [&pipe] { pipe.Take(); };
    poller->Add(*watches.back(), pipe.read.get(), kReadable, Trigger::kEdge);
  }
  for (int round = 0; round < 20; ++round) {
    for (auto& watch : watches) watch->heard.clear();
    for (Pipe& pipe : pipes) pipe.Put();
    while (PollNow(*poller) > 0) {
    }
    for (size_t i = 0; i < pipes.size(); ++i) {
      EXPECT_GE(watches[i]->heard.size(), 1u) << round << " " << i;
    }
  }
  for (auto& watch : watches) poller->Remove(*watch);
}

INSTANTIATE_TEST_SUITE_P(
    All, PollerConformanceTest,
    testing::ValuesIn(coil_testing::Available(
        {&coil_testing::kEpoll, &coil_testing::kIoUring,
         &coil_testing::kIoUringUndeferred, &coil_testing::kIoUringPlain,
         &coil_testing::kIoUringTiny})),
    [](const testing::TestParamInfo<const PollerKind*>& info) {
      return info.param->name;
    });

}  // namespace
}  // namespace coil
