// coil/net/datagram_endpoint.h
//
// Datagrams in callback style: CreateDatagramEndpoint() connects a protocol to
// a socket of UDP or a Unix socket of datagrams.
//
// Example:
//   class Echo final : public coil::net::DatagramProtocol {
//    public:
//     void ConnectionMade(
//         std::shared_ptr<coil::net::DatagramTransport> transport) override {
//       transport_ = std::move(transport);
//     }
//     void DatagramReceived(std::string_view data,
//                           const coil::net::Address& from) override {
//       transport_->SendTo(data, from);
//     }
//
//    private:
//     std::shared_ptr<coil::net::DatagramTransport> transport_;
//   };
//   coil::Co<void> Serve() {
//     auto [transport, protocol] = co_await coil::net::CreateDatagramEndpoint(
//         [] { return std::make_shared<Echo>(); },
//         coil::net::Address::Parse("127.0.0.1:0"));
//   }
//
// Ordering: datagrams are given to the protocol in the order in which they
//   came. The function returns when ConnectionMade() has been called.
// Cancellation: the socket is closed.
// Threads: the loop's thread only.
// Lifetime: see coil/net/protocol.h.
//
// asyncio: create_datagram_endpoint (A211, A212).

#ifndef COIL_NET_DATAGRAM_ENDPOINT_H_
#define COIL_NET_DATAGRAM_ENDPOINT_H_

#include <memory>
#include <string>
#include <utility>

#include "coil/net/address.h"
#include "coil/net/datagram.h"
#include "coil/net/internal/protocol_factory.h"
#include "coil/net/protocol.h"
#include "coil/net/transport.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"

namespace coil::net {

namespace internal {

Co<std::shared_ptr<DatagramTransport>> StartDatagramTransport(
    DatagramSocket socket, std::shared_ptr<DatagramProtocol> protocol);

COIL_LAMBDA_FRAMES_BEGIN
template <class F>
Co<Endpoint<DatagramTransport, ProtocolOf<F>>> ConnectDatagram(
    Co<DatagramSocket> opening, F factory) {
  DatagramSocket socket = co_await std::move(opening);
  std::shared_ptr<ProtocolOf<F>> protocol = factory();
  std::shared_ptr<DatagramProtocol> base = protocol;
  std::shared_ptr<DatagramTransport> transport =
      co_await StartDatagramTransport(std::move(socket), std::move(base));
  co_return Endpoint<DatagramTransport, ProtocolOf<F>>(std::move(transport),
                                                       std::move(protocol));
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Opens a socket as OpenDatagram() does, and connects a protocol to it. Throws
// as that does, and what the factory throws. asyncio: A211.
template <class F>
  requires internal::FactoryOf<F, DatagramProtocol>
[[nodiscard("co_await it")]] auto CreateDatagramEndpoint(
    F&& factory, Address local, Address remote = Address(),
    DatagramOptions options = DatagramOptions()) {
  coil::internal::CheckBody<F>();
  return internal::ConnectDatagram<coil::internal::StoredBody<F>>(
      OpenDatagram(local, remote, std::move(options)),
      std::forward<F>(factory));
}
template <class F>
  requires internal::FactoryOf<F, DatagramProtocol>
[[nodiscard("co_await it")]] auto CreateDatagramEndpoint(
    F&& factory, std::string host, int port,
    DatagramOptions options = DatagramOptions()) {
  coil::internal::CheckBody<F>();
  return internal::ConnectDatagram<coil::internal::StoredBody<F>>(
      OpenDatagram(std::move(host), port, std::move(options)),
      std::forward<F>(factory));
}

}  // namespace coil::net

#endif  // COIL_NET_DATAGRAM_ENDPOINT_H_
