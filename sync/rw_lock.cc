#include "coil/sync/rw_lock.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace coil {
namespace {

[[noreturn]] void ThrowNotHeld(const char* operation) {
  throw std::runtime_error(
      absl::StrCat(operation,
                   ": this guard does not hold the lock (it was released, "
                   "moved from, or the lock was destroyed)"));
}

}  // namespace

std::optional<RwLock::ReadGuard> RwLock::TryAcquireRead() {
  if (!TryRead()) return std::nullopt;
  return ReadGuard(*this);
}

std::optional<RwLock::WriteGuard> RwLock::TryAcquireWrite() {
  if (!TryWrite()) return std::nullopt;
  return WriteGuard(*this);
}

void RwLock::LetInSlow() noexcept {
  while (waiters_.HasWaiting()) {
    const auto* first =
        static_cast<internal::RwWaiter*>(waiters_.FirstWaiting());
    if (written_ || (first->writes_ && readers_ != 0)) return;
    if (first->writes_) {
      written_ = true;
    } else {
      ++readers_;
    }
    waiters_.GrantFirst();
  }
}

void RwLock::Describe(std::string* out) const {
  if (written_) {
    out->append("RwLock held by a writer");
  } else {
    absl::StrAppend(out, "RwLock held by ", readers_,
                    readers_ == 1 ? " reader" : " readers");
  }
}

void RwLock::ReadGuard::Release() {
  if (!Owns()) ThrowNotHeld("RwLock::ReadGuard::Release");
  Drop();
}

void RwLock::WriteGuard::Release() {
  if (!Owns()) ThrowNotHeld("RwLock::WriteGuard::Release");
  Drop();
}

}  // namespace coil
