// coil/loop/loop.h
//
// All of coil's loop: the event loop itself, its clocks, pollers, thread pool,
// simulation, watchdog and diagnostics. Depend on the single headers where a
// program needs few of them.
//
// Example:
//   void PrintLater() {
//     coil::EventLoop loop;
//     loop.CallLater(absl::Seconds(1), [&] { loop.Stop(); });
//     loop.RunForever();
//   }
//
// Ordering: what is ready runs first in, first out, one pass at a time; timers
//   by deadline, equal ones in the order in which they were armed.
// Cancellation: a handle is cancelled before its callback begins, or not at
//   all; tasks are cancelled through coil/task/task.h.
// Threads: a loop belongs to the thread that runs it; CallSoonThreadSafe() and
//   what says so may be called from others.
// Lifetime: a loop outlives what is registered with it; its destructor closes
//   it.

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
