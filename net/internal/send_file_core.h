// coil/net/internal/send_file_core.h
//
// Sends a file over a connection: by the kernel where the stream can do that,
// else block by block through the thread pool.
//
// Cancellation: a part was sent.
// Threads: the loop's thread only.
// Lifetime: holds a reference to the connection, borrows the descriptor.

#ifndef COIL_NET_INTERNAL_SEND_FILE_CORE_H_
#define COIL_NET_INTERNAL_SEND_FILE_CORE_H_

#include <cstdint>

#include "coil/net/internal/stream_core.h"
#include "coil/net/send_file.h"
#include "coil/task/co.h"

namespace coil::net::internal {

// As StreamWriter::SendFile().
Co<uint64_t> SendFileOn(StreamRef core, int fd, SendFileOptions options);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SEND_FILE_CORE_H_
