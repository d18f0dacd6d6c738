#include "coil/loop/event_loop.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/epoll_poller.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/handle_state.h"
#include "coil/loop/internal/loop_impl.h"
#include "coil/loop/internal/poller_choice.h"
#include "coil/loop/os_error.h"
#include "coil/loop/simulation.h"
#include "coil/loop/thread_pool.h"

namespace coil {

using internal::HandleRef;
using internal::HandleState;
using internal::LoopCore;
using internal::PostState;
using internal::ReadyQueue;
using internal::RepeatingState;
using internal::TimerState;

namespace {

bool DebugFromEnvironment() {
  const char* value = std::getenv("COIL_DEBUG");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

void CheckCallable(const Callback& f, const char* operation) {
  if (f == nullptr) [[unlikely]] {
    throw std::invalid_argument(std::string(operation) +
                                ": the callback is empty");
  }
}

}  // namespace

// ---- handles
// ------------------------------------------------------------------

void Handle::Cancel() const {
  if (state_.get() != nullptr) state_.get()->Cancel();
}

bool Handle::Cancelled() const {
  return state_.get() != nullptr && state_.get()->Cancelled();
}

LoopTime TimerHandle::When() const {
  return state_.get() != nullptr ? state_.get()->When() : LoopTime();
}

// ---- life
// ---------------------------------------------------------------------

EventLoop::EventLoop(LoopOptions options) : core_(this) {
  internal::InstallForkGuard();
  impl_ = std::make_unique<Impl>(*this);
  Impl& d = *impl_;
  d.fork_generation = internal::ForkGeneration();
  core_.remote_ = std::make_shared<internal::LoopRemote>();
  core_.signals_ = &d.signals;

  if (options.clock == nullptr) {
    if (options.simulation != nullptr) {
      d.own_clock = std::make_unique<VirtualClock>();
    } else {
      d.own_clock = std::make_unique<MonotonicClock>();
      core_.counts_ticks_ = LoopCore::kHasTicks;
    }
    options.clock = d.own_clock.get();
  }
  core_.clock_ = options.clock;
  // Tasks that are made before the first iteration have an age too.
  static_cast<void>(core_.Now());
  // A clock that can skip to where it is can skip anywhere.
  d.virtual_time = options.clock->SkipTo(options.clock->Now());
  if (options.simulation != nullptr) {
    d.shuffle = options.simulation->seed != 0;
    d.random = internal::Random(options.simulation->seed);
    d.random_seeded = true;
  }
  if (options.poller == nullptr) {
    const internal::PollerFactory make =
        internal::g_poller_factory.load(std::memory_order_acquire);
    if (make != nullptr) {
      d.own_poller = make();
    } else {
      d.own_poller = std::make_unique<EpollPoller>();
    }
    options.poller = d.own_poller.get();
  }
  d.poller = options.poller;
  d.poller->Add(d.wake_watch, core_.remote_->WakeDescriptor(), kReadable,
                Trigger::kEdge);
  core_.time_slice_ = absl::ToInt64Nanoseconds(options.time_slice);
  d.busy_poll = d.spin = options.busy_poll;
  core_.debug_ = options.debug.value_or(DebugFromEnvironment());
  d.UpdateObserved();
}

EventLoop::~EventLoop() {
  // There is no good way on, but an honest end.
  if (impl_->running.load(std::memory_order_relaxed)) {
    WriteDiagnostic("coil: an EventLoop was destroyed while it runs");
    std::abort();
  }
  Close();
}

void EventLoop::Close() {
  Impl& d = *impl_;
  if (d.running.load(std::memory_order_relaxed)) {
    throw std::runtime_error("Close: the event loop is running");
  }
  if (d.closed) return;
  d.closed = true;
  // First what other threads may wait for: a task that is destroyed waits for
  // its job on such a thread.
  for (internal::PostNode* node = core_.remote_->inbox().Close();
       node != nullptr;) {
    internal::PostNode* next = node->next_post;
    node->Abandon();
    node = next;
  }
  core_.TellResourcesOfClosing();
  // Each of these may schedule or arm more from a destructor.
  while (internal::OwnedRunnable* owned = core_.FirstOwned()) {
    owned->OnLoopClose();
    if (core_.FirstOwned() == owned) core_.Disown(owned);
  }
  while (internal::LoopResource* resource = core_.resources_) {
    core_.Detach(resource);
    resource->OnLoopClose();
  }
  d.signals.RemoveAll();
  const bool forked = d.fork_generation != internal::ForkGeneration();
  for (auto& [fd, watch] : d.descriptors) {
    d.poller->Remove(*watch);
    if (watch->reader.get() != nullptr) watch->reader.get()->Cancel();
    if (watch->writer.get() != nullptr) watch->writer.get()->Cancel();
  }
  d.descriptors.clear();
  for (;;) {
    if (internal::Runnable* node = core_.ready_.Pop()) {
      node->Abandon();
    } else if (internal::TimerNode* timer =
                   core_.timers_.PopDue(LoopTime::InfiniteFuture())) {
      timer->Abandon();
    } else {
      break;
    }
  }
  if (d.own_pool != nullptr && !forked) d.own_pool->ShutdownNow();
  d.poller->Remove(d.wake_watch);
  d.own_poller.reset();
  d.DetachProbe();
  d.poller = nullptr;
}

bool EventLoop::IsRunning() const noexcept {
  return impl_->running.load(std::memory_order_relaxed);
}

bool EventLoop::IsClosed() const noexcept { return impl_->closed; }

EventLoop& EventLoop::Current() {
  LoopCore* core = LoopCore::Current();
  if (core == nullptr) {
    throw std::runtime_error("no event loop is running in this thread");
  }
  return core->loop();
}

EventLoop* EventLoop::CurrentOrNull() noexcept {
  LoopCore* core = LoopCore::Current();
  return core != nullptr ? &core->loop() : nullptr;
}

LoopTime EventLoop::Now() const { return core_.ExactNow(); }

// ---- scheduling
// ---------------------------------------------------------------

void EventLoop::CheckUsable(const char* operation) const {
  const Impl& d = *impl_;
  if (d.closed) [[unlikely]] {
    throw std::runtime_error(std::string(operation) +
                             ": the event loop is closed");
  }
  if (d.fork_generation != internal::ForkGeneration()) [[unlikely]] {
    throw std::runtime_error(std::string(operation) + ": " + Impl::kForkedText);
  }
  if (core_.debug_) [[unlikely]]
    d.CheckThread(operation);
}

void EventLoop::Impl::CheckThread(const char* operation) const {
  if (running.load(std::memory_order_relaxed) && LoopCore::Current() != &core) {
    throw std::runtime_error(
        std::string(operation) +
        ": called from a thread that is not the event loop's; use "
        "CallSoonThreadSafe()");
  }
}

Handle EventLoop::CallSoon(Callback f, Where where) {
  CheckUsable("CallSoon");
  CheckCallable(f, "CallSoon");
  // What other threads posted before this goes before it.
  core_.DrainInbox();
  auto* state =
      new internal::LocalState(&core_, std::move(f), "CallSoon", where);
  state->CountQueue();
  core_.Schedule(state);
  return Handle(state);
}

TimerHandle EventLoop::CallLater(absl::Duration delay, Callback f,
                                 Where where) {
  CheckUsable("CallLater");
  CheckCallable(f, "CallLater");
  auto* state = new TimerState(&core_, std::move(f), "CallLater", where);
  state->CountQueue();
  core_.Arm(state, core_.RecentNow() + delay);
  return TimerHandle(state);
}

TimerHandle EventLoop::CallAt(LoopTime when, Callback f, Where where) {
  CheckUsable("CallAt");
  CheckCallable(f, "CallAt");
  auto* state = new TimerState(&core_, std::move(f), "CallAt", where);
  state->CountQueue();
  core_.Arm(state, when);
  return TimerHandle(state);
}

Handle EventLoop::CallSoonThreadSafe(Callback f, Where where) {
  if (impl_->fork_generation != internal::ForkGeneration()) {
    CheckUsable("CallSoonThreadSafe");
  }
  CheckCallable(f, "CallSoonThreadSafe");
  PostState* const state = PostState::Make(std::move(f), where);
  Handle handle(state);
  state->CountQueue();
  if (!core_.remote_->inbox().PushToAwake(state)) {
    // The post may end the loop before the call of Post() has returned.
    const std::shared_ptr<internal::LoopRemote> remote = core_.remote_;
    if (!remote->Post(state)) {
      state->Abandon();
      throw std::runtime_error("CallSoonThreadSafe: the event loop is closed");
    }
  }
  // On the loop's own thread: append order with CallSoon().
  if (LoopCore::Current() == &core_) core_.DrainInbox();
  return handle;
}

// ---- errors and debugging
// -----------------------------------------------------

void LoopCore::Report(const ExceptionContext& context) noexcept {
  loop_->CallExceptionHandler(context);
}

void EventLoop::SetExceptionHandler(ExceptionHandler handler) {
  CheckUsable("SetExceptionHandler");
  ++impl_->exception_handlers_set;
  impl_->exception_handler = std::move(handler);
}

bool EventLoop::HasExceptionHandler() const {
  return impl_->exception_handler != nullptr;
}

void EventLoop::CallExceptionHandler(const ExceptionContext& context) noexcept {
  ExceptionHandler& handler = impl_->exception_handler;
  if (handler == nullptr) return DefaultExceptionHandler(context);
  // Out of its place while it runs: it may replace itself, or restore the
  // default.
  const uint64_t set = impl_->exception_handlers_set;
  ExceptionHandler running = std::move(handler);
  handler = nullptr;
  try {
    running(context);
  } catch (...) {
    try {
      ExceptionContext failure("Unhandled error in exception handler");
      failure.exception = std::current_exception();
      failure.loop = this;
      DefaultExceptionHandler(failure);
    } catch (...) {
    }
    DefaultExceptionHandler(context);
  }
  if (impl_->exception_handlers_set == set) handler = std::move(running);
}

void EventLoop::DefaultExceptionHandler(
    const ExceptionContext& context) noexcept {
  try {
    std::string text =
        "coil: " + (context.message.empty() ? std::string("Unhandled error")
                                            : context.message);
    if (context.exception != nullptr) {
      text += "\n  exception: " + DescribeException(context.exception);
    }
    if (!context.task.empty()) text += "\n  task: " + context.task;
    if (!context.handle.empty()) text += "\n  handle: " + context.handle;
    WriteDiagnostic(text);
  } catch (...) {
    WriteDiagnostic("coil: an error, and no memory to describe it");
  }
}

void EventLoop::SetDebug(bool on) {
  core_.debug_ = on;
  impl_->UpdateObserved();
}

bool EventLoop::Debug() const { return core_.debug_; }

void EventLoop::SetSlowCallbackDuration(absl::Duration threshold) {
  impl_->slow_callback = threshold;
}

absl::Duration EventLoop::SlowCallbackDuration() const {
  return impl_->slow_callback;
}

void EventLoop::Impl::AttachProbe(internal::StallProbe* attached) {
  probe = attached;
  if (core.running_) probe->thread.store(::gettid(), std::memory_order_release);
  UpdateObserved();
}

void EventLoop::Impl::DetachProbe() noexcept {
  probe = nullptr;
  UpdateObserved();
}

void EventLoop::Impl::UpdateObserved() noexcept {
  observed = core.debug_ || probe != nullptr || shuffle;
}

// ---- descriptors and signals
// --------------------------------------------------

}  // namespace coil

namespace coil::internal {

void DescriptorWatch::OnReady(IoEvents events) noexcept {
  // A hang-up is news for both: each finds it with its next call.
  if ((events & (kReadable | kHangUp)) && reader.get() != nullptr) {
    static_cast<RepeatingState*>(reader.get())->Trigger();
  }
  if ((events & (kWritable | kHangUp)) && writer.get() != nullptr) {
    static_cast<RepeatingState*>(writer.get())->Trigger();
  }
}

IoEvents DescriptorWatch::Interest() const noexcept {
  IoEvents interest = 0;
  if (reader.get() != nullptr) interest |= kReadable;
  if (writer.get() != nullptr) interest |= kWritable;
  return interest;
}

}  // namespace coil::internal

namespace coil {

void EventLoop::Impl::AddDescriptor(int fd, Callback f, Where where,
                                    bool reader) {
  HandleRef state(new RepeatingState(
      &core, std::move(f), reader ? "AddReader" : "AddWriter", where));
  std::unique_ptr<internal::DescriptorWatch>& watch = descriptors[fd];
  if (watch == nullptr) {
    try {
      watch = std::make_unique<internal::DescriptorWatch>();
      poller->Add(*watch, fd, reader ? kReadable : kWritable, Trigger::kLevel);
    } catch (...) {
      descriptors.erase(fd);
      throw;
    }
  } else {
    poller->Modify(*watch,
                   static_cast<IoEvents>(watch->Interest() |
                                         (reader ? kReadable : kWritable)),
                   Trigger::kLevel);
  }
  HandleRef& slot = reader ? watch->reader : watch->writer;
  HandleRef previous = std::exchange(slot, std::move(state));
  if (previous.get() != nullptr) previous.get()->Cancel();
}

bool EventLoop::Impl::RemoveDescriptor(int fd, bool reader) {
  const auto at = descriptors.find(fd);
  if (at == descriptors.end()) return false;
  internal::DescriptorWatch& watch = *at->second;
  HandleRef state = std::move(reader ? watch.reader : watch.writer);
  if (state.get() == nullptr) return false;
  if (watch.Interest() == 0) {
    poller->Remove(watch);
    descriptors.erase(at);
  } else {
    poller->Modify(watch, watch.Interest(), Trigger::kLevel);
  }
  state.get()->Cancel();
  return true;
}

void EventLoop::AddReader(int fd, Callback f, Where where) {
  CheckUsable("AddReader");
  CheckCallable(f, "AddReader");
  impl_->AddDescriptor(fd, std::move(f), where, true);
}

void EventLoop::AddWriter(int fd, Callback f, Where where) {
  CheckUsable("AddWriter");
  CheckCallable(f, "AddWriter");
  impl_->AddDescriptor(fd, std::move(f), where, false);
}

bool EventLoop::RemoveReader(int fd) {
  if (impl_->closed) return false;
  CheckUsable("RemoveReader");
  return impl_->RemoveDescriptor(fd, true);
}

bool EventLoop::RemoveWriter(int fd) {
  if (impl_->closed) return false;
  CheckUsable("RemoveWriter");
  return impl_->RemoveDescriptor(fd, false);
}

void EventLoop::AddSignalHandler(int signal, Callback f, Where where) {
  CheckUsable("AddSignalHandler");
  CheckCallable(f, "AddSignalHandler");
  HandleRef state(
      new RepeatingState(&core_, std::move(f), "AddSignalHandler", where));
  impl_->signals.Add(core_, signal, std::move(state));
}

bool EventLoop::RemoveSignalHandler(int signal) {
  if (impl_->closed) return false;
  CheckUsable("RemoveSignalHandler");
  return impl_->signals.Remove(signal);
}

// ---- the rest
// -----------------------------------------------------------------

ThreadPool& EventLoop::DefaultExecutor() {
  CheckUsable("DefaultExecutor");
  Impl& d = *impl_;
  if (d.pool_shut_down) {
    throw std::runtime_error(
        "DefaultExecutor: it was shut down by ShutdownDefaultExecutor()");
  }
  if (d.pool == nullptr) {
    // asyncio's number: most jobs wait, they do not compute.
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    d.own_pool = std::make_unique<ThreadPool>(std::min(32, cores + 4));
    d.pool = d.own_pool.get();
  }
  return *d.pool;
}

void EventLoop::SetDefaultExecutor(ThreadPool* pool) {
  CheckUsable("SetDefaultExecutor");
  if (pool == nullptr) {
    throw std::invalid_argument("SetDefaultExecutor: the pool is null");
  }
  impl_->pool = pool;
}

// A job may need the loop in order to end, so the loop runs while a thread of
// its own waits for the pool, as in asyncio.
bool EventLoop::Impl::ShutDownPool(ThreadPool& ending, absl::Duration timeout) {
  if (running.load(std::memory_order_relaxed) ||
      LoopCore::Current() != nullptr) {
    return ending.Shutdown(timeout);
  }
  class Ended final : public internal::PostNode {
   public:
    explicit Ended(EventLoop& loop) : loop_(loop) {}
    void Deliver(ReadyQueue&) noexcept override {
      arrived = true;
      loop_.Stop();
    }
    void Abandon() noexcept override {}
    bool arrived = false;

   private:
    EventLoop& loop_;
  } ended(loop);
  bool all_ended = false;
  std::thread waiter;
  try {
    waiter = std::thread(
        [&all_ended, &ending, &ended, timeout, remote = core.remote_] {
          all_ended = ending.Shutdown(timeout);
          // Taken: the loop is not closed before the join.
          static_cast<void>(remote->Post(&ended));
        });
  } catch (const std::exception&) {  // no thread, or no memory for it
    return ending.Shutdown(timeout);
  }
  core.BeginExternal();
  struct Join {
    Impl& d;
    std::thread& waiter;
    const Ended& ended;
    ~Join() {
      if (d.fork_generation != internal::ForkGeneration()) {
        // The thread is in the parent: neither to be joined nor to be detached.
        static_cast<void>(new std::thread(std::move(waiter)));
        return;
      }
      waiter.join();
      d.core.EndExternal();
      if (ended.arrived) return;
      // An exception has left the loop: the node must not stay behind.
      d.core.DrainInbox();
      d.stopping = false;
    }
  } join{*this, waiter, ended};
  while (!ended.arrived) loop.RunForever();
  return all_ended;
}

bool EventLoop::ShutdownDefaultExecutor(absl::Duration timeout) {
  CheckUsable("ShutdownDefaultExecutor");
  Impl& d = *impl_;
  d.pool_shut_down = true;
  ThreadPool* pool = std::exchange(d.pool, nullptr);
  if (pool == nullptr || d.ShutDownPool(*pool, timeout)) return true;
  WriteDiagnostic("coil: the jobs of the default executor did not end within " +
                  absl::FormatDuration(timeout));
  return false;
}

uint64_t EventLoop::Random() {
  Impl& d = *impl_;
  if (!d.random_seeded) {
    std::random_device device;
    d.random = internal::Random((uint64_t{device()} << 32) ^ device());
    d.random_seeded = true;
  }
  return d.random.Next();
}

uint64_t EventLoop::Iterations() const { return impl_->iterations; }

Poller& EventLoop::GetPoller() {
  CheckUsable("GetPoller");
  return *impl_->poller;
}

}  // namespace coil
