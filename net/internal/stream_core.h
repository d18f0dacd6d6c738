// coil/net/internal/stream_core.h
//
// What StreamReader and StreamWriter are handles to: one connection, with the
// bytes that were received and not taken, and those that are to be sent.
//
//   task ──FillAwaiter──> ReadBuffer <── ByteStream <── WriteQueue <── task
//
// The connection closes when the last handle goes away; what is queued then is
// still sent, since a queue that is not empty keeps the core alive.
//
// Threads: the loop's thread only.
// Lifetime: counted, not atomically.

#ifndef COIL_NET_INTERNAL_STREAM_CORE_H_
#define COIL_NET_INTERNAL_STREAM_CORE_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/read_buffer.h"
#include "coil/net/internal/wait_list.h"
#include "coil/net/internal/write_queue.h"
#include "coil/net/secure_stream.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {

class StreamCore;

// The connections of a server.
class ConnectionList {
 public:
  StreamCore* First() const { return first_; }
  size_t size() const { return size_; }

 protected:
  ConnectionList() = default;
  ~ConnectionList() = default;
  // One more refers to this list.
  virtual void OnAdded() noexcept = 0;
  // One of them is closed, and out of the list.
  virtual void OnRemoved() noexcept = 0;

 private:
  friend class StreamCore;
  StreamCore* first_ = nullptr;
  size_t size_ = 0;
};

class StreamCore final : public coil::internal::PoolAllocated,
                         private coil::internal::Runnable,
                         private ByteStream::ReadRequest,
                         private ByteStream::WriteRequest {
 public:
  // Who is told what tasks are woken for: a transport.
  class Observer {
   public:
    // Something was sent or queued, sending has failed, or this is closed.
    // Called from within: may only schedule.
    virtual void OnStreamChange() noexcept = 0;

   protected:
    ~Observer() = default;
  };

  // REQUIRES: a running loop.
  StreamCore(std::unique_ptr<ByteStream> stream, size_t limit);

  void Ref() noexcept { ++references_; }
  void Unref() noexcept {
    if (--references_ == 0) OnLastUnref();
  }

  ByteStream& stream() { return *stream_; }
  const ByteStream& stream() const { return *stream_; }
  size_t limit() const { return limit_; }
  std::string PeerText() const { return stream_->PeerText(); }
  // Throws std::runtime_error if `task` belongs to another loop.
  void CheckLoop(const coil::internal::TaskCore* task) const {
    if (loop_ != &task->loop()) [[unlikely]]
      coil::internal::ThrowWrongLoop("net: a stream");
  }

  // ---- reading
  internal::ReadBuffer& input() { return input_; }
  bool AtEnd() const { return end_ && input_.empty(); }
  // An operation that has `have` bytes and wants more has what it can get.
  bool Satisfied(size_t have) const {
    return input_.size() > have || end_ || read_error_ != 0;
  }
  // The reader that waits, or that was woken and has not run yet.
  ByteStream::ReadRequest* reader() const { return reader_; }
  // It waits, and its turn has not come near.
  bool ReaderWaits() const { return reader_armed_ && !read_deferred_; }
  IoResult TryRead(ByteStream::ReadRequest& request) noexcept {
    ++streak_;
    return stream_->TryRead(request);
  }
  // `request` is the reader from now on, and has its answer or will
  // StartRead(). REQUIRES: reader() == nullptr.
  void HoldReader(ByteStream::ReadRequest& request) noexcept {
    reader_ = &request;
  }
  // `request` gets its answer when its turn comes, or as soon as it is there,
  // `at_once`. REQUIRES: nobody else is the reader.
  void StartRead(ByteStream::ReadRequest& request,
                 bool at_once = false) noexcept;
  // `request` has got its answer.
  void ReaderAnswered() noexcept { reader_armed_ = false; }
  // `request` has run again, or does not want to any more.
  void EndRead(ByteStream::ReadRequest& request) noexcept {
    if (reader_ != &request) return;
    reader_ = nullptr;
    if (reader_armed_) CancelRead();
  }
  // Room for at most `wanted` bytes in input(); FinishRead() commits them.
  absl::Span<char> ReserveRead(size_t wanted) noexcept;
  void FinishRead(IoResult result) noexcept;
  // The same for bytes that went elsewhere.
  void FinishDirectRead(IoResult result) noexcept;
  // Puts bytes back that nobody has seen. Without memory for that the
  // connection is broken, and says so, rather than silently incomplete.
  void Unread(std::string_view bytes) noexcept;
  int read_error() const { return read_error_; }
  // REQUIRES: read_error() != 0.
  std::exception_ptr ReadError() const;
  [[noreturn]] void ThrowTwoReaders() const;

  // ---- writing
  // Why nothing can be written; zero if it can.
  int WriteRefused() const {
    return write_error_ != 0 ? write_error_ : closing_ ? ECONNABORTED : 0;
  }
  bool WriteEofCalled() const { return eof_called_; }
  // Nothing may be written now: after WriteEof(), and while a file is sent.
  bool WriteForbidden() const { return eof_called_ || sending_file_; }
  [[noreturn]] void ThrowForbidden(const char* function) const;
  bool sending_file() const { return sending_file_; }
  void SetSendingFile(bool on) noexcept { sending_file_ = on; }
  bool QueueEmpty() const { return queue_.empty(); }
  // Sends what can be sent of `data` now. REQUIRES: QueueEmpty(), not empty.
  IoResult TrySend(std::string_view data) noexcept {
    ++streak_;
    const iovec piece = {const_cast<char*>(data.data()), data.size()};
    return stream_->TryWrite(absl::MakeConstSpan(&piece, 1));
  }
  // Sends what can be sent of `entry` now; the errno if that fails. REQUIRES:
  // QueueEmpty().
  int SendNow(WriteQueue::Entry& entry) noexcept;
  // `entry` waits for its turn. Only after SendNow(), or if !QueueEmpty().
  void Enqueue(WriteQueue::Entry& entry) noexcept;
  // The task of `entry` does not wait any more. What was begun is sent.
  void Abandon(WriteQueue::Entry& entry) noexcept;
  // The same for an entry that was begun by SendNow() and not enqueued.
  void KeepRest(const WriteQueue::Entry& entry) noexcept;
  void WriteSoon(std::string_view data);
  void WriteEof();
  size_t Buffered() const { return queue_.Buffered(); }
  void SetWriteLimits(size_t high, size_t low);
  size_t low() const { return low_; }
  size_t high() const { return high_; }
  // More is queued than the high water mark, and it has not sunk to the low one
  // since.
  bool WritingPaused() const { return paused_; }
  WaitList& drain_waiters() { return drain_waiters_; }
  // Woken when nothing is queued any more.
  WaitList& flush_waiters() { return flush_waiters_; }
  // The error of writing, for one who is told of it.
  std::exception_ptr WriteError(int error) noexcept;
  bool HasUnseenWriteError() const {
    return write_error_ != 0 && !write_error_seen_;
  }
  int write_error() const { return write_error_; }
  // The peer takes nothing more: those who write are told, what is queued is
  // dropped. What it has sent can still be read.
  void FailWrites(int error) noexcept;

  // ---- closing
  // Sends what is queued, then closes. Whoever reads gets ECONNABORTED.
  void StartClose() noexcept;
  // Closes now; the peer gets a reset if something was queued.
  void Abort() noexcept;
  bool closing() const { return closing_; }
  bool closed() const { return closed_; }
  // At most one, which outlives this or is taken back.
  // A closed connection leaves the list of its server when that has been done.
  void SetObserver(Observer* observer) noexcept;
  WaitList& close_waiters() { return close_waiters_; }

  // ---- securing
  // The stream goes on over `secure`. What was received and not taken belongs
  // to the handshake if it may be the beginning of one, and is dropped
  // otherwise: somebody may have put it in before the connection was secure.
  // REQUIRES: nobody reads, and the queue is empty.
  void Secure(std::unique_ptr<SecureStream> secure) noexcept;

  // ---- fairness
  // Too many operations in a row have completed at once: give way.
  bool TurnUsedUp() noexcept {
    if (streak_ < kLongestStreak) [[likely]]
      return false;
    streak_ = 0;
    return true;
  }

  // ---- the connections of a server
  void JoinList(ConnectionList* list) noexcept;
  StreamCore* NextInList() const { return next_; }

 private:
  // What a connection may do in one step of its task while others wait.
  static constexpr uint8_t kLongestStreak = 16;
  // Without end, for every purpose; sums with it do not wrap around.
  static constexpr size_t kLargestLimit =
      std::numeric_limits<size_t>::max() / 4;
  static constexpr size_t kDefaultHigh = size_t{64} << 10;
  static constexpr size_t kDefaultLow = size_t{16} << 10;

  ~StreamCore();

  // The turn of the reader.
  void Run() override;
  void Abandon() noexcept override;
  std::string Describe() const override;
  bool Shuffles() const override { return true; }

  // For the stream: the reader itself is not looked at before its turn.
  absl::Span<char> ReadBuffer() noexcept override {
    return reader_->ReadBuffer();
  }
  bool DeferRead() noexcept override;
  void CancelRead() noexcept;
  void OnRead(IoResult result) noexcept override { reader_->OnRead(result); }

  size_t WritePieces(absl::Span<iovec> pieces) noexcept override {
    return queue_.Gather(pieces);
  }
  void OnWritten(IoResult result) noexcept override;
  void Flush() noexcept;
  void AfterQueueChange() noexcept;
  void OnLastUnref() noexcept;
  void FinishAndClose() noexcept;
  void CloseNow(bool reset) noexcept;
  void LeaveList() noexcept;
  // May delete this.
  void UpdateKeepAlive() noexcept;

  // First what a message needs, in the order in which it is needed.
  uint32_t references_ = 0;
  bool reader_armed_ = false;
  bool read_at_once_ = false;
  bool read_deferred_ = false;
  uint8_t streak_ = 0;
  ByteStream::ReadRequest* reader_ = nullptr;
  coil::internal::LoopCore* loop_;
  std::unique_ptr<ByteStream> stream_;
  uint32_t chunk_;     // how much to receive at once
  uint32_t room_ = 0;  // how much was asked for last
  internal::ReadBuffer input_;
  int read_error_ = 0;
  int write_error_ = 0;
  bool end_ = false;
  bool paused_ = false;
  bool eof_called_ = false;
  bool eof_sent_ = false;
  bool closing_ = false;
  bool finishing_ = false;
  bool closed_ = false;
  bool kept_alive_ = false;
  bool write_error_seen_ = false;
  bool sending_file_ = false;
  WriteQueue queue_;

  size_t limit_;
  size_t high_ = kDefaultHigh;
  size_t low_ = kDefaultLow;
  WaitList drain_waiters_;
  WaitList flush_waiters_;
  WaitList close_waiters_;

  Observer* observer_ = nullptr;
  ConnectionList* list_ = nullptr;
  StreamCore* previous_ = nullptr;
  StreamCore* next_ = nullptr;
};

using StreamRef = coil::internal::RefPtr<StreamCore>;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_STREAM_CORE_H_
