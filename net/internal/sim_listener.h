// coil/net/internal/sim_listener.h
//
// What listens in a simulated network: takes connections that are complete from
// its backlog, some at once and more behind the other timers of that moment.
//
// Threads: the loop's thread only.
// Lifetime: owned by the server; connections in its backlog are reset when it
//   closes.

#ifndef COIL_NET_INTERNAL_SIM_LISTENER_H_
#define COIL_NET_INTERNAL_SIM_LISTENER_H_

#include <cstddef>
#include <deque>
#include <memory>

#include "coil/net/address.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/sim_core.h"

namespace coil::net::internal {

class SimListener final : public Acceptor {
 public:
  SimListener(std::shared_ptr<SimCore> core, SimHost& host,
              const Address& address, int backlog, bool reuse_port,
              StreamSink& sink);
  ~SimListener() override { Close(); }

  void Start() override;
  void Close() noexcept override;
  Address SockName() const override { return address_; }

  SimHost& host() const { return host_; }
  const Address& address() const { return address_; }
  bool reuse_port() const { return reuse_port_; }
  bool started() const { return started_; }

  // Room for another connection that begins; takes it.
  bool TakePlace() noexcept;
  void GivePlaceBack() noexcept { --half_open_; }
  // One that had a place is complete.
  void Completed(std::shared_ptr<SimConnection> connection);
  void AcceptSoon() noexcept;

 private:
  static constexpr size_t kAcceptsInOneTurn = 64;
  void OnDue() noexcept;

  const std::shared_ptr<SimCore> core_;
  SimHost& host_;
  const Address address_;
  const size_t backlog_;
  const bool reuse_port_;
  StreamSink& sink_;
  bool started_ = false;
  bool closed_ = false;
  size_t half_open_ = 0;
  std::deque<std::shared_ptr<SimConnection>> queue_;
  SimTimer<SimListener> timer_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SIM_LISTENER_H_
