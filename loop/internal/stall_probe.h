// coil/loop/internal/stall_probe.h
//
// What a loop shows to its watchdog: which step it is in. The step counter is
// written by the loop's thread before and after each step and read by the
// watchdog's; the node is looked at only by a signal handler in the loop's
// thread, while its Run() is on the stack there.
//
// Threads: as above. StallDetector: the watchdog's.

#ifndef COIL_LOOP_INTERNAL_STALL_PROBE_H_
#define COIL_LOOP_INTERNAL_STALL_PROBE_H_

#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "coil/loop/internal/ready_queue.h"

namespace coil::internal {

struct StallProbe {
  // Odd inside of a step, even between two.
  std::atomic<uint64_t> step{0};
  std::atomic<const Runnable*> node{nullptr};
  // The thread in which the loop runs, as the kernel calls it; 0 for none.
  std::atomic<pid_t> thread{0};

  void Enter(const Runnable* runnable) noexcept {
    node.store(runnable, std::memory_order_relaxed);
    step.store(step.load(std::memory_order_relaxed) + 1,
               std::memory_order_release);
  }
  void Leave() noexcept {
    node.store(nullptr, std::memory_order_relaxed);
    step.store(step.load(std::memory_order_relaxed) + 1,
               std::memory_order_release);
  }
};

// Decides, from looks at the step counter, when a step has taken too long.
class StallDetector {
 public:
  explicit StallDetector(absl::Duration threshold) : threshold_(threshold) {}

  // How often to look: what `wanted` says, or if it is zero a quarter of the
  // threshold. Bounded, because the system cannot wait for ever plus now.
  static absl::Duration Interval(absl::Duration threshold,
                                 absl::Duration wanted) {
    if (wanted == absl::ZeroDuration()) {
      wanted = std::max(threshold / 4, absl::Duration(absl::Microseconds(100)));
    }
    return std::min(wanted, absl::Duration(absl::Hours(1)));
  }

  // `now` is the time of this look, from any origin. How long the step has been
  // going on, once for each step that reaches the threshold.
  std::optional<absl::Duration> Look(uint64_t step, absl::Duration now) {
    if (step != step_) {
      step_ = step;
      since_ = now;
      reported_ = false;
      return std::nullopt;
    }
    if (step % 2 == 0 || reported_ || now - since_ < threshold_) {
      return std::nullopt;
    }
    reported_ = true;
    return now - since_;
  }

 private:
  absl::Duration threshold_;
  uint64_t step_ = 0;
  absl::Duration since_;
  bool reported_ = false;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_STALL_PROBE_H_
