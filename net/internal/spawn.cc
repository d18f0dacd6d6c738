#include "coil/net/internal/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/pipe_end.h"

namespace coil::net::internal {
namespace {

using coil::internal::SockSys;

void CheckNumber(int error) {
  if (error == ENOMEM) throw std::bad_alloc();
  if (error != 0) throw OsError(error, "posix_spawn");
}

// What is to be done in the child before exec.
class FileActions {
 public:
  FileActions() { CheckNumber(::posix_spawn_file_actions_init(&actions_)); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }

  void EnterFolder(int fd) {
    CheckNumber(::posix_spawn_file_actions_addfchdir_np(&actions_, fd));
  }
  // Also of a descriptor to itself: it stays open over exec.
  void Dup(int from, int to) {
    CheckNumber(::posix_spawn_file_actions_adddup2(&actions_, from, to));
  }
  // Everything from 3 on, but what is to be kept. Descriptors of ours are
  // closed by exec; this is for those that others have opened.
  void CloseAllBut(std::vector<int> kept) {
    std::sort(kept.begin(), kept.end());
    int next = 3;
    for (const int fd : kept) {
      for (; next < fd; ++next) {
        CheckNumber(::posix_spawn_file_actions_addclose(&actions_, next));
      }
      next = std::max(next, fd + 1);
    }
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    CheckNumber(::posix_spawn_file_actions_addclosefrom_np(&actions_, next));
#endif
#endif
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// Signals as a program expects them: none blocked, and SIGPIPE as it is by
// default, whatever this program does about it. What is handled here becomes
// default by exec; what is ignored stays ignored, as nohup needs it.
class Attributes {
 public:
  explicit Attributes(const CommandSpec& spec) {
    CheckNumber(::posix_spawnattr_init(&attributes_));
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigset_t signals;
    sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGXFSZ);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    if (spec.group == CommandSpec::Group::kSession) {
      flags |= POSIX_SPAWN_SETSID;
    } else if (spec.group != CommandSpec::Group::kInherit) {
      flags |= POSIX_SPAWN_SETPGROUP;
      ::posix_spawnattr_setpgroup(&attributes_, spec.group_to_join);
    }
    ::posix_spawnattr_setflags(&attributes_, flags);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

// "NAME=value" for each variable of the child.
std::vector<std::string> EnvironmentOf(const CommandSpec& spec) {
  std::vector<std::string> result;
  if (!spec.clear_environment) {
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr;
         ++entry) {
      result.emplace_back(*entry);
    }
  }
  for (const auto& [name, value] : spec.environment) {
    const std::string prefix = absl::StrCat(name, "=");
    std::erase_if(result, [&](const std::string& entry) {
      return entry.compare(0, prefix.size(), prefix) == 0;
    });
    if (value.has_value()) result.push_back(absl::StrCat(prefix, *value));
  }
  return result;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

// Where the program may be: the child's PATH counts, as in Python.
std::vector<std::string> Candidates(
    const std::string& program, const std::vector<std::string>& environment) {
  if (program.find('/') != std::string::npos) return {program};
  std::string_view path = "/bin:/usr/bin";
  for (const std::string& entry : environment) {
    if (entry.compare(0, 5, "PATH=") == 0) {
      path = std::string_view(entry).substr(5);
    }
  }
  std::vector<std::string> result;
  for (const std::string_view folder : absl::StrSplit(path, ':')) {
    result.push_back(folder.empty() ? program
                                    : absl::StrCat(folder, "/", program));
  }
  return result;
}

// There is no such program at this place; perhaps at the next.
bool LooksFurther(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES;
}

}  // namespace

pid_t SpawnChild(const CommandSpec& spec, const ChildStdio& stdio) {
  const std::string& program = spec.argv.front();
  PipeEnd folder;
  FileActions actions;
  if (!spec.cwd.empty()) {
    // Opened here, so that a folder that is not there is told apart from a
    // program that is not there.
    folder = PipeEnd::Adopt(
        SockSys().open(spec.cwd.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder ||
        SockSys().faccessat(folder.Descriptor(), ".", X_OK, 0) != 0) {
      throw OsError(errno, "chdir", spec.cwd);
    }
    actions.EnterFolder(folder.Descriptor());
  }
  for (int i = 0; i < 3; ++i) {
    if (stdio[static_cast<size_t>(i)] >= 0) {
      actions.Dup(stdio[static_cast<size_t>(i)], i);
    }
  }
  if (spec.stdio[2].kind() == Redirection::Kind::kToStdout) actions.Dup(1, 2);
  for (const int fd : spec.pass_fds) {
    if (coil::internal::Sys().get_flags(fd) < 0) {
      throw OsError(errno, "spawn",
                    absl::StrCat(program, " (PassFd: fd ", fd, ")"));
    }
    actions.Dup(fd, fd);
  }
  actions.CloseAllBut(spec.pass_fds);
  const Attributes attributes(spec);
  std::vector<std::string> argument_strings = spec.argv;
  std::vector<char*> arguments = Pointers(argument_strings);
  std::vector<std::string> environment_strings = EnvironmentOf(spec);
  std::vector<char*> environment = Pointers(environment_strings);
  const std::vector<std::string> candidates =
      Candidates(program, environment_strings);

  const int base = folder ? folder.Descriptor() : AT_FDCWD;
  int error = ENOENT;
  for (const std::string& path : candidates) {
    // Asked first: a child for each folder of PATH would cost too much.
    int refused = 0;
    if (candidates.size() > 1 &&
        SockSys().faccessat(base, path.c_str(), X_OK, AT_EACCESS) != 0) {
      refused = errno;
    }
    if (!LooksFurther(refused)) {
      pid_t pid = -1;
      refused = SockSys().posix_spawn(&pid, path.c_str(), actions.get(),
                                      attributes.get(), arguments.data(),
                                      environment.data());
      if (refused == 0) return pid;
    }
    // That one may not be run says more than that others are not there.
    if (error != EACCES || !LooksFurther(refused)) {
      if (refused != ENOTDIR || candidates.size() == 1) error = refused;
    }
    if (!LooksFurther(refused)) break;
  }
  throw OsError(error, "spawn", program);
}

}  // namespace coil::net::internal
