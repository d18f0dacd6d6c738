// RwLock: order, readers together, cancellation, misuse, lifetime.

#include "coil/sync/rw_lock.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sync/sync_testing.h"

namespace coil {
namespace {

using sync_testing::AwaitAll;
using sync_testing::AwaitTextOf;
using sync_testing::HowEnded;
using sync_testing::TextOf;
using sync_testing::Turns;
using sync_testing::TwoLoops;
using sync_testing::WaitOf;

// Notes "r1" when it goes in, stays for `turns`.
Co<void> Read(RwLock& lock, std::string& log, int id, int turns = 1) {
  RwLock::ReadGuard guard = co_await lock.AcquireRead();
  log += "r" + std::to_string(id) + " ";
  co_await Turns(turns);
}

Co<void> Write(RwLock& lock, std::string& log, int id, int turns = 1) {
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  log += "w" + std::to_string(id) + " ";
  co_await Turns(turns);
}

static_assert(!std::is_copy_constructible_v<RwLock::ReadGuard>);
static_assert(std::is_nothrow_move_constructible_v<RwLock::WriteGuard>);

FIFO_TEST(RwLockTest, FreeLockDoesNotSuspend) {
  RwLock lock;
  const uint64_t before = EventLoop::Current().Iterations();
  {
    RwLock::ReadGuard a = co_await lock.AcquireRead();
    RwLock::ReadGuard b = co_await lock.AcquireRead();
    EXPECT_EQ(lock.Readers(), 2);
  }
  {
    RwLock::WriteGuard w = co_await lock.AcquireWrite();
    EXPECT_TRUE(lock.WriteLocked());
  }
  EXPECT_EQ(lock.Readers(), 0);
  EXPECT_FALSE(lock.WriteLocked());
  EXPECT_EQ(EventLoop::Current().Iterations(), before);
}

FIFO_TEST(RwLockTest, ReadersAreTogetherAndWritersAlone) {
  RwLock lock;
  int readers = 0;
  int writers = 0;
  int most_readers = 0;
  bool mixed = false;
  auto look = [&] {
    most_readers = std::max(most_readers, readers);
    if (writers > 1 || (writers == 1 && readers != 0)) mixed = true;
  };
  auto reader = [&]() -> Co<void> {
    for (int i = 0; i < 5; ++i) {
      RwLock::ReadGuard guard = co_await lock.AcquireRead();
      ++readers;
      look();
      co_await Turns(2);
      --readers;
    }
  };
  auto writer = [&]() -> Co<void> {
    for (int i = 0; i < 5; ++i) {
      RwLock::WriteGuard guard = co_await lock.AcquireWrite();
      ++writers;
      look();
      co_await Turns(1);
      --writers;
    }
  };
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 4; ++i) {
    tasks.push_back(CreateTask(reader));
    if (i % 2 == 0) tasks.push_back(CreateTask(writer));
  }
  co_await AwaitAll(tasks);
  EXPECT_FALSE(mixed);
  EXPECT_GT(most_readers, 1);
}

FIFO_TEST(RwLockTest, OneLineForReadersAndWriters) {
  RwLock lock;
  std::string log;
  std::vector<Task<void>> tasks;
  tasks.push_back(CreateTask(Write(lock, log, 0)));
  tasks.push_back(CreateTask(Read(lock, log, 1, 3)));
  tasks.push_back(CreateTask(Read(lock, log, 2, 1)));
  tasks.push_back(CreateTask(Write(lock, log, 3)));
  tasks.push_back(CreateTask(Read(lock, log, 4)));
  tasks.push_back(CreateTask(Write(lock, log, 5)));
  tasks.push_back(CreateTask(Write(lock, log, 6)));
  tasks.push_back(CreateTask(Read(lock, log, 7)));
  co_await AwaitAll(tasks);
  EXPECT_EQ(log, "w0 r1 r2 w3 r4 w5 w6 r7 ");
}

FIFO_TEST(RwLockTest, ReaderBehindAWriterInLineWaits) {
  RwLock lock;
  std::string log;
  RwLock::ReadGuard guard = co_await lock.AcquireRead();
  Task<void> writer = CreateTask(Write(lock, log, 1));
  co_await Turns();
  EXPECT_FALSE(lock.TryAcquireRead().has_value());
  Task<void> reader = CreateTask(Read(lock, log, 2));
  co_await Turns(3);
  EXPECT_EQ(log, "");
  guard.Release();
  co_await reader;
  EXPECT_EQ(log, "w1 r2 ");
}

FIFO_TEST(RwLockTest, StreamOfReadersDoesNotStarveAWriter) {
  RwLock lock;
  bool written = false;
  int reads_before = 0;
  auto reader = [&]() -> Co<void> {
    while (!written) {
      RwLock::ReadGuard guard = co_await lock.AcquireRead();
      ++reads_before;
      co_await Turns(3);
    }
  };
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 3; ++i) {
    tasks.push_back(CreateTask(reader));
    co_await Turns();
  }
  {
    RwLock::WriteGuard guard = co_await lock.AcquireWrite();
    written = true;
  }
  co_await AwaitAll(tasks);
  EXPECT_LE(reads_before, 8);
}

FIFO_TEST(RwLockTest, WriterIsLetInByTheLastReader) {
  RwLock lock;
  std::string log;
  RwLock::ReadGuard a = co_await lock.AcquireRead();
  RwLock::ReadGuard b = co_await lock.AcquireRead();
  Task<void> writer = CreateTask(Write(lock, log, 1));
  co_await Turns();
  a.Release();
  co_await Turns(2);
  EXPECT_EQ(log, "");
  b.Release();
  EXPECT_TRUE(lock.WriteLocked());  // handed over
  co_await writer;
  EXPECT_EQ(log, "w1 ");
}

FIFO_TEST(RwLockTest, NewcomersDoNotOvertake) {
  RwLock lock;
  std::string log;
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  Task<void> a = CreateTask(Write(lock, log, 1));
  co_await Turns();
  guard.Release();
  EXPECT_FALSE(lock.TryAcquireWrite().has_value());
  EXPECT_FALSE(lock.TryAcquireRead().has_value());
  co_await Write(lock, log, 2);
  EXPECT_EQ(log, "w1 w2 ");
}

TEST(RwLockTest, TryAcquire) {
  RwLock lock;
  std::optional<RwLock::ReadGuard> a = lock.TryAcquireRead();
  std::optional<RwLock::ReadGuard> b = lock.TryAcquireRead();
  EXPECT_TRUE(a.has_value() && b.has_value());
  EXPECT_FALSE(lock.TryAcquireWrite().has_value());
  a.reset();
  b.reset();
  std::optional<RwLock::WriteGuard> w = lock.TryAcquireWrite();
  EXPECT_TRUE(w.has_value());
  EXPECT_FALSE(lock.TryAcquireRead().has_value());
  EXPECT_FALSE(lock.TryAcquireWrite().has_value());
}

FIFO_TEST(RwLockTest, GuardsMove) {
  RwLock lock;
  RwLock::ReadGuard a = co_await lock.AcquireRead();
  RwLock::ReadGuard b = std::move(a);
  EXPECT_FALSE(a.Owns());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(b.Owns());
  RwLock::ReadGuard c = co_await lock.AcquireRead();
  c = std::move(b);
  EXPECT_EQ(lock.Readers(), 1);
  c.Release();
  RwLock::WriteGuard w = co_await lock.AcquireWrite();
  RwLock::WriteGuard x;
  x = std::move(w);
  EXPECT_TRUE(x.Owns());
  EXPECT_TRUE(lock.WriteLocked());
  x = RwLock::WriteGuard();
  EXPECT_FALSE(lock.WriteLocked());
}

FIFO_TEST(RwLockTest, SecondReleaseNamesTheRule) {
  RwLock lock;
  RwLock::ReadGuard r = co_await lock.AcquireRead();
  r.Release();
  EXPECT_EQ(TextOf<std::runtime_error>([&] { r.Release(); }),
            "RwLock::ReadGuard::Release: this guard does not hold the lock "
            "(it was released, moved from, or the lock was destroyed)");
  RwLock::WriteGuard w = co_await lock.AcquireWrite();
  w.Release();
  EXPECT_EQ(TextOf<std::runtime_error>([&] { w.Release(); }).substr(0, 27),
            "RwLock::WriteGuard::Release");
  EXPECT_EQ(lock.Readers(), 0);
}

// ---- cancellation ----------------------------------------------------------

FIFO_TEST(RwLockTest, CancelledWriterLetsTheReadersBehindItIn) {
  RwLock lock;
  std::string log;
  RwLock::ReadGuard guard = co_await lock.AcquireRead();
  Task<void> writer = CreateTask(Write(lock, log, 1));
  Task<void> a = CreateTask(Read(lock, log, 2));
  Task<void> b = CreateTask(Read(lock, log, 3));
  co_await Turns();
  writer.Cancel("why");
  co_await Turns();
  EXPECT_EQ(HowEnded(writer), "cancelled: why");
  EXPECT_EQ(log, "r2 r3 ");
  EXPECT_TRUE(guard.Owns());
  co_await a;
  co_await b;
}

FIFO_TEST(RwLockTest, CancelledReaderInTheMiddleKeepsTheOrder) {
  RwLock lock;
  std::string log;
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  Task<void> a = CreateTask(Read(lock, log, 1));
  Task<void> b = CreateTask(Read(lock, log, 2));
  Task<void> c = CreateTask(Write(lock, log, 3));
  co_await Turns();
  b.Cancel();
  guard.Release();
  co_await c;
  EXPECT_EQ(log, "r1 w3 ");
}

FIFO_TEST(RwLockTest, CancelAfterTheHandOffOfAWrite) {
  RwLock lock;
  std::string log;
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  Task<void> a = CreateTask(Write(lock, log, 1));
  Task<void> b = CreateTask(Read(lock, log, 2));
  co_await Turns();
  guard.Release();
  a.Cancel();
  co_await b;
  EXPECT_TRUE(a.Cancelled());
  EXPECT_EQ(log, "r2 ");
  EXPECT_FALSE(lock.WriteLocked());
  EXPECT_EQ(lock.Readers(), 0);
}

FIFO_TEST(RwLockTest, CancelAfterTheHandOffOfReads) {
  RwLock lock;
  std::string log;
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  Task<void> a = CreateTask(Read(lock, log, 1));
  Task<void> b = CreateTask(Read(lock, log, 2));
  Task<void> c = CreateTask(Write(lock, log, 3));
  co_await Turns();
  guard.Release();
  EXPECT_EQ(lock.Readers(), 2);
  a.Cancel();
  b.Cancel();
  co_await c;
  EXPECT_EQ(log, "w3 ");
  EXPECT_FALSE(lock.WriteLocked());
}

FIFO_TEST(RwLockTest, CancelBeforeTheReleaseInTheSameTurn) {
  RwLock lock;
  std::string log;
  RwLock::WriteGuard guard = co_await lock.AcquireWrite();
  Task<void> a = CreateTask(Write(lock, log, 1));
  Task<void> b = CreateTask(Write(lock, log, 2));
  co_await Turns();
  a.Cancel();
  guard.Release();
  co_await b;
  EXPECT_EQ(log, "w2 ");
}

// ---- lifetime and misuse
// -----------------------------------------------------

FIFO_TEST(RwLockTest, DestroyedLockWakesThoseWhoWait) {
  auto lock = std::make_unique<RwLock>();
  std::string log;
  RwLock::WriteGuard guard = co_await lock->AcquireWrite();
  Task<void> a = CreateTask(Read(*lock, log, 1));
  Task<void> b = CreateTask(Write(*lock, log, 2));
  co_await Turns();
  guard.Release();  // handed to `a`, which has not resumed
  lock.reset();
  co_await Turns();
  EXPECT_EQ(HowEnded(a), "RwLock was destroyed while 2 tasks waited for it");
  EXPECT_EQ(HowEnded(b), "RwLock was destroyed while 2 tasks waited for it");
  EXPECT_EQ(log, "");
}

FIFO_TEST(RwLockTest, DestroyedAndCancelledIsCancelled) {
  auto lock = std::make_unique<RwLock>();
  std::string log;
  RwLock::ReadGuard guard = co_await lock->AcquireRead();
  Task<void> a = CreateTask(Write(*lock, log, 1));
  Task<void> b = CreateTask(Read(*lock, log, 2));
  co_await Turns();
  guard.Release();
  lock.reset();
  a.Cancel();
  b.Cancel();
  co_await Turns();
  EXPECT_TRUE(a.Cancelled());
  EXPECT_TRUE(b.Cancelled());
}

FIFO_TEST(RwLockTest, GuardsOutliveTheirLock) {
  auto lock = std::make_unique<RwLock>();
  RwLock::ReadGuard a = co_await lock->AcquireRead();
  RwLock::ReadGuard b = co_await lock->AcquireRead();
  lock.reset();
  EXPECT_FALSE(a.Owns());
  EXPECT_FALSE(b.Owns());
  EXPECT_THROW(a.Release(), std::runtime_error);
}

TEST(RwLockTest, SecondLoopNamesTheRule) {
  TwoLoops loops;
  RwLock lock;
  loops.RunOnFirst([&]() -> Co<void> {
    std::string log;
    RwLock::WriteGuard guard = co_await lock.AcquireWrite();
    Task<void> waiter = CreateTask(Read(lock, log, 1));
    co_await Turns();
    guard.Release();
    co_await waiter;
  });
  loops.RunOnSecond([&]() -> Co<void> {
    RwLock::WriteGuard guard = co_await lock.AcquireWrite();
    const std::string read =
        co_await AwaitTextOf<std::runtime_error>(lock.AcquireRead());
    EXPECT_EQ(read.substr(0, 20), "RwLock::AcquireRead:");
    const std::string write =
        co_await AwaitTextOf<std::runtime_error>(lock.AcquireWrite());
    EXPECT_EQ(write.substr(0, 21), "RwLock::AcquireWrite:");
  });
}

FIFO_TEST(RwLockTest, DumpSaysWhoHoldsIt) {
  RwLock lock;
  std::string log;
  RwLock::ReadGuard a = co_await lock.AcquireRead();
  Task<void> writer = CreateTask(Write(lock, log, 1));
  co_await Turns();
  EXPECT_EQ(WaitOf(writer), "RwLock held by 1 reader");
  Task<void> reader = CreateTask(Read(lock, log, 2));
  co_await Turns();
  a.Release();
  EXPECT_EQ(WaitOf(reader), "RwLock held by a writer");
  co_await reader;
}

}  // namespace
}  // namespace coil
