// coil/net/protocol.h
//
// Protocols are what callback code is made of: a class whose members the loop
// calls when a connection is there, when bytes have come, and when it is gone.
// For those who port code from asyncio; new code is shorter with coroutines
// (coil/net/streams.h). coil/net/transports.h connects a protocol to a
// transport, through which it answers.
//
// Example:
//   class Echo final : public coil::net::Protocol {
//    public:
//     void ConnectionMade(
//         std::shared_ptr<coil::net::Transport> transport) override {
//       transport_ = std::move(transport);
//     }
//     void DataReceived(std::string_view data) override {
//       transport_->Write(data);
//     }
//
//    private:
//     std::shared_ptr<coil::net::Transport> transport_;
//   };
//
// Ordering: ConnectionMade() first, once; ConnectionLost() last, once. Bytes
//   come in their order. PauseWriting() and ResumeWriting() take turns, and
//   PauseWriting() is the first of them. Nothing is called while another member
//   of the same protocol runs, but for PauseWriting(), which Write() and
//   SetWriteBufferLimits() call.
// Cancellation: nothing waits here. A member that wants to wait makes a task.
// Threads: the loop's thread only. Members run from the loop, never within a
//   call of the transport, but for PauseWriting(); in a copy of the context in
//   which the transport was made.
// Lifetime: a transport owns its protocol until ConnectionLost() has returned,
//   and is alive until then by itself; so a protocol may own its transport. A
//   loop that closes before drops the protocol without a call.
//
// What a member throws goes to the loop's exception handler. Where bytes would
// be lost by it (DataReceived, EofReceived, GetBuffer, BufferUpdated) the
// connection is aborted too, and ConnectionLost() is given the error; an
// OsError that one of these four throws, also one of the program's own, goes to
// the exception handler in debug mode only, as in asyncio.
//
// asyncio: BaseProtocol, Protocol, BufferedProtocol, DatagramProtocol,
// SubprocessProtocol (A266-A278).

#ifndef COIL_NET_PROTOCOL_H_
#define COIL_NET_PROTOCOL_H_

#include <cstddef>
#include <exception>
#include <memory>
#include <string_view>

#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/address.h"

namespace coil::net {

class Transport;
class DatagramTransport;
class SubprocessTransport;

// What all have in common.
class BaseProtocol {
 public:
  BaseProtocol(const BaseProtocol&) = delete;
  BaseProtocol& operator=(const BaseProtocol&) = delete;
  virtual ~BaseProtocol() = default;

  // The connection is gone. `error` is null after the end of file, Close() and
  // Abort(); otherwise it is what has broken the connection. asyncio: A267.
  virtual void ConnectionLost(std::exception_ptr /*error*/) {}

  // More is queued than the high water mark: stop writing. Called by the
  // Write() that has gone above it. asyncio: A268.
  virtual void PauseWriting() {}
  // The queue has sunk to the low water mark. asyncio: A268.
  virtual void ResumeWriting() {}

 protected:
  BaseProtocol() = default;
};

// Of a connection: either a Protocol or a BufferedProtocol.
class StreamProtocol : public BaseProtocol {
 public:
  // The connection is there, with TLS after its handshake. Bytes come later.
  // Of a pipe the transport has one direction. asyncio: A266.
  virtual void ConnectionMade(std::shared_ptr<Transport> /*transport*/) {}
  // The peer sends no more; called at most once. With `true` the transport
  // stays open for writing until Close(), with TLS it closes in any case.
  // asyncio: A270, A273.
  virtual bool EofReceived() { return false; }

 private:
  friend class Protocol;
  friend class BufferedProtocol;
  StreamProtocol() = default;
};

// Is given bytes.
class Protocol : public StreamProtocol {
 public:
  // `data` is not empty, and borrowed until this returns. asyncio: A269.
  virtual void DataReceived(std::string_view /*data*/) {}
};

// Gives the memory for them.
class BufferedProtocol : public StreamProtocol {
 public:
  // Where the next bytes go, at least one; the protocol keeps it until
  // BufferUpdated(), or until GetBuffer() is called again. `hint` is how many
  // are there, zero if nobody knows. asyncio: A271.
  virtual absl::Span<char> GetBuffer(size_t hint) = 0;
  // The first `n` bytes of it, n > 0, are there. asyncio: A272.
  virtual void BufferUpdated(size_t n) = 0;
};

// Of an endpoint of datagrams.
class DatagramProtocol : public BaseProtocol {
 public:
  // asyncio: A266.
  virtual void ConnectionMade(
      std::shared_ptr<DatagramTransport> /*transport*/) {}
  // `data` may be empty, and is borrowed until this returns. asyncio: A274.
  virtual void DatagramReceived(std::string_view /*data*/,
                                const Address& /*from*/) {}
  // Sending or receiving has failed; the endpoint goes on. asyncio: A275.
  virtual void ErrorReceived(const OsError& /*error*/) {}
};

// Of a child process. ConnectionLost() comes when it has ended and all of its
// pipes are closed. PauseWriting() and ResumeWriting() are about its stdin.
class SubprocessProtocol : public BaseProtocol {
 public:
  // asyncio: A266.
  virtual void ConnectionMade(
      std::shared_ptr<SubprocessTransport> /*transport*/) {}
  // `fd` is 1 or 2; `data` is borrowed until this returns. asyncio: A276.
  virtual void PipeDataReceived(int /*fd*/, std::string_view /*data*/) {}
  // The pipe 0, 1 or 2 is closed; after all of its data. asyncio: A277.
  virtual void PipeConnectionLost(int /*fd*/, std::exception_ptr /*error*/) {}
  // The child has ended; data of its pipes may follow. asyncio: A278.
  virtual void ProcessExited() {}
};

}  // namespace coil::net

#endif  // COIL_NET_PROTOCOL_H_
