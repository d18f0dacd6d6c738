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
// Where the poller can have the kernel accept by itself, it tells of what it
// has accepted instead. More than belongs to a turn stays with the listener
// until the next one, and the kernel goes on when all of it was handed on.
//
// Threads: the loop's thread only.
// Lifetime: closes its socket; lets go of the loop when either of them ends.

#ifndef COIL_NET_INTERNAL_LISTENER_H_
#define COIL_NET_INTERNAL_LISTENER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/stream_ring.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/poller.h"
#include "coil/net/address.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/socket_file.h"
#include "coil/net/socket.h"

namespace coil::net::internal {

// Who takes the connections, and owns the listeners. A report of it reaches the
// user's exception handler, which may close or drop the server.
class AcceptSink : public StreamSink {
 public:
  virtual void OnAccept(Socket socket, const Address& peer) noexcept = 0;

 protected:
  ~AcceptSink() = default;
};

class Listener final : public Acceptor,
                       private Poller::Watch,
                       private coil::internal::StreamRing::Operation,
                       private coil::internal::TimerNode,
                       private coil::internal::LoopResource {
 public:
  // A bound socket, and the file that it has made. REQUIRES: a running loop.
  Listener(Socket socket, AcceptSink& sink, int backlog, absl::Duration retry,
           SocketFile file);
  ~Listener() override { Close(); }

  // Listens and accepts from now on. Idempotent. Throws OsError.
  void Start() override;
  void Close() noexcept override;

  Address SockName() const override { return socket_.SockName(); }
  int Descriptor() const override { return socket_.Descriptor(); }

 private:
  using TimerNode = coil::internal::TimerNode;
  // Connections that are accepted in one turn, so that the others get theirs.
  static constexpr int kAcceptsInOneTurn = 64;

  void OnReady(IoEvents events) noexcept override;
  void OnAccepted(int fd) noexcept override;
  void OnEnd(int error) noexcept override;
  void Fire() noexcept override;
  int MostInOneTurn() const;
  // Hands on what belongs to this turn. Last: this listener may die there.
  void HandOn() noexcept;
  void CloseArrived() noexcept;
  void OnLoopClose() noexcept override;
  // Last: this listener may die there.
  void Pause(int error) noexcept;
  void Report(int error, const char* message) noexcept;

  Socket socket_;
  SocketFile file_;
  AcceptSink& sink_;
  coil::internal::LoopCore* loop_;  // null once this is closed
  Poller* poller_;
  coil::internal::StreamRing* ring_ = nullptr;  // null for polls
  int backlog_;
  absl::Duration retry_;
  bool started_ = false;
  uint64_t last_turn_ = 0;  // in which something was accepted
  int taken_ = 0;           // in that turn, of those that have arrived
  // Descriptors, those from `next_` on not handed on yet.
  std::vector<int> arrived_;
  size_t next_ = 0;
  int error_ = 0;  // behind them
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_LISTENER_H_
