// coil/sync/sync.h
//
// All of coil's synchronisation. Depend on the single headers where a program
// needs few of them.

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
