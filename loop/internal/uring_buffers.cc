#include "coil/loop/internal/uring_buffers.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>

#include "coil/loop/internal/io_uring_abi.h"

namespace coil::internal {
namespace {

constexpr uint32_t kFirstDepth = 32;

// Buffers of 16 KiB would all begin in the same set of the cache.
constexpr size_t kSkew = 64;

}  // namespace

UringBuffers::~UringBuffers() {
  if (ring_ != nullptr) ::munmap(ring_, ring_size_);
}

int UringBuffers::Allocate(uint32_t count, uint32_t size) noexcept {
  stride_ = size + kSkew;
  memory_.reset(new (std::nothrow) char[count * stride_]);
  chunks_.reset(new (std::nothrow) Chunk[count]);
  free_.reset(new (std::nothrow) uint16_t[count]);
  if (memory_ == nullptr || chunks_ == nullptr || free_ == nullptr) {
    return ENOMEM;
  }
  ring_size_ = count * sizeof(UringBuffer);
  void* const ring = ::mmap(nullptr, ring_size_, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring == MAP_FAILED) return ENOMEM;
  // The kernel reads these pages of the parent, whoever writes to a copy.
  ::madvise(ring, ring_size_, MADV_DONTFORK);
  ring_ = static_cast<UringBuffer*>(ring);
  count_ = count;
  size_ = size;
  depth_ = std::min(count, kFirstDepth);
  return 0;
}

int UringBuffers::Register(IoUring& ring) noexcept {
  UringBufferRing argument = {};
  argument.address = reinterpret_cast<uintptr_t>(ring_);
  argument.entries = count_;
  argument.group = kGroup;
  tail_ = 0;
  ring_[0].tail = 0;
  offered_ = 0;
  free_count_ = 0;
  for (uint32_t i = count_; i > 0; --i) {
    if (chunks_[i - 1].data == nullptr) {
      free_[free_count_++] = static_cast<uint16_t>(i - 1);
    }
  }
  return ring.Register(kUringRegisterBuffers, &argument, 1);
}

void UringBuffers::Refill() noexcept {
  if (offered_ >= depth_ || free_count_ == 0) return;
  do {
    const uint16_t number = free_[--free_count_];
    // But for its last word, which in the first one is the end of the ring.
    UringBuffer& buffer = ring_[tail_++ & (count_ - 1)];
    buffer.address = reinterpret_cast<uintptr_t>(DataOf(number));
    buffer.length = size_;
    buffer.number = number;
  } while (++offered_ < depth_ && free_count_ > 0);
  __atomic_store_n(&ring_[0].tail, tail_, __ATOMIC_RELEASE);
}

void UringBuffers::OfferMore() noexcept {
  depth_ = std::min(count_, depth_ * 2);
}

UringBuffers::Chunk& UringBuffers::Take(uint32_t number, size_t size) noexcept {
  Chunk& chunk = chunks_[number];
  chunk.data = DataOf(number);
  chunk.size = size;
  chunk.next = nullptr;
  --offered_;
  ++lent_;
  return chunk;
}

void UringBuffers::GiveBack(Chunk& chunk) noexcept {
  chunk.data = nullptr;
  chunk.owner = nullptr;
  free_[free_count_++] = static_cast<uint16_t>(&chunk - chunks_.get());
  --lent_;
}

}  // namespace coil::internal
