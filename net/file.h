// coil/net/file.h
//
// File reads and writes a regular file without blocking the loop: what aiofiles
// is for asyncio. ReadFile() and WriteFile() do it in one call. A loop on an
// IoUringPoller has the kernel do it, any other one a thread of its default
// pool.
//
// Example:
//   coil::Co<void> Count(std::string path) {
//     coil::net::File file = co_await coil::net::OpenFile(path, "r+");
//     std::string text = co_await file.ReadAll();
//     co_await file.Write(std::to_string(text.size()) + " bytes\n");
//     co_await file.Close();
//     co_await coil::net::WriteFile(path + ".old", text);
//   }
//
// Ordering: the operations of one file are done one after the other, first in,
//   first out, in the order in which they are awaited; ReadAt()s that stand
//   next to one another are done at once. Different files know nothing of each
//   other.
// Cancellation: if CancelledError is delivered, a read has consumed nothing:
//   the position is where it was. A write that waits in line is not done; one
//   that has begun is done whole, the cancel is thrown after it, and the
//   position is behind it. So the position is always exact, and no write is
//   torn. A task stays suspended for as long as the kernel or a thread uses
//   its bytes.
// Threads: the loop's thread only. The file belongs to the loop of the first
//   task that had to wait in line.
// Lifetime: a cheap handle that may be copied. Bytes that are given by span or
//   string_view are borrowed until the call returns. The descriptor is closed
//   by Close(), or with the last handle and operation, which may block.
//
// Nothing is buffered here: each call is one of the system's, so read and write
// large pieces. There is no text mode. What gives its bytes when it likes (a
// FIFO, a terminal, a socket) is refused with ESPIPE: see coil/net/pipe.h.
//
// Operations throw OsError with the path; InvalidStateError after Close();
// std::runtime_error if the loop's pool of threads is shut down.
//
// asyncio has none; Python: open(), aiofiles.

#ifndef COIL_NET_FILE_H_
#define COIL_NET_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "coil/net/internal/incomplete_read.h"
#include "coil/task/co.h"

namespace coil::net {

namespace internal {
struct FileCore;
}  // namespace internal

// How a file is opened: OpenFile(path, "w"), or
// OpenFile(path, FileOptions("w").Permissions(0600)).
class FileOptions {
 public:
  // As Python's open():
  //   r  read; the file exists         w  write; it is made, or made empty
  //   x  write; it does not exist      a  write at its end; it is made
  // with a + also the other one. A b may be added and says nothing. Throws
  // std::invalid_argument for anything else.
  FileOptions(std::string_view mode = "r");  // NOLINT: like a literal
  FileOptions(const char* mode)              // NOLINT: the same
      : FileOptions(std::string_view(mode)) {}

  // Of a file that is made; 0666 at first. The umask is taken away.
  FileOptions& Permissions(mode_t permissions) {
    permissions_ = permissions;
    return *this;
  }
  // More flags of open(2): O_NOFOLLOW, O_DSYNC, O_DIRECT (then the caller's
  // bytes have to be aligned).
  FileOptions& Flags(int flags) {
    flags_ |= flags;
    return *this;
  }

  mode_t permissions() const { return permissions_; }
  int flags() const { return flags_; }

 private:
  int flags_ = 0;
  mode_t permissions_ = 0666;
};

// From where File::Seek() counts. Python: os.SEEK_SET, ...
enum class SeekFrom : uint8_t { kStart, kCurrent, kEnd };

class File {
 public:
  // No file: everything but IsOpen() and Close() throws InvalidStateError.
  File() = default;
  // Takes over a descriptor; its position is where this one begins, and is not
  // moved by it but when appending. `path` is for errors. Throws OsError, and
  // then the descriptor is still the caller's.
  static File FromDescriptor(int fd, std::string path = {});

  // `n` bytes, less only if the file ends before; all that there is for a
  // negative `n`. Nothing was consumed if it throws.
  [[nodiscard("co_await it")]] Co<std::string> Read(ptrdiff_t n) const;
  // The same into `out`; how many.
  [[nodiscard("co_await it")]] Co<size_t> Read(absl::Span<char> out) const;
  // All that there is from the position on.
  [[nodiscard("co_await it")]] Co<std::string> ReadAll() const;
  // Exactly `n` bytes. Throws IncompleteReadError if the file ends before, with
  // what there was; the position is behind that.
  [[nodiscard("co_await it")]] Co<std::string> ReadExactly(size_t n) const;
  // Writes all of it. If it throws OsError, the position is behind what was
  // written.
  [[nodiscard("co_await it")]] Co<void> Write(std::string_view data) const;

  // The same at `offset`, whatever the position is, which stays where it is.
  [[nodiscard("co_await it")]] Co<std::string> ReadAt(uint64_t offset,
                                                      size_t n) const;
  [[nodiscard("co_await it")]] Co<size_t> ReadAt(uint64_t offset,
                                                 absl::Span<char> out) const;
  // Behind the end a gap of zeros is left. To a file that was opened with "a"
  // Linux writes at the end all the same.
  [[nodiscard("co_await it")]] Co<void> WriteAt(uint64_t offset,
                                                std::string_view data) const;

  // Moves the position, in line, and gives it. It may lie behind the end.
  // Throws std::invalid_argument before the start.
  [[nodiscard("co_await it")]] Co<uint64_t> Seek(
      int64_t offset, SeekFrom from = SeekFrom::kStart) const;
  // The position, behind all operations that have ended.
  uint64_t Tell() const;

  [[nodiscard("co_await it")]] Co<uint64_t> Size() const;
  // Cuts it, or fills it up with zeros; the position stays where it is.
  [[nodiscard("co_await it")]] Co<void> Truncate(uint64_t size) const;
  // Waits until everything is on the disk: fsync(), fdatasync().
  [[nodiscard("co_await it")]] Co<void> Sync() const;
  [[nodiscard("co_await it")]] Co<void> SyncData() const;

  // Closes it once the operations before it are done; others throw from now
  // on. It is closed also if this throws or is cancelled. Idempotent.
  [[nodiscard("co_await it")]] Co<void> Close() const;
  bool IsOpen() const noexcept;

  // The descriptor, for StreamWriter::SendFile() and the like; -1 if closed.
  int Descriptor() const noexcept;
  // Empty for no file.
  std::string_view Path() const noexcept;

  // With(file, body) closes it behind the body.
  Co<File> AEnter() const;
  Co<void> AExit(std::exception_ptr error) const;

 private:
  friend Co<File> OpenFile(std::string path, FileOptions options);
  using CorePtr = std::shared_ptr<internal::FileCore>;
  explicit File(CorePtr core) noexcept : core_(std::move(core)) {}
  CorePtr Checked(const char* what) const;

  CorePtr core_;
};

// Opens a file; closed in children. Throws OsError: EISDIR for a folder, ESPIPE
// for what is no file at all. A cancel may leave an empty file behind.
[[nodiscard("co_await it")]] Co<File> OpenFile(std::string path,
                                               FileOptions options = "r");

// All bytes of a file. Python: Path.read_bytes().
[[nodiscard("co_await it")]] Co<std::string> ReadFile(std::string path);

// Makes a file of `data`, in the place of one that is there, or as the options
// say ("a", "x"). A cancel may leave it empty, but not cut short. Python:
// Path.write_bytes().
[[nodiscard("co_await it")]] Co<void> WriteFile(std::string path,
                                                std::string_view data,
                                                FileOptions options = "w");

}  // namespace coil::net

#endif  // COIL_NET_FILE_H_
