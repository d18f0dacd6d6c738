// coil/net/internal/handshake.h
//
// The leaf awaiter that waits for the end of a handshake.
//
// Cancellation: the handshake goes on; whoever waited closes the connection.
// Threads: the loop's thread only.
// Lifetime: holds a reference to the connection.

#ifndef COIL_NET_INTERNAL_HANDSHAKE_H_
#define COIL_NET_INTERNAL_HANDSHAKE_H_

#include <cerrno>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/secure_stream.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil::net::internal {

class HandshakeAwaiter final
    : public coil::internal::LeafAwaiter<HandshakeAwaiter>,
      private ByteStream::WriteRequest {
 public:
  // REQUIRES: the stream of `core` is a SecureStream.
  explicit HandshakeAwaiter(StreamRef core) : core_(std::move(core)) {}
  HandshakeAwaiter(HandshakeAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        WriteRequest(),
        core_(std::move(other.core_)) {}
  ~HandshakeAwaiter() { Dispose(); }

  bool Ready() noexcept { return stream().HandshakeEnded(); }
  void Arm() noexcept { stream().StartHandshake(*this); }
  void Unlink() noexcept { stream().CancelHandshake(); }
  void GiveBack() noexcept {}
  void Take() {
    if (std::exception_ptr failure = stream().Failure()) {
      std::rethrow_exception(failure);
    }
    if (core_->closing() || !stream().Finishes()) {
      throw OsError(ECONNABORTED, "TLS handshake with", core_->PeerText());
    }
  }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "the TLS handshake with ", core_->PeerText());
  }

 private:
  SecureStream& stream() const { return *core_->stream().Secure(); }
  size_t WritePieces(absl::Span<iovec>) noexcept override { return 0; }
  void OnWritten(IoResult) noexcept override { Grant(); }

  StreamRef core_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_HANDSHAKE_H_
