// Lists the tasks of a running program that has a coil::net::DebugServer.
//
//   ps PID|PATH [--tree|--dump]
//
// PID is the number of the process, PATH that of its debug socket. As root the
// processes of all users can be asked.

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "coil/net/address.h"
#include "coil/net/debug_server.h"

namespace {

constexpr char kUsage[] =
    "usage: ps PID|PATH [--tree|--dump]\n"
    "Lists the tasks of a program that was started with COIL_DEBUG_SOCKET=1,\n"
    "or that makes a coil::net::DebugServer.\n";

// The value of a variable in the environment that a process was started with.
std::string VariableOf(int pid, std::string_view name) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/environ"), std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)),
                        std::istreambuf_iterator<char>());
  for (std::string_view entry : absl::StrSplit(all, '\0')) {
    if (absl::StartsWith(entry, absl::StrCat(name, "="))) {
      return std::string(entry.substr(name.size() + 1));
    }
  }
  return "";
}

// Where the socket of a process may be.
std::vector<std::string> PathsOf(int pid) {
  std::vector<std::string> paths;
  const std::string set = VariableOf(pid, "COIL_DEBUG_SOCKET");
  if (!set.empty() && set != "0" && set != "1") {
    paths.push_back(absl::StrReplaceAll(set, {{"%p", absl::StrCat(pid)}}));
  }
  // Its folder for such files may be another one than ours.
  std::string folder = VariableOf(pid, "XDG_RUNTIME_DIR");
  if (folder.empty()) folder = P_tmpdir;
  paths.push_back(absl::StrCat(folder, "/coil-debug-", pid, ".sock"));
  paths.push_back(coil::net::DebugServer::DefaultPath(pid));
  return paths;
}

// A connection to `path`; -1 and errno if there is none.
int Connect(const std::string& path) {
  const coil::net::Address address = coil::net::Address::Unix(path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (::connect(fd, address.Data(), address.Size()) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

bool Ask(int fd, std::string_view command) {
  const std::string line = absl::StrCat(command, "\n");
  if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) < 0) return false;
  char buffer[65536];
  bool answered = false;
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof(buffer), 0);
    if (n == 0) return answered;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    std::cout.write(buffer, n);
    answered = true;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string target;
  std::string_view command = "ps";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--tree") {
      command = "pstree";
    } else if (argument == "--dump") {
      command = "dump";
    } else if (target.empty() && !absl::StartsWith(argument, "--")) {
      target = argument;
    } else {
      std::cerr << kUsage;
      return 2;
    }
  }
  if (target.empty()) {
    std::cerr << kUsage;
    return 2;
  }
  int pid = 0;
  std::vector<std::string> paths = {target};
  if (absl::SimpleAtoi(target, &pid)) paths = PathsOf(pid);
  try {
    for (const std::string& path : paths) {
      const int fd = Connect(path);
      if (fd < 0) continue;
      const bool answered = Ask(fd, command);
      ::close(fd);
      if (answered) return 0;
      std::cerr << "ps: " << path << " does not answer\n";
      return 1;
    }
    std::cerr << "ps: no debug socket at " << paths.front() << ": "
              << std::strerror(errno)
              << ". Was the program started with COIL_DEBUG_SOCKET=1?\n";
  } catch (const std::invalid_argument& error) {
    std::cerr << "ps: " << error.what() << "\n";
  }
  return 1;
}
