#include "coil/task/shield.h"

#include "absl/strings/str_cat.h"

namespace coil {
namespace internal {

void EndAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "the end of ");
  DescribeAwaited(*future_, out);
}

}  // namespace internal

Co<void> CancelAndWait(AnyTask target) {
  internal::TaskCore* task = co_await internal::ThisTask();
  internal::CheckAwaitable(&target.Checked(), task);
  if (!target.Done()) {
    target.Cancel();
    internal::EndAwaiter end(target.core());
    co_await std::move(end);
  }
}

}  // namespace coil
