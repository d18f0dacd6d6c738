// CreateTask: a task's memory is aligned to 16 bytes.
// EXPECT-ERROR: alignment is above 16 bytes

#include "coil/task/co.h"
#include "coil/task/task.h"

#ifdef COMPILE_FAIL
struct alignas(64) Line {
  int value;
};
#else
struct Line {
  int value;
};
#endif

void Start() {
  coil::CreateTask(
      [line = Line{1}]() -> coil::Co<int> { co_return line.value; });
}
