// AsyncGenerator: Next() gives a std::optional, which holds no reference.
// EXPECT-ERROR: yield a pointer or a std::reference_wrapper

#include "coil/task/async_generator.h"

#ifdef COMPILE_FAIL
using T = int&;
#else
using T = int*;
#endif

coil::AsyncGenerator<T> Generate(T t) { co_yield t; }
