// coil/loop/internal/stack_capture.h
//
// Asks a thread that is busy with one step of a loop for its stack and for the
// name of what runs, by a signal. One request at a time in the process.
//
// Threads: CaptureStack() is called by the watchdog's thread.

#ifndef COIL_LOOP_INTERNAL_STACK_CAPTURE_H_
#define COIL_LOOP_INTERNAL_STACK_CAPTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/stall_probe.h"

namespace coil::internal {

// Installs the handler for `signal` while it lives; counted, so that several
// watchdogs share it. Throws OsError, or std::runtime_error if they disagree.
class StackSignal {
 public:
  explicit StackSignal(int signal);
  ~StackSignal();
  StackSignal(const StackSignal&) = delete;
  StackSignal& operator=(const StackSignal&) = delete;
};

struct CapturedStack {
  std::string what;
  std::vector<std::string> frames;
};

// Asks the thread of `probe`, which runs `core`, and waits for the answer at
// most `patience`. False if the step `step` is over, or the thread does not
// answer.
bool CaptureStack(const LoopCore& core, const StallProbe& probe, uint64_t step,
                  int signal, absl::Duration patience, CapturedStack& result);

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_STACK_CAPTURE_H_
