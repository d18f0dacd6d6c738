#include "coil/loop/thread_pool.h"

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;

// A door that jobs wait at.
class Gate {
 public:
  void Open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void AwaitArrivals(int n) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this, n] { return arrived_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int arrived_ = 0;
};

class CountedJob final : public ThreadPool::Job {
 public:
  void Run() noexcept override { ++runs; }
  void Abandon() noexcept override { ++abandons; }
  std::atomic<int> runs{0};
  std::atomic<int> abandons{0};
};

TEST(ThreadPoolTest, ExampleOfTheHeader) {
  std::atomic<bool> ran{false};
  {
    coil::ThreadPool pool(4);
    pool.Submit([&] { ran = true; });
  }
  EXPECT_TRUE(ran);
}

TEST(ThreadPoolTest, RunsJobsOnThreadsOfItsOwn) {
  ThreadPool pool(2);
  std::promise<std::thread::id> promise;
  pool.Submit([&] { promise.set_value(std::this_thread::get_id()); });
  EXPECT_NE(promise.get_future().get(), std::this_thread::get_id());
}

TEST(ThreadPoolTest, OneThreadRunsJobsFirstInFirstOut) {
  std::vector<int> order;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) {
      pool.Submit([&order, i] { order.push_back(i); });
    }
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(ThreadPoolTest, RunsAsManyJobsAtOnceAsItHasThreads) {
  Gate gate;
  ThreadPool pool(3);
  for (int i = 0; i < 3; ++i) pool.Submit([&] { gate.Pass(); });
  gate.AwaitArrivals(3);
  EXPECT_EQ(pool.Threads(), 3);
  gate.Open();
}

TEST(ThreadPoolTest, NeverStartsMoreThreadsThanAllowed) {
  Gate gate;
  ThreadPool pool(2);
  for (int i = 0; i < 10; ++i) pool.Submit([&] { gate.Pass(); });
  gate.AwaitArrivals(2);
  EXPECT_EQ(pool.Threads(), 2);
  EXPECT_EQ(pool.Waiting(), 8);
  EXPECT_EQ(pool.MaxThreads(), 2);
  gate.Open();
}

TEST(ThreadPoolTest, StartsNoThreadBeforeTheFirstJob) {
  ThreadPool pool(5);
  EXPECT_EQ(pool.Threads(), 0);
}

TEST(ThreadPoolTest, NeedsAtLeastOneThread) {
  EXPECT_THROW(ThreadPool(0), std::invalid_argument);
  EXPECT_THROW(ThreadPool(-1), std::invalid_argument);
}

TEST(ThreadPoolTest, EmptyCallableIsAnInvalidArgument) {
  ThreadPool pool(1);
  try {
    pool.Submit(nullptr);
    ADD_FAILURE() << "was accepted";
  } catch (const std::invalid_argument& e) {
    EXPECT_STREQ(e.what(), "ThreadPool::Submit: the callable is empty");
  }
  EXPECT_EQ(pool.Threads(), 0);
}

TEST(ThreadPoolTest, IntrusiveJobsRunWithoutBeingOwned) {
  CountedJob job;
  {
    ThreadPool pool(1);
    pool.Submit(job);
  }
  EXPECT_EQ(job.runs, 1);
  EXPECT_EQ(job.abandons, 0);
}

TEST(ThreadPoolTest, WaitingJobCanBeTakenBack) {
  CountedJob job;
  Gate gate;
  {
    ThreadPool pool(1);
    pool.Submit([&] { gate.Pass(); });
    gate.AwaitArrivals(1);
    pool.Submit(job);
    EXPECT_TRUE(pool.TryRemove(job));
    EXPECT_FALSE(pool.TryRemove(job));
    gate.Open();
  }
  EXPECT_EQ(job.runs, 0);
  EXPECT_EQ(job.abandons, 0);
}

TEST(ThreadPoolTest, JobsAroundOneThatIsTakenBackStayInOrder) {
  Gate gate;
  std::vector<int> order;
  {
    ThreadPool pool(1);
    pool.Submit([&] { gate.Pass(); });
    gate.AwaitArrivals(1);
    CountedJob first, middle, last;
    pool.Submit(first);
    pool.Submit([&] { order.push_back(1); });
    pool.Submit(middle);
    pool.Submit([&] { order.push_back(2); });
    pool.Submit(last);
    EXPECT_TRUE(pool.TryRemove(middle));
    EXPECT_TRUE(pool.TryRemove(first));
    EXPECT_TRUE(pool.TryRemove(last));
    gate.Open();
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(ThreadPoolTest, RunningJobCannotBeTakenBack) {
  class Blocking final : public ThreadPool::Job {
   public:
    void Run() noexcept override { gate.Pass(); }
    void Abandon() noexcept override {}
    Gate gate;
  };
  Blocking job;
  ThreadPool pool(1);
  pool.Submit(job);
  job.gate.AwaitArrivals(1);
  EXPECT_FALSE(pool.TryRemove(job));
  job.gate.Open();
  pool.Shutdown();
}

TEST(ThreadPoolTest, KnowsItsOwnThreads) {
  ThreadPool pool(1);
  ThreadPool other(1);
  EXPECT_FALSE(pool.RunsInThisPool());
  std::promise<std::pair<bool, bool>> promise;
  pool.Submit([&] {
    promise.set_value({pool.RunsInThisPool(), other.RunsInThisPool()});
  });
  EXPECT_EQ(promise.get_future().get(), std::make_pair(true, false));
}

TEST(ThreadPoolTest, ThreadsHaveNames) {
  ThreadPool pool(1, "blocking-io");
  std::promise<std::string> promise;
  pool.Submit([&] {
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof(name));
    promise.set_value(name);
  });
  EXPECT_EQ(promise.get_future().get(), "blocking-io-0");
}

TEST(ThreadPoolTest, ThreadsDoNotTakeTheSignalsOfTheProgram) {
  ThreadPool pool(1);
  std::promise<bool> promise;
  pool.Submit([&] {
    sigset_t blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    promise.set_value(sigismember(&blocked, SIGTERM) == 1 &&
                      sigismember(&blocked, SIGSEGV) == 0);
  });
  EXPECT_TRUE(promise.get_future().get());
  sigset_t mine;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGTERM), 0);
}

TEST(ThreadPoolTest, ExceptionOfACallableIsReportedAndThePoolGoesOn) {
  CapturedDiagnostics diagnostics;
  std::atomic<bool> ran{false};
  {
    ThreadPool pool(1);
    pool.Submit([] { throw std::runtime_error("bad job"); });
    pool.Submit([&] { ran = true; });
  }
  EXPECT_TRUE(ran);
  EXPECT_NE(diagnostics.Text().find("std::runtime_error: bad job"),
            std::string::npos)
      << diagnostics.Text();
}

TEST(ThreadPoolTest, ShutdownRunsWhatWasSubmitted) {
  std::atomic<int> runs{0};
  ThreadPool pool(2);
  for (int i = 0; i < 50; ++i) pool.Submit([&] { ++runs; });
  EXPECT_TRUE(pool.Shutdown());
  EXPECT_EQ(runs, 50);
  EXPECT_EQ(pool.Threads(), 0);
}

TEST(ThreadPoolTest, ShutdownTwiceIsFine) {
  ThreadPool pool(2);
  pool.Submit([] {});
  EXPECT_TRUE(pool.Shutdown());
  EXPECT_TRUE(pool.Shutdown());
}

TEST(ThreadPoolTest, NoJobsAfterShutdown) {
  auto token = std::make_shared<int>(1);
  ThreadPool pool(1);
  pool.Shutdown();
  try {
    pool.Submit([token] {});
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "ThreadPool: no new jobs after Shutdown()");
  }
  EXPECT_EQ(token.use_count(), 1);
  CountedJob job;
  EXPECT_THROW(pool.Submit(job), std::runtime_error);
  EXPECT_EQ(job.abandons, 0);
}

TEST(ThreadPoolTest, ShutdownGivesUpAfterItsTimeout) {
  Gate gate;
  ThreadPool pool(1);
  pool.Submit([&] { gate.Pass(); });
  gate.AwaitArrivals(1);
  EXPECT_FALSE(pool.Shutdown(absl::ZeroDuration()));
  gate.Open();
  EXPECT_TRUE(pool.Shutdown());
}

TEST(ThreadPoolTest, ShutdownNowAbandonsWhatHasNotStarted) {
  Gate gate;
  CountedJob job;
  auto token = std::make_shared<int>(1);
  ThreadPool pool(1);
  pool.Submit([&] { gate.Pass(); });
  gate.AwaitArrivals(1);
  pool.Submit(job);
  pool.Submit([token] {});
  pool.ShutdownNow();
  EXPECT_EQ(job.abandons, 1);
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(pool.Waiting(), 0);
  gate.Open();
  EXPECT_TRUE(pool.Shutdown());
  EXPECT_EQ(job.runs, 0);
}

// ---- threads that cannot be started
// -------------------------------------------

std::atomic<int> g_threads_left{0};

int LimitedThreads(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*body)(void*), void* argument) {
  if (g_threads_left-- <= 0) return EAGAIN;
  return ::pthread_create(thread, attributes, body, argument);
}

TEST(ThreadPoolTest, RunsWithFewerThreadsWhenTheSystemRefusesMore) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.thread_create = LimitedThreads;
  internal::ScopedSyscalls scope(&table);
  g_threads_left = 1;
  std::atomic<int> runs{0};
  ThreadPool pool(4);
  for (int i = 0; i < 20; ++i) pool.Submit([&] { ++runs; });
  EXPECT_EQ(pool.Threads(), 1);
  pool.Shutdown();
  EXPECT_EQ(runs, 20);
}

TEST(ThreadPoolTest, SaysSoWhenThereIsNoThreadAtAll) {
  internal::SyscallTable table = internal::kRealSyscalls;
  table.thread_create = LimitedThreads;
  internal::ScopedSyscalls scope(&table);
  g_threads_left = 0;
  auto token = std::make_shared<int>(1);
  ThreadPool pool(4);
  try {
    pool.Submit([token] {});
    FAIL();
  } catch (const OsError& e) {
    EXPECT_EQ(e.Errno(), EAGAIN);
    EXPECT_NE(std::string(e.what()).find("thread of ThreadPool"),
              std::string::npos);
  }
  EXPECT_EQ(token.use_count(), 1);
  g_threads_left = 1;
  std::promise<void> ran;
  pool.Submit([&] { ran.set_value(); });
  ran.get_future().get();
}

TEST(ThreadPoolTest, ManyThreadsMaySubmitAtOnce) {
  std::atomic<int> runs{0};
  {
    ThreadPool pool(3);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) pool.Submit([&] { ++runs; });
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(runs, 2000);
}

// ---- the default executor of a loop
// -------------------------------------------

TEST(DefaultExecutorTest, IsMadeAtFirstUseAndKept) {
  EventLoop loop;
  ThreadPool& pool = loop.DefaultExecutor();
  EXPECT_EQ(&pool, &loop.DefaultExecutor());
  EXPECT_GE(pool.MaxThreads(), 5);
  EXPECT_LE(pool.MaxThreads(), 32);
}

TEST(DefaultExecutorTest, MayBeReplacedByABorrowedPool) {
  ThreadPool mine(1);
  EventLoop loop;
  loop.SetDefaultExecutor(&mine);
  EXPECT_EQ(&loop.DefaultExecutor(), &mine);
  EXPECT_THROW(loop.SetDefaultExecutor(nullptr), std::invalid_argument);
}

TEST(DefaultExecutorTest, ShutdownWaitsForTheJobsAndRefusesLaterUse) {
  EventLoop loop;
  std::atomic<bool> ran{false};
  loop.DefaultExecutor().Submit([&] { ran = true; });
  EXPECT_TRUE(loop.ShutdownDefaultExecutor());
  EXPECT_TRUE(ran);
  EXPECT_THROW(loop.DefaultExecutor(), std::runtime_error);
  EXPECT_TRUE(loop.ShutdownDefaultExecutor());
}

TEST(DefaultExecutorTest, LoopRunsWhileItIsWaitedFor) {
  EventLoop loop;
  std::promise<void> answered;
  loop.DefaultExecutor().Submit([&] {
    loop.CallSoonThreadSafe([&] { answered.set_value(); });
    answered.get_future().get();
  });
  EXPECT_TRUE(loop.ShutdownDefaultExecutor());
  EXPECT_FALSE(loop.IsRunning());
}

TEST(DefaultExecutorTest, LoopThatIsStoppedMeanwhileIsWaitedForAllTheSame) {
  EventLoop loop;
  std::atomic<bool> ran{false};
  Gate gate;
  loop.DefaultExecutor().Submit([&] {
    gate.Pass();
    ran = true;
  });
  loop.CallSoon([&] { loop.Stop(); });
  loop.CallLater(absl::Milliseconds(1), [&] { gate.Open(); });
  EXPECT_TRUE(loop.ShutdownDefaultExecutor());
  EXPECT_TRUE(ran);
}

TEST(DefaultExecutorTest, VirtualTimeStandsStillWhileJobsEnd) {
  coil_testing::SimulatedLoop loop;
  Gate gate;
  bool fired = false;
  loop->CallLater(absl::Hours(1), [&] { fired = true; });
  loop->DefaultExecutor().Submit([&] { gate.Pass(); });
  loop->CallSoon([&] { gate.Open(); });
  EXPECT_TRUE(loop->ShutdownDefaultExecutor());
  EXPECT_FALSE(fired);
}

TEST(DefaultExecutorTest, ErrorThatLeavesTheLoopMeanwhileLeavesNothingBehind) {
  struct Leaves : internal::LeavesLoop {};
  EventLoop loop;
  Gate gate;
  loop.DefaultExecutor().Submit([&] { gate.Pass(); });
  loop.CallSoon([&] {
    gate.Open();
    throw Leaves();
  });
  EXPECT_THROW(loop.ShutdownDefaultExecutor(), Leaves);
  bool ran = false;
  loop.CallLater(absl::Milliseconds(1), [&] {
    ran = true;
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_TRUE(ran);
}

TEST(DefaultExecutorTest, ARunningLoopIsBlockedByTheShutdown) {
  EventLoop loop;
  std::atomic<bool> ran{false};
  bool all_ended = false;
  loop.CallSoon([&] {
    loop.DefaultExecutor().Submit([&] { ran = true; });
    all_ended = loop.ShutdownDefaultExecutor();
    loop.Stop();
  });
  loop.RunForever();
  EXPECT_TRUE(all_ended);
  EXPECT_TRUE(ran);
}

TEST(DefaultExecutorTest, ShutdownReportsJobsThatDoNotEnd) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  Gate gate;
  ThreadPool mine(1);
  loop.SetDefaultExecutor(&mine);
  mine.Submit([&] { gate.Pass(); });
  gate.AwaitArrivals(1);
  EXPECT_FALSE(loop.ShutdownDefaultExecutor(absl::ZeroDuration()));
  EXPECT_NE(diagnostics.Text().find("default executor did not end"),
            std::string::npos);
  gate.Open();
}

TEST(DefaultExecutorTest, CloseDoesNotRunWhatHasNotStarted) {
  auto token = std::make_shared<int>(1);
  Gate gate;
  EventLoop loop;
  ThreadPool& pool = loop.DefaultExecutor();
  for (int i = 0; i < pool.MaxThreads(); ++i) {
    pool.Submit([&] { gate.Pass(); });
  }
  gate.AwaitArrivals(pool.MaxThreads());
  pool.Submit([token] { ADD_FAILURE(); });
  loop.Close();
  EXPECT_EQ(token.use_count(), 1);
  gate.Open();
  pool.Shutdown();  // the jobs refer to the gate
}

TEST(DefaultExecutorTest, EndOfTheLoopDoesNotWaitForARunningJob) {
  auto gate = std::make_shared<Gate>();
  std::promise<void> ended;
  {
    EventLoop loop;
    loop.DefaultExecutor().Submit([gate, &ended] {
      gate->Pass();
      ended.set_value();
    });
    gate->AwaitArrivals(1);
  }
  gate->Open();
  ended.get_future().get();
}

TEST(DefaultExecutorTest, JobThatPostsToAClosedLoopIsTold) {
  Gate gate;
  std::promise<bool> refused;
  auto loop = std::make_unique<EventLoop>();
  loop->DefaultExecutor().Submit([&, raw = loop.get()] {
    gate.Pass();
    try {
      raw->CallSoonThreadSafe([] {});
      refused.set_value(false);
    } catch (const std::runtime_error&) {
      refused.set_value(true);
    }
  });
  gate.AwaitArrivals(1);
  loop->Close();
  gate.Open();
  EXPECT_TRUE(refused.get_future().get());
}

}  // namespace
}  // namespace coil
