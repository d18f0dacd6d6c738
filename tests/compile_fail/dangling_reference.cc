// Co with COIL_CHECK_CORO_LIFETIMES: clang reports coroutines that outlive what
// they refer to. COMPILE_FAIL says how.
// EXPECT-ERROR-CLANG: temporary whose address is used as value of local
// variable

#include "coil/task/co.h"

#ifndef COMPILE_FAIL
#define COMPILE_FAIL 0
#endif

coil::Co<int> Add(const int& a) { co_return a + 1; }

coil::Co<int> Use() {
  [[maybe_unused]] int x = 1;
#if COMPILE_FAIL == 1
  auto work = [&x]() -> coil::Co<int> { co_return x; }();
#elif COMPILE_FAIL == 2
  coil::Co<int> work = Add(2);
#else
  auto named = [&x]() -> coil::Co<int> { co_return x; };
  auto work = named();
#endif
  co_return co_await work + co_await Add(3);
}
