// Run(): a task belongs to a loop already.
// EXPECT-ERROR: belongs to a loop already

#include "coil/task/run.h"

int Use(coil::Task<int> task) {
#ifdef COMPILE_FAIL
  return coil::Run(task);
#else
  coil::Runner runner;
  return runner.Run(task);
#endif
}
