#include "coil/task/internal/task_core.h"

#include <cxxabi.h>

#include <atomic>
#include <cassert>
#include <stdexcept>
#include <typeinfo>

#include "absl/strings/str_cat.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/bounded_text.h"

namespace coil::internal {
namespace {

std::atomic<uint32_t> g_next_id_block{0};

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

// True unless all are null; one branch.
template <class... P>
bool AnyOf(P*... pointers) {
  return (reinterpret_cast<uintptr_t>(pointers) | ...) != 0;
}

// The time slice of the step that runs in this thread: how many budgets it has
// spent since the clock was read, and when it began, in nanoseconds.
constinit thread_local uint8_t t_slices = 0;
constinit thread_local int64_t t_slice_started = 0;

}  // namespace

// ---------------------------------------------------------------- FutureCore

void FutureCore::TakeIdBlock() noexcept {
  t_last_id =
      g_next_id_block.fetch_add(1, std::memory_order_relaxed) * kIdBlock;
}

void FutureCore::DeleteExtras() noexcept { delete extras_; }

// A callback may own the last handle of the next future, whose callback owns
// another one: such a chain is taken down by the outermost call alone, without
// recursion.
void FutureCore::OrphanNodes() noexcept {
  constinit static thread_local DoneNode** last = nullptr;  // of the list
  DoneNode* first = std::exchange(waiters_, nullptr);
  DoneNode* const end = first->previous_;
  if (last != nullptr) {
    *last = first;
    last = &end->next_;
    return;
  }
  for (last = &end->next_; first != nullptr;) {
    DoneNode* const node = first;
    if (last == &node->next_) last = &first;
    first = node->next_;
    node->previous_ = node->next_ = nullptr;
    node->Orphaned();
  }
  last = nullptr;
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
  while (DoneNode* const node = waiters_) {
    waiters_ = node->next_;
    if (waiters_ != nullptr) [[unlikely]] {
      waiters_->previous_ = node->previous_;
      node->next_ = nullptr;
    }
    node->previous_ = nullptr;
    node->OnDone(*this);
  }
}

void FutureCore::ReportUnretrievedSlow() noexcept try {
  ExceptionContext context(absl::StrCat(is_task_ ? "Task" : "Future",
                                        " exception was never retrieved"));
  context.exception = StoredError();
  context.task =
      absl::StrCat(Name(), " created at ", BaseName(created_.file_name()), ":",
                   created_.line());
  // The last handle may have been dropped on another thread.
  if (LoopCore::Current() == loop_ ||
      (LoopExists() && !loop_->loop().IsRunning())) {
    loop_->Report(context);
  } else {
    WriteDiagnostic(absl::StrCat("coil: ", context.message, " (", context.task,
                                 ")\n  ",
                                 DescribeException(context.exception)));
  }
} catch (...) {
  WriteDiagnostic(
      "coil: an exception was never retrieved, and no memory to say more");
}

std::string FutureCore::Name() const {
  if (extras_ != nullptr && !extras_->name.empty()) return extras_->name;
  return absl::StrCat(is_task_ ? "Task-" : "Future-", id_);
}

void FutureCore::SetName(std::string name) {
  Extras& extras = MutableExtras();
  extras.renaming.exchange(true, std::memory_order_acquire);
  extras.name = std::move(name);
  extras.renaming.store(false, std::memory_order_release);
}

// ------------------------------------------------------------------ TaskCore

// Called by the constructor.
void TaskCore::TakeContextAlong() {
  try {
    SetContext(CaptureContext());
  } catch (...) {
    DestroyChain();  // nobody else owns the coroutine any more
    throw;
  }
}

void TaskCore::CountCancel(std::string_view message) {
  if (cancel_count_ < kMostCancels) [[likely]] {
    ++cancel_count_;
  } else {
    ++MutableExtras().more_cancels;
  }
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
    Leaf* const leaf = task->leaf();
    FutureCore* next = leaf->ForwardsCancel();
    if (next == nullptr) {
      if (leaf->OnCancel()) task->Wake();
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
      if (leaf->OnCancel()) task->Wake();
      break;
    }
    task = next_task;
  }
  for (task = this; task->in_cancel_;) {
    task->in_cancel_ = false;
    if (task->state_ != State::kSuspended) break;
    FutureCore* next = task->leaf()->ForwardsCancel();
    if (next == nullptr || !next->IsTask()) break;
    task = static_cast<TaskCore*>(next);
  }
  return true;
}

int TaskCore::Uncancel() noexcept {
  if (extras_ != nullptr && extras_->more_cancels > 0) {
    --extras_->more_cancels;
  } else if (cancel_count_ > 0 && --cancel_count_ == 0) {
    must_cancel_ = false;
  }
  return Cancelling();
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
  if (++t_slices % kBudgetsBetweenReads != 0) return false;
  const int64_t now = loop_->clock().Now().Nanoseconds();
  if (t_slices == kBudgetsBetweenReads) {
    t_slice_started = now;
    return false;
  }
  t_slices = kBudgetsBetweenReads;
  return now - t_slice_started > loop_->time_slice();
}

void TaskCore::Run() {
  // It is in the queue once for each time. A queue in which it is twice may be
  // a circle, so that a mistake here would spin rather than crash.
  assert(state_ == State::kScheduled && "a task was woken twice");
  if (AnyOf(t_step_observer, t_context)) [[unlikely]]
    BeginStepWithCare();
  t_current_task = this;
  if (extras_ != nullptr) [[unlikely]]
    t_context = extras_->context.get();
  if (begins_) [[unlikely]] {
    begins_ = false;
    if (must_cancel_) [[unlikely]]
      return EndUnstarted();
  }
  t_slices = 0;
  budget_ = kBudget;
  do {
    state_ = State::kRunning;
    top_->Handle().resume();
  } while (state_ == State::kTrampoline);
  EndStep();
  if (state_ == State::kFinished) Complete();
}

inline void TaskCore::EndStep() {
  t_current_task = nullptr;
  ContextBase* const last = t_context;
  if (AnyOf(t_step_observer, last)) [[unlikely]] {
    t_context = nullptr;
    if (t_step_observer != nullptr || last != context()) EndStepWithCare(last);
  }
}

void TaskCore::BeginStepWithCare() {
  if (t_step_observer != nullptr) t_step_observer->OnResume(*this);
  if (t_context != nullptr) DropStrayContext();
}

void TaskCore::EndStepWithCare(ContextBase* last) {
  // A variable was set in the empty context: what came to be is the task's.
  if (last != nullptr && last != context()) {
    SetContext(ContextRef::Adopt(last));
  }
  if (t_step_observer != nullptr) t_step_observer->OnStep(*this);
}

// Between the steps, in an exception handler or a destructor, a variable was
// set: in nobody's context.
void TaskCore::DropStrayContext() noexcept {
  std::exchange(t_context, nullptr)->Unref();
}

// Cancelled before its first step: the body never runs (A18).
void TaskCore::EndUnstarted() {
  DestroyChain();
  StoreCancelled();
  state_ = State::kFinished;
  EndStep();
  FinishAs(State::kCancelled);
}

void TaskCore::StartEagerly() {
  // It runs inside of another task's step, or outside of all.
  struct Outer {
    Outer() { ++t_scope_depth; }
    ~Outer() {
      --t_scope_depth;
      t_current_task = task;
      t_context = context;
      t_slices = slices;
      t_slice_started = slice_started;
    }
    const uint8_t slices = t_slices;
    const int64_t slice_started = t_slice_started;
    TaskCore* const task = t_current_task;
    ContextBase* const context = std::exchange(t_context, nullptr);
  } const outer;
  Run();
}

void TaskCore::Complete() {
  State state = TakeOutcome(std::exchange(top_, nullptr));
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

inline void TaskCore::FinishAs(State state) noexcept {
  must_cancel_ = false;
  loop_->Disown(this);
  Finish(state);
  Unref();
}

void TaskCore::DestroyChain() noexcept {
  PromiseBase* promise = std::exchange(top_, nullptr);
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

void TaskCore::ReportPending() const noexcept try {
  ExceptionContext context("Task was destroyed but it is pending");
  context.task = Describe();
  loop_->Report(context);
} catch (...) {
  WriteDiagnostic(
      "coil: a task was destroyed but it is pending, and no memory to say "
      "more");
}

void TaskCore::OnLoopClose() noexcept {
  if (!internal_) ReportPending();
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

size_t TaskCore::DescribeTo(char* buffer, size_t size) const noexcept {
  BoundedText text(buffer, size);
  const Extras* extras = extras_;
  if (extras != nullptr && !extras->renaming.load(std::memory_order_relaxed) &&
      !extras->name.empty()) {
    text.Put(extras->name);
  } else {
    text.Put("Task-");
    text.PutNumber(id_);
  }
  text.Put(" created at ");
  text.PutPlace(created_);
  return text.size();
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
