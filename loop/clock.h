// coil/loop/clock.h
//
// Clock is where a loop reads the time. MonotonicClock is the system's;
// VirtualClock stands still until it is told to move, so that a day of sleeps
// runs in microseconds and tests of time need no waiting.
//
// Example:
//   absl::Duration Elapsed() {
//     coil::VirtualClock clock;
//     coil::LoopTime start = clock.Now();
//     clock.AdvanceTo(start + absl::Hours(24));
//     return clock.Now() - start;
//   }
//
// Ordering: Now() never goes back.
// Cancellation: does not apply.
// Threads: MonotonicClock may be read from every thread; a VirtualClock belongs
//   to the thread of its loop, reading it elsewhere is safe.
// Lifetime: a clock outlives the loops that it was given to.

#ifndef COIL_LOOP_CLOCK_H_
#define COIL_LOOP_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "coil/loop/loop_time.h"

namespace coil {

class Clock {
 public:
  virtual ~Clock() = default;

  // The present. Never before an earlier answer. asyncio: loop.time() (A160).
  virtual LoopTime Now() noexcept = 0;

  // Called by a loop that has nothing to do before `when`. Returns true if the
  // clock has moved there by itself, false if the loop has to wait in its
  // poller.
  virtual bool SkipTo(LoopTime when) noexcept = 0;
};

// CLOCK_MONOTONIC, clamped so that it never goes back.
class MonotonicClock final : public Clock {
 public:
  LoopTime Now() noexcept override;
  bool SkipTo(LoopTime) noexcept override { return false; }

 private:
  std::atomic<int64_t> latest_{0};
};

// Moves only by AdvanceTo() and when its loop is idle.
class VirtualClock final : public Clock {
 public:
  VirtualClock() = default;
  LoopTime Now() noexcept override {
    return LoopTime::FromNanoseconds(now_.load(std::memory_order_relaxed));
  }
  bool SkipTo(LoopTime when) noexcept override {
    AdvanceTo(when);
    return true;
  }
  // Moves to `when`; no effect if that is in the past.
  void AdvanceTo(LoopTime when) noexcept;

 private:
  std::atomic<int64_t> now_{0};
};

}  // namespace coil

#endif  // COIL_LOOP_CLOCK_H_
