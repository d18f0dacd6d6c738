// coil/net/simulated_network.h
//
// SimulatedNetwork is TCP and UDP in memory for one loop: while it is there,
// OpenConnection(), StartServer() and OpenDatagram() of that loop, and so
// streams, servers and TLS, run on it unchanged and without a descriptor. It
// has latency, loss, partial reads and writes, resets and partitions, all from
// one seed; under the virtual clock of SimulationOptions the same seed gives
// the same run, to the nanosecond.
//
// Example:
//   coil::Co<void> Shout(coil::net::StreamReader reader,
//                        coil::net::StreamWriter writer) {
//     while (std::optional<std::string> line = co_await reader.Next()) {
//       co_await writer.Write("! " + *line);
//     }
//   }
//   // Takes no time: the clock is virtual.
//   coil::Co<std::string> Ask() {
//     coil::net::SimulatedNetwork network(
//         coil::net::SimulatedNetworkOptions().Seed(7).PartialTransfers(0.5));
//     network.AddHost("server", {"10.0.0.1"});
//     coil::net::Server server =
//         co_await coil::net::StartServer(Shout, "server", 80);
//     auto [reader, writer] =
//         co_await coil::net::OpenConnection("server", 80);
//     co_await writer.Write("hello\n");
//     co_return co_await reader.ReadLine();
//   }
//   std::string Test() {
//     const coil::SimulationOptions simulation;
//     const coil::RunOptions options = {.simulation = &simulation};
//     return coil::Run(Ask(), options);
//   }
//
// Hosts. A task acts as the host of the nearest As(), also in the tasks that it
// starts and the handlers of its servers; without one as the host "default",
// whose addresses are 192.0.2.1 and 2001:db8::1, and which may listen at every
// address, as in the example. 127.0.0.1 and ::1 are a host's own. A host that
// nobody has named is a host by its address. Functions that take a host take
// its name or one of its addresses. Names are known to the resolver of the
// loop, unless SetDefaultResolver() has set another.
//
// What is like the system's: a port where nobody listens refuses; a full
// backlog is tried again after 1, 2, 4 ... seconds; Close() goes on sending;
// who closes with unread bytes, or is sent some afterwards, resets; after a
// reset the reader gets ECONNRESET and a later write EPIPE. What is not: a
// reset drops what was received and not read, as TCP allows and Linux does not;
// Server::Sockets() is empty and StreamWriter::Socket() is none.
// Unix sockets, pipes and sockets that the program brings stay the system's.
//
// Ordering: bytes of a connection keep theirs; of two packets that are due at
//   the same time the one that was sent first comes first.
// Cancellation: as that of the streams, servers and datagrams above it.
// Threads: the loop's thread only. Each loop may have a network of its own;
//   they do not meet.
// Lifetime: installed until it dies, or until its loop closes. What was opened
//   lives on, and is closed by the loop at the latest.

#ifndef COIL_NET_SIMULATED_NETWORK_H_
#define COIL_NET_SIMULATED_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/net/address.h"
#include "coil/net/simulated_network_options.h"
#include "coil/task/context_var.h"

namespace coil::net {

namespace internal {
class SimCore;
}  // namespace internal

// The task acts as a host, until this dies. See SimulatedNetwork::As().
class [[nodiscard]] SimulatedHostScope {
 public:
  explicit SimulatedHostScope(std::string host);
  SimulatedHostScope(const SimulatedHostScope&) = delete;
  SimulatedHostScope& operator=(const SimulatedHostScope&) = delete;
  ~SimulatedHostScope();

 private:
  ContextVar<std::string>::Token token_;
};

class SimulatedNetwork {
 public:
  // For the running loop. Throws std::invalid_argument for options that cannot
  // be, std::runtime_error without a loop, or if it has a network already.
  explicit SimulatedNetwork(
      const SimulatedNetworkOptions& options = SimulatedNetworkOptions());
  // The same for a loop that does not run yet, as that of a Runner.
  explicit SimulatedNetwork(
      EventLoop& loop,
      const SimulatedNetworkOptions& options = SimulatedNetworkOptions());
  SimulatedNetwork(const SimulatedNetwork&) = delete;
  SimulatedNetwork& operator=(const SimulatedNetwork&) = delete;
  // Connections, servers and sockets stay; new ones are the system's.
  ~SimulatedNetwork();

  // ---- hosts
  // A host with its numeric addresses, and its name for the resolver. Throws
  // std::invalid_argument if one of them is taken or cannot be.
  void AddHost(const std::string& name,
               const std::vector<std::string>& addresses);
  // The task acts as `host` for as long as what this returns lives. It connects
  // from there, and can listen only there.
  SimulatedHostScope As(const std::string& host) const;

  // ---- ways between hosts. A host has a way to itself, too.
  void SetLink(const std::string& from, const std::string& to,
               const SimulatedLink& link);
  void SetLinks(const std::string& a, const std::string& b,
                const SimulatedLink& link) {
    SetLink(a, b, link);
    SetLink(b, a, link);
  }
  // Nothing passes from now on, what is under way included. Bytes wait for
  // Heal(), or until their sender gives up; datagrams are lost. Idempotent.
  void PartitionOneWay(const std::string& from, const std::string& to);
  void Partition(const std::string& a, const std::string& b) {
    PartitionOneWay(a, b);
    PartitionOneWay(b, a);
  }
  // Both ways, also what SimulatedNetworkOptions::Partitions() has cut.
  void Heal(const std::string& a, const std::string& b);
  void HealAll();
  // From and to all other hosts, also those that are added later.
  void Isolate(const std::string& host);
  void Rejoin(const std::string& host);

  // ---- faults
  // The host has crashed and is up again: its connections are reset at both
  // ends, nobody listens there any more, and its datagram sockets fail with
  // ENETDOWN: each send, and one receive, behind which the next ones wait until
  // the socket is closed. Its tasks are the program's; they may listen anew.
  void Kill(const std::string& host);
  // Resets all connections between two hosts. Returns how many.
  size_t ResetConnections(const std::string& a, const std::string& b);
  // The servers of a host accept nothing for a while, so that their backlog
  // fills.
  void StopAccepting(const std::string& host);
  void ResumeAccepting(const std::string& host);

  // ---- what there is
  // Where servers listen, in the order in which they began.
  std::vector<Address> Listening() const;
  // Connections that are open at one end at least, and those that come to be.
  size_t Connections() const;
  size_t DatagramSockets() const;
  // Bytes and datagrams that have come in since the beginning.
  uint64_t BytesDelivered() const;
  uint64_t DatagramsDelivered() const;

  // ---- for repeating a run
  // Of every event so far: what, when, whose and how much. Equal for equal runs
  // under a virtual clock.
  uint64_t TraceHash() const;
  // A line for each, with SimulatedNetworkOptions::RecordTrace() only.
  std::vector<std::string> Trace() const;

 private:
  std::shared_ptr<internal::SimCore> core_;
};

}  // namespace coil::net

#endif  // COIL_NET_SIMULATED_NETWORK_H_
