#include "coil/sync/broadcast.h"

#include "absl/strings/str_cat.h"

namespace coil {

BroadcastLagged::BroadcastLagged(int64_t skipped)
    : std::runtime_error(absl::StrCat(
          "Broadcast::Receive: this subscriber was too slow and has lost ",
          skipped, skipped == 1 ? " value" : " values")),
      skipped_(skipped) {}

namespace internal {

size_t BroadcastCapacity(int64_t capacity) {
  if (capacity < 1) {
    throw std::invalid_argument(absl::StrCat("Broadcast: the capacity is ",
                                             capacity, "; it is at least 1"));
  }
  return static_cast<size_t>(capacity);
}

void ThrowBroadcastClosed(const char* operation) {
  throw BroadcastClosed(absl::StrCat(operation, ": the broadcast is closed"));
}

void ThrowNoBroadcast() {
  throw std::runtime_error(
      "Broadcast::Receive: the subscriber has no broadcast (it was moved from, "
      "or the broadcast was destroyed)");
}

void ThrowReceivedTwice() {
  throw std::runtime_error(
      "Broadcast::Receive: another task waits at this subscriber; each task "
      "needs a subscription of its own");
}

}  // namespace internal
}  // namespace coil
