// Lock: a guard that is dropped unlocks at once. g++ does not see what an await
// results in; there the lint finds it.
// EXPECT-ERROR-CLANG: a guard that is dropped unlocks at once

#include "coil/sync/lock.h"
#include "coil/task/co.h"

coil::Co<void> Use(coil::Lock& lock) {
#ifdef COMPILE_FAIL
  co_await lock.Acquire();
#else
  coil::Lock::Guard guard = co_await lock.Acquire();
#endif
}
