// coil/net/internal/network.h
//
// Network is where the connections of a loop go, if not to the system: the one
// seam through which the simulated network comes in. Whoever connects, listens
// or opens a datagram socket asks NetworkOf(loop) once, and uses the system's
// sockets if that is null; nobody asks for a read or a write.
//
//   OpenConnection ──> ConnectToFirst ──┬─ null ──> SocketStream
//                                       └────────> Network::Connect()
//
// Threads: the loop's thread only; different loops do not meet.
// Lifetime: a network is uninstalled before it dies; what it has made lives on.

#ifndef COIL_NET_INTERNAL_NETWORK_H_
#define COIL_NET_INTERNAL_NETWORK_H_

#include <atomic>
#include <memory>
#include <string_view>
#include <vector>

#include "coil/loop/internal/loop_core.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/loop_local.h"

namespace coil::net {
class Resolver;
}  // namespace coil::net

namespace coil::net::internal {

struct Incoming;

// A stream that may not be connected yet.
class ConnectingStream : public ByteStream {
 public:
  // The end of connecting is told to `request` as a write of no bytes.
  // REQUIRES: connecting().
  virtual void StartConnect(WriteRequest& request) noexcept = 0;
  virtual bool connecting() const = 0;
  // The errno of connecting; zero if it did not fail.
  virtual int connect_error() const = 0;
};

// Who takes connections that have come, and owns those who listen for them.
class StreamSink {
 public:
  virtual void OnStream(std::unique_ptr<ByteStream> stream) noexcept = 0;
  virtual void Ref() noexcept = 0;
  virtual void Unref() noexcept = 0;

 protected:
  ~StreamSink() = default;
};

// What is bound to an address, and accepts connections once it was started.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  // Idempotent. Throws OsError.
  virtual void Start() = 0;
  virtual void Close() noexcept = 0;
  virtual Address SockName() const = 0;
  // -1 if there is none.
  virtual int Descriptor() const { return -1; }
};

// What sends and receives datagrams under a DatagramCore.
class DatagramPort {
 public:
  class Owner {
   public:
    // There is something to receive, an error included.
    virtual void OnArrival() noexcept = 0;
    // There is room again, after EAGAIN.
    virtual void OnRoom() noexcept = 0;

   protected:
    ~Owner() = default;
  };

  virtual ~DatagramPort() = default;
  virtual void SetOwner(Owner* owner) noexcept = 0;
  // Fills in what is there now; false if there is nothing.
  virtual bool Receive(Incoming& incoming) noexcept = 0;
  // An errno, zero if it is sent. A null `to` is the other end.
  virtual int Send(std::string_view data, const Address* to) noexcept = 0;
  virtual Address SockName() const = 0;
};

class Network {
 public:
  // Starts to connect to an IP address, from the first of `locals` of its
  // family if there is one. Throws OsError.
  virtual std::unique_ptr<ConnectingStream> Connect(
      const Address& to, const std::vector<Address>& locals) = 0;
  // Binds. Throws OsError.
  virtual std::unique_ptr<Acceptor> Bind(const Address& address, int backlog,
                                         bool reuse_port, StreamSink& sink) = 0;
  // `local` and `remote` may be empty; one that is not `connected` receives
  // from everybody. Throws OsError.
  virtual std::unique_ptr<DatagramPort> OpenDatagram(int family,
                                                     const Address& local,
                                                     const Address& remote,
                                                     bool connected,
                                                     bool reuse_port) = 0;
  // Who knows the names in this network.
  virtual std::shared_ptr<Resolver> NameResolver() = 0;

 protected:
  ~Network() = default;
};

// How many networks are installed in the process: none, in a program that does
// not simulate, and then nobody looks further.
inline std::atomic<int> g_networks{0};

struct NetworkSlot {
  explicit NetworkSlot(coil::internal::LoopCore&) {}
  Network* network = nullptr;
};

// Null for the system's.
inline Network* NetworkOf(coil::internal::LoopCore& loop) noexcept {
  if (g_networks.load(std::memory_order_relaxed) == 0) [[likely]]
    return nullptr;
  const NetworkSlot* slot = LoopLocal<NetworkSlot>::Find(loop);
  return slot != nullptr ? slot->network : nullptr;
}

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_NETWORK_H_
