// lint as: sync/good_header.h
//
// Example:
//   int x = 1;
//
// Ordering: first in, first out.
// Cancellation: nothing is consumed.
// Threads: one loop.
// Lifetime: outlives its waiters.

#ifndef COIL_SYNC_GOOD_HEADER_H_
#define COIL_SYNC_GOOD_HEADER_H_

#include "coil/loop/internal/language.h"

#endif
