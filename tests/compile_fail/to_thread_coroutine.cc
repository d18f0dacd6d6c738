// ToThread(): a coroutine function would not run on the thread.
// EXPECT-ERROR: a coroutine function would not run on the thread

#include "coil/task/to_thread.h"

coil::Co<int> Coroutine();
int Function();

coil::Co<void> Use() {
#ifdef COMPILE_FAIL
  co_await coil::ToThread(Coroutine);
#else
  co_await coil::ToThread(Function);
#endif
}
