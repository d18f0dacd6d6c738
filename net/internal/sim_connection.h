// coil/net/internal/sim_connection.h
//
// A TCP connection in a simulated network: two ends, and a flow of bytes from
// each to the other.
//
//   end 0 ── TryWrite ──> pending ──> flying ──> received ── TryRead ──> end 1
//                            ^    credit                │
//                            └────── updates <──────────┘
//
// pending   taken from the program, not sent: the window is full
// flying    on its way: data, the end, a reset, each with its time of arrival
// received  there, and not read
// updates   on their way back: so much of the window is free again
//
// A packet that arrives where the wire is cut stays, with all behind it, until
// the wire is healed or the sender gives up. An end that has failed or is
// closed answers data with a reset, one that has failed also the end.
//
// Threads: the loop's thread only.
// Lifetime: owned by the network until the programs at both ends have closed,
//   and shared by the streams of the ends.

#ifndef COIL_NET_INTERNAL_SIM_CONNECTION_H_
#define COIL_NET_INTERNAL_SIM_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "coil/loop/loop_time.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/sim_core.h"

namespace coil::net::internal {

class SimListener;
class SimStream;

// Bytes, first in, first out.
class SimBytes {
 public:
  bool empty() const { return begin_ == bytes_.size(); }
  size_t size() const { return bytes_.size() - begin_; }
  std::string_view View() const {
    return std::string_view(bytes_).substr(begin_);
  }
  void Append(std::string_view data) { bytes_.append(data); }
  void Consume(size_t n);
  void Clear() {
    bytes_.clear();
    begin_ = 0;
  }

 private:
  std::string bytes_;
  size_t begin_ = 0;
};

class SimConnection final : public std::enable_shared_from_this<SimConnection> {
 public:
  static constexpr int kClient = 0;
  static constexpr int kServer = 1;

  SimConnection(std::shared_ptr<SimCore> core, uint64_t id, SimHost& client,
                const Address& client_address, SimHost& server,
                const Address& server_address);
  SimConnection(const SimConnection&) = delete;
  SimConnection& operator=(const SimConnection&) = delete;
  ~SimConnection();

  // ---- for the stream of an end
  void StartConnecting();
  bool CanRead(int side) const;
  bool CanWrite(int side) const;
  IoResult Read(int side, ByteStream::ReadRequest& request) noexcept;
  IoResult Write(int side, absl::Span<const iovec> pieces) noexcept;
  void ShutdownWrite(int side) noexcept;
  // The program has closed its end.
  void Close(int side, bool reset) noexcept;
  const Address& AddressOf(int side) const { return ends_[side].address; }

  // ---- for the listener
  // The stream of the server's end, for the program.
  std::unique_ptr<ByteStream> Accept();
  // It is not there any more.
  void ForgetListener() noexcept {
    listener_ = nullptr;
    RemoveIfClosed();
  }
  SimListener* listener() const { return listener_; }

  // ---- for the network
  uint64_t id() const { return id_; }
  SimCore& core() const { return *core_; }
  SimHost& HostOf(int side) const { return *ends_[side].host; }
  // An end of it is told of a reset now, the other one when that arrives.
  void Reset(int side) noexcept;
  // Goes on where a wire is not cut any more.
  void OnHealed() noexcept;
  // The loop closes.
  void Abandon() noexcept;

 private:
  friend class SimStream;
  enum class Kind : uint8_t { kAck, kData, kFin, kReset };

  struct Segment {
    Segment(LoopTime arrival_in, Kind kind_in, std::string_view data_in)
        : arrival(arrival_in), kind(kind_in), data(data_in) {}
    LoopTime arrival;
    Kind kind;
    std::string data;
  };

  struct End {
    SimHost* host = nullptr;
    Address address;
    SimStream* stream = nullptr;  // null before it is accepted and once closed
    bool closed = false;          // by the program, or it never had it
    bool told = false;            // the program knows of `error`
    bool lost = false;            // received bytes were dropped
    int error = 0;                // the end is dead
  };

  // What one end sends.
  struct Flow {
    Flow(SimConnection& connection, int side_in);
    void OnData() noexcept { connection.DataArrives(side); }
    void OnUpdate() noexcept { connection.UpdateArrives(side); }
    void OnGiveUp() noexcept { connection.GiveUp(side); }

    SimConnection& connection;
    const int side;
    SimWire* wire = nullptr;
    SimBytes pending;
    size_t credit = 0;
    std::deque<Segment> flying;
    SimBytes received;
    size_t owed = 0;  // read, and the sender does not know
    std::deque<std::pair<LoopTime, size_t>> updates;
    LoopTime last_arrival;
    bool fin_wanted = false;
    bool fin_sent = false;
    bool fin_received = false;
    bool reset_sent = false;
    bool data_stalled = false;
    bool updates_stalled = false;
    SimTimer<Flow> data_timer;
    SimTimer<Flow> update_timer;
    SimTimer<Flow> give_up_timer;
  };

  void SendSyn() noexcept;
  void SynArrives() noexcept;
  void SynAckArrives() noexcept;
  void RefusalArrives() noexcept;
  void AckArrives() noexcept;
  void OnRetry() noexcept;
  void OnConnectTimeout() noexcept;
  void ConnectFailed(int error) noexcept;
  void GivePlaceBack() noexcept;

  void Pump(int side);
  void Push(int side, Kind kind, std::string_view data);
  void SendReset(int side);
  void DataArrives(int side) noexcept;
  void Deliver(int side, Segment segment);
  void UpdateArrives(int side) noexcept;
  void Return(int side, size_t bytes);
  void Stall(int side, bool& stalled) noexcept;
  void GiveUp(int side) noexcept;
  // The end fails with `error`; with `drop` it loses what it has received.
  void Die(int side, int error, bool drop) noexcept;
  void Tell(int side, bool readable, bool writable) noexcept;
  void RemoveIfClosed() noexcept;
  void DisarmAll() noexcept;

  const std::shared_ptr<SimCore> core_;
  const uint64_t id_;
  End ends_[2];
  Flow flows_[2];
  SimListener* listener_ = nullptr;
  bool connecting_ = false;  // the client
  bool half_open_ = false;   // the listener keeps a place for it
  int tries_ = 0;
  SimTimer<SimConnection> retry_timer_;
  SimTimer<SimConnection> timeout_timer_;
};

// The stream of one end.
class SimStream final : public ConnectingStream {
 public:
  SimStream(std::shared_ptr<SimConnection> connection, int side,
            bool connecting);
  ~SimStream() override { Close(false); }

  IoResult TryRead(ReadRequest& request) noexcept override;
  void StartRead(ReadRequest& request) noexcept override;
  bool CancelRead() noexcept override;
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override;
  void StartWrite(WriteRequest& request) noexcept override;
  bool CancelWrite() noexcept override;
  void ShutdownWrite() noexcept override;
  void Close(bool reset) noexcept override;
  Address PeerName() const override { return peer_; }
  Address SockName() const override { return name_; }

  void StartConnect(WriteRequest& request) noexcept override {
    write_ = &request;
  }
  bool connecting() const override { return connecting_; }
  int connect_error() const override { return connect_error_; }

  // ---- for the connection
  void OnConnected(int error) noexcept;
  void OnReady(bool readable, bool writable) noexcept;
  bool HasWriter() const { return write_ != nullptr; }

 private:
  void OnWake() noexcept;
  // Tries again behind the other timers of this moment.
  void WakeSoon() noexcept;

  const std::shared_ptr<SimConnection> connection_;
  const int side_;
  const Address name_;
  const Address peer_;
  bool connecting_;
  bool closed_ = false;
  int connect_error_ = 0;
  ReadRequest* read_ = nullptr;
  WriteRequest* write_ = nullptr;
  SimTimer<SimStream> wake_timer_;
  Liveness alive_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SIM_CONNECTION_H_
