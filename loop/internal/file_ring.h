// coil/loop/internal/file_ring.h
//
// What a poller offers that lets the kernel read and write files by itself:
// operations that are begun, and told of when they are done. Found by
// Poller::Files(), so that who uses files need not know which poller it is.
//
//   Begin() ──> the kernel ──> Poll(): OnDone(result)
//      └──> waits for room ──┘    └──> Abort(): result, nobody is told
//
// Ordering: none between operations; one is begun when another one is done
//   where that matters.
// Cancellation: AskToStop() asks; the operation ends all the same by OnDone(),
//   and what it refers to stays the kernel's until then.
// Threads: the loop's thread only. FinishAll() comes before the loop leaves it.
// Lifetime: an operation and what it refers to are borrowed from Begin() until
//   OnDone() is called or Abort() returns.

#ifndef COIL_LOOP_INTERNAL_FILE_RING_H_
#define COIL_LOOP_INTERNAL_FILE_RING_H_

#include <cstdint>

namespace coil::internal {

class FileRing {
 public:
  enum class Kind : uint8_t {
    kOpen,  // of `address` with `flags` and `permissions`; gives a descriptor
    kRead,  // `size` bytes from `offset` to `address`; gives how many
    kWrite,
    kSync,
    kSyncData,
    kClose,
  };
  // The offset that stands for the position of the descriptor.
  static constexpr int64_t kPosition = -1;

  class Operation {
   public:
    Operation() = default;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // Called from Poll() or FinishAll(). `result` is what the system call gives
    // or an errno below zero. Must run no user code; may begin another one, or
    // this one again.
    virtual void OnDone(int32_t result) noexcept = 0;

    Kind kind = Kind::kRead;
    // Never in the loop's thread: it would copy for too long there.
    bool aside = false;
    int fd = -1;
    int flags = 0;
    uint32_t permissions = 0;
    uint32_t size = 0;
    const void* address = nullptr;
    int64_t offset = 0;

   protected:
    ~Operation() = default;

   private:
    friend class FileRing;
    enum class State : uint8_t { kIdle, kWaiting, kInKernel, kDone };
    State state_ = State::kIdle;
    int32_t result_ = 0;
    Operation* next_ = nullptr;
  };

  // What Abort() gives in the child of a fork: nothing is known of the
  // operation, which is the parent's.
  static constexpr int32_t kForked = INT32_MIN;

  // False if it cannot be begun: then it has to be done in another way.
  virtual bool Begin(Operation& operation) noexcept = 0;
  // The result does not matter any more. REQUIRES: it is under way.
  virtual void AskToStop(Operation& operation) noexcept = 0;
  // Waits until it is done, and gives its result; asks first if `ask`.
  virtual int32_t Abort(Operation& operation, bool ask) noexcept = 0;
  // Waits until all are done, and tells.
  virtual void FinishAll() noexcept = 0;

 protected:
  ~FileRing() = default;

  // For those that implement it: operations in a row, first in, first out.
  using State = Operation::State;
  static State& StateOf(Operation& operation) { return operation.state_; }
  static int32_t& ResultOf(Operation& operation) { return operation.result_; }
  class Row {
   public:
    bool empty() const { return first_ == nullptr; }
    void Push(Operation& operation) noexcept {
      operation.next_ = nullptr;
      (first_ != nullptr ? last_->next_ : first_) = &operation;
      last_ = &operation;
    }
    Operation* First() const { return first_; }
    // REQUIRES: it is not empty.
    Operation& Pop() noexcept {
      Operation* const popped = first_;
      first_ = popped->next_;
      return *popped;
    }
    // REQUIRES: it is in the row.
    void Remove(Operation& operation) noexcept {
      Operation* before = nullptr;
      for (Operation* each = first_; each != &operation; each = each->next_) {
        before = each;
      }
      (before != nullptr ? before->next_ : first_) = operation.next_;
      if (last_ == &operation) last_ = before;
    }

   private:
    Operation* first_ = nullptr;
    Operation* last_ = nullptr;
  };
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_FILE_RING_H_
