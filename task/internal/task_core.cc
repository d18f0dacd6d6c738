#include "coil/task/internal/task_core.h"

#include <cxxabi.h>

#include <atomic>
#include <stdexcept>
#include <typeinfo>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"

namespace coil::internal {
namespace {

// Ids are unique in the process. A thread takes a block of them at once,
// because a locked instruction for each task would be seen.
constexpr uint32_t kIdBlock = 1024;
std::atomic<uint32_t> g_next_block{0};
constinit thread_local uint32_t t_next_id = 0;

uint32_t NextId() {
  if (t_next_id % kIdBlock == 0) {
    t_next_id = g_next_block.fetch_add(1, std::memory_order_relaxed) * kIdBlock;
  }
  return ++t_next_id;
}

bool IsKeyboardInterrupt(const std::exception_ptr& error) noexcept {
#if defined(__GLIBCXX__)
  const std::type_info* type = error.__cxa_exception_type();
  return type != nullptr && *type == typeid(KeyboardInterrupt);
#else
  try {
    std::rethrow_exception(error);
  } catch (const KeyboardInterrupt&) {
    return true;
  } catch (...) {
    return false;
  }
#endif
}

// When the slice of the step that runs in this thread began, in nanoseconds.
thread_local int64_t t_slice_started = 0;

// The last part of a path: reports name files as a programmer does.
std::string_view BaseName(const char* path) {
  std::string_view name(path);
  const size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

}  // namespace

// ---------------------------------------------------------------- FutureCore

FutureCore::FutureCore(LoopCore& loop, bool is_task,
                       std::source_location created)
    : loop_(&loop),
      created_(created),
      id_(NextId()),
      created_ms_(
          static_cast<uint32_t>(loop.LastNow().Nanoseconds() / 1000000)),
      is_task_(is_task) {}

FutureCore::~FutureCore() {
  // The nodes that are left belong to the future: nobody awaits it any more.
  while (waiters_ != nullptr) {
    DoneNode* node = waiters_;
    RemoveDone(node);
    node->Orphaned();
  }
}

void FutureCore::AppendDone(DoneNode* node) noexcept {
  DoneNode* last = waiters_->previous_;
  last->next_ = node;
  node->previous_ = last;
  waiters_->previous_ = node;
}

void FutureCore::RemoveDone(DoneNode* node) noexcept {
  if (!node->Linked()) return;
  if (node == waiters_) {
    waiters_ = node->next_;
    if (waiters_ != nullptr) waiters_->previous_ = node->previous_;
  } else {
    node->previous_->next_ = node->next_;
    (node->next_ != nullptr ? node->next_ : waiters_)->previous_ =
        node->previous_;
  }
  node->previous_ = node->next_ = nullptr;
}

void FutureCore::Finish(State state) noexcept {
  state_ = state;
  while (waiters_ != nullptr) {
    DoneNode* node = waiters_;
    RemoveDone(node);
    node->OnDone(*this);
  }
}

void FutureCore::ReportUnretrievedSlow() noexcept {
  ExceptionContext context(absl::StrCat(is_task_ ? "Task" : "Future",
                                        " exception was never retrieved"));
  context.exception = StoredError();
  context.task =
      absl::StrCat(Name(), " created at ", BaseName(created_.file_name()), ":",
                   created_.line());
  if (LoopCore::Exists(loop_)) {
    loop_->Report(context);
  } else {
    WriteDiagnostic(absl::StrCat("coil: ", context.message, " (", context.task,
                                 ")\n  ",
                                 DescribeException(context.exception)));
  }
}

std::string FutureCore::Name() const {
  if (extras_ != nullptr && !extras_->name.empty()) return extras_->name;
  return absl::StrCat(is_task_ ? "Task-" : "Future-", id_);
}

void FutureCore::SetName(std::string name) {
  MutableExtras().name = std::move(name);
}

// ------------------------------------------------------------------ TaskCore

TaskCore::TaskCore(LoopCore& loop, PromiseBase* root,
                   std::source_location created, bool eager)
    : FutureCore(loop, /*is_task=*/true, created), top_(root) {
  root->task = this;
  if (t_context != nullptr) SetContext(CaptureContext());
  Ref();  // the loop's
  loop.Own(this);
  state_ = State::kScheduled;
  if (!eager) loop.Schedule(this);
}

void TaskCore::CountCancel(std::string_view message) {
  ++cancel_count_;
  if (!message.empty()) {
    MutableExtras().cancel_message = message;
  } else if (extras_ != nullptr) {
    extras_->cancel_message.clear();
  }
}

// A task that awaits a task passes the request on (A23). The chain may be long
// and, by mistake, a circle: it is walked without recursion, and each task is
// marked.
bool TaskCore::Cancel(std::string_view message) {
  if (Done() || state_ == State::kFinished) return false;
  TaskCore* task = this;
  for (;;) {
    task->CountCancel(message);
    if (task->state_ != State::kSuspended) {
      task->must_cancel_ = true;
      break;
    }
    FutureCore* next = task->leaf_->ForwardsCancel();
    if (next == nullptr) {
      if (task->leaf_->OnCancel()) task->Wake();
      break;
    }
    if (next->Done() || next->state() == State::kFinished) {
      // It has ended, and this task is about to be told: the request stays
      // here.
      task->must_cancel_ = true;
      break;
    }
    task->in_cancel_ = true;
    if (!next->IsTask()) {
      next->Cancel(message);
      break;
    }
    TaskCore* next_task = static_cast<TaskCore*>(next);
    if (next_task->in_cancel_) {
      // A circle of tasks that wait for one another: it is broken here.
      if (task->leaf_->OnCancel()) task->Wake();
      break;
    }
    task = next_task;
  }
  for (task = this; task->in_cancel_;) {
    task->in_cancel_ = false;
    if (task->state_ != State::kSuspended) break;
    FutureCore* next = task->leaf_->ForwardsCancel();
    if (next == nullptr || !next->IsTask()) break;
    task = static_cast<TaskCore*>(next);
  }
  return true;
}

int TaskCore::Uncancel() noexcept {
  if (cancel_count_ > 0 && --cancel_count_ == 0) must_cancel_ = false;
  return cancel_count_;
}

const std::string& TaskCore::CancelMessage() const {
  static const std::string* const kNone = new std::string();
  return extras_ == nullptr ? *kNone : extras_->cancel_message;
}

void TaskCore::ThrowCancelled() { throw CancelledError(CancelMessage()); }

std::coroutine_handle<> TaskCore::TransferSlow(PromiseBase* next) noexcept {
  budget_ = kBudget;
  if (SliceUsedUp()) {
    SuspendScheduled(next);
  } else {
    state_ = State::kTrampoline;
    top_ = next;
  }
  return std::noop_coroutine();
}

// The clock is read once for 32 budgets, about 4,000 awaits: often enough for a
// slice of milliseconds, and too rare to be seen in a profile. The first
// reading in a step only starts the slice.
bool TaskCore::SliceUsedUp() noexcept {
  constexpr uint8_t kBudgetsBetweenReads = 32;
  if (++slices_ % kBudgetsBetweenReads != 0) return false;
  const int64_t now = loop_->clock().Now().Nanoseconds();
  if (slices_ == kBudgetsBetweenReads) {
    t_slice_started = now;
    return false;
  }
  slices_ = kBudgetsBetweenReads;
  return now - t_slice_started > loop_->time_slice();
}

void TaskCore::Run() {
  if (t_step_observer != nullptr) [[unlikely]] {
    t_step_observer->OnResume(*this);
  }
  TaskCore* const previous = std::exchange(t_current_task, this);
  ContextBase* const entered = context();
  ContextBase* const previous_context = std::exchange(t_context, entered);
  ++t_scope_depth;
  slices_ = 0;
  budget_ = kBudget;
  bool go_on = true;
  if (!started_) [[unlikely]] {
    started_ = true;
    if (must_cancel_) {
      // Cancelled before its first step: the body never runs (A18).
      DestroyChain();
      StoreCancelled();
      t_current_task = previous;
      t_context = previous_context;
      --t_scope_depth;
      FinishAs(State::kCancelled);
      return;
    }
  } else if (retry_) [[unlikely]] {
    retry_ = false;
    Leaf* leaf = leaf_;
    state_ = State::kSuspended;
    if (must_cancel_) {
      leaf_ = nullptr;
    } else {
      go_on = leaf->OnRetry();
    }
  }
  if (go_on) {
    do {
      state_ = State::kRunning;
      top_->Handle().resume();
    } while (state_ == State::kTrampoline);
  }
  t_current_task = previous;
  ContextBase* const last = std::exchange(t_context, previous_context);
  --t_scope_depth;
  // A variable was set in the empty context: what came to be is the task's.
  if (last != entered) [[unlikely]]
    SetContext(ContextRef::Adopt(last));
  if (t_step_observer != nullptr) [[unlikely]]
    t_step_observer->OnStep(*this);
  if (state_ == State::kFinished) Complete();
}

void TaskCore::StartEagerly() { Run(); }

void TaskCore::Complete() {
  State state = TakeOutcome(top_);
  top_ = nullptr;
  if (must_cancel_ && state == State::kDone) {
    // A request that no await has delivered: the task ends cancelled and its
    // value is dropped (A22).
    StoreCancelled();
    state = State::kCancelled;
  }
  if (state == State::kFailed) [[unlikely]] {
    FinishFailed();
  } else {
    FinishAs(state);
  }
}

// An error that leaves the loop is stored, too, and is no surprise to anybody
// (A34).
void TaskCore::FinishFailed() {
  const std::exception_ptr error = StoredError();
  const bool leaves = IsKeyboardInterrupt(error);
  if (leaves) retrieved_ = true;
  FinishAs(State::kFailed);
  if (leaves) std::rethrow_exception(error);
}

void TaskCore::FinishAs(State state) noexcept {
  must_cancel_ = false;
  loop_->Disown(this);
  Finish(state);
  Unref();
}

void TaskCore::DestroyChain() noexcept {
  PromiseBase* promise = std::exchange(top_, nullptr);
  leaf_ = nullptr;
  ++t_giving_up;
  while (promise != nullptr) {
    PromiseBase* parent = promise->parent;
    std::coroutine_handle<> handle = promise->Handle();
    handle.destroy();
    t_destroyed_child = handle.address();
    promise = parent;
  }
  --t_giving_up;
  t_destroyed_child = nullptr;
}

void TaskCore::OnLoopClose() noexcept {
  if (!internal_) {
    ExceptionContext context("Task was destroyed but it is pending");
    context.task = Describe();
    loop_->Report(context);
  }
  // A task that is in the ready FIFO stays there, so the loop's reference is
  // only dropped by Abandon(), when the FIFO is emptied; every task goes that
  // way.
  const bool queued = state_ == State::kScheduled;
  state_ = State::kRunning;  // what its destructors cancel or wake is not it
  DestroyChain();
  StoreCancelled();
  must_cancel_ = false;
  loop_->Disown(this);
  Finish(State::kCancelled);
  if (!queued) loop_->Schedule(this);
}

void TaskCore::Abandon() noexcept {
  if (Done()) Unref();
}

std::string TaskCore::Describe() const {
  return absl::StrCat(Name(), " created at ", BaseName(created_.file_name()),
                      ":", created_.line());
}

void ThrowNoLoop(const char* what) {
  throw std::runtime_error(
      absl::StrCat(what,
                   ": no running event loop in this thread; call it from a "
                   "coroutine that coil::Run() drives"));
}

void ThrowWrongLoop(const char* what) {
  throw std::runtime_error(absl::StrCat(
      what,
      ": the object belongs to another event loop; a future, task or lock is "
      "used on the loop that it was first used on"));
}

}  // namespace coil::internal
