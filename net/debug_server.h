// coil/net/debug_server.h
//
// DebugServer lets somebody outside look at the tasks of a running program, as
// `python -m asyncio ps` does. It listens on a Unix socket that only its own
// user may connect to, and is there only while such an object lives:
//
//   ./bazelw run //net:ps -- PID          a table of the tasks
//   ./bazelw run //net:ps -- PID --tree   as a tree, by who awaits whom
//   ./bazelw run //net:ps -- PID --dump   everything that is known of them
//
// Example:
//   coil::Co<void> Main() {
//     // Nothing happens unless COIL_DEBUG_SOCKET is set.
//     auto debug = coil::net::DebugServer::FromEnvironment();
//     co_await coil::Sleep(absl::Hours(1));
//   }
//
// Ordering: a question is answered between two steps of the loop's tasks, so
//   the answer fits together. A loop that is blocked does not answer; for that
//   there is the watchdog.
// Cancellation: does not apply.
// Threads: the loop's thread only.
// Lifetime: the destructor closes the socket and removes its file; so does the
//   end of the loop.
//
// The protocol: one line, "ps", "pstree" or "dump", is answered by a text and
// the end of the connection.
//
// asyncio: ps and pstree (A314, A315), here by asking the program.

#ifndef COIL_NET_DEBUG_SERVER_H_
#define COIL_NET_DEBUG_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "coil/loop/os_error.h"
#include "coil/net/server.h"

namespace coil::net {

class DebugServer {
 public:
  // Listens at `path`, in which "%p" stands for the number of the process; the
  // default is DefaultPath(getpid()). What a dead process has left there is
  // removed. Throws OsError (EADDRINUSE if somebody lives there or it is no
  // socket), std::invalid_argument for a path that is too long,
  // std::runtime_error without a running loop.
  explicit DebugServer(std::string path = "");
  ~DebugServer() = default;
  DebugServer(const DebugServer&) = delete;
  DebugServer& operator=(const DebugServer&) = delete;

  // One where the variable COIL_DEBUG_SOCKET of the environment says: a path,
  // or "1" for the default. Null if it is not set, empty or "0". Throws as the
  // constructor does.
  static std::unique_ptr<DebugServer> FromEnvironment();

  // "coil-debug-PID.sock" in $XDG_RUNTIME_DIR, or in the system's folder for
  // temporary files.
  static std::string DefaultPath(pid_t pid);

  const std::string& Path() const { return path_; }

 private:
  std::string path_;
  Server server_;
};

}  // namespace coil::net

#endif  // COIL_NET_DEBUG_SERVER_H_
