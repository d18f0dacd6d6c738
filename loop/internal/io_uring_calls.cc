#include "coil/loop/internal/io_uring_calls.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Old headers lack the numbers; they are the same on every architecture.
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_io_uring_enter
#define SYS_io_uring_enter 426
#endif
#ifndef SYS_io_uring_register
#define SYS_io_uring_register 427
#endif

namespace coil::internal {
namespace {

int Setup(unsigned entries, UringParams* params) {
  return static_cast<int>(::syscall(SYS_io_uring_setup, entries, params));
}

int Enter(int ring, unsigned submit, unsigned wait_for, unsigned flags,
          const void* argument, size_t size) {
  return static_cast<int>(::syscall(SYS_io_uring_enter, ring, submit, wait_for,
                                    flags, argument, size));
}

void* Map(size_t size, int ring, off_t offset) {
  return ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_POPULATE, ring, offset);
}

int Register(int ring, unsigned operation, void* argument, unsigned count) {
  return static_cast<int>(
      ::syscall(SYS_io_uring_register, ring, operation, argument, count));
}

int Fstat(int fd, struct stat* status) { return ::fstat(fd, status); }

}  // namespace

constinit const IoUringTable kRealIoUringCalls = {
    .setup = Setup,
    .enter = Enter,
    .map = Map,
    .unmap = ::munmap,
    .fstat = Fstat,
    .register_ = Register,
};

constinit std::atomic<const IoUringTable*> g_io_uring_calls{&kRealIoUringCalls};

}  // namespace coil::internal
