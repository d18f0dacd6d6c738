// coil/net/internal/pipe_stream.h
//
// A ByteStream on one end of a pipe, a FIFO or a terminal, over readiness, edge
// by edge as socket_stream.h has it:
//
//   readable_   set by an edge; cleared by a failed read, and by a short one
//               where that says that nothing is left: of a pipe that was made
//               here, but not of a terminal, which gives one line at a time, or
//               of somebody's pipe, which may be one of packets
//   at_end_     the writers are gone: no edge will follow a short read; of an
//               end to write to: the readers, which is the end of its file
//   writable_   set at first and by an edge; cleared by a failed write, and of
//               a pipe by a short one
//
// Writing to a pipe that nobody reads raises SIGPIPE, for which no flag of
// write() exists. Where the kernel has RWF_NOSIGNAL (6.18) that is used, and
// elsewhere the signal is blocked around the call and taken away.
//
// Threads: the loop's thread only.
// Lifetime: lets go of the loop when either of them ends.

#ifndef COIL_NET_INTERNAL_PIPE_STREAM_H_
#define COIL_NET_INTERNAL_PIPE_STREAM_H_

#include <string>

#include "absl/types/span.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/internal/pipe_end.h"

namespace coil::net::internal {

class PipeStream final : public ByteStream,
                         private Poller::Watch,
                         private coil::internal::LoopResource {
 public:
  enum class Direction { kRead, kWrite };

  // `end` is taken over unless this throws. `name` is for people: "stdin of
  // cat". Throws as ConnectReadPipe() says.
  PipeStream(PipeEnd& end, Direction direction, std::string name);
  ~PipeStream() override { Close(false); }

  IoResult TryRead(ReadRequest& request) noexcept override;
  void StartRead(ReadRequest& request) noexcept override { read_ = &request; }
  bool CancelRead() noexcept override;
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override;
  void StartWrite(WriteRequest& request) noexcept override {
    write_ = &request;
  }
  bool CancelWrite() noexcept override;
  // A pipe has one direction: its end is the end of the stream.
  void ShutdownWrite() noexcept override { Close(false); }
  void Close(bool reset) noexcept override;
  std::string PeerText() const override { return name_; }
  int Descriptor() const override { return end_.Descriptor(); }

 private:
  void OnReady(IoEvents events) noexcept override;
  void OnLoopClose() noexcept override;
  IoResult Receive(ReadRequest& request) noexcept;
  ssize_t WriteQuietly(absl::Span<const iovec> pieces) noexcept;

  PipeEnd end_;
  bool readable_ = false;
  bool at_end_ = false;
  bool writable_ = true;
  bool short_is_all_ = false;
  bool has_nosignal_ = true;
  coil::internal::LoopCore* loop_;  // null once this is closed
  Poller* poller_;
  ReadRequest* read_ = nullptr;
  WriteRequest* write_ = nullptr;
  std::string name_;
  const bool only_writes_;
  Liveness alive_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_PIPE_STREAM_H_
