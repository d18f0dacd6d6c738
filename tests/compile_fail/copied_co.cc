// Co: it is awaited once, so it moves and does not copy.
// EXPECT-ERROR: (deleted|implicitly-deleted).*Co

#include "coil/task/co.h"

#include <utility>

coil::Co<int> Work();

coil::Co<int> Use() {
  coil::Co<int> work = Work();
#ifdef COMPILE_FAIL
  coil::Co<int> again = work;
#else
  coil::Co<int> again = std::move(work);
#endif
  co_return co_await std::move(again);
}
