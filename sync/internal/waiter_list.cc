#include "coil/sync/internal/waiter_list.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace coil::internal {

void Waiter::Fail(const char* name, const char* operation) const {
  if (end_ == WaitEnd::kWrongLoop) ThrowWrongLoop(operation);
  throw std::runtime_error(absl::StrCat(name, " was destroyed while ", number_,
                                        number_ == 1 ? " task" : " tasks",
                                        " waited for it"));
}

uint32_t WaiterList::Count() const noexcept {
  uint32_t count = 0;
  ForEach([&count](Waiter*) { ++count; });
  return count;
}

void WaiterList::FailAll(WaitEnd end, uint32_t count) noexcept {
  while (ring_.next != &ring_) {
    Waiter* const waiter = ToWaiter(ring_.next);
    const bool waits = ring_.next == first_waiting_;
    Remove(waiter);
    waiter->end_ = end;
    waiter->number_ = count;
    if (waits) waiter->Grant();
  }
}

}  // namespace coil::internal
