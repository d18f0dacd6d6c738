// A header of the package sync, for the tests of what it asks of the compiler.

#include "coil/sync/lock.h"
