#include "coil/net/internal/sim_listener.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/internal/sim_connection.h"
#include "coil/task/internal/future_core.h"

namespace coil::net::internal {

SimListener::SimListener(std::shared_ptr<SimCore> core, SimHost& host,
                         const Address& address, int backlog, bool reuse_port,
                         StreamSink& sink)
    : core_(std::move(core)),
      host_(host),
      address_(address),
      backlog_(static_cast<size_t>(backlog)),
      reuse_port_(reuse_port),
      sink_(sink),
      timer_(*this, &SimListener::OnDue) {
  core_->listeners().push_back(this);
}

void SimListener::Start() {
  if (closed_) throw OsError(EBADF, "listen", address_.ToString());
  started_ = true;
}

void SimListener::Close() noexcept {
  if (std::exchange(closed_, true)) return;
  std::erase(core_->listeners(), this);
  core_->Disarm(timer_);
  for (const auto& connection : core_->AllConnections()) {
    if (connection->listener() == this) connection->ForgetListener();
  }
  // Whoever is in the backlog has been answered, and is reset now.
  for (const auto& connection : std::exchange(queue_, {})) {
    connection->Close(SimConnection::kServer, /*reset=*/true);
  }
}

bool SimListener::TakePlace() noexcept {
  if (half_open_ + queue_.size() > backlog_) return false;
  ++half_open_;
  return true;
}

void SimListener::Completed(std::shared_ptr<SimConnection> connection) {
  --half_open_;
  queue_.push_back(std::move(connection));
  AcceptSoon();
}

void SimListener::AcceptSoon() noexcept {
  if (closed_ || queue_.empty() || !host_.accepting || timer_.Armed()) return;
  core_->Arm(timer_, core_->Now());
}

void SimListener::OnDue() noexcept {
  const auto kept = coil::internal::RefPtr<StreamSink>::Share(&sink_);
  const size_t most = std::min(backlog_ + 1, kAcceptsInOneTurn);
  for (size_t i = 0; i < most && !queue_.empty() && host_.accepting; ++i) {
    const std::shared_ptr<SimConnection> connection = std::move(queue_.front());
    queue_.pop_front();
    sink_.OnStream(connection->Accept());
    if (closed_) return;
  }
  AcceptSoon();
}

}  // namespace coil::net::internal
