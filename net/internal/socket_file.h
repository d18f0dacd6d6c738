// coil/net/internal/socket_file.h
//
// The file at which a Unix socket is found: left over by a process that has
// died, made by bind(), and removed by who made it.
//
// Threads: any.
// Lifetime: a value that may be moved; removes its file.

#ifndef COIL_NET_INTERNAL_SOCKET_FILE_H_
#define COIL_NET_INTERNAL_SOCKET_FILE_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "coil/net/address.h"

namespace coil::net::internal {

// Removes a socket of this `type` (SOCK_STREAM, ...) to which nobody listens
// any more. Throws OsError(EADDRINUSE) if somebody does, or if there is
// something else than a socket. No effect for an abstract name.
void RemoveStaleSocket(const Address& address, int type);

class SocketFile {
 public:
  SocketFile() = default;
  // What bind() has just made; nothing for an abstract name.
  explicit SocketFile(const Address& address);
  SocketFile(SocketFile&& other) noexcept
      : path_(std::exchange(other.path_, {})),
        inode_(std::exchange(other.inode_, 0)),
        device_(other.device_),
        owner_(other.owner_) {}
  SocketFile& operator=(SocketFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(inode_, other.inode_);
    std::swap(device_, other.device_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~SocketFile() { Remove(); }

  // Only if the file is still the one that it was, and not in the child of a
  // fork. Idempotent. Before the socket is closed: from then on somebody else
  // may take the file for stale, and the system may use its number again.
  void Remove() noexcept;
  // Leaves it where it is.
  void Forget() noexcept { inode_ = 0; }

 private:
  std::string path_;
  ino_t inode_ = 0;  // zero for none
  dev_t device_ = 0;
  pid_t owner_ = 0;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SOCKET_FILE_H_
