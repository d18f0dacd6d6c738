// coil/loop/internal/random.h
//
// splitmix64: eight bytes of state, every seed is good, the same numbers on
// every platform. Not for secrets.
//
// Threads: one.

#ifndef COIL_LOOP_INTERNAL_RANDOM_H_
#define COIL_LOOP_INTERNAL_RANDOM_H_

#include <cstdint>

namespace coil::internal {

class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(seed) {}

  uint64_t Next() noexcept {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Less than `bound`, which is not 0. The bias of the remainder, one part in
  // 2^64/bound, does not matter here.
  uint64_t Below(uint64_t bound) noexcept { return Next() % bound; }

 private:
  uint64_t state_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_RANDOM_H_
