// coil/coil.h
//
// All of coil, for programs that do not mind what they compile: event loop,
// tasks, timers, synchronisation and networking. A library that uses coil had
// better include, and depend on, what it needs: coil/sync/lock.h is
// @coil//sync:lock, and so on.
//
// coil/task/testing.h, which is for tests, is not part of it.

#ifndef COIL_COIL_H_
#define COIL_COIL_H_

// IWYU pragma: begin_exports
#include "coil/loop/clock.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/loop_time.h"
#include "coil/loop/os_error.h"
#include "coil/loop/poller.h"
#include "coil/loop/simulation.h"
#include "coil/loop/thread_pool.h"
#include "coil/loop/watchdog.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/debug_server.h"
#include "coil/net/server.h"
#include "coil/net/socket.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/net/streams.h"
#include "coil/sync/barrier.h"
#include "coil/sync/broadcast.h"
#include "coil/sync/channel.h"
#include "coil/sync/condition.h"
#include "coil/sync/event.h"
#include "coil/sync/latch.h"
#include "coil/sync/lock.h"
#include "coil/sync/queue.h"
#include "coil/sync/rw_lock.h"
#include "coil/sync/semaphore.h"
#include "coil/task/as_completed.h"
#include "coil/task/async_exit_stack.h"
#include "coil/task/async_generator.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/errors.h"
#include "coil/task/finally.h"
#include "coil/task/for_await.h"
#include "coil/task/future.h"
#include "coil/task/gather.h"
#include "coil/task/inspect.h"
#include "coil/task/invoke.h"
#include "coil/task/outcome.h"
#include "coil/task/race.h"
#include "coil/task/run.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/task/task_group.h"
#include "coil/task/thread_future.h"
#include "coil/task/to_thread.h"
#include "coil/task/wait.h"
#include "coil/task/with.h"
#include "coil/timers/interval.h"
#include "coil/timers/rate_limiter.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
// IWYU pragma: end_exports

#endif  // COIL_COIL_H_
