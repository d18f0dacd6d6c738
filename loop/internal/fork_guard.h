// coil/loop/internal/fork_guard.h
//
// Tells a loop that it is in a child process: fork() copies the loop but shares
// its epoll descriptor and does not copy its threads, so that using it there
// would steal the parent's events. What was made before a fork is refused after
// it.
//
// Threads: any.

#ifndef COIL_LOOP_INTERNAL_FORK_GUARD_H_
#define COIL_LOOP_INTERNAL_FORK_GUARD_H_

#include <atomic>
#include <cstdint>

namespace coil::internal {

// How many forks this process is away from the first one.
inline std::atomic<uint32_t> g_fork_generation{0};

// Counts forks from now on. Idempotent and cheap.
void InstallForkGuard();

inline uint32_t ForkGeneration() noexcept {
  return g_fork_generation.load(std::memory_order_relaxed);
}

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_FORK_GUARD_H_
