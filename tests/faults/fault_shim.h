// A shim under both tables of system calls that counts what goes through each
// member and lets chosen calls fail.
//
// One shim is in force at a time. Calls may come from any thread; a plan is set
// and taken back while the scenario's threads are idle.

#ifndef COIL_TESTS_FAULTS_FAULT_SHIM_H_
#define COIL_TESTS_FAULTS_FAULT_SHIM_H_

#include <cstdint>
#include <string>
#include <vector>

// Every member of the tables.
// clang-format off: one in a line
#define COIL_SYSTEM_CALLS(X) \
  X(epoll_create1) \
  X(epoll_ctl) \
  X(epoll_wait) \
  X(epoll_pwait2) \
  X(eventfd) \
  X(read) \
  X(write) \
  X(readv) \
  X(writev) \
  X(close) \
  X(pipe2) \
  X(get_flags) \
  X(set_flags) \
  X(clock_gettime) \
  X(sigaction) \
  X(kill) \
  X(pidfd_open) \
  X(pidfd_send_signal) \
  X(waitid) \
  X(thread_create)
#define COIL_SOCKET_CALLS(X) \
  X(socket) \
  X(socketpair) \
  X(bind) \
  X(listen) \
  X(accept4) \
  X(connect) \
  X(shutdown) \
  X(recv) \
  X(send) \
  X(recvfrom) \
  X(sendto) \
  X(recvmsg) \
  X(sendmsg) \
  X(recvmmsg) \
  X(sendmmsg) \
  X(sendfile) \
  X(splice) \
  X(getsockname) \
  X(getpeername) \
  X(getsockopt) \
  X(setsockopt) \
  X(getaddrinfo) \
  X(freeaddrinfo) \
  X(getnameinfo) \
  X(pread) \
  X(pwritev2) \
  X(pwrite) \
  X(open) \
  X(open_file) \
  X(fstat) \
  X(ftruncate) \
  X(fsync) \
  X(fdatasync) \
  X(faccessat) \
  X(dup_above) \
  X(posix_spawn)
// clang-format on

namespace coil_testing {

enum class Call : int {
#define COIL_CALL(name) name,
  COIL_SYSTEM_CALLS(COIL_CALL) COIL_SOCKET_CALLS(COIL_CALL)
#undef COIL_CALL
      kCount
};
constexpr int kCalls = static_cast<int>(Call::kCount);
const char* NameOf(Call call);

// Members that have been added to the tables and that the shim does not know:
// 0 if all is well.
int UnknownMembers();

enum class FaultKind : uint8_t {
  kError,       // the call is not made, and fails
  kErrorAfter,  // it is made, and says that it has failed
  kShort,       // it moves one byte
  kNothing,     // it says that there is nothing: no event, no dead child
};

struct Fault {
  FaultKind kind = FaultKind::kError;
  int error = 0;  // of getaddrinfo() and getnameinfo(), an EAI_*
  // The system call may end so at any time, and a program notices nothing: the
  // scenario has to succeed.
  bool transparent = false;
  // Says so of every call of a kind that it can, but no persistent one.
  std::string Name(Call call) const;
};

// What is likely to go wrong with `call`; empty for what cannot fail.
const std::vector<Fault>& FaultsOf(Call call);

// Which calls fail: number `first`, counted from 1, and after it each `every`th
// (0: that one only).
struct Plan {
  Call call = Call::kCount;
  Fault fault;
  uint64_t first = 1;
  uint64_t every = 0;
  std::string ToString() const;
};

// While it lives both tables lead through it.
class FaultShim {
 public:
  FaultShim();
  FaultShim(const FaultShim&) = delete;
  FaultShim& operator=(const FaultShim&) = delete;
  ~FaultShim();

  // Counts from zero, and fails what the plan says.
  void Arm(const Plan& plan);
  // Of each call one in `one_in` fails, with one of its faults, as `seed` says.
  void ArmAtRandom(uint64_t seed, uint32_t one_in);
  // Counts only.
  void ArmNothing();
  // From now on everything is real. Returns how many calls were failed.
  uint64_t Disarm();

  // From the next Arm*() on the kernel lacks `call`: ENOSYS. kCount: nothing.
  void SetMissing(Call call);

  // Since it was armed.
  uint64_t Count(Call call) const;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_FAULTS_FAULT_SHIM_H_
