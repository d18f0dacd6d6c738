// coil/loop/internal/uring_streams.h
//
// Receiving and accepting in the ring of a poller: what is under way, the
// buffers that it fills, and what it has told and nobody has heard yet. The
// poller moves operations and completions between this and its ring.
//
// No operation is armed while the ring is closed: bytes would go with it. If
// the kernel has lost completions, those whose end is missing are told.
//
// Threads: as the poller.
// Lifetime: all operations are detached before it dies.

#ifndef COIL_LOOP_INTERNAL_URING_STREAMS_H_
#define COIL_LOOP_INTERNAL_URING_STREAMS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "coil/loop/internal/io_uring.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/stream_ring.h"
#include "coil/loop/internal/uring_buffers.h"

namespace coil::internal {

class UringStreams {
 public:
  using Chunk = StreamRing::Chunk;
  using Operation = StreamRing::Operation;

  UringStreams() = default;
  UringStreams(const UringStreams&) = delete;
  UringStreams& operator=(const UringStreams&) = delete;

  // Finds out whether the kernel can do it, and makes the buffers: 0 or the
  // errno. REQUIRES: !IsOpen().
  int Open(IoUring& ring, uint32_t buffers, uint32_t buffer_size) noexcept;
  bool IsOpen() const { return open_; }
  // `ring` stands for another one from now on, which has to be told of the
  // buffers: 0 or the errno. REQUIRES: IsOpen(), Armed() == 0.
  int MoveTo(IoUring& ring) noexcept;
  // It will not be done any more: all are told.
  void Refuse() noexcept;

  // REQUIRES: IsOpen(). False without memory.
  bool Attach(Operation& operation, int fd) noexcept;
  static bool Attached(const Operation& operation) {
    return operation.fd_ >= 0;
  }
  // True if the kernel has it: then what has this `user_data` is to be
  // cancelled. REQUIRES: Attached().
  bool Detach(Operation& operation, uint64_t* user_data) noexcept;
  void Start(Operation& operation) noexcept;
  void Stop(Operation& operation) noexcept;
  void GiveBack(Chunk& chunk) noexcept { buffers_.GiveBack(chunk); }

  // How many are with the kernel, or on the way there.
  uint32_t Armed() const { return armed_; }
  // Something is to be handed over.
  bool HasChanged() const { return first_ != nullptr; }
  // Puts what has changed into `ring`; false if that is full. What comes of a
  // cancel bears `ignored`.
  bool HandOver(IoUring& ring, uint64_t ignored) noexcept;
  // If few buffers are left, all that are lent are wanted back.
  void CallBackIfShort() noexcept {
    if (open_ && buffers_.Short()) CallBack();
  }

  // Whether a completion is of this, provided that it is one of interest.
  static bool Owns(uint64_t user_data) { return (user_data & kMark) != 0; }
  // Takes one; false if there is no room before the next Deliver().
  bool Take(const UringCqe& told) noexcept;
  bool HasNews() const { return news_count_ > 0; }
  // Tells of what was taken, and returns of how much.
  int Deliver() noexcept;
  // The completions of what is armed were lost: that is told.
  void LoseArmed() noexcept;

 private:
  // A descriptor has 31 bits.
  static constexpr uint64_t kMark = uint64_t{1} << 31;
  static constexpr size_t kMostNews = 256;

  // Indexed by descriptor.
  struct Entry {
    Operation* operation = nullptr;
    uint32_t generation = 0;
  };
  struct News {
    uint64_t user_data;
    int32_t result;
    bool more;
    Chunk* chunk;
  };

  uint64_t UserData(const Operation& operation) const;
  Operation* Find(uint64_t user_data) const;
  void List(Operation& operation) noexcept;
  void Unlist(Operation& operation) noexcept;
  void Prepare(UringSqe& sqe, const Operation& operation) const noexcept;
  void Tell(Operation& operation, const News& news) noexcept;
  void End(Operation& operation, int error) noexcept;
  void Drop(const News& news) noexcept;
  void CallBack() noexcept;

  bool open_ = false;
  UringBuffers buffers_;
  std::vector<Entry> entries_;
  uint32_t armed_ = 0;
  Operation* first_ = nullptr;  // of those that have changed
  Operation* last_ = nullptr;
  size_t news_count_ = 0;
  std::array<News, kMostNews> news_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_URING_STREAMS_H_
