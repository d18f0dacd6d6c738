#include "coil/net/pipe.h"

#include <memory>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/internal/pipe_stream.h"
#include "coil/net/internal/stream_core.h"

namespace coil::net {
namespace {

using internal::PipeStream;
using internal::StreamCore;
using internal::StreamRef;

StreamRef Connect(PipeEnd& end, PipeStream::Direction direction, size_t limit) {
  if (limit == 0) {
    throw std::invalid_argument("net: the limit of a stream is at least 1");
  }
  return StreamRef::Share(new StreamCore(
      std::make_unique<PipeStream>(end, direction, "a pipe"), limit));
}

// A descriptor of the caller, who keeps it if this fails.
StreamRef Connect(int fd, PipeStream::Direction direction, size_t limit) {
  PipeEnd end = PipeEnd::Adopt(fd);
  try {
    return Connect(end, direction, limit);
  } catch (...) {
    end.Release();
    throw;
  }
}

}  // namespace

PipeEnds MakePipe() {
  PipeEnd read_end;
  PipeEnd write_end;
  if (const int error = internal::OpenPipe(read_end, write_end)) {
    throw OsError(error, "pipe");
  }
  return PipeEnds(std::move(read_end), std::move(write_end));
}

StreamReader ConnectReadPipe(PipeEnd end, size_t limit) {
  return StreamReader(Connect(end, PipeStream::Direction::kRead, limit));
}

StreamReader ConnectReadPipe(int fd, size_t limit) {
  return StreamReader(Connect(fd, PipeStream::Direction::kRead, limit));
}

StreamWriter ConnectWritePipe(PipeEnd end) {
  return StreamWriter(
      Connect(end, PipeStream::Direction::kWrite, kDefaultLimit));
}

StreamWriter ConnectWritePipe(int fd) {
  return StreamWriter(
      Connect(fd, PipeStream::Direction::kWrite, kDefaultLimit));
}

}  // namespace coil::net
