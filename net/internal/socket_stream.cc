#include "coil/net/internal/socket_stream.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/net/internal/debug_checks.h"
#include "coil/net/internal/requests.h"
#include "coil/net/internal/ring_stream.h"
#include "coil/net/internal/send_file_call.h"
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
    : SocketStream(std::move(socket), peer, connecting,
                   static_cast<IoEvents>(kReadable | kWritable)) {}

SocketStream::SocketStream(Socket socket, const Address& peer, bool connecting,
                           IoEvents interest)
    : socket_(std::move(socket)),
      connecting_(connecting),
      loop_(&coil::internal::RequireLoop("net: a stream")),
      poller_(&loop_->loop().GetPoller()),
      peer_(peer) {
  stops_ = !peer_.IsIp();
  CheckNonBlocking(*loop_, socket_.Descriptor(), "net: a stream");
  if (interest != 0) {
    poller_->Add(*this, socket_.Descriptor(), interest, Trigger::kEdge);
  }
  loop_->Attach(this);
  if (peer_.IsIp()) {
    // A connection where this is refused works all the same.
    const int on = 1;
    SockSys().setsockopt(socket_.Descriptor(), IPPROTO_TCP, TCP_NODELAY, &on,
                         sizeof(on));
  }
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
      stops_ = !peer_.IsIp();
      return IoResult::WouldBlock();
    }
    return IoResult::Error(errno);
  }
  if (static_cast<size_t>(n) < buffer.size() && !stops_) readable_ = false;
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
  size_t asked = pieces[0].iov_len;
  ssize_t n;
  if (pieces.size() == 1) [[likely]] {
    do {
      n = SockSys().send(socket_.Descriptor(), pieces[0].iov_base, asked,
                         MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
  } else {
    for (const iovec& piece : pieces.subspan(1)) asked += piece.iov_len;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    do {
      n = SockSys().sendmsg(socket_.Descriptor(), &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
  }
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

IoResult SocketStream::TrySendFile(int file, int64_t offset,
                                   size_t count) noexcept {
  if (!writable_) {
    return loop_ != nullptr ? IoResult::WouldBlock()
                            : IoResult::Error(ECONNABORTED);
  }
  const IoResult result =
      SendFileNow(socket_.Descriptor(), file, offset, count);
  if (result.Blocked()) writable_ = false;
  return result;
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
  if (events & (kReadHangUp | kUrgent)) stops_ = true;
  if (events & kReadable) {
    readable_ = true;
    if (read_ != nullptr && !ServeRead(*this, alive_, read_)) return;
  }
  if (events & kWritable) {
    writable_ = true;
    if (write_ != nullptr) ServeWrite(*this, write_);
  }
}

void SocketStream::FinishConnect() noexcept {
  // The system tells it once; perhaps nobody waits yet.
  socklen_t size = sizeof(connect_error_);
  if (SockSys().getsockopt(socket_.Descriptor(), SOL_SOCKET, SO_ERROR,
                           &connect_error_, &size) != 0) {
    connect_error_ = errno;
  }
  connecting_ = false;
  if (write_ == nullptr) return;
  std::exchange(write_, nullptr)->OnWritten(IoResult::Bytes(0));
}

void SocketStream::Close(bool reset) noexcept {
  if (loop_ == nullptr) return;
  if (std::exchange(connecting_, false)) connect_error_ = ECONNABORTED;
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
  AbortRequests(alive_, read_, write_);
}

void SocketStream::OnLoopClose() noexcept {
  ReportUnclosed(*loop_, "the connection with", PeerName(),
                 write_ != nullptr ? "; what was to be sent is lost" : "");
  loop_->Attach(this);  // as Close() expects it
  Close(false);
}

std::unique_ptr<ConnectingStream> MakeSocketStream(Socket socket,
                                                   const Address& peer,
                                                   bool connecting) {
  LoopCore& loop = coil::internal::RequireLoop("net: a stream");
  if (auto* const ring = loop.loop().GetPoller().Streams()) {
    return std::make_unique<RingStream>(std::move(socket), peer, connecting,
                                        *ring);
  }
  return std::make_unique<SocketStream>(std::move(socket), peer, connecting);
}

void ConnectAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "connect to ", stream_.PeerName().ToString(), " (fd ",
                  stream_.Descriptor(), ")");
}

}  // namespace coil::net::internal
