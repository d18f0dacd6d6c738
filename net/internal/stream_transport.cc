#include "coil/net/internal/stream_transport.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/debug_checks.h"
#include "coil/net/internal/send_file_core.h"
#include "coil/net/stream_writer.h"
#include "coil/task/errors.h"
#include "coil/task/internal/task_core.h"
#include "coil/timers/sleep.h"

namespace coil::net::internal {
namespace {

constexpr size_t kHigh = size_t{64} << 10;
constexpr size_t kHighWithTls = size_t{512} << 10;
constexpr int kDroppedWritesInSilence = 4;

}  // namespace

std::pair<size_t, size_t> WriteLimits(std::optional<size_t> high,
                                      std::optional<size_t> low,
                                      size_t fallback) {
  if (!high.has_value()) {
    constexpr size_t kMost = std::numeric_limits<size_t>::max();
    if (!low.has_value()) {
      high = fallback;
    } else {
      high = *low > kMost / 4 ? kMost : 4 * *low;
    }
  }
  if (!low.has_value()) low = *high / 4;
  if (*low > *high) {
    throw std::invalid_argument(
        absl::StrCat("Transport::SetWriteBufferLimits: the low water mark (",
                     *low, ") is not above the high one (", *high, ")"));
  }
  return {*high, *low};
}

void CountDroppedWrite(int* count, const char* function) {
  if (*count < kDroppedWritesInSilence) {
    ++*count;
    return;
  }
  WriteDiagnostic(absl::StrCat(
      function, ": the connection is gone, and what is written is dropped"));
}

// While it lives, the protocol is given nothing.
class StreamTransport::Hold {
 public:
  explicit Hold(std::shared_ptr<StreamTransport> transport)
      : transport_(std::move(transport)) {
    ++transport_->holds_;
    transport_->StopReading();
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() {
    --transport_->holds_;
    transport_->Schedule();
  }

 private:
  std::shared_ptr<StreamTransport> transport_;
};

StreamTransport::StreamTransport(StreamRef core, Ways ways)
    : CallbackPump(coil::internal::RequireLoop("net: a transport")),
      core_(std::move(core)),
      ways_(ways) {}

std::shared_ptr<StreamTransport> StreamTransport::Start(
    StreamRef core, std::shared_ptr<StreamProtocol> protocol, Ways ways) {
  auto transport = std::make_shared<StreamTransport>(std::move(core), ways);
  transport->SetProtocol(std::move(protocol));
  StreamCore& stream = *transport->core_;
  if (transport->Secured()) {
    stream.SetWriteLimits(kHighWithTls, kHighWithTls / 4);
  }
  stream.SetObserver(transport.get());
  transport->lost_due_ = stream.closed();
  transport->Begin(transport);
  return transport;
}

Co<void> StreamTransport::WaitMadeOn(Self self) {
  try {
    while (!self->made_) {
      co_await self->made_waiters_.Wait("a protocol to be connected");
    }
  } catch (...) {
    self->Close();
    throw;
  }
}

Co<void> StreamTransport::WaitMade() { return WaitMadeOn(shared_from_this()); }

std::string StreamTransport::Name() const {
  return absl::StrCat("the transport to ", core_->PeerText());
}

// ---- events

absl::Span<char> StreamTransport::ReadBuffer() noexcept {
  if (!direct_.empty()) return direct_;
  return core_->ReserveRead(std::numeric_limits<size_t>::max());
}

void StreamTransport::OnRead(IoResult result) noexcept {
  core_->ReaderAnswered();
  core_->EndRead(*this);
  core_->FinishRead(result);
  bulk_ = result.Ok() && result.bytes() >= kBulk;
  Schedule();
}

void StreamTransport::OnStreamChange() noexcept {
  if (core_->closed()) lost_due_ = true;
  Schedule();
}

void StreamTransport::Step() {
  if (!made_) {
    struct Made {
      explicit Made(StreamTransport& transport_in) : transport(transport_in) {}
      ~Made() {
        transport.made_ = true;
        transport.made_waiters_.WakeAll();
      }
      StreamTransport& transport;
    } made(*this);
    const auto protocol = protocol_;
    Call([&] { protocol->ConnectionMade(shared_from_this()); },
         [this](std::exception_ptr error) {
           Report("a protocol's ConnectionMade() has failed", error);
         });
  }
  if (!lost_due_) Read();
  UpdateWriting(/*may_resume=*/true);
  if (lost_due_) Lose();
}

void StreamTransport::Lose() {
  struct Lost {
    explicit Lost(StreamTransport& transport_in) : transport(transport_in) {}
    ~Lost() {
      transport.core_->SetObserver(nullptr);
      transport.plain_ = nullptr;
      transport.buffered_ = nullptr;
      transport.protocol_.reset();
      transport.End();
    }
    StreamTransport& transport;
  } lost(*this);
  const int write_error = core_->write_error();
  if (!broken_ && error_ == nullptr && write_error != 0 &&
      write_error != ECONNABORTED) {
    error_ = core_->WriteError(write_error);
  }
  const auto protocol = protocol_;
  Call([&] { protocol->ConnectionLost(std::move(error_)); },
       [this](std::exception_ptr error) {
         Report("a protocol's ConnectionLost() has failed", error);
       });
}

void StreamTransport::Drop() noexcept {
  if (!IsClosing()) {
    ReportUnclosed(loop(), "the transport to", core_->stream().PeerName());
  }
  StopReading();
  core_->Abort();
  core_->SetObserver(nullptr);
  lost_due_ = true;
  plain_ = nullptr;
  buffered_ = nullptr;
  const auto protocol = std::move(protocol_);
}

// ---- reading

void StreamTransport::Read() {
  for (int reads = 0; WantsToRead();) {
    if (!core_->input().empty()) {
      GiveToProtocol();
      continue;
    }
    if (core_->AtEnd()) return AtEnd();
    if (core_->read_error() != 0) return Break(core_->ReadError());
    if (core_->reader() != nullptr) return;  // this, waiting
    if (reads++ == kReadsInOneStep) return Schedule();
    const auto protocol = protocol_;
    BufferedProtocol* const buffered = bulk_ ? buffered_ : nullptr;
    if (buffered != nullptr) {
      const absl::Span<char> memory = AskForMemory(0);
      if (!WantsToRead()) return;
      if (buffered_ != buffered) continue;
      direct_ = memory;
    }
    const IoResult result = core_->TryRead(*this);
    direct_ = {};
    if (result.Blocked()) {
      bulk_ = false;
      core_->StartRead(*this, /*at_once=*/true);
      return;
    }
    bulk_ = result.Ok() && result.bytes() >= kBulk;
    if (buffered == nullptr) {
      core_->FinishRead(result);
      continue;
    }
    core_->FinishDirectRead(result);
    if (!result.Ok() || result.bytes() == 0) continue;
    Call([&] { buffered->BufferUpdated(result.bytes()); },
         [this](std::exception_ptr error) {
           Fail(error, "a protocol's BufferUpdated() has failed");
         });
  }
}

absl::Span<char> StreamTransport::AskForMemory(size_t hint) {
  absl::Span<char> memory;
  Call(
      [&] {
        memory = buffered_->GetBuffer(hint);
        if (memory.empty()) {
          throw std::runtime_error(
              "BufferedProtocol::GetBuffer: it returned an empty buffer");
        }
      },
      [this](std::exception_ptr error) {
        Fail(error, "a protocol's GetBuffer() has failed");
      });
  return memory;
}

// What was received, or as much of it as the protocol has memory for.
void StreamTransport::GiveToProtocol() {
  const auto protocol = protocol_;
  internal::ReadBuffer& input = core_->input();
  if (plain_ != nullptr) {
    const std::string_view data = input.View();
    struct Consumed {
      ~Consumed() { input.Consume(size); }
      internal::ReadBuffer& input;
      size_t size;
    } consumed{input, data.size()};
    Call([&] { plain_->DataReceived(data); },
         [this](std::exception_ptr error) {
           Fail(error, "a protocol's DataReceived() has failed");
         });
    return;
  }
  BufferedProtocol* const buffered = buffered_;
  const absl::Span<char> memory = AskForMemory(input.size());
  // It may have closed, paused, or made room for another one.
  if (!WantsToRead() || buffered_ != buffered) return;
  const size_t n = input.View().copy(memory.data(), memory.size());
  input.Consume(n);
  Call([&] { buffered->BufferUpdated(n); },
       [this](std::exception_ptr error) {
         Fail(error, "a protocol's BufferUpdated() has failed");
       });
}

void StreamTransport::AtEnd() {
  if (ways_ == Ways::kWrite) {
    // The readers of the pipe have gone.
    if (const int error = core_->write_error()) {
      return Break(core_->WriteError(error));
    }
    if (core_->QueueEmpty()) return Break(nullptr);
    return Break(
        std::make_exception_ptr(OsError(EPIPE, "send", core_->PeerText())));
  }
  eof_ = true;
  bool keep_open = false;
  const auto protocol = protocol_;
  Call([&] { keep_open = protocol->EofReceived(); },
       [this](std::exception_ptr error) {
         Fail(error, "a protocol's EofReceived() has failed");
       });
  if (keep_open && Secured()) {
    WriteDiagnostic(
        "Protocol::EofReceived: returning true has no effect with TLS");
    keep_open = false;
  }
  if (!keep_open || ways_ == Ways::kRead) Close();
}

void StreamTransport::PauseReading() {
  if (!IsReading()) return;
  paused_ = true;
  if (ways_ != Ways::kWrite) StopReading();
}

void StreamTransport::ResumeReading() {
  if (IsClosing() || !paused_) return;
  paused_ = false;
  Schedule();
}

// ---- writing

void StreamTransport::CheckWrite(const char* function) const {
  if (ways_ == Ways::kRead) {
    throw std::runtime_error(absl::StrCat("Transport::", function,
                                          ": this is the end of a pipe "
                                          "that is read from"));
  }
  if (core_->WriteEofCalled()) {
    throw std::runtime_error(absl::StrCat(
        "Transport::", function, ": nothing can be written after WriteEof()"));
  }
  if (core_->sending_file()) {
    throw std::runtime_error(
        absl::StrCat("Transport::", function, ": SendFile() is under way"));
  }
}

void StreamTransport::Write(std::string_view data) {
  CheckWrite("Write");
  if (data.empty()) return;
  if (IsClosing()) {
    return CountDroppedWrite(&dropped_writes_, "Transport::Write");
  }
  core_->WriteSoon(data);
  UpdateWriting(/*may_resume=*/false);
}

void StreamTransport::WriteLines(absl::Span<const std::string_view> pieces) {
  size_t size = 0;
  for (std::string_view piece : pieces) size += piece.size();
  std::string joined;
  joined.reserve(size);
  for (std::string_view piece : pieces) joined.append(piece);
  Write(joined);
}

bool StreamTransport::CanWriteEof() const {
  return ways_ != Ways::kRead && core_->stream().CanShutdownWrite();
}

void StreamTransport::WriteEof() {
  if (!CanWriteEof()) {
    throw std::runtime_error(
        "Transport::WriteEof: this kind of transport cannot be closed in one "
        "direction; ask CanWriteEof()");
  }
  if (ways_ == Ways::kWrite) return Close();
  if (IsClosing() || core_->WriteEofCalled()) return;
  CheckWrite("WriteEof");
  core_->WriteEof();
}

void StreamTransport::SetWriteBufferLimits(std::optional<size_t> high,
                                           std::optional<size_t> low) {
  const auto limits = WriteLimits(high, low, Secured() ? kHighWithTls : kHigh);
  limits_set_ = true;
  core_->SetWriteLimits(limits.first, limits.second);
  UpdateWriting(/*may_resume=*/false);
}

void StreamTransport::UpdateWriting(bool may_resume) {
  if (broken_ || protocol_ == nullptr || !made_) return;
  const int write_error = core_->write_error();
  if (write_error != 0 && !core_->closing()) {
    return Break(core_->WriteError(write_error));
  }
  // What was queued is gone, which is no room.
  if (write_error != 0 && lost_due_) return;
  const size_t size = core_->Buffered();
  const auto protocol = protocol_;
  if (!writing_paused_ && size > core_->high()) {
    writing_paused_ = true;
    Call([&] { protocol->PauseWriting(); },
         [this](std::exception_ptr error) {
           Report("a protocol's PauseWriting() has failed", error);
         });
  } else if (writing_paused_ && size <= core_->low()) {
    if (!may_resume) return Schedule();
    writing_paused_ = false;
    Call([&] { protocol->ResumeWriting(); },
         [this](std::exception_ptr error) {
           Report("a protocol's ResumeWriting() has failed", error);
         });
  }
}

// ---- closing

bool StreamTransport::IsClosing() const {
  return core_->closing() || lost_due_;
}

void StreamTransport::Close() {
  if (IsClosing()) return;
  StopReading();
  core_->StartClose();
}

void StreamTransport::Break(std::exception_ptr error) {
  if (lost_due_) return;
  broken_ = true;
  error_ = std::move(error);
  StopReading();
  core_->Abort();
}

void StreamTransport::Fail(std::exception_ptr error, const char* message) {
  bool is_os_error = false;
  try {
    std::rethrow_exception(error);
  } catch (const OsError&) {
    is_os_error = true;
  } catch (...) {
  }
  // As asyncio: those happen to every connection.
  if (!is_os_error || loop().debug()) Report(message, error);
  Break(std::move(error));
}

// ---- the rest

void StreamTransport::SetProtocol(std::shared_ptr<StreamProtocol> protocol) {
  if (protocol == nullptr) {
    throw std::invalid_argument("Transport: the protocol is null");
  }
  if (ended()) return;
  plain_ = dynamic_cast<Protocol*>(protocol.get());
  buffered_ = dynamic_cast<BufferedProtocol*>(protocol.get());
  protocol_ = std::move(protocol);
}

std::optional<TlsInfo> StreamTransport::GetTlsInfo() const {
  return StreamWriter(core_).GetTlsInfo();
}

// What a callback looks at stays as it is until it returns, hence the turns.
Co<void> StreamTransport::StartTlsOn(Self self,
                                     std::shared_ptr<const SecureLayer> layer,
                                     SecureOptions options) {
  while (self->stepping()) co_await Yield();
  self->CheckWrite("StartTls");
  if (self->IsClosing()) {
    throw std::runtime_error("Transport::StartTls: the transport is closing");
  }
  const StreamRef core = self->core_;
  const Hold hold(self);
  try {
    co_await StreamWriter(core).StartTls(std::move(layer), std::move(options));
  } catch (const CancelledError&) {
    throw;
  } catch (...) {
    // After Abort() nothing has broken the connection.
    if (core->closed() && !self->broken_ && self->error_ == nullptr) {
      self->error_ = std::current_exception();
    }
    throw;
  }
  if (!self->limits_set_) core->SetWriteLimits(kHighWithTls, kHighWithTls / 4);
}

Co<uint64_t> StreamTransport::SendFileFrom(Self self, int fd,
                                           SendFileOptions options) {
  while (self->stepping()) co_await Yield();
  self->CheckWrite("SendFile");
  if (self->IsClosing()) {
    throw std::runtime_error("Transport::SendFile: the transport is closing");
  }
  const Hold hold(self);
  co_return co_await SendFileOn(self->core_, fd, options);
}

Co<void> StreamTransport::StartTls(std::shared_ptr<const SecureLayer> layer,
                                   SecureOptions options) {
  return StartTlsOn(shared_from_this(), std::move(layer), std::move(options));
}

Co<uint64_t> StreamTransport::SendFile(int fd, SendFileOptions options) {
  return SendFileFrom(shared_from_this(), fd, options);
}

}  // namespace coil::net::internal
