// coil/net/net.h
//
// All of coil's networking: connections, servers, and what they are made of.
// Depend on the single headers where a program needs few of them.

#ifndef COIL_NET_NET_H_
#define COIL_NET_NET_H_

#include "coil/net/address.h"        // IWYU pragma: export
#include "coil/net/byte_stream.h"    // IWYU pragma: export
#include "coil/net/debug_server.h"   // IWYU pragma: export
#include "coil/net/server.h"         // IWYU pragma: export
#include "coil/net/socket.h"         // IWYU pragma: export
#include "coil/net/stream_reader.h"  // IWYU pragma: export
#include "coil/net/stream_writer.h"  // IWYU pragma: export
#include "coil/net/streams.h"        // IWYU pragma: export

#endif  // COIL_NET_NET_H_
