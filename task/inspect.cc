#include "coil/task/inspect.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/task/internal/function_name.h"
#include "coil/task/internal/task_core.h"

namespace coil {
namespace {

using internal::CoreOf;
using internal::DoneNode;
using internal::FutureCore;
using internal::Leaf;
using internal::LoopCore;
using internal::OwnedRunnable;
using internal::PromiseBase;
using internal::TaskCore;
using State = FutureCore::State;

// A graph that is nested more deeply is cut: it is a tree of vectors, whose
// destructor recurses.
constexpr int kDeepestGraph = 200;

AnyTask HandleOf(FutureCore& core) {
  return AnyTask(AnyTask::Core::Share(&core));
}

FrameCallGraphEntry EntryOf(const std::source_location& where) {
  FrameCallGraphEntry entry;
  entry.function = internal::ShortFunctionName(where.function_name());
  entry.file = where.file_name();
  entry.line = where.line();
  return entry;
}

// The innermost coroutine, or null where it is not known from outside: `top` of
// a task that runs is where it was resumed, and may be gone.
const PromiseBase* Innermost(const FutureCore& core) {
  if (!core.IsTask()) return nullptr;
  const State state = core.state();
  if (state != State::kScheduled && state != State::kSuspended) return nullptr;
  return static_cast<const TaskCore&>(core).top();
}

std::vector<FrameCallGraphEntry> Frames(const PromiseBase* innermost,
                                        int limit) {
  std::vector<FrameCallGraphEntry> frames;
  if (limit == 0) return frames;
  const PromiseBase* first = innermost;
  if (limit < 0) {
    // -limit, in a type that holds it.
    const int64_t wanted = -static_cast<int64_t>(limit);
    int64_t length = 0;
    for (const PromiseBase* p = innermost; p != nullptr; p = p->parent) {
      ++length;
    }
    for (; length > wanted; --length) first = first->parent;
  }
  const char* last = nullptr;
  for (const PromiseBase* p = first; p != nullptr; p = p->parent) {
    if (limit > 0 && frames.size() == static_cast<size_t>(limit)) break;
    if (p->where.function_name() == last) {
      // Recursion makes the longest chains.
      frames.push_back(frames.back());
      frames.back().line = p->where.line();
    } else {
      frames.push_back(EntryOf(p->where));
      last = p->where.function_name();
    }
  }
  return frames;
}

const Leaf* LeafOf(const FutureCore& core) {
  if (!core.IsTask() || core.state() != State::kSuspended) return nullptr;
  return static_cast<const TaskCore&>(core).leaf();
}

// Handles in the order in which they come, each once.
class HandleList {
 public:
  void Add(FutureCore& core) {
    if (seen_.insert(&core).second) handles_.push_back(HandleOf(core));
  }
  std::vector<AnyTask> Take() { return std::move(handles_); }

 private:
  std::vector<AnyTask> handles_;
  std::unordered_set<const FutureCore*> seen_;
};

std::vector<AnyTask> AwaitersOf(const FutureCore& core) {
  HandleList awaiters;
  for (DoneNode* node = core.FirstDone(); node != nullptr;
       node = core.NextDone(node)) {
    if (TaskCore* waiter = node->Waiter()) awaiters.Add(*waiter);
  }
  return awaiters.Take();
}

std::vector<AnyTask> AwaitedBy(const FutureCore& core) {
  HandleList awaited;
  if (const Leaf* leaf = LeafOf(core)) {
    leaf->VisitAwaited(
        [](void* list, FutureCore& future) {
          static_cast<HandleList*>(list)->Add(future);
        },
        &awaited);
  }
  return awaited.Take();
}

std::string_view StateName(const FutureCore& core) {
  switch (core.state()) {
    case State::kPending:
      return "pending";
    case State::kScheduled:
      return "ready";
    case State::kRunning:
    case State::kTrampoline:
    case State::kFinished:
      return "running";
    case State::kSuspended:
      return "waiting";
    case State::kDone:
      return "done";
    case State::kFailed:
      return "failed";
    case State::kCancelled:
      return "cancelled";
  }
  return "";
}

absl::Duration AgeOf(const FutureCore& core) {
  if (!core.LoopExists()) return absl::ZeroDuration();
  const uint32_t now =
      static_cast<uint32_t>(core.loop().Now().Nanoseconds() / 1000000);
  // Modulo 2^32, as it was stored: right for tasks of up to 49 days.
  const uint32_t age = now - core.CreatedMs();
  return absl::Milliseconds(age);
}

// Builds the graph of those who wait; `seen` holds what is expanded already.
FutureCallGraph Build(FutureCore& core, const PromiseBase* innermost, int limit,
                      int depth, std::unordered_set<const FutureCore*>& seen) {
  FutureCallGraph graph;
  graph.future = HandleOf(core);
  graph.call_stack = Frames(innermost, limit);
  if (depth == kDeepestGraph || !seen.insert(&core).second) {
    graph.repeated = true;
    return graph;
  }
  for (const AnyTask& waiter : AwaitersOf(core)) {
    graph.awaited_by.push_back(Build(*waiter.core(), Innermost(*waiter.core()),
                                     limit, depth + 1, seen));
  }
  return graph;
}

FutureCallGraph BuildFrom(FutureCore& core, const PromiseBase* innermost,
                          int limit) {
  std::unordered_set<const FutureCore*> seen;
  return Build(core, innermost, limit, 0, seen);
}

}  // namespace

FutureCallGraph CallGraph(const AnyTask& future, int limit) {
  FutureCore& core = future.Checked();
  return BuildFrom(core, Innermost(core), limit);
}

FutureCallGraph internal::CallGraphAwaiter::await_resume() const {
  return BuildFrom(*task_, innermost_, limit_);
}

std::vector<FrameCallGraphEntry> StackOf(const AnyTask& task, int limit) {
  return Frames(Innermost(task.Checked()), limit);
}

std::optional<FrameCallGraphEntry> CoroutineOf(const AnyTask& task) {
  std::vector<FrameCallGraphEntry> outermost =
      Frames(Innermost(task.Checked()), -1);
  if (outermost.empty()) return std::nullopt;
  return std::move(outermost.front());
}

Context ContextOf(const AnyTask& task) {
  FutureCore& future = task.Checked();
  if (!future.IsTask()) {
    throw std::invalid_argument(
        absl::StrCat("ContextOf: ", future.Name(),
                     " is a future; only a task runs in a context"));
  }
  TaskCore& core = static_cast<TaskCore&>(future);
  if (internal::ContextBase* context = core.context()) {
    return Context(internal::ContextRef(context));
  }
  const bool runs = &core == TaskCore::Current();
  if (runs && internal::t_context != nullptr) {
    return Context(internal::ContextRef(internal::t_context));
  }
  // So far it had the empty context, which takes no object.
  Context context;
  if (runs) {
    // The step owns what appears in the slot, and leaves it to the task.
    internal::t_context = context.ref().get();
    internal::t_context->Ref();
  } else if (!core.Done()) {
    core.SetContext(context.ref());
  }
  return context;
}

TaskInfo Inspect(const AnyTask& task) {
  FutureCore& core = task.Checked();
  TaskInfo info;
  info.task = task;
  info.name = core.Name();
  info.state = StateName(core);
  info.age = AgeOf(core);
  if (core.IsTask()) {
    info.cancelling = static_cast<const TaskCore&>(core).Cancelling();
  }
  if (const Leaf* leaf = LeafOf(core)) leaf->DescribeWait(&info.waits_for);
  info.call_stack = StackOf(task);
  info.created.file = core.Created().file_name();
  info.created.line = core.Created().line();
  info.awaits = AwaitedBy(core);
  info.awaited_by = AwaitersOf(core);
  return info;
}

std::vector<TaskInfo> InspectTasks(EventLoop& loop) {
  LoopCore& core = CoreOf(loop);
  std::vector<TaskInfo> tasks;
  tasks.reserve(core.OwnedCount());
  for (OwnedRunnable* node = core.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    tasks.push_back(Inspect(HandleOf(*static_cast<TaskCore*>(node))));
  }
  return tasks;
}

AwaitEdge::AwaitEdge(const AnyTask& future, const AnyTask& waiter)
    : future_(future), waiter_(waiter) {
  if (!waiter_.Checked().IsTask()) {
    throw std::invalid_argument(absl::StrCat(
        "AwaitEdge: ", waiter_.Name(), " is a future; only a task awaits"));
  }
  if (!future_.Checked().Done()) future_.Checked().AddDone(this);
}

AwaitEdge::~AwaitEdge() {
  if (Linked()) future_.Checked().RemoveDone(this);
}

TaskCore* AwaitEdge::Waiter() const {
  return static_cast<TaskCore*>(waiter_.core());
}

}  // namespace coil
