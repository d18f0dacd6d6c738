#include "coil/loop/internal/loop_core.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

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

// The loops that exist. Never destroyed: a loop may be a static object.
struct LoopRegistry {
  std::mutex mutex;
  std::vector<const LoopCore*> loops;
};
LoopRegistry& Registry() {
  static LoopRegistry* const registry = new LoopRegistry();
  return *registry;
}

}  // namespace

LoopCore::LoopCore(EventLoop* loop) : loop_(loop) {
  LoopRegistry& registry = Registry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.loops.push_back(this);
}

LoopCore::~LoopCore() {
  LoopRegistry& registry = Registry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  std::erase(registry.loops, this);
}

bool LoopCore::Exists(const LoopCore* core) noexcept {
  LoopRegistry& registry = Registry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  return std::find(registry.loops.begin(), registry.loops.end(), core) !=
         registry.loops.end();
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
