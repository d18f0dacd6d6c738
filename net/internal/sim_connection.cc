#include "coil/net/internal/sim_connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "coil/net/internal/debug_checks.h"
#include "coil/net/internal/requests.h"
#include "coil/net/internal/sim_listener.h"

namespace coil::net::internal {
namespace {

// The first pause before a packet that begins a connection is sent again.
constexpr absl::Duration kFirstRetry = absl::Seconds(1);

}  // namespace

void SimBytes::Consume(size_t n) {
  begin_ += n;
  if (begin_ == bytes_.size()) {
    Clear();
  } else if (begin_ >= 4096 && begin_ * 2 >= bytes_.size()) {
    bytes_.erase(0, begin_);
    begin_ = 0;
  }
}

SimConnection::Flow::Flow(SimConnection& connection_in, int side_in)
    : connection(connection_in),
      side(side_in),
      data_timer(*this, &Flow::OnData),
      update_timer(*this, &Flow::OnUpdate),
      give_up_timer(*this, &Flow::OnGiveUp) {}

SimConnection::SimConnection(std::shared_ptr<SimCore> core, uint64_t id,
                             SimHost& client, const Address& client_address,
                             SimHost& server, const Address& server_address)
    : core_(std::move(core)),
      id_(id),
      flows_{{*this, kClient}, {*this, kServer}},
      retry_timer_(*this, &SimConnection::OnRetry),
      timeout_timer_(*this, &SimConnection::OnConnectTimeout) {
  ends_[kClient].host = &client;
  ends_[kClient].address = client_address;
  ends_[kServer].host = &server;
  ends_[kServer].address = server_address;
  // Until the server knows of it.
  ends_[kServer].closed = true;
  ends_[kServer].error = ECONNABORTED;
  flows_[kClient].wire = &core_->Wire(client, server);
  flows_[kServer].wire = &core_->Wire(server, client);
  for (Flow& flow : flows_) flow.credit = core_->options().receive_buffer();
}

SimConnection::~SimConnection() { DisarmAll(); }

void SimConnection::DisarmAll() noexcept {
  for (Flow& flow : flows_) {
    core_->Disarm(flow.data_timer);
    core_->Disarm(flow.update_timer);
    core_->Disarm(flow.give_up_timer);
  }
  core_->Disarm(retry_timer_);
  core_->Disarm(timeout_timer_);
}

// ---- connecting

void SimConnection::StartConnecting() {
  connecting_ = true;
  core_->Arm(timeout_timer_, core_->Now() + core_->options().connect_timeout());
  SendSyn();
}

void SimConnection::SendSyn() noexcept {
  SimWire& wire = *flows_[kClient].wire;
  core_->Note(SimEvent::kSyn, id_, static_cast<uint64_t>(tries_));
  core_->Arm(retry_timer_, core_->Now() + kFirstRetry * (1 << tries_));
  tries_ = std::min(tries_ + 1, 20);
  if (core_->Chance(wire.link.loss())) return;
  // If nobody holds the connection by then, nobody knows of it.
  core_->At(core_->Arrival(wire, 0), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->SynArrives();
  });
}

void SimConnection::OnRetry() noexcept { SendSyn(); }

void SimConnection::SynArrives() noexcept {
  if (flows_[kClient].wire->Cut() || !connecting_) return;
  SimWire& back = *flows_[kServer].wire;
  if (!half_open_) {
    SimListener* listener =
        core_->FindListener(*ends_[kServer].host, ends_[kServer].address);
    if (listener == nullptr) {
      core_->At(core_->Arrival(back, 0), [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->RefusalArrives();
      });
      return;
    }
    if (!listener->TakePlace()) return;
    half_open_ = true;
    listener_ = listener;
  }
  core_->Note(SimEvent::kSynAck, id_, 0);
  if (core_->Chance(back.link.loss())) return;
  core_->At(core_->Arrival(back, 0), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->SynAckArrives();
  });
}

void SimConnection::RefusalArrives() noexcept {
  if (flows_[kServer].wire->Cut() || !connecting_) return;
  core_->Note(SimEvent::kRefused, id_, 0);
  ConnectFailed(ECONNREFUSED);
}

void SimConnection::SynAckArrives() noexcept {
  if (flows_[kServer].wire->Cut() || !connecting_) return;
  connecting_ = false;
  core_->Disarm(retry_timer_);
  core_->Disarm(timeout_timer_);
  core_->Note(SimEvent::kConnected, id_, 0);
  Push(kClient, Kind::kAck, {});
  ends_[kClient].stream->OnConnected(0);
}

// The server's side of the connection begins.
void SimConnection::AckArrives() noexcept {
  half_open_ = false;
  ends_[kServer].error = 0;
  SimListener* listener = std::exchange(listener_, nullptr);
  if (listener == nullptr) {
    // It has closed meanwhile.
    SendReset(kServer);
    ends_[kServer].error = ECONNABORTED;
    return RemoveIfClosed();
  }
  // Until it is accepted, it is the listener that closes it.
  ends_[kServer].closed = false;
  core_->Note(SimEvent::kAccepted, id_, 0);
  listener->Completed(shared_from_this());
}

void SimConnection::OnConnectTimeout() noexcept {
  core_->Note(SimEvent::kConnectTimeout, id_, 0);
  ConnectFailed(ETIMEDOUT);
}

void SimConnection::GivePlaceBack() noexcept {
  if (std::exchange(half_open_, false) && listener_ != nullptr) {
    std::exchange(listener_, nullptr)->GivePlaceBack();
  }
}

void SimConnection::ConnectFailed(int error) noexcept {
  connecting_ = false;
  core_->Disarm(retry_timer_);
  core_->Disarm(timeout_timer_);
  GivePlaceBack();
  ends_[kClient].error = error;
  if (ends_[kClient].stream != nullptr) {
    ends_[kClient].stream->OnConnected(error);
  }
}

std::unique_ptr<ByteStream> SimConnection::Accept() {
  return std::make_unique<SimStream>(shared_from_this(), kServer,
                                     /*connecting=*/false);
}

// ---- sending

IoResult SimConnection::Write(int side,
                              absl::Span<const iovec> pieces) noexcept {
  End& end = ends_[side];
  Flow& flow = flows_[side];
  if (end.error != 0) {
    return IoResult::Error(std::exchange(end.told, true) ? EPIPE : end.error);
  }
  if (flow.fin_wanted) return IoResult::Error(EPIPE);
  const size_t capacity = core_->options().send_buffer();
  if (flow.pending.size() >= capacity || core_->Blocks()) {
    return IoResult::WouldBlock();
  }
  size_t asked = 0;
  for (const iovec& piece : pieces) asked += piece.iov_len;
  const size_t n = core_->Part(std::min(asked, capacity - flow.pending.size()),
                               core_->options().largest_write());
  size_t left = n;
  for (const iovec& piece : pieces) {
    const size_t part = std::min(left, piece.iov_len);
    flow.pending.Append({static_cast<const char*>(piece.iov_base), part});
    left -= part;
    if (left == 0) break;
  }
  Pump(side);
  return IoResult::Bytes(n);
}

bool SimConnection::CanWrite(int side) const {
  return ends_[side].error != 0 || flows_[side].fin_wanted ||
         flows_[side].pending.size() < core_->options().send_buffer();
}

void SimConnection::ShutdownWrite(int side) noexcept {
  flows_[side].fin_wanted = true;
  Pump(side);
}

// Sends what the window allows, and the end behind it.
void SimConnection::Pump(int side) {
  if (ends_[side].error != 0) return;
  Flow& flow = flows_[side];
  while (!flow.pending.empty() && flow.credit > 0) {
    const size_t n = std::min(
        {flow.pending.size(), flow.credit, core_->options().segment_size()});
    Push(side, Kind::kData, flow.pending.View().substr(0, n));
    flow.pending.Consume(n);
    flow.credit -= n;
  }
  if (flow.pending.empty() && flow.fin_wanted &&
      !std::exchange(flow.fin_sent, true)) {
    Push(side, Kind::kFin, {});
  }
}

void SimConnection::Push(int side, Kind kind, std::string_view data) {
  Flow& flow = flows_[side];
  core_->Note(SimEvent::kSend, id_ * 2 + static_cast<uint64_t>(side),
              data.size() * 4 + static_cast<uint64_t>(kind));
  // Nothing overtakes what was sent before.
  flow.last_arrival = std::max(flow.last_arrival,
                               core_->ReliableArrival(*flow.wire, data.size()));
  flow.flying.emplace_back(flow.last_arrival, kind, data);
  if (!flow.data_timer.Armed() && !flow.data_stalled) {
    core_->Arm(flow.data_timer, flow.flying.front().arrival);
  }
}

void SimConnection::SendReset(int side) {
  if (std::exchange(flows_[side].reset_sent, true)) return;
  flows_[side].pending.Clear();
  Push(side, Kind::kReset, {});
}

// ---- arriving

void SimConnection::DataArrives(int side) noexcept {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  Flow& flow = flows_[side];
  if (!flow.wire->Cut() && core_->Chance(core_->options().partitions())) {
    core_->BreakDown(*flow.wire);
  }
  if (flow.wire->Cut()) return Stall(side, flow.data_stalled);
  Segment segment = std::move(flow.flying.front());
  flow.flying.pop_front();
  if (!flow.flying.empty()) {
    core_->Arm(flow.data_timer, flow.flying.front().arrival);
  }
  Deliver(side, std::move(segment));
}

void SimConnection::Deliver(int side, Segment segment) {
  const int to = 1 - side;
  Flow& flow = flows_[side];
  const uint64_t whose = id_ * 2 + static_cast<uint64_t>(side);
  if (segment.kind == Kind::kAck) return AckArrives();
  const bool gone = ends_[to].closed || ends_[to].error != 0;
  if (segment.kind == Kind::kReset) {
    core_->Note(SimEvent::kReset, whose, 0);
    if (!gone) Die(to, ECONNRESET, /*drop=*/true);
    return;
  }
  if (gone) {
    // Who has closed in good order hears of the other's end, who has failed
    // knows of no connection.
    if (segment.kind == Kind::kData || ends_[to].error != 0) {
      SendReset(to);
      if (ends_[to].error == 0) ends_[to].error = ECONNABORTED;
    }
    return;
  }
  if (core_->Chance(core_->options().resets())) return Reset(to);
  if (segment.kind == Kind::kFin) {
    core_->Note(SimEvent::kFin, whose, 0);
    flow.fin_received = true;
  } else {
    core_->Note(SimEvent::kData, whose, segment.data.size());
    core_->bytes_delivered += segment.data.size();
    flow.received.Append(segment.data);
  }
  Tell(to, /*readable=*/true, /*writable=*/false);
}

bool SimConnection::CanRead(int side) const {
  const Flow& flow = flows_[1 - side];
  return !flow.received.empty() || flow.fin_received || ends_[side].error != 0;
}

IoResult SimConnection::Read(int side,
                             ByteStream::ReadRequest& request) noexcept {
  End& end = ends_[side];
  Flow& flow = flows_[1 - side];
  if (flow.received.empty()) {
    if (flow.fin_received && !end.lost) return IoResult::Bytes(0);
    if (end.error == 0) return IoResult::WouldBlock();
    end.told = true;
    return IoResult::Error(end.error);
  }
  if (core_->Blocks()) return IoResult::WouldBlock();
  const absl::Span<char> room = request.ReadBuffer();
  if (room.empty()) return IoResult::Error(ENOMEM);
  const size_t n = core_->Part(std::min(room.size(), flow.received.size()),
                               core_->options().largest_read());
  flow.received.View().copy(room.data(), n);
  flow.received.Consume(n);
  Return(1 - side, n);
  return IoResult::Bytes(n);
}

// The reader of a flow has taken so much: its sender may send as much again.
void SimConnection::Return(int side, size_t bytes) {
  Flow& flow = flows_[side];
  flow.owed += bytes;
  // Not for each byte.
  const size_t least = std::min(core_->options().segment_size(),
                                core_->options().receive_buffer() / 2);
  if (flow.owed < std::max<size_t>(least, 1)) return;
  LoopTime arrival = core_->Arrival(*flows_[1 - side].wire, 0);
  if (!flow.updates.empty()) {
    arrival = std::max(arrival, flow.updates.back().first);
  }
  flow.updates.emplace_back(arrival, std::exchange(flow.owed, 0));
  if (!flow.update_timer.Armed() && !flow.updates_stalled) {
    core_->Arm(flow.update_timer, flow.updates.front().first);
  }
}

void SimConnection::UpdateArrives(int side) noexcept {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  Flow& flow = flows_[side];
  if (flows_[1 - side].wire->Cut()) return Stall(side, flow.updates_stalled);
  const size_t bytes = flow.updates.front().second;
  flow.updates.pop_front();
  if (!flow.updates.empty()) {
    core_->Arm(flow.update_timer, flow.updates.front().first);
  }
  core_->Note(SimEvent::kWindow, id_ * 2 + static_cast<uint64_t>(side), bytes);
  flow.credit += bytes;
  if (ends_[side].error != 0) return;
  Pump(side);
  if (CanWrite(side)) Tell(side, /*readable=*/false, /*writable=*/true);
}

// ---- partitions

void SimConnection::Stall(int side, bool& stalled) noexcept {
  stalled = true;
  Flow& flow = flows_[side];
  core_->Note(SimEvent::kStalled, id_ * 2 + static_cast<uint64_t>(side), 0);
  if (!flow.give_up_timer.Armed()) {
    core_->Arm(flow.give_up_timer,
               core_->Now() + core_->options().retransmit_timeout());
  }
}

void SimConnection::OnHealed() noexcept {
  for (Flow& flow : flows_) {
    if (flow.data_stalled && !flow.wire->Cut()) {
      flow.data_stalled = false;
      LoopTime arrival = core_->Arrival(*flow.wire, 0);
      for (Segment& segment : flow.flying) {
        arrival = segment.arrival = std::max(arrival, segment.arrival);
      }
      flow.last_arrival = arrival;
      core_->Arm(flow.data_timer, flow.flying.front().arrival);
    }
    SimWire& back = *flows_[1 - flow.side].wire;
    if (flow.updates_stalled && !back.Cut()) {
      flow.updates_stalled = false;
      LoopTime arrival = core_->Arrival(back, 0);
      for (auto& [when, bytes] : flow.updates) {
        arrival = when = std::max(arrival, when);
      }
      core_->Arm(flow.update_timer, flow.updates.front().first);
    }
    if (!flow.data_stalled && !flow.updates_stalled) {
      core_->Disarm(flow.give_up_timer);
    }
  }
}

void SimConnection::GiveUp(int side) noexcept {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  core_->Note(SimEvent::kGaveUp, id_ * 2 + static_cast<uint64_t>(side), 0);
  Flow& flow = flows_[side];
  flow.flying.clear();
  // A reset that did not get through goes out again with the next occasion.
  flow.reset_sent = false;
  flow.updates.clear();
  flow.data_stalled = flow.updates_stalled = false;
  core_->Disarm(flow.data_timer);
  core_->Disarm(flow.update_timer);
  if (side == kClient) GivePlaceBack();
  if (ends_[side].error == 0) Die(side, ETIMEDOUT, /*drop=*/false);
  RemoveIfClosed();
}

// ---- ending

void SimConnection::Die(int side, int error, bool drop) noexcept {
  End& end = ends_[side];
  end.error = error;
  core_->Note(SimEvent::kDied, id_ * 2 + static_cast<uint64_t>(side),
              static_cast<uint64_t>(error));
  flows_[side].pending.Clear();
  Flow& in = flows_[1 - side];
  if (drop && !in.received.empty()) {
    in.received.Clear();
    end.lost = true;
  }
  Tell(side, /*readable=*/true, /*writable=*/true);
}

void SimConnection::Reset(int side) noexcept {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  if (side == kClient && connecting_) return ConnectFailed(ECONNRESET);
  if (ends_[side].error != 0) return;
  SendReset(side);
  Die(side, ECONNRESET, /*drop=*/true);
}

void SimConnection::Tell(int side, bool readable, bool writable) noexcept {
  SimStream* stream = ends_[side].stream;
  if (stream != nullptr) stream->OnReady(readable, writable);
}

void SimConnection::Close(int side, bool reset) noexcept {
  const std::shared_ptr<SimConnection> self = shared_from_this();
  End& end = ends_[side];
  end.stream = nullptr;
  end.closed = true;
  Flow& in = flows_[1 - side];
  if (side == kClient && connecting_) {
    ConnectFailed(ECONNABORTED);
  } else if (end.error == 0) {
    core_->Note(SimEvent::kClosed, id_ * 2 + static_cast<uint64_t>(side),
                reset ? 1 : 0);
    if (reset || !in.received.empty()) {
      SendReset(side);
      end.error = ECONNABORTED;
    } else {
      flows_[side].fin_wanted = true;
      Pump(side);
    }
  }
  in.received.Clear();
  RemoveIfClosed();
}

// With nobody at either end, nothing that is under way matters.
void SimConnection::RemoveIfClosed() noexcept {
  if (!ends_[kClient].closed || !ends_[kServer].closed) return;
  // A server that has yet to hear of the connection will.
  if (listener_ != nullptr) return;
  GivePlaceBack();
  DisarmAll();
  core_->connections().erase(id_);
}

void SimConnection::Abandon() noexcept {
  for (End& end : ends_) {
    if (end.stream == nullptr) continue;
    ReportUnclosed(
        *core_->loop(), "the simulated connection with", end.stream->PeerName(),
        end.stream->HasWriter() ? "; what was to be sent is lost" : "");
    end.stream->Close(false);
  }
  DisarmAll();
}

// ---- the stream of an end

SimStream::SimStream(std::shared_ptr<SimConnection> connection, int side,
                     bool connecting)
    : connection_(std::move(connection)),
      side_(side),
      name_(connection_->AddressOf(side)),
      peer_(connection_->AddressOf(1 - side)),
      connecting_(connecting),
      wake_timer_(*this, &SimStream::OnWake) {
  connection_->ends_[side].stream = this;
}

IoResult SimStream::TryRead(ReadRequest& request) noexcept {
  if (closed_) return IoResult::Error(ECONNABORTED);
  if (connecting_) return IoResult::WouldBlock();
  return connection_->Read(side_, request);
}

void SimStream::StartRead(ReadRequest& request) noexcept {
  read_ = &request;
  // It had to wait although it need not.
  if (!connecting_ && connection_->CanRead(side_)) WakeSoon();
}

bool SimStream::CancelRead() noexcept {
  read_ = nullptr;
  return true;
}

IoResult SimStream::TryWrite(absl::Span<const iovec> pieces) noexcept {
  if (closed_) return IoResult::Error(ECONNABORTED);
  if (connecting_) return IoResult::WouldBlock();
  return connection_->Write(side_, pieces);
}

void SimStream::StartWrite(WriteRequest& request) noexcept {
  write_ = &request;
  if (!connecting_ && connection_->CanWrite(side_)) WakeSoon();
}

bool SimStream::CancelWrite() noexcept {
  write_ = nullptr;
  return true;
}

void SimStream::ShutdownWrite() noexcept {
  if (!closed_) connection_->ShutdownWrite(side_);
}

void SimStream::OnConnected(int error) noexcept {
  connecting_ = false;
  connect_error_ = error;
  if (write_ == nullptr) return;
  std::exchange(write_, nullptr)->OnWritten(IoResult::Bytes(0));
}

void SimStream::OnReady(bool readable, bool writable) noexcept {
  if (readable && read_ != nullptr) {
    if (!ServeRead(*this, alive_, read_)) return;
    if (read_ != nullptr && connection_->CanRead(side_)) WakeSoon();
  }
  if (writable && write_ != nullptr) {
    const Liveness::Guard guard(alive_);
    ServeWrite(*this, write_);
    if (guard.dead() || write_ == nullptr || closed_) return;
    if (connection_->CanWrite(side_)) WakeSoon();
  }
}

void SimStream::WakeSoon() noexcept {
  SimCore& core = connection_->core();
  if (closed_ || wake_timer_.Armed()) return;
  core.Arm(wake_timer_, core.Now());
}

void SimStream::OnWake() noexcept {
  OnReady(connection_->CanRead(side_), connection_->CanWrite(side_));
}

void SimStream::Close(bool reset) noexcept {
  if (std::exchange(closed_, true)) return;
  if (std::exchange(connecting_, false)) connect_error_ = ECONNABORTED;
  connection_->core().Disarm(wake_timer_);
  if (connection_->core().loop() != nullptr) connection_->Close(side_, reset);
  AbortRequests(alive_, read_, write_);
}

}  // namespace coil::net::internal
