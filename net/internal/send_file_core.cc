#include "coil/net/internal/send_file_core.h"

#include <cerrno>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/file_part.h"
#include "coil/net/internal/write_awaiter.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_state.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"

namespace coil::net::internal {
namespace {

// Waits until the stream takes bytes again.
class RoomAwaiter final : public coil::internal::LeafAwaiter<RoomAwaiter>,
                          private ByteStream::WriteRequest {
 public:
  explicit RoomAwaiter(StreamRef core) : core_(std::move(core)) {}
  RoomAwaiter(RoomAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        WriteRequest(),
        core_(std::move(other.core_)) {}
  ~RoomAwaiter() { Dispose(); }

  bool Ready() noexcept { return false; }
  void Arm() noexcept { core_->stream().StartWrite(*this); }
  void Unlink() noexcept { core_->stream().CancelWrite(); }
  void GiveBack() noexcept {}
  void Take() noexcept {}  // whoever goes on hears of an error
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "room to send a file to ", core_->PeerText(), " (fd ",
                    core_->stream().Descriptor(), ")");
  }

 private:
  size_t WritePieces(absl::Span<iovec>) noexcept override { return 0; }
  void OnWritten(IoResult) noexcept override { Grant(); }

  StreamRef core_;
};

// While it lives, nobody else writes.
class Exclusive {
 public:
  explicit Exclusive(StreamRef core) : core_(std::move(core)) {
    core_->SetSendingFile(true);
  }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;
  ~Exclusive() { core_->SetSendingFile(false); }

 private:
  StreamRef core_;
};

void CheckCanWrite(StreamCore& core) {
  if (const int error = core.WriteRefused()) {
    std::rethrow_exception(core.WriteError(error));
  }
}

// False if the kernel cannot do it, and nothing was sent.
Co<bool> SendNatively(StreamRef core, FilePart& part) {
  constexpr int kRoundsInOneTurn = 16;
  if (!part.regular()) co_return false;
  for (int round = 1; !part.Complete(); ++round) {
    if (round % kRoundsInOneTurn == 0) co_await Yield();
    CheckCanWrite(*core);
    const IoResult result = core->stream().TrySendFile(
        part.fd(), part.offset(), part.Next(FilePart::kNativeChunk));
    if (result.Blocked()) {
      co_await RoomAwaiter(core);
      continue;
    }
    if (!result.Ok()) {
      const int error = result.error();
      if (part.sent() == 0 && FilePart::Unavailable(error)) co_return false;
      if (FilePart::FileFailed(error)) part.ThrowFileError(error);
      core->FailWrites(error);
      std::rethrow_exception(core->WriteError(error));
    }
    if (result.bytes() == 0) break;
    part.Advance(result.bytes());
  }
  co_return true;
}

Co<void> SendBlocks(StreamRef core, FilePart& part) {
  std::string block(part.Next(FilePart::kBlock), '\0');
  while (!part.Complete()) {
    const size_t wanted = part.Next(block.size());
    const int64_t n =
        co_await ToThread([&] { return part.Read(block.data(), wanted); });
    if (n == -EAGAIN) {
      CheckCanWrite(*core);
      continue;
    }
    if (n < 0) part.ThrowFileError(static_cast<int>(-n));
    if (n == 0) break;
    const auto size = static_cast<size_t>(n);
    bool sent = false;
    try {
      co_await WriteAwaiter(core, std::string_view(block.data(), size),
                            WriteAwaiter::OfFile(&sent));
    } catch (...) {
      // What was begun is sent all the same, and may have been sent before the
      // cancel came.
      if (sent || !core->QueueEmpty()) part.Advance(size);
      throw;
    }
    part.Advance(size);
  }
}

}  // namespace

Co<uint64_t> SendFileOn(StreamRef core, int fd, SendFileOptions options) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  if (core->WriteForbidden()) core->ThrowForbidden("SendFile");
  FilePart part("SendFile", fd, options);
  const Exclusive exclusive(core);
  while (!core->QueueEmpty()) {
    co_await core->flush_waiters().Wait("what is queued to be sent");
  }
  CheckCanWrite(*core);
  const bool done = co_await SendNatively(core, part);
  if (!done) {
    if (!options.fallback()) part.ThrowUnavailable();
    co_await SendBlocks(core, part);
  }
  co_return part.sent();
}

}  // namespace coil::net::internal
