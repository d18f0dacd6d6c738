#include "coil/net/internal/pipe_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/no_sigpipe.h"
#include "coil/net/internal/requests.h"
#include "coil/task/internal/task_core.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

namespace coil::net {

using coil::internal::SockSys;
using coil::internal::Sys;

void PipeEnd::Close() noexcept { coil::internal::CloseDescriptor(Release()); }

namespace internal {

int OpenPipe(PipeEnd& read_end, PipeEnd& write_end) noexcept {
  int fds[2];
  if (Sys().pipe2(fds, O_CLOEXEC) != 0) return errno;
  read_end = PipeEnd::AdoptOwn(fds[0]);
  write_end = PipeEnd::AdoptOwn(fds[1]);
  return 0;
}

namespace {

std::string KindOf(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return "a regular file";
  if (S_ISDIR(status.st_mode)) return "a folder";
  if (S_ISBLK(status.st_mode)) return "a block device";
  return "a device that cannot be waited for";
}

}  // namespace

PipeStream::PipeStream(PipeEnd& end, Direction direction, std::string name)
    : loop_(&coil::internal::RequireLoop("net: a pipe")),
      poller_(&loop_->loop().GetPoller()),
      name_(std::move(name)),
      only_writes_(direction == Direction::kWrite) {
  const bool reads = direction == Direction::kRead;
  const char* const function = reads ? "ConnectReadPipe" : "ConnectWritePipe";
  const int fd = end.Descriptor();
  const std::string number = absl::StrCat("fd ", fd);
  struct stat status = {};
  if (::fstat(fd, &status) != 0) throw OsError(errno, "fstat", number);
  const auto refuse = [&] {
    throw std::invalid_argument(absl::StrCat(
        function, ": ", number, " is ", KindOf(status),
        "; pipes, FIFOs, sockets and terminals can be waited for"));
  };
  const bool fifo = S_ISFIFO(status.st_mode);
  if (!fifo && !S_ISCHR(status.st_mode) && !S_ISSOCK(status.st_mode)) refuse();
  const int flags = Sys().get_flags(fd);
  if (flags < 0) throw OsError(errno, "fcntl", number);
  if ((flags & O_ACCMODE) == (reads ? O_WRONLY : O_RDONLY)) {
    throw std::invalid_argument(absl::StrCat(function, ": ", number,
                                             " is not open for ",
                                             reads ? "reading" : "writing"));
  }
  try {
    poller_->Add(*this, fd, reads ? kReadable : kWritable, Trigger::kEdge);
  } catch (const OsError& error) {
    // There are devices that have nothing to wait for.
    if (error.Errno() == EPERM) refuse();
    throw;
  }
  if ((flags & O_NONBLOCK) == 0 &&
      Sys().set_flags(fd, flags | O_NONBLOCK) != 0) {
    const int error = errno;
    poller_->Remove(*this);
    throw OsError(error, "fcntl", number);
  }
  // Of others it may be a pipe of packets, which its read end does not show.
  short_is_all_ = fifo && (end.IsOwn() || !reads);
  loop_->Attach(this);
  end_ = std::move(end);
}

IoResult PipeStream::Receive(ReadRequest& request) noexcept {
  if (only_writes_) {
    if (at_end_) return IoResult::Bytes(0);
    readable_ = false;
    return IoResult::WouldBlock();
  }
  const absl::Span<char> buffer = request.ReadBuffer();
  if (buffer.empty()) return IoResult::Error(ENOMEM);
  ssize_t n;
  do {
    n = Sys().read(end_.Descriptor(), buffer.data(), buffer.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      readable_ = false;
      return IoResult::WouldBlock();
    }
    return IoResult::Error(errno);
  }
  if (static_cast<size_t>(n) < buffer.size() && short_is_all_ && !at_end_) {
    readable_ = false;
  }
  return IoResult::Bytes(static_cast<size_t>(n));
}

IoResult PipeStream::TryRead(ReadRequest& request) noexcept {
  if (!readable_) {
    return loop_ != nullptr ? IoResult::WouldBlock()
                            : IoResult::Error(ECONNABORTED);
  }
  return Receive(request);
}

bool PipeStream::CancelRead() noexcept {
  read_ = nullptr;
  return true;
}

ssize_t PipeStream::WriteQuietly(absl::Span<const iovec> pieces) noexcept {
  const int fd = end_.Descriptor();
  const int count = static_cast<int>(pieces.size());
  if (has_nosignal_) {
    const ssize_t n =
        SockSys().pwritev2(fd, pieces.data(), count, -1, RWF_NOSIGNAL);
    // EPERM: a container's seccomp filter that does not know the call.
    if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS &&
                   errno != EPERM)) {
      return n;
    }
    has_nosignal_ = false;
  }
  NoSigPipe guard;
  const ssize_t n = Sys().writev(fd, pieces.data(), count);
  if (n < 0 && errno == EPIPE) guard.Raised();
  return n;
}

IoResult PipeStream::TryWrite(absl::Span<const iovec> pieces) noexcept {
  if (!writable_) {
    return loop_ != nullptr ? IoResult::WouldBlock()
                            : IoResult::Error(ECONNABORTED);
  }
  size_t asked = 0;
  for (const iovec& piece : pieces) asked += piece.iov_len;
  ssize_t n;
  do {
    n = WriteQuietly(pieces);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      writable_ = false;
      return IoResult::WouldBlock();
    }
    return IoResult::Error(errno);
  }
  if (static_cast<size_t>(n) < asked && short_is_all_) writable_ = false;
  return IoResult::Bytes(static_cast<size_t>(n));
}

bool PipeStream::CancelWrite() noexcept {
  write_ = nullptr;
  return true;
}

void PipeStream::OnReady(IoEvents events) noexcept {
  if (events & kReadHangUp) at_end_ = true;
  if (only_writes_ ? at_end_ : (events & kReadable) != 0) {
    readable_ = true;
    if (read_ != nullptr && !ServeRead(*this, alive_, read_)) return;
  }
  if (events & kWritable) {
    writable_ = true;
    if (write_ != nullptr) ServeWrite(*this, write_);
  }
}

void PipeStream::Close(bool) noexcept {
  if (loop_ == nullptr) return;
  loop_->Detach(this);
  loop_ = nullptr;
  readable_ = writable_ = false;
  poller_->Remove(*this);
  end_.Close();
  AbortRequests(alive_, read_, write_);
}

void PipeStream::OnLoopClose() noexcept {
  loop_->Attach(this);  // as Close() expects it
  Close(false);
}

}  // namespace internal
}  // namespace coil::net
