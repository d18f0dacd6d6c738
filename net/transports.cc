#include "coil/net/transports.h"

#include <stdexcept>

#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/stream_transport.h"

namespace coil::net {
namespace internal {
namespace {

Co<void> Nothing() { co_return; }

}  // namespace

ConnectionHandler ProtocolHandler(StreamFactory factory) {
  return [factory = std::move(factory)](
             StreamReader reader, StreamWriter writer) mutable -> Co<void> {
    StreamTransport::Start(writer.core(), factory());
    reader = {};
    return Nothing();
  };
}

Co<std::shared_ptr<Transport>> StartTransport(
    StreamPair streams, std::shared_ptr<StreamProtocol> protocol) {
  const std::shared_ptr<StreamTransport> transport =
      StreamTransport::Start(streams.writer.core(), std::move(protocol));
  co_await transport->WaitMade();
  co_return transport;
}

Co<StreamPair> OpenAccepted(net::Socket socket, ServerOptions options) {
  if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
    throw std::invalid_argument("ConnectAcceptedSocket: not a stream socket");
  }
  if (options.tls() != nullptr && !options.tls()->IsServer()) {
    throw std::invalid_argument(
        "ConnectAcceptedSocket: the TLS context is one for clients");
  }
  StreamPair streams = MakeStreams(MakeByteStream(std::move(socket)));
  if (options.tls() != nullptr) {
    co_await streams.writer.StartTls(options.tls(), options.tls_options());
  }
  co_return streams;
}

}  // namespace internal

std::shared_ptr<Transport> MakeTransport(
    std::unique_ptr<ByteStream> stream,
    std::shared_ptr<StreamProtocol> protocol) {
  StreamPair streams = MakeStreams(std::move(stream));
  return internal::StreamTransport::Start(streams.writer.core(),
                                          std::move(protocol));
}

}  // namespace coil::net
