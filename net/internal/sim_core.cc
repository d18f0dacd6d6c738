#include "coil/net/internal/sim_core.h"

#include <netdb.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/addr_info.h"
#include "coil/net/internal/sim_connection.h"
#include "coil/net/internal/sim_listener.h"
#include "coil/net/internal/sim_port.h"
#include "coil/net/resolver.h"
#include "coil/task/co.h"

namespace coil::net::internal {
namespace {

using coil::internal::LoopCore;

// The first pause before TCP sends a lost packet again, and how often it does:
// then the packet arrives at last, after three and a half minutes.
constexpr absl::Duration kFirstRepeat = absl::Milliseconds(200);
constexpr int kMostRepeats = 10;

constexpr const char* kEventNames[] = {
    "SYN",       "SYN-ACK", "refused",  "connected", "connect timeout",
    "accepted",  "send",    "data",     "FIN",       "RST",
    "window",    "stalled", "gave up",  "died",      "closed",
    "partition", "heal",    "datagram", "lost",      "twice",
    "received",  "refused",
};

// The names of the hosts.
class SimResolver final : public Resolver {
 public:
  explicit SimResolver(const std::map<std::string, SimHost*>& hosts)
      : hosts_(hosts) {}
  Co<std::vector<Address>> Resolve(ResolveQuery query) override {
    std::vector<Address> addresses;
    int port = query.port();
    // The system's list of services is none of this network's.
    if (!query.service().empty() &&
        (!absl::SimpleAtoi(query.service(), &port) || port < 0 ||
         port > 65535)) {
      throw ResolveError(EAI_SERVICE, query.host());
    }
    if (const std::optional<Address> numeric =
            Address::FromNumeric(query.host(), port)) {
      if (query.family() != AF_UNSPEC && query.family() != numeric->Family()) {
        throw OsError(EAFNOSUPPORT, "resolve", query.host());
      }
      addresses.push_back(*numeric);
    } else if (query.host() == "localhost") {
      addresses.push_back(*Address::FromNumeric("127.0.0.1", 0));
      addresses.push_back(*Address::FromNumeric("::1", 0));
    } else if (const auto found = hosts_.find(query.host());
               found != hosts_.end()) {
      addresses = found->second->addresses;
    }
    std::erase_if(addresses, [&query](const Address& address) {
      return query.family() != AF_UNSPEC && query.family() != address.Family();
    });
    if (addresses.empty()) throw ResolveError(EAI_NONAME, query.host());
    for (Address& address : addresses) address = address.WithPort(port);
    co_return addresses;
  }

 private:
  const std::map<std::string, SimHost*>& hosts_;
};

void CheckProbability(double p, const char* name, bool may_be_one = true) {
  if (p >= 0 && (may_be_one ? p <= 1 : p < 1)) return;
  throw std::invalid_argument(absl::StrCat("SimulatedNetwork: ", name, "(", p,
                                           ") is no probability",
                                           may_be_one ? "" : " below 1"));
}

void CheckTimes(absl::Duration least, absl::Duration most, const char* name) {
  if (absl::ZeroDuration() <= least && least <= most &&
      most < absl::InfiniteDuration()) {
    return;
  }
  throw std::invalid_argument(
      absl::StrCat("SimulatedNetwork: ", name, "(", absl::FormatDuration(least),
                   ", ", absl::FormatDuration(most), ") is no range of times"));
}

void CheckSize(size_t size, const char* name) {
  if (size > 0) return;
  throw std::invalid_argument(
      absl::StrCat("SimulatedNetwork: ", name, "() is at least one byte"));
}

}  // namespace

void CheckLink(const SimulatedLink& link) {
  CheckTimes(link.least_latency(), link.most_latency(), "Latency");
  CheckProbability(link.loss(), "Loss");
  CheckProbability(link.duplication(), "Duplication");
  CheckProbability(link.reordering(), "Reordering");
  if (link.bandwidth() < 0) {
    throw std::invalid_argument("SimulatedNetwork: a negative Bandwidth()");
  }
}

void CheckOptions(const SimulatedNetworkOptions& options) {
  CheckLink(options.link());
  CheckProbability(options.partial_transfers(), "PartialTransfers");
  CheckProbability(options.spurious_blocks(), "SpuriousBlocks", false);
  CheckProbability(options.resets(), "Resets");
  CheckProbability(options.partitions(), "Partitions");
  CheckTimes(options.least_outage(), options.most_outage(), "Partitions");
  CheckSize(options.send_buffer(), "SendBuffer");
  CheckSize(options.receive_buffer(), "ReceiveBuffer");
  CheckSize(options.segment_size(), "SegmentSize");
  CheckSize(options.largest_read(), "LargestRead");
  CheckSize(options.largest_write(), "LargestWrite");
  if (options.connect_timeout() <= absl::ZeroDuration() ||
      options.retransmit_timeout() <= absl::ZeroDuration()) {
    throw std::invalid_argument(
        "SimulatedNetwork: a timeout is longer than no time");
  }
}

bool IsLoopback(const Address& address) {
  if (address.Family() == AF_INET) return address.Host().starts_with("127.");
  return address.Family() == AF_INET6 && address.Host() == "::1";
}

bool IsWildcard(const Address& address) {
  return address == *Address::FromNumeric("0.0.0.0", address.Port()) ||
         address == *Address::FromNumeric("::", address.Port());
}

bool Covers(const Address& bound, const Address& to) {
  if (bound.Family() != to.Family() || bound.Port() != to.Port()) return false;
  return bound == to || IsWildcard(bound);
}

Address SimHost::AddressOf(int family) const {
  for (const Address& address : addresses) {
    if (address.Family() == family) return address;
  }
  return Address();
}

bool SimHost::Has(const Address& address) const {
  return std::find(addresses.begin(), addresses.end(), address.WithPort(0)) !=
         addresses.end();
}

SimCore::SimCore(LoopCore& loop, const SimulatedNetworkOptions& options)
    : loop_(&loop),
      options_(options),
      start_(loop.RecentNow()),
      random_(options.seed()) {
  CheckOptions(options);
  AddHost("default", {"192.0.2.1", "2001:db8::1"});
  resolver_ = std::make_shared<SimResolver>(hosts_by_name_);
  loop_->Attach(this);
}

SimCore::~SimCore() {
  Uninstall();
  for (const auto& [key, appointment] : appointments_) Disarm(*appointment);
  if (loop_ != nullptr) loop_->Detach(this);
}

void SimCore::Install() {
  NetworkSlot& slot = LoopLocal<NetworkSlot>::Of(*loop_);
  if (slot.network != nullptr) {
    throw std::runtime_error(
        "SimulatedNetwork: the loop has a simulated network already");
  }
  slot.network = this;
  g_networks.fetch_add(1, std::memory_order_relaxed);
  installed_ = true;
}

void SimCore::Uninstall() noexcept {
  if (!std::exchange(installed_, false)) return;
  g_networks.fetch_sub(1, std::memory_order_relaxed);
  NetworkSlot* slot =
      loop_ != nullptr ? LoopLocal<NetworkSlot>::Find(*loop_) : nullptr;
  if (slot != nullptr && slot->network == this) slot->network = nullptr;
}

void SimCore::OnLoopClose() noexcept {
  const std::shared_ptr<SimCore> self = shared_from_this();
  Uninstall();
  while (!listeners_.empty()) listeners_.back()->Close();
  for (const auto& connection : AllConnections()) connection->Abandon();
  connections_.clear();
  while (!ports_.empty()) ports_.back()->Abandon();
  for (const auto& [key, appointment] : appointments_) Disarm(*appointment);
  loop_ = nullptr;
  // Last: they hold connections.
  std::exchange(appointments_, {}).clear();
}

// ---- time and luck

bool SimCore::Chance(double probability) noexcept {
  if (probability <= 0) return false;
  return static_cast<double>(random_.Next() >> 11) * 0x1.0p-53 < probability;
}

absl::Duration SimCore::Between(absl::Duration least,
                                absl::Duration most) noexcept {
  const int64_t span = absl::ToInt64Nanoseconds(most - least);
  if (span <= 0) return least;
  return least +
         absl::Nanoseconds(random_.Below(static_cast<uint64_t>(span) + 1));
}

size_t SimCore::Part(size_t n, size_t most) noexcept {
  n = std::min(n, most);
  if (n > 1 && Chance(options_.partial_transfers())) {
    n = 1 + static_cast<size_t>(Below(n));
  }
  return n;
}

LoopTime SimCore::Arrival(SimWire& wire, size_t bytes) noexcept {
  LoopTime left = Now();
  if (wire.link.bandwidth() > 0) {
    wire.free_at =
        std::max(left, wire.free_at) +
        absl::Seconds(1) * (static_cast<double>(bytes) /
                            static_cast<double>(wire.link.bandwidth()));
    left = wire.free_at;
  }
  return left + Between(wire.link.least_latency(), wire.link.most_latency());
}

LoopTime SimCore::ReliableArrival(SimWire& wire, size_t bytes) noexcept {
  absl::Duration delay;
  for (int i = 0; i < kMostRepeats && Chance(wire.link.loss()); ++i) {
    delay += kFirstRepeat * (1 << i);
  }
  return Arrival(wire, bytes) + delay;
}

void SimCore::At(LoopTime when, absl::AnyInvocable<void()> f) {
  auto appointment = std::make_unique<Appointment>(*this, std::move(f));
  Appointment* const key = appointment.get();
  appointments_.emplace(key, std::move(appointment));
  loop_->Arm(key, when);
}

void SimCore::Appointment::Fire() noexcept {
  const std::shared_ptr<SimCore> core = core_.shared_from_this();
  const auto self = core->appointments_.extract(this);
  f_();
}

void SimCore::Note(SimEvent event, uint64_t whose, uint64_t amount) noexcept {
  if (loop_ == nullptr) return;  // a fixture may heal what has long ended
  const int64_t when = absl::ToInt64Nanoseconds(Now() - start_);
  for (const uint64_t part : {static_cast<uint64_t>(when),
                              static_cast<uint64_t>(event), whose, amount}) {
    coil::internal::Random mixer(trace_hash_ ^ part);
    trace_hash_ = mixer.Next();
  }
  if (!options_.record_trace()) return;
  trace_.push_back(
      absl::StrCat(when, " ns: ", kEventNames[static_cast<size_t>(event)], " #",
                   whose, " ", amount));
}

// ---- hosts

void SimCore::AddHost(const std::string& name,
                      const std::vector<std::string>& addresses) {
  if (name.empty() || hosts_by_name_.contains(name)) {
    throw std::invalid_argument(absl::StrCat(
        "SimulatedNetwork: there is a host \"", name, "\" already"));
  }
  auto host = std::make_unique<SimHost>(hosts_.size(), name);
  for (const std::string& text : addresses) {
    const std::optional<Address> address = Address::FromNumeric(text, 0);
    if (!address.has_value() || IsLoopback(*address) || IsWildcard(*address)) {
      throw std::invalid_argument(absl::StrCat(
          "SimulatedNetwork: \"", text, "\" cannot be the address of a host"));
    }
    if (hosts_by_name_.contains(address->Host()) || host->Has(*address)) {
      throw std::invalid_argument(absl::StrCat(
          "SimulatedNetwork: there is a host \"", text, "\" already"));
    }
    host->addresses.push_back(*address);
  }
  hosts_by_name_[name] = host.get();
  for (const Address& address : host->addresses) {
    hosts_by_name_[address.Host()] = host.get();
  }
  hosts_.push_back(std::move(host));
}

SimHost& SimCore::HostCalled(const std::string& name) {
  const auto found = hosts_by_name_.find(name);
  if (found != hosts_by_name_.end()) return *found->second;
  const std::optional<Address> address = Address::FromNumeric(name, 0);
  if (!address.has_value()) {
    throw std::invalid_argument(
        absl::StrCat("SimulatedNetwork: there is no host \"", name, "\""));
  }
  return HostOf(*address, *hosts_.front());
}

SimHost& SimCore::HostOf(const Address& address, SimHost& self) {
  if (IsLoopback(address) || IsWildcard(address)) return self;
  const std::string name = address.Host();
  const auto found = hosts_by_name_.find(name);
  if (found != hosts_by_name_.end()) return *found->second;
  AddHost(name, {name});
  return *hosts_.back();
}

SimHost& SimCore::CurrentHost() {
  const std::string name = EnteredHost();
  return name.empty() ? *hosts_.front() : HostCalled(name);
}

SimWire& SimCore::Wire(SimHost& from, SimHost& to) {
  std::unique_ptr<SimWire>& wire = wires_[{from.number, to.number}];
  if (wire == nullptr) {
    wire = std::make_unique<SimWire>(from, to, options_.link());
  }
  return *wire;
}

Address SimCore::SourceOf(SimHost& self, const Address& to) const {
  if (IsLoopback(to) || IsWildcard(to)) {
    return *Address::FromNumeric(to.Family() == AF_INET ? "127.0.0.1" : "::1",
                                 0);
  }
  if (self.Has(to)) return to.WithPort(0);
  const Address source = self.AddressOf(to.Family());
  if (!source) throw OsError(ENETUNREACH, "connect", to.ToString());
  return source;
}

SimHost& SimCore::OwnerOf(const Address& address) {
  SimHost& self = CurrentHost();
  SimHost& owner = HostOf(address, self);
  if (&owner != &self && !EnteredHost().empty()) {
    throw OsError(EADDRNOTAVAIL, "bind", address.ToString());
  }
  return owner;
}

uint16_t SimCore::EphemeralPort() {
  constexpr int kFirst = 49152;
  constexpr int kCount = 65536 - kFirst;
  std::bitset<kCount> taken;
  const auto take = [&taken](int port) {
    if (port >= kFirst) taken.set(static_cast<size_t>(port - kFirst));
  };
  for (const SimListener* listener : listeners_) {
    take(listener->address().Port());
  }
  for (const SimPort* port : ports_) take(port->local().Port());
  if (taken.all()) throw OsError(EADDRINUSE, "bind", "any port");
  do {
    last_port_ = last_port_ == 65535 ? kFirst : last_port_ + 1;
  } while (taken.test(static_cast<size_t>(last_port_ - kFirst)));
  return last_port_;
}

// ---- what the programs open

std::unique_ptr<ConnectingStream> SimCore::Connect(
    const Address& to, const std::vector<Address>& locals) {
  SimHost* self = &CurrentHost();
  Address local;
  for (const Address& address : locals) {
    if (address.Family() != to.Family() || local) continue;
    self = &OwnerOf(address);
    local = address;
  }
  // The same host as everybody else knows it by.
  SimHost& server = HostOf(to, *self);
  Address target = to;
  if (IsWildcard(to)) target = SourceOf(*self, to).WithPort(to.Port());
  if (!local || IsWildcard(local)) {
    local = SourceOf(*self, target).WithPort(local.Port());
  }
  if (local.Port() == 0) local = local.WithPort(EphemeralPort());
  const auto connection = std::make_shared<SimConnection>(
      shared_from_this(), NextId(), *self, local, server, target);
  connections_.emplace(connection->id(), connection);
  auto stream = std::make_unique<SimStream>(connection, SimConnection::kClient,
                                            /*connecting=*/true);
  connection->StartConnecting();
  return stream;
}

namespace {

// Two sockets cannot have these addresses at one host.
bool Conflict(const Address& a, const Address& b) {
  return Covers(a, b) || Covers(b, a);
}

}  // namespace

std::unique_ptr<Acceptor> SimCore::Bind(const Address& address, int backlog,
                                        bool reuse_port, StreamSink& sink) {
  SimHost& owner = OwnerOf(address);
  Address bound = address;
  if (bound.Port() == 0) bound = bound.WithPort(EphemeralPort());
  for (const SimListener* other : listeners_) {
    if (&other->host() == &owner && Conflict(other->address(), bound) &&
        !(reuse_port && other->reuse_port())) {
      throw OsError(EADDRINUSE, "bind", bound.ToString());
    }
  }
  return std::make_unique<SimListener>(shared_from_this(), owner, bound,
                                       backlog, reuse_port, sink);
}

std::unique_ptr<DatagramPort> SimCore::OpenDatagram(int family,
                                                    const Address& local,
                                                    const Address& remote,
                                                    bool connected,
                                                    bool reuse_port) {
  SimHost& owner = local ? OwnerOf(local) : CurrentHost();
  Address bound = local;
  if (!bound) {
    bound = *Address::FromNumeric(family == AF_INET ? "0.0.0.0" : "::", 0);
  }
  if (connected && IsWildcard(bound)) {
    bound = SourceOf(owner, remote).WithPort(bound.Port());
  }
  if (bound.Port() == 0) bound = bound.WithPort(EphemeralPort());
  for (const SimPort* other : ports_) {
    if (&other->host() == &owner && Conflict(other->SockName(), bound) &&
        !(reuse_port && other->reuse_port())) {
      throw OsError(EADDRINUSE, "bind", bound.ToString());
    }
  }
  return std::make_unique<SimPort>(shared_from_this(), owner, bound,
                                   connected ? remote : Address(), reuse_port);
}

std::shared_ptr<Resolver> SimCore::NameResolver() {
  // Shares the life of the names.
  return std::shared_ptr<Resolver>(shared_from_this(), resolver_.get());
}

SimListener* SimCore::FindListener(const SimHost& host,
                                   const Address& address) {
  std::vector<SimListener*> found;
  for (SimListener* listener : listeners_) {
    if (listener->started() && &listener->host() == &host &&
        Covers(listener->address(), address)) {
      found.push_back(listener);
    }
  }
  if (found.size() <= 1) return found.empty() ? nullptr : found.front();
  return found[Below(found.size())];  // they share the port
}

// ---- partitions and crashes

std::vector<std::shared_ptr<SimConnection>> SimCore::AllConnections() const {
  std::vector<std::shared_ptr<SimConnection>> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  return all;
}

void SimCore::TellHealed() {
  Note(SimEvent::kHeal, 0, 0);
  for (const auto& connection : AllConnections()) connection->OnHealed();
}

void SimCore::Cut(SimHost& from, SimHost& to) {
  Note(SimEvent::kPartition, from.number, to.number);
  Wire(from, to).partitioned = true;
}

void SimCore::Heal(SimHost& a, SimHost& b) {
  for (SimWire* wire : {&Wire(a, b), &Wire(b, a)}) {
    wire->partitioned = false;
    wire->outages = 0;
    ++wire->healed;
  }
  TellHealed();
}

void SimCore::HealAll() {
  for (const auto& host : hosts_) host->isolated = false;
  for (const auto& [key, wire] : wires_) {
    wire->partitioned = false;
    wire->outages = 0;
    ++wire->healed;
  }
  TellHealed();
}

void SimCore::Isolate(SimHost& host, bool on) {
  host.isolated = on;
  if (on) {
    Note(SimEvent::kPartition, host.number, host.number);
  } else {
    TellHealed();
  }
}

void SimCore::BreakDown(SimWire& wire) {
  Note(SimEvent::kPartition, wire.from.number, wire.to.number);
  const LoopTime end =
      Now() + Between(options_.least_outage(), options_.most_outage());
  std::vector<std::pair<SimWire*, uint64_t>> cut;
  for (SimWire* one : {&wire, &Wire(wire.to, wire.from)}) {
    if (!cut.empty() && cut.front().first == one) continue;
    ++one->outages;
    cut.emplace_back(one, one->healed);
  }
  At(end, [this, cut] {
    for (const auto& [one, healed] : cut) {
      if (one->healed == healed) --one->outages;
    }
    TellHealed();
  });
}

void SimCore::Kill(SimHost& host) {
  Note(SimEvent::kDied, host.number, 0);
  const std::vector<SimListener*> listeners = listeners_;
  for (SimListener* listener : listeners) {
    if (&listener->host() == &host) listener->Close();
  }
  for (const auto& connection : AllConnections()) {
    for (const int side : {SimConnection::kServer, SimConnection::kClient}) {
      if (&connection->HostOf(side) == &host) connection->Reset(side);
    }
  }
  const std::vector<SimPort*> ports = ports_;
  for (SimPort* port : ports) {
    if (&port->host() == &host) port->Kill();
  }
}

size_t SimCore::ResetConnections(SimHost& a, SimHost& b) {
  size_t count = 0;
  for (const auto& connection : AllConnections()) {
    SimHost& client = connection->HostOf(SimConnection::kClient);
    SimHost& server = connection->HostOf(SimConnection::kServer);
    if (!((&client == &a && &server == &b) ||
          (&client == &b && &server == &a))) {
      continue;
    }
    connection->Reset(SimConnection::kServer);
    connection->Reset(SimConnection::kClient);
    ++count;
  }
  return count;
}

void SimCore::ResumeAccepting(SimHost& host) {
  host.accepting = true;
  for (SimListener* listener : listeners_) {
    if (&listener->host() == &host) listener->AcceptSoon();
  }
}

}  // namespace coil::net::internal
