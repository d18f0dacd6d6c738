// The memory of posts goes round: the loop's thread frees it, the posting
// threads use it again. Every operator new of this program is counted.

#include "coil/loop/internal/post_memory.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <set>
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
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t align) {
  g_news.fetch_add(1, std::memory_order_relaxed);
  void* p = nullptr;
  if (posix_memalign(&p, static_cast<size_t>(align), size) == 0) return p;
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
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
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
constexpr int kSlab = static_cast<int>(PostMemory::kBlocks);

TEST(PostMemoryTest, BlocksAreLinesOfTheirOwn) {
  std::set<uintptr_t> places;
  std::vector<Block*> blocks(2 * kSlab);
  for (Block*& block : blocks) {
    block = new Block();
    const auto place = reinterpret_cast<uintptr_t>(block);
    EXPECT_EQ(place % PostMemory::kBlockSize, 0u);
    EXPECT_NE(place % PostMemory::kSlabAlignment, 0u) << "the head of a slab";
    places.insert(place);
  }
  EXPECT_EQ(places.size(), blocks.size());
  for (Block* block : blocks) delete block;
}

TEST(PostMemoryTest, SlabsThatAreFreedAreUsedAgain) {
  for (int i = 0; i < 2 * kSlab; ++i) delete new Block();
  const long before = g_news;
  for (int i = 0; i < 20 * kSlab; ++i) delete new Block();
  EXPECT_EQ(g_news, before);
}

// Its slabs, once all their blocks are free, and after its end the rest.
TEST(PostMemoryTest, WhatOneThreadFreesAnotherAllocates) {
  constexpr int kCount = 4 * kSlab;
  std::vector<Block*> blocks(kCount);
  t_post_memory.Trim();
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

TEST(PostMemoryTest, BlockThatIsHeldKeepsItsSlabAndNoOther) {
  t_post_memory.Trim();
  const long before = g_news - g_deletes;
  Block* held = nullptr;
  {
    std::vector<Block*> blocks(3 * kSlab);
    for (Block*& block : blocks) block = new Block();
    held = blocks[kSlab + 1];
    for (Block* block : blocks) {
      if (block != held) delete block;
    }
  }
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before + 1);
  delete held;
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before);
}

// Two threads free the blocks of one slab by turns, and a third the last.
TEST(PostMemoryTest, SlabIsWholeWhoeverFreesTheLast) {
  t_post_memory.Trim();
  const long before = g_news - g_deletes;
  {
    std::vector<Block*> blocks(kSlab);
    for (Block*& block : blocks) block = new Block();
    auto FreeThird = [&blocks](int first) {
      for (int i = first; i < kSlab; i += 3) delete blocks[i];
    };
    std::thread([&] { FreeThird(0); }).join();
    std::thread([&] { FreeThird(1); }).join();
    EXPECT_EQ(g_news - g_deletes, before + 2);  // with `blocks`
    FreeThird(2);
  }
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before);
}

TEST(PostMemoryTest, WhatIsKeptIsBounded) {
  constexpr int kSlabs = 2 * PostMemory::kPlaces;
  t_post_memory.Trim();
  std::vector<Block*> blocks(static_cast<size_t>(kSlabs) * kSlab);
  const long before = g_news - g_deletes;
  for (Block*& block : blocks) block = new Block();
  EXPECT_EQ(g_news - g_deletes, before + kSlabs);
  for (Block* block : blocks) delete block;
  EXPECT_LE(g_news - g_deletes, before + PostMemory::kPlaces + 2);
}

TEST(PostMemoryTest, TrimGivesEverythingBack) {
  t_post_memory.Trim();
  const long before = g_news - g_deletes;
  std::vector<Block*> blocks(3 * kSlab - 5);
  for (Block*& block : blocks) block = new Block();
  for (Block* block : blocks) delete block;
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before + 1);  // `blocks`
}

// What two threads have posted comes to the loop's by turns.
TEST(PostMemoryTest, BlocksOfTwoOrThreeSlabsByTurnsAreAllCounted) {
  for (const int slabs : {2, 3}) {
    t_post_memory.Trim();
    const long before = g_news - g_deletes;
    {
      std::vector<Block*> blocks(slabs * kSlab);
      for (Block*& block : blocks) block = new Block();
      for (int i = 0; i < kSlab; ++i) {
        for (int slab = 0; slab < slabs; ++slab) {
          delete blocks[slab * kSlab + i];
        }
      }
    }
    t_post_memory.Trim();
    EXPECT_EQ(g_news - g_deletes, before) << slabs;
  }
}

TEST(PostMemoryTest, BlockMayBeFreedWhileItsThreadEnds) {
  struct Late {
    ~Late() {
      delete block;
      delete new Block();
    }
    Block* block = nullptr;
  };
  t_post_memory.Trim();
  const long before = g_news - g_deletes;
  std::thread([] {
    // Its destructor is registered before that of the memory, so it runs later.
    thread_local Late late;
    late.block = new Block();
  }).join();
  t_post_memory.Trim();
  EXPECT_EQ(g_news - g_deletes, before);
}

TEST(PostMemoryTest, PostsInASteadyStreamAllocateNothing) {
  EventLoop loop;
  auto PostMany = [&loop] {
    for (int i = 0; i < kSlab; ++i) loop.CallSoonThreadSafe([] {});
    loop.CallSoonThreadSafe([&loop] { loop.Stop(); });
  };
  auto Rounds = [&](int count) {
    for (int i = 0; i < count; ++i) {
      PostMany();
      loop.RunForever();
    }
  };
  Rounds(4);
  const long before = g_news;
  Rounds(20);
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
