// Where the blocks of frames and tasks come from, and when they go back. Slabs
// are known by their size, and counted.

#include "coil/task/internal/frame_allocator.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace {
std::atomic<long> g_slabs{0};
}  // namespace

// The size is kept before each block, in 16 bytes for the alignment.
[[gnu::noinline]] void* operator new(size_t size) {
  auto* const p = static_cast<size_t*>(std::malloc(size + 16));
  if (p == nullptr) throw std::bad_alloc();
  *p = size;
  if (size == coil::internal::FramePool::kSlabBytes) ++g_slabs;
  return p + 2;
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  if (block == nullptr) return;
  size_t* const p = static_cast<size_t*>(block) - 2;
  if (*p == coil::internal::FramePool::kSlabBytes) --g_slabs;
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* block, size_t) noexcept {
  operator delete(block);
}

namespace coil::internal {
namespace {

// Sizes that nothing else in this program uses, one for each test, as the lists
// of this thread live on.
std::vector<void*> Allocate(int count, size_t size) {
  std::vector<void*> blocks;
  for (int i = 0; i < count; ++i) {
    blocks.push_back(AllocateBlock(size));
    std::memset(blocks.back(), i, size);
  }
  return blocks;
}
void Free(const std::vector<void*>& blocks, size_t size) {
  for (void* block : blocks) FreeBlock(block, size);
}

TEST(FrameAllocatorTest, BlocksDoNotOverlapAndAreAligned) {
  for (const size_t size : {size_t{1000}, size_t{1008}, size_t{3000}}) {
    std::set<uintptr_t> places;
    const std::vector<void*> blocks = Allocate(500, size);
    for (void* block : blocks) {
      places.insert(reinterpret_cast<uintptr_t>(block));
    }
    uintptr_t end = 0;
    for (const uintptr_t place : places) {
      EXPECT_GE(place, end);
      EXPECT_EQ(place % (size % 16 == 0 ? 16 : 8), 0u);
      end = place + size;
    }
    Free(blocks, size);
  }
}

TEST(FrameAllocatorTest, FramesAreAlignedWhateverTheirSize) {
  constexpr size_t kSize = 1101;
  std::vector<void*> frames;
  for (int i = 0; i < 200; ++i) frames.push_back(AllocateFrame(kSize));
  for (void* frame : frames) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(frame) % 16, 0u);
  }
  for (void* frame : frames) FreeFrame(frame, kSize);
}

TEST(FrameAllocatorTest, CountsWhatIsInUse) {
  const ptrdiff_t before = LiveFrames();
  const std::vector<void*> blocks = Allocate(300, 1200);
  EXPECT_EQ(LiveFrames(), before + 300);
  Free(blocks, 1200);
  EXPECT_EQ(LiveFrames(), before);
}

#if COIL_FRAME_POOL
TEST(FrameAllocatorTest, BlockThatIsFreedIsTheNext) {
  void* const block = AllocateBlock(1300);
  FreeBlock(block, 1300);
  void* const again = AllocateBlock(1300);
  EXPECT_EQ(again, block);
  FreeBlock(again, 1300);
}

TEST(FrameAllocatorTest, FewBlocksTakeNoSlab) {
  const long slabs = g_slabs;
  const std::vector<void*> blocks =
      Allocate(static_cast<int>(FramePool::kSingles), 1400);
  EXPECT_EQ(g_slabs, slabs);
  Free(blocks, 1400);
}

TEST(FrameAllocatorTest, TrimGivesBackSlabsWhoseBlocksAreAllFree) {
  constexpr size_t kSize = 1504;
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  std::vector<void*> blocks = Allocate(1000, kSize);
  const long many = g_slabs - slabs;
  EXPECT_GT(many, 20);
  // One block keeps its slab, and the blocks of that are of use.
  void* const last = blocks.back();
  blocks.pop_back();
  Free(blocks, kSize);
  t_frame_pool.Trim();
  EXPECT_EQ(g_slabs, slabs + 1);
  const std::vector<void*> more = Allocate(10, kSize);
  EXPECT_EQ(g_slabs, slabs + 1);
  Free(more, kSize);
  FreeBlock(last, kSize);
}

TEST(FrameAllocatorTest, WhatIsKeptIsBounded) {
  constexpr size_t kSize = 1600;
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  const int count = static_cast<int>(3 * FramePool::kBytesPerClass / kSize);
  Free(Allocate(count, kSize), kSize);
  EXPECT_LE((g_slabs - slabs) * 65536,
            static_cast<long>(FramePool::kBytesPerClass) + 2 * 65536);
  t_frame_pool.Trim();
  EXPECT_LE(g_slabs, slabs + 1);
}

// Some blocks in no order.
std::vector<void*> AllocateShuffled(int count, size_t size) {
  std::vector<void*> blocks = Allocate(count, size);
  std::shuffle(blocks.begin(), blocks.end(), std::minstd_rand(1));
  return blocks;
}
// As many as a thread keeps of a class that it has none in use of.
constexpr int Ordinary(size_t size) {
  return static_cast<int>(FramePool::kBytesPerClass / size);
}

// The frames of a million sleeps end in the order of their deadlines.
TEST(FrameAllocatorTest, PeakThatEndsOutOfOrderGoesBack) {
  constexpr size_t kSize = 1608;
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  std::vector<void*> blocks = AllocateShuffled(3 * Ordinary(kSize), kSize);
  // A task that lives on, as the main one does, must not hold the others back.
  void* const held = blocks.back();
  blocks.pop_back();
  Free(blocks, kSize);
  EXPECT_LE(g_slabs, slabs + FramePool::kFew);
  FreeBlock(held, kSize);
  Free(Allocate(100, kSize), kSize);
}

// As long as the peak is not over its blocks are of use to this thread.
TEST(FrameAllocatorTest, PeakThatGoesOnKeepsItsBlocks) {
  constexpr size_t kSize = 1616;
  const int count = 3 * Ordinary(kSize);
  std::vector<void*> blocks = AllocateShuffled(count, kSize);
  const std::vector<void*> held(blocks.begin() + 2 * count / 3, blocks.end());
  blocks.resize(2 * count / 3);
  const size_t kept = t_frame_pool.Kept();
  Free(blocks, kSize);
  // But for those that came one by one.
  EXPECT_GE(t_frame_pool.Kept() - kept,
            blocks.size() - 2 * FramePool::kSingles);
  Free(held, kSize);
}

TEST(FrameAllocatorTest, WhatIsKeptOfAPeakIsBounded) {
  constexpr size_t kSize = 1624;
  const int most = static_cast<int>(FramePool::kMostOfAPeak) * Ordinary(kSize);
  std::vector<void*> blocks = AllocateShuffled(most * 3 / 2, kSize);
  const std::vector<void*> held(blocks.end() - 1000, blocks.end());
  blocks.resize(blocks.size() - 1000);
  const size_t kept = t_frame_pool.Kept();
  Free(blocks, kSize);
  EXPECT_LE(t_frame_pool.Kept() - kept, static_cast<size_t>(most));
  Free(held, kSize);
  t_frame_pool.Trim();
}

// What was learnt from a peak is forgotten with what it has left.
TEST(FrameAllocatorTest, TrimAlsoTakesBackWhatMayBeKept) {
  constexpr size_t kSize = 1632;
  std::vector<void*> blocks = AllocateShuffled(3 * Ordinary(kSize), kSize);
  const std::vector<void*> held(blocks.end() - 1000, blocks.end());
  blocks.resize(blocks.size() - 1000);
  Free(blocks, kSize);
  Free(held, kSize);
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  Free(Allocate(3 * Ordinary(kSize), kSize), kSize);
  EXPECT_LE((g_slabs - slabs) * 65536,
            static_cast<long>(FramePool::kBytesPerClass) + 2 * 65536);
}

TEST(FrameAllocatorTest, BlocksThatAnotherThreadFreesGoBackWithIt) {
  constexpr size_t kSize = 1704;
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  const std::vector<void*> blocks = Allocate(1000, kSize);
  EXPECT_GT(g_slabs, slabs);
  std::thread([&] { Free(blocks, kSize); }).join();
  // The one that is being cut stays.
  EXPECT_LE(g_slabs, slabs + 1);
}

// One thread makes what two others free, by turns, so that no slab is whole in
// any list: the loops of several threads that are given work by one.
TEST(FrameAllocatorTest, BlocksThatTwoThreadsFreeAreUsedAgain) {
  constexpr size_t kSize = 2000;
  constexpr int kRounds = 60;
  constexpr int kBatch = 2000;  // 240 MB in all
  t_frame_pool.Trim();
  const long slabs = g_slabs;
  std::vector<void*> halves[2];
  std::barrier turn(3);
  std::vector<std::thread> threads;
  for (std::vector<void*>& half : halves) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        turn.arrive_and_wait();
        Free(half, kSize);
        half.clear();
        turn.arrive_and_wait();
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kBatch; ++i) {
      halves[i % 2].push_back(AllocateBlock(kSize));
    }
    turn.arrive_and_wait();
    turn.arrive_and_wait();
  }
  EXPECT_LE((g_slabs - slabs) * 65536,
            4 * static_cast<long>(FramePool::kBytesPerClass));
  for (std::thread& thread : threads) thread.join();
}

TEST(FrameAllocatorTest, WhatAThreadLeavesBehindIsUsedByAnother) {
  constexpr size_t kSize = 1800;
  const long slabs = g_slabs;
  void* kept = nullptr;
  std::thread([&] {
    std::vector<void*> blocks = Allocate(70, kSize);
    kept = blocks.back();  // one of a slab
    blocks.pop_back();
    Free(blocks, kSize);
  }).join();
  EXPECT_EQ(g_slabs, slabs + 1);
  std::thread([&] {
    const std::vector<void*> blocks = Allocate(70, kSize);
    EXPECT_EQ(g_slabs, slabs + 1);
    Free(blocks, kSize);
    FreeBlock(kept, kSize);
  }).join();
  EXPECT_EQ(g_slabs, slabs);
}

TEST(FrameAllocatorTest, BlockMayBeFreedWhileItsThreadEnds) {
  constexpr size_t kSize = 1904;
  struct Late {
    ~Late() {
      Free(blocks, kSize);
      FreeBlock(AllocateBlock(kSize), kSize);
    }
    std::vector<void*> blocks;
  };
  std::thread([] {
    // Its destructor is registered before that of the pool, so it runs later.
    thread_local Late late;
    late.blocks = Allocate(100, kSize);
  }).join();
}
#endif

// Under ThreadSanitizer: nobody touches a block that is somebody else's.
TEST(FrameAllocatorTest, BlocksGoRoundAmongThreads) {
  constexpr size_t kSize = 264;
  constexpr int kBatch = 300;
  std::atomic<std::vector<void*>*> handed{nullptr};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&handed] {
      for (int round = 0; round < 100; ++round) {
        auto* batch = new std::vector<void*>(Allocate(kBatch, kSize));
        // Another thread's blocks, if there are some, instead of these.
        batch = handed.exchange(batch, std::memory_order_acq_rel);
        if (batch == nullptr) continue;
        for (int i = 0; i < kBatch; ++i) {
          const auto* bytes = static_cast<unsigned char*>((*batch)[i]);
          ASSERT_EQ(bytes[0], static_cast<unsigned char>(i));
          ASSERT_EQ(bytes[kSize - 1], static_cast<unsigned char>(i));
        }
        Free(*batch, kSize);
        delete batch;
#if COIL_FRAME_POOL
        if (round % 10 == 0) t_frame_pool.Trim();
#endif
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Free(*handed.load(), kSize);
  delete handed.load();
}

}  // namespace
}  // namespace coil::internal
