// coil/loop/event_loop.h
//
// EventLoop runs callbacks, timers, descriptors and signals in one thread: what
// a task is suspended on ends up here. Most programs never name it: coil::Run()
// makes one, runs a coroutine on it, and takes it down in order.
//
// Example:
//   void PrintLater() {
//     coil::EventLoop loop;
//     loop.CallLater(absl::Seconds(1), [&loop] { loop.Stop(); });
//     loop.RunForever();
//   }
//
// Ordering: callbacks run in the order in which they were scheduled; one
//   iteration polls, fires the due timers in order of (deadline, arming), and
//   runs exactly the callbacks that were ready when the pass began (asyncio's
//   A161).
// Cancellation: a cancelled Handle never runs, and drops its callable at once.
// Threads: one loop for one thread. Everything belongs to that thread, but for
//   CallSoonThreadSafe(), IsRunning() and the exception to the rule, Stop(),
//   which is posted by CallSoonThreadSafe([&] { loop.Stop(); }).
// Lifetime: a loop outlives the tasks, handles and sockets that are bound to
//   it; using them afterwards throws std::runtime_error. Close() before the end
//   of main, or let the destructor do it.

#ifndef COIL_LOOP_EVENT_LOOP_H_
#define COIL_LOOP_EVENT_LOOP_H_

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/loop/clock.h"
#include "coil/loop/internal/handle_state.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/loop_time.h"
#include "coil/loop/os_error.h"
#include "coil/loop/poller.h"

namespace coil {

class EventLoop;
class ThreadPool;
struct SimulationOptions;

// An error that no caller can receive. asyncio: the context dict (A177).
struct ExceptionContext {
  explicit ExceptionContext(std::string message_in)
      : message(std::move(message_in)) {}

  std::string message;           // always there
  std::exception_ptr exception;  // null for a plain report
  std::string task;              // name and place of the task, if it was one
  std::string handle;            // of a callback, transport or descriptor
  EventLoop* loop = nullptr;
};

using ExceptionHandler = absl::AnyInvocable<void(const ExceptionContext&)>;
using Callback = absl::AnyInvocable<void()>;

// A scheduled callback. Copies refer to the same one; dropping a Handle does
// not cancel it. asyncio: Handle (A166-A168).
class Handle {
 public:
  Handle() = default;
  // The callback will not run, what it captured is destroyed now. No effect if
  // it has run. The handle of CallSoonThreadSafe() may be cancelled from any
  // thread.
  void Cancel() const;
  bool Cancelled() const;

 private:
  friend class EventLoop;
  friend class TimerHandle;
  explicit Handle(internal::HandleState* state) noexcept : state_(state) {}
  internal::HandleRef state_;
};

// A callback scheduled for a time. asyncio: TimerHandle (A169).
class TimerHandle : public Handle {
 public:
  TimerHandle() = default;
  // When it is or was due.
  LoopTime When() const;

 private:
  friend class EventLoop;
  explicit TimerHandle(internal::HandleState* state) noexcept : Handle(state) {}
};

// All members are trivially destructible, see the rules for options.
struct LoopOptions {
  Clock* clock = nullptr;    // borrowed; the monotonic clock if null
  Poller* poller = nullptr;  // borrowed; a poller of its own if null
  // A virtual clock and a seeded order of the ready tasks; borrowed for the
  // call.
  const SimulationOptions* simulation = nullptr;
  // Unset takes COIL_DEBUG=1 from the environment (A9).
  std::optional<bool> debug = std::nullopt;
  // For how long a task whose awaits all complete at once may go on.
  absl::Duration time_slice = absl::Milliseconds(10);
  // For how long to poll without sleeping before the loop sleeps. Costs CPU,
  // saves the 10 to 20 us that waking a core takes.
  absl::Duration busy_poll = absl::ZeroDuration();
};

class EventLoop {
 public:
  // Where a callback was scheduled, for reports. Never passed by hand.
  using Where = std::source_location;

  // Throws OsError if the system refuses a poller.
  explicit EventLoop(LoopOptions options = {});
  // Closes the loop. REQUIRES: it does not run.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // The loop that runs in this thread. Throws std::runtime_error if there is
  // none. asyncio: get_running_loop() (A148).
  static EventLoop& Current();
  static EventLoop* CurrentOrNull() noexcept;

  // The time, read from the loop's clock at each call. asyncio: loop.time()
  // (A160).
  LoopTime Now() const;

  // Runs `f` on the next pass. asyncio: call_soon (A162).
  Handle CallSoon(Callback f, Where where = Where::current());
  // Runs `f` once `delay` has passed; a negative delay is due at once, an
  // infinite one never. Throws std::invalid_argument for nothing else. asyncio:
  // A164.
  TimerHandle CallLater(absl::Duration delay, Callback f,
                        Where where = Where::current());
  // asyncio: call_at (A165). Equal times run in the order of these calls.
  TimerHandle CallAt(LoopTime when, Callback f, Where where = Where::current());
  // CallSoon for other threads and for signal handlers' threads. Wakes the
  // loop. Throws std::runtime_error if the loop is closed. asyncio: A163.
  Handle CallSoonThreadSafe(Callback f, Where where = Where::current());

  // Runs until Stop(). Throws std::runtime_error if a loop runs in this thread
  // already or this one is closed. asyncio: A154.
  void RunForever();
  // Runs until `awaitable` (a Co, Task or Future) is done, and returns its
  // result or throws its error. Needs coil/task/run.h. asyncio: A153.
  template <class Awaitable>
  decltype(auto) RunUntilComplete(Awaitable&& awaitable,
                                  Where where = Where::current()) {
    return RunLoopUntilComplete(*this, std::forward<Awaitable>(awaitable),
                                where);
  }
  // Ends RunForever() after this pass; before it, one pass is run. A155.
  void Stop() noexcept;
  // Drops what is queued, closes the poller, ends the thread pool without
  // waiting for it. Idempotent. Throws std::runtime_error while running. A157.
  void Close();
  bool IsRunning() const noexcept;  // any thread
  bool IsClosed() const noexcept;

  // Takes the errors that nobody can receive; null restores the default, which
  // writes to the diagnostic sink (coil/loop/diagnostics.h). A174.
  void SetExceptionHandler(ExceptionHandler handler);
  bool HasExceptionHandler() const;
  // Gives `context` to the handler; an error of the handler itself goes to the
  // default. asyncio: A175, A176.
  void CallExceptionHandler(const ExceptionContext& context) noexcept;
  void DefaultExceptionHandler(const ExceptionContext& context) noexcept;

  // Debug mode: slow callbacks, slow polls, and connections and servers that
  // were not closed before the loop are reported; use from a wrong thread and
  // blocking sockets throw. A178, A180, A181, A183, A184.
  void SetDebug(bool on);
  bool Debug() const;
  // 100 ms at first; a poll is slow if it takes so much longer than it may
  // wait. asyncio: slow_callback_duration (A179).
  void SetSlowCallbackDuration(absl::Duration threshold);
  absl::Duration SlowCallbackDuration() const;

  // Calls `f` whenever `fd` is readable (level-triggered); replaces an earlier
  // reader. Throws OsError (EPERM: a regular file cannot be polled). A217.
  void AddReader(int fd, Callback f, Where where = Where::current());
  // True if it was watched. False after Close(). A218.
  bool RemoveReader(int fd);
  // A219
  void AddWriter(int fd, Callback f, Where where = Where::current());
  bool RemoveWriter(int fd);

  // Runs `f` on this loop when the process receives `signal`. Signals coalesce
  // as the system's do. Throws std::invalid_argument for a bad number,
  // std::runtime_error for SIGKILL, SIGSTOP, or a signal that another loop
  // handles. asyncio: A231, but any thread's loop may do it.
  void AddSignalHandler(int signal, Callback f, Where where = Where::current());
  // Restores what was there before. True if there was a handler. A232.
  bool RemoveSignalHandler(int signal);

  // The default pool, made at first use. Throws std::runtime_error after
  // ShutdownDefaultExecutor(). asyncio: A172, A173.
  ThreadPool& DefaultExecutor();
  // `pool` is borrowed; it outlives the loop.
  void SetDefaultExecutor(ThreadPool* pool);
  // Ends the default pool and waits for its jobs, at most `timeout`; false,
  // with a report, if some did not end. The loop runs meanwhile, since a job
  // may need it to end; called while it runs it blocks its thread, and such a
  // job costs the whole timeout. asyncio: A159.
  bool ShutdownDefaultExecutor(absl::Duration timeout = absl::Seconds(300));

  // Random bits for what is random about running: seeded in a simulation.
  uint64_t Random();

  // How often the loop has polled: a measure of iterations.
  uint64_t Iterations() const;
  // The poller, for those who bring their own descriptors.
  Poller& GetPoller();

 private:
  friend class internal::LoopCore;
  friend internal::LoopCore& internal::CoreOf(EventLoop& loop) noexcept;
  friend void internal::CheckCanRun(const EventLoop& loop,
                                    const char* operation);
  friend class Watchdog;
  struct Impl;

  void CheckUsable(const char* operation) const;

  internal::LoopCore core_;
  std::unique_ptr<Impl> impl_;
};

namespace internal {
inline LoopCore& CoreOf(EventLoop& loop) noexcept { return loop.core_; }
}  // namespace internal

}  // namespace coil

#endif  // COIL_LOOP_EVENT_LOOP_H_
