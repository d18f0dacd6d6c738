// coil/net/net.h
//
// All of coil's networking: connections, servers, child processes, signals, and
// what they are made of.
// Depend on the single headers where a program needs few of them.
//
// Example:
//   coil::Co<void> Greet() {
//     auto [reader, writer] = co_await coil::net::OpenConnection("::1", 7000);
//     co_await writer.Write("hello\n");
//     co_await writer.Close();
//   }
//
// Ordering: bytes keep their order; several writers of one stream take turns in
//   the order of their calls.
// Cancellation: at every await; bytes that were received stay in the reader.
// Threads: the loop's thread only.
// Lifetime: a descriptor is closed with the last of those who share it.

#ifndef COIL_NET_NET_H_
#define COIL_NET_NET_H_

#include "coil/net/addr_info.h"                  // IWYU pragma: export
#include "coil/net/address.h"                    // IWYU pragma: export
#include "coil/net/byte_stream.h"                // IWYU pragma: export
#include "coil/net/connect_options.h"            // IWYU pragma: export
#include "coil/net/datagram.h"                   // IWYU pragma: export
#include "coil/net/datagram_endpoint.h"          // IWYU pragma: export
#include "coil/net/debug_server.h"               // IWYU pragma: export
#include "coil/net/file.h"                       // IWYU pragma: export
#include "coil/net/pipe.h"                       // IWYU pragma: export
#include "coil/net/pipe_transports.h"            // IWYU pragma: export
#include "coil/net/protocol.h"                   // IWYU pragma: export
#include "coil/net/resolver.h"                   // IWYU pragma: export
#include "coil/net/secure_stream.h"              // IWYU pragma: export
#include "coil/net/send_file.h"                  // IWYU pragma: export
#include "coil/net/server.h"                     // IWYU pragma: export
#include "coil/net/server_options.h"             // IWYU pragma: export
#include "coil/net/sharded.h"                    // IWYU pragma: export
#include "coil/net/signal_set.h"                 // IWYU pragma: export
#include "coil/net/simulated_network.h"          // IWYU pragma: export
#include "coil/net/simulated_network_options.h"  // IWYU pragma: export
#include "coil/net/sock.h"                       // IWYU pragma: export
#include "coil/net/socket.h"                     // IWYU pragma: export
#include "coil/net/stream_reader.h"              // IWYU pragma: export
#include "coil/net/stream_writer.h"              // IWYU pragma: export
#include "coil/net/streams.h"                    // IWYU pragma: export
#include "coil/net/subprocess.h"                 // IWYU pragma: export
#include "coil/net/subprocess_transport.h"       // IWYU pragma: export
#include "coil/net/transport.h"                  // IWYU pragma: export
#include "coil/net/transports.h"                 // IWYU pragma: export

#endif  // COIL_NET_NET_H_
