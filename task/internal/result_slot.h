// coil/task/internal/result_slot.h
//
// Where a coroutine, a task or a future keeps its result: nothing yet, a value,
// or an error. References are kept as pointers.
//
// Threads: as its owner.
// Lifetime: owns the value or a count of the error.

#ifndef COIL_TASK_INTERNAL_RESULT_SLOT_H_
#define COIL_TASK_INTERNAL_RESULT_SLOT_H_

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace coil::internal {

// Throws InvalidStateError: the value was moved out before.
[[noreturn]] void ThrowValueMovedOut();

template <class T>
class ResultSlot {
 public:
  using Stored =
      std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                         std::remove_cv_t<T>>;
  // Over-aligned values would move the promise away from where the frame's
  // header puts it.
  static_assert(
      alignof(Stored) <= 16,
      "coil: the result of a coroutine has an alignment of at most 16; "
      "return a std::unique_ptr to an over-aligned object");

  ResultSlot() noexcept {}
  ResultSlot(ResultSlot&& other) noexcept(
      std::is_nothrow_move_constructible_v<Stored>) {
    if (other.tag_ == Tag::kValue) {
      ::new (&value_) Stored(std::move(other.value_));
    } else if (other.tag_ == Tag::kError) {
      ::new (&error_) std::exception_ptr(std::move(other.error_));
    }
    tag_ = other.tag_;
  }
  ResultSlot& operator=(ResultSlot&&) = delete;
  ~ResultSlot() { Clear(); }

  template <class U>
  void SetValue(U&& value) {
    if constexpr (std::is_reference_v<T>) {
      T reference = static_cast<T>(std::forward<U>(value));
      ::new (&value_) Stored(std::addressof(reference));
    } else {
      ::new (&value_) Stored(std::forward<U>(value));
    }
    tag_ = Tag::kValue;
  }
  void SetError(std::exception_ptr error) noexcept {
    Clear();
    ::new (&error_) std::exception_ptr(std::move(error));
    tag_ = Tag::kError;
  }

  bool HasValue() const { return tag_ == Tag::kValue; }
  bool HasError() const { return tag_ == Tag::kError; }
  std::exception_ptr Error() const {
    return tag_ == Tag::kError ? error_ : nullptr;
  }

  // The value, moved out, or the error, thrown. The slot is empty afterwards.
  T Take() {
    if (tag_ != Tag::kValue) [[unlikely]]
      Rethrow();
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      T value(std::move(value_));
      value_.~Stored();
      tag_ = Tag::kEmpty;
      return value;
    }
  }

  // The value in place, or the error, thrown.
  decltype(auto) Get() const {
    if (tag_ != Tag::kValue) [[unlikely]]
      Rethrow();
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return static_cast<const Stored&>(value_);
    }
  }

  void Clear() noexcept {
    if (tag_ == Tag::kValue) value_.~Stored();
    if (tag_ == Tag::kError) error_.~exception_ptr();
    tag_ = Tag::kEmpty;
  }

 private:
  enum class Tag : uint8_t { kEmpty, kValue, kError };

  [[noreturn]] void Rethrow() const {
    if (tag_ == Tag::kError) std::rethrow_exception(error_);
    ThrowValueMovedOut();
  }

  union {
    Stored value_;
    std::exception_ptr error_;
  };
  Tag tag_ = Tag::kEmpty;
};

template <>
class ResultSlot<void> {
 public:
  ResultSlot() = default;
  ResultSlot(ResultSlot&&) = default;
  ResultSlot& operator=(ResultSlot&&) = delete;

  void SetValue() noexcept {}
  void SetError(std::exception_ptr error) noexcept {
    error_ = std::move(error);
  }
  bool HasValue() const { return error_ == nullptr; }
  bool HasError() const { return error_ != nullptr; }
  std::exception_ptr Error() const { return error_; }
  void Take() const { Get(); }
  void Get() const {
    if (error_ != nullptr) [[unlikely]]
      std::rethrow_exception(error_);
  }
  void Clear() noexcept { error_ = nullptr; }

 private:
  std::exception_ptr error_;
};

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_RESULT_SLOT_H_
