// coil/net/send_file.h
//
// What the functions share that send a file over a connection without a copy in
// this program: StreamWriter::SendFile(), Transport::SendFile() and
// SockSendFile().
//
// Example:
//   coil::Co<void> SendPage(coil::net::StreamWriter writer, int fd) {
//     co_await writer.Write("HTTP/1.0 200 OK\r\n\r\n");
//     co_await writer.SendFile(fd, coil::net::SendFileOptions().Count(1000));
//   }
//
// Ordering: what was written before is sent before.
// Cancellation: a part may have been sent; the position of the file tells how
//   much, see SendFileOptions. A pipe or a terminal has none: what was read
//   from it and not sent is lost. Where it has nothing to read, a cancel is
//   heard after 0.1 s at most.
// Threads: the loop's thread only. Where the kernel cannot do it (TLS, a pipe,
//   a file that is none) the file is read on the loop's thread pool.
// Lifetime: the descriptor is the caller's, and borrowed until the call
//   returns.
//
// asyncio: loop.sendfile, loop.sock_sendfile (A215, A228),
// SendfileNotAvailableError (A136).

#ifndef COIL_NET_SEND_FILE_H_
#define COIL_NET_SEND_FILE_H_

#include <cstdint>
#include <optional>
#include <stdexcept>

#include "coil/loop/internal/language.h"

namespace coil::net {

// Which part of the file. The position of the file does not matter; in the end
// it is behind what was sent, also after an error or a cancel, unless nothing
// was sent.
class SendFileOptions {
 public:
  constexpr SendFileOptions() = default;

  // Where it begins, in bytes; zero at first.
  constexpr SendFileOptions& Offset(uint64_t bytes) {
    offset_ = bytes;
    return *this;
  }
  // How much, above zero; up to the end at first. The file may be shorter.
  constexpr SendFileOptions& Count(uint64_t bytes) {
    count_ = bytes;
    return *this;
  }
  // Where the kernel cannot do it: read the file and write what was read, which
  // is so at first. With false, SendfileNotAvailableError is thrown instead.
  constexpr SendFileOptions& Fallback(bool on) {
    fallback_ = on;
    return *this;
  }

  constexpr uint64_t offset() const { return offset_; }
  constexpr const std::optional<uint64_t>& count() const { return count_; }
  constexpr bool fallback() const { return fallback_; }

 private:
  uint64_t offset_ = 0;
  std::optional<uint64_t> count_;
  bool fallback_ = true;
};

// The kernel cannot send this file over this connection, and the options forbid
// to do it in another way. Nothing was sent. asyncio: A136.
class SendfileNotAvailableError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace coil::net

#endif  // COIL_NET_SEND_FILE_H_
