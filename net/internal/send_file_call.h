// coil/net/internal/send_file_call.h
//
// One sendfile(), which raises no SIGPIPE and is tried again when a signal has
// interrupted it.
//
// Threads: any.

#ifndef COIL_NET_INTERNAL_SEND_FILE_CALL_H_
#define COIL_NET_INTERNAL_SEND_FILE_CALL_H_

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "coil/loop/internal/socket_calls.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/no_sigpipe.h"

namespace coil::net::internal {

inline IoResult SendFileNow(int socket, int file, int64_t offset,
                            size_t count) noexcept {
  NoSigPipe guard;
  ssize_t n;
  do {
    off_t position = offset;
    n = coil::internal::SockSys().sendfile(socket, file, &position, count);
  } while (n < 0 && errno == EINTR);
  // The kernel sends it in several pieces. After the first of them an error is
  // told as a short count, and the signal is raised all the same.
  if (n >= 0 ? static_cast<size_t>(n) < count : errno == EPIPE) guard.Raised();
  if (n >= 0) return IoResult::Bytes(static_cast<size_t>(n));
  if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::WouldBlock();
  return IoResult::Error(errno);
}

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SEND_FILE_CALL_H_
