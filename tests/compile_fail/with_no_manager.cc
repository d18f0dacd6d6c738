// With(): a manager has AEnter() and AExit().
// EXPECT-ERROR: the manager needs Co<R> AEnter()

#include <exception>

#include "coil/task/with.h"

class Manager {
 public:
  coil::Co<void> AEnter();
#ifndef COMPILE_FAIL
  coil::Co<void> AExit(std::exception_ptr);
#endif
};

coil::Co<void> Use(Manager& manager) {
  co_await coil::With(manager, [] {});
}
