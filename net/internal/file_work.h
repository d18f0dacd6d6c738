// coil/net/internal/file_work.h
//
// One thing to be done with a file: what, to which bytes, and what came of it.
// It is done by Run(), on a thread that may block; or piece by piece in a ring,
// whose results go to Take(); or begun in the one way and finished in the
// other.
//
// Threads: one at a time, but for RequestStop().
// Lifetime: in the frame of the task; borrows the path and the bytes.

#ifndef COIL_NET_INTERNAL_FILE_WORK_H_
#define COIL_NET_INTERNAL_FILE_WORK_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "coil/loop/internal/file_ring.h"

namespace coil::net::internal {

// What a file turned out to be that was opened, or brought along.
struct FileFacts {
  int error = 0;         // an errno: it is none that File can be
  bool appends = false;  // O_APPEND
  int64_t size = 0;
};
// Asks, and makes the descriptor a blocking one.
FileFacts FactsOf(int fd) noexcept;

class FileWork {
 public:
  using Ring = coil::internal::FileRing;
  enum class Kind : uint8_t {
    kOpen,
    kRead,
    kWrite,
    kSync,
    kSyncData,
    kClose,
    kTruncate,
    kSize,
  };

  // `path` is for errors, and for open().
  FileWork(Kind kind, const std::string& path, int fd) noexcept
      : kind_(kind), path_(path), fd_(fd) {}
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;
  // Closes what was opened and not taken.
  ~FileWork();

  // ---- what is to be done; filled in before it begins ----
  int flags = 0;  // of an open
  mode_t permissions = 0;
  char* bytes = nullptr;  // of a read or a write, which does not change them
  size_t size = 0;        // of these; of a truncate: the new size
  int64_t offset = 0;
  bool appends = false;  // a write at the end of the file, wherever that is

  // Does what is left to be done. Any thread.
  void Run() noexcept;

  // True if a ring can do it.
  bool ForRing() const noexcept {
    return kind_ != Kind::kTruncate && kind_ != Kind::kSize;
  }
  // Fills in what a ring is to do next.
  void Prepare(Ring::Operation& operation) const noexcept;
  enum class Next : uint8_t {
    kNothing,  // it is done
    kMore,     // Prepare() the next piece
    kRun,      // Run() it: a ring cannot
  };
  Next Take(int32_t result) noexcept;

  // Whether there is no harm in leaving it half done.
  bool CanStop() const noexcept {
    return kind_ != Kind::kWrite && kind_ != Kind::kClose &&
           kind_ != Kind::kTruncate;
  }
  // Nobody wants the result any more.
  void RequestStop() noexcept { stop_.store(true, std::memory_order_relaxed); }
  // Somebody wants it all the same: the cancel was taken back. True if it has
  // to go on, because it was asked to stop and may have been left half done.
  bool GoesOn() noexcept;

  // ---- what came of it ----
  // Bytes that were read or written.
  size_t done() const noexcept { return done_; }
  int error() const noexcept { return error_; }
  // The descriptor is closed.
  bool closed() const noexcept { return closed_; }
  int64_t file_size() const noexcept { return file_size_; }
  const FileFacts& facts() const noexcept { return facts_; }
  int TakeDescriptor() noexcept { return std::exchange(opened_, -1); }
  // Throws OsError if it has failed.
  void Check() const;

  const char* Verb() const noexcept;
  const std::string& path() const noexcept { return path_; }

 private:
  bool Stopped() const noexcept {
    return stop_.load(std::memory_order_relaxed);
  }
  int OpenFlags() const noexcept;
  void Opened(int fd) noexcept;
  void RunOpen() noexcept;
  void RunRead() noexcept;
  void RunWrite() noexcept;

  const Kind kind_;
  const std::string& path_;
  const int fd_;
  std::atomic<bool> stop_{false};
  size_t done_ = 0;
  int error_ = 0;
  bool closed_ = false;
  int opened_ = -1;
  int64_t file_size_ = 0;
  FileFacts facts_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_FILE_WORK_H_
