// coil/net/subprocess_transport.h
//
// Child processes in callback style: SubprocessExec() and SubprocessShell()
// start a program and connect a protocol to it.
//
// Example:
//   class Output final : public coil::net::SubprocessProtocol {
//    public:
//     void PipeDataReceived(int fd, std::string_view data) override {
//       (fd == 1 ? out_ : err_) += data;
//     }
//     void ConnectionLost(std::exception_ptr) override { done_.SetResult(); }
//     coil::Future<void> done_;
//
//    private:
//     std::string out_;
//     std::string err_;
//   };
//   coil::Co<void> List() {
//     auto [transport, protocol] = co_await coil::net::SubprocessShell(
//         [] { return std::make_shared<Output>(); }, "ls -l");
//     co_await protocol->done_;
//   }
//
// Ordering: ConnectionMade() first; data of each pipe in their order, then its
//   PipeConnectionLost(); ProcessExited() at any time; when all of these have
//   come, ConnectionLost(). The functions return when ConnectionMade() has been
//   called.
// Cancellation: the child is killed, and its pipes are closed.
// Threads: the loop's thread only.
// Lifetime: see coil/net/protocol.h. A process that the child has started and
//   that has a pipe of it open keeps the transport alive.
//
// asyncio: loop.subprocess_exec, loop.subprocess_shell (A307).

#ifndef COIL_NET_SUBPROCESS_TRANSPORT_H_
#define COIL_NET_SUBPROCESS_TRANSPORT_H_

#include <memory>
#include <string>
#include <utility>

#include "coil/net/internal/protocol_factory.h"
#include "coil/net/protocol.h"
#include "coil/net/subprocess.h"
#include "coil/net/transport.h"
#include "coil/task/co.h"
#include "coil/task/internal/body.h"

namespace coil::net {

namespace internal {

Co<std::shared_ptr<SubprocessTransport>> StartSubprocess(
    Command command, std::shared_ptr<SubprocessProtocol> protocol);

COIL_LAMBDA_FRAMES_BEGIN
template <class F>
Co<Endpoint<SubprocessTransport, ProtocolOf<F>>> ConnectSubprocess(
    F factory, Command command) {
  std::shared_ptr<ProtocolOf<F>> protocol = factory();
  std::shared_ptr<SubprocessProtocol> base = protocol;
  std::shared_ptr<SubprocessTransport> transport =
      co_await StartSubprocess(std::move(command), std::move(base));
  co_return Endpoint<SubprocessTransport, ProtocolOf<F>>(std::move(transport),
                                                         std::move(protocol));
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Starts `command`, of which stdin, stdout and stderr are pipes unless they are
// set. Throws as Command::Spawn() does, and what the factory throws. asyncio:
// A307.
template <class F>
  requires internal::FactoryOf<F, SubprocessProtocol>
[[nodiscard("co_await it")]] auto SubprocessExec(F&& factory, Command command) {
  coil::internal::CheckBody<F>();
  return internal::ConnectSubprocess<coil::internal::StoredBody<F>>(
      std::forward<F>(factory), std::move(command));
}
// The same for a command line of /bin/sh. Never build one out of what a user
// has typed. asyncio: A307.
template <class F>
  requires internal::FactoryOf<F, SubprocessProtocol>
[[nodiscard("co_await it")]] auto SubprocessShell(F&& factory,
                                                  std::string command) {
  coil::internal::CheckBody<F>();
  return internal::ConnectSubprocess<coil::internal::StoredBody<F>>(
      std::forward<F>(factory), Command::Shell(std::move(command)));
}

}  // namespace coil::net

#endif  // COIL_NET_SUBPROCESS_TRANSPORT_H_
