// Co: a statement that drops one does nothing.
// EXPECT-ERROR: a coroutine does nothing until it is awaited

#include "coil/task/co.h"

coil::Co<void> Work();

coil::Co<void> Use() {
#ifdef COMPILE_FAIL
  Work();
  co_return;
#else
  co_await Work();
#endif
}
