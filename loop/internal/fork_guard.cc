#include "coil/loop/internal/fork_guard.h"

#include <pthread.h>

#include "coil/loop/internal/loop_core.h"

namespace coil::internal {

void InstallForkGuard() {
  static const bool installed = [] {
    // Runs in the child, in the thread that forked: only there may a loop be
    // running. The running loop is not inherited (asyncio: A148).
    ::pthread_atfork(nullptr, nullptr, [] {
      g_fork_generation.fetch_add(1, std::memory_order_relaxed);
      LoopCore::ForgetCurrent();
    });
    return true;
  }();
  static_cast<void>(installed);
}

}  // namespace coil::internal
