// coil/net/internal/requests.h
//
// What every ByteStream does with the requests that wait in it. Each of these
// takes a request out of its place before it is told, since it may start the
// next one, and the stream may die there: nothing comes behind a call.
//
// Threads: the loop's thread only.

#ifndef COIL_NET_INTERNAL_REQUESTS_H_
#define COIL_NET_INTERNAL_REQUESTS_H_

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"

namespace coil::net::internal {

// There is something to read for `waiting`, which is given it, or reads when
// its turn comes. False if the stream has died. REQUIRES: it is not null, and a
// place in `stream`; `alive` is the stream's.
inline bool ServeRead(ByteStream& stream, Liveness& alive,
                      ByteStream::ReadRequest*& waiting) noexcept {
  if (waiting->DeferRead()) {
    waiting = nullptr;
    return true;
  }
  const IoResult result = stream.TryRead(*waiting);
  if (result.Blocked()) return true;
  const Liveness::Guard guard(alive);
  std::exchange(waiting, nullptr)->OnRead(result);
  return !guard.dead();
}

// Sends what `waiting` has, unless that would block. REQUIRES: it is not null,
// and a place in `stream`.
inline void ServeWrite(ByteStream& stream,
                       ByteStream::WriteRequest*& waiting) noexcept {
  constexpr size_t kPieces = 16;
  iovec pieces[kPieces];
  const size_t count = waiting->WritePieces(absl::MakeSpan(pieces, kPieces));
  IoResult result = IoResult::Bytes(0);
  if (count != 0) {
    result = stream.TryWrite(absl::MakeConstSpan(pieces, count));
  }
  if (!result.Blocked()) std::exchange(waiting, nullptr)->OnWritten(result);
}

// The stream is closed: whoever waits is told. `alive` is the stream's.
inline void AbortRequests(Liveness& alive, ByteStream::ReadRequest*& read,
                          ByteStream::WriteRequest*& write) noexcept {
  if (read != nullptr) {
    const Liveness::Guard guard(alive);
    std::exchange(read, nullptr)->OnRead(IoResult::Error(ECONNABORTED));
    if (guard.dead()) return;
  }
  if (write != nullptr) {
    std::exchange(write, nullptr)->OnWritten(IoResult::Error(ECONNABORTED));
  }
}

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_REQUESTS_H_
