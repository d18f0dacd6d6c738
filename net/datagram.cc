#include "coil/net/datagram.h"

#include <cerrno>
#include <stdexcept>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/resolve.h"
#include "coil/net/internal/socket_file.h"

namespace coil::net {
namespace internal {

void ThrowTwoReceivers(const DatagramCore& core) {
  throw std::runtime_error(
      absl::StrCat("DatagramSocket: another task is receiving already at ",
                   core.SockText()));
}

void ThrowReceiveError(const DatagramCore& core, int error) {
  throw OsError(error, "receive", core.remote().ToString());
}

void ThrowSendError(const DatagramCore& core, const Address* to, int error) {
  throw OsError(error, "send",
                to != nullptr ? to->ToString() : core.remote().ToString());
}

void SendAwaiter::Validate() const {
  core_->CheckLoop(task_);
  if (to.has_value()) {
    if (!*to) {
      throw std::invalid_argument("DatagramSocket::SendTo: no address");
    }
    if (core_->connected() && *to != core_->remote()) {
      throw std::invalid_argument(absl::StrCat(
          "DatagramSocket::SendTo: the socket is connected to ",
          core_->remote().ToString(), " and cannot send to ", to->ToString()));
    }
  } else if (!core_->remote()) {
    throw std::runtime_error(
        "DatagramSocket::Send: the socket has no other end; use SendTo()");
  }
}

}  // namespace internal

namespace {

using internal::DatagramCore;
using internal::DatagramRef;
using internal::SocketFile;

DatagramSocket MakeSocket(int family, const Address& local,
                          const Address& remote,
                          const DatagramOptions& options) {
  const bool connected = remote && !options.broadcast();
  if (family == AF_INET || family == AF_INET6) {
    internal::Network* network =
        internal::NetworkOf(coil::internal::RequireLoop("OpenDatagram"));
    if (network != nullptr) [[unlikely]] {
      return DatagramSocket(DatagramRef::Share(new DatagramCore(
          network->OpenDatagram(family, local, remote, connected,
                                options.reuse_port()),
          remote, connected)));
    }
  }
  Socket socket(family, SOCK_DGRAM);
  if (options.reuse_port()) socket.SetOption(SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.broadcast()) socket.SetOption(SOL_SOCKET, SO_BROADCAST, 1);
  SocketFile file;
  if (local) {
    internal::RemoveStaleSocket(local, SOCK_DGRAM);
    socket.Bind(local);
    file = SocketFile(local);
  }
  if (connected) socket.StartConnect(remote);
  return DatagramSocket(DatagramRef::Share(
      new DatagramCore(std::move(socket), remote, connected, std::move(file))));
}

}  // namespace

DatagramSocket::DatagramSocket(net::Socket socket) {
  if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_DGRAM) {
    throw std::invalid_argument(
        "DatagramSocket: it is not a socket of datagrams");
  }
  const Address remote = socket.PeerName();
  core_ = DatagramRef::Share(new DatagramCore(
      std::move(socket), remote, static_cast<bool>(remote), SocketFile()));
}

void DatagramSocket::ThrowEmpty() {
  throw std::runtime_error(
      "DatagramSocket: it is empty (default-constructed or moved from)");
}

Co<DatagramSocket> OpenDatagram(Address local, Address remote,
                                DatagramOptions options) {
  int family = options.family();
  for (const Address* address : {&local, &remote}) {
    if (!*address) continue;
    if (family != AF_UNSPEC && family != address->Family()) {
      throw std::invalid_argument(
          absl::StrCat("OpenDatagram: ", address->ToString(),
                       " is of another family than the rest"));
    }
    family = address->Family();
  }
  if (family == AF_UNSPEC) {
    throw std::invalid_argument(
        "OpenDatagram: neither an address nor a family");
  }
  if (options.local_address()) {
    throw std::invalid_argument(
        "OpenDatagram: LocalAddress() goes with the name of a host");
  }
  co_return MakeSocket(family, local, remote, options);
}

Co<DatagramSocket> OpenDatagram(std::string host, int port,
                                DatagramOptions options) {
  const Address local = options.local_address();
  int family = options.family();
  if (local && family == AF_UNSPEC) family = local.Family();
  const std::vector<Address> addresses = co_await internal::ResolveHost(
      std::move(host), port, family, options.resolver());
  std::optional<OsError> first;
  for (const Address& address : addresses) {
    try {
      co_return MakeSocket(address.Family(), local, address, options);
    } catch (const OsError& error) {
      if (!first.has_value()) first.emplace(error);
    }
  }
  throw OsError(*first);
}

}  // namespace coil::net
