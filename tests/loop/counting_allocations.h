// Counts the allocations of the program. A test that depends on it gets its
// operator new.

#ifndef COIL_TESTS_LOOP_COUNTING_ALLOCATIONS_H_
#define COIL_TESTS_LOOP_COUNTING_ALLOCATIONS_H_

#include <cstddef>

namespace coil_testing {

// How often operator new was called, by all threads, and for how many bytes.
long AllocationCount() noexcept;
size_t AllocatedBytes() noexcept;
// How many allocations are alive.
long LiveAllocations() noexcept;

// How many allocations `f()` makes.
template <class F>
long AllocationsOf(F&& f) {
  const long before = AllocationCount();
  f();
  return AllocationCount() - before;
}

// Asked before each allocation; true lets it throw std::bad_alloc. Null asks
// nobody.
using AllocationFailure = bool (*)() noexcept;
void SetAllocationFailure(AllocationFailure fails) noexcept;

}  // namespace coil_testing

#endif  // COIL_TESTS_LOOP_COUNTING_ALLOCATIONS_H_
