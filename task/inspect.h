// coil/task/inspect.h
//
// What the tasks of a loop are doing: each task's name, state, age and chain of
// awaits with file and line, what it waits for, and who awaits it. It works in
// optimised builds, since every await notes its place.
//
// Example:
//   coil::Co<void> Report() {
//     std::string everything = coil::DumpTasks();
//     coil::FutureCallGraph mine = co_await coil::CallGraph();
//     std::string text = coil::FormatCallGraph(mine);
//   }
//
// DumpTasks() for a server, and the same as a tree:
//
//   3 tasks
//   Task-1: waiting, age 3.2s
//     waits for task reader
//     in Main at main.cc:44
//     created at main.cc:90
//   reader: waiting, age 3.1s, cancel requested 1 time
//     waits for fd 7 readable
//     in Fill at stream.cc:40
//     in ReadLine at stream.cc:88
//     in Reader at main.cc:12
//     created at main.cc:43
//     awaited by Task-1
//   Task-3: running, age 0
//     created at main.cc:51
//
//   Task-1: waiting, age 3.2s
//   └── Main main.cc:44
//       └── reader: waiting, age 3.1s, cancel requested 1 time
//           └── Reader main.cc:12
//               └── ReadLine stream.cc:88
//                   └── Fill stream.cc:40
//                       └── waits for fd 7 readable
//   Task-3: running, age 0
//
// The frames of the task that runs right now are known to itself alone:
// co_await CallGraph() tells them, a dump does not.
//
// Ordering: tasks come oldest first, frames innermost first, awaiters in the
//   order in which they will be resumed.
// Cancellation: nothing here suspends or can be cancelled.
// Threads: the loop's thread only; from another one,
//   loop.CallSoonThreadSafe([&] { text = coil::DumpTasks(); }).
// Lifetime: what is returned is a copy; the handles in it are counted.
//
// asyncio: Task.get_stack (A29), get_coro (A30), get_context (A31),
// capture_call_graph and its kin (A309-A313), ps and pstree (A314, A315), the
// text form of a task (A316).

#ifndef COIL_TASK_INSPECT_H_
#define COIL_TASK_INSPECT_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/task/context_var.h"
#include "coil/task/task.h"

namespace coil {

// A coroutine in a chain of awaits, or another place in the source.
// asyncio: FrameCallGraphEntry (A312).
struct FrameCallGraphEntry {
  std::string
      function;  // "coil::Reader"; empty for the place of a CreateTask()
  std::string file;
  uint32_t line = 0;
};

// A future with its frames and those who await it. asyncio: A311.
struct FutureCallGraph {
  AnyTask future;
  std::vector<FrameCallGraphEntry> call_stack;  // innermost first
  std::vector<FutureCallGraph> awaited_by;
  // It occurs elsewhere in the graph with its awaiters (two tasks that it
  // awaits, or a circle of tasks), or is nested too deeply: `awaited_by` is
  // left out here.
  bool repeated = false;
};

// How many frames of each task are kept.
inline constexpr int kAllFrames = std::numeric_limits<int>::max();

// The graph of those who wait for `future`, directly or not. A positive
// `limit` keeps that many innermost frames of each task, a negative one that
// many outermost, zero none. A task that runs right now shows no frames.
// Throws std::runtime_error for an empty handle. asyncio: A309.
FutureCallGraph CallGraph(const AnyTask& future, int limit = kAllFrames);

namespace internal {
class CallGraphAwaiter;
}  // namespace internal

// co_await CallGraph() is the graph of the current task, with the frames of the
// coroutine that awaits it. Does not suspend.
[[nodiscard("co_await it")]] internal::CallGraphAwaiter CallGraph(
    int limit = kAllFrames);

// The text of a graph. asyncio: A310.
//
//   * Task-2
//     + Call stack:
//     |   File 'main.cc', line 12, in Worker
//     + Awaited by:
//       * Task-1
//         + Call stack:
//         |   File 'main.cc', line 44, in Main
std::string FormatCallGraph(const FutureCallGraph& graph);

// The chain of awaits, innermost first; empty for a future, and for a task that
// is done or runs right now. `limit` as for CallGraph(). asyncio: A29.
std::vector<FrameCallGraphEntry> StackOf(const AnyTask& task,
                                         int limit = kAllFrames);
// The same, a line for each frame: asyncio's print_stack().
std::string FormatStack(const AnyTask& task, int limit = kAllFrames);

// The coroutine that the task was made of, at its current await; nullopt once
// it has ended, and where StackOf() is empty. asyncio: A30.
std::optional<FrameCallGraphEntry> CoroutineOf(const AnyTask& task);

// The context that the task runs in, not a copy: the same object for all steps.
// Throws std::invalid_argument for a Future, which has none. asyncio: A31.
Context ContextOf(const AnyTask& task);

// What is known of a task.
struct TaskInfo {
  AnyTask task;
  std::string name;
  // "running", "ready", "waiting", "done", "failed", "cancelled", "pending".
  std::string_view state;
  absl::Duration age;     // to a millisecond or so; zero if its loop is gone
  int cancelling = 0;     // requests, see AnyTask::Cancelling()
  std::string waits_for;  // "timer in 3s"; empty unless it is waiting
  std::vector<FrameCallGraphEntry> call_stack;  // innermost first
  FrameCallGraphEntry created;
  std::vector<AnyTask> awaits;      // the tasks and futures that it waits for
  std::vector<AnyTask> awaited_by;  // the tasks that wait for it
};
TaskInfo Inspect(const AnyTask& task);
// All tasks of `loop` that are not done, oldest first.
std::vector<TaskInfo> InspectTasks(EventLoop& loop);

// All tasks of the running loop, as above. Throws std::runtime_error without
// one.
std::string DumpTasks();
std::string DumpTasks(EventLoop& loop);

// A line for each task, as `python -m asyncio ps` prints (A314).
//
//   name    state    age   cancels  waits for       awaited by  stack
//   Task-1  waiting  3.2s  0        task reader                 Main main.cc:44
//   reader  waiting  3.1s  1        fd 7 readable   Task-1      Fill
//   stream.cc:40 < ...
std::string FormatTaskTable(EventLoop& loop);

// Tasks below those that await them, as `python -m asyncio pstree` prints; if
// tasks wait for one another in a circle, the circles instead. asyncio: A315.
std::string FormatTaskTree(EventLoop& loop);

// "<reader waiting in Fill at stream.cc:40 waits for fd 7 readable>". Calls no
// code of the result's type. asyncio: A316.
std::string ToString(const AnyTask& task);
std::ostream& operator<<(std::ostream& out, const AnyTask& task);

// Says that `waiter` waits for `future` where the library cannot see it: a
// combinator of your own that is built on done-callbacks. Holds for the life of
// this object, so that it is always balanced. asyncio: A313.
class AwaitEdge final : private internal::DoneNode {
 public:
  // Throws std::invalid_argument if `waiter` is a Future.
  AwaitEdge(const AnyTask& future, const AnyTask& waiter);
  ~AwaitEdge();

 private:
  void OnDone(internal::FutureCore&) noexcept override {}
  internal::TaskCore* Waiter() const override;

  AnyTask future_;
  AnyTask waiter_;
};

// ---- public interface ends here ----

namespace internal {

// The text for a simulation that is stuck: the dump, of a bounded length.
std::string DescribeDeadlock(EventLoop& loop);

class CallGraphAwaiter {
 public:
  explicit CallGraphAwaiter(int limit) noexcept : limit_(limit) {}
  void Bind(TaskCore* task) noexcept { task_ = task; }
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> self) noexcept {
    innermost_ = &self.promise();
    return false;
  }
  FutureCallGraph await_resume() const;

 private:
  TaskCore* task_ = nullptr;
  PromiseBase* innermost_ = nullptr;
  int limit_;
};

}  // namespace internal

inline internal::CallGraphAwaiter CallGraph(int limit) {
  return internal::CallGraphAwaiter(limit);
}

}  // namespace coil

#endif  // COIL_TASK_INSPECT_H_
