// coil/net/internal/socket_stream.h
//
// A ByteStream on a socket, over readiness: registered once, edge-triggered,
// for both directions. Each call is tried first; a call that found less than
// it asked for has emptied (or filled) the socket, so nothing is tried again
// before the next edge:
//
//   readable_   set by an edge, cleared by a failed recv, and by a short one
//               unless `stops_`
//   stops_      a recv may stop before the end of what is there, and no edge
//               tells of the rest: an end of file or an error; what lies behind
//               urgent data of TCP, whose byte is left out. Until a recv fails;
//               with a Unix socket always, since there it also stops at a
//               descriptor that was sent along
//   writable_   set at first and by an edge, cleared by a short or failed send
//
// Threads: the loop's thread only.
// Lifetime: lets go of the loop when either of them ends.

#ifndef COIL_NET_INTERNAL_SOCKET_STREAM_H_
#define COIL_NET_INTERNAL_SOCKET_STREAM_H_

#include <netinet/in.h>

#include <memory>
#include <string>

#include "absl/types/span.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/internal/network.h"
#include "coil/net/socket.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil::net::internal {

// The address of a peer in 28 bytes: of a Unix socket only that it is one.
class CompactAddress {
 public:
  CompactAddress() = default;
  explicit CompactAddress(const Address& address) noexcept;
  Address Get() const noexcept;
  bool IsIp() const noexcept {
    return bytes_.sin6_family == AF_INET || bytes_.sin6_family == AF_INET6;
  }

 private:
  sockaddr_in6 bytes_ = {};
};

// A server has thousands of them and comes to each for a moment: what an event
// and a read need lies in one line of the cache, at the beginning.
class SocketStream : public coil::internal::PoolAllocated,
                     public ConnectingStream,
                     protected Poller::Watch,
                     private coil::internal::LoopResource {
 public:
  // Of a connected socket, or one that is connecting. Throws OsError if the
  // loop cannot watch it, std::runtime_error without a running loop.
  SocketStream(Socket socket, const Address& peer, bool connecting = false);
  ~SocketStream() override { Close(false); }

  IoResult TryRead(ReadRequest& request) noexcept override;
  void StartRead(ReadRequest& request) noexcept override;
  bool CancelRead() noexcept override;
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override;
  void StartWrite(WriteRequest& request) noexcept override;
  bool CancelWrite() noexcept override;
  IoResult TrySendFile(int file, int64_t offset,
                       size_t count) noexcept override;
  void ShutdownWrite() noexcept override;
  void Close(bool reset) noexcept override;
  Address PeerName() const override { return peer_.Get(); }
  Address SockName() const override { return socket_.SockName(); }
  int Descriptor() const override { return socket_.Descriptor(); }

  void StartConnect(WriteRequest& request) noexcept override {
    write_ = &request;
  }
  bool connecting() const override { return connecting_; }
  int connect_error() const override { return connect_error_; }

 protected:
  // The same, watched for `interest` only; not at all if there is none.
  SocketStream(Socket socket, const Address& peer, bool connecting,
               IoEvents interest);
  void OnReady(IoEvents events) noexcept override;

 private:
  void OnLoopClose() noexcept override;
  void FinishConnect() noexcept;
  IoResult Receive(ReadRequest& request) noexcept;

 protected:
  Socket socket_;
  bool connecting_;
  bool readable_ = false;
  bool stops_;
  bool writable_ = true;
  ReadRequest* read_ = nullptr;
  WriteRequest* write_ = nullptr;
  coil::internal::LoopCore* loop_;  // null once this is closed
  Liveness alive_;
  Poller* poller_;

 private:
  CompactAddress peer_;
  int connect_error_ = 0;
};

// What the poller of the loop that runs does best. Throws as the constructor.
std::unique_ptr<ConnectingStream> MakeSocketStream(Socket socket,
                                                   const Address& peer,
                                                   bool connecting = false);

// Waits until a stream is connected; gives the errno, zero if it is.
class ConnectAwaiter final : public coil::internal::LeafAwaiter<ConnectAwaiter>,
                             private ByteStream::WriteRequest {
 public:
  explicit ConnectAwaiter(ConnectingStream& stream) : stream_(stream) {}
  ConnectAwaiter(ConnectAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)), WriteRequest(), stream_(other.stream_) {}
  ~ConnectAwaiter() { Dispose(); }

  bool Ready() noexcept { return !stream_.connecting(); }
  void Arm() noexcept { stream_.StartConnect(*this); }
  void Unlink() noexcept { stream_.CancelWrite(); }
  void GiveBack() noexcept {}
  int Take() noexcept { return stream_.connect_error(); }
  void DescribeWait(std::string* out) const override;

 private:
  size_t WritePieces(absl::Span<iovec>) noexcept override { return 0; }
  void OnWritten(IoResult) noexcept override { Grant(); }

  ConnectingStream& stream_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SOCKET_STREAM_H_
