#include "coil/net/internal/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "coil/loop/os_error.h"
#include "coil/net/socket.h"

namespace coil::net::internal {
namespace {

// Empty for a name without a file.
std::string PathOf(const Address& address) {
  std::string path = address.Host();
  if (path.empty() || path.front() == '@') path.clear();
  return path;
}

}  // namespace

void RemoveStaleSocket(const Address& address, int type) {
  const std::string path = PathOf(address);
  struct stat status{};
  if (path.empty() || ::lstat(path.c_str(), &status) != 0) return;
  if (S_ISSOCK(status.st_mode)) {
    try {
      Socket probe(AF_UNIX, type);
      probe.StartConnect(address);
    } catch (const OsError& error) {
      if (error.Errno() == ECONNREFUSED) {
        ::unlink(path.c_str());
        return;
      }
    }
  }
  throw OsError(EADDRINUSE, "bind", address.ToString());
}

SocketFile::SocketFile(const Address& address) : path_(PathOf(address)) {
  struct stat status{};
  if (path_.empty() || ::lstat(path_.c_str(), &status) != 0) return;
  inode_ = status.st_ino;
  device_ = status.st_dev;
  owner_ = ::getpid();
}

void SocketFile::Remove() noexcept {
  struct stat status{};
  if (inode_ != 0 && owner_ == ::getpid() &&
      ::lstat(path_.c_str(), &status) == 0 && status.st_ino == inode_ &&
      status.st_dev == device_) {
    ::unlink(path_.c_str());
  }
  inode_ = 0;
}

}  // namespace coil::net::internal
