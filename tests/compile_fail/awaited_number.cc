// co_await: of what cannot be awaited.
// EXPECT-ERROR: takes a Co, a Task, a Future or an awaiter

#include "coil/task/co.h"

int Number();

coil::Co<int> Use() {
#ifdef COMPILE_FAIL
  co_return co_await Number();
#else
  co_return Number();
#endif
}
