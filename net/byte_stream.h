// coil/net/byte_stream.h
//
// ByteStream is the interface under StreamReader and StreamWriter: what TCP and
// Unix sockets, pipes, TLS and the simulated network implement. Programs use
// StreamReader and StreamWriter; those who bring a transport of their own
// derive from this and give it to MakeStreams().
//
// An operation is tried first, and only if it cannot be done at once it is
// started, and completes later:
//
//   TryRead(request)  ──bytes, end of file or error──> done
//       └──WouldBlock──> StartRead(request) ──> request.OnRead(result), once
//                              └──CancelRead()──> true: OnRead will not come
//                                                 false: OnRead is on its way
//
// so that readiness (try, wait until ready, try) and completion (hand over a
// buffer, be told) both fit. The buffer is asked for when the bytes are there:
// a connection that waits holds none.
//
// Example:
//   // A stream that answers every byte with itself.
//   class Mirror final : public coil::net::ByteStream {
//    public:
//     coil::net::IoResult TryRead(ReadRequest& request) noexcept override {
//       if (data_.empty()) return coil::net::IoResult::WouldBlock();
//       absl::Span<char> to = request.ReadBuffer();
//       size_t n = data_.copy(to.data(), to.size());
//       data_.erase(0, n);
//       return coil::net::IoResult::Bytes(n);
//     }
//     void StartRead(ReadRequest& request) noexcept override {
//       waiting_ = &request;
//     }
//     bool CancelRead() noexcept override {
//       waiting_ = nullptr;
//       return true;
//     }
//     coil::net::IoResult TryWrite(
//         absl::Span<const iovec> pieces) noexcept override {
//       for (const iovec& piece : pieces) {
//         data_.append(static_cast<const char*>(piece.iov_base),
//                      piece.iov_len);
//       }
//       if (waiting_ != nullptr) {
//         ReadRequest& request = *std::exchange(waiting_, nullptr);
//         request.OnRead(TryRead(request));
//       }
//       size_t n = 0;
//       for (const iovec& piece : pieces) n += piece.iov_len;
//       return coil::net::IoResult::Bytes(n);
//     }
//     void StartWrite(WriteRequest&) noexcept override {}
//     bool CancelWrite() noexcept override { return true; }
//     void ShutdownWrite() noexcept override {}
//     void Close(bool) noexcept override {}
//
//    private:
//     std::string data_;
//     ReadRequest* waiting_ = nullptr;
//   };
//
// Ordering: one read and one write may be under way at a time; the two
//   directions know nothing of each other.
// Cancellation: CancelRead() and CancelWrite(), see above. While a request is
//   not cancelled and has not completed, its memory belongs to the stream.
// Threads: the loop's thread only.
// Lifetime: the stream outlives the requests that are under way, or completes
//   them with ECONNABORTED in Close().

#ifndef COIL_NET_BYTE_STREAM_H_
#define COIL_NET_BYTE_STREAM_H_

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>

#include "absl/types/span.h"
#include "coil/net/address.h"

namespace coil::net {

// How a read or a write ended: a number of bytes, or an errno.
class IoResult {
 public:
  // For a read, no bytes are the end of file.
  static constexpr IoResult Bytes(size_t n) {
    return IoResult(static_cast<int64_t>(n));
  }
  // REQUIRES: error > 0, an errno.
  static constexpr IoResult Error(int error) { return IoResult(-error); }
  // Nothing can be done now: start the operation.
  static constexpr IoResult WouldBlock() { return IoResult(-EAGAIN); }

  constexpr bool Ok() const { return value_ >= 0; }
  constexpr bool Blocked() const { return value_ == -EAGAIN; }
  // REQUIRES: Ok().
  constexpr size_t bytes() const { return static_cast<size_t>(value_); }
  // The errno; zero if Ok().
  constexpr int error() const { return Ok() ? 0 : static_cast<int>(-value_); }

 private:
  explicit constexpr IoResult(int64_t value) : value_(value) {}
  int64_t value_;
};

class SecureStream;

class ByteStream {
 public:
  // Who reads. Lives until its OnRead() or a CancelRead() that returned true.
  class ReadRequest {
   public:
    // Where the next bytes go. Called just before they are put there, perhaps
    // more than once. An empty span says that there is no memory: the read ends
    // with ENOMEM.
    virtual absl::Span<char> ReadBuffer() noexcept = 0;
    // Something is there to be read. True takes the read back, to TryRead() or
    // StartRead() again soon: at the turn of whoever reads, so that what one
    // connection has sent is worked on before the next one's is fetched.
    virtual bool DeferRead() noexcept { return false; }
    // The read has ended. May start the next one. The stream may die in here.
    virtual void OnRead(IoResult result) noexcept = 0;

   protected:
    ~ReadRequest() = default;
  };

  // Who writes. Lives until its OnWritten() or a CancelWrite() that returned
  // true.
  class WriteRequest {
   public:
    // What is to be sent next, from its beginning: fills in at most
    // `pieces.size()` and returns how many. Called just before they are sent.
    // None: only tell when there is room.
    virtual size_t WritePieces(absl::Span<iovec> pieces) noexcept = 0;
    // At least one byte was taken, or the write has failed. May start the next
    // one. The stream may die in here.
    virtual void OnWritten(IoResult result) noexcept = 0;

   protected:
    ~WriteRequest() = default;
  };

  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  // Closes. REQUIRES: no request is under way.
  virtual ~ByteStream() = default;

  // Reads what is there now into the buffer of `request`, without OnRead().
  // Costs nothing where it is known that nothing is there.
  virtual IoResult TryRead(ReadRequest& request) noexcept = 0;
  // Reads as soon as there is something. REQUIRES: TryRead() said WouldBlock,
  // and no read is under way.
  virtual void StartRead(ReadRequest& request) noexcept = 0;
  // Takes the read back that is under way, if any. False if somebody else holds
  // its buffer (the kernel): then OnRead() comes soon.
  virtual bool CancelRead() noexcept = 0;

  // Sends what can be sent now, at least one byte. REQUIRES: not empty.
  virtual IoResult TryWrite(absl::Span<const iovec> pieces) noexcept = 0;
  // Sends as soon as something can be sent. REQUIRES: TryWrite() said
  // WouldBlock or took less than it was given, and no write is under way.
  virtual void StartWrite(WriteRequest& request) noexcept = 0;
  virtual bool CancelWrite() noexcept = 0;

  // The same for a part of a file, which the kernel sends by itself: at least
  // one byte of `count`, or none at the end of the file. ENOTSUP where that
  // cannot be done. After WouldBlock: a StartWrite() of nothing, of which
  // OnWritten() says that it is worth a try. REQUIRES: as of TryWrite().
  virtual IoResult TrySendFile(int /*file*/, int64_t /*offset*/,
                               size_t /*count*/) noexcept {
    return IoResult::Error(ENOTSUP);
  }
  // Bytes that were written and that the stream itself still holds (TLS).
  virtual size_t WriteBacklog() const noexcept { return 0; }

  // Tells the peer that nothing more will come; reading goes on. Idempotent.
  // REQUIRES: CanShutdownWrite(), and no write is under way.
  virtual void ShutdownWrite() noexcept = 0;
  virtual bool CanShutdownWrite() const { return true; }

  // For streams that hold something themselves and take leave of the peer
  // (TLS): sends that, and tells `request` when Close(false) may follow,
  // perhaps at once, as a write of no bytes. Nothing is written from then on.
  // REQUIRES: Finishes(), and no write is under way.
  virtual bool Finishes() const noexcept { return false; }
  virtual void StartFinish(WriteRequest& request) noexcept {
    request.OnWritten(IoResult::Bytes(0));
  }

  // Closes now; what is under way completes with ECONNABORTED. With `reset` the
  // peer is to see an error rather than an end of file, where that can be told.
  // Idempotent.
  virtual void Close(bool reset) noexcept = 0;

  // The other end, also after Close(), and this one; empty if it has no
  // address.
  virtual Address PeerName() const { return Address(); }
  virtual Address SockName() const { return Address(); }
  // The other end, for people: in errors and in reports of what a task waits
  // for.
  virtual std::string PeerText() const { return PeerName().ToString(); }
  // For getsockopt() and the like; -1 if there is none, or after Close().
  virtual int Descriptor() const { return -1; }

  // What has broken the stream, if an errno does not say it all; null
  // otherwise.
  virtual std::exception_ptr Failure() const noexcept { return nullptr; }
  // Itself, if it is one.
  virtual SecureStream* Secure() noexcept { return nullptr; }
};

}  // namespace coil::net

#endif  // COIL_NET_BYTE_STREAM_H_
