#include "coil/net/internal/block_pool.h"

#include <algorithm>
#include <bit>
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
  const auto width = [](size_t n) {
    return static_cast<int>(std::bit_width(n));
  };
  constexpr int kSmallestWidth = std::bit_width(kSmallestBlock - 1);
  static_assert(ClassSize(1) == 4 * kSmallestBlock);
  if (size <= kSmallestBlock) return 0;
  return std::min((width(size - 1) - kSmallestWidth + 1) / 2, kClasses);
}

// Beside the blocks and not in them, so that taking one does not touch it.
struct Pool {
  char* kept[kClasses][64];
  int count[kClasses];
  // How many may be kept: none before the destructor of this thread is
  // registered, nor after it has run.
  int room[kClasses];
};
constinit thread_local Pool t_pool = {};

struct Trimmer {
  ~Trimmer() {
    for (int i = 0; i < kClasses; ++i) {
      t_pool.room[i] = 0;
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
  for (int i = 0; i < kClasses; ++i) t_pool.room[i] = kKept[i];
}

bool Keep(char* block, int index) noexcept {
  if (t_pool.count[index] >= t_pool.room[index]) return false;
  t_pool.kept[index][t_pool.count[index]++] = block;
  return true;
}

[[gnu::noinline]] void FreeSlow(char* block, int index) noexcept {
  if (COIL_POOL_BLOCKS && index < kClasses) {
    Register();
    if (Keep(block, index)) return;
  }
  ::operator delete(block);
}

}  // namespace

char* AllocateBlock(size_t size, size_t* capacity) noexcept {
  const int index = ClassOf(size);
  if (index < kClasses) {
    size = ClassSize(index);
    if (t_pool.count[index] > 0) [[likely]] {
      *capacity = size;
      return t_pool.kept[index][--t_pool.count[index]];
    }
  }
  *capacity = size;
  return static_cast<char*>(::operator new(size, std::nothrow));
}

// Each capacity that AllocateBlock() has given is that of a class, or larger
// than them all.
void FreeBlock(char* block, size_t capacity) noexcept {
  const int index = ClassOf(capacity);
  if (index < kClasses && Keep(block, index)) [[likely]]
    return;
  FreeSlow(block, index);
}

size_t KeptBlockBytes() noexcept {
  size_t bytes = 0;
  for (int i = 0; i < kClasses; ++i) {
    bytes += static_cast<size_t>(t_pool.count[i]) * ClassSize(i);
  }
  return bytes;
}

}  // namespace coil::net::internal
