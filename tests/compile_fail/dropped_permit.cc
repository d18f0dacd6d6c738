// Semaphore: a permit that is dropped goes back at once.
// EXPECT-ERROR-CLANG: a permit that is dropped

#include "coil/sync/semaphore.h"
#include "coil/task/co.h"

coil::Co<void> Use(coil::Semaphore& semaphore) {
#ifdef COMPILE_FAIL
  co_await semaphore.Acquire();
#else
  coil::Permit permit = co_await semaphore.Acquire();
#endif
}
