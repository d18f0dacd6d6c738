// coil/task/internal/function_name.h
//
// The name of a coroutine function, short enough for people.
//
// Threads: any.

#ifndef COIL_TASK_INTERNAL_FUNCTION_NAME_H_
#define COIL_TASK_INTERNAL_FUNCTION_NAME_H_

#include <string>

namespace coil::internal {

// "coil::Read" for what source_location::function_name() gives in a coroutine:
// without the result's type, the parameters, template arguments of the function
// and anonymous namespaces. A lambda is "Function()::<lambda>".
std::string ShortFunctionName(const char* function);

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FUNCTION_NAME_H_
