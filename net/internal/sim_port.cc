#include "coil/net/internal/sim_port.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "coil/net/internal/datagram_core.h"

namespace coil::net::internal {
namespace {

// What fits into a packet of IP.
constexpr size_t kLargestOverV4 = 65507;
constexpr size_t kLargestOverV6 = 65527;

bool IsBroadcast(const Address& address) {
  return address.Family() == AF_INET && address.Host() == "255.255.255.255";
}

}  // namespace

SimPort::SimPort(std::shared_ptr<SimCore> core, SimHost& host,
                 const Address& local, const Address& remote, bool reuse_port)
    : core_(std::move(core)),
      id_(core_->NextId()),
      host_(host),
      local_(local),
      remote_(remote),
      reuse_port_(reuse_port),
      wake_timer_(*this, &SimPort::OnWake) {
  core_->ports().push_back(this);
}

SimPort::~SimPort() { Abandon(); }

void SimPort::Abandon() noexcept {
  std::erase(core_->ports(), this);
  core_->Disarm(wake_timer_);
  dead_ = true;
}

bool SimPort::Takes(const Address& to, const Address& from) const {
  return !dead_ && Covers(local_, to) && (!remote_ || remote_ == from);
}

int SimPort::Send(std::string_view data, const Address* to) noexcept {
  if (dead_) return ENETDOWN;
  if (error_ != 0) return std::exchange(error_, 0);
  const Address& target = to != nullptr ? *to : remote_;
  if (target.Family() != local_.Family()) return EAFNOSUPPORT;
  if (target.Port() == 0) return EINVAL;
  if (data.size() >
      (target.Family() == AF_INET6 ? kLargestOverV6 : kLargestOverV4)) {
    return EMSGSIZE;
  }
  if (core_->Blocks()) {
    room_wanted_ = true;
    WakeSoon();
    return EAGAIN;
  }
  Address from = local_;
  if (IsWildcard(from) && !IsBroadcast(target)) {
    try {
      from = core_->SourceOf(host_, target).WithPort(local_.Port());
    } catch (const OsError& error) {
      return error.Errno();
    }
  }
  if (!IsBroadcast(target)) {
    Transmit(*core_, host_, core_->HostOf(target, host_), id_, from, target,
             data);
    return 0;
  }
  if (IsWildcard(from)) {
    from = host_.AddressOf(AF_INET).WithPort(local_.Port());
  }
  // To every host that listens there.
  std::vector<SimHost*> hosts;
  for (SimPort* port : core_->ports()) {
    if (port->local_.Port() == target.Port() &&
        port->local_.Family() == AF_INET &&
        std::find(hosts.begin(), hosts.end(), &port->host_) == hosts.end()) {
      hosts.push_back(&port->host_);
    }
  }
  for (SimHost* host : hosts) {
    Transmit(*core_, host_, *host, id_, from, target, data);
  }
  return 0;
}

void SimPort::Transmit(SimCore& core, SimHost& from_host, SimHost& to_host,
                       uint64_t sender, const Address& from, const Address& to,
                       std::string_view data) {
  SimWire& wire = core.Wire(from_host, to_host);
  core.Note(SimEvent::kDatagramSent, sender, data.size());
  int copies = 1;
  if (core.Chance(wire.link.duplication())) {
    core.Note(SimEvent::kDatagramTwice, sender, data.size());
    ++copies;
  }
  for (; copies > 0; --copies) {
    if (core.Chance(wire.link.loss())) {
      core.Note(SimEvent::kDatagramLost, sender, data.size());
      continue;
    }
    LoopTime arrival = core.Arrival(wire, data.size());
    if (core.Chance(wire.link.reordering())) {
      arrival = arrival + wire.link.most_latency() * 2;
    }
    core.At(arrival, [&core, &from_host, &to_host, sender, from, to,
                      text = std::string(data)]() mutable {
      Arrive(core, from_host, to_host, sender, from, to, std::move(text));
    });
  }
}

void SimPort::Arrive(SimCore& core, SimHost& from_host, SimHost& to_host,
                     uint64_t sender, const Address& from, const Address& to,
                     std::string data) {
  SimWire& wire = core.Wire(from_host, to_host);
  if (!wire.Cut() && core.Chance(core.options().partitions())) {
    core.BreakDown(wire);
  }
  if (wire.Cut()) {
    core.Note(SimEvent::kDatagramLost, sender, data.size());
    return;
  }
  const bool broadcast = IsBroadcast(to);
  std::vector<SimPort*> takers;
  for (SimPort* port : core.ports()) {
    const bool takes = broadcast ? port->local_.Port() == to.Port() &&
                                       port->local_.Family() == AF_INET &&
                                       !port->remote_
                                 : port->Takes(to, from);
    if (&port->host_ == &to_host && takes) takers.push_back(port);
  }
  // A socket that is connected to the sender comes before one that is not.
  if (!broadcast && takers.size() > 1) {
    const auto connected = std::find_if(
        takers.begin(), takers.end(),
        [](const SimPort* port) { return static_cast<bool>(port->remote_); });
    SimPort* const one = connected != takers.end()
                             ? *connected
                             : takers[core.Below(takers.size())];
    takers.assign(1, one);
  }
  if (takers.empty()) {
    core.At(core.Arrival(core.Wire(to_host, from_host), 0),
            [&core, &from_host, &to_host, sender, to] {
              if (core.Wire(to_host, from_host).Cut()) return;
              for (SimPort* port : core.ports()) {
                if (port->id_ == sender) return port->OnError(to);
              }
            });
    return;
  }
  for (SimPort* port : takers) {
    if (port->queued_ + data.size() > core.options().receive_buffer()) {
      core.Note(SimEvent::kDatagramLost, port->id_, data.size());
      continue;
    }
    core.Note(SimEvent::kDatagram, port->id_, data.size());
    ++core.datagrams_delivered;
    core.bytes_delivered += data.size();
    port->queued_ += data.size();
    port->queue_.emplace_back(from, data);
    if (port->owner_ != nullptr) port->owner_->OnArrival();
  }
}

// Nobody listens at `from`. Only a connected socket is told.
void SimPort::OnError(const Address& from) noexcept {
  if (dead_ || !remote_ || remote_ != from) return;
  core_->Note(SimEvent::kIcmp, id_, 0);
  error_ = ECONNREFUSED;
  if (owner_ != nullptr) owner_->OnArrival();
}

bool SimPort::Receive(Incoming& incoming) noexcept {
  if (dead_) {
    // Once: whoever goes on after errors would do so for ever, at one moment of
    // a virtual clock.
    if (std::exchange(told_, true)) return false;
    incoming.error = ENETDOWN;
    return true;
  }
  if (error_ != 0) {
    incoming.error = std::exchange(error_, 0);
    return true;
  }
  if (queue_.empty()) return false;
  if (core_->Blocks()) {
    WakeSoon();
    return false;
  }
  Packet packet = std::move(queue_.front());
  queue_.pop_front();
  queued_ -= packet.data.size();
  incoming.from = packet.from;
  incoming.size = std::min(incoming.room.size(), packet.data.size());
  packet.data.copy(incoming.room.data(), incoming.size);
  packet.data.erase(0, incoming.size);
  incoming.rest = std::move(packet.data);
  return true;
}

void SimPort::Kill() noexcept {
  Abandon();  // the address is free
  core_->Note(SimEvent::kDied, id_, ENETDOWN);
  queue_.clear();
  if (owner_ == nullptr) return;
  owner_->OnArrival();
  owner_->OnRoom();
}

void SimPort::WakeSoon() noexcept {
  if (!wake_timer_.Armed()) core_->Arm(wake_timer_, core_->Now());
}

void SimPort::OnWake() noexcept {
  if (!queue_.empty()) owner_->OnArrival();
  if (std::exchange(room_wanted_, false)) owner_->OnRoom();
}

}  // namespace coil::net::internal
