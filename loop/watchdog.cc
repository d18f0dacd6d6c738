#include "coil/loop/watchdog.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_impl.h"
#include "coil/loop/internal/stack_capture.h"
#include "coil/loop/internal/stall_probe.h"
#include "coil/loop/os_error.h"

namespace coil {

std::string StallReport::ToString() const {
  std::string text = "coil: the event loop has been blocked for " +
                     absl::FormatDuration(blocked_for);
  if (!what.empty()) text += " in " + what;
  for (const std::string& frame : stack) text += "\n    " + frame;
  return text;
}

struct Watchdog::Impl {
  Impl(WatchdogOptions options, Reporter reporter)
      : options(options),
        reporter(std::move(reporter)),
        detector(options.threshold) {}

  void Watch();
  void Report(uint64_t step, absl::Duration blocked_for);

  EventLoop* loop = nullptr;
  internal::LoopCore* core = nullptr;
  WatchdogOptions options;
  Reporter reporter;
  internal::StallProbe probe;
  internal::StallDetector detector;
  std::optional<internal::StackSignal> stack_signal;
  std::atomic<uint64_t> stalls{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool ending = false;
  std::thread thread;
};

void Watchdog::Impl::Watch() {
  const auto interval = absl::ToChronoNanoseconds(options.interval);
  std::unique_lock<std::mutex> lock(mutex);
  while (!changed.wait_for(lock, interval, [this] { return ending; })) {
    lock.unlock();
    const uint64_t step = probe.step.load(std::memory_order_acquire);
    // The clock of the loop may be a virtual one.
    const absl::Duration now =
        absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
    if (std::optional<absl::Duration> blocked = detector.Look(step, now)) {
      Report(step, *blocked);
    }
    lock.lock();
  }
}

void Watchdog::Impl::Report(uint64_t step, absl::Duration blocked_for) {
  StallReport report;
  report.blocked_for = blocked_for;
  if (stack_signal.has_value()) {
    internal::CapturedStack captured;
    if (internal::CaptureStack(*core, probe, step, options.signal,
                               absl::Seconds(1), captured)) {
      report.what = std::move(captured.what);
      report.stack = std::move(captured.frames);
    } else if (probe.step.load(std::memory_order_acquire) != step) {
      return;  // over in the meantime
    }
  }
  stalls.fetch_add(1, std::memory_order_relaxed);
  if (reporter == nullptr) return WriteDiagnostic(report.ToString());
  try {
    reporter(report);
  } catch (...) {
    WriteDiagnostic("coil: exception in the reporter of a Watchdog\n  " +
                    DescribeException(std::current_exception()));
  }
}

Watchdog::Watchdog(EventLoop& loop, WatchdogOptions options,
                   Reporter reporter) {
  if (options.threshold <= absl::ZeroDuration()) {
    throw std::invalid_argument("Watchdog: the threshold must be positive");
  }
  loop.CheckUsable("Watchdog");
  EventLoop::Impl& d = *loop.impl_;
  if (d.probe != nullptr) {
    throw std::runtime_error("Watchdog: this event loop has one already");
  }
  if (options.interval < absl::ZeroDuration()) {
    throw std::invalid_argument("Watchdog: the interval must not be negative");
  }
  options.interval =
      internal::StallDetector::Interval(options.threshold, options.interval);
  impl_ = std::make_unique<Impl>(options, std::move(reporter));
  impl_->loop = &loop;
  impl_->core = &loop.core_;
  if (options.capture_stack) impl_->stack_signal.emplace(options.signal);
  try {
    impl_->thread = std::thread([impl = impl_.get()] { impl->Watch(); });
  } catch (const std::system_error& e) {
    throw OsError(e.code().value(), "start of a Watchdog's thread");
  }
  d.AttachProbe(&impl_->probe);
}

Watchdog::~Watchdog() {
  {
    std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->ending = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
  impl_->loop->impl_->DetachProbe();
}

uint64_t Watchdog::Stalls() const noexcept {
  return impl_->stalls.load(std::memory_order_relaxed);
}

}  // namespace coil
