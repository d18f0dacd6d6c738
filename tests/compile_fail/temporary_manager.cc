// With(), AsyncExitStack: g++ 12 destroys a temporary aggregate in an await
// twice, so there they refuse one that owns something. COMPILE_FAIL says which.
// EXPECT-ERROR-GCC-12: destroys a temporary aggregate .* twice: name the
// manager

#include <exception>
#include <string>
#include <utility>

#include "coil/task/async_exit_stack.h"
#include "coil/task/with.h"

struct Aggregate {
  std::string name;
  coil::Co<void> AEnter();
  coil::Co<void> AExit(std::exception_ptr);
};

class Manager {
 public:
  explicit Manager(std::string name) : name_(std::move(name)) {}
  coil::Co<void> AEnter();
  coil::Co<void> AExit(std::exception_ptr);

 private:
  std::string name_;
};

#ifndef COMPILE_FAIL
#define COMPILE_FAIL 0
#endif

coil::Co<void> Use(std::string s) {
  coil::AsyncExitStack stack;
#if COMPILE_FAIL == 1
  co_await coil::With(Aggregate{s}, [] {});
#elif COMPILE_FAIL == 2
  co_await stack.EnterAsync(Aggregate{s});
#endif
  Aggregate named{s};
  co_await coil::With(named, [] {});
  co_await coil::With(Manager(s), [] {});
}
