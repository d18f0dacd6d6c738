// coil/task/internal/generator_promise.h
//
// The promise behind AsyncGenerator<T>, and the awaiter of one step of it.
//
// While a step runs, the generator's promise is a link of the await chain like
// that of any Co, between its own leaf and the frame of Next(); so
// cancellation, dumps and the destruction of a chain need to know nothing of
// generators. The frame belongs to the step meanwhile, and to the
// AsyncGenerator between two:
//
//   AsyncGenerator ──step──> GeneratorStep (in the frame of Next())
//                               └──owns──> frame, until it yields or ends
//
// Threads: the loop's thread only.
// Lifetime: as above; either of the two may be destroyed first.

#ifndef COIL_TASK_INTERNAL_GENERATOR_PROMISE_H_
#define COIL_TASK_INTERNAL_GENERATOR_PROMISE_H_

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "coil/task/internal/promise.h"
#include "coil/task/internal/task_core.h"

namespace coil {

template <class T>
class AsyncGenerator;

// Thrown from a co_yield by AsyncGenerator::AClose(). Not a std::exception, as
// in Python it is no Exception: `catch (const std::exception&)` lets it pass.
class GeneratorExit final {
 public:
  const char* what() const noexcept { return "generator closed"; }
};

}  // namespace coil

namespace coil::internal {

[[noreturn]] void ThrowGeneratorRunning(bool closing);
[[noreturn]] void ThrowGeneratorIgnoredExit();

enum class Ask : uint8_t { kNext, kClose };

template <class T>
class GeneratorPromise final : public PromiseCommon {
 public:
  static_assert(!std::is_reference_v<T> && !std::is_void_v<T>,
                "AsyncGenerator: T is an object; yield a pointer or a "
                "std::reference_wrapper instead of a reference");
  static_assert(alignof(T) <= 16,
                "AsyncGenerator: the values have an alignment of at most 16");

  AsyncGenerator<T> get_return_object() noexcept;

  class YieldAwaiter {
   public:
    explicit YieldAwaiter(GeneratorPromise* promise) noexcept
        : promise_(promise) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) noexcept {
      PromiseBase* asker = std::exchange(promise_->parent, nullptr);
      return promise_->task->Transfer(asker);
    }
    void await_resume() const {
      if (promise_->closing_) throw GeneratorExit();
    }

   private:
    GeneratorPromise* promise_;
  };

  template <class U = T>
    requires std::is_constructible_v<T, U&&>
  YieldAwaiter yield_value(U&& value, std::source_location location =
                                          std::source_location::current()) {
    where = location;
    value_.emplace(std::forward<U>(value));
    return YieldAwaiter(this);
  }

  void return_void() noexcept { ended_ = true; }
  void unhandled_exception() noexcept {
    ended_ = true;
    if (closing_) {
      try {
        throw;
      } catch (const GeneratorExit&) {
        return;
      } catch (...) {
      }
    }
    error_ = std::current_exception();
  }

 private:
  template <class>
  friend class GeneratorStep;

  std::optional<T> value_;
  std::exception_ptr error_;
  bool started_ = false;
  bool closing_ = false;
  bool ended_ = false;
};

template <class T>
class GeneratorStep;

// The half of an AsyncGenerator that its step refers to.
template <class T>
class GeneratorOwner {
 public:
  using Handle = std::coroutine_handle<GeneratorPromise<T>>;

  explicit GeneratorOwner(Handle frame) noexcept : frame_(frame) {}
  GeneratorOwner(GeneratorOwner&& other) noexcept
      : frame_(std::exchange(other.frame_, nullptr)),
        step_(std::exchange(other.step_, nullptr)) {
    if (step_ != nullptr) step_->owner_ = this;
  }
  GeneratorOwner& operator=(GeneratorOwner&&) = delete;
  ~GeneratorOwner() {
    if (step_ != nullptr) step_->owner_ = nullptr;
    if (frame_) frame_.destroy();
  }
  void Swap(GeneratorOwner& other) noexcept {
    std::swap(frame_, other.frame_);
    std::swap(step_, other.step_);
    if (step_ != nullptr) step_->owner_ = this;
    if (other.step_ != nullptr) other.step_->owner_ = &other;
  }

 private:
  friend class GeneratorStep<T>;
  Handle frame_;                      // null once it has ended, or in a step
  GeneratorStep<T>* step_ = nullptr;  // the one that is under way
};

// Runs a generator up to its next yield or its end.
template <class T>
class [[nodiscard]] GeneratorStep {
 public:
  GeneratorStep(GeneratorOwner<T>& owner, Ask ask) noexcept
      : owner_(&owner), ask_(ask) {}
  // Moves before it is awaited only.
  GeneratorStep(GeneratorStep&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), ask_(other.ask_) {}
  GeneratorStep& operator=(GeneratorStep&&) = delete;
  ~GeneratorStep() {
    if (!frame_) [[likely]]
      return;
    // The chain is being destroyed in the middle of the step.
    Leave();
    DestroyUnfinished(frame_);
  }

  void Bind(TaskCore*) noexcept {}

  bool await_ready() {
    if (owner_->step_ != nullptr) [[unlikely]]
      ThrowGeneratorRunning(ask_ == Ask::kClose);
    if (!owner_->frame_) return true;
    GeneratorPromise<T>& promise = owner_->frame_.promise();
    if (ask_ == Ask::kClose) {
      if (!promise.started_) {
        std::exchange(owner_->frame_, nullptr).destroy();
        return true;
      }
      promise.closing_ = true;
    }
    promise.started_ = true;
    return false;
  }

  template <class P>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<P> asker) noexcept {
    owner_->step_ = this;
    frame_ = std::exchange(owner_->frame_, nullptr);
    PromiseBase& base = asker.promise();
    PromiseBase& promise = frame_.promise();
    promise.parent = &base;
    promise.task = base.task;
    return base.task->Transfer(&promise);
  }

  std::optional<T> await_resume() {
    if (!frame_) return std::nullopt;
    GeneratorPromise<T>& promise = frame_.promise();
    if (promise.ended_) [[unlikely]] {
      std::exception_ptr error = std::move(promise.error_);
      Leave();
      std::exchange(frame_, nullptr).destroy();
      if (error != nullptr) std::rethrow_exception(error);
      return std::nullopt;
    }
    if (ask_ == Ask::kClose) [[unlikely]] {
      Leave();
      std::exchange(frame_, nullptr).destroy();
      ThrowGeneratorIgnoredExit();
    }
    GiveBack giver(*this);
    return std::exchange(promise.value_, std::nullopt);
  }

 private:
  friend class GeneratorOwner<T>;

  // Returns the frame to its owner, also if the move of the value throws.
  class GiveBack {
   public:
    explicit GiveBack(GeneratorStep& step) noexcept : step_(step) {}
    GiveBack(const GiveBack&) = delete;
    GiveBack& operator=(const GiveBack&) = delete;
    ~GiveBack() {
      auto frame = std::exchange(step_.frame_, nullptr);
      if (step_.owner_ != nullptr) {
        step_.owner_->frame_ = frame;
        step_.Leave();
      } else {
        frame.destroy();  // the generator was dropped meanwhile
      }
    }

   private:
    GeneratorStep& step_;
  };

  void Leave() noexcept {
    if (owner_ != nullptr) owner_->step_ = nullptr;
  }

  GeneratorOwner<T>* owner_;
  typename GeneratorOwner<T>::Handle frame_;
  Ask ask_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_GENERATOR_PROMISE_H_
