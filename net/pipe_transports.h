// coil/net/pipe_transports.h
//
// Pipes in callback style: ConnectReadPipe() and ConnectWritePipe() connect a
// protocol to one end of a pipe, of a FIFO or of a terminal.
//
// Example:
//   class Lines final : public coil::net::Protocol {
//    public:
//     void DataReceived(std::string_view data) override { text_ += data; }
//
//    private:
//     std::string text_;
//   };
//   coil::Co<void> Read(coil::net::PipeEnd end) {
//     auto [transport, protocol] = co_await coil::net::ConnectReadPipe(
//         [] { return std::make_shared<Lines>(); }, std::move(end));
//   }
//
// Ordering: see coil/net/protocol.h. The functions return when ConnectionMade()
//   has been called.
// Cancellation: the end is closed.
// Threads: the loop's thread only.
// Lifetime: as of coil/net/pipe.h: the end is closed with its transport.
//
// An end to read from closes at its end of file, whatever EofReceived() says.
// An end to write to notices at once that its readers have gone: then
// ConnectionLost() is given null, or OsError with EPIPE if something was
// queued.
//
// asyncio: connect_read_pipe (A229), connect_write_pipe (A230).

#ifndef COIL_NET_PIPE_TRANSPORTS_H_
#define COIL_NET_PIPE_TRANSPORTS_H_

#include <memory>
#include <utility>

#include "coil/net/internal/protocol_factory.h"
#include "coil/net/pipe.h"
#include "coil/net/protocol.h"
#include "coil/net/transport.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"

namespace coil::net {

namespace internal {

Co<std::shared_ptr<Transport>> StartReadPipe(
    PipeEnd end, std::shared_ptr<StreamProtocol> protocol);
Co<std::shared_ptr<Transport>> StartWritePipe(
    PipeEnd end, std::shared_ptr<StreamProtocol> protocol);

COIL_LAMBDA_FRAMES_BEGIN
template <class T, class F>
Co<Endpoint<T, ProtocolOf<F>>> ConnectPipe(F factory, PipeEnd end, bool reads) {
  std::shared_ptr<ProtocolOf<F>> protocol = factory();
  std::shared_ptr<StreamProtocol> base = protocol;
  std::shared_ptr<Transport> transport;
  if (reads) {
    transport = co_await StartReadPipe(std::move(end), std::move(base));
  } else {
    transport = co_await StartWritePipe(std::move(end), std::move(base));
  }
  co_return Endpoint<T, ProtocolOf<F>>(std::move(transport),
                                       std::move(protocol));
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Throw what the functions of these names in coil/net/pipe.h throw, and what
// the factory throws; then the end is closed. asyncio: A229, A230.
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto ConnectReadPipe(F&& factory, PipeEnd end) {
  coil::internal::CheckBody<F>();
  return internal::ConnectPipe<ReadTransport, coil::internal::StoredBody<F>>(
      std::forward<F>(factory), std::move(end), /*reads=*/true);
}
template <class F>
  requires internal::FactoryOf<F, StreamProtocol>
[[nodiscard("co_await it")]] auto ConnectWritePipe(F&& factory, PipeEnd end) {
  coil::internal::CheckBody<F>();
  return internal::ConnectPipe<WriteTransport, coil::internal::StoredBody<F>>(
      std::forward<F>(factory), std::move(end), /*reads=*/false);
}

}  // namespace coil::net

#endif  // COIL_NET_PIPE_TRANSPORTS_H_
