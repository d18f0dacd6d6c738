// coil/net/stream_reader.h
//
// StreamReader reads from a connection: some bytes, a line, up to a separator,
// exactly so many, or everything. It is a handle: copies read from the same
// connection.
//
// Example:
//   coil::Co<int> CountLines(coil::net::StreamReader reader) {
//     int lines = 0;
//     while (std::optional<std::string> line = co_await reader.Next()) ++lines;
//     co_return lines;
//   }
//
//   // Nothing is copied: the bytes are looked at where they were received.
//   coil::Co<size_t> CountBytes(coil::net::StreamReader reader) {
//     size_t bytes = 0;
//     for (;;) {
//       std::string_view data = co_await reader.Peek();
//       if (data.empty()) co_return bytes;
//       bytes += data.size();
//       reader.Consume(data.size());
//     }
//   }
//
// Ordering: bytes come in the order in which they were sent. One task reads at
//   a time: a second one that has to wait throws std::runtime_error.
// Cancellation: nothing is lost: bytes that were received and not returned stay
//   in the reader, also those of a ReadExactly() that had half of them.
// Threads: the loop's thread only.
// Lifetime: the connection lives as long as a reader or a writer of it does,
//   and closes with the last of them. What Peek() shows is valid until the next
//   call of the reader.
//
// A connection receives only while somebody reads, so a peer that sends much
// fills the buffers of the system, not memory. Errors of the connection are
// OsError with the peer; they come before bytes that were received and not
// read. After StreamWriter::Close() reading throws OsError with ECONNABORTED.
//
// asyncio: StreamReader (A282-A289).

#ifndef COIL_NET_STREAM_READER_H_
#define COIL_NET_STREAM_READER_H_

#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/incomplete_read.h"
#include "coil/net/internal/read_awaiters.h"
#include "coil/net/internal/stream_core.h"
#include "coil/task/co.h"

namespace coil::net {

// The limit of ReadLine() and ReadUntil() unless told otherwise: 64 KiB.
inline constexpr size_t kDefaultLimit = size_t{64} << 10;

// No separator within the limit of the reader. asyncio: A138.
class LimitOverrunError : public std::runtime_error {
 public:
  LimitOverrunError(const std::string& message, size_t consumed)
      : std::runtime_error(message), consumed_(consumed) {}
  // How many bytes can be taken without taking a part of a separator.
  size_t consumed() const noexcept { return consumed_; }

 private:
  size_t consumed_;
};

namespace internal {

// What ReadUntil("a", "b") and the braces in ReadUntil({"a", "b"}) make. A
// std::vector would be made
// from an array, which g++ 12 cannot keep in a co_await expression.
struct SeparatorList {
  template <class... S>
    requires(std::is_constructible_v<std::string, S> && ...)
  SeparatorList(S... separators) {  // NOLINT: that is what it is for
    list.reserve(sizeof...(S));
    (list.emplace_back(std::move(separators)), ...);
  }
  std::vector<std::string> list;
};

}  // namespace internal

class StreamReader {
 public:
  // Of no connection; reading throws std::runtime_error.
  StreamReader() = default;

  // At least one byte and at most `n`, as many as are there; empty at the end.
  // A negative `n` is ReadAll(). Throws OsError. asyncio: A282.
  [[nodiscard("co_await it")]] Co<std::string> Read(ptrdiff_t n = -1) const;
  // The same into `out`, without a copy where nothing was received before.
  // Gives how many, zero at the end. `out` is borrowed until it returns.
  [[nodiscard("co_await it")]] internal::ReadIntoAwaiter Read(
      absl::Span<char> out) const {
    return internal::ReadIntoAwaiter(Checked(), out);
  }
  // Everything up to the end. asyncio: read(-1) (A282).
  [[nodiscard("co_await it")]] Co<std::string> ReadAll() const;
  // Exactly `n` bytes; `n` may be above the limit. Throws IncompleteReadError
  // if the connection ends before, std::invalid_argument for a negative number.
  // asyncio: A284.
  [[nodiscard("co_await it")]] Co<std::string> ReadExactly(size_t n) const;

  // A line with its "\n"; the last one may lack it; empty at the end. Throws
  // LimitOverrunError for a line above the limit, and drops what was received
  // of it. asyncio: A283.
  [[nodiscard("co_await it")]] Co<std::string> ReadLine() const;
  // Up to the first of the separators, which are strings, and including it.
  // Throws IncompleteReadError if the connection ends before,
  // LimitOverrunError if more than the limit comes before it; the bytes stay in
  // the reader then. std::invalid_argument for no separator or an empty one.
  // asyncio: A285.
  template <class... S>
    requires(std::is_constructible_v<std::string, S> && ...)
  [[nodiscard("co_await it")]] Co<std::string> ReadUntil(
      S... separators) const {
    return ReadUntilAny(internal::SeparatorList(std::move(separators)...).list);
  }
  // ReadUntil({"\r\n", "\n"}), as Python's tuple.
  [[nodiscard("co_await it")]] Co<std::string> ReadUntil(
      internal::SeparatorList separators) const {
    return ReadUntilAny(std::move(separators.list));
  }
  template <std::same_as<std::vector<std::string>> V>
  [[nodiscard("co_await it")]] Co<std::string> ReadUntil(V separators) const {
    return ReadUntilAny(std::move(separators));
  }
  template <std::same_as<std::vector<std::string_view>> V>
  [[nodiscard("co_await it")]] Co<std::string> ReadUntil(
      const V& separators) const {
    return ReadUntilAny(
        std::vector<std::string>(separators.begin(), separators.end()));
  }
  // The next line as ReadLine() gives it, nothing at the end: the reader is a
  // range of lines, also for COIL_FOR_AWAIT. asyncio: async for (A288).
  [[nodiscard("co_await it")]] Co<std::optional<std::string>> Next() const;

  // Waits until there is something and shows it: at least one byte, empty at
  // the end. Consume() takes what was used; the rest is shown again.
  [[nodiscard("co_await it")]] internal::PeekAwaiter Peek() const {
    return internal::PeekAwaiter(Checked());
  }
  // The same, but waits until more than `have` bytes are there, or the end.
  [[nodiscard("co_await it")]] Co<std::string_view> PeekMore(size_t have) const;
  // Takes the first `n` bytes of what was received. Throws std::out_of_range if
  // there are fewer.
  void Consume(size_t n) const {
    internal::ReadBuffer& input = Checked()->input();
    if (n > input.size()) [[unlikely]]
      ThrowTooMany(n, input.size());
    input.Consume(n);
  }
  // What was received and not taken.
  std::string_view Buffered() const { return Checked()->input().View(); }

  // The peer has ended, and everything was read. asyncio: A286.
  bool AtEof() const { return Checked()->AtEnd(); }
  // How many bytes ReadLine() and ReadUntil() look at.
  size_t Limit() const { return Checked()->limit(); }

  explicit operator bool() const { return static_cast<bool>(core_); }

  // ---- public interface ends here ----
  explicit StreamReader(internal::StreamRef core) : core_(std::move(core)) {}
  const internal::StreamRef& core() const { return core_; }

 private:
  Co<std::string> ReadUntilAny(std::vector<std::string> separators) const;
  const internal::StreamRef& Checked() const {
    if (!core_) [[unlikely]]
      ThrowEmpty();
    return core_;
  }
  [[noreturn]] static void ThrowEmpty();
  [[noreturn]] static void ThrowTooMany(size_t n, size_t size);

  internal::StreamRef core_;
};

}  // namespace coil::net

#endif  // COIL_NET_STREAM_READER_H_
