#include "coil/loop/clock.h"

#include <ctime>

#include "coil/loop/internal/syscalls.h"

namespace coil {

LoopTime MonotonicClock::Now() noexcept {
  timespec t{};
  internal::Sys().clock_gettime(CLOCK_MONOTONIC, &t);
  const int64_t now = int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  // Kernels and hypervisors have let this clock go back; timers must not see
  // it.
  // A compare-and-swap would be exact among threads too, but costs a quarter of
  // the whole; each loop has a clock of its own and clamps once more.
  const int64_t latest = latest_.load(std::memory_order_relaxed);
  if (now < latest) return LoopTime::FromNanoseconds(latest);
  latest_.store(now, std::memory_order_relaxed);
  return LoopTime::FromNanoseconds(now);
}

void VirtualClock::AdvanceTo(LoopTime when) noexcept {
  int64_t now = now_.load(std::memory_order_relaxed);
  while (now < when.Nanoseconds() &&
         !now_.compare_exchange_weak(now, when.Nanoseconds(),
                                     std::memory_order_relaxed)) {
  }
}

}  // namespace coil
