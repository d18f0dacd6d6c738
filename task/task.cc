#include "coil/task/task.h"

#include <cxxabi.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <typeinfo>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/task/context_var.h"

namespace coil {
namespace internal {
namespace {

// A future may outlive its loop.
bool LoopIsOpen(const FutureCore& core) {
  const LoopCore* here = LoopCore::Current();
  if (here != nullptr && core.BelongsTo(*here)) [[likely]]
    return true;
  return core.LoopExists() && !core.loop().loop().IsClosed();
}

// A done-callback: waits in the future, then in the ready FIFO.
class DoneCallback final : public DoneNode, public Runnable {
 public:
  DoneCallback(FutureCore* core, uint64_t id,
               absl::AnyInvocable<void(AnyTask)> f)
      : core_(core), id_(id), f_(std::move(f)), context_(CaptureContext()) {}

  uint64_t id() const { return id_; }

  void Schedule() noexcept {
    future_ = RefPtr<FutureCore>::Share(core_);
    core_->loop().Schedule(this);
  }
  void OnDone(FutureCore&) noexcept override {
    if (LoopIsOpen(*core_)) {
      Schedule();
    } else {
      delete this;  // nobody would run it any more
    }
  }
  void Orphaned() noexcept override { delete this; }

  void Run() override {
    std::unique_ptr<DoneCallback> self(this);
    ContextScope scope(context_.get());
    try {
      f_(AnyTask(future_));
    } catch (const KeyboardInterrupt&) {
      throw;
    } catch (...) {
      ExceptionContext context("Exception in a done-callback");
      context.exception = std::current_exception();
      context.task = future_->Name();
      future_->loop().Report(context);
    }
  }
  void Abandon() noexcept override { delete this; }
  std::string Describe() const override {
    return absl::StrCat("done-callback of ", core_->Name());
  }

 private:
  FutureCore* core_;
  uint64_t id_;
  absl::AnyInvocable<void(AnyTask)> f_;
  ContextRef context_;
  RefPtr<FutureCore> future_;
};

uint64_t NextCallbackId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::exception_ptr CancelledErrorOf(const std::string& message) noexcept {
  try {
    // Without memory for its copy of the message this gives std::bad_alloc.
    std::exception_ptr error = std::make_exception_ptr(CancelledError(message));
    if (IsCancelledError(error)) return error;
  } catch (const std::bad_alloc&) {  // not even for the first copy
  }
  return std::make_exception_ptr(CancelledError());
}

bool IsCancelledError(const std::exception_ptr& error) noexcept {
#if defined(__GLIBCXX__)
  const std::type_info* type = error.__cxa_exception_type();
  return type != nullptr && *type == typeid(CancelledError);
#else
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError&) {
    return true;
  } catch (...) {
    return false;
  }
#endif
}

void ThrowNotDone(const FutureCore& core) {
  throw InvalidStateError(
      absl::StrCat(core.Name(), ": the result is not set; await it first"));
}

void ThrowAlreadyDone(const FutureCore& core) {
  throw InvalidStateError(
      absl::StrCat(core.Name(), ": it is done already; a future is set once"));
}

void ThrowNotAwaitable(const FutureCore* core, const TaskCore* task) {
  if (core == task) {
    throw std::runtime_error(
        absl::StrCat(core->Name(), ": a task cannot await itself"));
  }
  ThrowWrongLoop("co_await of a task or future");
}

void CheckThreadSlow(const FutureCore& core, const char* operation) {
  LoopCore& loop = core.loop();
  if (core.Done() || !core.LoopExists()) return;
  if (!loop.debug() || !loop.loop().IsRunning()) return;
  throw std::runtime_error(absl::StrCat(operation, ": ", core.Name(),
                                        " belongs to an event loop that runs "
                                        "in another thread; post it there with "
                                        "CallSoonThreadSafe()"));
}

void DescribeAwaited(const FutureCore& core, std::string* out) {
  absl::StrAppend(out, core.IsTask() ? "task " : "future ", core.Name());
}

void ApplyOptions(TaskCore& task, TaskOptions options) {
  if (!options.name.empty()) task.SetName(std::string(options.name));
  if (options.context != nullptr)
    task.SetContext(ShareContext(*options.context));
  if (options.eager_start) task.StartEagerly();
}

}  // namespace internal

void AnyTask::ThrowEmpty() {
  throw std::runtime_error(
      "Task: the handle is empty (default-constructed or moved from)");
}

bool AnyTask::Cancel(std::string_view message) const {
  internal::FutureCore& core = Checked();
  internal::CheckThread(core, "Cancel");
  return core.Cancel(message);
}

int AnyTask::Uncancel() const {
  internal::FutureCore& core = Checked();
  internal::CheckThread(core, "Uncancel");
  return core.IsTask() ? static_cast<internal::TaskCore&>(core).Uncancel() : 0;
}

int AnyTask::Cancelling() const {
  internal::FutureCore& core = Checked();
  return core.IsTask() ? static_cast<internal::TaskCore&>(core).Cancelling()
                       : 0;
}

bool AnyTask::Done() const { return Checked().Done(); }
bool AnyTask::Cancelled() const { return Checked().Cancelled(); }

std::exception_ptr AnyTask::Exception() const {
  internal::FutureCore& core = Checked();
  if (!core.Done()) internal::ThrowNotDone(core);
  std::exception_ptr error = core.RetrieveError();
  if (core.Cancelled()) std::rethrow_exception(error);
  return error;
}

std::string AnyTask::Name() const { return Checked().Name(); }
void AnyTask::SetName(std::string name) const {
  Checked().SetName(std::move(name));
}

CallbackId AnyTask::AddDoneCallback(absl::AnyInvocable<void(AnyTask)> f) const {
  internal::FutureCore& core = Checked();
  internal::CheckThread(core, "AddDoneCallback");
  if (f == nullptr) {
    throw std::invalid_argument(
        absl::StrCat("AddDoneCallback: the callback of ", core.Name(),
                     " is null; give it something that can be called"));
  }
  if (!internal::LoopIsOpen(core)) {
    throw std::runtime_error(absl::StrCat("AddDoneCallback: the event loop of ",
                                          core.Name(),
                                          " is closed, nobody would call it"));
  }
  const uint64_t id = internal::NextCallbackId();
  auto* callback = new internal::DoneCallback(&core, id, std::move(f));
  if (core.Done()) {
    callback->Schedule();
  } else {
    core.AddDone(callback);
  }
  return CallbackId{id};
}

bool AnyTask::RemoveDoneCallback(CallbackId id) const {
  internal::FutureCore& core = Checked();
  internal::CheckThread(core, "RemoveDoneCallback");
  for (internal::DoneNode* node = core.FirstDone(); node != nullptr;
       node = core.NextDone(node)) {
    auto* callback = dynamic_cast<internal::DoneCallback*>(node);
    if (callback != nullptr && CallbackId{callback->id()} == id) {
      core.RemoveDone(callback);
      delete callback;
      return true;
    }
  }
  return false;
}

AnyTask CurrentTask() {
  internal::TaskCore* task = internal::TaskCore::Current();
  if (task == nullptr) {
    throw std::runtime_error(
        "CurrentTask: no task runs here; call it from a coroutine");
  }
  return AnyTask(AnyTask::Core::Share(task));
}

AnyTask CurrentTaskOrNull() noexcept {
  return AnyTask(AnyTask::Core::Share(internal::TaskCore::Current()));
}

std::vector<AnyTask> AllTasks() {
  internal::LoopCore& loop = internal::RequireLoop("AllTasks");
  std::vector<AnyTask> tasks;
  tasks.reserve(loop.OwnedCount());
  for (internal::OwnedRunnable* node = loop.FirstOwned(); node != nullptr;
       node = node->NextOwned()) {
    tasks.emplace_back(
        AnyTask::Core::Share(static_cast<internal::TaskCore*>(node)));
  }
  return tasks;
}

}  // namespace coil
