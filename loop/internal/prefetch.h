// coil/loop/internal/prefetch.h
//
// Asks for a cache line that is going to be written, so that it is this core's
// alone when that happens. __builtin_prefetch(p, 1) means the same and becomes
// a fetch for reading unless the compiler is told of a newer processor.
//
// Threads: any; the address need not be that of memory.

#ifndef COIL_LOOP_INTERNAL_PREFETCH_H_
#define COIL_LOOP_INTERNAL_PREFETCH_H_

namespace coil::internal {

inline void PrefetchToWrite(const void* p) noexcept {
#if defined(__x86_64__)
  // Every processor of 64 bits knows it, or takes it for a no-op.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(p)));
#else
  __builtin_prefetch(p, /*rw=*/1);
#endif
}

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_PREFETCH_H_
