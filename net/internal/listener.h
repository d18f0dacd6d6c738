// coil/net/internal/listener.h
//
// A socket that listens: accepts what comes and hands it on. Registered
// level-triggered, so that it may stop after some connections and go on in the
// next turn of the loop.
//
// When descriptors or memory run out, nothing is accepted for a while: the
// socket stays ready, and trying at once would only burn a core. The system
// keeps the connections that wait.
//
// Threads: the loop's thread only.
// Lifetime: closes its socket; lets go of the loop when either of them ends.

#ifndef COIL_NET_INTERNAL_LISTENER_H_
#define COIL_NET_INTERNAL_LISTENER_H_

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/poller.h"
#include "coil/net/address.h"
#include "coil/net/socket.h"

namespace coil::net::internal {

// Who takes the connections. Runs no user code.
class AcceptSink {
 public:
  virtual void OnAccept(Socket socket, const Address& peer) noexcept = 0;

 protected:
  ~AcceptSink() = default;
};

class Listener final : private Poller::Watch,
                       private coil::internal::TimerNode,
                       private coil::internal::LoopResource {
 public:
  // A bound socket. REQUIRES: a running loop.
  Listener(Socket socket, AcceptSink& sink, int backlog, absl::Duration retry);
  ~Listener() { Close(); }

  // Listens and accepts from now on. Idempotent. Throws OsError.
  void Start();
  void Close() noexcept;

  const Socket& socket() const { return socket_; }

 private:
  using TimerNode = coil::internal::TimerNode;
  // Connections that are accepted in one turn, so that the others get theirs.
  static constexpr int kAcceptsInOneTurn = 64;

  void OnReady(IoEvents events) noexcept override;
  void Fire() noexcept override;
  void OnLoopClose() noexcept override;
  void Pause(int error) noexcept;
  void Report(int error, const char* message) noexcept;

  Socket socket_;
  AcceptSink& sink_;
  coil::internal::LoopCore* loop_;  // null once this is closed
  Poller* poller_;
  int backlog_;
  absl::Duration retry_;
  bool started_ = false;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_LISTENER_H_
