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
  uint64_t last_id = 0;
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
  id_ = ++registry.last_id;
  registry.loops.push_back(this);
}

LoopCore::~LoopCore() {
  LoopRegistry& registry = Registry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  std::erase(registry.loops, this);
}

void LoopCore::Attach(LoopResource* node) noexcept {
  node->next_resource_ = resources_;
  if (resources_ != nullptr) resources_->previous_resource_ = node;
  resources_ = node;
}

void LoopCore::Detach(LoopResource* node) noexcept {
  (node->previous_resource_ != nullptr
       ? node->previous_resource_->next_resource_
       : resources_) = node->next_resource_;
  if (node->next_resource_ != nullptr) {
    node->next_resource_->previous_resource_ = node->previous_resource_;
  }
  node->previous_resource_ = node->next_resource_ = nullptr;
}

void LoopCore::TellResourcesOfClosing() noexcept {
  for (LoopResource* node = resources_; node != nullptr;) {
    LoopResource* next = node->next_resource_;  // it may detach itself
    node->OnLoopClosing();
    node = next;
  }
}

bool LoopCore::Exists(const LoopCore* core, uint64_t id) noexcept {
  LoopRegistry& registry = Registry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found =
      std::find(registry.loops.begin(), registry.loops.end(), core);
  return found != registry.loops.end() && core->id_ == id;
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
