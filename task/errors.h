// coil/task/errors.h
//
// The exceptions of tasks. CancelledError and KeyboardInterrupt do not derive
// from std::exception, as in Python they do not derive from Exception, so that
// `catch (const std::exception&)` does not swallow a cancellation.
//
// Example:
//   std::string Explain(std::exception_ptr error) {
//     try {
//       std::rethrow_exception(error);
//     } catch (const coil::TimeoutError& e) {
//       return e.what();
//     } catch (const coil::CancelledError& e) {
//       return "cancelled: " + e.message();
//     }
//   }
//
// Ordering: an ExceptionGroup keeps its errors in the order in which they came.
// Cancellation: CancelledError is how a cancellation arrives: catch it to clean
//   up, then rethrow it. Whoever swallows it keeps the task running.
// Threads: values; an ExceptionGroup shares its errors by counted pointers.
// Lifetime: an error owns its text.

#ifndef COIL_TASK_ERRORS_H_
#define COIL_TASK_ERRORS_H_

#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/loop/internal/loop_core.h"

namespace coil {

// Thrown from the await at which a cancelled task is suspended. asyncio: A133.
class CancelledError final {
 public:
  // A string that may also be called: `e.message` and `e.message()`.
  class Text final : public std::string {
   public:
    Text() = default;
    explicit Text(std::string text) : std::string(std::move(text)) {}
    const std::string& operator()() const noexcept { return *this; }
  };

  explicit CancelledError(std::string text = "") : message(std::move(text)) {}

  Text message;  // what Cancel(message) was given; may be empty
};

// Ctrl-C, where InterruptPolicy asks for it. Thrown in a task or a callback it
// also leaves the loop: Run() cancels and awaits the rest, then throws it.
// asyncio: A6, A34.
class KeyboardInterrupt final : public internal::LeavesLoop {
 public:
  const char* what() const noexcept { return "interrupted"; }
};

// A deadline passed. asyncio: A134.
class TimeoutError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  TimeoutError() : std::runtime_error("deadline exceeded") {}
};

// An operation that the state of a task or future does not allow. asyncio:
// A135.
class InvalidStateError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Several errors at once, as a TaskGroup throws them, also for a single one.
// Python: ExceptionGroup and except*.
class ExceptionGroup : public std::runtime_error {
 public:
  // Throws std::invalid_argument if `exceptions` is empty or holds a null.
  ExceptionGroup(std::string_view message,
                 std::vector<std::exception_ptr> exceptions);

  // Those given, in their order. Nested groups stay nested.
  const std::vector<std::exception_ptr>& Exceptions() const noexcept {
    return exceptions_;
  }

  // {the errors of type E, the others}; a half without errors is nullopt.
  // Nested groups are split within, as Python's split() does; a group itself
  // is of no other type than ExceptionGroup.
  template <class E>
  std::pair<std::optional<ExceptionGroup>, std::optional<ExceptionGroup>>
  Split() const {
    return SplitIf([](const std::exception_ptr& error) { return Is<E>(error); },
                   kIsGroup<E>);
  }

  // A copy of the first error of type E, also in nested groups; null if none.
  template <class E>
  std::optional<E> Find() const {
    std::optional<E> found;
    FindIf(
        [&found](const std::exception_ptr& error) {
          try {
            std::rethrow_exception(error);
          } catch (const E& e) {
            found.emplace(e);
          } catch (...) {
          }
          return found.has_value();
        },
        kIsGroup<E>);
    return found;
  }

  template <class E>
  bool Contains() const {
    return Find<E>().has_value();
  }

 private:
  using Predicate = std::function<bool(const std::exception_ptr&)>;

  template <class E>
  static bool Is(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const E&) {
      return true;
    } catch (...) {
      return false;
    }
  }

  template <class E>
  static constexpr bool kIsGroup = std::is_base_of_v<ExceptionGroup, E>;

  // `of_groups`: nested groups are asked for too, before what is in them.
  std::pair<std::optional<ExceptionGroup>, std::optional<ExceptionGroup>>
  SplitIf(const Predicate& matches, bool of_groups) const;
  bool FindIf(const Predicate& matches, bool of_groups) const;

  std::string message_;
  std::vector<std::exception_ptr> exceptions_;
};

}  // namespace coil

#endif  // COIL_TASK_ERRORS_H_
