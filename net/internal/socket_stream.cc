#include "coil/net/internal/socket_stream.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {

using coil::internal::LoopCore;
using coil::internal::SockSys;

CompactAddress::CompactAddress(const Address& address) noexcept {
  if (address.IsIp()) {
    std::memcpy(&bytes_, address.Data(), address.Size());
  } else {
    bytes_.sin6_family = static_cast<sa_family_t>(address.Family());
  }
}

Address CompactAddress::Get() const noexcept {
  const socklen_t size =
      bytes_.sin6_family == AF_UNIX ? sizeof(sa_family_t) : sizeof(bytes_);
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&bytes_),
                               size);
}

SocketStream::SocketStream(Socket socket, const Address& peer, bool connecting)
    : socket_(std::move(socket)),
      connecting_(connecting),
      loop_(&coil::internal::RequireLoop("net: a stream")),
      poller_(&loop_->loop().GetPoller()),
      peer_(peer) {
  poller_->Add(*this, socket_.Descriptor(),
               static_cast<IoEvents>(kReadable | kWritable), Trigger::kEdge);
  loop_->Attach(this);
}

IoResult SocketStream::Receive(ReadRequest& request) noexcept {
  const absl::Span<char> buffer = request.ReadBuffer();
  if (buffer.empty()) return IoResult::Error(ENOMEM);
  ssize_t n;
  do {
    n = SockSys().recv(socket_.Descriptor(), buffer.data(), buffer.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      readable_ = false;
      return IoResult::WouldBlock();
    }
    return IoResult::Error(errno);
  }
  if (static_cast<size_t>(n) < buffer.size() && !at_end_) readable_ = false;
  return IoResult::Bytes(static_cast<size_t>(n));
}

IoResult SocketStream::TryRead(ReadRequest& request) noexcept {
  if (!readable_) [[likely]] {
    return loop_ != nullptr ? IoResult::WouldBlock()
                            : IoResult::Error(ECONNABORTED);
  }
  return Receive(request);
}

void SocketStream::StartRead(ReadRequest& request) noexcept {
  read_ = &request;
}

bool SocketStream::CancelRead() noexcept {
  read_ = nullptr;
  return true;
}

IoResult SocketStream::TryWrite(absl::Span<const iovec> pieces) noexcept {
  if (!writable_) {
    return loop_ != nullptr ? IoResult::WouldBlock()
                            : IoResult::Error(ECONNABORTED);
  }
  size_t asked = 0;
  for (const iovec& piece : pieces) asked += piece.iov_len;
  ssize_t n;
  do {
    if (pieces.size() == 1) {
      n = SockSys().send(socket_.Descriptor(), pieces[0].iov_base,
                         pieces[0].iov_len, MSG_NOSIGNAL);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(pieces.data());
      message.msg_iovlen = pieces.size();
      n = SockSys().sendmsg(socket_.Descriptor(), &message, MSG_NOSIGNAL);
    }
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      writable_ = false;
      return IoResult::WouldBlock();
    }
    return IoResult::Error(errno);
  }
  if (static_cast<size_t>(n) < asked) writable_ = false;
  return IoResult::Bytes(static_cast<size_t>(n));
}

void SocketStream::StartWrite(WriteRequest& request) noexcept {
  write_ = &request;
}

bool SocketStream::CancelWrite() noexcept {
  write_ = nullptr;
  return true;
}

void SocketStream::ShutdownWrite() noexcept {
  // ENOTCONN: the peer has reset the connection; whoever reads will see it.
  if (socket_) SockSys().shutdown(socket_.Descriptor(), SHUT_WR);
}

void SocketStream::OnReady(IoEvents events) noexcept {
  if (connecting_) {
    if ((events & (kWritable | kHangUp)) == 0) return;
    FinishConnect();
  }
  if (events & kReadHangUp) at_end_ = true;
  if (events & kReadable) {
    readable_ = true;
    if (read_ != nullptr) {
      const IoResult result = Receive(*read_);
      if (!result.Blocked()) std::exchange(read_, nullptr)->OnRead(result);
    }
  }
  if (events & kWritable) {
    writable_ = true;
    if (write_ == nullptr) return;
    constexpr size_t kPieces = 16;
    iovec pieces[kPieces];
    const size_t count = write_->WritePieces(absl::MakeSpan(pieces, kPieces));
    const IoResult result = TryWrite(absl::MakeConstSpan(pieces, count));
    // Last: this stream may die there.
    if (!result.Blocked()) std::exchange(write_, nullptr)->OnWritten(result);
  }
}

void SocketStream::FinishConnect() noexcept {
  int error = 0;
  socklen_t size = sizeof(error);
  if (SockSys().getsockopt(socket_.Descriptor(), SOL_SOCKET, SO_ERROR, &error,
                           &size) != 0) {
    error = errno;
  }
  connecting_ = false;
  if (write_ == nullptr) return;
  std::exchange(write_, nullptr)
      ->OnWritten(error == 0 ? IoResult::Bytes(0) : IoResult::Error(error));
}

void SocketStream::Close(bool reset) noexcept {
  if (loop_ == nullptr) return;
  loop_->Detach(this);
  loop_ = nullptr;
  readable_ = writable_ = false;
  poller_->Remove(*this);
  if (reset) {
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    SockSys().setsockopt(socket_.Descriptor(), SOL_SOCKET, SO_LINGER, &at_once,
                         sizeof(at_once));
  }
  socket_.Close();
  if (read_ != nullptr) {
    std::exchange(read_, nullptr)->OnRead(IoResult::Error(ECONNABORTED));
  }
  if (write_ != nullptr) {
    std::exchange(write_, nullptr)->OnWritten(IoResult::Error(ECONNABORTED));
  }
}

void SocketStream::OnLoopClose() noexcept {
  loop_->Attach(this);  // as Close() expects it
  Close(false);
}

void ConnectAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "connect to ", stream_.PeerName().ToString(), " (fd ",
                  stream_.Descriptor(), ")");
}

}  // namespace coil::net::internal
