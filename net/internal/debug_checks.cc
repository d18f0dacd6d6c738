#include "coil/net/internal/debug_checks.h"

#include <fcntl.h>

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/internal/syscalls.h"

namespace coil::net::internal {

using coil::internal::LoopCore;

void CheckNonBlocking(const LoopCore& loop, int fd, const char* what) {
  if (!loop.debug()) [[likely]]
    return;
  const int flags = coil::internal::Sys().get_flags(fd);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return;
  throw std::invalid_argument(
      absl::StrCat(what, ": the socket (fd ", fd,
                   ") is blocking, and would block the event loop; "
                   "Socket::FromDescriptor() makes it non-blocking"));
}

void ReportUnclosed(const LoopCore& loop, const char* what,
                    const Address& address, const char* loss) noexcept {
  if (!loop.debug()) [[likely]]
    return;
  try {
    WriteDiagnostic(absl::StrCat("coil: ", what, " ", address.ToString(),
                                 " was not closed before its event loop",
                                 loss));
  } catch (...) {
    WriteDiagnostic("coil: a socket was not closed before its event loop");
  }
}

}  // namespace coil::net::internal
