// Blocks a loop on purpose until its watchdog has noticed.

#ifndef COIL_TESTS_LOOP_STALL_H_
#define COIL_TESTS_LOOP_STALL_H_

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "coil/loop/watchdog.h"

namespace coil_testing {

// A value that one thread leaves and another waits for. Not std::promise: that
// waits in a bare system call, where ThreadSanitizer delivers no signal.
template <class T>
class Mailbox {
 public:
  void Put(T value) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!value_.has_value()) value_ = std::move(value);
    changed_.notify_all();
  }
  T Await() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return value_.has_value(); });
    return *value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;
};

// Blocks until the watchdog has reported, however long that takes.
class Stall {
 public:
  coil::Watchdog::Reporter Reporter() {
    return [this](const coil::StallReport& report) {
      ++reports_;
      mailbox_.Put(report);
    };
  }
  coil::StallReport AwaitReport() { return mailbox_.Await(); }
  int Reports() const { return reports_; }

 private:
  Mailbox<coil::StallReport> mailbox_;
  std::atomic<int> reports_{0};
};

}  // namespace coil_testing

#endif  // COIL_TESTS_LOOP_STALL_H_
