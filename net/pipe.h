// coil/net/pipe.h
//
// Streams on pipes: ConnectReadPipe() and ConnectWritePipe() make a
// StreamReader or a StreamWriter of one end of a pipe, of a FIFO or of a
// terminal. MakePipe() makes a pipe; PipeEnd owns the descriptor of an end. For
// the pipes of a child process see coil/net/subprocess.h.
//
// Example:
//   coil::Co<std::string> ThroughAPipe() {
//     auto [read_end, write_end] = coil::net::MakePipe();
//     coil::net::StreamReader reader =
//         coil::net::ConnectReadPipe(std::move(read_end));
//     coil::net::StreamWriter writer =
//         coil::net::ConnectWritePipe(std::move(write_end));
//     co_await writer.Write("hello\n");
//     co_return co_await reader.ReadLine();
//   }
//
// Ordering: as the stream's: bytes keep their order.
// Cancellation: nothing here waits; the streams keep what was received, and
//   never send a part of a Write() only.
// Threads: the loop's thread only. A PipeEnd may be moved to another thread
//   until a stream is made of it.
// Lifetime: the descriptor is closed with the last reader or writer that shares
//   it. To go on using one, as one's own standard input, give a dup() of it.
//
// The reader is at its end when the last writer of the pipe has closed it. When
// the last reader has gone, Write() throws OsError with EPIPE; no SIGPIPE is
// raised, whatever the program does about that signal. WriteEof() closes: a
// pipe has one direction.
//
// The descriptor is made non-blocking. That is a property of the open file,
// which other processes may share: a terminal most of all.
//
// asyncio: connect_read_pipe (A229), connect_write_pipe (A230); both are plain
// functions here, because they never wait.

#ifndef COIL_NET_PIPE_H_
#define COIL_NET_PIPE_H_

#include <cstddef>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/internal/pipe_end.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"

namespace coil::net {

// Both ends of a pipe: auto [read_end, write_end] = MakePipe();
struct PipeEnds {
  PipeEnds(PipeEnd read_end_in, PipeEnd write_end_in)
      : read_end(std::move(read_end_in)), write_end(std::move(write_end_in)) {}
  PipeEnd read_end;
  PipeEnd write_end;
};

// A new pipe, closed in children; its ends block until a stream is made of
// them, so that one of them may be given to a child process. Throws OsError.
PipeEnds MakePipe();

// Reads from a pipe, a FIFO, a socket or a terminal. Throws
// std::invalid_argument for what cannot be waited for (a regular file, a
// folder, /dev/null), for a descriptor that is not open for reading and for a
// limit of zero; OsError if the system refuses; std::runtime_error without a
// running loop. asyncio: A229.
[[nodiscard]] StreamReader ConnectReadPipe(PipeEnd end,
                                           size_t limit = kDefaultLimit);
// The same for a descriptor of the caller, which is taken over unless it
// throws.
[[nodiscard]] StreamReader ConnectReadPipe(int fd,
                                           size_t limit = kDefaultLimit);

// Writes to the same, and throws the same. asyncio: A230.
[[nodiscard]] StreamWriter ConnectWritePipe(PipeEnd end);
[[nodiscard]] StreamWriter ConnectWritePipe(int fd);

}  // namespace coil::net

#endif  // COIL_NET_PIPE_H_
