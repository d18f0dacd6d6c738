// coil/net/internal/ring_stream.h
//
// A ByteStream on a socket for which the kernel receives by itself, where the
// poller can have it do that (io_uring). All else is as in SocketStream, which
// this goes back to if the kernel refuses.
//
//   the kernel ──OnBytes()──> chunks ──OnCallBack()──> kept_
//                                └──────> TryRead() <───┘ first
//
// It begins to receive when somebody waits for bytes, and stops when more come
// in a later turn of the loop than those that nobody has taken yet, or very
// many: then the system's buffers fill, and the peer has to wait. A chunk stays
// where the kernel has put it until it is read, or the ring runs short.
//
// The socket is polled only if it has no room for what is to be sent, or is
// connecting.
//
// Threads: the loop's thread only.
// Lifetime: lets go of the loop and of the ring when any of them ends.

#ifndef COIL_NET_INTERNAL_RING_STREAM_H_
#define COIL_NET_INTERNAL_RING_STREAM_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "coil/loop/internal/stream_ring.h"
#include "coil/loop/poller.h"
#include "coil/net/address.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/read_buffer.h"
#include "coil/net/internal/socket_stream.h"
#include "coil/net/socket.h"

namespace coil::net::internal {

class RingStream final : public SocketStream,
                         private coil::internal::StreamRing::Operation {
 public:
  RingStream(Socket socket, const Address& peer, bool connecting,
             coil::internal::StreamRing& ring);
  ~RingStream() override { Close(false); }

  IoResult TryRead(ReadRequest& request) noexcept override;
  void StartRead(ReadRequest& request) noexcept override;
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override;
  IoResult TrySendFile(int file, int64_t offset,
                       size_t count) noexcept override;
  void Close(bool reset) noexcept override;

 private:
  using Chunk = coil::internal::StreamRing::Chunk;
  // What is held for a reader before the receive is stopped.
  static constexpr size_t kMostHeld = size_t{256} << 10;

  void OnBytes(Chunk& chunk) noexcept override;
  void OnEnd(int error) noexcept override;
  void OnCallBack() noexcept override;
  void UsePolls() noexcept;
  void WatchBoth();  // throws OsError
  void DropChunks() noexcept;
  void PopChunk() noexcept;
  IoResult WatchForRoom(IoResult result) noexcept;

  coil::internal::StreamRing* ring_;  // null for polls
  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  size_t held_ = 0;    // bytes of chunks, and of kept_
  uint64_t turn_ = 0;  // in which the first of them came
  bool ended_ = false;
  int end_ = 0;  // how: an errno, or zero
  ReadBuffer kept_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_RING_STREAM_H_
