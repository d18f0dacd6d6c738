// Lets one allocation of this thread fail. A test that depends on it gets the
// operator new of counting_allocations.h.

#ifndef COIL_TESTS_LOOP_FAILING_ALLOCATIONS_H_
#define COIL_TESTS_LOOP_FAILING_ALLOCATIONS_H_

namespace coil_testing {

// After `count` more allocations of this thread, one throws std::bad_alloc.
void FailAllocationAfter(long count);
// No allocation fails from now on. True if one has failed.
bool StopFailingAllocations();

}  // namespace coil_testing

#endif  // COIL_TESTS_LOOP_FAILING_ALLOCATIONS_H_
