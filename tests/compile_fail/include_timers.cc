// A header of the package timers, for the tests of what it asks of the
// compiler.

#include "coil/timers/sleep.h"
