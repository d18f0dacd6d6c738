#include "coil/net/internal/block_pool.h"

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define COIL_POOL_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COIL_POOL_BLOCKS 0
#endif
#endif
#ifndef COIL_POOL_BLOCKS
#define COIL_POOL_BLOCKS 1
#endif

namespace coil::net::internal {
namespace {

constexpr int kClasses = 4;
// Two megabytes of each size, and no more than 64 blocks.
constexpr int kKept[kClasses] = {64, 64, 32, 8};

constexpr size_t ClassSize(int index) { return kSmallestBlock << (2 * index); }

// The index of the smallest class that holds `size`; kClasses if none does.
int ClassOf(size_t size) {
  int index = 0;
  while (index < kClasses && ClassSize(index) < size) ++index;
  return index;
}

// Beside the blocks and not in them, so that taking one does not touch it.
struct Pool {
  char* kept[kClasses][64];
  int count[kClasses];
  bool ready;  // the destructor of this thread is registered, and has not run
};
constinit thread_local Pool t_pool = {};

struct Trimmer {
  ~Trimmer() {
    t_pool.ready = false;
    for (int i = 0; i < kClasses; ++i) {
      while (t_pool.count[i] > 0) {
        ::operator delete(t_pool.kept[i][--t_pool.count[i]]);
      }
    }
  }
};

enum class Registered : bool {
  kNo,
  kYes,
};
constinit thread_local Registered t_registered = Registered::kNo;

void Register() {
  if (t_registered == Registered::kYes) return;  // and over
  t_registered = Registered::kYes;
  thread_local Trimmer trimmer;
  (void)&trimmer;
  t_pool.ready = true;
}

}  // namespace

char* AllocateBlock(size_t size, size_t* capacity) noexcept {
  const int index = ClassOf(size);
  if (index < kClasses) {
    size = ClassSize(index);
    if (t_pool.count[index] > 0) {
      *capacity = size;
      return t_pool.kept[index][--t_pool.count[index]];
    }
  }
  *capacity = size;
  return static_cast<char*>(::operator new(size, std::nothrow));
}

void FreeBlock(char* block, size_t capacity) noexcept {
  if (COIL_POOL_BLOCKS) {
    const int index = ClassOf(capacity);
    if (index < kClasses && ClassSize(index) == capacity) {
      if (!t_pool.ready) Register();
      if (t_pool.ready && t_pool.count[index] < kKept[index]) {
        t_pool.kept[index][t_pool.count[index]++] = block;
        return;
      }
    }
  }
  ::operator delete(block);
}

size_t KeptBlockBytes() noexcept {
  size_t bytes = 0;
  for (int i = 0; i < kClasses; ++i) {
    bytes += static_cast<size_t>(t_pool.count[i]) * ClassSize(i);
  }
  return bytes;
}

}  // namespace coil::net::internal
