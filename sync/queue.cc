#include "coil/sync/queue.h"

#include "absl/strings/str_cat.h"

namespace coil::internal {

void QueueNames::ThrowClosed(const char* operation) {
  throw QueueShutDown(absl::StrCat(operation, ": the queue was shut down"));
}

int64_t QueueCapacity(int64_t maxsize, int64_t unbounded) {
  if (maxsize < 0) {
    throw std::invalid_argument(
        absl::StrCat("Queue: the size is ", maxsize,
                     "; it is at least 1, or 0 for a queue without bound"));
  }
  return maxsize == 0 ? unbounded : maxsize;
}

void ThrowQueueFull(int64_t maxsize) {
  throw QueueFull(absl::StrCat("Queue::PutNoWait: the queue is full (", maxsize,
                               maxsize == 1 ? " item)" : " items)"));
}

void ThrowQueueEmpty() {
  throw QueueEmpty("Queue::GetNoWait: the queue is empty");
}

}  // namespace coil::internal
