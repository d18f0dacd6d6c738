#include "coil/net/pipe_transports.h"

#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/stream_transport.h"

namespace coil::net::internal {
namespace {

Co<std::shared_ptr<Transport>> StartOn(StreamRef core,
                                       std::shared_ptr<StreamProtocol> protocol,
                                       StreamTransport::Ways ways) {
  const std::shared_ptr<StreamTransport> transport =
      StreamTransport::Start(std::move(core), std::move(protocol), ways);
  co_await transport->WaitMade();
  co_return transport;
}

}  // namespace

Co<std::shared_ptr<Transport>> StartReadPipe(
    PipeEnd end, std::shared_ptr<StreamProtocol> protocol) {
  return StartOn(ConnectReadPipe(std::move(end)).core(), std::move(protocol),
                 StreamTransport::Ways::kRead);
}

Co<std::shared_ptr<Transport>> StartWritePipe(
    PipeEnd end, std::shared_ptr<StreamProtocol> protocol) {
  return StartOn(ConnectWritePipe(std::move(end)).core(), std::move(protocol),
                 StreamTransport::Ways::kWrite);
}

}  // namespace coil::net::internal
