#include "coil/net/datagram_endpoint.h"

#include <cerrno>
#include <deque>
#include <exception>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/callback_pump.h"
#include "coil/net/internal/datagram_core.h"
#include "coil/net/internal/stream_transport.h"
#include "coil/net/internal/wait_list.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

class SocketTransport final
    : public DatagramTransport,
      public std::enable_shared_from_this<SocketTransport>,
      private CallbackPump,
      private DatagramCore::Receiver {
 public:
  explicit SocketTransport(DatagramRef core)
      : CallbackPump(coil::internal::RequireLoop("net: a datagram endpoint")),
        core_(std::move(core)) {}

  static Co<std::shared_ptr<DatagramTransport>> Start(
      DatagramRef core, std::shared_ptr<DatagramProtocol> protocol) {
    const auto transport = std::make_shared<SocketTransport>(std::move(core));
    transport->SetProtocol(std::move(protocol));
    transport->Begin(transport);
    try {
      while (!transport->made_) {
        co_await transport->made_waiters_.Wait("a protocol to be connected");
      }
    } catch (...) {
      transport->Close();
      throw;
    }
    co_return transport;
  }

  void Close() override {
    if (closing_) return;
    closing_ = true;
    core_->EndReceive(*this);
    if (queued_ == 0) CloseNow();
  }
  void Abort() override {
    if (lost_due_) return;
    closing_ = true;
    core_->EndReceive(*this);
    CloseNow();
  }
  bool IsClosing() const override { return closing_; }
  std::shared_ptr<BaseProtocol> GetProtocol() const override {
    return protocol_;
  }
  void SetProtocol(std::shared_ptr<DatagramProtocol> protocol) override {
    if (protocol == nullptr) {
      throw std::invalid_argument("DatagramTransport: the protocol is null");
    }
    if (!ended()) protocol_ = std::move(protocol);
  }
  Address PeerName() const override { return core_->remote(); }
  Address SockName() const override { return core_->SockName(); }
  SocketRef Socket() const override {
    return SocketRef(core_->socket().Descriptor());
  }

  void SendTo(std::string_view data, const Address& to) override;
  size_t GetWriteBufferSize() const override { return queued_; }
  std::pair<size_t, size_t> GetWriteBufferLimits() const override {
    return {low_, high_};
  }
  void SetWriteBufferLimits(std::optional<size_t> high,
                            std::optional<size_t> low) override {
    const auto limits = WriteLimits(high, low, size_t{64} << 10);
    high_ = limits.first;
    low_ = limits.second;
    UpdateWriting(/*may_resume=*/false);
  }

 private:
  static constexpr int kDatagramsInOneStep = 16;
  // What a datagram counts beside its bytes. asyncio: A258.
  static constexpr size_t kHeader = 8;

  // A datagram that waits for room.
  class Queued final : public DatagramCore::Sender {
   public:
    Queued(SocketTransport& transport, std::string_view bytes,
           const std::optional<Address>& address)
        : transport_(transport), bytes_(bytes) {
      data = bytes_;
      to = address;
    }
    void OnSent() noexcept override {
      SocketTransport& transport = transport_;
      transport.queued_ -= bytes_.size() + kHeader;
      if (error != 0) transport.NoteError(error, "send");
      delete this;
      transport.Schedule();
    }

   private:
    SocketTransport& transport_;
    std::string bytes_;
  };

  void NoteError(int error, const char* operation) noexcept {
    if (lost_due_ || error == ECONNABORTED) return;
    try {
      const Address& remote = core_->remote();
      errors_.emplace_back(error, operation,
                           remote ? remote.ToString() : core_->SockText());
    } catch (const std::bad_alloc&) {
    }
    Schedule();
  }
  void OnReceived() noexcept override {
    received_ = true;
    core_->EndReceive(*this);
    Schedule();
  }
  void CloseNow() noexcept {
    lost_due_ = true;
    core_->Close();
    Schedule();
  }

  std::string Name() const override {
    return absl::StrCat("the datagram endpoint ", core_->SockText());
  }
  void Drop() noexcept override {
    closing_ = lost_due_ = true;
    core_->EndReceive(*this);
    core_->Close();
    const auto protocol = std::move(protocol_);
  }
  void Step() override;
  void GiveToProtocol(Incoming incoming);
  void TellErrors();
  // Within a call of the program's the protocol is only told to pause.
  void UpdateWriting(bool may_resume);
  void Lose();
  template <class F>
  void CallProtocol(F f, const char* message) {
    const auto protocol = protocol_;
    Call([&] { f(*protocol); },
         [&](std::exception_ptr error) { Report(message, error); });
  }

  const DatagramRef core_;
  std::shared_ptr<DatagramProtocol> protocol_;
  std::deque<OsError> errors_;
  WaitList made_waiters_;
  size_t queued_ = 0;
  size_t high_ = size_t{64} << 10;
  size_t low_ = size_t{16} << 10;
  int dropped_writes_ = 0;
  bool made_ = false;
  bool received_ = false;
  bool closing_ = false;
  bool writing_paused_ = false;
  bool lost_due_ = false;
};

void SocketTransport::SendTo(std::string_view data, const Address& to) {
  const Address& remote = core_->remote();
  if (remote && to && to != remote) {
    throw std::invalid_argument(
        absl::StrCat("DatagramTransport::SendTo: the endpoint is connected to ",
                     remote.ToString(), ", not to ", to.ToString()));
  }
  if (!remote && !to) {
    throw std::invalid_argument(
        "DatagramTransport::SendTo: the endpoint is not connected, and there "
        "is no address");
  }
  if (closing_) {
    return CountDroppedWrite(&dropped_writes_, "DatagramTransport::SendTo");
  }
  std::optional<Address> address;
  if (!remote) address = to;
  auto sender = std::make_unique<Queued>(*this, data, address);
  if (queued_ == 0 && core_->TrySend(*sender)) {
    if (sender->error != 0) NoteError(sender->error, "send");
    return;
  }
  queued_ += data.size() + kHeader;
  core_->AddSender(*sender.release());
  UpdateWriting(/*may_resume=*/false);
}

void SocketTransport::Step() {
  if (!made_) {
    struct Made {
      explicit Made(SocketTransport& transport_in) : transport(transport_in) {}
      ~Made() {
        transport.made_ = true;
        transport.made_waiters_.WakeAll();
      }
      SocketTransport& transport;
    } made(*this);
    CallProtocol(
        [this](DatagramProtocol& protocol) {
          protocol.ConnectionMade(shared_from_this());
        },
        "a protocol's ConnectionMade() has failed");
  }
  TellErrors();
  for (int count = 0; !closing_; ++count) {
    if (received_) {
      received_ = false;
      GiveToProtocol(std::exchange(incoming, Incoming()));
      continue;
    }
    if (core_->HasReceiver()) break;
    if (count >= kDatagramsInOneStep) {
      Schedule();
      break;
    }
    if (core_->TryReceive(incoming)) {
      received_ = true;
    } else {
      core_->HoldReceiver(*this, /*armed=*/true);
    }
  }
  UpdateWriting(/*may_resume=*/true);
  if (closing_ && !lost_due_ && queued_ == 0) CloseNow();
  if (lost_due_) Lose();
}

void SocketTransport::GiveToProtocol(Incoming received) {
  if (received.error != 0) {
    NoteError(received.error, "receive");
    return TellErrors();
  }
  CallProtocol(
      [&received](DatagramProtocol& protocol) {
        protocol.DatagramReceived(received.rest, received.from);
      },
      "a protocol's DatagramReceived() has failed");
}

// Those of what a callback sends from here are told in the next step:
// NoteError() has asked for it.
void SocketTransport::TellErrors() {
  for (size_t left = errors_.size(); left != 0 && !lost_due_; --left) {
    const OsError error = std::move(errors_.front());
    errors_.pop_front();
    CallProtocol(
        [&error](DatagramProtocol& protocol) { protocol.ErrorReceived(error); },
        "a protocol's ErrorReceived() has failed");
  }
}

void SocketTransport::UpdateWriting(bool may_resume) {
  if (lost_due_ || protocol_ == nullptr) return;
  if (!writing_paused_ && queued_ > high_) {
    writing_paused_ = true;
    CallProtocol([](DatagramProtocol& protocol) { protocol.PauseWriting(); },
                 "a protocol's PauseWriting() has failed");
  } else if (writing_paused_ && queued_ <= low_) {
    if (!may_resume) return Schedule();
    writing_paused_ = false;
    CallProtocol([](DatagramProtocol& protocol) { protocol.ResumeWriting(); },
                 "a protocol's ResumeWriting() has failed");
  }
}

void SocketTransport::Lose() {
  struct Lost {
    explicit Lost(SocketTransport& transport_in) : transport(transport_in) {}
    ~Lost() {
      transport.protocol_.reset();
      transport.End();
    }
    SocketTransport& transport;
  } lost(*this);
  CallProtocol(
      [](DatagramProtocol& protocol) { protocol.ConnectionLost(nullptr); },
      "a protocol's ConnectionLost() has failed");
}

}  // namespace

Co<std::shared_ptr<DatagramTransport>> StartDatagramTransport(
    DatagramSocket socket, std::shared_ptr<DatagramProtocol> protocol) {
  return SocketTransport::Start(socket.core(), std::move(protocol));
}

}  // namespace coil::net::internal
