// coil/task/internal/ref_count.h
//
// The count of those who share a task or a future. Handles may be copied and
// dropped on any thread, because a callback that another thread posts brings
// one along; but a locked instruction costs as much as a switch of tasks, so
// none is used while the process has but one thread, which the C library knows.
//
// Threads: any.
// Lifetime: a member of what it counts.

#ifndef COIL_TASK_INTERNAL_REF_COUNT_H_
#define COIL_TASK_INTERNAL_REF_COUNT_H_

#include <atomic>
#include <cstdint>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define COIL_SINGLE_THREADED __libc_single_threaded
#else
#define COIL_SINGLE_THREADED false
#endif

namespace coil::internal {

class RefCount {
 public:
  explicit RefCount(uint32_t count) noexcept : count_(count) {}

  void Add() noexcept {
    if (COIL_SINGLE_THREADED) [[likely]] {
      count_.store(Get() + 1, std::memory_order_relaxed);
    } else {
      count_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  // True if that was the last one.
  [[nodiscard]] bool Drop() noexcept {
    if (COIL_SINGLE_THREADED) [[likely]] {
      const uint32_t left = Get() - 1;
      count_.store(left, std::memory_order_relaxed);
      return left == 0;
    }
    // The only one left: nobody can add to it meanwhile.
    if (count_.load(std::memory_order_acquire) == 1) return true;
    return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  uint32_t Get() const noexcept {
    return count_.load(std::memory_order_relaxed);
  }
  // What the others have done to the object before they let go is seen.
  bool Unique() const noexcept {
    return count_.load(std::memory_order_acquire) == 1;
  }

 private:
  std::atomic<uint32_t> count_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_REF_COUNT_H_
