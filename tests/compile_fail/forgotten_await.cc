// Lock: Acquire() without an await acquires nothing.
// EXPECT-ERROR: co_await it

#include "coil/sync/lock.h"
#include "coil/task/co.h"

coil::Co<void> Use(coil::Lock& lock) {
#ifdef COMPILE_FAIL
  lock.Acquire();
  co_return;
#else
  coil::Lock::Guard guard = co_await lock.Acquire();
#endif
}
