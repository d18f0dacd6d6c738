// coil/net/simulated_network_options.h
//
// What a SimulatedNetwork is like: SimulatedLink says how long packets take
// between two hosts and what becomes of them, SimulatedNetworkOptions what
// holds for all of the network.
//
// Example:
//   auto options = coil::net::SimulatedNetworkOptions()
//                      .Seed(7)
//                      .Link(coil::net::SimulatedLink()
//                                .Latency(absl::Milliseconds(1),
//                                         absl::Milliseconds(20))
//                                .Loss(0.01))
//                      .PartialTransfers(0.3)
//                      .Resets(0.001);
//
// Ordering: does not apply.
// Cancellation: does not apply.
// Threads: values.
// Lifetime: own what they hold.
//
// A probability is from 0 to 1; SimulatedNetwork throws std::invalid_argument
// for another one, and for sizes and times that cannot be.

#ifndef COIL_NET_SIMULATED_NETWORK_OPTIONS_H_
#define COIL_NET_SIMULATED_NETWORK_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "coil/loop/internal/language.h"

namespace coil::net {

class SimulatedLink {
 public:
  SimulatedLink() = default;

  // How long a packet takes, at least and at most; 100 us and 1 ms at first.
  SimulatedLink& Latency(absl::Duration least, absl::Duration most) {
    least_ = least;
    most_ = most;
    return *this;
  }
  // Bytes in a second; 0, which is the default, has no end.
  SimulatedLink& Bandwidth(int64_t bytes) {
    bandwidth_ = bytes;
    return *this;
  }
  // How often a packet is lost. TCP sends it again, which takes 200 ms and
  // twice as long each time.
  SimulatedLink& Loss(double probability) {
    loss_ = probability;
    return *this;
  }
  // How often a datagram comes twice, and how often it takes so much longer
  // than the others that these overtake it.
  SimulatedLink& Duplication(double probability) {
    duplication_ = probability;
    return *this;
  }
  SimulatedLink& Reordering(double probability) {
    reordering_ = probability;
    return *this;
  }

  absl::Duration least_latency() const { return least_; }
  absl::Duration most_latency() const { return most_; }
  int64_t bandwidth() const { return bandwidth_; }
  double loss() const { return loss_; }
  double duplication() const { return duplication_; }
  double reordering() const { return reordering_; }

 private:
  absl::Duration least_ = absl::Microseconds(100);
  absl::Duration most_ = absl::Milliseconds(1);
  int64_t bandwidth_ = 0;
  double loss_ = 0;
  double duplication_ = 0;
  double reordering_ = 0;
};

class SimulatedNetworkOptions {
 public:
  SimulatedNetworkOptions() = default;

  // Everything that is left to luck follows from it.
  SimulatedNetworkOptions& Seed(uint64_t seed) {
    seed_ = seed;
    return *this;
  }
  // Between any two hosts that have none of their own, and within a host.
  SimulatedNetworkOptions& Link(const SimulatedLink& link) {
    link_ = link;
    return *this;
  }

  // What a connection takes from who writes before it is on its way, and what
  // it keeps for who reads; 64 KiB each at first. The second one is the
  // sender's window, and how much a datagram socket keeps. At least one byte.
  SimulatedNetworkOptions& SendBuffer(size_t bytes) {
    send_buffer_ = bytes;
    return *this;
  }
  SimulatedNetworkOptions& ReceiveBuffer(size_t bytes) {
    receive_buffer_ = bytes;
    return *this;
  }
  // The most that one packet of TCP carries; 1460 at first.
  SimulatedNetworkOptions& SegmentSize(size_t bytes) {
    segment_size_ = bytes;
    return *this;
  }

  // The most that one read takes and one write gives; no limit at first.
  SimulatedNetworkOptions& LargestRead(size_t bytes) {
    largest_read_ = bytes;
    return *this;
  }
  SimulatedNetworkOptions& LargestWrite(size_t bytes) {
    largest_write_ = bytes;
    return *this;
  }
  // How often a read or a write moves only the beginning of what it could.
  SimulatedNetworkOptions& PartialTransfers(double probability) {
    partial_ = probability;
    return *this;
  }
  // How often an operation has to wait although it could be done (EAGAIN).
  // Below 1.
  SimulatedNetworkOptions& SpuriousBlocks(double probability) {
    blocks_ = probability;
    return *this;
  }

  // How long connecting takes until it is given up with ETIMEDOUT; 127 seconds
  // at first, as in Linux.
  SimulatedNetworkOptions& ConnectTimeout(absl::Duration timeout) {
    connect_timeout_ = timeout;
    return *this;
  }
  // How long a partition keeps what was sent from its way until the sender
  // gives up with ETIMEDOUT (TCP_USER_TIMEOUT); 924 seconds at first, as in
  // Linux.
  SimulatedNetworkOptions& RetransmitTimeout(absl::Duration timeout) {
    retransmit_timeout_ = timeout;
    return *this;
  }

  // How often the arrival of a packet resets its connection.
  SimulatedNetworkOptions& Resets(double probability) {
    resets_ = probability;
    return *this;
  }
  // How often the arrival of a packet cuts the way between its two hosts, and
  // for how long at least and at most.
  SimulatedNetworkOptions& Partitions(double probability, absl::Duration least,
                                      absl::Duration most) {
    partitions_ = probability;
    least_outage_ = least;
    most_outage_ = most;
    return *this;
  }

  // Keep a line for each event, for SimulatedNetwork::Trace().
  SimulatedNetworkOptions& RecordTrace(bool on) {
    record_trace_ = on;
    return *this;
  }

  uint64_t seed() const { return seed_; }
  const SimulatedLink& link() const { return link_; }
  size_t send_buffer() const { return send_buffer_; }
  size_t receive_buffer() const { return receive_buffer_; }
  size_t segment_size() const { return segment_size_; }
  size_t largest_read() const { return largest_read_; }
  size_t largest_write() const { return largest_write_; }
  double partial_transfers() const { return partial_; }
  double spurious_blocks() const { return blocks_; }
  absl::Duration connect_timeout() const { return connect_timeout_; }
  absl::Duration retransmit_timeout() const { return retransmit_timeout_; }
  double resets() const { return resets_; }
  double partitions() const { return partitions_; }
  absl::Duration least_outage() const { return least_outage_; }
  absl::Duration most_outage() const { return most_outage_; }
  bool record_trace() const { return record_trace_; }

 private:
  uint64_t seed_ = 0;
  SimulatedLink link_;
  size_t send_buffer_ = size_t{64} << 10;
  size_t receive_buffer_ = size_t{64} << 10;
  size_t segment_size_ = 1460;
  size_t largest_read_ = SIZE_MAX;
  size_t largest_write_ = SIZE_MAX;
  double partial_ = 0;
  double blocks_ = 0;
  absl::Duration connect_timeout_ = absl::Seconds(127);
  absl::Duration retransmit_timeout_ = absl::Seconds(924);
  double resets_ = 0;
  double partitions_ = 0;
  absl::Duration least_outage_ = absl::Milliseconds(10);
  absl::Duration most_outage_ = absl::Seconds(1);
  bool record_trace_ = false;
};

}  // namespace coil::net

#endif  // COIL_NET_SIMULATED_NETWORK_OPTIONS_H_
