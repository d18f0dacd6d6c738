// coil/sync/internal/holder_list.h
//
// The guards and permits that a primitive has given out: an intrusive list, so
// that a guard which outlives its primitive finds out, instead of writing into
// freed memory. Entering, leaving and moving cost a few stores.
//
// Threads: the loop's thread only.
// Lifetime: a Holder may die before its list and after it.

#ifndef COIL_SYNC_INTERNAL_HOLDER_LIST_H_
#define COIL_SYNC_INTERNAL_HOLDER_LIST_H_

#include <utility>

namespace coil::internal {

class HolderList;

// The base of guards. `Owner` is the primitive.
class Holder {
 protected:
  Holder() = default;
  Holder(HolderList& list, void* owner) noexcept;
  Holder(Holder&& other) noexcept { TakeOver(other); }
  Holder& operator=(Holder&&) = delete;
  ~Holder() = default;

  // Null for one that holds nothing: released, moved from, or its primitive is
  // gone.
  void* owner() const { return owner_; }

  // Stops to hold; returns the owner.
  void* Leave() noexcept {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    return std::exchange(owner_, nullptr);
  }

  // Takes the place of `other`. REQUIRES: this holds nothing.
  void TakeOver(Holder& other) noexcept {
    owner_ = std::exchange(other.owner_, nullptr);
    if (owner_ == nullptr) return;
    previous_ = other.previous_;
    next_ = other.next_;
    previous_->next_ = this;
    next_->previous_ = this;
  }

 private:
  friend class HolderList;
  void* owner_ = nullptr;
  Holder* previous_;
  Holder* next_;
};

class HolderList : private Holder {
 public:
  HolderList() noexcept { previous_ = next_ = this; }
  HolderList(const HolderList&) = delete;
  HolderList& operator=(const HolderList&) = delete;
  // Those who still hold something learn that the owner is gone.
  ~HolderList() {
    for (Holder* holder = next_; holder != this; holder = holder->next_) {
      holder->owner_ = nullptr;
    }
  }

 private:
  friend class Holder;
};

inline Holder::Holder(HolderList& list, void* owner) noexcept
    : owner_(owner), previous_(&list), next_(list.next_) {
  next_->previous_ = this;
  list.next_ = this;
}

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_HOLDER_LIST_H_
