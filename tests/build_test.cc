// The least that every configuration of the build must give: C++20 coroutines,
// exceptions, and googletest.

#include <coroutine>
#include <stdexcept>

#include "gtest/gtest.h"

namespace {

TEST(BuildTest, HasCoroutines) {
  EXPECT_GE(__cpp_impl_coroutine, 201902L);
  EXPECT_TRUE(std::noop_coroutine());
}

TEST(BuildTest, HasExceptions) {
  EXPECT_THROW(throw std::runtime_error("x"), std::runtime_error);
}

}  // namespace
