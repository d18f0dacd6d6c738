// Each public header of a package that no source of its own includes before all
// else was compiled alone when this program was
// linked. What is left to test is that it starts.

#include "gtest/gtest.h"

TEST(HeadersTest, EachCompilesAloneAndAllLink) { SUCCEED(); }
