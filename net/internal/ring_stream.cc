#include "coil/net/internal/ring_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/internal/requests.h"

namespace coil::net::internal {

using coil::internal::StreamRing;

namespace {

constexpr auto kBoth = static_cast<IoEvents>(kReadable | kWritable);

}  // namespace

RingStream::RingStream(Socket socket, const Address& peer, bool connecting,
                       StreamRing& ring)
    : SocketStream(std::move(socket), peer, connecting,
                   connecting ? kWritable : IoEvents{0}),
      Operation(Kind::kReceive),
      ring_(&ring) {
  if (ring.Attach(*this, socket_.Descriptor())) return;
  ring_ = nullptr;
  WatchBoth();
}

// ---- reading

IoResult RingStream::TryRead(ReadRequest& request) noexcept {
  if (held_ == 0) {
    if (loop_ == nullptr) return IoResult::Error(ECONNABORTED);
    if (ended_) return end_ == 0 ? IoResult::Bytes(0) : IoResult::Error(end_);
    if (ring_ == nullptr) return SocketStream::TryRead(request);
    return IoResult::WouldBlock();
  }
  const absl::Span<char> buffer = request.ReadBuffer();
  if (buffer.empty()) return IoResult::Error(ENOMEM);
  size_t n = 0;
  if (!kept_.empty()) {
    n = kept_.View().copy(buffer.data(), buffer.size());
    kept_.Consume(n);
  }
  while (n < buffer.size() && first_ != nullptr) {
    const size_t piece = std::min(buffer.size() - n, first_->size);
    std::memcpy(buffer.data() + n, first_->data, piece);
    n += piece;
    first_->data += piece;
    first_->size -= piece;
    if (first_->size == 0) PopChunk();
  }
  held_ -= n;
  return IoResult::Bytes(n);
}

void RingStream::StartRead(ReadRequest& request) noexcept {
  read_ = &request;
  if (ring_ != nullptr && !Started()) ring_->Start(*this);
}

void RingStream::OnBytes(Chunk& chunk) noexcept {
  if (ended_) return ring_->GiveBack(chunk);  // there is a gap before it
  const uint64_t turn = loop_->loop().Iterations();
  if (held_ == 0) {
    turn_ = turn;
  } else if (turn_ != turn || held_ >= kMostHeld) {
    ring_->Stop(*this);
  }
  (last_ != nullptr ? last_->next : first_) = &chunk;
  last_ = &chunk;
  held_ += chunk.size;
  if (read_ != nullptr) ServeRead(*this, alive_, read_);
}

void RingStream::OnEnd(int error) noexcept {
  if (error == StreamRing::kRefused) {
    UsePolls();
  } else if (!std::exchange(ended_, true)) {
    end_ = error;
  }
  if (ended_ && read_ != nullptr) ServeRead(*this, alive_, read_);
}

void RingStream::OnCallBack() noexcept {
  while (first_ != nullptr) {
    const absl::Span<char> room = kept_.Reserve(first_->size);
    if (room.empty()) {
      // What was received before can be read, and then that this is broken.
      held_ = kept_.size();
      DropChunks();
      ring_->Stop(*this);
      ended_ = true;
      end_ = ENOMEM;
      return;
    }
    const size_t piece = std::min(room.size(), first_->size);
    std::memcpy(room.data(), first_->data, piece);
    kept_.Commit(piece);
    first_->data += piece;
    first_->size -= piece;
    if (first_->size == 0) PopChunk();
  }
}

void RingStream::PopChunk() noexcept {
  Chunk* const chunk = first_;
  first_ = chunk->next;
  if (first_ == nullptr) last_ = nullptr;
  ring_->GiveBack(*chunk);
}

void RingStream::DropChunks() noexcept {
  while (first_ != nullptr) PopChunk();
}

// What was received already is read first.
void RingStream::UsePolls() noexcept {
  OnCallBack();
  StreamRing* const ring = std::exchange(ring_, nullptr);
  ring->Detach(*this);
  int error = 0;
  try {
    WatchBoth();
  } catch (const OsError& e) {
    error = e.Errno();
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  }
  if (error != 0 && !std::exchange(ended_, true)) end_ = error;
}

void RingStream::WatchBoth() {
  if (Watched()) {
    poller_->Modify(*this, kBoth, Trigger::kEdge);
  } else {
    poller_->Add(*this, socket_.Descriptor(), kBoth, Trigger::kEdge);
  }
}

// ---- writing

IoResult RingStream::TryWrite(absl::Span<const iovec> pieces) noexcept {
  const IoResult result = SocketStream::TryWrite(pieces);
  return writable_ || Watched() ? result : WatchForRoom(result);
}

IoResult RingStream::TrySendFile(int file, int64_t offset,
                                 size_t count) noexcept {
  const IoResult result = SocketStream::TrySendFile(file, offset, count);
  return writable_ || Watched() ? result : WatchForRoom(result);
}

// What may follow is a wait for room.
IoResult RingStream::WatchForRoom(IoResult result) noexcept {
  if (loop_ == nullptr) return result;
  try {
    poller_->Add(*this, socket_.Descriptor(), kWritable, Trigger::kEdge);
    return result;
  } catch (const OsError& error) {
    return IoResult::Error(error.Errno());
  } catch (const std::bad_alloc&) {
    return IoResult::Error(ENOMEM);
  }
}

// ---- closing

void RingStream::Close(bool reset) noexcept {
  if (ring_ != nullptr) {
    DropChunks();
    std::exchange(ring_, nullptr)->Detach(*this);
  }
  kept_.Clear();
  held_ = 0;
  ended_ = false;
  SocketStream::Close(reset);
}

}  // namespace coil::net::internal
