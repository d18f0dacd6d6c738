#include "coil/net/internal/file_part.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::net::internal {

using coil::internal::SockSys;
using coil::internal::Sys;

namespace {

// How long a thread of the pool waits for a pipe or a terminal at once.
constexpr int kPatienceMs = 100;

}  // namespace

FilePart::FilePart(const char* function, int fd, const SendFileOptions& options)
    : function_(function),
      fd_(fd),
      begin_(options.offset()),
      left_(options.count().value_or(std::numeric_limits<uint64_t>::max())) {
  if (left_ == 0) {
    throw std::invalid_argument(
        absl::StrCat(function, ": the count is above zero"));
  }
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (begin_ > kMost) {
    throw std::invalid_argument(absl::StrCat(
        function, ": no file is so long that it has the offset ", begin_));
  }
  if (left_ > kMost - begin_) left_ = kMost - begin_;
  struct stat status = {};
  if (::fstat(fd, &status) != 0) ThrowFileError(errno);
  regular_ = S_ISREG(status.st_mode);
  if (!regular_ && begin_ != 0) ThrowFileError(ESPIPE);
}

FilePart::~FilePart() {
  if (regular_ && sent_ != 0) ::lseek(fd_, offset(), SEEK_SET);
}

bool FilePart::Unavailable(int error) {
  return error == EINVAL || error == ENOSYS || error == ENOTSUP ||
         error == EPERM || error == ESPIPE;
}

bool FilePart::FileFailed(int error) {
  return Unavailable(error) || error == EIO || error == EBADF ||
         error == EOVERFLOW || error == ENOMEM || error == EACCES;
}

void FilePart::ThrowUnavailable() const {
  throw SendfileNotAvailableError(absl::StrCat(
      function_, ": the kernel cannot send fd ", fd_,
      " over this connection, and the options forbid to read it instead"));
}

void FilePart::ThrowFileError(int error) const {
  throw OsError(error, function_, absl::StrCat("fd ", fd_));
}

int64_t FilePart::Read(char* out, size_t size) const noexcept {
  if (!regular_) {
    pollfd ready = {fd_, POLLIN, 0};
    const int count = ::poll(&ready, 1, kPatienceMs);
    if (count == 0 || (count < 0 && errno == EINTR)) return -EAGAIN;
  }
  ssize_t n;
  do {
    n = regular_ ? SockSys().pread(fd_, out, size, offset())
                 : Sys().read(fd_, out, size);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return n;
  return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

}  // namespace coil::net::internal
