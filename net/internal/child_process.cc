#include "coil/net/internal/child_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::net::internal {
namespace {

using coil::internal::Sys;

// <sys/wait.h> has it since glibc 2.36.
constexpr auto kPidfd = static_cast<idtype_t>(3);
// What Python gives when somebody else has taken the status.
constexpr int kUnknownCode = 255;
// How long a loop that closes waits for a child that it has killed.
constexpr int kKillWaitMs = 1000;

// As waitid() of one child, without waiting: 0, with info->si_pid == 0 if it
// has not ended, or an errno.
int WaitFor(int pidfd, pid_t pid, int flags, siginfo_t* info) noexcept {
  idtype_t type = kPidfd;
  auto id = static_cast<id_t>(pidfd);
  for (;;) {
    *info = {};
    if (Sys().waitid(type, id, info, flags | WEXITED | WNOHANG) == 0) return 0;
    if (errno == EINTR) continue;
    // Linux 5.3 has pidfds, but this way to wait for them came with 5.4.
    if (errno != EINVAL || type != kPidfd || pid <= 0) return errno;
    type = P_PID;
    id = static_cast<id_t>(pid);
  }
}

struct Orphan {
  pid_t pid;
  int pidfd;
};

struct Orphans {
  std::mutex mutex;
  std::vector<Orphan> list;
};

Orphans& TheOrphans() {
  static Orphans* const orphans = new Orphans;  // outlives every loop
  return *orphans;
}

void AddOrphan(pid_t pid, PipeEnd pidfd) noexcept {
  Orphans& orphans = TheOrphans();
  const std::lock_guard<std::mutex> lock(orphans.mutex);
  try {
    orphans.list.push_back(Orphan{pid, pidfd.Descriptor()});
    pidfd.Release();
  } catch (const std::bad_alloc&) {
    // It will be a zombie until this process ends.
  }
}

}  // namespace

void ReapOrphans() noexcept {
  Orphans& orphans = TheOrphans();
  const std::lock_guard<std::mutex> lock(orphans.mutex);
  std::erase_if(orphans.list, [](const Orphan& orphan) {
    siginfo_t info;
    const int error = WaitFor(orphan.pidfd, orphan.pid, 0, &info);
    if (error == 0 && info.si_pid == 0) return false;
    coil::internal::CloseDescriptor(orphan.pidfd);
    return true;
  });
}

int OrphanCount() noexcept {
  Orphans& orphans = TheOrphans();
  const std::lock_guard<std::mutex> lock(orphans.mutex);
  return static_cast<int>(orphans.list.size());
}

void CheckPidfds(const std::string& program) {
  const int fd = Sys().pidfd_open(::getpid(), 0);
  if (fd < 0) throw OsError(errno, "pidfd_open", program);
  coil::internal::CloseDescriptor(fd);
}

ChildProcess::ChildProcess(const CommandSpec& spec)
    : home_(&coil::internal::RequireLoop("Command::Spawn")),
      home_id_(home_->id()),
      poller_(&home_->loop().GetPoller()),
      fork_generation_(coil::internal::ForkGeneration()),
      own_group_(spec.OwnGroup()),
      kill_on_drop_(spec.kill_on_drop),
      program_(spec.argv.front()) {}

void ChildProcess::Start(pid_t pid) {
  pid_ = pid;
  reaped_ = false;
  killed_ = true;  // unless all goes well
  pidfd_ = PipeEnd::Adopt(Sys().pidfd_open(pid, 0));
  int error = errno;
  if (pidfd_) {
    try {
      what_ = absl::StrCat("process ", pid, " (", program_, ") to exit");
      poller_->Add(*this, pidfd_.Descriptor(), kReadable, Trigger::kLevel);
      home_->Attach(this);
      attached_ = true;
      killed_ = false;
      return;
    } catch (const OsError& failure) {
      error = failure.Errno();
    } catch (const std::bad_alloc&) {
      error = ENOMEM;
    }
  } else if (error == ESRCH) {
    // The program ignores SIGCHLD, and the child has ended already.
    reaped_ = true;
    killed_ = false;
    unknown_ = true;
    code_ = kUnknownCode;
    ReportIfUnknown();
    return;
  }
  // It is not reaped, so the number is still its own.
  Sys().kill(own_group_ ? -pid : pid, SIGKILL);
  siginfo_t info;
  while (Sys().waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
  reaped_ = true;
  throw OsError(error, "pidfd_open", program_);
}

void ChildProcess::CheckLoop(const coil::internal::TaskCore* task) const {
  if (home_ != &task->loop() || home_id_ != task->loop().id()) {
    coil::internal::ThrowWrongLoop("net: a process");
  }
}

bool ChildProcess::Forked() const noexcept {
  return fork_generation_ != coil::internal::ForkGeneration();
}

void ChildProcess::LetGoOfLoop() noexcept {
  if (!std::exchange(attached_, false)) return;
  poller_->Remove(*this);
  home_->Detach(this);
}

bool ChildProcess::Poll(bool reap) noexcept {
  siginfo_t info;
  const int error =
      WaitFor(pidfd_.Descriptor(), pid_, reap ? 0 : WNOWAIT, &info);
  // Ready for no reason, it is asked again.
  if (error == 0 && info.si_pid == 0) return false;
  if (reap || error != 0) reaped_ = true;
  if (code_.has_value()) return true;
  if (error == 0) {
    code_ = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
  } else {
    unknown_ = true;
    code_ = kUnknownCode;
  }
  return true;
}

void ChildProcess::ReportIfUnknown() noexcept {
  if (!unknown_) return;
  try {
    ExceptionContext context(absl::StrCat(
        "process ", pid_, " (", program_,
        ") was waited for by somebody else, or SIGCHLD is ignored: its exit "
        "status is lost, and 255 stands for it"));
    context.loop = &home_->loop();
    home_->Report(context);
  } catch (const std::bad_alloc&) {
  }
}

void ChildProcess::OnReady(IoEvents) noexcept {
  // Of a group of its own it stays a zombie, see above.
  if (!Poll(/*reap=*/!own_group_ || references_ == 0)) return;
  LetGoOfLoop();
  if (reaped_) pidfd_.Close();
  if (references_ == 0) {
    delete this;
    return;
  }
  const ChildRef self = ChildRef::Share(this);
  waiters_.WakeAll();
  if (observer_ != nullptr) std::exchange(observer_, nullptr)->OnExit();
  ReportIfUnknown();
}

void ChildProcess::OnLoopClose() noexcept {
  home_->Attach(this);  // as LetGoOfLoop() expects it
  LetGoOfLoop();
  if (references_ == 0) Leave();
}

void ChildProcess::LastHandleGone() noexcept {
  if (Forked()) {  // the parent's child is none of ours
    LetGoOfLoop();
    delete this;
    return;
  }
  if (kill_on_drop_) KillAll();
  // Otherwise the loop reaps it.
  if (!attached_) Leave();
}

void ChildProcess::Leave() noexcept {
  if (!reaped_ && killed_ && !Poll(true)) {
    pollfd ready = {pidfd_.Descriptor(), POLLIN, 0};
    ::poll(&ready, 1, kKillWaitMs);
  }
  if (!reaped_ && !Poll(true)) AddOrphan(pid_, std::move(pidfd_));
  delete this;
}

void ChildProcess::KillAll() noexcept {
  if (reaped_ || Forked()) return;
  if (own_group_) {
    Sys().kill(-pid_, SIGKILL);
  } else if (!code_.has_value()) {
    Sys().pidfd_send_signal(pidfd_.Descriptor(), SIGKILL);
  }
  killed_ = true;
}

void ChildProcess::EndGroup() noexcept {
  KillAll();
  if (!reaped_ && code_.has_value() && Poll(/*reap=*/true)) pidfd_.Close();
}

void ChildProcess::ThrowSignalError(int error) const {
  throw OsError(error, "signal",
                absl::StrCat("process ", pid_, " (", program_, ")"));
}

namespace {

[[noreturn]] void ThrowBadSignal(std::string_view function, int signal) {
  throw std::invalid_argument(absl::StrCat("Process::", function, ": ", signal,
                                           " is not a signal number"));
}

}  // namespace

void ChildProcess::Signal(int signal) {
  // A bad value is one whatever the state of the child.
  if (signal < 0 || signal >= _NSIG) ThrowBadSignal("Signal", signal);
  if (code_.has_value()) ThrowSignalError(ESRCH);
  if (Sys().pidfd_send_signal(pidfd_.Descriptor(), signal) == 0) return;
  if (errno == EINVAL) ThrowBadSignal("Signal", signal);
  ThrowSignalError(errno);
}

void ChildProcess::SignalGroup(int signal) {
  if (!own_group_) {
    throw std::runtime_error(
        "Process::SignalGroup: the process has no group of its own; ask for "
        "one by Command::ProcessGroup() or Command::NewSession()");
  }
  if (signal < 0 || signal >= _NSIG) ThrowBadSignal("SignalGroup", signal);
  if (reaped_) ThrowSignalError(ESRCH);
  if (Sys().kill(-pid_, signal) == 0) return;
  if (errno == EINVAL) ThrowBadSignal("SignalGroup", signal);
  ThrowSignalError(errno);
}

}  // namespace coil::net::internal
