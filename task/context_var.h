// coil/task/context_var.h
//
// ContextVar<T> is a variable with a value for each task: what a task sets is
// seen by the tasks that it starts afterwards, and never by its parent or
// siblings. Context is the set of all such values.
//
// Example:
//   coil::ContextVar<int> request_id("request_id", 0);
//   int InCopy() {
//     coil::Context copy = coil::Context::CopyCurrent();
//     return copy.Run([] {
//       request_id.Set(7);
//       return request_id.Get();
//     });
//   }
//
// Ordering: a task takes a copy of the current context when it is created, a
//   callback when it is registered.
// Cancellation: does not apply.
// Threads: a context is used by one thread at a time; ToThread() takes a copy
//   along.
// Lifetime: a ContextVar outlives every context that it is set in: make it at
//   namespace scope. A Context shares its values by counted pointers.
//
// asyncio: contextvars (A139-A147). A copy costs one small allocation, and none
// while no variable was ever set; a Set() copies the table if it is shared.

#ifndef COIL_TASK_CONTEXT_VAR_H_
#define COIL_TASK_CONTEXT_VAR_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/loop/internal/context_slot.h"
#include "coil/loop/internal/language.h"

namespace coil {

namespace internal {

class VarBase {
 public:
  explicit VarBase(std::string name) : name_(std::move(name)) {}
  VarBase(const VarBase&) = delete;
  VarBase& operator=(const VarBase&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

class ContextTable;

// The value of `var` in the current context; null if it is not set there.
std::shared_ptr<const void> LookUp(const VarBase* var);
// Sets it in the current context, null unsets; returns what was there.
std::shared_ptr<const void> Store(const VarBase* var,
                                  std::shared_ptr<const void> value);
[[noreturn]] void ThrowNoValue(const VarBase& var);
// Identifies the current context for a Token.
const void* CurrentContextIdentity();
void CheckToken(const VarBase& var, bool used, const void* var_of_token,
                const void* context);

}  // namespace internal

template <class T>
class ContextVar : public internal::VarBase {
 public:
  // Undoes one Set(). Python: Token (A142, A143).
  class Token {
   public:
    Token(Token&&) = default;
    Token& operator=(Token&&) = default;
    const ContextVar& Var() const { return *var_; }
    // The value before Set(); nullopt if there was none.
    std::optional<T> OldValue() const {
      if (old_ == nullptr) return std::nullopt;
      return *static_cast<const T*>(old_.get());
    }

   private:
    friend class ContextVar;
    Token(const ContextVar* var, std::shared_ptr<const void> old)
        : var_(var),
          old_(std::move(old)),
          context_(internal::CurrentContextIdentity()) {}
    const ContextVar* var_;
    std::shared_ptr<const void> old_;
    const void* context_;
    bool used_ = false;
  };

  explicit ContextVar(std::string name) : VarBase(std::move(name)) {}
  ContextVar(std::string name, T fallback)
      : VarBase(std::move(name)), fallback_(std::move(fallback)) {}

  // The value in the current context, else the default of the variable. Throws
  // std::out_of_range if there is neither. asyncio: A140.
  T Get() const {
    if (std::shared_ptr<const void> value = internal::LookUp(this)) {
      return *static_cast<const T*>(value.get());
    }
    if (!fallback_.has_value()) internal::ThrowNoValue(*this);
    return *fallback_;
  }
  // The value in the current context, else `fallback`.
  T Get(T fallback) const {
    if (std::shared_ptr<const void> value = internal::LookUp(this)) {
      return *static_cast<const T*>(value.get());
    }
    return fallback;
  }

  // Sets the value in the current context. asyncio: A141.
  Token Set(T value) {
    return Token(this, internal::Store(
                           this, std::make_shared<const T>(std::move(value))));
  }

  // Restores what was there before the Set() that gave `token`. Throws
  // std::runtime_error for a token that was used, std::invalid_argument for one
  // of another variable or another context. asyncio: A142.
  void Reset(Token& token) {
    internal::CheckToken(*this, token.used_, token.var_, token.context_);
    token.used_ = true;
    internal::Store(this, std::move(token.old_));
  }
  void Reset(Token&& token) { Reset(token); }

 private:
  std::optional<T> fallback_;
};

// A set of values. Python: Context (A144-A146).
class Context {
 public:
  // An empty one.
  Context();
  // The values of the current context, in a context of its own. O(1).
  static Context CopyCurrent();
  // A copy of this one.
  Context Copy() const;

  // Calls `f` in this context; what it sets stays here. Throws
  // std::runtime_error if this context is entered already.
  template <class F>
  std::invoke_result_t<F> Run(F&& f) const {
    Entered entered(*this);
    return std::invoke(std::forward<F>(f));
  }

  template <class T>
  bool Contains(const ContextVar<T>& var) const {
    return Find(&var) != nullptr;
  }
  // The value here; nullopt if it is not set here. Does not fall back.
  template <class T>
  std::optional<T> Get(const ContextVar<T>& var) const {
    std::shared_ptr<const void> value = Find(&var);
    if (value == nullptr) return std::nullopt;
    return *static_cast<const T*>(value.get());
  }
  size_t Size() const;
  // The names of the variables that are set here, in order of their first
  // Set().
  std::vector<std::string> Names() const;

  // ---- public interface ends here ----
  explicit Context(internal::ContextRef ref) : ref_(std::move(ref)) {}
  const internal::ContextRef& ref() const { return ref_; }

 private:
  class Entered {
   public:
    explicit Entered(const Context& context);
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;
    ~Entered();

   private:
    internal::ContextTable* table_;
    std::optional<internal::ContextScope> scope_;
  };

  std::shared_ptr<const void> Find(const internal::VarBase* var) const;

  internal::ContextRef ref_;
};

namespace internal {
// The same context, not a copy: for a task that is to run in it.
inline ContextRef ShareContext(const Context& context) { return context.ref(); }
}  // namespace internal

}  // namespace coil

#endif  // COIL_TASK_CONTEXT_VAR_H_
