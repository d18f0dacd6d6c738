// coil/net/stream_writer.h
//
// StreamWriter writes to a connection. Write() is awaited: it returns when the
// system has taken the data, so that a slow peer slows its sender down and not
// the memory. It is a handle: copies write to the same connection.
//
// Example:
//   coil::Co<void> Greet(coil::net::StreamWriter writer, std::string name) {
//     co_await writer.Write("hello ");
//     co_await writer.Write(name);
//     writer.WriteSoon("\n");  // from where nothing can be awaited
//     co_await writer.Close();
//   }
//
// Ordering: data go out in the order of the calls, each whole: tasks that write
//   to the same connection do not mix their data.
// Cancellation: the peer never gets a part of what one Write() was given and
//   then something else. A Write() that is cancelled before its first byte was
//   sent sends nothing; after that, the rest is copied and sent without the
//   task. A Close() that is cancelled goes on without the task.
// Threads: the loop's thread only.
// Lifetime: Write() borrows its data until it returns; WriteSoon() copies. The
//   connection closes with its last reader and writer; what is queued then is
//   still sent.
//
// Errors are OsError with the peer, thrown by Write(), Drain() and Close(); an
// error that none of them has thrown is thrown by Close(). What the peer has
// sent before can still be read.
//
// asyncio: StreamWriter (A290-A295).

#ifndef COIL_NET_STREAM_WRITER_H_
#define COIL_NET_STREAM_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/address.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/write_awaiter.h"
#include "coil/net/secure_stream.h"
#include "coil/net/send_file.h"
#include "coil/net/socket.h"
#include "coil/task/co.h"

namespace coil::net {

class StreamWriter {
 public:
  // To no connection; writing throws std::runtime_error.
  StreamWriter() = default;

  // Sends `data` and waits until the system has taken all of it. Throws
  // OsError, std::runtime_error after WriteEof(). asyncio: write() and drain()
  // (A290, A291).
  [[nodiscard("co_await it")]] internal::WriteAwaiter Write(
      std::string_view data) const {
    return internal::WriteAwaiter(Checked(), data);
  }
  // The same for several pieces, with one system call for up to 16 of them; the
  // list is borrowed too. asyncio: writelines() and drain().
  [[nodiscard("co_await it")]] internal::WriteAwaiter Write(
      absl::Span<const std::string_view> pieces) const {
    return internal::WriteAwaiter(Checked(), pieces);
  }
  // Never waits: sends what can be sent, and queues a copy of the rest, however
  // much that is; await Drain() now and then. Errors are told by Drain(); data
  // for a connection that is lost or closing are dropped. Throws
  // std::runtime_error after WriteEof(). asyncio: write() (A290).
  void WriteSoon(std::string_view data) const;
  // Waits while more is queued by WriteSoon() than the high water mark, until
  // it has sunk to the low one. Throws OsError if the connection is lost or
  // closed. Any number of tasks may wait. asyncio: A291.
  [[nodiscard("co_await it")]] Co<void> Drain() const;
  // 64 KiB and 16 KiB at first. Throws std::invalid_argument if high < low.
  // asyncio: set_write_buffer_limits() (A257).
  void SetWriteBufferLimits(size_t high, size_t low) const;
  // {high, low}.
  std::pair<size_t, size_t> WriteBufferLimits() const;
  // How many bytes the connection has queued on its own account.
  size_t WriteBufferSize() const { return Checked()->Buffered(); }

  // Sends what is queued and then a part of a file, and returns how much that
  // was: less than `options` ask for if the file ends before. The kernel sends
  // it without a copy in this program where it can: a regular file over TCP or
  // a Unix socket. Meanwhile nothing else may be written: Write() throws
  // std::runtime_error. Throws OsError, std::runtime_error after WriteEof() or
  // while a file is sent, std::invalid_argument for a count of zero,
  // SendfileNotAvailableError. Cancellation: a part was sent, see
  // SendFileOptions. asyncio: A215.
  [[nodiscard("co_await it")]] Co<uint64_t> SendFile(
      int fd, SendFileOptions options = SendFileOptions()) const;

  // Sends what is queued and then an end of file; reading goes on. Throws
  // std::runtime_error if the stream cannot do that. asyncio: A294.
  void WriteEof() const;
  bool CanWriteEof() const { return Checked()->stream().CanShutdownWrite(); }

  // Goes on with TLS on the same connection: sends what is queued, shakes hands
  // as a client or as a server, as the context is, and returns when that is
  // done. What was received and not read before is dropped if it is no
  // handshake: anybody could have put it in. Throws OsError (TlsError), and
  // then the connection is closed; std::runtime_error if somebody is reading.
  // Cancellation: closes the connection. asyncio: A296, A214.
  [[nodiscard("co_await it")]] Co<void> StartTls(
      std::shared_ptr<const SecureLayer> layer,
      SecureOptions options = SecureOptions()) const;
  // What TLS has agreed upon; nothing if there is none or it has not yet.
  // asyncio: get_extra_info("cipher") and others (A247).
  std::optional<TlsInfo> GetTlsInfo() const;

  // Sends what is queued and closes, both directions. Returns when it is
  // closed, at once if it is. Who reads gets OsError with ECONNABORTED. Throws
  // the error by which queued data were lost, if nobody was told. asyncio:
  // close() and wait_closed() (A292, A293).
  [[nodiscard("co_await it")]] Co<void> Close() const;
  // Closes now. If something is queued it is dropped, and the peer gets a reset
  // instead of an end. asyncio: transport.abort() (A254).
  void Abort() const;
  // Close() or Abort() was called, or the handler of a server has failed.
  bool IsClosing() const { return Checked()->closing(); }

  // The other end, also when it is gone, and this end; this one is empty once
  // it is closed. asyncio: get_extra_info() (A295).
  Address PeerName() const { return Checked()->stream().PeerName(); }
  Address SockName() const { return Checked()->stream().SockName(); }
  // To set options. -1 as a descriptor if there is no socket or it is closed.
  SocketRef Socket() const {
    return SocketRef(Checked()->stream().Descriptor());
  }

  explicit operator bool() const { return static_cast<bool>(core_); }

  // ---- public interface ends here ----
  explicit StreamWriter(internal::StreamRef core) : core_(std::move(core)) {}
  const internal::StreamRef& core() const { return core_; }

 private:
  const internal::StreamRef& Checked() const {
    if (!core_) [[unlikely]]
      ThrowEmpty();
    return core_;
  }
  [[noreturn]] static void ThrowEmpty();

  internal::StreamRef core_;
};

}  // namespace coil::net

#endif  // COIL_NET_STREAM_WRITER_H_
