// coil/net/internal/write_queue.h
//
// What is to be sent, in order. An entry either borrows its bytes from a task
// that waits in Write(), or owns them: those of WriteSoon(), and what is left
// of a Write() that was cancelled half-way.
//
//   first ──> [ borrowed, 3 of 10 sent ] ──> [ owned ] ──> [ borrowed ]
//
// Threads: as its owner.
// Lifetime: a borrowed entry lives in its awaiter, which unlinks it.

#ifndef COIL_NET_INTERNAL_WRITE_QUEUE_H_
#define COIL_NET_INTERNAL_WRITE_QUEUE_H_

#include <sys/uio.h>

#include <cstddef>
#include <string_view>

#include "absl/types/span.h"

namespace coil::net::internal {

class WriteQueue {
 public:
  class Entry {
   public:
    Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // How many bytes are not sent yet.
    size_t Remaining() const { return remaining_; }
    bool Started() const { return started_; }

    // `pieces` is borrowed.
    void SetPieces(absl::Span<const std::string_view> pieces) noexcept;
    // The first `n` bytes are sent.
    void Skip(size_t n) noexcept;
    // The first bytes, in at most `out.size()` pieces; returns how many.
    size_t Fill(absl::Span<iovec> out) const noexcept;

   protected:
    ~Entry() = default;
    // Everything was sent, or the connection is lost and nothing more will be.
    // The entry is unlinked.
    virtual void OnDone(int error) noexcept = 0;

   private:
    friend class WriteQueue;
    Entry* previous_ = nullptr;
    Entry* next_ = nullptr;
    absl::Span<const std::string_view> pieces_;  // from the first unsent one on
    size_t offset_ = 0;                          // sent of the first
    size_t remaining_ = 0;
    bool started_ = false;
    bool linked_ = false;
    bool owned_ = false;
  };

  WriteQueue() = default;
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;
  // REQUIRES: empty().
  ~WriteQueue() = default;

  bool empty() const { return first_ == nullptr; }
  // Bytes that the queue owns.
  size_t Buffered() const { return buffered_; }

  // A borrowed entry, to be sent last.
  void Push(Entry* entry) noexcept;
  // Copies `data` behind the rest. Throws std::bad_alloc.
  void Append(std::string_view data);
  // The task of `entry` goes away. What was begun is kept and will be sent:
  // the queue takes a copy of the rest. False if there is no memory for it;
  // then the entry is gone and the stream of bytes is torn.
  [[nodiscard]] bool Abandon(Entry* entry) noexcept;
  // A copy of the rest of `entry`, which is not in the queue, as the last of
  // it. False as above.
  [[nodiscard]] bool Keep(const Entry& entry) noexcept;

  // The first bytes, in at most `out.size()` pieces; returns how many.
  size_t Gather(absl::Span<iovec> out) const noexcept;
  // `n` bytes were sent. Entries that are done are told.
  void Advance(size_t n) noexcept;
  // Drops everything; those who wait are told `error`.
  void Fail(int error) noexcept;

 private:
  class Owned;

  void Link(Entry* entry, Entry* before) noexcept;
  void Unlink(Entry* entry) noexcept;

  Entry* first_ = nullptr;
  Entry* last_ = nullptr;
  size_t buffered_ = 0;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_WRITE_QUEUE_H_
