#include "coil/net/internal/listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/debug_checks.h"
#include "coil/task/internal/future_core.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

// The connection is gone, or has failed in a way that accept() reports although
// the socket that listens is well: the next one may be good (accept(2)).
bool ConcernsOneConnection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
      return true;
    default:
      return false;
  }
}

}  // namespace

Listener::Listener(Socket socket, AcceptSink& sink, int backlog,
                   absl::Duration retry, SocketFile file)
    : Operation(Kind::kAccept),
      socket_(std::move(socket)),
      file_(std::move(file)),
      sink_(sink),
      loop_(&coil::internal::RequireLoop("net: a server")),
      poller_(&loop_->loop().GetPoller()),
      backlog_(backlog),
      retry_(retry) {
  CheckNonBlocking(*loop_, socket_.Descriptor(), "net: a server");
  loop_->Attach(this);
}

void Listener::Start() {
  if (started_ || loop_ == nullptr) return;
  socket_.Listen(backlog_);
  ring_ = poller_->Streams();
  if (ring_ != nullptr && ring_->Attach(*this, socket_.Descriptor())) {
    ring_->Start(*this);
  } else {
    ring_ = nullptr;
    poller_->Add(*this, socket_.Descriptor(), kReadable, Trigger::kLevel);
  }
  started_ = true;
}

void Listener::Close() noexcept {
  if (loop_ == nullptr) return;
  loop_->Detach(this);
  loop_->Disarm(this);
  loop_ = nullptr;
  if (ring_ != nullptr) ring_->Detach(*this);
  CloseArrived();
  poller_->Remove(*this);
  file_.Remove();
  socket_.Close();
}

void Listener::OnLoopClose() noexcept {
  ReportUnclosed(*loop_, "the server on", socket_.SockName());
  loop_->Attach(this);  // as Close() expects it
  Close();
}

int Listener::MostInOneTurn() const {
  return std::min(backlog_ + 1, kAcceptsInOneTurn);
}

void Listener::OnReady(IoEvents) noexcept {
  // A long turn polls in its midst. To accept there as well would make it
  // longer still, and in a flood of connections it would not end.
  const uint64_t turn = loop_->loop().Iterations();
  if (std::exchange(last_turn_, turn) == turn) return;
  const auto kept = coil::internal::RefPtr<AcceptSink>::Share(&sink_);
  const int most = MostInOneTurn();
  for (int i = 0; i < most; ++i) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    const int fd = coil::internal::SockSys().accept4(
        socket_.Descriptor(), address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      const int error = errno;
      if (error == EAGAIN || error == EWOULDBLOCK) return;
      if (ConcernsOneConnection(error)) continue;
      return Pause(error);
    }
    sink_.OnAccept(Socket::Adopt(fd), Address::FromSockaddr(address, size));
    if (loop_ == nullptr) return;  // that was one too many for somebody
  }
}

void Listener::OnAccepted(int fd) noexcept {
  try {
    arrived_.push_back(fd);
  } catch (const std::bad_alloc&) {
    coil::internal::CloseDescriptor(fd);
  }
  if (arrived_.size() >= static_cast<size_t>(MostInOneTurn())) {
    ring_->Stop(*this);
  }
  HandOn();
}

void Listener::OnEnd(int error) noexcept {
  if (error == coil::internal::StreamRing::kRefused) {
    std::exchange(ring_, nullptr)->Detach(*this);
    if (next_ == arrived_.size()) Fire();
    return;
  }
  // It has ended for the sake of one connection, or of what lacks.
  error_ = ConcernsOneConnection(error) ? 0 : error;
  HandOn();
}

void Listener::HandOn() noexcept {
  const uint64_t turn = loop_->loop().Iterations();
  if (std::exchange(last_turn_, turn) != turn) taken_ = 0;
  const int most = MostInOneTurn();
  const auto kept = coil::internal::RefPtr<AcceptSink>::Share(&sink_);
  while (next_ < arrived_.size()) {
    if (taken_ >= most) {
      loop_->Disarm(this);
      loop_->Arm(this, loop_->RecentNow());  // in the next turn
      return;
    }
    ++taken_;
    Socket socket = Socket::Adopt(arrived_[next_++]);
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    // It may be gone again.
    if (coil::internal::SockSys().getpeername(socket.Descriptor(), address,
                                              &size) != 0) {
      continue;
    }
    sink_.OnAccept(std::move(socket), Address::FromSockaddr(address, size));
    if (loop_ == nullptr) return;  // that was one too many for somebody
  }
  arrived_.clear();
  next_ = 0;
  if (error_ != 0) return Pause(std::exchange(error_, 0));
  if (ring_ == nullptr) return Fire();
  ring_->Start(*this);
}

void Listener::CloseArrived() noexcept {
  for (; next_ < arrived_.size(); ++next_) {
    coil::internal::CloseDescriptor(arrived_[next_]);
  }
}

void Listener::Pause(int error) noexcept {
  poller_->Remove(*this);
  loop_->Disarm(this);
  loop_->Arm(this, loop_->RecentNow() + retry_);
  Report(error, "a server cannot accept connections");
}

void Listener::Fire() noexcept {
  if (ring_ != nullptr || next_ < arrived_.size()) return HandOn();
  if (Watched()) return;
  try {
    poller_->Add(*this, socket_.Descriptor(), kReadable, Trigger::kLevel);
  } catch (const OsError& error) {
    Pause(error.Errno());
  }
}

void Listener::Report(int error, const char* message) noexcept {
  try {
    ExceptionContext context(absl::StrCat(message, "; it tries again in ",
                                          absl::FormatDuration(retry_)));
    context.exception = std::make_exception_ptr(
        OsError(error, "accept", socket_.SockName().ToString()));
    context.handle = socket_.SockName().ToString();
    loop_->Report(context);
  } catch (...) {
    // There is not even memory for a report.
  }
}

}  // namespace coil::net::internal
