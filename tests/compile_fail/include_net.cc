// A header of the package net, for the tests of what it asks of the compiler.

#include "coil/net/streams.h"
