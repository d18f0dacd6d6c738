// coil/loop/internal/block_exchange.h
//
// Where threads leave slabs of freed blocks for one another: a row of places,
// each empty or with a slab. A slab is put down and picked up whole, by one
// compare-and-swap or exchange for some hundred blocks; nobody looks into one
// that is not his, so there is nothing that could have changed under him (ABA).
// Nobody ever waits: a place that is taken away in between is passed by.
//
// `Atomics` is the seam for the model checker; see tests/loop/inbox_model.cc.
//
// Threads: any.
// Lifetime: a slab that was put down belongs to the exchange until it is
//   picked up.

#ifndef COIL_LOOP_INTERNAL_BLOCK_EXCHANGE_H_
#define COIL_LOOP_INTERNAL_BLOCK_EXCHANGE_H_

#include <atomic>

#include "coil/loop/internal/inbox.h"

namespace coil::internal {

template <class Slab, int kPlaces, class Atomics = StdAtomics>
class BlockExchange {
 public:
  // False if every place is taken: the slab is the caller's again.
  bool Put(Slab* slab) noexcept {
    for (Place& place : places_) {
      Slab* found = place.load(std::memory_order_relaxed);
      if (found == nullptr &&
          place.compare_exchange_strong(found, slab, std::memory_order_release,
                                        std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // A slab that somebody has put down, or null.
  Slab* Pick() noexcept {
    for (Place& place : places_) {
      // A look first: the exchange of an empty place would cost more.
      if (place.load(std::memory_order_relaxed) == nullptr) continue;
      Slab* const slab = place.exchange(nullptr, std::memory_order_acquire);
      if (slab != nullptr) return slab;
    }
    return nullptr;
  }

 private:
  using Place = typename Atomics::template Atomic<Slab*>;
  Place places_[kPlaces]{};
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_BLOCK_EXCHANGE_H_
