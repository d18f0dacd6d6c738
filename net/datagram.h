// coil/net/datagram.h
//
// DatagramSocket sends and receives datagrams, over UDP or a Unix socket;
// OpenDatagram() makes one. A datagram comes whole or not at all, perhaps
// twice, perhaps in another order: what is built on that is the program's.
//
// Example:
//   coil::Co<void> EchoOnce(coil::net::DatagramSocket socket) {
//     coil::net::Datagram question = co_await socket.ReceiveFrom();
//     co_await socket.SendTo(question.data, question.from);
//   }
//   coil::Co<std::string> Ask() {
//     coil::net::DatagramSocket server = co_await coil::net::OpenDatagram(
//         coil::net::Address::Parse("127.0.0.1:0"));
//     coil::CreateTask(EchoOnce(server));
//     coil::net::DatagramSocket client = co_await coil::net::OpenDatagram(
//         "127.0.0.1", server.SockName().Port());
//     co_await client.Send("hello");
//     co_return co_await client.Receive();
//   }
//
// Ordering: datagrams are received in the order in which they came. Those that
//   wait for room are sent first in, first out.
// Cancellation: a datagram that has come stays in the socket, whole, for the
//   next who receives. One that was to be sent is sent whole or not at all.
// Threads: the loop's thread only.
// Lifetime: a handle; copies refer to the same socket, which closes with the
//   last of them, or with Close(), or with the loop. Who waits then gets
//   OsError(ECONNABORTED).
//
// An error that the network reports of an earlier datagram (ECONNREFUSED on a
// connected socket: nobody listens there) is thrown by the operation that
// follows; the socket goes on, and a datagram that was to be sent by that
// operation is not sent.
//
// asyncio: create_datagram_endpoint (A211, A212), DatagramTransport.sendto
// (A258, A259), DatagramProtocol (A274, A275), as coroutines.

#ifndef COIL_NET_DATAGRAM_H_
#define COIL_NET_DATAGRAM_H_

#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "coil/net/address.h"
#include "coil/net/internal/datagram_awaiters.h"
#include "coil/net/internal/datagram_core.h"
#include "coil/net/internal/scratch.h"
#include "coil/net/resolver.h"
#include "coil/net/socket.h"
#include "coil/task/co.h"

namespace coil::net {

// What ReceiveFrom() gives.
struct Datagram {
  Datagram() = default;
  std::string data;        // may be empty: that is a datagram, too
  Address from;            // empty for a Unix socket without a name
  bool truncated = false;  // it was longer, and the rest is lost
};

// The same for one that was received into memory of the caller.
struct DatagramSize {
  size_t size = 0;
  Address from;
  bool truncated = false;
};

namespace internal {

class ReceiveFromAwaiter final : public ReceiveAwaiterBase<ReceiveFromAwaiter> {
 public:
  ReceiveFromAwaiter(DatagramRef core, size_t most)
      : ReceiveAwaiterBase(std::move(core), {}, most), most_(most) {}
  ReceiveFromAwaiter(ReceiveFromAwaiter&&) = default;
  ~ReceiveFromAwaiter() { Dispose(); }
  Datagram Result(Incoming& incoming) {
    Datagram result;
    result.truncated = incoming.truncated || incoming.rest.size() > most_;
    if (incoming.rest.size() > most_) incoming.rest.resize(most_);
    result.data = std::move(incoming.rest);
    result.from = incoming.from;
    return result;
  }

 private:
  size_t most_;
};

class ReceiveIntoAwaiter final : public ReceiveAwaiterBase<ReceiveIntoAwaiter> {
 public:
  ReceiveIntoAwaiter(DatagramRef core, absl::Span<char> room)
      : ReceiveAwaiterBase(std::move(core), room, 0) {}
  ReceiveIntoAwaiter(ReceiveIntoAwaiter&&) = default;
  ~ReceiveIntoAwaiter() { Dispose(); }
  DatagramSize Result(Incoming& incoming) {
    DatagramSize result;
    result.size = incoming.size;
    result.from = incoming.from;
    result.truncated = incoming.truncated || !incoming.rest.empty();
    return result;
  }
};

class ReceiveDataAwaiter final : public ReceiveAwaiterBase<ReceiveDataAwaiter> {
 public:
  ReceiveDataAwaiter(DatagramRef core, size_t most)
      : ReceiveAwaiterBase(std::move(core), {}, most), most_(most) {}
  ReceiveDataAwaiter(ReceiveDataAwaiter&&) = default;
  ~ReceiveDataAwaiter() { Dispose(); }
  std::string Result(Incoming& incoming) {
    if (incoming.rest.size() > most_) incoming.rest.resize(most_);
    return std::move(incoming.rest);
  }

 private:
  size_t most_;
};

}  // namespace internal

class DatagramSocket {
 public:
  // As much as a datagram of UDP can hold, and more.
  static constexpr size_t kLargest = internal::kScratchSize;

  // No socket: only good to be assigned to.
  DatagramSocket() = default;
  // One that exists, bound and connected or not. Throws std::invalid_argument
  // if it is not one of datagrams, OsError if the loop cannot watch it,
  // std::runtime_error without a running loop. asyncio: A212.
  explicit DatagramSocket(net::Socket socket);

  // Sends `data`, which may be empty, and which is borrowed until this returns;
  // waits where there is no room. `to` may be the name of a Unix socket. Throws
  // OsError (EMSGSIZE if it is too long), std::invalid_argument if the socket
  // is connected elsewhere.
  [[nodiscard("co_await it")]] internal::SendAwaiter SendTo(
      std::string_view data, const Address& to) const {
    return internal::SendAwaiter(Checked(), data, to);
  }
  // To the other end. Throws also std::runtime_error if there is none.
  [[nodiscard("co_await it")]] internal::SendAwaiter Send(
      std::string_view data) const {
    return internal::SendAwaiter(Checked(), data, std::nullopt);
  }

  // The next datagram, of which at most `most` bytes are kept. Throws OsError,
  // std::runtime_error if another task is receiving.
  [[nodiscard("co_await it")]] internal::ReceiveFromAwaiter ReceiveFrom(
      size_t most = kLargest) const {
    return internal::ReceiveFromAwaiter(Checked(), most);
  }
  // The same without a copy; the memory is the caller's until this returns.
  [[nodiscard("co_await it")]] internal::ReceiveIntoAwaiter ReceiveFrom(
      absl::Span<char> out) const {
    return internal::ReceiveIntoAwaiter(Checked(), out);
  }
  // The same without its sender, and silent about a rest that was cut off.
  [[nodiscard("co_await it")]] internal::ReceiveDataAwaiter Receive(
      size_t most = kLargest) const {
    return internal::ReceiveDataAwaiter(Checked(), most);
  }

  // Closes now. Idempotent. asyncio: A245, A259.
  void Close() const noexcept {
    if (core_) core_->Close();
  }
  bool IsClosed() const noexcept { return !core_ || core_->closed(); }

  // This end; empty after Close().
  Address SockName() const noexcept {
    return core_ ? core_->SockName() : Address();
  }
  // Where Send() sends to; empty if there is no such place.
  Address PeerName() const noexcept {
    return core_ ? core_->remote() : Address();
  }
  // For options; none after Close().
  SocketRef Socket() const noexcept {
    return SocketRef(core_ ? core_->socket().Descriptor() : -1);
  }

  // ---- public interface ends here ----
  explicit DatagramSocket(internal::DatagramRef core)
      : core_(std::move(core)) {}
  const internal::DatagramRef& core() const { return core_; }

 private:
  const internal::DatagramRef& Checked() const {
    if (!core_) [[unlikely]]
      ThrowEmpty();
    return core_;
  }
  [[noreturn]] static void ThrowEmpty();

  internal::DatagramRef core_;
};

class DatagramOptions {
 public:
  DatagramOptions() = default;

  // AF_INET or AF_INET6: only such addresses; of a socket without any address,
  // its family. asyncio: A212.
  DatagramOptions& Family(int family) {
    family_ = family;
    return *this;
  }
  // The end on this side, where the other one is a name.
  DatagramOptions& LocalAddress(const Address& address) {
    local_ = address;
    return *this;
  }
  // SO_REUSEPORT: several sockets share a port. asyncio: A212.
  DatagramOptions& ReusePort(bool on) {
    reuse_port_ = on;
    return *this;
  }
  // SO_BROADCAST. The socket is not connected then, so that answers of
  // everybody are received; Send() sends to the other end all the same.
  // asyncio: A212.
  DatagramOptions& Broadcast(bool on) {
    broadcast_ = on;
    return *this;
  }
  // Who finds the addresses of a name; DefaultResolver() at first.
  DatagramOptions& Resolver(std::shared_ptr<net::Resolver> resolver) {
    resolver_ = std::move(resolver);
    return *this;
  }

  int family() const { return family_; }
  const Address& local_address() const { return local_; }
  bool reuse_port() const { return reuse_port_; }
  bool broadcast() const { return broadcast_; }
  const std::shared_ptr<net::Resolver>& resolver() const { return resolver_; }

 private:
  int family_ = AF_UNSPEC;
  Address local_;
  bool reuse_port_ = false;
  bool broadcast_ = false;
  std::shared_ptr<net::Resolver> resolver_;
};

// A socket that is bound to `local` and connected to `remote`, of which either
// may be empty; both, if the options say a family. The file of a Unix socket
// that nobody listens to any more is replaced, and removed in the end. Throws
// OsError, std::invalid_argument for addresses that do not go together.
// asyncio: A211.
[[nodiscard("co_await it")]] Co<DatagramSocket> OpenDatagram(
    Address local, Address remote = Address(),
    DatagramOptions options = DatagramOptions());
// A socket that is connected to `host`, to the first of its addresses to which
// there is a way. Throws also ResolveError.
[[nodiscard("co_await it")]] Co<DatagramSocket> OpenDatagram(
    std::string host, int port, DatagramOptions options = DatagramOptions());

}  // namespace coil::net

#endif  // COIL_NET_DATAGRAM_H_
