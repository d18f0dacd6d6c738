// coil/loop/internal/uring_buffers.h
//
// The memory into which a ring receives. A buffer is
//
//   free ──Refill()──> offered to the kernel ──Take()──> lent ──GiveBack()──>
//
// Only some of those that are free are offered at a time, the ones last used
// first, as their memory is in the cache; more once that was not enough.
//
// Threads: as its owner.
// Lifetime: the rings that were told of it are closed, or receive nothing,
//   before it dies.

#ifndef COIL_LOOP_INTERNAL_URING_BUFFERS_H_
#define COIL_LOOP_INTERNAL_URING_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "coil/loop/internal/io_uring.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/stream_ring.h"

namespace coil::internal {

class UringBuffers {
 public:
  using Chunk = StreamRing::Chunk;
  // The group that an operation names.
  static constexpr uint16_t kGroup = 0;

  UringBuffers() = default;
  UringBuffers(const UringBuffers&) = delete;
  UringBuffers& operator=(const UringBuffers&) = delete;
  ~UringBuffers();

  // Makes `count` buffers, a power of two, of `size` each: 0 or ENOMEM.
  // REQUIRES: count() == 0.
  int Allocate(uint32_t count, uint32_t size) noexcept;
  // Tells a ring of them, another one than before perhaps, which receives
  // nothing any more: 0 or the errno.
  int Register(IoUring& ring) noexcept;

  uint32_t count() const { return count_; }
  uint32_t lent() const { return lent_; }
  // A quarter is left, or less.
  bool Short() const { return (count_ - lent_) * 4 <= count_; }

  // Offers what is to be had.
  void Refill() noexcept;
  // The kernel has found none.
  void OfferMore() noexcept;
  // It has put `size` bytes into this one.
  Chunk& Take(uint32_t number, size_t size) noexcept;
  void GiveBack(Chunk& chunk) noexcept;
  // The chunk of each buffer, lent or not.
  Chunk& at(uint32_t number) noexcept { return chunks_[number]; }

 private:
  char* DataOf(uint32_t number) const {
    return memory_.get() + number * stride_;
  }

  uint32_t count_ = 0;
  uint32_t size_ = 0;
  size_t stride_ = 0;
  std::unique_ptr<char[]> memory_;
  std::unique_ptr<Chunk[]> chunks_;
  std::unique_ptr<uint16_t[]> free_;
  uint32_t free_count_ = 0;
  uint32_t offered_ = 0;
  uint32_t depth_ = 0;  // how many are to be offered
  uint32_t lent_ = 0;
  uint16_t tail_ = 0;
  UringBuffer* ring_ = nullptr;
  size_t ring_size_ = 0;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_URING_BUFFERS_H_
