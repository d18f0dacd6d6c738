// coil/net/server.h
//
// Server accepts connections and runs a handler for each, as a task of its own.
// StartServer() in coil/net/streams.h makes one.
//
// Example:
//   coil::Co<void> Echo(coil::net::StreamReader reader,
//                       coil::net::StreamWriter writer) {
//     while (std::optional<std::string> line = co_await reader.Next()) {
//       co_await writer.Write(*line);
//     }
//   }
//   coil::Co<void> Serve() {
//     coil::net::Server server =
//         co_await coil::net::StartServer(Echo, "127.0.0.1", 0);
//     co_await server.ServeForever();
//   }
//
// Ordering: connections are accepted in the order of the system; their handlers
//   start in that order.
// Cancellation: a cancelled ServeForever() closes the server. A handler that is
//   cancelled closes its connection, without a report.
// Threads: the loop's thread only.
// Lifetime: the server closes with this object, which may be moved; connections
//   and their handlers go on. The sockets close with the loop, too.
//
// An error that leaves a handler is reported to the loop's exception handler,
// and the connection closes. A handler that returns closes its connection too,
// unless it has given copies of its reader or writer away.
//
// When descriptors run out, accepting pauses for a second; nothing that waits
// in the backlog is lost.
//
// asyncio: Server (A233-A242).

#ifndef COIL_NET_SERVER_H_
#define COIL_NET_SERVER_H_

#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/server_state.h"
#include "coil/net/socket.h"
#include "coil/task/co.h"

namespace coil::net {

class Server {
 public:
  // No server: closed and without sockets.
  Server() = default;
  Server(Server&& other) noexcept = default;
  Server& operator=(Server&& other) noexcept {
    if (this != &other) {
      Close();
      state_ = std::move(other.state_);
      port_ = other.port_;
    }
    return *this;
  }
  ~Server() { Close(); }

  // The port of the first socket: which one it became if it was 0. Stays after
  // Close(). Zero for a Unix socket.
  int Port() const noexcept { return port_; }
  // Those that listen; none after Close() and in a simulated network. asyncio:
  // A241.
  std::vector<SocketRef> Sockets() const;
  // Connections are being accepted. asyncio: A239.
  bool IsServing() const noexcept { return state_ && state_->serving(); }
  // How many connections are open.
  size_t Connections() const noexcept {
    return state_ ? state_->Connections() : 0;
  }

  // Begins to accept, after ServerOptions().StartServing(false). Idempotent.
  // Throws OsError, std::runtime_error after Close(). asyncio: A237.
  void StartServing();
  // Accepts until the server is closed, then returns, or until this task is
  // cancelled, then closes it. Throws std::runtime_error if it is closed
  // already, or if another task is in here. asyncio: A238, which throws
  // CancelledError in both cases and waits for the connections; Shutdown() does
  // the latter with a deadline.
  [[nodiscard("co_await it")]] Co<void> ServeForever() const;

  // Accepts no more; what is connected stays. Idempotent. asyncio: A233.
  void Close() noexcept {
    if (state_) state_->Close();
  }
  // Waits until it is closed, no connection is open and no handler runs.
  // asyncio: A240.
  [[nodiscard("co_await it")]] Co<void> WaitClosed() const;
  // Close(); then lets the handlers finish for at most `grace`; then cancels
  // those that have not, waits for them, and aborts what is still connected.
  // Throws std::runtime_error in a handler of this server, which would wait for
  // itself. Cancellation: the rest is not done.
  [[nodiscard("co_await it")]] Co<void> Shutdown(absl::Duration grace) const;

  // Close() and Abort() of the writers of all connections. asyncio: A234, A235.
  void CloseClients() const noexcept {
    if (state_) state_->CloseClients();
  }
  void AbortClients() const noexcept {
    if (state_) state_->AbortClients();
  }

  // For With(server, body): the body is given the server; after it, Close() and
  // WaitClosed(). asyncio: A242.
  [[nodiscard("co_await it")]] Co<Server&> AEnter();
  [[nodiscard("co_await it")]] Co<void> AExit(std::exception_ptr error);

  // ---- public interface ends here ----
  explicit Server(internal::ServerRef state);

 private:
  internal::ServerRef Checked() const;

  internal::ServerRef state_;
  int port_ = 0;
};

}  // namespace coil::net

#endif  // COIL_NET_SERVER_H_
