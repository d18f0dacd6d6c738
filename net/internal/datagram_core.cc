#include "coil/net/internal/datagram_core.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/net/internal/loop_local.h"
#include "coil/net/internal/scratch.h"

namespace coil::net::internal {

using coil::internal::SockSys;

namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Milliseconds(64);

}  // namespace

DatagramCore::DatagramCore(Socket socket, const Address& remote, bool connected,
                           SocketFile file)
    : socket_(std::move(socket)),
      file_(std::move(file)),
      remote_(remote),
      connected_(connected),
      family_(socket_.SockName().Family()),
      home_(&coil::internal::RequireLoop("net: a datagram socket")),
      loop_(home_),
      poller_(&home_->loop().GetPoller()),
      scratch_(LoopLocal<Scratch>::Of(*home_).bytes.get()),
      pause_(kFirstPause) {
  poller_->Add(*this, socket_.Descriptor(),
               static_cast<IoEvents>(kReadable | kWritable), Trigger::kEdge);
  loop_->Attach(this);
}

DatagramCore::DatagramCore(std::unique_ptr<DatagramPort> port,
                           const Address& remote, bool connected)
    : port_(std::move(port)),
      remote_(remote),
      connected_(connected),
      family_(port_->SockName().Family()),
      writable_(false),
      home_(&coil::internal::RequireLoop("net: a datagram socket")),
      loop_(home_),
      poller_(nullptr),
      scratch_(nullptr),
      pause_(kFirstPause) {
  port_->SetOwner(this);
  loop_->Attach(this);
}

Address DatagramCore::SockName() const noexcept {
  return port_ != nullptr ? port_->SockName() : socket_.SockName();
}

std::string DatagramCore::SockText() const {
  return closed() ? "a closed socket" : SockName().ToString();
}

// ---- receiving

bool DatagramCore::TryReceive(Incoming& incoming) noexcept {
  if (returned_.has_value()) [[unlikely]] {
    // What a cancelled task has left, into the memory of this one.
    const absl::Span<char> room = incoming.room;
    incoming = std::move(*returned_);
    returned_.reset();
    incoming.room = room;
    incoming.size = std::min(room.size(), incoming.rest.size());
    incoming.rest.copy(room.data(), incoming.size);
    incoming.rest.erase(0, incoming.size);
    return true;
  }
  if (closed()) [[unlikely]] {
    incoming.error = ECONNABORTED;
    return true;
  }
  if (!readable_) {
    if (port_ == nullptr) return false;
    ++streak_;
    return port_->Receive(incoming);
  }
  ++streak_;
  return Receive(incoming);
}

bool DatagramCore::Receive(Incoming& incoming) noexcept {
  sockaddr_storage storage;
  iovec pieces[2] = {{incoming.room.data(), incoming.room.size()},
                     {scratch_, kScratchSize}};
  // A caller who wants more than that has brought the memory for it.
  if (!incoming.rest.empty()) {
    pieces[1] = {incoming.rest.data(), incoming.rest.size()};
  }
  msghdr message{};
  message.msg_name = &storage;
  message.msg_namelen = sizeof(storage);
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  ssize_t n;
  do {
    n = SockSys().recvmsg(socket_.Descriptor(), &message, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      readable_ = false;
      return false;
    }
    // Of an earlier datagram, as a rule; the socket goes on.
    incoming.error = errno;
    return true;
  }
  const auto size = static_cast<size_t>(n);
  incoming.size = std::min(size, incoming.room.size());
  incoming.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  try {
    if (!incoming.rest.empty()) {
      incoming.rest.resize(size - incoming.size);
    } else {
      incoming.rest.assign(scratch_, size - incoming.size);
    }
  } catch (const std::bad_alloc&) {
    incoming.error = ENOMEM;
    return true;
  }
  if (message.msg_namelen != 0) {
    incoming.from = Address::FromSockaddr(reinterpret_cast<sockaddr*>(&storage),
                                          message.msg_namelen);
  } else if (connected_) {
    incoming.from = remote_;
  }
  return true;
}

void DatagramCore::PutBack(Incoming& incoming) noexcept {
  try {
    Incoming whole;
    whole.rest.reserve(incoming.size + incoming.rest.size());
    whole.rest.assign(incoming.room.data(), incoming.size);
    whole.rest += incoming.rest;
    whole.from = incoming.from;
    whole.truncated = incoming.truncated;
    whole.error = incoming.error;
    returned_.emplace(std::move(whole));
  } catch (const std::bad_alloc&) {
    returned_.emplace();
    returned_->error = ENOMEM;
  }
}

// ---- sending

bool DatagramCore::TrySend(Sender& sender) noexcept {
  if (closed()) [[unlikely]] {
    sender.error = ECONNABORTED;
    return true;
  }
  if (!writable_) return port_ != nullptr && SendToPort(sender);
  const Address* to = sender.to.has_value() ? &*sender.to : nullptr;
  if (to == nullptr && !connected_) to = &remote_;
  ssize_t n;
  do {
    n = SockSys().sendto(socket_.Descriptor(), sender.data.data(),
                         sender.data.size(), MSG_NOSIGNAL,
                         to != nullptr ? to->Data() : nullptr,
                         to != nullptr ? to->Size() : 0);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) {
    pause_ = kFirstPause;
    return true;
  }
  const bool full = errno == EAGAIN || errno == EWOULDBLOCK;
  if (!full && errno != ENOBUFS) {
    sender.error = errno;
    return true;
  }
  writable_ = false;
  // No event says that a device has room again, nor that the queue of another
  // Unix socket has, to which this one is not connected.
  if (!full || (family_ == AF_UNIX && !connected_)) {
    loop_->Disarm(this);
    loop_->Arm(this, loop_->RecentNow() + pause_);
    pause_ = std::min(pause_ * 2, kLongestPause);
  }
  return false;
}

bool DatagramCore::SendToPort(Sender& sender) noexcept {
  if (first_sender_ != nullptr && first_sender_ != &sender) return false;
  const Address* to = sender.to.has_value() ? &*sender.to : nullptr;
  if (to == nullptr && !connected_) to = &remote_;
  const int error = port_->Send(sender.data, to);
  if (error == EAGAIN) return false;
  sender.error = error;
  return true;
}

void DatagramCore::AddSender(Sender& sender) noexcept {
  sender.previous_ = last_sender_;
  sender.next_ = nullptr;
  (last_sender_ != nullptr ? last_sender_->next_ : first_sender_) = &sender;
  last_sender_ = &sender;
}

void DatagramCore::RemoveSender(Sender& sender) noexcept {
  (sender.previous_ != nullptr ? sender.previous_->next_ : first_sender_) =
      sender.next_;
  (sender.next_ != nullptr ? sender.next_->previous_ : last_sender_) =
      sender.previous_;
}

void DatagramCore::Flush() noexcept {
  while (first_sender_ != nullptr && TrySend(*first_sender_)) {
    Sender& sender = *first_sender_;
    RemoveSender(sender);
    sender.OnSent();
  }
}

// ---- events

void DatagramCore::OnReady(IoEvents events) noexcept {
  if (events & kReadable) {
    readable_ = true;
    if (armed_ && Receive(receiver_->incoming)) {
      armed_ = false;
      receiver_->OnReceived();
    }
  }
  if (events & kWritable) {
    writable_ = true;
    Flush();
  }
}

void DatagramCore::OnArrival() noexcept {
  if (armed_ && port_->Receive(receiver_->incoming)) {
    armed_ = false;
    receiver_->OnReceived();
  }
}

void DatagramCore::Fire() noexcept {
  writable_ = true;
  Flush();
}

void DatagramCore::Close() noexcept {
  if (loop_ == nullptr) return;
  loop_->Detach(this);
  loop_->Disarm(this);
  loop_ = nullptr;
  if (poller_ != nullptr) poller_->Remove(*this);
  port_.reset();
  file_.Remove();
  socket_.Close();
  if (std::exchange(armed_, false)) {
    receiver_->incoming.error = ECONNABORTED;
    receiver_->OnReceived();
  }
  Flush();  // each with ECONNABORTED
}

void DatagramCore::OnLoopClose() noexcept {
  loop_->Attach(this);  // as Close() expects it
  Close();
}

}  // namespace coil::net::internal
