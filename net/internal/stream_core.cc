#include "coil/net/internal/stream_core.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/block_pool.h"

namespace coil::net::internal {

namespace {

// Among thousands of connections none is in the cache when its turn comes:
// everything is fetched at once, and behind the system call that comes next,
// instead of one after another.
inline void PrefetchTurn(const char* core, const char* frame,
                         const void* stream) noexcept {
  constexpr ptrdiff_t kLine = 64;
  __builtin_prefetch(frame, 1);
  __builtin_prefetch(stream, 1);
  __builtin_prefetch(core + 2 * kLine, 1);
  __builtin_prefetch(frame - kLine, 1);
  __builtin_prefetch(frame + kLine, 1);
  __builtin_prefetch(frame + 2 * kLine, 1);
}

}  // namespace

StreamCore::StreamCore(std::unique_ptr<ByteStream> stream, size_t limit)
    : loop_(&coil::internal::RequireLoop("net: a stream")),
      stream_(std::move(stream)),
      chunk_(kSmallestBlock),
      limit_(std::min(limit, kLargestLimit)) {
  if (limit == 0) {
    throw std::invalid_argument("net: the limit of a stream is at least 1");
  }
}

StreamCore::~StreamCore() {
  // Nobody waits and nothing is queued, or this would be referred to.
  LeaveList();
}

// ---- reading

void StreamCore::StartRead(ByteStream::ReadRequest& request,
                           bool at_once) noexcept {
  streak_ = 0;
  reader_ = &request;
  reader_armed_ = true;
  read_at_once_ = at_once;
  input_.Settle();
  stream_->StartRead(*this);
}

bool StreamCore::DeferRead() noexcept {
  if (read_at_once_) return false;
  if (std::exchange(read_deferred_, true)) return true;
  Ref();
  loop_->Schedule(this);
  return true;
}

void StreamCore::Run() {
  read_deferred_ = false;
  if (reader_armed_) {
    PrefetchTurn(reinterpret_cast<const char*>(this),
                 reinterpret_cast<const char*>(reader_), stream_.get());
    ByteStream::ReadRequest& reader = *reader_;
    const IoResult result = stream_->TryRead(reader);
    if (result.Blocked()) {
      stream_->StartRead(*this);
    } else {
      const auto first = loop_->ScheduleFirst();
      reader.OnRead(result);
    }
  }
  Unref();
}

void StreamCore::Abandon() noexcept {
  read_deferred_ = false;
  Unref();
}

std::string StreamCore::Describe() const {
  return absl::StrCat("receive from ", PeerText());
}

void StreamCore::CancelRead() noexcept {
  reader_armed_ = false;
  stream_->CancelRead();
}

absl::Span<char> StreamCore::ReserveRead(size_t wanted) noexcept {
  absl::Span<char> room = input_.Reserve(std::min<size_t>(wanted, chunk_));
  room = room.first(std::min(wanted, room.size()));
  room_ = static_cast<uint32_t>(room.size());
  return room;
}

void StreamCore::FinishRead(IoResult result) noexcept {
  if (!result.Ok()) {
    read_error_ = result.error();
    return;
  }
  const size_t n = result.bytes();
  input_.Commit(n);
  end_ = n == 0;
  if (end_) input_.Settle();
  // A full buffer says that there is more: whoever sends much is received from
  // with few calls.
  if (n == room_ && chunk_ < kLargestPooledBlock) chunk_ *= 4;
}

void StreamCore::FinishDirectRead(IoResult result) noexcept {
  if (!result.Ok()) {
    read_error_ = result.error();
  } else if (result.bytes() == 0) {
    end_ = true;
  }
}

void StreamCore::Unread(std::string_view bytes) noexcept {
  if (!input_.Prepend(bytes)) read_error_ = ENOMEM;
}

std::exception_ptr StreamCore::ReadError() const {
  if (!closing_ || read_error_ != ECONNABORTED) {
    if (std::exception_ptr failure = stream_->Failure()) return failure;
  }
  return std::make_exception_ptr(OsError(read_error_, "receive", PeerText()));
}

void StreamCore::ThrowTwoReaders() const {
  throw std::runtime_error(absl::StrCat(
      "StreamReader: another task is already waiting to read from ", PeerText(),
      "; a stream has one reader at a time"));
}

// ---- writing

int StreamCore::SendNow(WriteQueue::Entry& entry) noexcept {
  constexpr size_t kPieces = 16;
  iovec pieces[kPieces];
  ++streak_;
  while (entry.Remaining() > 0) {
    const size_t count = entry.Fill(absl::MakeSpan(pieces, kPieces));
    const IoResult result =
        stream_->TryWrite(absl::MakeConstSpan(pieces, count));
    if (result.Blocked()) break;
    if (!result.Ok()) {
      FailWrites(result.error());
      return result.error();
    }
    entry.Skip(result.bytes());
  }
  return 0;
}

void StreamCore::Enqueue(WriteQueue::Entry& entry) noexcept {
  streak_ = 0;
  const bool first = queue_.empty();
  queue_.Push(&entry);
  if (first) stream_->StartWrite(*this);
  UpdateKeepAlive();
}

void StreamCore::Abandon(WriteQueue::Entry& entry) noexcept {
  const StreamRef self = StreamRef::Share(this);
  if (!queue_.Abandon(&entry)) {
    // Half a message was sent, and there is no memory for the other half.
    FailWrites(ENOMEM);
    CloseNow(/*reset=*/true);
    return;
  }
  if (queue_.empty() && !closed_) stream_->CancelWrite();
  AfterQueueChange();
}

void StreamCore::KeepRest(const WriteQueue::Entry& entry) noexcept {
  if (!queue_.Keep(entry)) {
    FailWrites(ENOMEM);
    CloseNow(/*reset=*/true);
    return;
  }
  stream_->StartWrite(*this);
  AfterQueueChange();
}

void StreamCore::ThrowForbidden(const char* function) const {
  throw std::runtime_error(absl::StrCat(
      "StreamWriter::", function, ": ",
      eof_called_ ? "nothing can be written after WriteEof()"
                  : "nothing can be written while SendFile() is under way"));
}

void StreamCore::WriteSoon(std::string_view data) {
  if (WriteForbidden()) ThrowForbidden("WriteSoon");
  if (WriteRefused() != 0) return;  // asyncio: dropped, Drain() tells
  const bool first = queue_.empty();
  bool torn = false;
  if (first && !data.empty()) {
    const iovec piece = {const_cast<char*>(data.data()), data.size()};
    const IoResult result = stream_->TryWrite(absl::MakeConstSpan(&piece, 1));
    if (result.Ok()) {
      data.remove_prefix(result.bytes());
      torn = true;
    } else if (!result.Blocked()) {
      return FailWrites(result.error());
    }
  }
  if (data.empty()) return;
  try {
    queue_.Append(data);
  } catch (const std::bad_alloc&) {
    if (torn) {
      FailWrites(ENOMEM);
      CloseNow(/*reset=*/true);
    }
    throw;
  }
  if (first) stream_->StartWrite(*this);
  AfterQueueChange();
}

void StreamCore::WriteEof() {
  if (eof_called_ || closing_) return;
  if (sending_file_) ThrowForbidden("WriteEof");
  if (!stream_->CanShutdownWrite()) {
    throw std::runtime_error(
        "StreamWriter::WriteEof: this kind of stream cannot be closed in one "
        "direction; ask CanWriteEof()");
  }
  eof_called_ = true;
  AfterQueueChange();
}

void StreamCore::SetWriteLimits(size_t high, size_t low) {
  if (low > high) {
    throw std::invalid_argument(
        absl::StrCat("StreamWriter::SetWriteBufferLimits: the low water mark (",
                     low, ") is not above the high one (", high, ")"));
  }
  high_ = high;
  low_ = low;
  AfterQueueChange();
}

std::exception_ptr StreamCore::WriteError(int error) noexcept {
  write_error_seen_ = true;
  if (!closing_ || error != ECONNABORTED) {
    if (std::exception_ptr failure = stream_->Failure()) return failure;
  }
  return std::make_exception_ptr(OsError(error, "send", PeerText()));
}

void StreamCore::OnWritten(IoResult result) noexcept {
  if (closed_) return;  // this is CloseNow()'s doing
  const StreamRef self = StreamRef::Share(this);
  if (finishing_) return CloseNow(/*reset=*/false);
  if (!result.Ok()) return FailWrites(result.error());
  queue_.Advance(result.bytes());
  Flush();
  AfterQueueChange();
}

// Sends until everything is sent or the stream takes no more.
void StreamCore::Flush() noexcept {
  constexpr size_t kPieces = 16;
  iovec pieces[kPieces];
  while (!queue_.empty()) {
    const size_t count = queue_.Gather(absl::MakeSpan(pieces, kPieces));
    const IoResult result =
        stream_->TryWrite(absl::MakeConstSpan(pieces, count));
    if (result.Blocked()) {
      stream_->StartWrite(*this);
      return;
    }
    if (!result.Ok()) return FailWrites(result.error());
    queue_.Advance(result.bytes());
  }
}

// Does what had to wait for the queue. May delete this, unless referred to.
void StreamCore::AfterQueueChange() noexcept {
  const StreamRef self = StreamRef::Share(this);
  if (observer_ != nullptr) observer_->OnStreamChange();
  if (queue_.empty() && !closed_) {
    if (eof_called_ && !eof_sent_ && write_error_ == 0) {
      eof_sent_ = true;
      stream_->ShutdownWrite();
    }
    if (closing_) FinishAndClose();
  }
  if (queue_.empty()) flush_waiters_.WakeAll();
  if (queue_.Buffered() > high_) {
    paused_ = true;
  } else if (paused_ && queue_.Buffered() <= low_) {
    paused_ = false;
    drain_waiters_.WakeAll();
  }
  UpdateKeepAlive();
}

void StreamCore::FailWrites(int error) noexcept {
  const StreamRef self = StreamRef::Share(this);
  if (write_error_ == 0) write_error_ = error;
  queue_.Fail(error);
  drain_waiters_.WakeAll();
  AfterQueueChange();
}

// ---- closing

void StreamCore::StartClose() noexcept {
  if (closing_) return;
  const StreamRef self = StreamRef::Share(this);
  closing_ = true;
  if (read_error_ == 0) read_error_ = ECONNABORTED;
  if (reader_armed_ && stream_->CancelRead()) {
    reader_->OnRead(IoResult::Error(ECONNABORTED));
  }
  AfterQueueChange();
}

// Nothing is queued any more.
void StreamCore::FinishAndClose() noexcept {
  if (finishing_) return;
  if (write_error_ != 0 || !stream_->Finishes()) {
    return CloseNow(/*reset=*/false);
  }
  finishing_ = true;
  stream_->StartFinish(*this);
}

// Nobody has a handle any more. What takes leave of its peer does so first.
void StreamCore::OnLastUnref() noexcept {
  if (closing_ || !stream_->Finishes()) {
    delete this;
    return;
  }
  StartClose();  // refers to this until it is closed, which is where it ends
}

void StreamCore::Abort() noexcept {
  const StreamRef self = StreamRef::Share(this);
  CloseNow(/*reset=*/!queue_.empty());
}

void StreamCore::CloseNow(bool reset) noexcept {
  if (closed_) return;
  const StreamRef self = StreamRef::Share(this);
  closing_ = closed_ = true;
  if (read_error_ == 0) read_error_ = ECONNABORTED;
  stream_->Close(reset);
  queue_.Fail(ECONNABORTED);
  drain_waiters_.WakeAll();
  flush_waiters_.WakeAll();
  close_waiters_.WakeAll();
  // Whoever waits for the connections of a server waits for its observer, too.
  if (observer_ != nullptr) {
    observer_->OnStreamChange();
  } else {
    LeaveList();
  }
  UpdateKeepAlive();
}

void StreamCore::SetObserver(Observer* observer) noexcept {
  observer_ = observer;
  if (observer == nullptr && closed_) LeaveList();
}

void StreamCore::UpdateKeepAlive() noexcept {
  const bool wanted = (!queue_.empty() || finishing_) && !closed_;
  if (wanted == kept_alive_) return;
  kept_alive_ = wanted;
  if (wanted) {
    Ref();
  } else {
    Unref();
  }
}

void StreamCore::Secure(std::unique_ptr<SecureStream> secure) noexcept {
  // The first byte of a handshake's record, and of an alert's.
  constexpr char kAlert = 21;
  constexpr char kHandshake = 22;
  std::string_view received = input_.View();
  if (!received.empty() && received[0] != kAlert && received[0] != kHandshake) {
    received = std::string_view();
  }
  SecureStream& stream = *secure;
  std::unique_ptr<ByteStream> below = std::move(stream_);
  stream_ = std::move(secure);
  stream.Attach(std::move(below), received);
  input_.Clear();
}

void StreamCore::JoinList(ConnectionList* list) noexcept {
  list_ = list;
  next_ = list->first_;
  if (next_ != nullptr) next_->previous_ = this;
  list->first_ = this;
  ++list->size_;
  list->OnAdded();
}

void StreamCore::LeaveList() noexcept {
  if (list_ == nullptr) return;
  ConnectionList* list = std::exchange(list_, nullptr);
  (previous_ != nullptr ? previous_->next_ : list->first_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  --list->size_;
  list->OnRemoved();
}

}  // namespace coil::net::internal
