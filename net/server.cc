#include "coil/net/server.h"

#include <stdexcept>

#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/loop_time.h"
#include "coil/task/errors.h"
#include "coil/task/internal/task_state.h"

namespace coil::net {
namespace {

using coil::internal::LoopCore;
using internal::ServerRef;
using internal::WaitList;

// Wakes a list once, at a time.
class WakeAt final : private coil::internal::TimerNode {
 public:
  WakeAt(LoopCore& loop, LoopTime when, WaitList& list)
      : loop_(loop), list_(list) {
    if (when != LoopTime::InfiniteFuture()) loop_.Arm(this, when);
  }
  ~WakeAt() { loop_.Disarm(this); }

 private:
  void Fire() noexcept override { list_.WakeAll(); }

  LoopCore& loop_;
  WaitList& list_;
};

Co<void> ServeUntilClosed(ServerRef state) {
  if (state->closed()) {
    throw std::runtime_error("Server::ServeForever: the server is closed");
  }
  if (state->serving_forever) {
    throw std::runtime_error(
        "Server::ServeForever: another task is in it already");
  }
  struct Serving {
    explicit Serving(ServerRef state_in) : state(std::move(state_in)) {
      state->serving_forever = true;
    }
    ~Serving() {
      state->serving_forever = false;
      state->Close();
    }
    ServerRef state;
  } serving(state);
  state->StartServing();
  while (!state->closed()) {
    co_await state->waiters().Wait("the server to close");
  }
}

Co<void> UntilClosedAndIdle(ServerRef state) {
  while (!state->closed() || !state->Idle()) {
    co_await state->waiters().Wait("the connections of a server to end");
  }
}

Co<void> ShutDown(ServerRef state, absl::Duration grace) {
  coil::internal::TaskCore* task = co_await coil::internal::ThisTask();
  if (state->IsHandler(task)) {
    throw std::runtime_error(
        "Server::Shutdown: called in a handler of this server, which would "
        "wait for itself; do it in another task");
  }
  state->Close();
  LoopCore& loop = state->loop();
  const LoopTime deadline = loop.RecentNow() + grace;
  {
    WakeAt alarm(loop, deadline, state->waiters());
    while (!state->Idle() && loop.RecentNow() < deadline) {
      co_await state->waiters().Wait("the connections of a server to end");
    }
  }
  if (state->Idle()) co_return;
  state->CancelHandlers();
  while (state->HasHandlers()) {
    co_await state->waiters().Wait("the handlers of a server to end");
  }
  state->AbortClients();
}

}  // namespace

Server::Server(ServerRef state) : state_(std::move(state)) {
  if (!state_->listeners().empty()) {
    port_ = state_->listeners().front()->SockName().Port();
  }
}

ServerRef Server::Checked() const {
  if (!state_) {
    throw std::runtime_error(
        "Server: it is empty (default-constructed or moved from)");
  }
  return state_;
}

std::vector<SocketRef> Server::Sockets() const {
  std::vector<SocketRef> sockets;
  if (!state_ || state_->closed()) return sockets;
  for (const auto& listener : state_->listeners()) {
    if (listener->Descriptor() < 0) continue;
    sockets.push_back(SocketRef(listener->Descriptor()));
  }
  return sockets;
}

void Server::StartServing() {
  ServerRef state = Checked();
  if (state->closed()) {
    throw std::runtime_error("Server::StartServing: the server is closed");
  }
  state->StartServing();
}

Co<void> Server::ServeForever() const { return ServeUntilClosed(Checked()); }

Co<void> Server::WaitClosed() const { return UntilClosedAndIdle(Checked()); }

Co<void> Server::Shutdown(absl::Duration grace) const {
  return ShutDown(Checked(), grace);
}

Co<Server&> Server::AEnter() { co_return *this; }

Co<void> Server::AExit(std::exception_ptr) {
  Close();
  return WaitClosed();
}

}  // namespace coil::net
