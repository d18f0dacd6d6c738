#include "tests/loop/counting_allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> g_count{0};
std::atomic<size_t> g_bytes{0};
std::atomic<long> g_live{0};
std::atomic<coil_testing::AllocationFailure> g_fails{nullptr};

// `alignment` is zero for that of malloc.
void* Allocate(size_t size, size_t alignment = 0) noexcept {
  const coil_testing::AllocationFailure fails =
      g_fails.load(std::memory_order_relaxed);
  if (fails != nullptr && fails()) return nullptr;
  if (size == 0) size = 1;
  void* p = nullptr;
  if (alignment == 0) {
    p = std::malloc(size);
  } else if (posix_memalign(&p, alignment, size) != 0) {
    return nullptr;
  }
  if (p == nullptr) return nullptr;
  g_count.fetch_add(1, std::memory_order_relaxed);
  g_bytes.fetch_add(size, std::memory_order_relaxed);
  g_live.fetch_add(1, std::memory_order_relaxed);
  return p;
}

void* AllocateOrThrow(size_t size, size_t alignment = 0) {
  if (void* const p = Allocate(size, alignment)) return p;
  throw std::bad_alloc();
}

void Free(void* p) noexcept {
  if (p != nullptr) g_live.fetch_sub(1, std::memory_order_relaxed);
  std::free(p);
}

}  // namespace

// All of them: a sanitizer has its own, and does not like to see them mixed.
void* operator new(size_t size) { return AllocateOrThrow(size); }
void* operator new[](size_t size) { return AllocateOrThrow(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, std::align_val_t alignment,
                   const std::nothrow_t&) noexcept {
  return Allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment,
                     const std::nothrow_t&) noexcept {
  return Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* p) noexcept { Free(p); }
void operator delete[](void* p) noexcept { Free(p); }
void operator delete(void* p, size_t) noexcept { Free(p); }
void operator delete[](void* p, size_t) noexcept { Free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { Free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { Free(p); }
void operator delete(void* p, std::align_val_t) noexcept { Free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { Free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { Free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { Free(p); }
void operator delete(void* p, std::align_val_t,
                     const std::nothrow_t&) noexcept {
  Free(p);
}
void operator delete[](void* p, std::align_val_t,
                       const std::nothrow_t&) noexcept {
  Free(p);
}

namespace coil_testing {

long AllocationCount() noexcept { return g_count; }
size_t AllocatedBytes() noexcept { return g_bytes; }
long LiveAllocations() noexcept { return g_live; }

void SetAllocationFailure(AllocationFailure fails) noexcept { g_fails = fails; }

}  // namespace coil_testing
