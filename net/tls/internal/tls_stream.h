// coil/net/tls/internal/tls_stream.h
//
// TLS as a ByteStream over a ByteStream. OpenSSL sees no socket: it takes its
// records from `in_` and leaves them in `out_`.
//
//   TryRead ──> SSL_read <── in_ <── below_->TryRead / StartRead
//   TryWrite ─> SSL_write ─> out_ ─> below_->TryWrite / StartWrite
//
// What was encrypted is the stream's own and is sent whatever becomes of the
// task that wrote it; until all of it is sent, nothing more is taken, so that
// at most some records are held.
//
//   handshake ──> open ──StartFinish: close_notify──> the peer's ──> done
//       └──────────┴──────────── Failure() ────────────┘
//
// Threads: the loop's thread only.
// Lifetime: owns the stream below; lets go of the loop when either of them
//   ends.

#ifndef COIL_NET_TLS_INTERNAL_TLS_STREAM_H_
#define COIL_NET_TLS_INTERNAL_TLS_STREAM_H_

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/internal/read_buffer.h"
#include "coil/net/secure_stream.h"
#include "coil/net/tls/internal/openssl.h"
#include "coil/net/tls/internal/session_cache.h"

namespace coil::net::internal {

// So much is encrypted before it is sent with one call.
inline constexpr size_t kMostToSend = size_t{64} << 10;

class TlsStream final : public SecureStream,
                        private ByteStream::ReadRequest,
                        private ByteStream::WriteRequest,
                        private coil::internal::TimerNode,
                        private coil::internal::LoopResource {
 public:
  // `ssl` knows whether it is a client's or a server's, and what it verifies.
  // `layer` is what it refers to; new sessions go to `sessions`, if not null,
  // which is part of it. Throws std::runtime_error without a running loop.
  TlsStream(SslPtr ssl, SecureOptions options,
            std::shared_ptr<const void> layer, SessionCache* sessions);
  ~TlsStream() override { Close(false); }

  void Attach(std::unique_ptr<ByteStream> below,
              std::string_view received) noexcept override;
  bool HandshakeEnded() const noexcept override {
    return open_ || failed() || closed_;
  }
  void StartHandshake(ByteStream::WriteRequest& request) noexcept override {
    handshake_ = &request;
  }
  void CancelHandshake() noexcept override { handshake_ = nullptr; }
  TlsInfo Info() const override;

  IoResult TryRead(ByteStream::ReadRequest& request) noexcept override;
  void StartRead(ByteStream::ReadRequest& request) noexcept override;
  bool CancelRead() noexcept override;
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override;
  void StartWrite(ByteStream::WriteRequest& request) noexcept override;
  bool CancelWrite() noexcept override;
  void ShutdownWrite() noexcept override {}
  bool CanShutdownWrite() const override { return false; }
  bool Finishes() const noexcept override {
    return open_ && !failed() && !closed_;
  }
  void StartFinish(ByteStream::WriteRequest& request) noexcept override;
  size_t WriteBacklog() const noexcept override {
    return out_.size() + (sending_.empty() ? 0 : sending_.size() - sent_);
  }
  void Close(bool reset) noexcept override;
  Address PeerName() const override { return below_->PeerName(); }
  Address SockName() const override { return below_->SockName(); }
  int Descriptor() const override { return below_->Descriptor(); }
  std::string PeerText() const override;
  std::exception_ptr Failure() const noexcept override { return failure_; }

  // What OpenSSL's BIO calls.
  int TakeReceived(char* out, int size) noexcept;
  int AddToSend(const char* data, int size) noexcept;
  bool ReceivedEnd() const noexcept { return in_end_ && in_.empty(); }
  static int OnNewSession(SSL* ssl, SSL_SESSION* session);
  static void OnMessage(int write, int version, int type, const void* data,
                        size_t size, SSL* ssl, void* argument);
  // The peer sends messages about the connection instead of data: each costs us
  // more than it, so there is an end to it.
  bool Flooded() const noexcept { return messages_ > kMostMessages; }

 private:
  // ByteStream and WriteRequest have such names too.
  using TimerNode = coil::internal::TimerNode;

  // Between two records of data.
  static constexpr int kMostMessages = 64;

  bool failed() const { return error_ != 0; }
  // Nothing more is received until a part of what is to be sent has gone: the
  // peer may ask for answers, and not read them.
  bool Congested() const { return out_.size() >= kMostToSend; }
  // There is no point in waiting for its close_notify.
  bool PeerHasLeft() const {
    return failed() || peer_finished_ || in_end_ || write_error_ != 0;
  }

  // ---- below, reading
  absl::Span<char> ReadBuffer() noexcept override;
  void OnRead(IoResult result) noexcept override;
  void Received(IoResult result) noexcept;
  // More records, if they are there now.
  IoResult Fill() noexcept;
  void AwaitInput() noexcept;

  // ---- below, writing
  size_t WritePieces(absl::Span<iovec> pieces) noexcept override;
  void OnWritten(IoResult result) noexcept override;
  void Flush() noexcept;
  void FailWrites(int error) noexcept;
  bool FlushDone() const { return sending_.empty() && out_.empty(); }

  // ---- the steps
  void ContinueHandshake() noexcept;
  void ContinueFinish() noexcept;
  void SayGoodbye() noexcept;
  IoResult ReadRecord(absl::Span<char> out) noexcept;
  IoResult WriteRecord(absl::Span<const char> data) noexcept;
  // Goes on with whatever waits. Last: this may die there.
  void Advance() noexcept;
  // Last, as above.
  void TellAll(IoResult result) noexcept;
  void Fire() noexcept override;
  void OnLoopClose() noexcept override;
  void DisarmTimer() noexcept {
    if (loop_ != nullptr) loop_->Disarm(this);
  }

  // Nothing can be read or written any more. `operation` is what was tried; the
  // reason is in OpenSSL's queue of errors.
  void Fail(const char* operation) noexcept;
  void FailWith(int error, const char* operation, std::string_view reason,
                int verify_error) noexcept;

  const std::shared_ptr<const void> layer_;
  SessionCache* const sessions_;
  SslPtr ssl_;
  SecureOptions options_;
  coil::internal::LoopCore* loop_;  // null once this is closed
  std::unique_ptr<ByteStream> below_;

  internal::ReadBuffer in_;  // records that OpenSSL has not taken
  size_t chunk_;             // how much to receive at once
  size_t room_ = 0;
  std::string out_;      // records to be sent
  std::string sending_;  // records that the stream below is sending
  size_t sent_ = 0;      // of sending_

  bool open_ = false;           // the handshake has succeeded
  bool closed_ = false;         // by Close()
  bool peer_finished_ = false;  // its close_notify has come
  bool in_end_ = false;
  bool reading_below_ = false;
  bool writing_below_ = false;
  int messages_ = 0;     // of the handshake's protocol, since the last data
  int error_ = 0;        // why there is nothing more to do
  int write_error_ = 0;  // why nothing can be sent; what has come can be read
  std::exception_ptr failure_;

  ByteStream::ReadRequest* read_ = nullptr;
  ByteStream::WriteRequest* write_ = nullptr;
  ByteStream::WriteRequest* handshake_ = nullptr;
  ByteStream::WriteRequest* finish_ = nullptr;
  Liveness alive_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_TLS_INTERNAL_TLS_STREAM_H_
