// tests/sync/grave.h
//
// Finds those who use an object after its end, without a sanitizer.

#ifndef COIL_TESTS_SYNC_GRAVE_H_
#define COIL_TESTS_SYNC_GRAVE_H_

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "gtest/gtest.h"

namespace coil::sync_testing {

// Where an object lives, and is destroyed before those who used it. What is
// left is overwritten, so that whoever touches it again is found without a
// sanitizer.
template <class T>
class Grave {
 public:
  template <class... A>
  explicit Grave(A&&... args)
      : object_(::new(bytes_) T(std::forward<A>(args)...)) {}
  Grave(const Grave&) = delete;
  Grave& operator=(const Grave&) = delete;
  ~Grave() { EXPECT_EQ(object_, nullptr) << "it was not buried"; }

  T& operator*() { return *object_; }
  T* operator->() { return object_; }

  void Bury() {
    std::exchange(object_, nullptr)->~T();
    std::fill(std::begin(bytes_), std::end(bytes_), kEarth);
  }
  // Nobody has written to it since.
  bool Undisturbed() const {
    return std::all_of(std::begin(bytes_), std::end(bytes_),
                       [](unsigned char byte) { return byte == kEarth; });
  }

 private:
  static constexpr unsigned char kEarth = 0x5a;
  alignas(T) unsigned char bytes_[sizeof(T)];
  T* object_;
};

}  // namespace coil::sync_testing

#endif  // COIL_TESTS_SYNC_GRAVE_H_
