// What every fuzz target defines, for libFuzzer and for corpus_main.cc.

#ifndef COIL_TESTS_FUZZ_FUZZ_TARGET_H_
#define COIL_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// Ends the program if the input shows a bug.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace coil_testing {

// Not assert(): it holds in optimised builds, too.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzzing has found: %s\n", what);
  std::abort();
}

// Bytes that decide what to do next; zeros once they are used up.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size)
      : data_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return data_.empty(); }
  uint8_t Byte() {
    if (data_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(data_.front());
    data_.remove_prefix(1);
    return byte;
  }
  // At most `n` bytes.
  std::string_view Bytes(size_t n) {
    const std::string_view bytes = data_.substr(0, n);
    data_.remove_prefix(bytes.size());
    return bytes;
  }
  std::string_view Rest() { return Bytes(data_.size()); }

 private:
  std::string_view data_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_FUZZ_FUZZ_TARGET_H_
