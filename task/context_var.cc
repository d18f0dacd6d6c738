#include "coil/task/context_var.h"

#include <atomic>

#include "absl/strings/str_cat.h"

namespace coil {
namespace internal {

// The values are a shared table that is copied before it is written to if it
// ever was shared: contexts are copied for each task, and written to rarely.
// How many share it now is not asked: another thread's context may be one.
class ContextTable final : public ContextBase {
 public:
  struct Entry {
    const VarBase* var;
    std::shared_ptr<const void> value;
  };
  using Entries = std::vector<Entry>;

  ContextTable() : entries_(std::make_shared<Entries>()) {}

  ContextBase* Copy() override {
    shared_ = true;
    return new ContextTable(entries_);
  }

  std::shared_ptr<const void> Find(const VarBase* var) const {
    for (const Entry& entry : *entries_) {
      if (entry.var == var) return entry.value;
    }
    return nullptr;
  }

  std::shared_ptr<const void> Set(const VarBase* var,
                                  std::shared_ptr<const void> value) {
    if (shared_) {
      entries_ = std::make_shared<Entries>(*entries_);
      shared_ = false;
    }
    for (auto it = entries_->begin(); it != entries_->end(); ++it) {
      if (it->var != var) continue;
      std::shared_ptr<const void> old = std::move(it->value);
      if (value == nullptr) {
        entries_->erase(it);
        SetEmpty(entries_->empty());
      } else {
        it->value = std::move(value);
      }
      return old;
    }
    if (value != nullptr) {
      entries_->push_back({var, std::move(value)});
      SetEmpty(false);
    }
    return nullptr;
  }

  const Entries& entries() const { return *entries_; }

  // A context is entered once at a time, also counting other threads.
  bool Enter() { return !entered_.exchange(true, std::memory_order_acquire); }
  void Leave() { entered_.store(false, std::memory_order_release); }

 private:
  // Of what is not empty.
  explicit ContextTable(std::shared_ptr<Entries> entries)
      : entries_(std::move(entries)), shared_(true) {
    SetEmpty(false);
  }

  std::shared_ptr<Entries> entries_;
  bool shared_ = false;
  std::atomic<bool> entered_{false};
};

namespace {

// The context of a thread outside of every scope dies with the thread.
struct ThreadContextOwner {
  ContextRef context;
};
thread_local ThreadContextOwner t_owner;

ContextTable* Current() { return static_cast<ContextTable*>(t_context); }

}  // namespace

std::shared_ptr<const void> LookUp(const VarBase* var) {
  const ContextTable* table = Current();
  return table == nullptr ? nullptr : table->Find(var);
}

std::shared_ptr<const void> Store(const VarBase* var,
                                  std::shared_ptr<const void> value) {
  if (t_context == nullptr) {
    t_context = new ContextTable();
    // In a scope, the scope takes the count; see context_slot.h.
    if (t_scope_depth == 0) t_owner.context = ContextRef::Adopt(t_context);
  }
  return Current()->Set(var, std::move(value));
}

void ThrowNoValue(const VarBase& var) {
  throw std::out_of_range(absl::StrCat("ContextVar '", var.name(),
                                       "' has no value here and no default"));
}

const void* CurrentContextIdentity() { return t_context; }

void CheckToken(const VarBase& var, bool used, const void* var_of_token,
                const void* context) {
  if (used) {
    throw std::runtime_error(absl::StrCat("ContextVar '", var.name(),
                                          "': the token was used already"));
  }
  if (var_of_token != &var) {
    throw std::invalid_argument(absl::StrCat(
        "ContextVar '", var.name(), "': the token is of another variable"));
  }
  if (context != t_context) {
    throw std::invalid_argument(absl::StrCat(
        "ContextVar '", var.name(), "': the token is of another context"));
  }
}

}  // namespace internal

using internal::ContextBase;
using internal::ContextRef;
using internal::ContextTable;

Context::Context() : ref_(ContextRef::Adopt(new ContextTable())) {}

Context Context::CopyCurrent() {
  ContextRef copy = internal::CaptureContext();
  if (copy.get() == nullptr) return Context();
  return Context(std::move(copy));
}

Context Context::Copy() const {
  if (ref_.get()->empty()) return Context();
  return Context(ContextRef::Adopt(ref_.get()->Copy()));
}

std::shared_ptr<const void> Context::Find(const internal::VarBase* var) const {
  return static_cast<const ContextTable*>(ref_.get())->Find(var);
}

size_t Context::Size() const {
  return static_cast<const ContextTable*>(ref_.get())->entries().size();
}

std::vector<std::string> Context::Names() const {
  std::vector<std::string> names;
  for (const ContextTable::Entry& entry :
       static_cast<const ContextTable*>(ref_.get())->entries()) {
    names.push_back(entry.var->name());
  }
  return names;
}

Context::Entered::Entered(const Context& context)
    : table_(static_cast<ContextTable*>(context.ref_.get())) {
  if (!table_->Enter()) {
    throw std::runtime_error(
        "Context::Run: the context is entered already; run in a Copy()");
  }
  scope_.emplace(table_);
}

Context::Entered::~Entered() {
  scope_.reset();
  table_->Leave();
}

}  // namespace coil
