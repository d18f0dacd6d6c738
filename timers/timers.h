// coil/timers/timers.h
//
// All of coil's timers: sleeps, timeouts, intervals and rate limits. Depend on
// the single headers where a program needs few of them.
//
// Example:
//   coil::Co<void> Patience() {
//     co_await coil::WithTimeout(absl::Seconds(1),
//     coil::Sleep(absl::Hours(1)));
//   }
//
// Ordering: by deadline; equal ones in the order in which they were armed.
// Cancellation: at every await; a timer that was cancelled does not fire.
// Threads: the loop's thread only.
// Lifetime: a timer lies in the frame of the coroutine that waits; nothing is
//   allocated for it.

#ifndef COIL_TIMERS_TIMERS_H_
#define COIL_TIMERS_TIMERS_H_

#include "coil/timers/interval.h"      // IWYU pragma: export
#include "coil/timers/rate_limiter.h"  // IWYU pragma: export
#include "coil/timers/sleep.h"         // IWYU pragma: export
#include "coil/timers/timeout.h"       // IWYU pragma: export

#endif  // COIL_TIMERS_TIMERS_H_
