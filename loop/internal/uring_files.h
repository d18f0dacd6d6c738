// coil/loop/internal/uring_files.h
//
// Operations on files in a ring of their own, beside the one with the polls.
// There are never more in the kernel than completions have room for: none can
// be lost, so that it is known of each when it is over, and the ring never has
// to be given up while the kernel writes into memory of the program. (The ring
// of the polls may be: see IoUringPoller::OpenAnew().)
//
// Threads: one at a time. FinishAll() comes before it moves to another: the
//   kernel finishes an operation in the thread that has begun it.
// Lifetime: no operation is under way when it is destroyed.

#ifndef COIL_LOOP_INTERNAL_URING_FILES_H_
#define COIL_LOOP_INTERNAL_URING_FILES_H_

#include <cstdint>

#include "coil/loop/internal/file_ring.h"
#include "coil/loop/internal/io_uring.h"

namespace coil::internal {

class UringFiles final : private FileRing {
 public:
  using FileRing::Operation;

  UringFiles() = default;
  UringFiles(const UringFiles&) = delete;
  UringFiles& operator=(const UringFiles&) = delete;

  // 0 or the errno. REQUIRES: !IsOpen().
  int Open() noexcept;
  void Close() noexcept { ring_.Close(); }
  bool IsOpen() const noexcept { return ring_.IsOpen(); }
  // Becomes readable when an operation is done.
  int Descriptor() const noexcept { return ring_.Descriptor(); }

  // REQUIRES: IsOpen().
  bool Begin(Operation& operation) noexcept override;
  void AskToStop(Operation& operation) noexcept override;
  int32_t Abort(Operation& operation, bool ask) noexcept override;
  void FinishAll() noexcept override;
  // Waits until one is done. REQUIRES: !Idle().
  void WaitForOne() noexcept {
    while (done_.empty()) Wait();
  }

  // None is under way, or done and not told of.
  bool Idle() const noexcept { return under_way_ == 0; }
  // Hands over what was begun, and takes what is done. Does not wait.
  void Turn() noexcept;
  bool HasDone() const noexcept { return !done_.empty(); }
  // The kernel does not take everything now: try again soon.
  bool Stuck() const noexcept {
    return ring_.IsOpen() && ring_.Unsubmitted() > 0;
  }
  // Tells of what was done, and returns of how many.
  int Deliver() noexcept;

 private:
  void Feed() noexcept;
  void Reap() noexcept;
  void Wait() noexcept;

  IoUring ring_;
  uint32_t in_kernel_ = 0;  // those that ask to stop included
  uint32_t under_way_ = 0;
  Row waiting_;
  Row done_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_URING_FILES_H_
