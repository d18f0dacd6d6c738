#include "coil/net/internal/write_queue.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace coil::net::internal {
namespace {

// What a task that waits in Write() is to the queue.
class Waiting final : public WriteQueue::Entry {
 public:
  explicit Waiting(std::string_view data) : pieces_{data} { Set(); }
  explicit Waiting(std::vector<std::string_view> pieces)
      : pieces_(std::move(pieces)) {
    Set();
  }
  std::optional<int> done;

 private:
  void Set() { SetPieces(pieces_); }
  void OnDone(int error) noexcept override { done = error; }
  std::vector<std::string_view> pieces_;
};

std::string Contents(const WriteQueue& queue) {
  std::array<iovec, 64> pieces;
  std::string text;
  const size_t n = queue.Gather(absl::MakeSpan(pieces));
  for (size_t i = 0; i < n; ++i) {
    text.append(static_cast<const char*>(pieces[i].iov_base),
                pieces[i].iov_len);
  }
  return text;
}

TEST(WriteQueueTest, KeepsTheOrderOfOwnedAndBorrowed) {
  WriteQueue queue;
  Waiting a("aaa");
  Waiting b("bbb");
  queue.Push(&a);
  queue.Append("---");
  queue.Push(&b);
  queue.Append("===");
  EXPECT_EQ(Contents(queue), "aaa---bbb===");
  EXPECT_EQ(queue.Buffered(), 6u);
  queue.Advance(4);
  EXPECT_EQ(a.done, 0);
  EXPECT_EQ(Contents(queue), "--bbb===");
  EXPECT_EQ(queue.Buffered(), 5u);
  queue.Advance(5);
  EXPECT_EQ(b.done, 0);
  queue.Advance(3);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Buffered(), 0u);
}

TEST(WriteQueueTest, GathersSmallWritesIntoOneEntry) {
  WriteQueue queue;
  for (int i = 0; i < 1000; ++i) queue.Append("0123456789");
  std::array<iovec, 4> pieces;
  EXPECT_EQ(queue.Gather(absl::MakeSpan(pieces)), 1u);
  EXPECT_EQ(pieces[0].iov_len, 10000u);
  queue.Advance(9995);
  queue.Append("x");
  EXPECT_EQ(Contents(queue), "56789x");
  queue.Fail(0);
}

TEST(WriteQueueTest, AnEntryOfSeveralPiecesIsSentByteForByte) {
  WriteQueue queue;
  Waiting entry(std::vector<std::string_view>{"ab", "", "c", "defg", ""});
  queue.Push(&entry);
  EXPECT_EQ(entry.Remaining(), 7u);
  std::string seen;
  for (int i = 0; i < 7; ++i) {
    seen += Contents(queue).front();
    EXPECT_FALSE(entry.done.has_value());
    queue.Advance(1);
  }
  EXPECT_EQ(seen, "abcdefg");
  EXPECT_EQ(entry.done, 0);
}

TEST(WriteQueueTest, AnAbandonedEntryThatWasNotBegunIsGone) {
  WriteQueue queue;
  Waiting a("aaa");
  Waiting b("bbb");
  Waiting c("ccc");
  queue.Push(&a);
  queue.Push(&b);
  queue.Push(&c);
  EXPECT_TRUE(queue.Abandon(&b));
  EXPECT_EQ(Contents(queue), "aaaccc");
  EXPECT_EQ(queue.Buffered(), 0u);
  queue.Fail(0);
}

TEST(WriteQueueTest, AnAbandonedEntryThatWasBegunIsKeptInItsPlace) {
  WriteQueue queue;
  Waiting b("bbb");
  {
    Waiting a("aaa");
    queue.Push(&a);
    queue.Push(&b);
    queue.Advance(1);
    EXPECT_TRUE(queue.Abandon(&a));
    EXPECT_FALSE(a.done.has_value());
  }
  EXPECT_EQ(Contents(queue), "aabbb");
  EXPECT_EQ(queue.Buffered(), 2u);
  queue.Advance(5);
  EXPECT_EQ(b.done, 0);
}

TEST(WriteQueueTest, FailTellsThoseWhoWaitAndDropsTheRest) {
  WriteQueue queue;
  Waiting a("aaa");
  queue.Push(&a);
  queue.Append("---");
  queue.Fail(EPIPE);
  EXPECT_EQ(a.done, EPIPE);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Buffered(), 0u);
}

}  // namespace
}  // namespace coil::net::internal
