// Finally(): the result of a cleanup would be lost.
// EXPECT-ERROR: the cleanup results in void

#include "coil/task/finally.h"

coil::Co<void> Use() {
#ifdef COMPILE_FAIL
  co_await coil::Finally([] {}, [] { return 1; });
#else
  co_await coil::Finally([] {}, [] {});
#endif
}
