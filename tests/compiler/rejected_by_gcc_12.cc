// What g++ 12 does not compile, and every other compiler does: a list as an
// argument of what is awaited. COMPILE_FAIL says which list.
// EXPECT-ERROR-GCC-12: array used as initializer

#include <string>
#include <vector>

#include "coil/task/co.h"

#ifndef COMPILE_FAIL
#define COMPILE_FAIL 0
#endif

coil::Co<int> Count(std::vector<std::string> items);

coil::Co<int> Use() {
#if COMPILE_FAIL == 1
  co_return co_await Count({"a", "b"});
#elif COMPILE_FAIL == 2
  co_return co_await Count(std::vector<std::string>{"a", "b"});
#else
  std::vector<std::string> items = {"a", "b"};
  co_return co_await Count(items);
#endif
}
