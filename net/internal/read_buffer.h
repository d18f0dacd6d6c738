// coil/net/internal/read_buffer.h
//
// The bytes that were received and that nobody has taken yet: contiguous, in a
// block of the pool, or in none while there are none.
//
//   block ──[ taken | the bytes | room ]
//                   begin       end    capacity
//
// Threads: as its owner.
// Lifetime: views are valid until the next call that is not const.

#ifndef COIL_NET_INTERNAL_READ_BUFFER_H_
#define COIL_NET_INTERNAL_READ_BUFFER_H_

#include <cstddef>
#include <string_view>

#include "absl/types/span.h"

namespace coil::net::internal {

class ReadBuffer {
 public:
  ReadBuffer() = default;
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;
  ~ReadBuffer() { Free(); }

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  std::string_view View() const {
    return std::string_view(block_ + begin_, size());
  }

  // Room behind the bytes, about `wanted` of it and at least one byte. Empty if
  // there is no memory.
  absl::Span<char> Reserve(size_t wanted) noexcept;
  // The first `n` bytes of the room are bytes now.
  void Commit(size_t n) noexcept { end_ += n; }
  // The first `n` bytes are taken; with the last of them goes the block.
  // REQUIRES: n <= size().
  void Consume(size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) Free();
  }
  // Puts bytes back, before those that are there. False if there is no memory.
  bool Prepend(std::string_view bytes) noexcept;
  // Nothing will come soon: gives a block back that is empty, and one that is
  // much too large for what it holds.
  void Settle() noexcept {
    if (block_ != nullptr) SettleIt();
  }
  void Clear() noexcept { Free(); }

  // For tests and reports.
  size_t capacity() const { return capacity_; }

 private:
  bool MoveTo(size_t size, size_t begin) noexcept;
  void Free() noexcept {
    if (block_ != nullptr) FreeIt();
  }
  void FreeIt() noexcept;
  void SettleIt() noexcept;

  char* block_ = nullptr;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t capacity_ = 0;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_READ_BUFFER_H_
