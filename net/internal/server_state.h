// coil/net/internal/server_state.h
//
// What a Server is the owner of: the sockets that listen, the connections that
// they gave, and the tasks that handle them.
//
// Threads: the loop's thread only.
// Lifetime: counted: the Server, each connection and each handler hold it.

#ifndef COIL_NET_INTERNAL_SERVER_STATE_H_
#define COIL_NET_INTERNAL_SERVER_STATE_H_

#include <cstddef>
#include <memory>
#include <source_location>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/net/address.h"
#include "coil/net/internal/listener.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/socket_file.h"
#include "coil/net/internal/stream_core.h"
#include "coil/net/internal/wait_list.h"
#include "coil/net/secure_stream.h"
#include "coil/net/socket.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/task/co.h"
#include "coil/task/context_var.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {

class ServerState final : private AcceptSink, private ConnectionList {
 public:
  using Handler = absl::AnyInvocable<Co<void>(StreamReader, StreamWriter)>;

  ServerState(Handler handler, size_t limit,
              std::shared_ptr<const SecureLayer> tls, SecureOptions tls_options,
              std::source_location where);

  void Ref() noexcept override { ++references_; }
  void Unref() noexcept override {
    if (--references_ == 0) delete this;
  }

  // When one more begins, the oldest is given up. At least 1.
  void SetMaxHandshakes(size_t handshakes) { max_handshakes_ = handshakes; }

  // A bound socket, and the file that goes with it. Throws OsError.
  void AddSocket(Socket socket, int backlog, absl::Duration retry,
                 SocketFile file = SocketFile());
  // The same in `network`.
  void AddAddress(Network& network, const Address& address, int backlog,
                  bool reuse_port);
  // Throws OsError, and then the server is closed.
  void StartServing();
  // Idempotent; connections stay.
  void Close() noexcept;

  bool serving() const { return serving_ && !closed_; }
  bool closed() const { return closed_; }
  const std::vector<std::unique_ptr<Acceptor>>& listeners() const {
    return listeners_;
  }
  coil::internal::LoopCore& loop() const { return *loop_; }
  size_t Connections() const { return size(); }
  // No connection is open and no handler runs.
  bool Idle() const { return size() == 0 && !HasHandlers(); }
  bool HasHandlers() const { return first_handler_ != nullptr; }

  void CloseClients() noexcept;
  void AbortClients() noexcept;
  void CancelHandlers();
  bool IsHandler(const coil::internal::TaskCore* task) const noexcept;

  // Woken when the server closes, when the last handler has ended and when it
  // becomes idle.
  WaitList& waiters() { return waiters_; }
  bool serving_forever = false;

 private:
  class RunningHandler;

  ~ServerState() = default;

  void OnAccept(Socket socket, const Address& peer) noexcept override;
  void OnStream(std::unique_ptr<ByteStream> stream) noexcept override;
  void Accept(std::unique_ptr<ByteStream> stream);
  void ReportFailure() noexcept;
  void OnAdded() noexcept override { Ref(); }
  void OnRemoved() noexcept override;
  static Co<void> Handle(RunningHandler& running, StreamRef core);
  static Co<void> Serve(std::unique_ptr<RunningHandler> running,
                        StreamRef core);

  Handler handler_;
  size_t limit_;
  std::shared_ptr<const SecureLayer> tls_;  // null for none
  SecureOptions tls_options_;
  std::source_location where_;
  coil::internal::LoopCore* loop_;
  Context context_;
  std::vector<std::unique_ptr<Acceptor>> listeners_;
  RunningHandler* first_handler_ = nullptr;
  // In the order in which they have begun.
  RunningHandler* first_handshake_ = nullptr;
  RunningHandler* last_handshake_ = nullptr;
  size_t handshakes_ = 0;
  size_t max_handshakes_ = 1000;
  WaitList waiters_;
  size_t references_ = 0;
  bool serving_ = false;
  bool closed_ = false;
};

using ServerRef = coil::internal::RefPtr<ServerState>;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SERVER_STATE_H_
