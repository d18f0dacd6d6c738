// coil/task/internal/future_core.h
//
// FutureCore is the shared state behind Future<T> and Task<T>, without its
// result: who waits for it, who refers to it, how it ended. Beside it what it
// is linked to: the promise, the leaf that a task waits in, the node of those
// who wait.
//
// Threads: the loop's thread only, but for the count of references.
// Lifetime: counted, see RefPtr.

#ifndef COIL_TASK_INTERNAL_FUTURE_CORE_H_
#define COIL_TASK_INTERNAL_FUTURE_CORE_H_

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/ref_count.h"

// A pointer that owns: passed and returned in a register all the same.
#if defined(__clang__) && __clang_major__ >= 19
#define COIL_TRIVIAL_ABI [[clang::trivial_abi]]
#else
#define COIL_TRIVIAL_ABI
#endif

namespace coil::internal {

class FutureCore;
class TaskCore;

// The part of a promise that does not depend on its result.
struct PromiseBase {
  PromiseBase* parent = nullptr;  // who awaits this coroutine
  TaskCore* task = nullptr;    // the task that runs it; null before the start
  std::source_location where;  // of its current await; before: its definition

  // The handle of the coroutine. In the Itanium ABI, which both compilers
  // follow, a promise with an alignment of at most 16 lies behind two pointers.
  std::coroutine_handle<> Handle() noexcept {
    return std::coroutine_handle<>::from_address(reinterpret_cast<char*>(this) -
                                                 2 * sizeof(void*));
  }
};

// What a suspended task waits for. Lives in the awaiter, so in the frame.
class Leaf {
 public:
  // The task was cancelled while suspended here. True: the wait is undone,
  // resume the task with CancelledError. False: it completes later, by itself.
  virtual bool OnCancel() noexcept = 0;
  // The future to which a cancel of the task is passed on; null for most.
  virtual FutureCore* ForwardsCancel() const noexcept { return nullptr; }
  // "Lock 0x12 held by Task-3": appended to `out`.
  virtual void DescribeWait(std::string* out) const = 0;
  // The futures that are waited for, for the call graph: calls `visit` for
  // each.
  virtual void VisitAwaited(void (*visit)(void* arg, FutureCore& awaited),
                            void* arg) const {
    (void)visit;
    (void)arg;
  }

 protected:
  ~Leaf() = default;
};

// Told when a future is done. Intrusive; unlinked before it dies.
class DoneNode {
 public:
  DoneNode() = default;
  DoneNode(const DoneNode&) = delete;
  DoneNode& operator=(const DoneNode&) = delete;

  // Called once, inside the completion: may only schedule. The node is
  // unlinked.
  virtual void OnDone(FutureCore& future) noexcept = 0;
  bool Linked() const { return previous_ != nullptr; }
  // The task whose wait this node is part of, for the call graph; may be null.
  virtual TaskCore* Waiter() const { return nullptr; }
  // True for a node that the future owns (a done-callback): the future is
  // dying.
  virtual void Orphaned() noexcept {}

 protected:
  ~DoneNode() = default;

 private:
  friend class FutureCore;
  DoneNode* previous_ = nullptr;  // circular: the first's is the last
  DoneNode* next_ = nullptr;
};

class FutureCore : public OwnedRunnable, public PoolAllocated {
 public:
  enum class State : uint8_t {
    kPending,    // a future without a result
    kScheduled,  // a task in the ready FIFO
    kRunning,
    kTrampoline,
    kSuspended,
    kFinished,  // the coroutine has ended, Complete() is about to run
    kDone,
    kFailed,
    kCancelled,
  };

  bool Done() const { return state_ >= State::kDone; }
  bool Cancelled() const { return state_ == State::kCancelled; }
  bool Failed() const { return state_ == State::kFailed; }
  State state() const { return state_; }
  LoopCore& loop() const { return *loop_; }
  // False also if its loop is gone and `loop` lies where that was.
  bool BelongsTo(const LoopCore& loop) const {
    return loop_ == &loop && (IsOwned() || LoopId() == loop.id());
  }
  // Slow, unless it is a task that has not ended.
  bool LoopExists() const {
    return IsOwned() || LoopCore::Exists(loop_, LoopId());
  }
  bool IsTask() const { return is_task_; }
  uint32_t id() const { return id_; }

  // Any thread: handles may be copied and dropped anywhere.
  void Ref() noexcept { references_.Add(); }
  void Unref() noexcept {
    if (references_.Drop()) Destroy();
  }
  // True if there is but one handle, and no task that runs behind it.
  bool Unique() const noexcept { return references_.Unique(); }

  // Requests cancellation; false if done. A task counts the request.
  virtual bool Cancel(std::string_view message) = 0;

  // In the order of registration, which is the order of the calls.
  void AddDone(DoneNode* node) noexcept {
    node->next_ = nullptr;
    if (waiters_ == nullptr) [[likely]] {
      node->previous_ = node;
      waiters_ = node;
    } else {
      AppendDone(node);
    }
  }
  void RemoveDone(DoneNode* node) noexcept;
  // Iterates the nodes that wait; for the call graph.
  DoneNode* FirstDone() const { return waiters_; }
  DoneNode* NextDone(DoneNode* node) const { return node->next_; }

  // The error that was stored; null unless Failed() or Cancelled().
  virtual std::exception_ptr StoredError() const = 0;
  // The error as an owner reads it: marks it as retrieved.
  std::exception_ptr RetrieveError() {
    retrieved_ = true;
    return StoredError();
  }
  // Somebody has taken the outcome: nothing to report when this dies.
  void MarkRetrieved() noexcept { retrieved_ = true; }

  std::string Name() const;
  void SetName(std::string name);
  std::source_location Created() const { return created_; }
  uint32_t CreatedMs() const { return created_ms_; }

  void Abandon() noexcept override {}

 protected:
  // A task begins with two references: the loop has one of them.
  [[gnu::always_inline]] FutureCore(LoopCore& loop, bool is_task,
                                    std::source_location created)
      : OwnedRunnable(loop.id()),
        loop_(&loop),
        created_(created),
        references_(is_task ? 2 : 1),
        id_(NextId()),
        created_ms_(loop.LastMilliseconds()),
        is_task_(is_task) {}
  ~FutureCore() {
    // The nodes that are left belong to the future: nobody awaits it any more.
    if (waiters_ != nullptr) [[unlikely]]
      OrphanNodes();
    if (extras_ != nullptr) [[unlikely]]
      DeleteExtras();
  }
  // In its loop's list: the loop exists.
  bool IsOwned() const { return is_task_ && !Done(); }
  void AppendDone(DoneNode* node) noexcept;
  void OrphanNodes() noexcept;
  virtual void Destroy() noexcept = 0;

  // Stores the state and tells those who wait.
  void Finish(State state) noexcept;
  void ReportUnretrieved() noexcept {
    if (state_ == State::kFailed && !retrieved_) [[unlikely]] {
      ReportUnretrievedSlow();
    }
  }
  void ReportUnretrievedSlow() noexcept;

  struct Extras {
    std::string name;
    // While the name changes: a signal handler in this thread, the watchdog's,
    // may look at any moment.
    std::atomic<bool> renaming{false};
    std::string cancel_message;
    int more_cancels = 0;  // than kMostCancels
    ContextRef context;
  };
  Extras& MutableExtras() {
    if (extras_ == nullptr) {
      Extras* const extras = new Extras();
      // lint: allow fence (for a signal handler in this thread)
      std::atomic_signal_fence(std::memory_order_release);
      extras_ = extras;
    }
    return *extras_;
  }
  void DeleteExtras() noexcept;

  // Ids are unique in the process. A thread takes a block of them at once,
  // because a locked instruction for each task would be seen.
  static uint32_t NextId() noexcept {
    if (t_last_id % kIdBlock == 0) [[unlikely]]
      TakeIdBlock();
    return ++t_last_id;
  }
  static void TakeIdBlock() noexcept;
  static constexpr uint32_t kIdBlock = 1024;
  static inline constinit thread_local uint32_t t_last_id = 0;

  LoopCore* loop_;
  DoneNode* waiters_ = nullptr;
  Extras* extras_ = nullptr;  // owned; null for most
  std::source_location created_;
  RefCount references_;
  uint32_t id_;
  uint32_t created_ms_;
  State state_ = State::kPending;
  uint8_t budget_ = 0;  // of a task: hops until the pump takes over
  bool is_task_ : 1;
  bool retrieved_ : 1 = false;
  // Tasks only:
  bool must_cancel_ : 1 = false;  // deliver a cancel at the next blocking await
  bool begins_ : 1 = true;        // the next step is the first, or tries again
  bool in_cancel_ : 1 = false;    // a walk along awaited tasks has passed here
  bool internal_ : 1 = false;  // made by a combinator: not reported as dropped
  uint8_t unused_ : 2 = 0;     // so that the byte is set without being read
  uint8_t cancel_count_ = 0;   // requests; what is more is in the extras
  static constexpr uint8_t kMostCancels = 255;
};

template <class Core>
class COIL_TRIVIAL_ABI RefPtr {
 public:
  RefPtr() = default;
  static RefPtr Adopt(Core* core) noexcept {
    RefPtr p;
    p.core_ = core;
    return p;
  }
  static RefPtr Share(Core* core) noexcept {
    if (core != nullptr) core->Ref();
    return Adopt(core);
  }
  RefPtr(const RefPtr& other) noexcept : core_(other.core_) {
    if (core_ != nullptr) core_->Ref();
  }
  RefPtr(RefPtr&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)) {}
  RefPtr& operator=(RefPtr other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~RefPtr() {
    if (core_ != nullptr) core_->Unref();
  }
  Core* get() const { return core_; }
  Core* operator->() const { return core_; }
  Core& operator*() const { return *core_; }
  explicit operator bool() const { return core_ != nullptr; }
  // Hands the reference to the caller.
  Core* Release() noexcept { return std::exchange(core_, nullptr); }

 private:
  Core* core_ = nullptr;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FUTURE_CORE_H_
