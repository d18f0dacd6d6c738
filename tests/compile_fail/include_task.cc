// A header of the package task, for the tests of what it asks of the compiler.

#include "coil/task/co.h"
