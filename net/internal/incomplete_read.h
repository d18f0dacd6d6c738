// coil/net/internal/incomplete_read.h
//
// IncompleteReadError, which readers of connections and of files throw: part of
// the public headers of both.
//
// Threads: a value.
// Lifetime: owns what had come.

#ifndef COIL_NET_INTERNAL_INCOMPLETE_READ_H_
#define COIL_NET_INTERNAL_INCOMPLETE_READ_H_

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>

namespace coil::net {

// The connection, or the file, ended before all that was asked for had come.
// asyncio: A137.
class IncompleteReadError : public std::runtime_error {
 public:
  // `expected` is nullopt where it is not a number of bytes (ReadUntil).
  // `of` is what has ended.
  IncompleteReadError(std::string partial, std::optional<size_t> expected,
                      const char* of = "connection");
  // What had come. It is not in the reader any more.
  const std::string& partial() const noexcept { return partial_; }
  std::optional<size_t> expected() const noexcept { return expected_; }

 private:
  std::string partial_;
  std::optional<size_t> expected_;
};

}  // namespace coil::net

#endif  // COIL_NET_INTERNAL_INCOMPLETE_READ_H_
