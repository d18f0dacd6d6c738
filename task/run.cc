#include "coil/task/run.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/signals.h"
#include "coil/task/inspect.h"

namespace coil {
namespace {

bool IsMainThread() { return syscall(SYS_gettid) == getpid(); }

bool HasDefaultAction(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 &&
         (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL;
}

}  // namespace

// Cancels the main task on the first signal; the second one finds the default
// action, also where the loop did not get to see the first. Where somebody else
// handles the signal, it is left to them.
class Runner::InterruptGuard {
 public:
  InterruptGuard(EventLoop& loop, const AnyTask& task, InterruptPolicy policy)
      : loop_(loop), task_(task) {
    if (policy == InterruptPolicy::kLeaveAlone || !IsMainThread()) return;
    Watch(SIGINT);
    if (policy == InterruptPolicy::kRaiseAlsoTerm ||
        policy == InterruptPolicy::kThrowAlsoTerm) {
      Watch(SIGTERM);
    }
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard() {
    try {
      Release();
    } catch (...) {  // in a forked child, which has no part in the loop
    }
  }

  // The signal that came; zero for none.
  int Received() const { return received_; }

  void Release() {
    for (int signal : watched_) {
      // Also while a SignalSet has the signal in its place.
      if (IsOurs(signal) ||
          internal::CoreOf(loop_).signals().SteppedAside(signal)) {
        loop_.RemoveSignalHandler(signal);
      }
    }
    watched_.clear();
  }

 private:
  void Watch(int signal) {
    if (!HasDefaultAction(signal)) return;
    loop_.AddSignalHandler(signal, [this, signal] { OnSignal(signal); });
    watched_.push_back(signal);
    // The kernel itself takes the handler away when it is called.
    struct sigaction action = {};
    if (sigaction(signal, nullptr, &action) == 0) {
      action.sa_flags |= SA_RESETHAND;
      sigaction(signal, &action, nullptr);
    }
  }
  // False if main has put a handler of its own in place by AddSignalHandler().
  static bool IsOurs(int signal) {
    struct sigaction action = {};
    return sigaction(signal, nullptr, &action) == 0 &&
           (action.sa_handler == SIG_DFL ||
            (action.sa_flags & SA_RESETHAND) != 0);
  }
  void OnSignal(int signal) {
    if (received_ != 0) return;
    received_ = signal;
    Release();
    task_.Cancel(signal == SIGINT ? "interrupted by SIGINT"
                                  : "interrupted by SIGTERM");
  }

  EventLoop& loop_;
  const AnyTask& task_;
  std::vector<int> watched_;
  int received_ = 0;
};

Runner::Runner(RunOptions options) : options_(options) {}

Runner::~Runner() {
  try {
    Close();
  } catch (...) {
    ExceptionContext context("Exception while a Runner was closed");
    context.exception = std::current_exception();
    if (loop_ != nullptr) loop_->CallExceptionHandler(context);
  }
}

EventLoop& Runner::Loop() {
  if (closed_) {
    throw std::runtime_error("Runner: it is closed");
  }
  if (loop_ == nullptr) {
    LoopOptions options = options_.loop;
    if (options_.debug.has_value()) options.debug = options_.debug;
    if (options_.simulation != nullptr)
      options.simulation = options_.simulation;
    if (options.simulation != nullptr) {
      internal::SetDeadlockDescriber(&internal::DescribeDeadlock);
    }
    loop_ = std::make_unique<EventLoop>(options);
    context_ = Context::CopyCurrent();
  }
  return *loop_;
}

void Runner::Prepare() {
  if (EventLoop::CurrentOrNull() != nullptr) {
    throw std::runtime_error(
        "Run: an event loop runs in this thread already; co_await the "
        "coroutine, "
        "or give it to CreateTask()");
  }
  internal::CheckCanRun(Loop(), "Run");
}

void Runner::CheckOwn(const AnyTask& task) const {
  if (!task.Checked().BelongsTo(internal::CoreOf(*loop_))) {
    internal::ThrowWrongLoop("Runner::Run");
  }
}

void Runner::RunUntilDone(const AnyTask& task) {
  InterruptPolicy policy = options_.on_interrupt;
  const bool simulated =
      options_.simulation != nullptr || options_.loop.simulation != nullptr;
  if (simulated && policy == InterruptPolicy::kRaise) {
    policy = InterruptPolicy::kLeaveAlone;
  }
  InterruptGuard interrupt(*loop_, task, policy);
  internal::RunLoopUntilDone(*loop_, task);
  const int signal = interrupt.Received();
  interrupt.Release();
  if (signal == 0 || !task.Cancelled()) return;
  // Only if nobody has taken the request back: then main ended for its own
  // reasons.
  if (task.Uncancel() != 0) return;
  const bool throws = options_.on_interrupt == InterruptPolicy::kThrow ||
                      options_.on_interrupt == InterruptPolicy::kThrowAlsoTerm;
  if (throws) throw KeyboardInterrupt();
  Close();
  raise(signal);
}

void Runner::CancelAll() {
  std::vector<AnyTask> tasks;
  internal::LoopCore& core = internal::CoreOf(*loop_);
  for (internal::OwnedRunnable* node = core.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    tasks.emplace_back(
        AnyTask::Core::Share(static_cast<internal::TaskCore*>(node)));
  }
  if (tasks.empty()) return;
  for (const AnyTask& task : tasks) task.Cancel("the loop is shutting down");
  for (const AnyTask& task : tasks) {
    if (!task.Done()) internal::RunLoopUntilDone(*loop_, task);
  }
  for (const AnyTask& task : tasks) {
    if (task.Cancelled()) continue;
    if (std::exception_ptr error = task.Exception()) {
      ExceptionContext context("unhandled exception during Run() shutdown");
      context.exception = error;
      context.task = task.Name();
      loop_->CallExceptionHandler(context);
    }
  }
}

void Runner::Close() {
  if (closed_) return;
  if (loop_ == nullptr) {
    closed_ = true;
    return;
  }
  if (loop_->IsRunning()) {
    throw std::runtime_error("Runner: it cannot be closed while its loop runs");
  }
  closed_ = true;
  struct CloseLoop {
    EventLoop* loop;
    ~CloseLoop() { loop->Close(); }
  } close_loop{loop_.get()};
  if (loop_->IsClosed()) return;
  CancelAll();
  loop_->ShutdownDefaultExecutor();
}

namespace internal {
namespace {

// Stops the loop in the pass after the future is done, as asyncio's callback
// does.
class StopWhenDone final : public DoneNode, public Runnable {
 public:
  explicit StopWhenDone(EventLoop& loop) : loop_(&loop) {}

  void OnDone(FutureCore& core) noexcept override {
    scheduled_ = true;
    core.loop().Schedule(this);
  }
  // The caller has gone on. It may have left before this has run.
  void Leave(FutureCore& core) noexcept {
    if (!scheduled_) {
      core.RemoveDone(this);
      delete this;
    } else {
      loop_ = nullptr;
    }
  }
  void Run() override {
    scheduled_ = false;
    if (loop_ == nullptr) {
      delete this;
    } else {
      loop_->Stop();
    }
  }
  void Abandon() noexcept override {
    scheduled_ = false;
    if (loop_ == nullptr) delete this;
  }
  std::string Describe() const override { return "end of RunUntilComplete"; }

 private:
  EventLoop* loop_;
  bool scheduled_ = false;
};

}  // namespace

void RunLoopUntilDone(EventLoop& loop, const AnyTask& task) {
  CheckCanRun(loop, "RunUntilComplete");
  FutureCore& core = task.Checked();
  if (core.Done()) return;
  struct Guard {
    FutureCore& core;
    StopWhenDone* stop;
    ~Guard() { stop->Leave(core); }
  } guard{core, new StopWhenDone(loop)};
  core.AddDone(guard.stop);
  loop.RunForever();
  if (!core.Done()) {
    throw std::runtime_error(
        absl::StrCat("RunUntilComplete: the loop was stopped before ",
                     core.Name(), " was done"));
  }
}

}  // namespace internal
}  // namespace coil
