// coil/task/internal/promise.h
//
// What a coroutine of coil is made of: the promise behind Co<T>, the awaiter
// for a child coroutine, and the translation of everything that can be awaited.
//
// Control transfer is symmetric with a budget (docs/design/0002): an await of a
// child costs two hops, each counted.
//
// Threads: the loop's thread only.
// Lifetime: a frame belongs to its Co, then to the awaiter in its parent's
//   frame, or to its task.

#ifndef COIL_TASK_INTERNAL_PROMISE_H_
#define COIL_TASK_INTERNAL_PROMISE_H_

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/loop/internal/language.h"
#include "coil/task/internal/foreign_awaiter.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/result_slot.h"
#include "coil/task/internal/task_core.h"

namespace coil {
template <class T>
class Co;
}  // namespace coil

namespace coil::internal {

// Throws for a Co that is empty because it was awaited or moved from before.
[[noreturn]] void ThrowAwaitedTwice();
// Reports a Co that is destroyed without having been started.
void ReportNeverAwaited(const PromiseBase& promise) noexcept;
// Destroys a coroutine that is not to run, without the report.
void GiveUp(std::coroutine_handle<> coroutine) noexcept;
// The slow half of a destructor: a child that did not run to its end.
void DestroyUnfinished(std::coroutine_handle<> child) noexcept;

template <class T>
class Promise;

// Awaits a child coroutine; owns its frame.
template <class T>
class [[nodiscard]] CoAwaiter {
 public:
  using Handle = std::coroutine_handle<Promise<T>>;

  explicit CoAwaiter(Handle child) noexcept : child_(child) {}
  CoAwaiter(CoAwaiter&& other) noexcept
      : child_(std::exchange(other.child_, nullptr)) {}
  CoAwaiter& operator=(CoAwaiter&&) = delete;
  ~CoAwaiter() {
    if (child_) [[unlikely]]
      DestroyUnfinished(child_);
  }

  bool await_ready() const {
    if (!child_) [[unlikely]]
      ThrowAwaitedTwice();
    return false;
  }

  template <class P>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<P> parent) noexcept {
    PromiseBase& child = child_.promise();
    PromiseBase& base = parent.promise();
    child.parent = &base;
    child.task = base.task;
    return base.task->Transfer(&child);
  }

  T await_resume() {
    Finished finished(child_);
    return child_.promise().result().Take();
  }

  // The outcome without a throw; the error is left in the slot that is
  // returned.
  ResultSlot<T> TakeSlot() {
    Finished finished(child_);
    return std::move(child_.promise().result());
  }

 private:
  // Destroys the frame on the way out, by return or by throw.
  class Finished {
   public:
    explicit Finished(Handle& child) noexcept : child_(child) {}
    Finished(const Finished&) = delete;
    Finished& operator=(const Finished&) = delete;
    ~Finished() { std::exchange(child_, nullptr).destroy(); }

   private:
    Handle& child_;
  };

  Handle child_;
};

// Turns what stands behind co_await into an awaiter. Types take part by a
// member IntoAwaiter(); leaf awaiters are what they are.
template <class A>
concept HasIntoAwaiter = requires(A&& a) { std::forward<A>(a).IntoAwaiter(); };

// An awaiter that is told which task it waits for.
template <class A>
concept IsLeafAwaiter = requires(std::remove_cvref_t<A>& a, TaskCore* task) {
  a.Bind(task);
  a.await_ready();
};

template <class A>
concept HasMemberCoAwait =
    requires(A&& a) { std::forward<A>(a).operator co_await(); };

template <class A>
concept IsForeignAwaiter = !HasIntoAwaiter<A> && !IsLeafAwaiter<A> &&
                           requires(std::remove_cvref_t<A>& a) {
                             a.await_ready();
                             a.await_resume();
                           };

// Awaits a leaf awaiter that has a name and cannot be moved, which g++ 12 would
// do: co_await AwaiterRef(leaf).
template <class A>
class AwaiterRef {
 public:
  explicit AwaiterRef(A& awaiter) noexcept : awaiter_(&awaiter) {}
  void Bind(TaskCore* task) noexcept { awaiter_->Bind(task); }
  bool await_ready() { return awaiter_->await_ready(); }
  template <class P>
  auto await_suspend(std::coroutine_handle<P> self) {
    return awaiter_->await_suspend(self);
  }
  decltype(auto) await_resume() { return awaiter_->await_resume(); }

 private:
  A* awaiter_;
};

class PromiseCommon : public PromiseBase {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* p, size_t size) noexcept {
    FreeFrame(p, size);
  }

  // The location is that of the coroutine; reports of a Co that was never
  // awaited and dumps of a task that has not started show it.
  std::suspend_always initial_suspend(
      std::source_location definition =
          std::source_location::current()) noexcept {
    where = definition;
    return {};
  }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(
        std::coroutine_handle<P> self) noexcept {
      PromiseBase& promise = self.promise();
      TaskCore* task = promise.task;
      if (promise.parent != nullptr) [[likely]] {
        return task->Transfer(promise.parent);
      }
      task->RootFinished(&promise);
      return std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  template <HasIntoAwaiter A>
  auto await_transform(A&& awaitable, std::source_location location =
                                          std::source_location::current()) {
    where = location;
    auto awaiter = std::forward<A>(awaitable).IntoAwaiter();
    if constexpr (IsLeafAwaiter<decltype(awaiter)>) awaiter.Bind(task);
    return awaiter;
  }

  template <IsLeafAwaiter A>
  A&& await_transform(A&& awaiter, std::source_location location =
                                       std::source_location::current()) {
    where = location;
    awaiter.Bind(task);
    return std::forward<A>(awaiter);
  }

  template <class A>
    requires(!HasIntoAwaiter<A> && HasMemberCoAwait<A>)
  auto await_transform(A&& awaitable, std::source_location location =
                                          std::source_location::current()) {
    where = location;
    return ForeignAwaiter<
        decltype(std::forward<A>(awaitable).operator co_await())>(
        std::forward<A>(awaitable).operator co_await(), task);
  }

  template <IsForeignAwaiter A>
    requires(!HasMemberCoAwait<A>)
  auto await_transform(A&& awaiter, std::source_location location =
                                        std::source_location::current()) {
    where = location;
    return ForeignAwaiter<A>(std::forward<A>(awaiter), task);
  }

  // Anything else, for the sake of a message.
  template <class A>
    requires(!HasIntoAwaiter<A> && !IsLeafAwaiter<A> && !HasMemberCoAwait<A> &&
             !IsForeignAwaiter<A>)
  std::suspend_never await_transform(A&&) {
    static_assert(
        sizeof(A) == 0,
        "co_await takes a Co, a Task, a Future or an awaiter; this is "
        "none of them: call it without co_await");
    return {};
  }
};

template <class T>
class Promise final : public PromiseCommon {
 public:
  Co<T> get_return_object() noexcept;
  template <class U = T>
    requires std::is_constructible_v<T, U&&>
  void return_value(U&& value) {
    result_.SetValue(std::forward<U>(value));
  }
  void unhandled_exception() noexcept {
    result_.SetError(std::current_exception());
  }
  ResultSlot<T>& result() noexcept { return result_; }

 private:
  ResultSlot<T> result_;
};

template <>
class Promise<void> final : public PromiseCommon {
 public:
  Co<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void unhandled_exception() noexcept {
    result_.SetError(std::current_exception());
  }
  ResultSlot<void>& result() noexcept { return result_; }

 private:
  ResultSlot<void> result_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_PROMISE_H_
