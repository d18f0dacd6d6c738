#include "tests/faults/fault_shim.h"

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <tuple>
#include <type_traits>

#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"

namespace coil_testing {
namespace {

using coil::internal::kRealSocketCalls;
using coil::internal::kRealSyscalls;
using coil::internal::SocketTable;
using coil::internal::SyscallTable;

constexpr std::array<const char*, kCalls> kNames = {
#define COIL_NAME(name) #name,
    COIL_SYSTEM_CALLS(COIL_NAME) COIL_SOCKET_CALLS(COIL_NAME)
#undef COIL_NAME
};

enum class Mode { kOff, kCount, kPlan, kRandom };

struct Shared {
  std::atomic<Mode> mode{Mode::kOff};
  Plan plan;
  uint64_t seed = 0;
  uint32_t one_in = 0;
  std::array<std::atomic<uint64_t>, kCalls> counts{};
  std::atomic<uint64_t> injected{0};
  // Whether a call may pretend that less was there than is: by edges its caller
  // would never hear of the rest.
  std::atomic<bool> by_level{false};
  std::atomic<Call> missing{Call::kCount};
  // The descriptors that wake a loop; they are never read.
  std::array<std::atomic<bool>, 4096> event_fds{};
};

Shared& State() {
  static Shared* const shared = new Shared;
  return *shared;
}

bool IsEventFd(int fd) {
  auto& fds = State().event_fds;
  return fd >= 0 && static_cast<size_t>(fd) < fds.size() &&
         fds[static_cast<size_t>(fd)].load(std::memory_order_relaxed);
}
void SetEventFd(int fd, bool on) {
  auto& fds = State().event_fds;
  if (fd >= 0 && static_cast<size_t>(fd) < fds.size()) {
    fds[static_cast<size_t>(fd)].store(on, std::memory_order_relaxed);
  }
}

bool TakesAnEdge(const Fault& fault) {
  return fault.kind == FaultKind::kShort || fault.error == EAGAIN;
}

// A mixing function of 64 bits (splitmix64).
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Counts this call; how it fails, if it does.
std::optional<Fault> Next(Call call) {
  Shared& shared = State();
  const Mode mode = shared.mode.load(std::memory_order_acquire);
  if (mode == Mode::kOff) return std::nullopt;
  const auto index = static_cast<size_t>(call);
  const uint64_t number =
      shared.counts[index].fetch_add(1, std::memory_order_relaxed) + 1;
  if (mode == Mode::kPlan) {
    const Plan& plan = shared.plan;
    if (plan.call != call || number < plan.first) return std::nullopt;
    if (number != plan.first &&
        (plan.every == 0 || (number - plan.first) % plan.every != 0)) {
      return std::nullopt;
    }
    return plan.fault;
  }
  if (mode == Mode::kRandom) {
    const std::vector<Fault>& faults = FaultsOf(call);
    if (faults.empty()) return std::nullopt;
    const uint64_t dice =
        Mix(Mix(shared.seed) + (number << 8) + static_cast<uint64_t>(call));
    if (dice % shared.one_in != 0) return std::nullopt;
    return faults[(dice >> 32) % faults.size()];
  }
  return std::nullopt;
}

void Injected() { State().injected.fetch_add(1, std::memory_order_relaxed); }

// How a function of the result type R says that it has failed.
template <Call kCall, class R>
R Failure(int error) {
  constexpr bool kReturnsIt =
      kCall == Call::thread_create || kCall == Call::posix_spawn ||
      kCall == Call::getaddrinfo || kCall == Call::getnameinfo;
  if constexpr (kReturnsIt) {
    if ((kCall == Call::getaddrinfo || kCall == Call::getnameinfo) &&
        error == EAI_SYSTEM) {
      errno = EMFILE;
    }
    return error;
  } else {
    errno = error;
    return -1;
  }
}

// The call with one byte of what was asked for.
template <Call kCall, class F, class... A>
auto Shortened(F real, A... args) {
  auto tuple = std::make_tuple(args...);
  if constexpr (kCall == Call::read || kCall == Call::write ||
                kCall == Call::recv || kCall == Call::send ||
                kCall == Call::pread || kCall == Call::pwrite) {
    std::get<2>(tuple) = std::min<size_t>(std::get<2>(tuple), 1);
  } else if constexpr (kCall == Call::readv || kCall == Call::writev ||
                       kCall == Call::pwritev2) {
    iovec one = *std::get<1>(tuple);
    one.iov_len = std::min<size_t>(one.iov_len, 1);
    std::get<1>(tuple) = &one;
    std::get<2>(tuple) = 1;
    return std::apply(real, tuple);
  } else if constexpr (kCall == Call::sendfile) {
    std::get<3>(tuple) = std::min<size_t>(std::get<3>(tuple), 1);
  } else if constexpr (kCall == Call::sendmsg) {
    msghdr message = *std::get<1>(tuple);
    iovec one = message.msg_iov[0];
    one.iov_len = std::min<size_t>(one.iov_len, 1);
    message.msg_iov = &one;
    message.msg_iovlen = 1;
    std::get<1>(tuple) = &message;
    return std::apply(real, tuple);
  }
  return std::apply(real, tuple);
}

template <Call kCall, class F, class... A>
auto Perform(const Fault& fault, F real, A... args) -> decltype(real(args...)) {
  using R = decltype(real(args...));
  FaultKind kind = fault.kind;
  auto tuple = std::make_tuple(args...);
  static_cast<void>(tuple);
  if constexpr (kCall == Call::epoll_ctl) {
    // It cannot fail for what is registered.
    if (std::get<1>(tuple) == EPOLL_CTL_DEL) kind = FaultKind::kErrorAfter;
  }
  if constexpr (kCall == Call::write) {
    // A counter that is full wakes its reader all the same.
    if (IsEventFd(std::get<0>(tuple))) kind = FaultKind::kErrorAfter;
  }
  if constexpr (kCall == Call::waitid) {
    if (fault.error == ECHILD) {
      // Somebody else has taken the status, if there is one.
      const int result =
          real(std::get<0>(tuple), std::get<1>(tuple), std::get<2>(tuple),
               std::get<3>(tuple) & ~WNOWAIT);
      if (result != 0 || std::get<2>(tuple)->si_pid == 0) return result;
      Injected();
      return Failure<kCall, R>(ECHILD);
    }
    if (kind == FaultKind::kNothing) {
      // Only where it would not wait anyway.
      if ((std::get<3>(tuple) & WNOHANG) == 0) return real(args...);
      Injected();
      return 0;
    }
    // Of a kernel that knows no pidfds here.
    if (fault.error == EINVAL && std::get<0>(tuple) == P_PID) {
      return real(args...);
    }
  }
  Injected();
  switch (kind) {
    case FaultKind::kError:
      return Failure<kCall, R>(fault.error);
    case FaultKind::kErrorAfter:
      static_cast<void>(real(args...));
      return Failure<kCall, R>(fault.error);
    case FaultKind::kShort:
      return Shortened<kCall>(real, args...);
    case FaultKind::kNothing:
      return 0;
  }
  return Failure<kCall, R>(EIO);
}

template <class Table>
const Table& Real() {
  if constexpr (std::is_same_v<Table, SyscallTable>) {
    return kRealSyscalls;
  } else {
    return kRealSocketCalls;
  }
}

template <Call kCall, auto kMember>
struct Wrapped;
template <Call kCall, class Table, class R, class... A,
          R (*Table::*kMember)(A...)>
struct Wrapped<kCall, kMember> {
  static R Function(A... args) {
    const auto real = Real<Table>().*kMember;
    const std::optional<Fault> fault = Next(kCall);
    if constexpr (std::is_void_v<R>) {
      real(args...);
    } else {
      if (State().missing.load(std::memory_order_relaxed) == kCall) {
        return Failure<kCall, R>(ENOSYS);
      }
      auto tuple = std::make_tuple(args...);
      static_cast<void>(tuple);
      if constexpr (kCall == Call::close) {
        SetEventFd(std::get<0>(tuple), false);
      }
      R result;
      if constexpr (kCall == Call::epoll_ctl) {
        epoll_event event{};
        if (std::get<3>(tuple) != nullptr) event = *std::get<3>(tuple);
        if (State().by_level.load(std::memory_order_relaxed) &&
            !IsEventFd(std::get<2>(tuple))) {
          event.events &= ~static_cast<uint32_t>(EPOLLET);
        }
        std::get<3>(tuple) = &event;
        result = std::apply(
            [&](auto... a) {
              return fault ? Perform<kCall>(*fault, real, a...) : real(a...);
            },
            tuple);
      } else {
        result = fault ? Perform<kCall>(*fault, real, args...) : real(args...);
      }
      if constexpr (kCall == Call::eventfd) SetEventFd(result, true);
      return result;
    }
  }
};

// In the order of the tables; UnknownMembers() counts them.
SyscallTable MakeSyscalls() {
  SyscallTable table = kRealSyscalls;
#define COIL_WRAP(name) \
  table.name = Wrapped<Call::name, &SyscallTable::name>::Function;
  COIL_SYSTEM_CALLS(COIL_WRAP)
#undef COIL_WRAP
  return table;
}
SocketTable MakeSocketCalls() {
  SocketTable table = kRealSocketCalls;
#define COIL_WRAP(name) \
  table.name = Wrapped<Call::name, &SocketTable::name>::Function;
  COIL_SOCKET_CALLS(COIL_WRAP)
#undef COIL_WRAP
  return table;
}

struct InForce {
  SyscallTable system = MakeSyscalls();
  SocketTable sockets = MakeSocketCalls();
  coil::internal::ScopedSyscalls system_scope{&system};
  coil::internal::ScopedSocketCalls sockets_scope{&sockets};
};
std::optional<InForce>& TheTables() {
  static auto* const tables = new std::optional<InForce>;
  return *tables;
}

void Start(Mode mode, bool by_level) {
  Shared& shared = State();
  for (auto& count : shared.counts) count = 0;
  shared.injected = 0;
  shared.by_level = by_level;
  shared.mode.store(mode, std::memory_order_release);
}

// ---- what may go wrong

std::vector<Fault> Errors(std::initializer_list<int> errors) {
  std::vector<Fault> faults;
  for (const int error : errors) {
    faults.push_back({FaultKind::kError, error, false});
  }
  return faults;
}
std::vector<Fault> After(std::initializer_list<int> errors, bool transparent) {
  std::vector<Fault> faults;
  for (const int error : errors) {
    faults.push_back({FaultKind::kErrorAfter, error, transparent});
  }
  return faults;
}
const Fault kInterrupted = {FaultKind::kError, EINTR, true};
const Fault kWouldBlock = {FaultKind::kError, EAGAIN, true};
const Fault kOneByte = {FaultKind::kShort, 0, true};
const Fault kNothing = {FaultKind::kNothing, 0, true};

std::vector<Fault> With(std::vector<Fault> faults,
                        std::initializer_list<Fault> more) {
  faults.insert(faults.end(), more);
  return faults;
}

std::vector<Fault> MakeFaults(Call call) {
  switch (call) {
    case Call::epoll_create1:
    case Call::eventfd:
    case Call::pipe2:
      return Errors({EMFILE, ENFILE, ENOMEM});
    case Call::epoll_ctl:
      return Errors({ENOMEM, ENOSPC, EPERM});
    case Call::epoll_wait:
      return {kInterrupted, kNothing, {FaultKind::kError, ENOMEM, false}};
    case Call::epoll_pwait2:
      return {kInterrupted,
              kNothing,
              {FaultKind::kError, ENOSYS, true},
              {FaultKind::kError, EPERM, true}};
    case Call::read:
    case Call::readv:
      return With(Errors({EIO, ENOMEM}), {kInterrupted, kWouldBlock, kOneByte});
    case Call::write:
    case Call::writev:
      return With(Errors({EPIPE, EIO}), {kInterrupted, kWouldBlock, kOneByte});
    case Call::close:
      return After({EINTR, EIO, ENOSPC}, true);
    case Call::get_flags:
    case Call::set_flags:
      return Errors({EBADF, EPERM, EINVAL});
    case Call::sigaction:
      return Errors({EINVAL, ENOSYS, EPERM});
    case Call::kill:
      return After({EPERM, ESRCH, ENOSYS}, false);
    case Call::pidfd_send_signal:
      return After({EPERM, ESRCH, ENOSYS}, false);
    case Call::pidfd_open:
      return Errors({EMFILE, ENFILE, ENOMEM, ENOSYS});
    case Call::waitid:
      return With(Errors({ECHILD}),
                  {kInterrupted, kNothing, {FaultKind::kError, EINVAL, true}});
    case Call::thread_create:
      return Errors({EAGAIN, ENOMEM, EPERM});
    case Call::socket:
      return Errors({EMFILE, ENFILE, ENOBUFS, EAFNOSUPPORT, EACCES});
    case Call::bind:
      return Errors({EADDRINUSE, EACCES, EADDRNOTAVAIL});
    case Call::listen:
      return Errors({EADDRINUSE, EOPNOTSUPP, ENOBUFS});
    case Call::accept4:
      return With(
          Errors({EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO}),
          {kInterrupted, kWouldBlock});
    case Call::connect:
      return With(
          Errors({ECONNREFUSED, ENETUNREACH, ETIMEDOUT, EADDRNOTAVAIL, EACCES}),
          {{FaultKind::kErrorAfter, EINTR, true}});
    case Call::shutdown:
      return After({ENOTCONN, ENOBUFS, ENOMEM}, false);
    case Call::recv:
      return With(Errors({ECONNRESET, ETIMEDOUT, ENOMEM}),
                  {kInterrupted, kWouldBlock, kOneByte});
    case Call::send:
      return With(Errors({EPIPE, ECONNRESET, ENOBUFS}),
                  {kInterrupted, kWouldBlock, kOneByte});
    case Call::sendmsg:
      return With(Errors({EPIPE, ECONNRESET, ENOBUFS}),
                  {kInterrupted, kWouldBlock, kOneByte});
    case Call::recvfrom:
    case Call::recvmsg:
      return With(Errors({ECONNREFUSED, ENOMEM}), {kInterrupted, kWouldBlock});
    case Call::sendto:
      return With(Errors({EPERM, EHOSTUNREACH, EMSGSIZE, ENOBUFS}),
                  {kInterrupted, kWouldBlock});
    case Call::getsockname:
    case Call::getpeername:
      return Errors({ENOTCONN, ENOBUFS, EINVAL});
    case Call::getsockopt:
    case Call::setsockopt:
      return Errors({ENOPROTOOPT, EINVAL, ENOMEM});
    case Call::getaddrinfo:
    case Call::getnameinfo:
      return Errors({EAI_AGAIN, EAI_FAIL, EAI_NONAME, EAI_MEMORY, EAI_SYSTEM});
    case Call::pwritev2:
      return With(Errors({EPIPE, EIO}), {kInterrupted,
                                         kWouldBlock,
                                         kOneByte,
                                         {FaultKind::kError, EOPNOTSUPP, true},
                                         {FaultKind::kError, EPERM, true}});
    case Call::sendfile:
      // EINVAL: not this file over this connection. Said first, the file is
      // read instead; later it is an error.
      return With(Errors({EPIPE, EIO, EINVAL}),
                  {kInterrupted, kWouldBlock, kOneByte});
    case Call::pread:
      return With(Errors({EIO, ENOMEM}), {kInterrupted, kOneByte});
    case Call::pwrite:
      return With(Errors({EIO, ENOSPC, EDQUOT}), {kInterrupted, kOneByte});
    case Call::open:
      return Errors({EMFILE, ENFILE, ENOENT, EACCES});
    case Call::open_file:
      return With(Errors({EMFILE, ENFILE, ENOENT, EACCES}), {kInterrupted});
    case Call::fstat:
      return Errors({EIO, EOVERFLOW, ENOMEM});
    case Call::ftruncate:
    case Call::fsync:
    case Call::fdatasync:
      return With(Errors({EIO, ENOSPC, EDQUOT}), {kInterrupted});
    case Call::faccessat:
      return Errors({EACCES, ENOENT, EIO, ENOMEM});
    case Call::dup_above:
      return Errors({EMFILE, EBADF, EINVAL});
    case Call::posix_spawn:
      return Errors({EAGAIN, ENOMEM, ENOENT, E2BIG});
    default:
      return {};
  }
}

// "EMFILE", without a description that depends on the locale.
std::string ErrorName(int error) {
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
  if (const char* name = ::strerrorname_np(error)) return name;
#endif
#endif
  return "errno " + std::to_string(error);
}

}  // namespace

const char* NameOf(Call call) {
  return call == Call::kCount ? "none" : kNames[static_cast<size_t>(call)];
}

int UnknownMembers() {
  return static_cast<int>((sizeof(SyscallTable) + sizeof(SocketTable)) /
                          sizeof(void (*)())) -
         kCalls;
}

std::string Fault::Name(Call call) const {
  switch (kind) {
    case FaultKind::kShort:
      return "short";
    case FaultKind::kNothing:
      return "nothing";
    default:
      break;
  }
  if (call == Call::getaddrinfo || call == Call::getnameinfo) {
    switch (error) {
      case EAI_AGAIN:
        return "EAI_AGAIN";
      case EAI_FAIL:
        return "EAI_FAIL";
      case EAI_NONAME:
        return "EAI_NONAME";
      case EAI_MEMORY:
        return "EAI_MEMORY";
      default:
        return "EAI_SYSTEM";
    }
  }
  return ErrorName(error);
}

const std::vector<Fault>& FaultsOf(Call call) {
  static const auto* const all = [] {
    auto* const faults = new std::array<std::vector<Fault>, kCalls>;
    for (int i = 0; i < kCalls; ++i) {
      (*faults)[static_cast<size_t>(i)] = MakeFaults(static_cast<Call>(i));
    }
    return faults;
  }();
  return (*all)[static_cast<size_t>(call)];
}

std::string Plan::ToString() const {
  std::string text = std::string(NameOf(call)) + " fails with " +
                     fault.Name(call) + ": call " + std::to_string(first);
  if (every != 0) text += " and each " + std::to_string(every) + ". after it";
  return text;
}

FaultShim::FaultShim() { TheTables().emplace(); }
FaultShim::~FaultShim() {
  Disarm();
  TheTables().reset();
}

void FaultShim::Arm(const Plan& plan) {
  State().plan = plan;
  Start(Mode::kPlan, TakesAnEdge(plan.fault));
}
void FaultShim::ArmAtRandom(uint64_t seed, uint32_t one_in) {
  State().seed = seed;
  State().one_in = one_in;
  Start(Mode::kRandom, true);
}
void FaultShim::ArmNothing() { Start(Mode::kCount, false); }

void FaultShim::SetMissing(Call call) { State().missing = call; }

uint64_t FaultShim::Disarm() {
  State().mode.store(Mode::kOff, std::memory_order_release);
  State().by_level = false;
  return State().injected.exchange(0);
}

uint64_t FaultShim::Count(Call call) const {
  return State().counts[static_cast<size_t>(call)].load();
}

}  // namespace coil_testing
