#include "coil/sync/lock.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace coil {
namespace {

// The name of the task with this id, which may be gone.
std::string NameOfTask(internal::LoopCore& loop, uint32_t id) {
  for (internal::OwnedRunnable* node = loop.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    const auto* task = static_cast<const internal::TaskCore*>(node);
    if (task->id() == id) return task->Name();
  }
  return absl::StrCat("Task-", id, " (done)");
}

}  // namespace

Lock::~Lock() {
  if (guard_ != nullptr) guard_->lock_ = nullptr;
  hand_off_.list().Destroy();
}

std::optional<Lock::Guard> Lock::TryAcquire() {
  if (!hand_off_.TryTake()) return std::nullopt;
  const internal::TaskCore* task = internal::TaskCore::Current();
  holder_ = task == nullptr ? 0 : task->id();
  return Guard(*this);
}

void Lock::Describe(const internal::Waiter& waiter, std::string* out) const {
  out->append("Lock");
  if (holder_ == 0) return;
  absl::StrAppend(out, " held by ", NameOfTask(waiter.task()->loop(), holder_));
}

void Lock::Guard::ThrowNotHeld() {
  throw std::runtime_error(
      "Lock::Guard::Release: this guard does not hold the lock (it was "
      "released, moved from, or the lock was destroyed)");
}

}  // namespace coil
