#include "coil/net/stream_writer.h"

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <utility>

#include "coil/net/internal/handshake.h"
#include "coil/net/internal/send_file_core.h"
#include "coil/task/internal/task_state.h"
#include "coil/timers/sleep.h"

namespace coil::net {
namespace {

using internal::StreamRef;

Co<void> DrainStream(StreamRef core) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  if (core->closing()) co_await Yield();
  while (core->WritingPaused() && core->WriteRefused() == 0) {
    co_await core->drain_waiters().Wait("a stream to drain");
  }
  if (const int error = core->WriteRefused()) {
    std::rethrow_exception(core->WriteError(error));
  }
  if (core->read_error() != 0) std::rethrow_exception(core->ReadError());
}

Co<void> CloseStream(StreamRef core) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  core->StartClose();
  while (!core->closed()) {
    co_await core->close_waiters().Wait("a stream to send what is queued");
  }
  if (core->HasUnseenWriteError()) {
    std::rethrow_exception(core->WriteError(core->write_error()));
  }
}

void CheckCanUpgrade(const StreamRef& core) {
  if (core->sending_file()) core->ThrowForbidden("StartTls");
  const SecureStream* secure = core->stream().Secure();
  if (secure != nullptr && !secure->HandshakeEnded()) {
    throw std::runtime_error(
        "StreamWriter::StartTls: a handshake is under way on this connection");
  }
  if (core->reader() == nullptr) return;
  throw std::runtime_error(
      "StreamWriter::StartTls: a task is reading from the connection; what it "
      "would get is not secured");
}

Co<void> StartTlsOn(StreamRef core, std::shared_ptr<const SecureLayer> layer,
                    SecureOptions options) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  if (layer == nullptr) {
    throw std::invalid_argument("StreamWriter::StartTls: the context is null");
  }
  CheckCanUpgrade(core);
  std::unique_ptr<SecureStream> secure = layer->NewStream(options);
  try {
    while (!core->QueueEmpty()) {
      co_await core->flush_waiters().Wait("what is queued to be sent");
    }
  } catch (...) {
    core->Abort();
    throw;
  }
  if (const int error = core->WriteRefused()) {
    std::rethrow_exception(core->WriteError(error));
  }
  CheckCanUpgrade(core);
  core->Secure(std::move(secure));
  try {
    co_await internal::HandshakeAwaiter(core);
  } catch (...) {
    core->Abort();
    throw;
  }
}

}  // namespace

Co<void> StreamWriter::StartTls(std::shared_ptr<const SecureLayer> layer,
                                SecureOptions options) const {
  return StartTlsOn(Checked(), std::move(layer), std::move(options));
}

std::optional<TlsInfo> StreamWriter::GetTlsInfo() const {
  const SecureStream* secure = Checked()->stream().Secure();
  if (secure == nullptr || !secure->HandshakeEnded() ||
      secure->Failure() != nullptr) {
    return std::nullopt;
  }
  return secure->Info();
}

void StreamWriter::WriteSoon(std::string_view data) const {
  Checked()->WriteSoon(data);
}

Co<uint64_t> StreamWriter::SendFile(int fd, SendFileOptions options) const {
  return internal::SendFileOn(Checked(), fd, options);
}

Co<void> StreamWriter::Drain() const { return DrainStream(Checked()); }

void StreamWriter::SetWriteBufferLimits(size_t high, size_t low) const {
  Checked()->SetWriteLimits(high, low);
}

std::pair<size_t, size_t> StreamWriter::WriteBufferLimits() const {
  return {Checked()->high(), Checked()->low()};
}

void StreamWriter::WriteEof() const { Checked()->WriteEof(); }

Co<void> StreamWriter::Close() const { return CloseStream(Checked()); }

void StreamWriter::Abort() const { Checked()->Abort(); }

void StreamWriter::ThrowEmpty() {
  throw std::runtime_error(
      "StreamWriter: it is empty (default-constructed or moved from)");
}

}  // namespace coil::net
