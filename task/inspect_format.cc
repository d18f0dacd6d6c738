// The texts of coil/task/inspect.h.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "coil/task/inspect.h"
#include "coil/task/internal/task_core.h"

namespace coil {
namespace {

// Longer chains are shown by their ends.
constexpr size_t kInnerFrames = 40;
constexpr size_t kOuterFrames = 20;
constexpr size_t kDeepestTree = 100;
constexpr size_t kTasksInDeadlock = 200;

std::string_view BaseName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string Place(const FrameCallGraphEntry& entry) {
  return absl::StrCat(BaseName(entry.file), ":", entry.line);
}

// "waiting, age 3.2s, cancel requested 1 time"
std::string Summary(const TaskInfo& info) {
  std::string text(info.state);
  absl::StrAppend(&text, ", age ", absl::FormatDuration(info.age));
  if (info.cancelling > 0) {
    absl::StrAppend(&text, ", cancel requested ", info.cancelling,
                    info.cancelling == 1 ? " time" : " times");
  }
  return text;
}

std::string Names(const std::vector<AnyTask>& tasks) {
  return absl::StrJoin(tasks, ", ", [](std::string* out, const AnyTask& task) {
    out->append(task.Name());
  });
}

// Calls `f(frame)` for each frame that is to be shown, and `skip(n)` where n
// are left out.
template <class F, class Skip>
void ForEachShown(const std::vector<FrameCallGraphEntry>& stack, F f,
                  Skip skip) {
  for (size_t i = 0; i < stack.size(); ++i) {
    if (stack.size() > kInnerFrames + kOuterFrames && i == kInnerFrames) {
      const size_t left_out = stack.size() - kInnerFrames - kOuterFrames;
      skip(left_out);
      i += left_out;
    }
    f(stack[i]);
  }
}

void AppendDump(const TaskInfo& info, std::string* out) {
  absl::StrAppend(out, info.name, ": ", Summary(info), "\n");
  if (!info.waits_for.empty()) {
    absl::StrAppend(out, "  waits for ", info.waits_for, "\n");
  }
  ForEachShown(
      info.call_stack,
      [&](const FrameCallGraphEntry& frame) {
        absl::StrAppend(out, "  in ", frame.function, " at ", Place(frame),
                        "\n");
      },
      [&](size_t n) { absl::StrAppend(out, "  ... ", n, " more frames\n"); });
  absl::StrAppend(out, "  created at ", Place(info.created), "\n");
  if (!info.awaited_by.empty()) {
    absl::StrAppend(out, "  awaited by ", Names(info.awaited_by), "\n");
  }
}

std::string Dump(EventLoop& loop, size_t most) {
  internal::LoopCore& core = internal::CoreOf(loop);
  const size_t count = core.OwnedCount();
  std::string out = absl::StrCat(count, count == 1 ? " task\n" : " tasks\n");
  size_t shown = 0;
  for (internal::OwnedRunnable* node = core.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    if (shown++ == most) {
      absl::StrAppend(&out, "... and ", count - most, " more\n");
      break;
    }
    auto* task = static_cast<internal::TaskCore*>(node);
    AppendDump(Inspect(AnyTask(AnyTask::Core::Share(task))), &out);
  }
  return out;
}

// Who waits for whom among the tasks of a loop.
class AwaitGraph {
 public:
  explicit AwaitGraph(EventLoop& loop) : tasks_(InspectTasks(loop)) {
    for (size_t i = 0; i < tasks_.size(); ++i) {
      index_[tasks_[i].task.core()] = i;
    }
    below_.resize(tasks_.size());
    awaited_.resize(tasks_.size());
    for (size_t i = 0; i < tasks_.size(); ++i) {
      for (const AnyTask& awaited : tasks_[i].awaits) {
        if (const size_t* to = Find(awaited)) AddEdge(i, *to);
      }
      for (const AnyTask& waiter : tasks_[i].awaited_by) {
        if (const size_t* from = Find(waiter)) AddEdge(*from, i);
      }
    }
    // Both ends name an edge. Sorted as the tasks are, oldest first.
    for (std::vector<size_t>& below : below_) {
      std::sort(below.begin(), below.end());
      below.erase(std::unique(below.begin(), below.end()), below.end());
    }
  }

  const TaskInfo& task(size_t i) const { return tasks_[i]; }
  size_t size() const { return tasks_.size(); }
  const std::vector<size_t>& below(size_t i) const { return below_[i]; }
  bool IsRoot(size_t i) const { return !awaited_[i]; }

  // Each circle once, as the tasks on it.
  std::vector<std::vector<size_t>> Circles() const {
    enum class Mark : uint8_t { kNew, kOnPath, kSeen };
    struct Step {
      size_t task;
      size_t next = 0;
    };
    std::vector<Mark> marks(size(), Mark::kNew);
    std::vector<std::vector<size_t>> circles;
    for (size_t root = 0; root < size(); ++root) {
      if (marks[root] != Mark::kNew) continue;
      std::vector<Step> path = {{root}};
      marks[root] = Mark::kOnPath;
      while (!path.empty()) {
        Step& step = path.back();
        if (step.next == below_[step.task].size()) {
          marks[step.task] = Mark::kSeen;
          path.pop_back();
          continue;
        }
        const size_t to = below_[step.task][step.next++];
        if (marks[to] == Mark::kNew) {
          marks[to] = Mark::kOnPath;
          path.push_back({to});
        } else if (marks[to] == Mark::kOnPath) {
          std::vector<size_t> circle;
          size_t at = path.size();
          do {
            circle.push_back(path[--at].task);
          } while (path[at].task != to);
          std::reverse(circle.begin(), circle.end());
          circles.push_back(std::move(circle));
        }
      }
    }
    return circles;
  }

 private:
  const size_t* Find(const AnyTask& task) const {
    const auto at = index_.find(task.core());
    return at == index_.end() ? nullptr : &at->second;
  }
  void AddEdge(size_t from, size_t to) {
    awaited_[to] = true;
    below_[from].push_back(to);
  }

  std::vector<TaskInfo> tasks_;
  std::unordered_map<const void*, size_t> index_;
  std::vector<std::vector<size_t>> below_;
  std::vector<bool> awaited_;
};

// Prints the tree without recursion: chains of tasks may be long.
class TreePrinter {
 public:
  explicit TreePrinter(const AwaitGraph& graph) : graph_(graph) {}

  std::string Print() {
    for (size_t i = 0; i < graph_.size(); ++i) {
      if (graph_.IsRoot(i)) todo_.push_back({Item::kTask, i, 0, true});
    }
    std::reverse(todo_.begin(), todo_.end());
    while (!todo_.empty()) {
      const Item item = todo_.back();
      todo_.pop_back();
      if (item.kind == Item::kTask) {
        PrintTask(item);
      } else {
        Line(item,
             absl::StrCat("waits for ", graph_.task(item.task).waits_for));
      }
    }
    return std::move(out_);
  }

 private:
  struct Item {
    enum Kind { kTask, kWait } kind;
    size_t task;
    size_t depth;
    bool last;  // nothing follows at this depth below the same parent
  };

  // Writes a line at the depth of `item`.
  void Line(const Item& item, std::string_view text) {
    open_.resize(item.depth + 1);
    open_[item.depth] = !item.last;
    for (size_t d = 1; d < item.depth; ++d) {
      out_.append(open_[d] ? "│   " : "    ");
    }
    if (item.depth > 0) out_.append(item.last ? "└── " : "├── ");
    absl::StrAppend(&out_, text, "\n");
  }

  void PrintTask(Item item) {
    const TaskInfo& info = graph_.task(item.task);
    const bool again = !shown_.insert(item.task).second;
    Line(item, absl::StrCat(info.name,
                            again ? " (shown above)" : ": " + Summary(info)));
    if (again) return;
    Item below = item;
    below.last = true;
    std::vector<FrameCallGraphEntry> stack = info.call_stack;
    std::reverse(stack.begin(), stack.end());
    ForEachShown(
        stack,
        [&](const FrameCallGraphEntry& frame) {
          if (++below.depth > kDeepestTree) return;
          Line(below, absl::StrCat(frame.function, " ", Place(frame)));
        },
        [&](size_t n) {
          if (++below.depth > kDeepestTree) return;
          Line(below, absl::StrCat("... ", n, " more frames"));
        });
    ++below.depth;
    const std::vector<size_t>& awaited = graph_.below(item.task);
    if (below.depth > kDeepestTree) {
      if (!awaited.empty() || !info.waits_for.empty()) {
        below.depth = kDeepestTree + 1;
        Line(below, "... nested too deeply to be drawn");
      }
      return;
    }
    if (awaited.empty()) {
      if (!info.waits_for.empty()) {
        todo_.push_back({Item::kWait, item.task, below.depth, true});
      }
      return;
    }
    for (size_t i = awaited.size(); i-- > 0;) {
      todo_.push_back(
          {Item::kTask, awaited[i], below.depth, i + 1 == awaited.size()});
    }
  }

  const AwaitGraph& graph_;
  std::vector<Item> todo_;
  std::vector<bool> open_;  // at each depth, whether a line goes on downwards
  std::unordered_set<size_t> shown_;
  std::string out_;
};

void AppendGraph(const FutureCallGraph& graph, const std::string& indent,
                 std::string* out) {
  absl::StrAppend(out, indent, "* ", graph.future.Name(), "\n");
  if (!graph.call_stack.empty()) {
    absl::StrAppend(out, indent, "  + Call stack:\n");
    ForEachShown(
        graph.call_stack,
        [&](const FrameCallGraphEntry& frame) {
          absl::StrAppend(out, indent, "  |   File '", frame.file, "', line ",
                          frame.line, ", in ", frame.function, "\n");
        },
        [&](size_t n) {
          absl::StrAppend(out, indent, "  |   ... ", n, " more frames\n");
        });
  }
  if (graph.repeated) {
    absl::StrAppend(out, indent, "  + Awaited by: see above\n");
  } else if (!graph.awaited_by.empty()) {
    absl::StrAppend(out, indent, "  + Awaited by:\n");
    for (const FutureCallGraph& waiter : graph.awaited_by) {
      AppendGraph(waiter, indent + "    ", out);
    }
  }
}

}  // namespace

std::string FormatCallGraph(const FutureCallGraph& graph) {
  std::string out;
  AppendGraph(graph, "", &out);
  return out;
}

std::string FormatStack(const AnyTask& task, int limit) {
  std::string out;
  for (const FrameCallGraphEntry& frame : StackOf(task, limit)) {
    absl::StrAppend(&out, "  File '", frame.file, "', line ", frame.line,
                    ", in ", frame.function, "\n");
  }
  return out;
}

std::string DumpTasks() { return DumpTasks(EventLoop::Current()); }

std::string DumpTasks(EventLoop& loop) {
  return Dump(loop, internal::CoreOf(loop).OwnedCount());
}

std::string internal::DescribeDeadlock(EventLoop& loop) {
  return Dump(loop, kTasksInDeadlock);
}

std::string FormatTaskTable(EventLoop& loop) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back(
      {"name", "state", "age", "cancels", "waits for", "awaited by", "stack"});
  for (const TaskInfo& info : InspectTasks(loop)) {
    std::vector<std::string> stack;
    ForEachShown(
        info.call_stack,
        [&](const FrameCallGraphEntry& frame) {
          stack.push_back(absl::StrCat(frame.function, " ", Place(frame)));
        },
        [&](size_t n) { stack.push_back(absl::StrCat("... ", n, " more")); });
    rows.push_back({info.name, std::string(info.state),
                    absl::FormatDuration(info.age),
                    absl::StrCat(info.cancelling), info.waits_for,
                    Names(info.awaited_by), absl::StrJoin(stack, " < ")});
  }
  std::vector<size_t> widths(rows.front().size());
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string out;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      absl::StrAppend(&line, row[i],
                      std::string(widths[i] - row[i].size() + 2, ' '));
    }
    line.append(row.back());
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

std::string FormatTaskTree(EventLoop& loop) {
  const AwaitGraph graph(loop);
  const std::vector<std::vector<size_t>> circles = graph.Circles();
  if (circles.empty()) return TreePrinter(graph).Print();
  std::string out =
      "no tree can be drawn, because tasks wait for one another in a circle:\n";
  for (const std::vector<size_t>& circle : circles) {
    out.append("  ");
    for (size_t task : circle) {
      absl::StrAppend(&out, graph.task(task).name, " -> ");
    }
    absl::StrAppend(&out, graph.task(circle.front()).name, "\n");
  }
  return out;
}

std::string ToString(const AnyTask& task) {
  if (!task) return "<no task>";
  const TaskInfo info = Inspect(task);
  std::string text = absl::StrCat("<", info.name, " ", info.state);
  if (!info.call_stack.empty()) {
    absl::StrAppend(&text, " in ", info.call_stack.front().function, " at ",
                    Place(info.call_stack.front()));
  }
  if (!info.waits_for.empty()) {
    absl::StrAppend(&text, " waits for ", info.waits_for);
  }
  if (info.cancelling > 0) {
    absl::StrAppend(&text, " cancelling=", info.cancelling);
  }
  absl::StrAppend(&text, " created at ", Place(info.created), ">");
  return text;
}

std::ostream& operator<<(std::ostream& out, const AnyTask& task) {
  return out << ToString(task);
}

}  // namespace coil
