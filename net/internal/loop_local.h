// coil/net/internal/loop_local.h
//
// LoopLocal<T>::Of(loop) is the one T of a loop: made at first use, destroyed
// when the loop closes. For what belongs to a loop and of which the loop knows
// nothing, as its resolver.
//
// Threads: the loop's thread only; different loops do not meet.
// Lifetime: from the first Of() to the close of the loop, after its tasks.

#ifndef COIL_NET_INTERNAL_LOOP_LOCAL_H_
#define COIL_NET_INTERNAL_LOOP_LOCAL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "coil/loop/internal/loop_core.h"

namespace coil::net::internal {

template <class T>
class LoopLocal final : private coil::internal::LoopResource {
 public:
  static T& Of(coil::internal::LoopCore& loop) {
    T* found = Find(loop);
    return found != nullptr ? *found : Make(loop);
  }
  // Null if there is none, or none any more.
  static T* Find(coil::internal::LoopCore& loop) noexcept {
    Table& table = TheTable();
    std::lock_guard<std::mutex> lock(table.mutex);
    const auto found = table.locals.find(loop.id());
    return found != table.locals.end() ? &found->second->value_ : nullptr;
  }

 private:
  struct Table {
    std::mutex mutex;
    std::map<uint64_t, LoopLocal*> locals;  // by the id of their loop
  };
  // Never destroyed: a loop may be a static object.
  static Table& TheTable() {
    static Table* const table = new Table();
    return *table;
  }

  explicit LoopLocal(coil::internal::LoopCore& loop)
      : loop_(loop), value_(loop) {}

  static T& Make(coil::internal::LoopCore& loop) {
    std::unique_ptr<LoopLocal> made(new LoopLocal(loop));
    Table& table = TheTable();
    {
      std::lock_guard<std::mutex> lock(table.mutex);
      table.locals.emplace(loop.id(), made.get());
    }
    loop.Attach(made.get());
    return made.release()->value_;
  }

  void OnLoopClose() noexcept override {
    Table& table = TheTable();
    {
      std::lock_guard<std::mutex> lock(table.mutex);
      table.locals.erase(loop_.id());
    }
    delete this;
  }

  coil::internal::LoopCore& loop_;
  T value_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_LOOP_LOCAL_H_
