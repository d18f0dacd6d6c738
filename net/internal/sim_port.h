// coil/net/internal/sim_port.h
//
// A datagram socket in a simulated network. Datagrams come whole or not at all,
// perhaps twice, perhaps in another order; those for which there is no room are
// lost. A connected socket hears that nobody listens at the other end.
//
// Threads: the loop's thread only.
// Lifetime: owned by a DatagramCore; what is under way to it is lost with it.

#ifndef COIL_NET_INTERNAL_SIM_PORT_H_
#define COIL_NET_INTERNAL_SIM_PORT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "coil/net/address.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/sim_core.h"

namespace coil::net::internal {

class SimPort final : public DatagramPort {
 public:
  // `remote` is empty unless it is connected.
  SimPort(std::shared_ptr<SimCore> core, SimHost& host, const Address& local,
          const Address& remote, bool reuse_port);
  ~SimPort() override;

  void SetOwner(Owner* owner) noexcept override { owner_ = owner; }
  bool Receive(Incoming& incoming) noexcept override;
  int Send(std::string_view data, const Address* to) noexcept override;
  Address SockName() const override { return local_; }

  uint64_t id() const { return id_; }
  const Address& local() const { return local_; }
  SimHost& host() const { return host_; }
  bool reuse_port() const { return reuse_port_; }
  // It takes what `from` has sent to `to`, at its host.
  bool Takes(const Address& to, const Address& from) const;
  // The host has crashed.
  void Kill() noexcept;
  // The loop closes.
  void Abandon() noexcept;

 private:
  struct Packet {
    Packet(const Address& from_in, std::string data_in)
        : from(from_in), data(std::move(data_in)) {}
    Address from;
    std::string data;
  };

  static void Transmit(SimCore& core, SimHost& from_host, SimHost& to_host,
                       uint64_t sender, const Address& from, const Address& to,
                       std::string_view data);
  static void Arrive(SimCore& core, SimHost& from_host, SimHost& to_host,
                     uint64_t sender, const Address& from, const Address& to,
                     std::string data);
  void OnError(const Address& from) noexcept;
  void OnWake() noexcept;
  void WakeSoon() noexcept;

  const std::shared_ptr<SimCore> core_;
  const uint64_t id_;
  SimHost& host_;
  const Address local_;
  const Address remote_;
  const bool reuse_port_;
  Owner* owner_ = nullptr;
  bool dead_ = false;
  bool told_ = false;  // that it is dead
  bool room_wanted_ = false;
  int error_ = 0;  // of a datagram that was sent before
  size_t queued_ = 0;
  std::deque<Packet> queue_;
  SimTimer<SimPort> wake_timer_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SIM_PORT_H_
