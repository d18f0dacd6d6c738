#include "coil/loop/internal/loop_core.h"

#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::internal {

LoopRemote::LoopRemote()
    : wake_fd_(Sys().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_fd_ < 0) throw OsError(errno, "eventfd");
}

LoopRemote::~LoopRemote() { CloseDescriptor(wake_fd_); }

void LoopRemote::Wake() noexcept {
  // A signal handler may be here: errno is its victim's.
  const int saved = errno;
  const uint64_t one = 1;
  // Cannot be full: that takes 2^64 wake-ups. EINTR cannot happen either, as
  // the descriptor does not block.
  static_cast<void>(Sys().write(wake_fd_, &one, sizeof(one)));
  errno = saved;
}

namespace {
std::atomic<DeadlockDescriber> g_deadlock_describer{nullptr};
}  // namespace

void SetDeadlockDescriber(DeadlockDescriber describer) noexcept {
  g_deadlock_describer.store(describer, std::memory_order_release);
}

DeadlockDescriber GetDeadlockDescriber() noexcept {
  return g_deadlock_describer.load(std::memory_order_acquire);
}

}  // namespace coil::internal
