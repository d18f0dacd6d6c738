#include "coil/task/internal/test_loop.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"
#include "coil/loop/simulation.h"
#include "coil/task/inspect.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/task_core.h"
#include "coil/task/run.h"
#include "gtest/gtest.h"

namespace coil::internal {
namespace {

thread_local TestLoop* t_test_loop = nullptr;

// Passes after which a loop that always has something ready is left alone.
constexpr int kMostSettlePasses = 1000;

ptrdiff_t OpenDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  ptrdiff_t count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

void AddSurplus(ptrdiff_t surplus, std::string_view what,
                std::vector<std::string>* out) {
  if (surplus <= 0) return;
  out->push_back(absl::StrCat(surplus, " ", what, surplus == 1 ? "" : "s",
                              " more than before"));
}

Co<void> CallBody(absl::FunctionRef<Co<void>()> body) { co_await body(); }

}  // namespace

ResourceCount ResourceCount::Take() {
  ResourceCount count;
  count.descriptors = OpenDescriptors();
  count.frames = LiveFrames();
  return count;
}

std::vector<std::string> ResourceCount::Surplus(
    const ResourceCount& before) const {
  std::vector<std::string> surplus;
  AddSurplus(descriptors - before.descriptors, "open descriptor", &surplus);
  AddSurplus(frames - before.frames, "coroutine frame or task state", &surplus);
  return surplus;
}

TestLoop::TestLoop(std::optional<uint64_t> seed) : previous_(t_test_loop) {
  SimulationOptions simulation;
  LoopOptions options;
  if (seed.has_value()) {
    simulation.seed = *seed;
    options.simulation = &simulation;
    SetDeadlockDescriber(&DescribeDeadlock);
  }
  loop_ = std::make_unique<EventLoop>(options);
  loop_->SetExceptionHandler([this](const ExceptionContext& context) {
    std::string text = context.message;
    if (context.exception != nullptr) {
      absl::StrAppend(&text, ": ", DescribeException(context.exception));
    }
    if (!context.task.empty()) absl::StrAppend(&text, " (", context.task, ")");
    if (!context.handle.empty()) {
      absl::StrAppend(&text, " (", context.handle, ")");
    }
    reports_.push_back(std::move(text));
  });
  t_test_loop = this;
}

TestLoop::~TestLoop() {
  Close();
  loop_.reset();
  t_test_loop = previous_;
}

TestLoop* TestLoop::Current() { return t_test_loop; }

TestLoop::Ended TestLoop::Run(absl::FunctionRef<Co<void>()> body) {
  Ended ended;
  Task<void> main = Spawn(CoreOf(*loop_), CallBody(body), {.name = "main"},
                          std::source_location::current());
  try {
    RunLoopUntilDone(*loop_, main);
  } catch (...) {
    ended.how = End::kStuck;
    ended.error = std::current_exception();
    return ended;
  }
  FutureCore& core = *main.core();
  ended.error = core.RetrieveError();
  if (core.Cancelled()) {
    ended.how = End::kCancelled;
  } else if (core.Failed()) {
    ended.how = End::kError;
  }
  return ended;
}

void TestLoop::Settle() {
  LoopCore& core = CoreOf(*loop_);
  for (int pass = 0; pass < kMostSettlePasses && core.HasReady(); ++pass) {
    loop_->Stop();
    loop_->RunForever();
  }
}

std::exception_ptr TestLoop::CancelRest() {
  LoopCore& core = CoreOf(*loop_);
  std::vector<AnyTask> tasks;
  for (OwnedRunnable* node = core.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    tasks.emplace_back(AnyTask::Core::Share(static_cast<TaskCore*>(node)));
  }
  try {
    for (const AnyTask& task : tasks) task.Cancel("the test has ended");
    for (const AnyTask& task : tasks) {
      if (!task.Done()) RunLoopUntilDone(*loop_, task);
    }
  } catch (...) {
    return std::current_exception();
  }
  for (const AnyTask& task : tasks) {
    if (task.Cancelled()) continue;
    if (std::exception_ptr error = task.Exception()) {
      reports_.push_back(absl::StrCat(
          "a task that was left over failed: ", DescribeException(error), " (",
          task.Name(), ")"));
    }
  }
  return nullptr;
}

std::vector<std::string> TestLoop::Registered() {
  std::vector<std::string> left;
  AddSurplus(static_cast<ptrdiff_t>(CoreOf(*loop_).TimerCount()), "armed timer",
             &left);
  // One is the loop's own.
  AddSurplus(loop_->GetPoller().WatchCount() - 1, "watched descriptor", &left);
  return left;
}

void TestLoop::Close() {
  if (loop_->IsClosed()) return;
  loop_->ShutdownDefaultExecutor();
  loop_->Close();
}

std::vector<std::string> TestLoop::TakeReports() {
  return std::exchange(reports_, {});
}

std::string ReplayCommand(const std::vector<std::string>& variables) {
  const ::testing::TestInfo* test =
      ::testing::UnitTest::GetInstance()->current_test_info();
  std::string filter;
  if (test != nullptr) {
    filter = absl::StrCat(test->test_suite_name(), ".", test->name());
  }
  // Bazel says which target this is.
  if (const char* target = std::getenv("TEST_TARGET")) {
    std::string command = absl::StrCat("bazel test ", target);
    for (const std::string& variable : variables) {
      absl::StrAppend(&command, " --test_env=", variable);
    }
    if (!filter.empty()) absl::StrAppend(&command, " --test_filter=", filter);
    return command;
  }
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  std::string command = absl::StrJoin(variables, " ");
  if (!command.empty()) command.push_back(' ');
  command.append(length > 0 ? std::string_view(path, length) : "the test");
  if (!filter.empty()) absl::StrAppend(&command, " --gtest_filter=", filter);
  return command;
}

std::optional<uint64_t> NumberFromEnvironment(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    ADD_FAILURE() << variable << " is no number: \"" << text << "\"";
    return std::nullopt;
  }
  return number;
}

}  // namespace coil::internal
