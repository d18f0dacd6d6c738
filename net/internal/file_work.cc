#include "coil/net/internal/file_work.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::net::internal {

using coil::internal::CloseDescriptor;
using coil::internal::SockSys;
using coil::internal::Sys;

namespace {

// Read or written at once: a cancel is heard between two of them.
constexpr size_t kPiece = size_t{8} << 20;
// In a ring: what is copied in the loop's thread if it is in memory.
constexpr size_t kCopiedByLoop = size_t{128} << 10;

// Calls until it is not interrupted. -1 and errno for a failure.
template <class F>
auto Retry(F call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

FileFacts FactsOf(int fd) noexcept {
  FileFacts facts;
  struct stat status = {};
  const int flags = Sys().get_flags(fd);
  if (flags < 0 || SockSys().fstat(fd, &status) != 0) {
    facts.error = errno;
    return facts;
  }
  if (S_ISDIR(status.st_mode)) {
    facts.error = EISDIR;
  } else if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode) &&
             (!S_ISCHR(status.st_mode) || ::lseek(fd, 0, SEEK_CUR) < 0)) {
    facts.error = ESPIPE;
  } else if ((flags & O_NONBLOCK) != 0 &&
             Sys().set_flags(fd, flags & ~O_NONBLOCK) != 0) {
    facts.error = errno;
  }
  facts.appends = (flags & O_APPEND) != 0;
  facts.size = status.st_size;
  return facts;
}

// Without O_NONBLOCK a FIFO would wait for its other end.
int FileWork::OpenFlags() const noexcept {
  return flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
}

FileWork::~FileWork() { CloseDescriptor(opened_); }

const char* FileWork::Verb() const noexcept {
  switch (kind_) {
    case Kind::kOpen:
      return "open";
    case Kind::kRead:
      return "read";
    case Kind::kWrite:
      return "write";
    case Kind::kSync:
      return "fsync";
    case Kind::kSyncData:
      return "fdatasync";
    case Kind::kClose:
      return "close";
    case Kind::kTruncate:
      return "truncate";
    case Kind::kSize:
      return "stat";
  }
  return "";
}

void FileWork::Check() const {
  if (error_ != 0) throw OsError(error_, Verb(), path_);
}

bool FileWork::GoesOn() noexcept {
  if (!Stopped() || opened_ >= 0) return false;
  stop_.store(false, std::memory_order_relaxed);
  error_ = 0;
  return true;
}

// ---- on a thread

void FileWork::Opened(int fd) noexcept {
  opened_ = fd;
  facts_ = FactsOf(fd);
  error_ = facts_.error;
}

void FileWork::RunOpen() noexcept {
  const int fd = Retry([&] {
    return SockSys().open_file(path_.c_str(), OpenFlags(), permissions);
  });
  if (fd < 0) {
    error_ = errno;
  } else {
    Opened(fd);
  }
}

void FileWork::RunRead() noexcept {
  while (done_ < size && !Stopped()) {
    const ssize_t n = Retry([&] {
      return SockSys().pread(fd_, bytes + done_, std::min(size - done_, kPiece),
                             offset + static_cast<int64_t>(done_));
    });
    if (n < 0) error_ = errno;
    if (n <= 0) return;
    done_ += static_cast<size_t>(n);
  }
}

void FileWork::RunWrite() noexcept {
  while (done_ < size) {
    const size_t piece = std::min(size - done_, kPiece);
    const ssize_t n = Retry([&] {
      return appends ? Sys().write(fd_, bytes + done_, piece)
                     : SockSys().pwrite(fd_, bytes + done_, piece,
                                        offset + static_cast<int64_t>(done_));
    });
    // A device that takes nothing would be asked for ever.
    if (n <= 0) {
      error_ = n < 0 ? errno : EIO;
      return;
    }
    done_ += static_cast<size_t>(n);
  }
}

void FileWork::Run() noexcept {
  int result = 0;
  switch (kind_) {
    case Kind::kOpen:
      return RunOpen();
    case Kind::kRead:
      return RunRead();
    case Kind::kWrite:
      return RunWrite();
    case Kind::kSync:
      result = Retry([&] { return SockSys().fsync(fd_); });
      break;
    case Kind::kSyncData:
      result = Retry([&] { return SockSys().fdatasync(fd_); });
      break;
    case Kind::kTruncate:
      result = Retry(
          [&] { return SockSys().ftruncate(fd_, static_cast<off_t>(size)); });
      break;
    case Kind::kSize: {
      struct stat status = {};
      result = SockSys().fstat(fd_, &status);
      file_size_ = status.st_size;
      break;
    }
    case Kind::kClose:
      closed_ = true;
      // The descriptor is gone also if it says EINTR.
      result = Sys().close(fd_);
      if (result != 0 && errno == EINTR) result = 0;
      break;
  }
  if (result != 0) error_ = errno;
}

// ---- in a ring

void FileWork::Prepare(Ring::Operation& operation) const noexcept {
  operation.fd = fd_;
  operation.aside = false;
  switch (kind_) {
    case Kind::kOpen:
      operation.kind = Ring::Kind::kOpen;
      operation.address = path_.c_str();
      operation.flags = OpenFlags();
      operation.permissions = permissions;
      break;
    case Kind::kRead:
    case Kind::kWrite: {
      operation.kind =
          kind_ == Kind::kRead ? Ring::Kind::kRead : Ring::Kind::kWrite;
      const size_t piece = std::min(size - done_, kPiece);
      operation.address = bytes + done_;
      operation.size = static_cast<uint32_t>(piece);
      operation.offset =
          appends ? Ring::kPosition : offset + static_cast<int64_t>(done_);
      operation.aside = piece > kCopiedByLoop;
      break;
    }
    case Kind::kSync:
      operation.kind = Ring::Kind::kSync;
      break;
    case Kind::kSyncData:
      operation.kind = Ring::Kind::kSyncData;
      break;
    case Kind::kClose:
      operation.kind = Ring::Kind::kClose;
      break;
    case Kind::kTruncate:
    case Kind::kSize:
      break;
  }
}

FileWork::Next FileWork::Take(int32_t result) noexcept {
  if (result < 0) {
    const int error = result == Ring::kForked ? ECHILD : -result;
    // What nobody wants any more need not be done in another way.
    if (Stopped()) {
      error_ = error;
      return Next::kNothing;
    }
    // The descriptor is gone also if it says EINTR: as in Run().
    if (error == EINTR && kind_ == Kind::kClose) {
      closed_ = true;
      return Next::kNothing;
    }
    switch (error) {
      case EINTR:
        return Next::kMore;
      // A ring that is told of a kind that it does not know, or a file that
      // cannot do it without a thread. If that is not the reason, the thread
      // will say so.
      case EINVAL:
      case ENOSYS:
      case EOPNOTSUPP:
      case EAGAIN:
      case ECANCELED:
        return Next::kRun;
      default:
        error_ = error;
        closed_ = kind_ == Kind::kClose && result != Ring::kForked;
        return Next::kNothing;
    }
  }
  switch (kind_) {
    case Kind::kOpen:
      Opened(result);
      return Next::kNothing;
    case Kind::kRead:
    case Kind::kWrite:
      if (result == 0) {
        if (kind_ == Kind::kWrite) error_ = EIO;
        return Next::kNothing;
      }
      done_ += static_cast<size_t>(result);
      return done_ == size || Stopped() ? Next::kNothing : Next::kMore;
    case Kind::kClose:
      closed_ = true;
      return Next::kNothing;
    default:
      return Next::kNothing;
  }
}

}  // namespace coil::net::internal
