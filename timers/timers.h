// coil/timers/timers.h
//
// All of coil's timers: sleeps, timeouts, intervals and rate limits. Depend on
// the single headers where a program needs few of them.

#ifndef COIL_TIMERS_TIMERS_H_
#define COIL_TIMERS_TIMERS_H_

#include "coil/timers/interval.h"      // IWYU pragma: export
#include "coil/timers/rate_limiter.h"  // IWYU pragma: export
#include "coil/timers/sleep.h"         // IWYU pragma: export
#include "coil/timers/timeout.h"       // IWYU pragma: export

#endif  // COIL_TIMERS_TIMERS_H_
