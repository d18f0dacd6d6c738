#include "coil/net/tls/internal/tls_stream.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/requests.h"
#include "coil/net/tls/error.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

constexpr size_t kRecord = size_t{16} << 10;
constexpr size_t kMostReceived = size_t{256} << 10;
// What an idle connection may keep of its buffers.
constexpr size_t kKeptCapacity = 512;

// ---- the BIO: OpenSSL's view of a stream

TlsStream& StreamOf(BIO* bio) {
  return *static_cast<TlsStream*>(BIO_get_data(bio));
}

int BioRead(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  TlsStream& stream = StreamOf(bio);
  if (stream.Flooded()) return -1;  // for good
  const int n = stream.TakeReceived(out, size);
  if (n == 0 && !stream.ReceivedEnd()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  return n;
}

int BioWrite(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  return StreamOf(bio).AddToSend(data, size);
}

long BioControl(BIO* bio, int command, long, void*) {  // NOLINT: its type
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return StreamOf(bio).ReceivedEnd() ? 1 : 0;
    default:
      return 0;
  }
}

BIO_METHOD* Method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "coil");
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

void DropContents(std::string* buffer) {
  buffer->clear();
  if (buffer->capacity() > kKeptCapacity) buffer->shrink_to_fit();
}

}  // namespace

TlsStream::TlsStream(SslPtr ssl, SecureOptions options,
                     std::shared_ptr<const void> layer, SessionCache* sessions)
    : layer_(std::move(layer)),
      sessions_(sessions),
      ssl_(std::move(ssl)),
      options_(std::move(options)),
      loop_(&coil::internal::RequireLoop("net: TLS")),
      chunk_(kRecord) {
  BIO* bio = BIO_new(Method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);  // takes the BIO over
  SSL_set_msg_callback(ssl_.get(), &OnMessage);
  loop_->Attach(this);
}

void TlsStream::OnMessage(int write, int, int type, const void*, size_t,
                          SSL* ssl, void*) {
  TlsStream& stream = StreamOf(SSL_get_rbio(ssl));
  if (write == 0 && type == SSL3_RT_HANDSHAKE && stream.open_) {
    ++stream.messages_;
  }
}

int TlsStream::OnNewSession(SSL* ssl, SSL_SESSION* session) {
  const TlsStream& stream = StreamOf(SSL_get_rbio(ssl));
  if (stream.sessions_ == nullptr) return 0;
  try {
    stream.sessions_->Put(stream.options_.server_hostname(),
                          SslSessionPtr(session));
  } catch (const std::bad_alloc&) {
    // It is freed, and the next connection starts anew.
  }
  return 1;  // it is ours
}

void TlsStream::Attach(std::unique_ptr<ByteStream> below,
                       std::string_view received) noexcept {
  below_ = std::move(below);
  if (!in_.Prepend(received)) {
    return FailWith(ENOMEM, "TLS handshake", "there is no memory", 0);
  }
  if (options_.handshake_timeout() != absl::InfiniteDuration()) {
    loop_->Arm(this, loop_->RecentNow() + options_.handshake_timeout());
  }
  ContinueHandshake();
}

// ---- what OpenSSL calls

int TlsStream::TakeReceived(char* out, int size) noexcept {
  const size_t n = in_.View().copy(out, static_cast<size_t>(size));
  if (n != 0) in_.Consume(n);
  return static_cast<int>(n);
}

int TlsStream::AddToSend(const char* data, int size) noexcept {
  if (write_error_ != 0) return size;  // the peer will not hear of it
  try {
    out_.append(data, static_cast<size_t>(size));
    return size;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

// ---- below, reading

absl::Span<char> TlsStream::ReadBuffer() noexcept {
  const absl::Span<char> room = in_.Reserve(chunk_);
  room_ = std::min(room.size(), chunk_);
  return room.first(room_);
}

void TlsStream::Received(IoResult result) noexcept {
  if (!result.Ok()) {
    in_.Settle();
    FailWith(result.error(), "receive", {}, 0);
    return;
  }
  in_.Commit(result.bytes());
  if (result.bytes() == 0) {
    in_end_ = true;
    in_.Settle();
  } else if (result.bytes() == room_ && chunk_ < kMostReceived) {
    chunk_ *= 4;
  }
}

IoResult TlsStream::Fill() noexcept {
  if (reading_below_ || in_end_ || Congested()) return IoResult::WouldBlock();
  const IoResult result = below_->TryRead(*this);
  if (result.Blocked()) {
    in_.Settle();
  } else {
    Received(result);
  }
  return result;
}

void TlsStream::AwaitInput() noexcept {
  if (reading_below_ || in_end_ || failed() || Congested()) return;
  reading_below_ = true;
  below_->StartRead(*this);
}

void TlsStream::OnRead(IoResult result) noexcept {
  reading_below_ = false;
  if (closed_) return;
  Received(result);
  Advance();
}

// ---- below, writing

size_t TlsStream::WritePieces(absl::Span<iovec> pieces) noexcept {
  pieces[0] = {sending_.data() + sent_, sending_.size() - sent_};
  return 1;
}

void TlsStream::Flush() noexcept {
  while (!writing_below_ && !FlushDone()) {
    if (sending_.empty()) {
      sending_.swap(out_);
      sent_ = 0;
    }
    iovec piece;
    WritePieces(absl::MakeSpan(&piece, 1));
    const IoResult result = below_->TryWrite(absl::MakeConstSpan(&piece, 1));
    if (result.Blocked()) {
      writing_below_ = true;
      below_->StartWrite(*this);
      return;
    }
    if (!result.Ok()) return FailWrites(result.error());
    sent_ += result.bytes();
    if (sent_ == sending_.size()) DropContents(&sending_);
  }
}

void TlsStream::OnWritten(IoResult result) noexcept {
  writing_below_ = false;
  if (closed_) return;
  if (result.Ok()) {
    sent_ += result.bytes();
    if (sent_ == sending_.size()) DropContents(&sending_);
    Flush();
  } else {
    FailWrites(result.error());
  }
  Advance();
}

void TlsStream::FailWrites(int error) noexcept {
  write_error_ = error;
  DropContents(&sending_);
  DropContents(&out_);
  if (open_ || failed() || closed_) return;
  // The peer will not answer what it never gets. It may have said why it has
  // gone, though: the next events come first, then Fire().
  loop_->Disarm(this);
  loop_->Arm(this, loop_->RecentNow());
}

// ---- the steps

void TlsStream::ContinueHandshake() noexcept {
  while (!open_ && !failed()) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
      open_ = true;
      loop_->Disarm(this);
      break;
    }
    if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) {
      Fail("TLS handshake");
      break;
    }
    Flush();
    if (Fill().Blocked() && !in_end_) {
      AwaitInput();
      break;
    }
  }
  Flush();  // an alert goes out, too
}

// One call of SSL_read(), after which the bytes of a record are there.
IoResult TlsStream::ReadRecord(absl::Span<char> out) noexcept {
  ERR_clear_error();
  const int size = static_cast<int>(std::min<size_t>(out.size(), INT_MAX));
  const int n = SSL_read(ssl_.get(), out.data(), size);
  if (n > 0) {
    messages_ = 0;
    return IoResult::Bytes(static_cast<size_t>(n));
  }
  switch (SSL_get_error(ssl_.get(), n)) {
    case SSL_ERROR_ZERO_RETURN:
      peer_finished_ = true;
      return IoResult::Bytes(0);
    case SSL_ERROR_WANT_READ:
      return IoResult::WouldBlock();
    default:
      Fail("TLS connection");
      return IoResult::Error(error_);
  }
}

IoResult TlsStream::TryRead(ByteStream::ReadRequest& request) noexcept {
  if (closed_) return IoResult::Error(ECONNABORTED);
  if (peer_finished_) return IoResult::Bytes(0);
  if (failed()) return IoResult::Error(error_);
  if (!open_) return IoResult::WouldBlock();
  for (;;) {
    // A connection that waits asks for no buffer.
    if (in_.empty() && !in_end_ && SSL_has_pending(ssl_.get()) == 0) {
      const IoResult filled = Fill();
      if (filled.Blocked()) return filled;
      if (failed()) return IoResult::Error(error_);
    }
    const absl::Span<char> out = request.ReadBuffer();
    if (out.empty()) return IoResult::Error(ENOMEM);
    IoResult result = ReadRecord(out);
    if (result.Ok() && result.bytes() != 0) {
      // The records that are there already, as long as there is room.
      size_t total = result.bytes();
      while (total < out.size() && !in_.empty()) {
        result = ReadRecord(out.subspan(total));
        if (!result.Ok() || result.bytes() == 0) break;
        total += result.bytes();
      }
      Flush();  // OpenSSL may have answered: a key update
      return IoResult::Bytes(total);
    }
    if (!result.Blocked()) {
      Flush();  // an alert
      return result;
    }
    Flush();
    const IoResult filled = Fill();
    if (filled.Blocked() && !in_end_) return filled;
    if (failed()) return IoResult::Error(error_);
  }
}

void TlsStream::StartRead(ByteStream::ReadRequest& request) noexcept {
  read_ = &request;
  AwaitInput();
}

bool TlsStream::CancelRead() noexcept {
  // The stream below reads on: what it gets stays in here.
  read_ = nullptr;
  return true;
}

IoResult TlsStream::TryWrite(absl::Span<const iovec> pieces) noexcept {
  if (closed_) return IoResult::Error(ECONNABORTED);
  if (failed()) return IoResult::Error(error_);
  if (!open_) return IoResult::WouldBlock();
  Flush();
  if (write_error_ != 0) return IoResult::Error(write_error_);
  size_t taken = 0;
  size_t offset = 0;  // of the first piece
  char record[kRecord];
  while (FlushDone() && write_error_ == 0 && !pieces.empty()) {
    while (!Congested() && !pieces.empty()) {
      // Small pieces share a record; one that fills a record is not copied.
      const char* data;
      size_t size = 0;
      if (pieces[0].iov_len - offset >= kRecord || pieces.size() == 1) {
        data = static_cast<const char*>(pieces[0].iov_base) + offset;
        size = std::min(pieces[0].iov_len - offset, kRecord);
        offset += size;
        if (offset == pieces[0].iov_len) {
          pieces.remove_prefix(1);
          offset = 0;
        }
      } else {
        data = record;
        while (size < kRecord && !pieces.empty()) {
          const size_t n = std::min(pieces[0].iov_len - offset, kRecord - size);
          if (n != 0) {
            std::memcpy(record + size,
                        static_cast<const char*>(pieces[0].iov_base) + offset,
                        n);
          }
          size += n;
          offset += n;
          if (offset == pieces[0].iov_len) {
            pieces.remove_prefix(1);
            offset = 0;
          }
        }
      }
      if (size == 0) continue;
      const IoResult written = WriteRecord(absl::MakeConstSpan(data, size));
      if (written.Blocked()) {
        Flush();
        return taken != 0 ? IoResult::Bytes(taken) : written;
      }
      if (!written.Ok()) return written;
      taken += size;
    }
    Flush();
  }
  if (write_error_ != 0) return IoResult::Error(write_error_);
  return taken != 0 ? IoResult::Bytes(taken) : IoResult::WouldBlock();
}

// All of `data` in one record. Blocked while a message of the peer is here in
// part, which OpenSSL wants to have read before it writes.
IoResult TlsStream::WriteRecord(absl::Span<const char> data) noexcept {
  for (;;) {
    ERR_clear_error();
    const int n =
        SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()));
    if (n == static_cast<int>(data.size())) return IoResult::Bytes(data.size());
    if (SSL_get_error(ssl_.get(), n) != SSL_ERROR_WANT_READ) {
      Fail("TLS connection");
      return IoResult::Error(error_);
    }
    const IoResult filled = Fill();
    if (failed()) return IoResult::Error(error_);
    if (filled.Blocked() && !in_end_) {
      AwaitInput();  // Advance() goes on
      return filled;
    }
  }
}

void TlsStream::StartWrite(ByteStream::WriteRequest& request) noexcept {
  write_ = &request;
}

bool TlsStream::CancelWrite() noexcept {
  write_ = nullptr;
  return true;
}

void TlsStream::StartFinish(ByteStream::WriteRequest& request) noexcept {
  finish_ = &request;
  if (options_.shutdown_timeout() != absl::InfiniteDuration()) {
    loop_->Arm(this, loop_->RecentNow() + options_.shutdown_timeout());
  }
  SayGoodbye();
  ContinueFinish();
}

// Puts close_notify behind what is there; not while a message of the peer is
// here in part.
void TlsStream::SayGoodbye() noexcept {
  if ((SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  Flush();
}

// What the peer still sends is dropped: nobody reads any more, and to close
// with something unread would reset the connection under what was sent last.
void TlsStream::ContinueFinish() noexcept {
  while (!PeerHasLeft()) {
    char dropped[4096];
    const bool blocked = ReadRecord(absl::MakeSpan(dropped)).Blocked();
    if (!failed()) SayGoodbye();
    if (!blocked) continue;
    if (Fill().Blocked()) return AwaitInput();
  }
  // Somebody who does not listen any more does not keep us from going.
  if (!failed() && !FlushDone()) return;
  DisarmTimer();
  std::exchange(finish_, nullptr)->OnWritten(IoResult::Bytes(0));
}

void TlsStream::Advance() noexcept {
  if (!open_ && !failed()) {
    ContinueHandshake();
    if (!open_ && !failed()) return;
  }
  if (failed()) return TellAll(IoResult::Error(error_));
  const Liveness::Guard guard(alive_);
  if (handshake_ != nullptr) {
    std::exchange(handshake_, nullptr)->OnWritten(IoResult::Bytes(0));
    if (guard.dead()) return;
  }
  if (finish_ != nullptr) return ContinueFinish();
  if (read_ != nullptr) {
    const IoResult result = TryRead(*read_);
    if (!result.Blocked()) {
      std::exchange(read_, nullptr)->OnRead(result);
      if (guard.dead()) return;
    } else {
      AwaitInput();
    }
  }
  if (failed()) return TellAll(IoResult::Error(error_));
  if (write_ != nullptr && FlushDone()) ServeWrite(*this, write_);
}

void TlsStream::TellAll(IoResult result) noexcept {
  const Liveness::Guard guard(alive_);
  if (read_ != nullptr) {
    // What was announced before the failure is an end like any other.
    std::exchange(read_, nullptr)
        ->OnRead(peer_finished_ && !closed_ ? IoResult::Bytes(0) : result);
    if (guard.dead()) return;
  }
  if (handshake_ != nullptr) {
    std::exchange(handshake_, nullptr)->OnWritten(result);
    if (guard.dead()) return;
  }
  ByteStream::WriteRequest* last = std::exchange(write_, nullptr);
  if (last == nullptr) last = std::exchange(finish_, nullptr);
  if (last != nullptr) last->OnWritten(result);
}

void TlsStream::Fire() noexcept {
  if (finish_ != nullptr) {
    std::exchange(finish_, nullptr)->OnWritten(IoResult::Error(ETIMEDOUT));
    return;
  }
  if (write_error_ != 0) {
    FailWith(write_error_, "send", {}, 0);
    return TellAll(IoResult::Error(error_));
  }
  try {
    FailWith(ECONNABORTED, "TLS handshake",
             absl::StrCat("it did not end within ",
                          absl::FormatDuration(options_.handshake_timeout())),
             0);
  } catch (const std::bad_alloc&) {
    FailWith(ECONNABORTED, "TLS handshake", {}, 0);
  }
  TellAll(IoResult::Error(error_));
}

void TlsStream::OnLoopClose() noexcept {
  loop_->Attach(this);  // as Close() expects it
  Close(false);
}

void TlsStream::Close(bool reset) noexcept {
  if (closed_) return;
  closed_ = true;
  loop_->Detach(this);
  loop_->Disarm(this);
  loop_ = nullptr;
  if (below_ != nullptr) below_->Close(reset);
  TellAll(IoResult::Error(ECONNABORTED));
}

// ---- failure

std::string TlsStream::PeerText() const {
  const std::string address = below_->PeerText();
  const std::string& name = options_.server_hostname();
  if (name.empty()) return address;
  if (address.empty()) return name;
  return absl::StrCat(name, " (", address, ")");
}

void TlsStream::Fail(const char* operation) noexcept {
  try {
    const auto verify_error =
        static_cast<int>(SSL_get_verify_result(ssl_.get()));
    const bool end =
        ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    std::string text = TakeOpensslErrors();
    if (Flooded()) {
      text = "the peer sends too many messages without data";
    } else if (end && open_) {
      text =
          "the peer closed the connection without close_notify: what was "
          "received may not be all";
    } else if (end) {
      text = "the peer closed the connection";
    }
    if (verify_error != X509_V_OK && !open_ &&
        SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
      text = absl::StrCat(
          "the certificate of the peer is refused: ",
          X509_verify_cert_error_string(verify_error),
          verify_error == X509_V_ERR_HOSTNAME_MISMATCH ||
                  verify_error == X509_V_ERR_IP_ADDRESS_MISMATCH
              ? absl::StrCat("; it is not for ", options_.server_hostname())
              : "");
      FailWith(EPROTO, operation, text, verify_error);
    } else {
      if (text.empty()) text = "a protocol error";
      FailWith(EPROTO, operation, text, 0);
    }
  } catch (const std::bad_alloc&) {
    FailWith(ENOMEM, operation, {}, 0);
  }
}

void TlsStream::FailWith(int error, const char* operation,
                         std::string_view reason, int verify_error) noexcept {
  if (failed()) return;
  error_ = error;
  DisarmTimer();
  try {
    if (reason.empty() && error != ECONNABORTED) {
      failure_ = std::make_exception_ptr(OsError(error, operation, PeerText()));
    } else if (!reason.empty()) {
      failure_ = std::make_exception_ptr(
          TlsError(error, operation, PeerText(), reason, verify_error));
    }
  } catch (const std::bad_alloc&) {
    error_ = ENOMEM;
  }
}

TlsInfo TlsStream::Info() const {
  TlsInfo info;
  SSL* ssl = ssl_.get();
  info.version = SSL_get_version(ssl);
  if (const char* cipher = SSL_get_cipher_name(ssl)) info.cipher = cipher;
  const unsigned char* alpn = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &size);
  info.alpn.assign(reinterpret_cast<const char*>(alpn), size);
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) {
    info.server_hostname = name;
  } else {
    info.server_hostname = options_.server_hostname();
  }
  info.resumed = SSL_session_reused(ssl) == 1;
  if (const X509Ptr peer = X509Ptr(SSL_get1_peer_certificate(ssl))) {
    const BioPtr text(BIO_new(BIO_s_mem()));
    if (text == nullptr || PEM_write_bio_X509(text.get(), peer.get()) != 1) {
      throw std::bad_alloc();
    }
    char* data = nullptr;
    const auto length = BIO_get_mem_data(text.get(), &data);
    info.peer_certificate.assign(data, static_cast<size_t>(length));
  }
  return info;
}

}  // namespace coil::net::internal
