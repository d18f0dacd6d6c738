#include "coil/sync/latch.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace coil {

Latch::Latch(int64_t count) : count_(count) {
  if (count < 0) {
    throw std::invalid_argument(
        absl::StrCat("Latch: the count is ", count, "; it is at least 0"));
  }
}

void Latch::CountDown(int64_t n) {
  if (n < 0) {
    throw std::invalid_argument(
        absl::StrCat("Latch::CountDown: n is ", n, "; it is at least 0"));
  }
  if (n > count_) {
    throw std::runtime_error(absl::StrCat("Latch::CountDown: ", n,
                                          " is more than the count of ", count_,
                                          " that is left"));
  }
  count_ -= n;
  if (count_ == 0) signal_waiters_.WakeAll();
}

void Latch::DescribeSignal(std::string* out) const {
  absl::StrAppend(out, "Latch, ", count_, " to go");
}

}  // namespace coil
