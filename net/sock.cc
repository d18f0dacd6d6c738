#include "coil/net/sock.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/debug_checks.h"
#include "coil/net/internal/file_part.h"
#include "coil/net/internal/loop_local.h"
#include "coil/net/internal/resolve.h"
#include "coil/net/internal/scratch.h"
#include "coil/net/internal/send_file_call.h"
#include "coil/net/internal/sock_waits.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/to_thread.h"
#include "coil/timers/sleep.h"

namespace coil::net {
namespace {

using coil::internal::SockSys;
using internal::Direction;
using internal::LoopLocal;
using internal::ReadyAwaiter;
using internal::Scratch;
using internal::SockWaits;
using internal::TurnAwaiter;

// Where a call waits, after a look whether it may.
SockWaits& Begin(const char* operation, SocketRef socket, Direction direction) {
  coil::internal::LoopCore& loop = coil::internal::RequireLoop(operation);
  const int fd = socket.Descriptor();
  if (fd < 0) throw OsError(EBADF, operation);
  internal::CheckNonBlocking(loop, fd, operation);
  SockWaits& waits = LoopLocal<SockWaits>::Of(loop);
  ReadyAwaiter(waits, fd, direction, operation).Validate();
  return waits;
}

char* ScratchBytes(const char* operation) {
  return LoopLocal<Scratch>::Of(coil::internal::RequireLoop(operation))
      .bytes.get();
}

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

[[noreturn]] void Throw(int error, const char* operation, SocketRef socket) {
  const Address peer = socket.PeerName();
  throw OsError(
      error, operation,
      peer ? peer.ToString() : absl::StrCat("fd ", socket.Descriptor()));
}

// One recvfrom(). The number of bytes, or an errno below zero.
ssize_t ReceiveFrom(SocketRef socket, absl::Span<char> out, Address* from) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  const ssize_t n =
      SockSys().recvfrom(socket.Descriptor(), out.data(), out.size(),
                         MSG_DONTWAIT, address, &size);
  if (n < 0) return -errno;
  *from = size != 0 ? Address::FromSockaddr(address, size) : socket.PeerName();
  return n;
}

// The same of a stream.
ssize_t Receive(SocketRef socket, absl::Span<char> out) {
  const ssize_t n =
      SockSys().recv(socket.Descriptor(), out.data(), out.size(), MSG_DONTWAIT);
  return n < 0 ? -errno : n;
}

// Calls `receive` with room for `n` bytes, and gives what it left there.
template <class F>
ssize_t IntoString(size_t n, const char* operation, std::string* out,
                   F receive) {
  ssize_t got;
  if (n <= internal::kScratchSize) {
    char* scratch = ScratchBytes(operation);
    got = receive(absl::MakeSpan(scratch, n));
    if (got > 0) out->assign(scratch, static_cast<size_t>(got));
  } else {
    std::string room(n, '\0');
    got = receive(absl::MakeSpan(room));
    if (got > 0) {
      room.resize(static_cast<size_t>(got));
      *out = std::move(room);
    }
  }
  return got;
}

}  // namespace

Co<std::string> SockRecv(SocketRef socket, size_t n) {
  SockWaits& waits = Begin("SockRecv", socket, Direction::kRead);
  co_await TurnAwaiter();
  std::string data;
  for (;;) {
    const ssize_t got = IntoString(
        n, "SockRecv", &data,
        [socket](absl::Span<char> room) { return Receive(socket, room); });
    if (got >= 0) co_return data;
    const int error = static_cast<int>(-got);
    if (error == EINTR) continue;
    if (!WouldBlock(error)) Throw(error, "receive", socket);
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kRead,
                          "SockRecv");
  }
}

Co<size_t> SockRecvInto(SocketRef socket, absl::Span<char> out) {
  SockWaits& waits = Begin("SockRecvInto", socket, Direction::kRead);
  co_await TurnAwaiter();
  for (;;) {
    const ssize_t got = Receive(socket, out);
    if (got >= 0) co_return static_cast<size_t>(got);
    const int error = static_cast<int>(-got);
    if (error == EINTR) continue;
    if (!WouldBlock(error)) Throw(error, "receive", socket);
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kRead,
                          "SockRecvInto");
  }
}

Co<SockDatagram> SockRecvFrom(SocketRef socket, size_t n) {
  SockWaits& waits = Begin("SockRecvFrom", socket, Direction::kRead);
  co_await TurnAwaiter();
  SockDatagram datagram;
  for (;;) {
    const ssize_t got =
        IntoString(n, "SockRecvFrom", &datagram.data,
                   [socket, &datagram](absl::Span<char> room) {
                     return ReceiveFrom(socket, room, &datagram.from);
                   });
    if (got >= 0) co_return datagram;
    const int error = static_cast<int>(-got);
    if (error == EINTR) continue;
    if (!WouldBlock(error)) Throw(error, "receive", socket);
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kRead,
                          "SockRecvFrom");
  }
}

Co<SockSize> SockRecvFromInto(SocketRef socket, absl::Span<char> out,
                              size_t n) {
  if (n > out.size()) {
    throw std::invalid_argument(absl::StrCat("SockRecvFromInto: ", n,
                                             " bytes are more than the ",
                                             out.size(), " of the buffer"));
  }
  if (n != 0) out = out.first(n);
  SockWaits& waits = Begin("SockRecvFromInto", socket, Direction::kRead);
  co_await TurnAwaiter();
  SockSize result;
  for (;;) {
    const ssize_t got = ReceiveFrom(socket, out, &result.from);
    if (got >= 0) {
      result.size = static_cast<size_t>(got);
      co_return result;
    }
    const int error = static_cast<int>(-got);
    if (error == EINTR) continue;
    if (!WouldBlock(error)) Throw(error, "receive", socket);
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kRead,
                          "SockRecvFromInto");
  }
}

// Counts in `part`, if there is one, what was sent.
static Co<void> SendAll(SocketRef socket, std::string_view data,
                        internal::FilePart* part) {
  SockWaits& waits = Begin("SockSendAll", socket, Direction::kWrite);
  co_await TurnAwaiter();
  while (!data.empty()) {
    const ssize_t n = SockSys().send(socket.Descriptor(), data.data(),
                                     data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    const int error = errno;
    if (n >= 0) {
      data.remove_prefix(static_cast<size_t>(n));
      if (part != nullptr) part->Advance(static_cast<size_t>(n));
    } else if (WouldBlock(error)) {
      co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kWrite,
                            "SockSendAll");
    } else if (error != EINTR) {
      Throw(error, "send", socket);
    }
  }
}

Co<void> SockSendAll(SocketRef socket, std::string_view data) {
  return SendAll(socket, data, nullptr);
}

Co<uint64_t> SockSendFile(SocketRef socket, int fd, SendFileOptions options) {
  constexpr int kRoundsInOneTurn = 16;
  SockWaits& waits = Begin("SockSendFile", socket, Direction::kWrite);
  if (socket.GetOption(SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
    throw std::invalid_argument("SockSendFile: not a stream socket");
  }
  internal::FilePart part("SockSendFile", fd, options);
  co_await TurnAwaiter();
  bool native = part.regular();
  for (int round = 1; native && !part.Complete(); ++round) {
    if (round % kRoundsInOneTurn == 0) co_await Yield();
    const IoResult result =
        internal::SendFileNow(socket.Descriptor(), fd, part.offset(),
                              part.Next(internal::FilePart::kNativeChunk));
    if (result.Blocked()) {
      co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kWrite,
                            "SockSendFile");
    } else if (result.Ok()) {
      if (result.bytes() == 0) break;
      part.Advance(result.bytes());
    } else if (part.sent() == 0 &&
               internal::FilePart::Unavailable(result.error())) {
      native = false;
    } else if (internal::FilePart::FileFailed(result.error())) {
      part.ThrowFileError(result.error());
    } else {
      Throw(result.error(), "send", socket);
    }
  }
  if (native) co_return part.sent();
  if (!options.fallback()) part.ThrowUnavailable();
  std::string block(part.Next(internal::FilePart::kBlock), '\0');
  while (!part.Complete()) {
    const size_t wanted = part.Next(block.size());
    const int64_t n =
        co_await ToThread([&] { return part.Read(block.data(), wanted); });
    if (n == -EAGAIN) continue;
    if (n < 0) part.ThrowFileError(static_cast<int>(-n));
    if (n == 0) break;
    const auto size = static_cast<size_t>(n);
    co_await SendAll(socket, std::string_view(block.data(), size), &part);
  }
  co_return part.sent();
}

Co<size_t> SockSendTo(SocketRef socket, std::string_view data, Address to) {
  SockWaits& waits = Begin("SockSendTo", socket, Direction::kWrite);
  co_await TurnAwaiter();
  for (;;) {
    const ssize_t n = SockSys().sendto(socket.Descriptor(), data.data(),
                                       data.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                       to ? to.Data() : nullptr, to.Size());
    const int error = errno;
    if (n >= 0) co_return static_cast<size_t>(n);
    if (error == EINTR) continue;
    if (!WouldBlock(error)) throw OsError(error, "send", to.ToString());
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kWrite,
                          "SockSendTo");
  }
}

Co<void> SockConnect(SocketRef socket, Address address) {
  SockWaits& waits = Begin("SockConnect", socket, Direction::kWrite);
  if (SockSys().connect(socket.Descriptor(), address.Data(), address.Size()) ==
      0) {
    co_return;
  }
  int error = errno;
  // An interrupted connect goes on in the background, as one in progress does;
  // so does one whose task was cancelled. EAGAIN is none of them: that the
  // queue of a Unix socket is full.
  if (error == EINPROGRESS || error == EINTR || error == EALREADY) {
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kWrite,
                          "SockConnect");
    error = socket.GetOption(SOL_SOCKET, SO_ERROR);
  }
  if (error != 0) throw OsError(error, "connect", address.ToString());
}

Co<void> SockConnect(SocketRef socket, std::string host, int port) {
  Begin("SockConnect", socket, Direction::kWrite);
  const std::vector<Address> addresses = co_await internal::ResolveHost(
      std::move(host), port, socket.SockName().Family(), nullptr);
  co_await SockConnect(socket, addresses.front());
}

Co<SockAccepted> SockAccept(SocketRef socket) {
  SockWaits& waits = Begin("SockAccept", socket, Direction::kRead);
  co_await TurnAwaiter();
  for (;;) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    const int fd = SockSys().accept4(socket.Descriptor(), address, &size,
                                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int error = errno;
    if (fd >= 0) {
      SockAccepted accepted;
      accepted.socket = Socket::Adopt(fd);
      accepted.peer = Address::FromSockaddr(address, size);
      co_return accepted;
    }
    if (error == EINTR) continue;
    if (!WouldBlock(error)) {
      throw OsError(error, "accept", socket.SockName().ToString());
    }
    co_await ReadyAwaiter(waits, socket.Descriptor(), Direction::kRead,
                          "SockAccept");
  }
}

}  // namespace coil::net
