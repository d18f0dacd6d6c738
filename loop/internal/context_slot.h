// coil/loop/internal/context_slot.h
//
// The current context of this thread, as far as the loop must know it:
// callbacks capture it when they are registered and run in it (A147). What is
// in a context is known to task/context_var.h only. Null is the empty context.
//
// Threads: a context belongs to one task or callback at a time; its count is
//   atomic because a thread pool's job takes one along.
// Lifetime: counted.

#ifndef COIL_LOOP_INTERNAL_CONTEXT_SLOT_H_
#define COIL_LOOP_INTERNAL_CONTEXT_SLOT_H_

#include <atomic>
#include <utility>

namespace coil::internal {

class ContextBase {
 public:
  ContextBase() = default;
  ContextBase(const ContextBase&) = delete;
  ContextBase& operator=(const ContextBase&) = delete;
  // A context of its own with the same values; O(1). REQUIRES: not empty.
  virtual ContextBase* Copy() = 0;
  bool empty() const { return empty_; }
  void Ref() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  virtual ~ContextBase() = default;
  void SetEmpty(bool empty) { empty_ = empty; }

 private:
  std::atomic<int> count_{1};
  bool empty_ = true;
};

// A counted pointer, null for the empty context.
class ContextRef {
 public:
  ContextRef() = default;
  // Takes over one count.
  static ContextRef Adopt(ContextBase* context) noexcept {
    ContextRef ref;
    ref.context_ = context;
    return ref;
  }
  // Shares `context`.
  explicit ContextRef(ContextBase* context) noexcept : context_(context) {
    if (context_ != nullptr) context_->Ref();
  }
  ContextRef(const ContextRef& other) noexcept : ContextRef(other.context_) {}
  ContextRef(ContextRef&& other) noexcept
      : context_(std::exchange(other.context_, nullptr)) {}
  ContextRef& operator=(ContextRef other) noexcept {
    std::swap(context_, other.context_);
    return *this;
  }
  ~ContextRef() {
    if (context_ != nullptr) context_->Unref();
  }
  ContextBase* get() const { return context_; }

 private:
  ContextBase* context_ = nullptr;
};

// The slot of this thread. Never read it in a coroutine body: a thread-local
// may be cached across a suspension there.
inline constinit thread_local ContextBase* t_context = nullptr;
// How many scopes this thread is in, a running loop being one: outside of all,
// the thread owns its context. In a loop, each task's step and each callback
// owns what comes to be in it; between them the slot is null.
inline constinit thread_local int t_scope_depth = 0;

// A copy of the current context, as a new task and a callback take it along;
// asyncio: copy_context(). Null for an empty one: most programs set no
// variable, and their tasks then carry none.
inline ContextRef CaptureContext() {
  ContextBase* const context = t_context;
  if (context == nullptr || context->empty()) return ContextRef();
  return ContextRef::Adopt(context->Copy());
}

// Makes `context` current for a scope; borrows it. A context that comes to be
// inside, because a variable is set in the empty one, belongs to the scope.
class ContextScope {
 public:
  explicit ContextScope(ContextBase* context) noexcept
      : previous_(std::exchange(t_context, context)), entered_(context) {
    ++t_scope_depth;
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  ~ContextScope() {
    --t_scope_depth;
    ContextBase* const last = std::exchange(t_context, previous_);
    if (last != entered_) last->Unref();
  }

 private:
  ContextBase* previous_;
  ContextBase* entered_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_CONTEXT_SLOT_H_
