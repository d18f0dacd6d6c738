// Text in a buffer of fixed size, for signal handlers.

#include "coil/loop/internal/bounded_text.h"

#include <cstdint>
#include <limits>
#include <source_location>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace coil::internal {
namespace {

TEST(BoundedTextTest, PutsTextsAndNumbersOneAfterAnother) {
  char buffer[64];
  BoundedText text(buffer, sizeof(buffer));
  text.Put("Task-");
  text.PutNumber(0);
  text.Put(" ");
  text.PutNumber(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(std::string(buffer, text.size()), "Task-0 18446744073709551615");
}

TEST(BoundedTextTest, PutsAPlaceWithoutItsFolders) {
  char buffer[64];
  BoundedText text(buffer, sizeof(buffer));
  const std::source_location here = std::source_location::current();
  text.PutPlace(here);
  EXPECT_EQ(std::string(buffer, text.size()),
            "bounded_text_test.cc:" + std::to_string(here.line()));
}

TEST(BoundedTextTest, CutsOffWhatDoesNotFit) {
  char buffer[] = "########";
  BoundedText text(buffer, 5);
  text.Put("abc");
  text.Put("def");
  text.Put("ghi");
  text.PutNumber(7);
  EXPECT_EQ(text.size(), 5u);
  EXPECT_EQ(std::string_view(buffer), "abcde###");
}

TEST(BoundedTextTest, TakesNoBufferAtAll) {
  BoundedText text(nullptr, 0);
  text.Put("abc");
  text.Put("");
  EXPECT_EQ(text.size(), 0u);
}

TEST(BoundedTextTest, BaseNameIsWhatFollowsTheLastSlash) {
  EXPECT_EQ(BaseName("a/b/main.cc"), "main.cc");
  EXPECT_EQ(BaseName("main.cc"), "main.cc");
  EXPECT_EQ(BaseName("a/"), "");
  EXPECT_EQ(BaseName(""), "");
}

}  // namespace
}  // namespace coil::internal
