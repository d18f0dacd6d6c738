// coil/task/internal/first_of_each.h
//
// Which handles of a list are there for the first time: Wait and AsCompleted
// take a list in which a future may be twice. By sorting, and not with a hash
// set of abseil, which does not survive a failed allocation.
//
// Threads: a pure function.

#ifndef COIL_TASK_INTERNAL_FIRST_OF_EACH_H_
#define COIL_TASK_INTERNAL_FIRST_OF_EACH_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <vector>

#include "coil/task/internal/future_core.h"

namespace coil::internal {

// For each future, whether it is the first of its kind in the list.
inline std::vector<bool> FirstOfEach(const std::vector<FutureCore*>& futures) {
  std::vector<size_t> order(futures.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (futures[a] == futures[b]) return a < b;
    return std::less<>()(futures[a], futures[b]);
  });
  std::vector<bool> first(futures.size());
  for (size_t i = 0; i < order.size(); ++i) {
    first[order[i]] = i == 0 || futures[order[i]] != futures[order[i - 1]];
  }
  return first;
}

}  // namespace coil::internal

#endif  // COIL_TASK_INTERNAL_FIRST_OF_EACH_H_
