#include "coil/net/internal/read_buffer.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "coil/net/internal/block_pool.h"
#include "gtest/gtest.h"

namespace coil::net::internal {
namespace {

void Put(ReadBuffer& buffer, std::string_view text) {
  while (!text.empty()) {
    absl::Span<char> room = buffer.Reserve(text.size());
    ASSERT_FALSE(room.empty());
    const size_t n = text.copy(room.data(), room.size());
    buffer.Commit(n);
    text.remove_prefix(n);
  }
}

TEST(ReadBufferTest, HoldsNoBlockWhileEmpty) {
  ReadBuffer buffer;
  EXPECT_EQ(buffer.capacity(), 0u);
  Put(buffer, "hello");
  EXPECT_EQ(buffer.capacity(), kSmallestBlock);
  buffer.Consume(4);
  EXPECT_EQ(buffer.capacity(), kSmallestBlock);
  buffer.Consume(1);
  EXPECT_EQ(buffer.capacity(), 0u);
  // Reserved, and nothing came.
  EXPECT_FALSE(buffer.Reserve(1).empty());
  buffer.Settle();
  EXPECT_EQ(buffer.capacity(), 0u);
}

TEST(ReadBufferTest, ShowsBytesInOrder) {
  ReadBuffer buffer;
  Put(buffer, "hello ");
  Put(buffer, "world");
  EXPECT_EQ(buffer.View(), "hello world");
  buffer.Consume(6);
  EXPECT_EQ(buffer.View(), "world");
  EXPECT_EQ(buffer.size(), 5u);
}

TEST(ReadBufferTest, GrowsAndKeepsTheBytes) {
  ReadBuffer buffer;
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(700, static_cast<char>('a' + i % 26));
    Put(buffer, piece);
    all += piece;
  }
  EXPECT_EQ(buffer.View(), all);
}

TEST(ReadBufferTest, MovesToTheFrontInsteadOfGrowing) {
  ReadBuffer buffer;
  for (int i = 0; i < 1000; ++i) {
    Put(buffer, std::string(1000, 'x'));
    buffer.Consume(buffer.size() - 10);
  }
  EXPECT_LE(buffer.capacity(), size_t{16} << 10);
}

TEST(ReadBufferTest, TakesBytesBackBeforeTheOthers) {
  ReadBuffer buffer;
  Put(buffer, "world");
  EXPECT_TRUE(buffer.Prepend("hello "));
  EXPECT_EQ(buffer.View(), "hello world");
  buffer.Consume(6);
  EXPECT_TRUE(buffer.Prepend("HELLO "));  // where they were
  EXPECT_EQ(buffer.View(), "HELLO world");
  EXPECT_TRUE(buffer.Prepend(std::string(100000, 'x')));
  EXPECT_EQ(buffer.View(), std::string(100000, 'x') + "HELLO world");
}

TEST(ReadBufferTest, TakesBytesBackWhenEmpty) {
  ReadBuffer buffer;
  EXPECT_TRUE(buffer.Prepend(""));
  EXPECT_EQ(buffer.capacity(), 0u);
  EXPECT_TRUE(buffer.Prepend("abc"));
  EXPECT_EQ(buffer.View(), "abc");
  buffer.Consume(3);
  EXPECT_TRUE(buffer.Prepend("de"));
  EXPECT_EQ(buffer.View(), "de");
}

TEST(ReadBufferTest, AFewBytesDoNotHoldALargeBlock) {
  ReadBuffer buffer;
  Put(buffer, std::string(100000, 'x'));
  buffer.Consume(99990);
  EXPECT_GT(buffer.capacity(), size_t{65536});
  buffer.Settle();
  EXPECT_EQ(buffer.capacity(), kSmallestBlock);
  EXPECT_EQ(buffer.View(), std::string(10, 'x'));
}

TEST(ReadBufferTest, AgreesWithAStringInRandomUse) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    ReadBuffer buffer;
    std::string model;
    for (int i = 0; i < 500; ++i) {
      const std::string piece(random() % 3000,
                              static_cast<char>('a' + random() % 26));
      switch (random() % 4) {
        case 0:
        case 1:
          Put(buffer, piece);
          model += piece;
          break;
        case 2: {
          const size_t n = std::min<size_t>(model.size(), random() % 5000);
          buffer.Consume(n);
          model.erase(0, n);
          break;
        }
        default:
          if (random() % 2) {
            ASSERT_TRUE(buffer.Prepend(piece));
            model.insert(0, piece);
          } else {
            buffer.Settle();
          }
      }
      ASSERT_EQ(buffer.View(), model);
    }
  }
}

TEST(BlockPoolTest, GivesSizesOfItsClasses) {
  for (size_t size : {size_t{1}, size_t{4096}, size_t{4097}, size_t{65536},
                      size_t{262144}, size_t{262145}, size_t{1} << 24}) {
    size_t capacity = 0;
    char* block = AllocateBlock(size, &capacity);
    ASSERT_NE(block, nullptr);
    EXPECT_GE(capacity, size);
    EXPECT_LE(capacity, std::max(kSmallestBlock, 4 * size));
    std::memset(block, 1, capacity);
    FreeBlock(block, capacity);
  }
}

TEST(BlockPoolTest, KeepsABoundedAmount) {
  std::vector<char*> blocks(1000);
  size_t capacity = 0;
  for (char*& block : blocks) block = AllocateBlock(kSmallestBlock, &capacity);
  for (char* block : blocks) FreeBlock(block, capacity);
  EXPECT_LE(KeptBlockBytes(), size_t{6} << 20);
}

}  // namespace
}  // namespace coil::net::internal
