// A header of the package loop, for the tests of what it asks of the compiler.

#include "coil/loop/event_loop.h"
