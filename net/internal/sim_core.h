// coil/net/internal/sim_core.h
//
// The middle of a simulated network: its hosts, the wires between them, its
// luck and its trace. Connections, listeners and datagram sockets are in files
// of their own and come here for all of that.
//
//   SimStream ─┐                                    ┌─ SimStream
//              ├─ SimConnection ──> SimWire ──> ... ┘
//   SimPort ───┴──────────────────> SimWire ──> SimPort
//
// Everything happens at its time on the loop's clock, and in the order of
// sending where the times are equal; whatever is chosen is chosen by one
// generator; what is walked over is in the order in which it was made. So the
// same seed gives the same run.
//
// Threads: the loop's thread only.
// Lifetime: shared by the SimulatedNetwork and whatever was opened in it; lets
//   go of the loop when that closes.

#ifndef COIL_NET_INTERNAL_SIM_CORE_H_
#define COIL_NET_INTERNAL_SIM_CORE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/random.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/net/address.h"
#include "coil/net/internal/network.h"
#include "coil/net/simulated_network_options.h"

namespace coil::net::internal {

class SimConnection;
class SimListener;
class SimPort;

// A timer that calls a member function.
template <class T>
class SimTimer final : public coil::internal::TimerNode {
 public:
  SimTimer(T& object, void (T::*due)() noexcept) : object_(object), due_(due) {}
  void Fire() noexcept override { (object_.*due_)(); }

 private:
  T& object_;
  void (T::*due_)() noexcept;
};

struct SimHost {
  SimHost(size_t number_in, std::string name_in)
      : number(number_in), name(std::move(name_in)) {}
  const size_t number;
  const std::string name;
  std::vector<Address> addresses;  // with port 0
  bool accepting = true;
  bool isolated = false;

  // The first of a family; empty if there is none.
  Address AddressOf(int family) const;
  bool Has(const Address& address) const;
};

// The way from one host to another.
struct SimWire {
  SimWire(SimHost& from_in, SimHost& to_in, const SimulatedLink& link_in)
      : from(from_in), to(to_in), link(link_in) {}
  SimHost& from;
  SimHost& to;
  SimulatedLink link;
  bool partitioned = false;
  int outages = 0;      // by chance
  uint64_t healed = 0;  // how often
  LoopTime free_at;     // the last bit that was given to it has left

  bool Cut() const {
    return partitioned || outages > 0 ||
           (&from != &to && (from.isolated || to.isolated));
  }
};

// What the trace tells of. The order is part of the hash.
enum class SimEvent : uint8_t {
  kSyn,
  kSynAck,
  kRefused,
  kConnected,
  kConnectTimeout,
  kAccepted,
  kSend,
  kData,
  kFin,
  kReset,
  kWindow,
  kStalled,
  kGaveUp,
  kDied,
  kClosed,
  kPartition,
  kHeal,
  kDatagramSent,
  kDatagramLost,
  kDatagramTwice,
  kDatagram,
  kIcmp,
};

class SimCore final : public Network,
                      public std::enable_shared_from_this<SimCore>,
                      private coil::internal::LoopResource {
 public:
  SimCore(coil::internal::LoopCore& loop,
          const SimulatedNetworkOptions& options);
  ~SimCore();

  // ---- Network
  std::unique_ptr<ConnectingStream> Connect(
      const Address& to, const std::vector<Address>& locals) override;
  std::unique_ptr<Acceptor> Bind(const Address& address, int backlog,
                                 bool reuse_port, StreamSink& sink) override;
  std::unique_ptr<DatagramPort> OpenDatagram(int family, const Address& local,
                                             const Address& remote,
                                             bool connected,
                                             bool reuse_port) override;
  std::shared_ptr<Resolver> NameResolver() override;

  void Install();
  void Uninstall() noexcept;

  // ---- time and luck
  // Null once the loop is closed: then nothing happens any more.
  coil::internal::LoopCore* loop() const { return loop_; }
  const SimulatedNetworkOptions& options() const { return options_; }
  LoopTime Now() const { return loop_->RecentNow(); }
  // Draws only if there is something to choose.
  bool Chance(double probability) noexcept;
  uint64_t Below(uint64_t bound) noexcept { return random_.Below(bound); }
  absl::Duration Between(absl::Duration least, absl::Duration most) noexcept;
  // How much of `n` bytes an operation moves that moves at most `most`.
  size_t Part(size_t n, size_t most) noexcept;
  // An operation that could be done has to wait.
  bool Blocks() noexcept { return Chance(options_.spurious_blocks()); }
  // When a packet that is sent now arrives.
  LoopTime Arrival(SimWire& wire, size_t bytes) noexcept;
  // The same with what TCP does about loss.
  LoopTime ReliableArrival(SimWire& wire, size_t bytes) noexcept;
  void Arm(coil::internal::TimerNode& timer, LoopTime when) noexcept {
    loop_->Disarm(&timer);
    if (when != LoopTime::InfiniteFuture()) loop_->Arm(&timer, when);
  }
  void Disarm(coil::internal::TimerNode& timer) noexcept {
    if (loop_ != nullptr) loop_->Disarm(&timer);
  }
  // Does `f` then; not at all if the loop closes before.
  void At(LoopTime when, absl::AnyInvocable<void()> f);

  // Nothing once the loop is closed.
  void Note(SimEvent event, uint64_t whose, uint64_t amount) noexcept;
  uint64_t trace_hash() const { return trace_hash_; }
  const std::vector<std::string>& trace() const { return trace_; }

  // ---- hosts
  void AddHost(const std::string& name,
               const std::vector<std::string>& addresses);
  // By a name or an address; made if it is an address. Throws
  // std::invalid_argument for a name that nobody has.
  SimHost& HostCalled(const std::string& name);
  // Whose address it is, seen from `self`.
  SimHost& HostOf(const Address& address, SimHost& self);
  // As which the current task acts.
  SimHost& CurrentHost();
  SimWire& Wire(SimHost& from, SimHost& to);
  // From where `self` sends to `to`, with port 0. Throws OsError.
  Address SourceOf(SimHost& self, const Address& to) const;
  // One that nobody has. Throws OsError if there is none.
  uint16_t EphemeralPort();

  // ---- partitions
  void Cut(SimHost& from, SimHost& to);
  void Heal(SimHost& a, SimHost& b);
  void HealAll();
  void Isolate(SimHost& host, bool on);
  // By chance, for a while.
  void BreakDown(SimWire& wire);

  // ---- what there is
  std::map<uint64_t, std::shared_ptr<SimConnection>>& connections() {
    return connections_;
  }
  // The same, to walk over while some of them go.
  std::vector<std::shared_ptr<SimConnection>> AllConnections() const;
  uint64_t NextId() noexcept { return ++last_id_; }
  std::vector<SimListener*>& listeners() { return listeners_; }
  std::vector<SimPort*>& ports() { return ports_; }
  SimListener* FindListener(const SimHost& host, const Address& address);
  void Kill(SimHost& host);
  size_t ResetConnections(SimHost& a, SimHost& b);
  void ResumeAccepting(SimHost& host);
  uint64_t bytes_delivered = 0;
  uint64_t datagrams_delivered = 0;

 private:
  // Something that happens once.
  class Appointment final : public coil::internal::TimerNode {
   public:
    Appointment(SimCore& core, absl::AnyInvocable<void()> f)
        : core_(core), f_(std::move(f)) {}
    void Fire() noexcept override;

   private:
    SimCore& core_;
    absl::AnyInvocable<void()> f_;
  };

  void OnLoopClose() noexcept override;
  // The host where `address` is to be bound by the current task, with its
  // address there. Throws OsError.
  SimHost& OwnerOf(const Address& address);
  void TellHealed();

  coil::internal::LoopCore* loop_;
  const SimulatedNetworkOptions options_;
  const LoopTime start_;
  coil::internal::Random random_;
  bool installed_ = false;
  uint16_t last_port_ = 49151;
  uint64_t last_id_ = 0;
  uint64_t trace_hash_ = 0;
  std::vector<std::string> trace_;
  std::vector<std::unique_ptr<SimHost>> hosts_;
  std::map<std::string, SimHost*> hosts_by_name_;
  std::map<std::pair<size_t, size_t>, std::unique_ptr<SimWire>> wires_;
  std::map<uint64_t, std::shared_ptr<SimConnection>> connections_;
  std::vector<SimListener*> listeners_;
  std::vector<SimPort*> ports_;
  std::map<Appointment*, std::unique_ptr<Appointment>> appointments_;
  std::shared_ptr<Resolver> resolver_;
};

// Throws std::invalid_argument.
void CheckLink(const SimulatedLink& link);

// The name of the host as which the current task acts; "" for none.
std::string EnteredHost();

// 127.0.0.0/8 and ::1; 0.0.0.0 and ::.
bool IsLoopback(const Address& address);
bool IsWildcard(const Address& address);
// What is bound to `bound` takes what is sent to `to`, at a host that has both.
bool Covers(const Address& bound, const Address& to);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SIM_CORE_H_
