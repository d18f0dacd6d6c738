// coil/loop/internal/bounded_text.h
//
// Puts a text together in memory that is there already: no allocation, no
// locale, nothing that a signal handler may not do. What does not fit is cut
// off.
//
// Threads: a value of one thread, or of a signal handler in it.
// Lifetime: borrows the buffer.

#ifndef COIL_LOOP_INTERNAL_BOUNDED_TEXT_H_
#define COIL_LOOP_INTERNAL_BOUNDED_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string_view>

namespace coil::internal {

// "main.cc", without the folders.
inline std::string_view BaseName(std::string_view path) noexcept {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

class BoundedText {
 public:
  BoundedText(char* buffer, size_t capacity) noexcept
      : buffer_(buffer), capacity_(capacity) {}

  size_t size() const noexcept { return size_; }

  void Put(std::string_view text) noexcept {
    const size_t room = capacity_ - size_;
    const size_t n = text.size() < room ? text.size() : room;
    if (n == 0) return;
    std::memcpy(buffer_ + size_, text.data(), n);
    size_ += n;
  }

  void PutNumber(uint64_t number) noexcept {
    char digits[20];
    char* const end = digits + sizeof(digits);
    char* first = end;
    do {
      *--first = static_cast<char>('0' + number % 10);
    } while ((number /= 10) != 0);
    Put(std::string_view(first, static_cast<size_t>(end - first)));
  }

  // "main.cc:12"
  void PutPlace(const std::source_location& where) noexcept {
    Put(BaseName(where.file_name()));
    Put(":");
    PutNumber(where.line());
  }

 private:
  char* buffer_;
  size_t capacity_;
  size_t size_ = 0;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_BOUNDED_TEXT_H_
