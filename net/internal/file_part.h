// coil/net/internal/file_part.h
//
// The part of a file that is being sent: what SendFile() over a stream and over
// a socket have in common.
//
// Threads: one at a time; Read() is called on a thread of the pool.
// Lifetime: borrows the descriptor.

#ifndef COIL_NET_INTERNAL_FILE_PART_H_
#define COIL_NET_INTERNAL_FILE_PART_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>

#include "coil/net/send_file.h"

namespace coil::net::internal {

class FilePart {
 public:
  // Asked of the kernel with one call, so that the loop gets its turn.
  static constexpr size_t kNativeChunk = size_t{1} << 20;
  // Read by the fallback at once. asyncio: A326.
  static constexpr size_t kBlock = size_t{256} << 10;

  // `function` is for people. Throws OsError, std::invalid_argument.
  FilePart(const char* function, int fd, const SendFileOptions& options);
  FilePart(const FilePart&) = delete;
  FilePart& operator=(const FilePart&) = delete;
  // Leaves the position of the file behind what was sent.
  ~FilePart();

  int fd() const { return fd_; }
  // The kernel may know how to send it.
  bool regular() const { return regular_; }
  uint64_t sent() const { return sent_; }
  int64_t offset() const { return static_cast<int64_t>(begin_ + sent_); }
  bool Complete() const { return left_ == 0; }
  // How much to do next, at most `most`.
  size_t Next(size_t most) const {
    return left_ < most ? static_cast<size_t>(left_) : most;
  }
  void Advance(uint64_t n) {
    sent_ += n;
    left_ -= n;
  }

  // The kernel cannot do it, rather than: it has failed.
  static bool Unavailable(int error);
  // The file is at fault, and not the connection.
  static bool FileFailed(int error);
  [[noreturn]] void ThrowUnavailable() const;
  [[noreturn]] void ThrowFileError(int error) const;

  // Reads the next bytes, which blocks. Their number, or an errno below zero:
  // -EAGAIN if a file that is not a regular one has had none for a moment. It
  // may never have any, and nobody can interrupt a thread in read().
  int64_t Read(char* out, size_t size) const noexcept;

 private:
  const char* const function_;
  const int fd_;
  const uint64_t begin_;
  bool regular_;
  uint64_t sent_ = 0;
  uint64_t left_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_FILE_PART_H_
