// coil/net/transport.h
//
// Transports are the connections of callback code: what a protocol
// (coil/net/protocol.h) writes to. Nothing here waits, but for StartTls() and
// SendFile(). The functions of coil/net/transports.h, pipe_transports.h,
// datagram_endpoint.h and subprocess_transport.h make them.
//
// Example:
//   void Answer(coil::net::Transport& transport, std::string_view text) {
//     transport.Write(text);
//     if (transport.GetWriteBufferSize() > 1'000'000) transport.Abort();
//   }
//
// Ordering: bytes are sent in the order of the calls.
// Cancellation: does not apply; see StartTls() and SendFile().
// Threads: the loop's thread only.
// Lifetime: alive by itself until its protocol was told ConnectionLost(); then
//   as long as somebody holds it. Its calls have no effect then.
//
// asyncio: BaseTransport, ReadTransport, WriteTransport, Transport,
// DatagramTransport, SubprocessTransport (A243-A264).

#ifndef COIL_NET_TRANSPORT_H_
#define COIL_NET_TRANSPORT_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "coil/net/address.h"
#include "coil/net/protocol.h"
#include "coil/net/secure_stream.h"
#include "coil/net/send_file.h"
#include "coil/net/socket.h"
#include "coil/task/co.h"

namespace coil::net {

// What all have in common. asyncio: A243.
class BaseTransport {
 public:
  BaseTransport(const BaseTransport&) = delete;
  BaseTransport& operator=(const BaseTransport&) = delete;
  virtual ~BaseTransport() = default;

  // Receives no more, sends what is queued, and closes; then the protocol is
  // told ConnectionLost(nullptr). Idempotent. asyncio: A245.
  virtual void Close() = 0;
  // It is closing or closed. asyncio: A246.
  virtual bool IsClosing() const = 0;
  // Null once ConnectionLost() has returned. asyncio: A248.
  virtual std::shared_ptr<BaseProtocol> GetProtocol() const = 0;

  // The other end, also when it is gone; this one, until it is closed. Empty
  // for a pipe. asyncio: get_extra_info("peername"), ("sockname") (A247).
  virtual Address PeerName() const { return Address(); }
  virtual Address SockName() const { return Address(); }
  // To set options; none once it is closed, or if there is no descriptor.
  // asyncio: TransportSocket (A244), get_extra_info("socket"), ("pipe").
  virtual SocketRef Socket() const { return SocketRef(); }

 protected:
  BaseTransport() = default;
};

class ReadTransport : public virtual BaseTransport {
 public:
  // Not paused, and not closing. asyncio: A249.
  virtual bool IsReading() const = 0;
  // The protocol is given nothing until ResumeReading(). Both are idempotent,
  // and have no effect once it is closing. asyncio: A250.
  virtual void PauseReading() = 0;
  virtual void ResumeReading() = 0;
};

class WriteTransport : public virtual BaseTransport {
 public:
  // Sends what can be sent at once and queues a copy of the rest. Dropped if
  // the transport is closing, with a diagnostic from the fifth time on. Throws
  // std::runtime_error after WriteEof() and while SendFile() is under way.
  // asyncio: A251.
  virtual void Write(std::string_view data) = 0;
  // The same for several pieces. asyncio: A252.
  virtual void WriteLines(absl::Span<const std::string_view> pieces) = 0;
  // Sends what is queued and then an end of file; receiving goes on. Of a pipe
  // this is Close(). Throws std::runtime_error if !CanWriteEof(). asyncio:
  // A253.
  virtual void WriteEof() = 0;
  virtual bool CanWriteEof() const = 0;
  // Closes now, and drops what is queued. asyncio: A254.
  virtual void Abort() = 0;

  // How many bytes wait to be sent, those that TLS has encrypted included,
  // which the water marks do not count (64 KiB at most). asyncio: A255.
  virtual size_t GetWriteBufferSize() const = 0;
  // {low, high}. asyncio: A256.
  virtual std::pair<size_t, size_t> GetWriteBufferLimits() const = 0;
  // Above `high` the protocol is told PauseWriting(), at once if that is so
  // now; at `low` ResumeWriting(), on the next pass of the loop. `low` is a
  // quarter of `high` unless given, and `high` four times `low`; 64 KiB if
  // neither is, 512 KiB with TLS. Throws std::invalid_argument if high < low.
  // asyncio: A257.
  virtual void SetWriteBufferLimits(
      std::optional<size_t> high = std::nullopt,
      std::optional<size_t> low = std::nullopt) = 0;
};

// A connection.
class Transport : public ReadTransport, public WriteTransport {
 public:
  // What comes from now on is for `protocol`, of either kind; it is not told
  // ConnectionMade(), nor the other one ConnectionLost(). Throws
  // std::invalid_argument if it is null. asyncio: A248.
  virtual void SetProtocol(std::shared_ptr<StreamProtocol> protocol) = 0;
  // What TLS has agreed upon; nothing without it. asyncio:
  // get_extra_info("cipher") and others (A247).
  virtual std::optional<TlsInfo> GetTlsInfo() const = 0;

  // Goes on with TLS on the same connection, as StreamWriter::StartTls() does;
  // the protocol is given nothing meanwhile. Await it in a task: not in a
  // callback. Throws as that does; then the connection is closed. asyncio:
  // A214.
  [[nodiscard("co_await it")]] virtual Co<void> StartTls(
      std::shared_ptr<const SecureLayer> layer,
      SecureOptions options = SecureOptions()) = 0;
  // Sends a file, as StreamWriter::SendFile() does; the protocol is given
  // nothing meanwhile. Throws also std::runtime_error if it is closing.
  // asyncio: A215.
  [[nodiscard("co_await it")]] virtual Co<uint64_t> SendFile(
      int fd, SendFileOptions options = SendFileOptions()) = 0;
};

// An endpoint of datagrams.
class DatagramTransport : public virtual BaseTransport {
 public:
  // Sends `data`, which may be empty, at once, or queues a copy. Without `to`
  // it goes to the other end of a connected endpoint. Errors of the system go
  // to ErrorReceived(). Throws std::invalid_argument for an address other than
  // that of the other end, or for none where there is no other end. asyncio:
  // A258.
  virtual void SendTo(std::string_view data, const Address& to = Address()) = 0;
  // Closes now, and drops what is queued. asyncio: A259.
  virtual void Abort() = 0;
  // As of WriteTransport; each datagram counts 8 bytes more.
  virtual size_t GetWriteBufferSize() const = 0;
  virtual std::pair<size_t, size_t> GetWriteBufferLimits() const = 0;
  virtual void SetWriteBufferLimits(
      std::optional<size_t> high = std::nullopt,
      std::optional<size_t> low = std::nullopt) = 0;
  virtual void SetProtocol(std::shared_ptr<DatagramProtocol> protocol) = 0;
};

// A child process. Close() kills it if it runs, and closes its pipes (A263).
class SubprocessTransport : public virtual BaseTransport {
 public:
  // asyncio: A260.
  virtual pid_t GetPid() const = 0;
  // The exit status, -N for the signal N, nothing while it runs. asyncio: A260.
  virtual std::optional<int> GetReturnCode() const = 0;
  // The pipe to 0, 1 or 2; null if there is none. asyncio: A261.
  virtual std::shared_ptr<Transport> GetPipeTransport(int fd) const = 0;
  // Throw OsError (ESRCH) once it has ended. asyncio: A262.
  virtual void SendSignal(int signal) = 0;
  virtual void Terminate() = 0;
  virtual void Kill() = 0;
  virtual void SetProtocol(std::shared_ptr<SubprocessProtocol> protocol) = 0;
};

}  // namespace coil::net

#endif  // COIL_NET_TRANSPORT_H_
