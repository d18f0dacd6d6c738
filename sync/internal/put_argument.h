// coil/sync/internal/put_argument.h
//
// The argument of an operation that takes its value only once it succeeds:
// Queue::Put(), Channel::Send().
//
// Threads: one.
// Lifetime: see PutArgument.

#ifndef COIL_SYNC_INTERNAL_PUT_ARGUMENT_H_
#define COIL_SYNC_INTERNAL_PUT_ARGUMENT_H_

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__clang__)
#define COIL_LIFETIME_BOUND [[clang::lifetimebound]]
#else
#define COIL_LIFETIME_BOUND
#endif

namespace coil::internal {

// Small plain values are copied into the operation; the rest is referred to.
template <class T>
inline constexpr bool kPutByValue =
    std::is_trivially_copyable_v<T> && sizeof(T) <= 32;

// The argument of Put(). Refers to an rvalue, which lives until the end of the
// full expression; takes the value along when it is moved, since then the
// operation may outlive that expression. Owns a copy of anything else.
template <class T>
class PutArgument {
 public:
  explicit PutArgument(T&& argument) noexcept
      : source_(std::addressof(argument)) {}
  explicit PutArgument(const T& argument) : source_(Own()) {
    ::new (static_cast<void*>(source_)) T(argument);
  }
  // `awaited`: the move is the compiler's own, part of the co_await expression
  // (g++ moves an awaiter into the frame), so what is referred to lives on.
  PutArgument(PutArgument&& other, bool awaited) : source_(other.source_) {
    if (awaited && source_ != other.Own()) return;
    source_ = Own();
    ::new (static_cast<void*>(source_)) T(std::move(*other.source_));
  }
  PutArgument(const PutArgument&) = delete;
  PutArgument& operator=(const PutArgument&) = delete;
  ~PutArgument() {
    if (source_ == Own()) source_->~T();
  }
  T&& Value() noexcept { return std::move(*source_); }

 private:
  T* Own() noexcept { return reinterpret_cast<T*>(storage_); }

  alignas(T) unsigned char storage_[sizeof(T)];
  T* source_;
};

template <class T>
  requires kPutByValue<T>
class PutArgument<T> {
 public:
  explicit PutArgument(const T& argument) noexcept : value_(argument) {}
  PutArgument(PutArgument&& other, bool) noexcept : value_(other.value_) {}
  T&& Value() noexcept { return std::move(value_); }

 private:
  T value_;
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_PUT_ARGUMENT_H_
