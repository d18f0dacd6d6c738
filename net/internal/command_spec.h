// coil/net/internal/command_spec.h
//
// What a Command is made of, and Redirection, which is public as a part of
// coil/net/subprocess.h.
//
// Threads: a value.
// Lifetime: owns what it names; a descriptor is borrowed.

#ifndef COIL_NET_INTERNAL_COMMAND_SPEC_H_
#define COIL_NET_INTERNAL_COMMAND_SPEC_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace coil::net {

// Where a stream of a child process comes from or goes to.
class Redirection {
 public:
  enum class Kind : uint8_t {
    kUnset,
    kInherit,
    kPipe,
    kDevNull,
    kToStdout,
    kDescriptor,
  };
  Redirection() = default;
  explicit Redirection(Kind kind, int fd = -1) : kind_(kind), fd_(fd) {}
  Kind kind() const { return kind_; }
  int fd() const { return fd_; }

 private:
  Kind kind_ = Kind::kUnset;
  int fd_ = -1;
};

namespace internal {

struct CommandSpec {
  enum class Group : uint8_t { kInherit, kOwn, kJoin, kSession };

  std::vector<std::string> argv;  // the program first
  // In the order of the calls; no value takes the variable away.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;
  bool clear_environment = false;
  std::string cwd;  // empty for the parent's
  std::array<Redirection, 3> stdio;
  std::vector<int> pass_fds;
  Group group = Group::kInherit;
  pid_t group_to_join = 0;
  bool kill_on_drop = false;
  size_t limit = size_t{64} << 10;

  bool OwnGroup() const {
    return group == Group::kOwn || group == Group::kSession;
  }
};

}  // namespace internal
}  // namespace coil::net

#endif  // COIL_NET_INTERNAL_COMMAND_SPEC_H_
