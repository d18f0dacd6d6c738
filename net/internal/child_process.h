// coil/net/internal/child_process.h
//
// A child process as its loop sees it. The kernel tells of the end through a
// pidfd: no SIGCHLD, no thread, and no other child is ever waited for.
//
//   running ──pidfd readable──> exited ──waitid()──> reaped
//
// A child that leads a process group of its own is reaped only when its last
// handle goes: until then the number of the group is nobody else's, so that
// signals for the group cannot hit a stranger. Any other is reaped at once.
//
// Who is responsible for the child:
//   * while a handle or the loop has it, this object
//   * after the loop, and with no handle: if it was killed it is waited for,
//     for a moment; else it is left to a list that each later spawn looks
//     through
//
// Threads: the loop's thread only; the list of orphans any.
// Lifetime: counted by its handles; without one it lives until the child has
//   ended.

#ifndef COIL_NET_INTERNAL_CHILD_PROCESS_H_
#define COIL_NET_INTERNAL_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"
#include "coil/net/internal/command_spec.h"
#include "coil/net/internal/pipe_end.h"
#include "coil/net/internal/wait_list.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {

// Reaps those children whose loop is gone that have ended since.
void ReapOrphans() noexcept;
// How many there are; for tests.
int OrphanCount() noexcept;

// Throws OsError if this system has no pidfds, or no descriptor is left for
// one: before a child is made that could not be watched.
void CheckPidfds(const std::string& program);

// Is told of the end of a child, as its waiters are woken: within an event, so
// it may only schedule.
class ExitObserver {
 public:
  virtual void OnExit() noexcept = 0;

 protected:
  ~ExitObserver() = default;
};

class ChildProcess final : private Poller::Watch,
                           private coil::internal::LoopResource {
 public:
  // Of a child that is to be made. Throws std::runtime_error without a running
  // loop.
  explicit ChildProcess(const CommandSpec& spec);

  // The child is there. Throws OsError if it cannot be watched: then it is
  // killed and reaped.
  void Start(pid_t pid);

  void Ref() noexcept { ++references_; }
  void Unref() noexcept {
    if (--references_ == 0) LastHandleGone();
  }

  pid_t pid() const { return pid_; }
  // Negative for a signal, as in Python.
  std::optional<int> code() const { return code_; }
  bool own_group() const { return own_group_; }
  WaitList& waiters() { return waiters_; }
  // One at a time; null takes it back. Whoever sets it after the exit is not
  // told: ask code(). REQUIRES: the observer holds a handle meanwhile.
  void SetExitObserver(ExitObserver* observer) noexcept {
    observer_ = observer;
  }
  const std::string& what() const { return what_; }
  // Throws std::runtime_error if `task` belongs to another loop.
  void CheckLoop(const coil::internal::TaskCore* task) const;

  // Throw OsError, ESRCH after the exit, and std::invalid_argument.
  void Signal(int signal);
  void SignalGroup(int signal);
  // SIGKILL to the child, and to its group if that is its own.
  void KillAll() noexcept;
  // Nobody will signal the group any more: what is left of it is killed, and
  // the child reaped. REQUIRES: code().
  void EndGroup() noexcept;

  // Communicate() was given its input.
  bool input_given = false;

 private:
  ~ChildProcess() = default;

  void OnReady(IoEvents events) noexcept override;
  void OnLoopClose() noexcept override;
  // Asks for the end, and reaps if `reap`. False if it has not ended.
  bool Poll(bool reap) noexcept;
  void LetGoOfLoop() noexcept;
  void LastHandleGone() noexcept;
  // Without handles and without a loop; this is deleted.
  void Leave() noexcept;
  bool Forked() const noexcept;
  void ReportIfUnknown() noexcept;
  [[noreturn]] void ThrowSignalError(int error) const;

  coil::internal::LoopCore* const home_;
  const uint64_t home_id_;
  Poller* const poller_;
  const uint32_t fork_generation_;
  bool attached_ = false;  // to the loop
  uint32_t references_ = 0;
  pid_t pid_ = -1;
  PipeEnd pidfd_;
  bool own_group_;
  bool kill_on_drop_;
  bool killed_ = false;
  bool reaped_ = true;    // until there is a child
  bool unknown_ = false;  // somebody else has taken the status
  std::optional<int> code_;
  std::string program_;
  std::string what_;
  WaitList waiters_;
  ExitObserver* observer_ = nullptr;
};

using ChildRef = coil::internal::RefPtr<ChildProcess>;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_CHILD_PROCESS_H_
