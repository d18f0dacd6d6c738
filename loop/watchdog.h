// coil/loop/watchdog.h
//
// Watchdog looks at a loop from a thread of its own and reports, while it
// lasts, that one callback or step of a task blocks it: what runs, for how
// long, and the stack of the loop's thread. Debug mode tells the same
// afterwards, if there is an afterwards.
//
// Example:
//   void Watched(coil::EventLoop& loop) {
//     coil::Watchdog watchdog(loop, {.threshold = absl::Milliseconds(500)});
//     loop.RunForever();
//   }
//
// Ordering: each stall is reported once, in the order in which they are seen.
// Cancellation: nothing is stopped; a watchdog only reports.
// Threads: made and destroyed in the loop's thread, or while the loop does not
//   run. The reporter is called in the watchdog's thread.
// Lifetime: ends before its loop does.
//
// To see the stack, it sends a signal (SIGURG, which is ignored by default) to
// the loop's thread, whose handler copies the return addresses and the name of
// what runs into memory that is there already. System calls that the system
// never restarts, such as poll() and nanosleep(), fail with EINTR in the
// blocked code then; set `capture_stack` to false where that is not wanted.
//
// Watching costs two stores for each step.

#ifndef COIL_LOOP_WATCHDOG_H_
#define COIL_LOOP_WATCHDOG_H_

#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/loop/internal/language.h"

namespace coil {

class EventLoop;

// One step that takes too long, as seen while it does.
struct StallReport {
  // Since the watchdog first saw the step.
  absl::Duration blocked_for;
  // What runs: "CallSoon at main.cc:12", or the name and place of a task. Empty
  // if the loop's thread could not be asked.
  std::string what;
  // The loop's thread, innermost function first. Empty as above.
  std::vector<std::string> stack;

  // Several lines, for a log.
  std::string ToString() const;
};

struct WatchdogOptions {
  // How long a step may take; for an infinite time it may be for ever.
  absl::Duration threshold = absl::Seconds(1);
  // How often to look; a quarter of the threshold if zero. At least once in an
  // hour.
  absl::Duration interval = absl::ZeroDuration();
  // Whether to interrupt the loop's thread for its stack, and with which
  // signal.
  bool capture_stack = true;
  int signal = SIGURG;
};

class Watchdog {
 public:
  using Reporter = absl::AnyInvocable<void(const StallReport&)>;

  // Watches `loop`; a null reporter writes to the diagnostic sink. Throws
  // std::runtime_error if the loop has a watchdog, std::invalid_argument if the
  // threshold is not positive or the interval is negative, OsError if no thread
  // can be started.
  explicit Watchdog(EventLoop& loop, WatchdogOptions options = {},
                    Reporter reporter = nullptr);
  // Ends the watch; a report that is being written is waited for.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // How many stalls were reported. Any thread.
  uint64_t Stalls() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace coil

#endif  // COIL_LOOP_WATCHDOG_H_
