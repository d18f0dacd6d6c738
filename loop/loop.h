// coil/loop/loop.h
//
// All of coil's loop: the event loop itself, its clocks, pollers, thread pool,
// simulation, watchdog and diagnostics. Depend on the single headers where a
// program needs few of them.

#ifndef COIL_LOOP_LOOP_H_
#define COIL_LOOP_LOOP_H_

#include "coil/loop/clock.h"         // IWYU pragma: export
#include "coil/loop/diagnostics.h"   // IWYU pragma: export
#include "coil/loop/epoll_poller.h"  // IWYU pragma: export
#include "coil/loop/event_loop.h"    // IWYU pragma: export
#include "coil/loop/loop_time.h"     // IWYU pragma: export
#include "coil/loop/os_error.h"      // IWYU pragma: export
#include "coil/loop/poller.h"        // IWYU pragma: export
#include "coil/loop/simulation.h"    // IWYU pragma: export
#include "coil/loop/thread_pool.h"   // IWYU pragma: export
#include "coil/loop/watchdog.h"      // IWYU pragma: export

#endif  // COIL_LOOP_LOOP_H_
