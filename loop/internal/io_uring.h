// coil/loop/internal/io_uring.h
//
// IoUring is one pair of rings that are shared with the kernel: operations go
// in through the one, what became of them comes out of the other. What they
// are is the business of its user.
//
// Threads: one; where the kernel insists upon it, the one that opened it: any
//   other is refused with EEXIST by Enter().
// Lifetime: Close() and the destructor give the memory and the descriptor back
//   at once; the kernel lets go of the files of operations that are under way a
//   moment later.

#ifndef COIL_LOOP_INTERNAL_IO_URING_H_
#define COIL_LOOP_INTERNAL_IO_URING_H_

#include <cstddef>
#include <cstdint>

#include "coil/loop/internal/io_uring_abi.h"

namespace coil::internal {

class IoUring {
 public:
  IoUring() = default;
  IoUring(const IoUring&) = delete;
  IoUring& operator=(const IoUring&) = delete;
  ~IoUring() { Close(); }

  // Opens it with as many of the flags that coil likes as the kernel knows, and
  // gives 0, or the errno: EPERM or ENOSYS where io_uring is not to be had.
  // With `any_thread` it does not belong to the thread that has opened it.
  // REQUIRES: !IsOpen().
  int Open(uint32_t operations, uint32_t completions,
           bool any_thread = false) noexcept;
  void Close() noexcept;
  bool IsOpen() const noexcept { return fd_ >= 0; }
  // Readable while there are completions.
  int Descriptor() const noexcept { return fd_; }
  // How many completions there is room for.
  uint32_t Capacity() const noexcept { return params_.cq_entries; }

  // A cleared operation, which the next Enter() hands over; null if the ring is
  // full.
  UringSqe* NextOperation() noexcept;
  // How many of them the kernel has not taken yet.
  uint32_t Unsubmitted() const noexcept;

  // Hands over all operations, and waits until there are `wait_for`
  // completions, for at most `timeout` (null: for ever). Gives 0 or the errno:
  // ETIME if the time is over, EINTR, EAGAIN and EBUSY (try again), EEXIST (see
  // Threads), EBADR (completions were lost for want of memory).
  int Enter(uint32_t wait_for, const UringTimespec* timeout) noexcept;
  // The same without handing anything over.
  int WaitOnly(uint32_t wait_for, const UringTimespec* timeout) noexcept;
  // io_uring_register(): 0 or the errno.
  int Register(unsigned operation, void* argument, unsigned count) noexcept;

  // Takes back what has been begun, without an operation: 0 or the errno,
  // ENOENT if there is nothing of this `user_data`. Its end is told as ever,
  // with a later call. EINVAL before 6.0.
  int CancelNow(uint64_t user_data) noexcept;
  // The same for all that there is.
  int CancelAll() noexcept;
  // Takes back what the kernel has not taken yet; false if there is no such
  // operation. Something is `told_instead`.
  bool Retract(uint64_t user_data, uint64_t told_instead) noexcept;

  // Completions are held back until the next Enter().
  bool HoldsBack() const noexcept {
    return (Load(sq_flags_) & (kUringSqOverflow | kUringSqTaskrun)) != 0;
  }

  // The same, because the ring is full.
  bool Overflows() const noexcept {
    return (Load(sq_flags_) & kUringSqOverflow) != 0;
  }

  // The oldest completion, or null. It is valid until Pop().
  const UringCqe* Front() const noexcept {
    const uint32_t head = *cq_head_;
    if (head == Load(cq_tail_)) return nullptr;
    return &cqes_[head & cq_mask_];
  }
  // REQUIRES: Front() != nullptr.
  void Pop() noexcept { Store(cq_head_, *cq_head_ + 1); }

  // Flags and features that the kernel has granted.
  uint32_t flags() const noexcept { return flags_; }
  uint32_t features() const noexcept { return features_; }

 private:
  // The other side of each of these is the kernel.
  static uint32_t Load(const uint32_t* value) noexcept {
    return __atomic_load_n(value, __ATOMIC_ACQUIRE);
  }
  static void Store(uint32_t* to, uint32_t value) noexcept {
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
  }
  int EnterWith(uint32_t submit, uint32_t wait_for,
                const UringTimespec* timeout) noexcept;
  int MapRings() noexcept;
  int SyncCancel(uint64_t user_data, uint32_t flags) noexcept;

  int fd_ = -1;
  uint32_t flags_ = 0;
  uint32_t features_ = 0;
  UringParams params_ = {};

  char* rings_ = nullptr;
  size_t rings_size_ = 0;
  UringSqe* sqes_ = nullptr;
  size_t sqes_size_ = 0;

  uint32_t sq_tail_value_ = 0;  // what was filled in, handed over or not
  uint32_t* sq_head_ = nullptr;
  uint32_t* sq_tail_ = nullptr;
  uint32_t* sq_flags_ = nullptr;
  uint32_t sq_mask_ = 0;
  uint32_t* cq_head_ = nullptr;
  uint32_t* cq_tail_ = nullptr;
  UringCqe* cqes_ = nullptr;
  uint32_t cq_mask_ = 0;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_IO_URING_H_
