// What coroutines, tasks and futures cost in memory: every operator new of this
// program is counted, with its size. Frames and tasks come from a pool, which
// gets its blocks from operator new; it is emptied before each measurement.
//
// That locking, queueing and sleeping allocate nothing is shown in
// tests/sync/allocation_test.cc and tests/timers/allocation_test.cc.

#include <cstddef>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/simulation.h"
#include "coil/sync/event.h"
#include "coil/sync/lock.h"
#include "coil/sync/queue.h"
#include "coil/task/co.h"
#include "coil/task/future.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/invoke.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/loop/counting_allocations.h"

namespace coil {
namespace {

using coil_testing::AllocatedBytes;
using coil_testing::AllocationCount;

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

long g_count_before = 0;
size_t g_bytes_before = 0;

// From here on allocations count.
void CountFromHere() {
  g_count_before = AllocationCount();
  g_bytes_before = AllocatedBytes();
}
// The same, and nothing comes from the pool.
void StartCounting() {
  internal::t_frame_pool.Trim();
  CountFromHere();
}
long News() { return AllocationCount() - g_count_before; }
[[maybe_unused]] size_t NewBytes() { return AllocatedBytes() - g_bytes_before; }

Co<int> Value() {
  co_await Yield();
  co_return 1;
}
Co<int> Caller() { co_return co_await Value(); }
Co<void> Waits(Event& event) { co_await event.Wait(); }

TEST(FootprintTest, AnAwaitedCoroutineIsOneFrame) {
  auto main = []() -> Co<void> {
    StartCounting();
    static_cast<void>(co_await Value());
    EXPECT_EQ(News(), 1);
    StartCounting();
    static_cast<void>(co_await Caller());
    EXPECT_EQ(News(), 2);
  };
  coil::Run(main, kVirtual);
}

TEST(FootprintTest, AnInvokedCallableIsOneFrameMore) {
  auto main = []() -> Co<void> {
    StartCounting();
    static_cast<void>(co_await Invoke(Value));
    EXPECT_EQ(News(), 2);
  };
  coil::Run(main, kVirtual);
}

// A task is its frame and its shared state; a callable lies in the latter.
TEST(FootprintTest, ASpawnedTaskIsTwoAllocations) {
  auto main = []() -> Co<void> {
    Event event;
    StartCounting();
    Task<int> from_co = CreateTask(Value());
    EXPECT_EQ(News(), 2);
    StartCounting();
    Task<int> from_function = CreateTask(Value);
    EXPECT_EQ(News(), 2);
    auto closure = [&event]() -> Co<void> { co_await event.Wait(); };
    StartCounting();
    Task<void> from_closure = CreateTask(closure);
    EXPECT_EQ(News(), 2);
    StartCounting();
    Task<void> from_leaf = CreateTask(Sleep(absl::Seconds(1)));
    EXPECT_EQ(News(), 2);

    StartCounting();
    event.Set();
    static_cast<void>(co_await from_co);
    static_cast<void>(co_await from_function);
    co_await from_closure;
    co_await from_leaf;
    EXPECT_EQ(News(), 0) << "running, awaiting and ending cost nothing";
  };
  coil::Run(main, kVirtual);
}

TEST(FootprintTest, ANameThatIsShortIsOneAllocationMore) {
  auto main = []() -> Co<void> {
    StartCounting();
    Task<int> task = CreateTask(Value(), {.name = "short"});
    EXPECT_EQ(News(), 3);
    static_cast<void>(co_await task);
  };
  coil::Run(main, kVirtual);
}

TEST(FootprintTest, AFutureIsOneAllocationAndWaitingForItIsNone) {
  auto main = []() -> Co<void> {
    StartCounting();
    Future<int> future;
    EXPECT_EQ(News(), 1);
    auto body = [future]() -> Co<int> { co_return co_await future; };
    Task<int> waiter = CreateTask(body);
    StartCounting();
    co_await Yield();  // the task waits
    future.SetResult(1);
    EXPECT_EQ(co_await waiter, 1);
    EXPECT_EQ(News(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(FootprintTest, CancellingATaskThatWaitsAllocatesNothing) {
  auto main = []() -> Co<void> {
    Event event;
    for (int i = 0; i < 2; ++i) {  // the first cancel of a process does
      Task<void> task = CreateTask(Waits(event));
      co_await Yield();
      StartCounting();
      task.Cancel();
      co_await Yield();
      EXPECT_TRUE(task.Cancelled());
    }
    EXPECT_EQ(News(), 0) << "exceptions have an allocator of their own";
  };
  coil::Run(main, kVirtual);
}

#if COIL_FRAME_POOL
TEST(FootprintTest, WhatHasEndedIsUsedAgain) {
  auto main = []() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      if (i == 1) CountFromHere();  // what the pool serves does not count
      static_cast<void>(co_await Caller());
      Task<int> task = CreateTask(Value());
      static_cast<void>(co_await task);
      Future<int> future;
      future.SetResult(i);
    }
    EXPECT_EQ(News(), 0);
  };
  coil::Run(main, kVirtual);
}
#endif

TEST(FootprintTest, SizesOfTheSharedStates) {
  EXPECT_LE(sizeof(internal::CoTask<void>), 88u);
  EXPECT_LE(sizeof(internal::CoTask<int>), 104u);
  EXPECT_LE(sizeof(internal::FutureState<int>), 96u);
  EXPECT_EQ(sizeof(Task<int>), sizeof(void*));
  EXPECT_EQ(sizeof(Future<int>), sizeof(void*));
  EXPECT_EQ(sizeof(Co<int>), sizeof(void*));
}

TEST(FootprintTest, SizesOfThePromises) {
  EXPECT_LE(sizeof(internal::Promise<void>), 32u);
  EXPECT_LE(sizeof(internal::Promise<int>), 40u);
  EXPECT_LE(sizeof(internal::Promise<std::string>), 64u);
}

// ---- the sizes of frames

// clang lays a frame out after it has optimised; g++ does so before, at every
// level. Sanitizers add what they need.
#if defined(__clang__)
#if defined(__OPTIMIZE__) && !__has_feature(address_sanitizer) && \
    !__has_feature(thread_sanitizer) && !__has_feature(memory_sanitizer)
#define COIL_FRAME_LIMIT(clang, gcc) (clang)
#endif
#elif !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COIL_FRAME_LIMIT(clang, gcc) (gcc)
#endif

#ifdef COIL_FRAME_LIMIT
Co<void> Sleeps() { co_await Sleep(absl::Seconds(1)); }
Co<void> Locks(Lock& lock) { Lock::Guard guard = co_await lock.Acquire(); }
Co<int> Gets(Queue<int>& queue) { co_return co_await queue.Get(); }
Co<int> Awaits(Task<int>& task) { co_return co_await task; }

// The bytes of the block that holds a frame. The compiler must not see that it
// is not needed.
template <class T>
size_t FrameBytes(Co<T> co) {
  asm volatile("" : : "r"(&co) : "memory");
  co.Dispose();
  return NewBytes();
}
#define FRAME_BYTES(call) (StartCounting(), FrameBytes(call))

TEST(FootprintTest, SizesOfTheFrames) {
  auto main = []() -> Co<void> {
    Event event;
    Lock lock;
    Queue<int> queue;
    Task<int> task = CreateTask(Value());
    EXPECT_LE(FRAME_BYTES(Value()), COIL_FRAME_LIMIT(104u, 152u));
    EXPECT_LE(FRAME_BYTES(Caller()), COIL_FRAME_LIMIT(88u, 136u));
    EXPECT_LE(FRAME_BYTES(Waits(event)), COIL_FRAME_LIMIT(120u, 200u));
    EXPECT_LE(FRAME_BYTES(Sleeps()), COIL_FRAME_LIMIT(152u, 280u));
    EXPECT_LE(FRAME_BYTES(Locks(lock)), COIL_FRAME_LIMIT(136u, 216u));
    EXPECT_LE(FRAME_BYTES(Gets(queue)), COIL_FRAME_LIMIT(136u, 216u));
    EXPECT_LE(FRAME_BYTES(Awaits(task)), COIL_FRAME_LIMIT(136u, 168u));
    static_cast<void>(co_await task);
  };
  coil::Run(main, kVirtual);
}

// W10a of the benchmarks: a task that waits for an event.
TEST(FootprintTest, SizeOfATaskThatWaits) {
  auto main = []() -> Co<void> {
    Event event;
    StartCounting();
    Task<void> task = CreateTask(Waits(event));
    EXPECT_LE(NewBytes(), COIL_FRAME_LIMIT(240u, 320u));
    event.Set();
    co_await task;
  };
  coil::Run(main, kVirtual);
}
#endif

}  // namespace
}  // namespace coil
