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

  void Deliver() noexcept override {
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
  std::atomic<bool> taken{false};
  // Written before the handler is installed.
  struct sigaction previous{};
  std::atomic<uint32_t> fork_generation{0};
};

constinit SignalSlot g_slots[kSignals];

bool Valid(int signal) { return signal > 0 && signal < kSignals; }

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
int Install(int signal) noexcept {
  struct sigaction action{};
  action.sa_handler = CoilSignalHandler;
  sigfillset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // as asyncio: user code sees no EINTR
  return Sys().sigaction(signal, &action, nullptr) == 0 ? 0 : errno;
}

}  // namespace

LoopSignals::~LoopSignals() { RemoveAll(); }

void LoopSignals::Add(LoopCore& core, int signal, HandleRef handler) {
  if (!Valid(signal)) {
    throw std::invalid_argument("AddSignalHandler: " + std::to_string(signal) +
                                " is not a signal number");
  }
  if (signal == SIGKILL || signal == SIGSTOP) {
    throw std::runtime_error(
        "AddSignalHandler: SIGKILL and SIGSTOP cannot be handled");
  }
  const auto at =
      std::find_if(handlers_.begin(), handlers_.end(),
                   [signal](const Entry& e) { return e.signal == signal; });
  if (at != handlers_.end()) {
    at->handler.get()->Cancel();
    at->handler = std::move(handler);
    // Run() makes its handler one that the kernel takes away after one signal.
    static_cast<void>(Install(signal));
    return;
  }
  SignalSlot& slot = g_slots[signal];
  if (slot.taken.exchange(true, std::memory_order_acq_rel)) {
    throw std::runtime_error("AddSignalHandler: signal " +
                             std::to_string(signal) +
                             " is handled by another loop");
  }
  struct Release {
    SignalSlot* slot;
    ~Release() {
      if (slot == nullptr) return;
      slot->owner.store(nullptr, std::memory_order_seq_cst);
      slot->taken.store(false, std::memory_order_release);
    }
  } release{&slot};
  if (post_ == nullptr) post_.reset(new Post(this, core.remote()));
  g_announce = [](void* owner) noexcept {
    static_cast<Post*>(owner)->Announce();
  };
  handlers_.reserve(handlers_.size() + 1);
  slot.pending.store(false, std::memory_order_relaxed);
  // Asked first, so that the handler never sees a half-written answer.
  if (Sys().sigaction(signal, nullptr, &slot.previous) != 0) {
    throw OsError(errno, "sigaction", std::to_string(signal));
  }
  slot.fork_generation.store(ForkGeneration(), std::memory_order_relaxed);
  slot.owner.store(post_.get(), std::memory_order_seq_cst);
  if (const int error = Install(signal); error != 0) {
    if (error == EINVAL) {
      throw std::runtime_error("AddSignalHandler: signal " +
                               std::to_string(signal) + " cannot be handled");
    }
    throw OsError(error, "sigaction", std::to_string(signal));
  }
  release.slot = nullptr;
  handlers_.push_back(Entry{signal, std::move(handler)});
}

bool LoopSignals::Remove(int signal) noexcept {
  const auto at =
      std::find_if(handlers_.begin(), handlers_.end(),
                   [signal](const Entry& e) { return e.signal == signal; });
  if (at == handlers_.end()) return false;
  SignalSlot& slot = g_slots[signal];
  Sys().sigaction(signal, &slot.previous, nullptr);
  slot.owner.store(nullptr, std::memory_order_seq_cst);
  // Another thread may be in the handler with the owner in its hand. It cannot
  // be this one: the handler would have to return first.
  while (slot.inside.load(std::memory_order_seq_cst) != 0) {
    std::this_thread::yield();
  }
  slot.pending.store(false, std::memory_order_relaxed);
  slot.taken.store(false, std::memory_order_release);
  HandleRef handler = std::move(at->handler);
  handlers_.erase(at);
  handler.get()->Cancel();
  return true;
}

void LoopSignals::RemoveAll() noexcept {
  while (!handlers_.empty()) Remove(handlers_.back().signal);
  post_.reset();
}

void LoopSignals::Dispatch() noexcept {
  for (const Entry& entry : handlers_) {
    if (g_slots[entry.signal].pending.exchange(false,
                                               std::memory_order_seq_cst)) {
      static_cast<RepeatingState*>(entry.handler.get())->Trigger();
    }
  }
}

}  // namespace coil::internal
