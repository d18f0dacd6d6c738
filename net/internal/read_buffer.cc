#include "coil/net/internal/read_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "coil/net/internal/block_pool.h"

namespace coil::net::internal {

void ReadBuffer::FreeIt() noexcept {
  FreeBlock(std::exchange(block_, nullptr), capacity_);
  begin_ = end_ = capacity_ = 0;
}

// To a new block of at least `size`, with the bytes from `begin` on.
bool ReadBuffer::MoveTo(size_t new_size, size_t begin) noexcept {
  size_t capacity = 0;
  char* block = AllocateBlock(new_size, &capacity);
  if (block == nullptr) return false;
  const size_t bytes = size();
  if (bytes != 0) std::memcpy(block + begin, block_ + begin_, bytes);
  if (block_ != nullptr) FreeBlock(block_, capacity_);
  block_ = block;
  capacity_ = capacity;
  begin_ = begin;
  end_ = begin + bytes;
  return true;
}

absl::Span<char> ReadBuffer::Reserve(size_t wanted) noexcept {
  if (block_ == nullptr) [[likely]] {
    size_t capacity = 0;
    block_ = AllocateBlock(wanted, &capacity);
    if (block_ == nullptr) return {};
    capacity_ = capacity;
    return absl::MakeSpan(block_, capacity);
  }
  // A receive into little room costs as much as one into plenty.
  const size_t enough = std::max<size_t>(wanted / 4, 1);
  if (capacity_ - end_ < enough) {
    const size_t bytes = size();
    if (capacity_ >= 2 * bytes && capacity_ - bytes >= enough) {
      std::memmove(block_, block_ + begin_, bytes);
      begin_ = 0;
      end_ = bytes;
    } else if (!MoveTo(std::max(bytes + wanted, 2 * bytes), 0)) {
      return {};
    }
  }
  return absl::MakeSpan(block_ + end_, capacity_ - end_);
}

bool ReadBuffer::Prepend(std::string_view bytes) noexcept {
  if (bytes.empty()) return true;
  if (begin_ < bytes.size()) {
    if (capacity_ - size() >= bytes.size()) {
      if (!empty()) {
        std::memmove(block_ + bytes.size(), block_ + begin_, size());
      }
      end_ = bytes.size() + size();
      begin_ = bytes.size();
    } else if (!MoveTo(bytes.size() + size(), bytes.size())) {
      return false;
    }
  }
  begin_ -= bytes.size();
  std::memcpy(block_ + begin_, bytes.data(), bytes.size());
  return true;
}

void ReadBuffer::SettleIt() noexcept {
  if (empty()) {
    Free();
  } else if (capacity_ > kSmallestBlock && size() <= kSmallestBlock / 2) {
    // A peer that sends a byte now and then must not hold 256 KiB. If there is
    // no memory, it may.
    (void)MoveTo(kSmallestBlock, 0);
  }
}

}  // namespace coil::net::internal
