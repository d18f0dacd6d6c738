// coil/loop/internal/io_uring_calls.h
//
// The table of the system calls of io_uring, the seam where tests put failures
// in, as loop/internal/syscalls.h is for the others. A table of its own: a
// program that does not use io_uring links none of this.
//
// Threads: the table is swapped while no loop runs; any thread may read it.
// Lifetime: a table outlives its use.

#ifndef COIL_LOOP_INTERNAL_IO_URING_CALLS_H_
#define COIL_LOOP_INTERNAL_IO_URING_CALLS_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>

#include "coil/loop/internal/io_uring_abi.h"

namespace coil::internal {

// Each member gives -1 and errno for a failure.
struct IoUringTable {
  int (*setup)(unsigned entries, UringParams* params);
  int (*enter)(int ring, unsigned submit, unsigned wait_for, unsigned flags,
               const void* argument, size_t size);
  // mmap() of the ring's memory; MAP_FAILED for a failure.
  void* (*map)(size_t size, int ring, off_t offset);
  int (*unmap)(void* memory, size_t size);
  int (*fstat)(int fd, struct stat* status);
  int (*register_)(int ring, unsigned operation, void* argument,
                   unsigned count);
};

// The real ones.
extern const IoUringTable kRealIoUringCalls;

// In the source file of the table: reading it through here links the calls.
extern std::atomic<const IoUringTable*> g_io_uring_calls;

// The table in force.
inline const IoUringTable& UringSys() noexcept {
  return *g_io_uring_calls.load(std::memory_order_acquire);
}

// Puts `table` in force for a scope.
class ScopedIoUringCalls {
 public:
  explicit ScopedIoUringCalls(const IoUringTable* table)
      : previous_(g_io_uring_calls.exchange(table, std::memory_order_acq_rel)) {
  }
  ScopedIoUringCalls(const ScopedIoUringCalls&) = delete;
  ScopedIoUringCalls& operator=(const ScopedIoUringCalls&) = delete;
  ~ScopedIoUringCalls() {
    g_io_uring_calls.store(previous_, std::memory_order_release);
  }

 private:
  const IoUringTable* previous_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_IO_URING_CALLS_H_
