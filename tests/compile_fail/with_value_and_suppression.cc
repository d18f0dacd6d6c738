// With(): an AExit() that may drop the error leaves no value to return.
// EXPECT-ERROR: and then there is no value to return

#include <exception>

#include "coil/task/with.h"

class Manager {
 public:
  coil::Co<void> AEnter();
  coil::Co<bool> AExit(std::exception_ptr);
};

coil::Co<void> Use(Manager& manager) {
#ifdef COMPILE_FAIL
  co_await coil::With(manager, [] { return 1; });
#else
  co_await coil::With(manager, [] {});
#endif
}
