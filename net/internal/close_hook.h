// coil/net/internal/close_hook.h
//
// Who is told that a Socket is about to close its descriptor; null until
// somebody wants to know, so that the others pay nothing.
//
// Threads: called in the thread that closes.

#ifndef COIL_NET_INTERNAL_CLOSE_HOOK_H_
#define COIL_NET_INTERNAL_CLOSE_HOOK_H_

#include <atomic>

namespace coil::net::internal {

inline std::atomic<void (*)(int fd) noexcept> g_close_hook{nullptr};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_CLOSE_HOOK_H_
