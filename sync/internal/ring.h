// coil/sync/internal/ring.h
//
// A ring buffer of a power of two of places, which grows and never shrinks, and
// the three orders in which a queue gives its items back: FifoItems, LifoItems,
// PriorityItems. Each has Push(item), which leaves the item as it was if it
// throws; Pop(); Size(); and ring(), where the items lie.
//
// Threads: one.
// Lifetime: owns its items.

#ifndef COIL_SYNC_INTERNAL_RING_H_
#define COIL_SYNC_INTERNAL_RING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace coil::internal {

template <class T>
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    while (size_ != 0) PopBack();
    if (places_ != nullptr) std::allocator<T>().deallocate(places_, Capacity());
  }

  size_t Size() const { return size_; }
  // From the front.
  T& operator[](size_t i) { return places_[(head_ + i) & mask_]; }

  // If an allocation or the move of `item` throws, nothing has changed. (If the
  // move of an item throws that is inside already and cannot be copied, it is
  // lost, as in std::vector.)
  template <class U>
  void PushBack(U&& item) {
    if (size_ == Capacity()) [[unlikely]]
      Grow();
    ::new (static_cast<void*>(&places_[(head_ + size_) & mask_]))
        T(std::forward<U>(item));
    ++size_;
  }
  void PopFront() noexcept {
    places_[head_ & mask_].~T();
    ++head_;
    --size_;
  }
  void PopBack() noexcept {
    --size_;
    places_[(head_ + size_) & mask_].~T();
  }

  void Swap(Ring& other) noexcept {
    std::swap(places_, other.places_);
    std::swap(mask_, other.mask_);
    std::swap(head_, other.head_);
    std::swap(size_, other.size_);
  }

 private:
  static constexpr size_t kFirstCapacity = 8;

  size_t Capacity() const { return mask_ + 1; }

  [[gnu::noinline]] void Grow() {
    const size_t capacity = Capacity();
    Ring bigger;
    const size_t wanted = capacity == 0 ? kFirstCapacity : 2 * capacity;
    bigger.places_ = std::allocator<T>().allocate(wanted);
    bigger.mask_ = wanted - 1;
    for (size_t i = 0; i < size_; ++i) {
      bigger.PushBack(std::move_if_noexcept((*this)[i]));
    }
    Swap(bigger);
  }

  T* places_ = nullptr;
  size_t mask_ = static_cast<size_t>(-1);  // so Capacity() is 0
  size_t head_ = 0;
  size_t size_ = 0;
};

template <class T>
class FifoItems {
 public:
  size_t Size() const { return ring_.Size(); }
  template <class U>
  void Push(U&& item) {
    ring_.PushBack(std::forward<U>(item));
  }
  T Pop() {
    T item(std::move(ring_[0]));
    ring_.PopFront();
    return item;
  }
  Ring<T>& ring() { return ring_; }

 private:
  Ring<T> ring_;
};

template <class T>
class LifoItems {
 public:
  size_t Size() const { return ring_.Size(); }
  template <class U>
  void Push(U&& item) {
    ring_.PushBack(std::forward<U>(item));
  }
  T Pop() {
    T item(std::move(ring_[ring_.Size() - 1]));
    ring_.PopBack();
    return item;
  }
  Ring<T>& ring() { return ring_; }

 private:
  Ring<T> ring_;
};

// A binary heap with the least item first. All comparisons are made before
// anything moves, so that a comparison that throws loses nothing.
template <class T, class Less>
class PriorityItems {
 public:
  explicit PriorityItems(Less less = Less()) : less_(std::move(less)) {}

  size_t Size() const { return heap_.Size(); }

  template <class U>
  void Push(U&& item) {
    size_t place = heap_.Size();
    while (place != 0 && less_(item, heap_[Parent(place)])) {
      place = Parent(place);
    }
    heap_.PushBack(std::forward<U>(item));
    const size_t last = heap_.Size() - 1;
    if (place == last) return;
    T moved(std::move(heap_[last]));
    for (size_t hole = last; hole != place; hole = Parent(hole)) {
      heap_[hole] = std::move(heap_[Parent(hole)]);
    }
    heap_[place] = std::move(moved);
  }

  T Pop() {
    const size_t last = heap_.Size() - 1;
    // Where the last item goes: down the path of the lesser children.
    size_t place = 0;
    for (;;) {
      size_t child = 2 * place + 1;
      if (child >= last) break;
      if (child + 1 < last && less_(heap_[child + 1], heap_[child])) ++child;
      if (!less_(heap_[child], heap_[last])) break;
      place = child;
    }
    T item(std::move(heap_[0]));
    if (last != 0) {
      // The items on the path from `place` to the top each move up by one.
      T above(std::move(heap_[last]));
      for (size_t hole = place; hole != 0; hole = Parent(hole)) {
        std::swap(above, heap_[hole]);
      }
      heap_[0] = std::move(above);
    }
    heap_.PopBack();
    return item;
  }

  Ring<T>& ring() { return heap_; }

 private:
  static size_t Parent(size_t i) { return (i - 1) / 2; }

  Ring<T> heap_;
  [[no_unique_address]] Less less_;
};

}  // namespace coil::internal

#endif  // COIL_SYNC_INTERNAL_RING_H_
