#include "coil/timers/sleep.h"

#include "absl/strings/str_cat.h"

namespace coil::internal {

void DescribeTimer(LoopCore& loop, LoopTime until, std::string* out) {
  if (until == LoopTime::InfiniteFuture()) {
    out->append("a timer that never fires");
    return;
  }
  absl::StrAppend(out, "timer in ", absl::FormatDuration(until - loop.Now()));
}

}  // namespace coil::internal
