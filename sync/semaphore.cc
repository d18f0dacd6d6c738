#include "coil/sync/semaphore.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"

namespace coil {
namespace {

std::string OverReleased(const char* name, int64_t bound) {
  return absl::StrCat(name, "::Release: released more often than acquired; it ",
                      "began with ", bound,
                      bound == 1 ? " permit" : " permits");
}

}  // namespace

Semaphore::Semaphore(int64_t permits, int64_t bound, const char* name)
    : hand_off_(permits), bound_(bound), name_(name) {
  if (permits < 0) {
    throw std::invalid_argument(absl::StrCat(
        name, ": the number of permits is ", permits, "; it is at least 0"));
  }
}

std::optional<Semaphore::Permit> Semaphore::TryAcquire() {
  if (!hand_off_.TryTake()) return std::nullopt;
  return Permit(*this);
}

void Semaphore::Release() {
  if (!Return()) ThrowOverReleased();
}

void Semaphore::ThrowOverReleased() const {
  throw std::runtime_error(OverReleased(name_, bound_));
}

void Semaphore::ReportOverReleased() const noexcept {
  WriteDiagnostic(OverReleased(name_, bound_));
}

void Semaphore::Permit::Release() {
  if (owner() == nullptr) {
    throw std::runtime_error(
        "Semaphore::Permit::Release: it holds no permit (it was released, "
        "forgotten, moved from, or the semaphore was destroyed)");
  }
  Semaphore* const semaphore = LeaveSemaphore();
  if (!semaphore->Return()) semaphore->ThrowOverReleased();
}

void Semaphore::Permit::Forget() {
  if (owner() == nullptr) {
    throw std::runtime_error(
        "Semaphore::Permit::Forget: it holds no permit (it was released, "
        "forgotten, moved from, or the semaphore was destroyed)");
  }
  LeaveSemaphore();
}

}  // namespace coil
