// The memory of posts goes round: the loop's thread frees it, the posting
// threads use it again. Every operator new of this program is counted.

#include "coil/loop/internal/post_memory.h"

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/pooling.h"
#include "gtest/gtest.h"

namespace {
std::atomic<long> g_news{0};
std::atomic<long> g_deletes{0};
}  // namespace

// Not inlined, or g++ would compare what it sees of both ends.
[[gnu::noinline]] void* operator new(size_t size) {
  g_news.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  g_deletes.fetch_add(1, std::memory_order_relaxed);
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
  g_deletes.fetch_add(1, std::memory_order_relaxed);
  std::free(p);
}

namespace coil::internal {
namespace {

// Blocks of this size, allocated and freed as posts are.
struct Block : PostAllocated<Block> {
  int owner = 0;
};

#if COIL_FRAME_POOL
TEST(PostMemoryTest, BlockThatIsFreedIsUsedAgain) {
  delete new Block();
  const long before = g_news;
  for (int i = 0; i < 1000; ++i) delete new Block();
  EXPECT_EQ(g_news, before);
}

// The whole of what one thread has freed but the chain at its hand, and after
// its end all of it.
TEST(PostMemoryTest, WhatOneThreadFreesAnotherAllocates) {
  constexpr int kBlocks = 4 * PostMemory::kChain;
  std::vector<Block*> blocks(kBlocks);
  for (Block*& block : blocks) block = new Block();
  std::thread([&] {
    for (Block* block : blocks) delete block;
  }).join();
  std::thread([&] {
    const long before = g_news;
    for (Block*& block : blocks) block = new Block();
    EXPECT_EQ(g_news, before);
    for (Block* block : blocks) delete block;
  }).join();
}

TEST(PostMemoryTest, WhatIsKeptIsBounded) {
  constexpr int kBlocks = 2 * PostMemory::kChain * PostMemory::kPlaces;
  std::vector<Block*> blocks(kBlocks);
  for (Block*& block : blocks) block = new Block();
  const long before = g_deletes;
  for (Block* block : blocks) delete block;
  EXPECT_GE(g_deletes - before,
            kBlocks - PostMemory::kChain * (PostMemory::kPlaces + 2));
}

TEST(PostMemoryTest, TrimGivesEverythingBack) {
  t_post_memory.Trim();
  const long before = g_news - g_deletes;
  std::vector<Block*> blocks(3 * PostMemory::kChain);
  for (Block*& block : blocks) block = new Block();
  for (Block* block : blocks) delete block;
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before + 1);  // `blocks`
}

TEST(PostMemoryTest, BlockMayBeFreedWhileItsThreadEnds) {
  struct Late {
    ~Late() {
      delete block;
      delete new Block();
    }
    Block* block = nullptr;
  };
  std::thread([] {
    // Its destructor is registered before that of the memory, so it runs later.
    thread_local Late late;
    late.block = new Block();
  }).join();
}

TEST(PostMemoryTest, PostsInASteadyStreamAllocateNothing) {
  EventLoop loop;
  auto PostMany = [&loop] {
    for (int i = 0; i < 100; ++i) loop.CallSoonThreadSafe([] {});
    loop.CallSoonThreadSafe([&loop] { loop.Stop(); });
  };
  std::thread(PostMany).join();
  loop.RunForever();
  const long before = g_news;
  PostMany();
  loop.RunForever();
  EXPECT_EQ(g_news, before);
}
#endif

// Under ThreadSanitizer: nobody writes into a block that is somebody else's.
TEST(PostMemoryTest, BlocksGoRoundAmongThreads) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  constexpr int kBatch = 300;
  std::atomic<Block**> handed{nullptr};
  std::vector<std::thread> threads;
  for (int t = 1; t <= kThreads; ++t) {
    threads.emplace_back([&handed, t] {
      for (int round = 0; round < kRounds; ++round) {
        auto** batch = new Block*[kBatch];
        for (int i = 0; i < kBatch; ++i) {
          batch[i] = new Block();
          batch[i]->owner = t;
        }
        // Another thread's blocks, if there are some, instead of these.
        batch = handed.exchange(batch, std::memory_order_acq_rel);
        if (batch == nullptr) continue;
        const int owner = batch[0]->owner;
        for (int i = 0; i < kBatch; ++i) {
          ASSERT_EQ(batch[i]->owner, owner);
          delete batch[i];
        }
        delete[] batch;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Block** last = handed.load();
  for (int i = 0; i < kBatch; ++i) delete last[i];
  delete[] last;
}

}  // namespace
}  // namespace coil::internal
