#include "coil/sync/channel.h"

#include "absl/strings/str_cat.h"

namespace coil::internal {

void ChannelNames::ThrowClosed(const char* operation) {
  throw ChannelClosed(absl::StrCat(operation, ": the channel is closed"));
}

int64_t ChannelCapacity(int64_t capacity) {
  if (capacity < 1) {
    throw std::invalid_argument(absl::StrCat("Channel: the capacity is ",
                                             capacity, "; it is at least 1"));
  }
  return capacity;
}

}  // namespace coil::internal
