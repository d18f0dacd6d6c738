#include "coil/loop/internal/signals.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::internal {

// The node that announces signals to a loop. It is in the inbox at most once.
class LoopSignals::Post final : public PostNode {
 public:
  explicit Post(LoopSignals* signals, std::shared_ptr<LoopRemote> remote)
      : signals_(signals), remote_(std::move(remote)) {}

  // In the signal handler.
  void Announce() noexcept {
    if (queued_.exchange(true, std::memory_order_seq_cst)) return;
    if (!remote_->Post(this)) queued_.store(false, std::memory_order_release);
  }

  void Deliver(ReadyQueue&) noexcept override {
    // First: a signal that comes during the dispatch announces itself again.
    queued_.store(false, std::memory_order_seq_cst);
    if (signals_ == nullptr) {
      delete this;
      return;
    }
    signals_->Dispatch();
  }
  void Abandon() noexcept override {
    queued_.store(false, std::memory_order_release);
    if (signals_ == nullptr) delete this;
  }

  // The owner is gone: dies now, or when the inbox lets go of it.
  void Orphan() noexcept {
    signals_ = nullptr;
    if (!queued_.load(std::memory_order_acquire)) delete this;
  }

 private:
  LoopSignals* signals_;
  std::shared_ptr<LoopRemote> remote_;
  std::atomic<bool> queued_{false};
};

namespace {

constexpr int kSignals = NSIG;

// What the handler reads. `owner` is a LoopSignals::Post, which is private.
struct SignalSlot {
  std::atomic<void*> owner{nullptr};
  std::atomic<bool> pending{false};
  // How many threads are inside of the handler of this signal.
  std::atomic<int> inside{0};
  // By a loop of which process: 0 for nobody, else a fork generation plus one.
  std::atomic<uint32_t> taken{0};
  // Written before the handler is installed.
  struct sigaction previous{};
  std::atomic<uint32_t> fork_generation{0};
};

constinit SignalSlot g_slots[kSignals];

bool Valid(int signal) { return signal > 0 && signal < kSignals; }

// False if a loop of this process has it. What a forked child has inherited
// counts as free: the loop that took it is the parent's.
bool Take(SignalSlot& slot) noexcept {
  const uint32_t mine = ForkGeneration() + 1;
  uint32_t holder = slot.taken.load(std::memory_order_relaxed);
  do {
    if (holder == mine) return false;
  } while (!slot.taken.compare_exchange_weak(holder, mine,
                                             std::memory_order_acq_rel));
  if (holder != 0) {
    slot.owner.store(nullptr, std::memory_order_seq_cst);
    slot.inside.store(0, std::memory_order_seq_cst);
  }
  return true;
}

}  // namespace

void LoopSignals::PostDeleter::operator()(Post* post) const noexcept {
  post->Orphan();
}

namespace {

void (*g_announce)(void* owner) noexcept = nullptr;

extern "C" void CoilSignalHandler(int signal) {
  const int saved = errno;
  SignalSlot& slot = g_slots[signal];
  if (slot.fork_generation.load(std::memory_order_relaxed) !=
      ForkGeneration()) {
    // In a forked child, the signal does what it did before there was a loop.
    // It is blocked here, and comes again after the return.
    ::sigaction(signal, &slot.previous, nullptr);
    ::raise(signal);
    errno = saved;
    return;
  }
  // Sequentially consistent with Remove(): either it sees us inside and waits,
  // or we see that there is no owner any more.
  slot.inside.fetch_add(1, std::memory_order_seq_cst);
  if (void* owner = slot.owner.load(std::memory_order_seq_cst)) {
    slot.pending.store(true, std::memory_order_seq_cst);
    g_announce(owner);
  }
  slot.inside.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved;
}

}  // namespace

namespace {

// 0 or an errno.
int Install(int signal, int more_flags = 0) noexcept {
  struct sigaction action{};
  action.sa_handler = CoilSignalHandler;
  sigfillset(&action.sa_mask);
  // As asyncio: user code sees no EINTR.
  action.sa_flags = SA_RESTART | more_flags;
  return Sys().sigaction(signal, &action, nullptr) == 0 ? 0 : errno;
}

}  // namespace

LoopSignals::~LoopSignals() { RemoveAll(); }

LoopSignals::Entry* LoopSignals::Find(int signal) noexcept {
  const auto at =
      std::find_if(handlers_.begin(), handlers_.end(),
                   [signal](const Entry& e) { return e.signal == signal; });
  return at != handlers_.end() ? &*at : nullptr;
}

void LoopSignals::Add(LoopCore& core, int signal, HandleRef handler) {
  if (Entry* entry = Find(signal)) {
    HandleRef previous = std::exchange(entry->handler, std::move(handler));
    entry->steps_aside = false;
    if (previous.get() != nullptr) previous.get()->Cancel();
    // Run() makes its handler one that the kernel takes away after one signal.
    static_cast<void>(Install(signal));
    return;
  }
  Watch(core, signal, std::move(handler), "AddSignalHandler");
}

void LoopSignals::Subscribe(LoopCore& core, int signal,
                            SignalListener* listener) {
  if (Find(signal) == nullptr) Watch(core, signal, HandleRef(), "SignalSet");
  Entry* entry = Find(signal);
  try {
    entry->listeners.push_back(listener);
  } catch (...) {
    if (entry->listeners.empty() && entry->handler.get() == nullptr) {
      Unwatch(entry);
    }
    throw;
  }
  if (entry->listeners.size() > 1 || entry->handler.get() == nullptr) return;
  struct sigaction current{};
  if (Sys().sigaction(signal, nullptr, &current) == 0 &&
      (current.sa_handler == SIG_DFL ||
       (current.sa_flags & SA_RESETHAND) != 0)) {
    entry->steps_aside = true;
    static_cast<void>(Install(signal));
  }
}

void LoopSignals::Unsubscribe(int signal, SignalListener* listener) noexcept {
  Entry* entry = Find(signal);
  if (entry == nullptr) return;
  std::erase(entry->listeners, listener);
  if (!entry->listeners.empty()) return;
  if (entry->handler.get() == nullptr) {
    Unwatch(entry);
  } else if (std::exchange(entry->steps_aside, false) &&
             g_slots[signal].owner.load(std::memory_order_relaxed) ==
                 post_.get()) {
    // Not in the child of a fork where another loop has taken the signal.
    static_cast<void>(Install(signal, SA_RESETHAND));
  }
}

bool LoopSignals::SteppedAside(int signal) const noexcept {
  return std::any_of(handlers_.begin(), handlers_.end(), [&](const Entry& e) {
    return e.signal == signal && e.steps_aside;
  });
}

// Takes the signal over from the system.
void LoopSignals::Watch(LoopCore& core, int signal, HandleRef handler,
                        const char* what) {
  const std::string prefix = std::string(what) + ": ";
  if (!Valid(signal)) {
    throw std::invalid_argument(prefix + std::to_string(signal) +
                                " is not a signal number");
  }
  if (signal == SIGKILL || signal == SIGSTOP) {
    throw std::runtime_error(prefix + "SIGKILL and SIGSTOP cannot be handled");
  }
  SignalSlot& slot = g_slots[signal];
  if (!Take(slot)) {
    throw std::runtime_error(prefix + "signal " + std::to_string(signal) +
                             " is handled by another loop");
  }
  struct Release {
    SignalSlot* slot;
    ~Release() {
      if (slot == nullptr) return;
      slot->owner.store(nullptr, std::memory_order_seq_cst);
      slot->taken.store(0, std::memory_order_release);
    }
  } release{&slot};
  if (post_ == nullptr) post_.reset(new Post(this, core.remote()));
  g_announce = [](void* owner) noexcept {
    static_cast<Post*>(owner)->Announce();
  };
  handlers_.reserve(handlers_.size() + 1);
  slot.pending.store(false, std::memory_order_relaxed);
  // Asked first, so that the handler never sees a half-written answer.
  struct sigaction current{};
  if (Sys().sigaction(signal, nullptr, &current) != 0) {
    throw OsError(errno, "sigaction", std::to_string(signal));
  }
  // Inherited over a fork, it is our own; what was before it is known.
  if (current.sa_handler != CoilSignalHandler) slot.previous = current;
  slot.fork_generation.store(ForkGeneration(), std::memory_order_relaxed);
  slot.owner.store(post_.get(), std::memory_order_seq_cst);
  if (const int error = Install(signal); error != 0) {
    if (error == EINVAL) {
      throw std::runtime_error(prefix + "signal " + std::to_string(signal) +
                               " cannot be handled");
    }
    throw OsError(error, "sigaction", std::to_string(signal));
  }
  release.slot = nullptr;
  handlers_.push_back(Entry{signal, std::move(handler), {}, false});
}

bool LoopSignals::Remove(int signal) noexcept {
  Entry* entry = Find(signal);
  if (entry == nullptr || entry->handler.get() == nullptr) return false;
  HandleRef handler = std::move(entry->handler);
  entry->steps_aside = false;
  if (entry->listeners.empty()) Unwatch(entry);
  handler.get()->Cancel();
  return true;
}

// Gives the signal back. REQUIRES: nobody wants it.
void LoopSignals::Unwatch(Entry* entry) noexcept {
  const int signal = entry->signal;
  SignalSlot& slot = g_slots[signal];
  // In a forked child, another loop may have taken it over.
  if (slot.owner.load(std::memory_order_relaxed) == post_.get()) {
    Sys().sigaction(signal, &slot.previous, nullptr);
    slot.owner.store(nullptr, std::memory_order_seq_cst);
    // Another thread may be in the handler with the owner in its hand. It
    // cannot be this one: the handler would have to return first. Those of the
    // parent of a forked child are not here.
    while (slot.inside.load(std::memory_order_seq_cst) != 0 &&
           slot.fork_generation.load(std::memory_order_relaxed) ==
               ForkGeneration()) {
      std::this_thread::yield();
    }
    slot.pending.store(false, std::memory_order_relaxed);
    slot.taken.store(0, std::memory_order_release);
  }
  handlers_.erase(handlers_.begin() + (entry - handlers_.data()));
}

void LoopSignals::RemoveAll() noexcept {
  while (!handlers_.empty()) {
    Entry& entry = handlers_.back();
    while (!entry.listeners.empty()) {
      SignalListener* listener = entry.listeners.back();
      entry.listeners.pop_back();
      listener->OnSignalsClosed();
    }
    if (entry.handler.get() == nullptr) {
      Unwatch(&entry);
    } else {
      Remove(entry.signal);
    }
  }
  post_.reset();
}

void LoopSignals::Dispatch() noexcept {
  for (const Entry& entry : handlers_) {
    if (g_slots[entry.signal].pending.exchange(false,
                                               std::memory_order_seq_cst)) {
      for (SignalListener* listener : entry.listeners) {
        listener->OnSignal(entry.signal);
      }
      if (entry.handler.get() == nullptr || entry.steps_aside) continue;
      static_cast<RepeatingState*>(entry.handler.get())->Trigger();
    }
  }
}

}  // namespace coil::internal
