#include "coil/net/simulated_network.h"

#include <exception>
#include <utility>

#include "coil/net/internal/sim_core.h"
#include "coil/net/internal/sim_listener.h"
#include "coil/task/internal/task_core.h"

namespace coil::net {
namespace {

using internal::SimCore;

ContextVar<std::string>& HostVariable() {
  // Never destroyed: contexts may outlive everything.
  static auto* const variable =
      new ContextVar<std::string>("coil.simulated_host", "");
  return *variable;
}

std::shared_ptr<SimCore> MakeCore(coil::internal::LoopCore& loop,
                                  const SimulatedNetworkOptions& options) {
  auto core = std::make_shared<SimCore>(loop, options);
  core->Install();
  return core;
}

}  // namespace

std::string internal::EnteredHost() { return HostVariable().Get(); }

SimulatedHostScope::SimulatedHostScope(std::string host)
    : token_(HostVariable().Set(std::move(host))) {}

SimulatedHostScope::~SimulatedHostScope() {
  try {
    HostVariable().Reset(token_);
  } catch (const std::exception&) {
    // The frame dies outside of its task, as when the loop closes: with the
    // task goes the context, and nobody acts as the host any more.
  }
}

SimulatedNetwork::SimulatedNetwork(const SimulatedNetworkOptions& options)
    : core_(
          MakeCore(coil::internal::RequireLoop("SimulatedNetwork"), options)) {}

SimulatedNetwork::SimulatedNetwork(EventLoop& loop,
                                   const SimulatedNetworkOptions& options)
    : core_(MakeCore(coil::internal::CoreOf(loop), options)) {}

SimulatedNetwork::~SimulatedNetwork() { core_->Uninstall(); }

void SimulatedNetwork::AddHost(const std::string& name,
                               const std::vector<std::string>& addresses) {
  core_->AddHost(name, addresses);
}

SimulatedHostScope SimulatedNetwork::As(const std::string& host) const {
  core_->HostCalled(host);  // throws for one that there is not
  return SimulatedHostScope(host);
}

void SimulatedNetwork::SetLink(const std::string& from, const std::string& to,
                               const SimulatedLink& link) {
  internal::CheckLink(link);
  core_->Wire(core_->HostCalled(from), core_->HostCalled(to)).link = link;
}

void SimulatedNetwork::PartitionOneWay(const std::string& from,
                                       const std::string& to) {
  core_->Cut(core_->HostCalled(from), core_->HostCalled(to));
}

void SimulatedNetwork::Heal(const std::string& a, const std::string& b) {
  core_->Heal(core_->HostCalled(a), core_->HostCalled(b));
}

void SimulatedNetwork::HealAll() { core_->HealAll(); }

void SimulatedNetwork::Isolate(const std::string& host) {
  core_->Isolate(core_->HostCalled(host), true);
}

void SimulatedNetwork::Rejoin(const std::string& host) {
  core_->Isolate(core_->HostCalled(host), false);
}

void SimulatedNetwork::Kill(const std::string& host) {
  core_->Kill(core_->HostCalled(host));
}

size_t SimulatedNetwork::ResetConnections(const std::string& a,
                                          const std::string& b) {
  return core_->ResetConnections(core_->HostCalled(a), core_->HostCalled(b));
}

void SimulatedNetwork::StopAccepting(const std::string& host) {
  core_->HostCalled(host).accepting = false;
}

void SimulatedNetwork::ResumeAccepting(const std::string& host) {
  core_->ResumeAccepting(core_->HostCalled(host));
}

std::vector<Address> SimulatedNetwork::Listening() const {
  std::vector<Address> addresses;
  for (const internal::SimListener* listener : core_->listeners()) {
    if (listener->started()) addresses.push_back(listener->address());
  }
  return addresses;
}

size_t SimulatedNetwork::Connections() const {
  return core_->connections().size();
}

size_t SimulatedNetwork::DatagramSockets() const {
  return core_->ports().size();
}

uint64_t SimulatedNetwork::BytesDelivered() const {
  return core_->bytes_delivered;
}

uint64_t SimulatedNetwork::DatagramsDelivered() const {
  return core_->datagrams_delivered;
}

uint64_t SimulatedNetwork::TraceHash() const { return core_->trace_hash(); }

std::vector<std::string> SimulatedNetwork::Trace() const {
  return core_->trace();
}

}  // namespace coil::net
