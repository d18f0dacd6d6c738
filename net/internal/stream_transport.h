// coil/net/internal/stream_transport.h
//
// A Transport over a connection as StreamReader and StreamWriter have one, so
// that what they can be, it can be: TCP, Unix sockets, pipes, TLS, streams of
// the program. What happens there is only noted, and told from the loop's
// queue:
//
//   ByteStream ──OnRead──> input of the StreamCore ──┐
//   StreamCore ──OnStreamChange──────────────────────┴─Schedule()─> Step()
//       Step(): ConnectionMade, bytes, EofReceived, ResumeWriting,
//               ConnectionLost
//
// Threads: the loop's thread only.
// Lifetime: see CallbackPump.

#ifndef COIL_NET_INTERNAL_STREAM_TRANSPORT_H_
#define COIL_NET_INTERNAL_STREAM_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/callback_pump.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/wait_list.h"
#include "coil/net/transport.h"
#include "coil/task/co.h"

namespace coil::net::internal {

// {high, low} of what SetWriteBufferLimits() was given. `fallback` is the high
// mark if nothing was. Throws std::invalid_argument.
std::pair<size_t, size_t> WriteLimits(std::optional<size_t> high,
                                      std::optional<size_t> low,
                                      size_t fallback);

// Complains about what was written to a connection that is gone, the fifth time
// and after.
void CountDroppedWrite(int* count, const char* function);

class StreamTransport final
    : public Transport,
      public std::enable_shared_from_this<StreamTransport>,
      private CallbackPump,
      private ByteStream::ReadRequest,
      private StreamCore::Observer {
 public:
  enum class Ways : uint8_t { kBoth, kRead, kWrite };

  // Takes the connection over, on which nobody reads; ConnectionMade() is
  // called on the next pass. Throws std::invalid_argument for a null protocol;
  // std::runtime_error without a running loop.
  static std::shared_ptr<StreamTransport> Start(
      StreamRef core, std::shared_ptr<StreamProtocol> protocol,
      Ways ways = Ways::kBoth);
  // Waits until ConnectionMade() has returned. Cancellation: closes.
  Co<void> WaitMade();

  void Close() override;
  bool IsClosing() const override;
  std::shared_ptr<BaseProtocol> GetProtocol() const override {
    return protocol_;
  }
  Address PeerName() const override { return core_->stream().PeerName(); }
  Address SockName() const override { return core_->stream().SockName(); }
  SocketRef Socket() const override {
    return SocketRef(core_->stream().Descriptor());
  }

  bool IsReading() const override { return !IsClosing() && !paused_; }
  void PauseReading() override;
  void ResumeReading() override;

  void Write(std::string_view data) override;
  void WriteLines(absl::Span<const std::string_view> pieces) override;
  void WriteEof() override;
  bool CanWriteEof() const override;
  void Abort() override { Break(nullptr); }
  size_t GetWriteBufferSize() const override {
    return core_->Buffered() + core_->stream().WriteBacklog();
  }
  std::pair<size_t, size_t> GetWriteBufferLimits() const override {
    return {core_->low(), core_->high()};
  }
  void SetWriteBufferLimits(std::optional<size_t> high,
                            std::optional<size_t> low) override;

  void SetProtocol(std::shared_ptr<StreamProtocol> protocol) override;
  std::optional<TlsInfo> GetTlsInfo() const override;
  Co<void> StartTls(std::shared_ptr<const SecureLayer> layer,
                    SecureOptions options) override;
  Co<uint64_t> SendFile(int fd, SendFileOptions options) override;

  StreamTransport(StreamRef core, Ways ways);

 private:
  // Read in one step, so that others get their turn.
  static constexpr int kReadsInOneStep = 4;
  // Who gets so much at once is sent a lot: worth asking for the memory first.
  static constexpr size_t kBulk = size_t{16} << 10;

  class Hold;

  using Self = std::shared_ptr<StreamTransport>;
  static Co<void> WaitMadeOn(Self self);
  static Co<void> StartTlsOn(Self self,
                             std::shared_ptr<const SecureLayer> layer,
                             SecureOptions options);
  static Co<uint64_t> SendFileFrom(Self self, int fd, SendFileOptions options);
  absl::Span<char> ReadBuffer() noexcept override;
  void OnRead(IoResult result) noexcept override;
  void OnStreamChange() noexcept override;

  void Step() override;
  void Drop() noexcept override;
  std::string Name() const override;

  bool Secured() const { return core_->stream().Secure() != nullptr; }
  bool WantsToRead() const {
    return made_ && !(paused_ && ways_ != Ways::kWrite) && holds_ == 0 &&
           !eof_ && !IsClosing();
  }
  void StopReading() noexcept { core_->EndRead(*this); }
  void Read();
  void GiveToProtocol();
  // Empty if there is none: then the connection is broken.
  absl::Span<char> AskForMemory(size_t hint);
  void AtEnd();
  // Tells of the marks. Within a call of the program's the protocol is only
  // told to pause: what resumes it runs in a step of its own.
  void UpdateWriting(bool may_resume);
  void Lose();
  void CheckWrite(const char* function) const;
  // An error of the protocol's.
  void Fail(std::exception_ptr error, const char* message);
  // Closes now. `error` is what ConnectionLost() is given.
  void Break(std::exception_ptr error);

  const StreamRef core_;
  const Ways ways_;
  std::shared_ptr<StreamProtocol> protocol_;
  Protocol* plain_ = nullptr;  // protocol_, as one of the two
  BufferedProtocol* buffered_ = nullptr;
  absl::Span<char> direct_;  // the protocol's memory, for a read of Read()
  std::exception_ptr error_;
  WaitList made_waiters_;
  int dropped_writes_ = 0;
  int holds_ = 0;  // those for whom nothing is read
  bool made_ = false;
  bool paused_ = false;  // by PauseReading()
  bool bulk_ = false;
  bool eof_ = false;
  bool writing_paused_ = false;  // the protocol was told so
  bool limits_set_ = false;
  bool broken_ = false;    // by Break()
  bool lost_due_ = false;  // the stream is closed
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_STREAM_TRANSPORT_H_
