// Holds who wakes a loop up until that loop is gone.

#ifndef COIL_TESTS_LOOP_HELD_WAKE_H_
#define COIL_TESTS_LOOP_HELD_WAKE_H_

#include <fcntl.h>
#include <unistd.h>

#include <atomic>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/syscalls.h"

namespace coil_testing {

// The thread that posts writes to the loop's descriptor after the post was
// taken: the loop may run it, end, and be destroyed before the write returns.
class HeldWake {
 public:
  // REQUIRES: `loop` does not run yet. One at a time.
  explicit HeldWake(coil::EventLoop& loop)
      : table_(coil::internal::kRealSyscalls), scope_(&table_) {
    table_.write = Write;
    fd_ = coil::internal::CoreOf(loop).remote()->WakeDescriptor();
    gone_ = false;
    held_ = 0;
    still_open_ = 0;
  }
  // The loop is gone: lets them go on.
  void Release() {
    gone_ = true;
    gone_.notify_all();
  }
  // After the threads were joined: how many were held, and how many of them
  // found the descriptor open after that.
  int Held() const { return held_; }
  int StillOpen() const { return still_open_; }

 private:
  static ssize_t Write(int fd, const void* buffer, size_t size) {
    const ssize_t n = ::write(fd, buffer, size);
    if (fd == fd_) {
      ++held_;
      gone_.wait(false);
      if (::fcntl(fd, F_GETFD) >= 0) ++still_open_;
    }
    return n;
  }

  static inline std::atomic<int> fd_{-1};
  static inline std::atomic<bool> gone_{false};
  static inline std::atomic<int> held_{0};
  static inline std::atomic<int> still_open_{0};
  coil::internal::SyscallTable table_;
  coil::internal::ScopedSyscalls scope_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_LOOP_HELD_WAKE_H_
