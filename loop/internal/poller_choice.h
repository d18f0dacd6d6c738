// coil/loop/internal/poller_choice.h
//
// Which poller a loop makes that was not given one: epoll, unless a target that
// the program links has put another factory here. So a loop knows nothing of
// the others.
//
// Threads: any.
// Lifetime: does not apply.

#ifndef COIL_LOOP_INTERNAL_POLLER_CHOICE_H_
#define COIL_LOOP_INTERNAL_POLLER_CHOICE_H_

#include <atomic>
#include <memory>

#include "coil/loop/poller.h"

namespace coil::internal {

// Throws OsError.
using PollerFactory = std::unique_ptr<Poller> (*)();

// Null stands for epoll.
inline constinit std::atomic<PollerFactory> g_poller_factory{nullptr};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_POLLER_CHOICE_H_
