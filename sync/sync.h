// coil/sync/sync.h
//
// All of coil's synchronisation. Depend on the single headers where a program
// needs few of them.
//
// Example:
//   coil::Co<void> Add(coil::Lock& lock, int& sum) {
//     coil::Lock::Guard guard = co_await lock.Acquire();
//     ++sum;
//   }
//
// Ordering: strictly first in, first out, by direct hand-off: nobody overtakes.
// Cancellation: whoever sees CancelledError has consumed nothing; what was
//   granted meanwhile goes to the next in line.
// Threads: the loop's thread only.
// Lifetime: neither copied nor moved; if one is destroyed while tasks wait,
//   each of them gets std::runtime_error. Waiting allocates nothing.

#ifndef COIL_SYNC_SYNC_H_
#define COIL_SYNC_SYNC_H_

#include "coil/sync/barrier.h"    // IWYU pragma: export
#include "coil/sync/broadcast.h"  // IWYU pragma: export
#include "coil/sync/channel.h"    // IWYU pragma: export
#include "coil/sync/condition.h"  // IWYU pragma: export
#include "coil/sync/event.h"      // IWYU pragma: export
#include "coil/sync/latch.h"      // IWYU pragma: export
#include "coil/sync/lock.h"       // IWYU pragma: export
#include "coil/sync/queue.h"      // IWYU pragma: export
#include "coil/sync/rw_lock.h"    // IWYU pragma: export
#include "coil/sync/semaphore.h"  // IWYU pragma: export

#endif  // COIL_SYNC_SYNC_H_
