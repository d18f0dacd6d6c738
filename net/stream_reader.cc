#include "coil/net/stream_reader.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "coil/net/internal/read_buffer.h"

namespace coil::net {
namespace {

using internal::FillAwaiter;
using internal::ReadBuffer;
using internal::StreamRef;

// Bytes that an operation has taken and not returned yet. Should it end in
// between, by an error or a cancel, they go back.
class Taken {
 public:
  explicit Taken(const StreamRef& core) : core_(core) {}
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() {
    if (!bytes_.empty()) core_->Unread(bytes_);
  }

  // At most `n` of what was received. Throws std::bad_alloc, and then they are
  // still there.
  void Take(size_t n) {
    ReadBuffer& input = core_->input();
    const std::string_view bytes = input.View().substr(0, n);
    bytes_.append(bytes);
    input.Consume(bytes.size());
  }
  size_t size() const { return bytes_.size(); }
  std::string Finish() {
    std::string bytes = std::move(bytes_);
    bytes_.clear();
    return bytes;
  }

 private:
  const StreamRef& core_;
  std::string bytes_;
};

Co<std::string> ReadSome(StreamRef core, size_t n) {
  co_return co_await internal::ReadSomeAwaiter(core, n);
}

Co<std::string> ReadToEnd(StreamRef core) {
  Taken taken(core);
  for (;;) {
    co_await FillAwaiter(core);
    if (core->AtEnd()) co_return taken.Finish();
    taken.Take(std::numeric_limits<size_t>::max());
  }
}

Co<std::string> ReadCounted(StreamRef core, size_t n) {
  Taken taken(core);
  while (taken.size() < n) {
    const size_t missing = n - taken.size();
    // Not more than is asked for, unless that is little.
    co_await FillAwaiter(core, 0, std::max<size_t>(missing, 4096));
    if (core->AtEnd()) throw IncompleteReadError(taken.Finish(), n);
    taken.Take(missing);
  }
  co_return taken.Finish();
}

// Where the first separator was found: the one that ends first.
struct Match {
  size_t start = 0;
  size_t end = std::string_view::npos;
};

Match Find(std::string_view bytes, size_t from,
           const std::vector<std::string>& separators) {
  Match match;
  for (const std::string& separator : separators) {
    const size_t at = bytes.find(separator, from);
    if (at == std::string_view::npos) continue;
    const size_t end = at + separator.size();
    if (end < match.end) match = {at, end};
    // A later separator counts only if it ends earlier.
    bytes = bytes.substr(0, match.end);
  }
  return match;
}

// The end of the first match; the whole rest, without a separator, at the end.
struct Chunk {
  size_t size;
  bool complete;
};

// Waits until a separator has come.
Co<Chunk> FindChunk(StreamRef core, std::vector<std::string> separators) {
  size_t longest = 0;
  for (const std::string& separator : separators) {
    longest = std::max(longest, separator.size());
  }
  const size_t limit = core->limit();
  // No separator begins before here: nothing is looked at twice.
  size_t from = 0;
  for (;;) {
    const std::string_view bytes = core->input().View();
    const Match match = Find(bytes, from, separators);
    if (match.end != std::string_view::npos) {
      if (match.start > limit) {
        throw LimitOverrunError(
            absl::StrCat("StreamReader: a separator was found, but after ",
                         match.start, " bytes; the limit is ", limit),
            match.start);
      }
      co_return Chunk{match.end, true};
    }
    from = bytes.size() + 1 > longest ? bytes.size() + 1 - longest : 0;
    if (from > limit) {
      throw LimitOverrunError(
          absl::StrCat("StreamReader: no separator in ", from,
                       " bytes; the limit is ", limit),
          from);
    }
    const size_t have = bytes.size();
    // Up to where the answer is sure.
    co_await FillAwaiter(core, have, limit + longest + 1 - have);
    if (core->input().size() == have) co_return Chunk{have, false};
  }
}

std::string Cut(const StreamRef& core, size_t n) {
  std::string bytes(core->input().View().substr(0, n));
  core->input().Consume(n);
  return bytes;
}

Co<std::string> ReadToSeparator(StreamRef core,
                                std::vector<std::string> separators) {
  const Chunk chunk = co_await FindChunk(core, std::move(separators));
  std::string bytes = Cut(core, chunk.size);
  if (!chunk.complete)
    throw IncompleteReadError(std::move(bytes), std::nullopt);
  co_return bytes;
}

Co<std::string> ReadOneLine(StreamRef core) {
  // Most lines are there already.
  const std::string_view bytes = core->input().View();
  const size_t newline = bytes.find('\n');
  if (newline != std::string_view::npos && newline <= core->limit()) {
    co_return Cut(core, newline + 1);
  }
  Chunk chunk{};
  try {
    chunk = co_await FindChunk(core, std::vector<std::string>(1, "\n"));
  } catch (const LimitOverrunError& error) {
    // The line is dropped, as much of it as has come.
    ReadBuffer& input = core->input();
    const size_t end = error.consumed();
    if (end < input.size() && input.View()[end] == '\n') {
      input.Consume(end + 1);
    } else {
      input.Clear();
    }
    throw;
  }
  co_return Cut(core, chunk.size);
}

Co<std::optional<std::string>> NextLine(StreamRef core) {
  std::string line = co_await ReadOneLine(core);
  if (line.empty()) co_return std::nullopt;
  co_return std::move(line);
}

Co<std::string_view> PeekFurther(StreamRef core, size_t have) {
  co_await FillAwaiter(core, have);
  co_return core->input().View();
}

}  // namespace

Co<std::string> StreamReader::Read(ptrdiff_t n) const {
  if (n < 0) return ReadToEnd(Checked());
  return ReadSome(Checked(), static_cast<size_t>(n));
}

Co<std::string> StreamReader::ReadAll() const { return ReadToEnd(Checked()); }

Co<std::string> StreamReader::ReadExactly(size_t n) const {
  // What a negative int becomes.
  if (n > size_t{std::numeric_limits<ptrdiff_t>::max()}) {
    throw std::invalid_argument(
        absl::StrCat("StreamReader::ReadExactly: the number of bytes is ",
                     static_cast<ptrdiff_t>(n), "; it is at least 0"));
  }
  return ReadCounted(Checked(), n);
}

Co<std::string> StreamReader::ReadLine() const {
  return ReadOneLine(Checked());
}

Co<std::string> StreamReader::ReadUntilAny(
    std::vector<std::string> separators) const {
  if (separators.empty()) {
    throw std::invalid_argument(
        "StreamReader::ReadUntil: at least one separator is needed");
  }
  for (const std::string& separator : separators) {
    if (separator.empty()) {
      throw std::invalid_argument(
          "StreamReader::ReadUntil: a separator has at least one byte");
    }
  }
  return ReadToSeparator(Checked(), std::move(separators));
}

Co<std::optional<std::string>> StreamReader::Next() const {
  return NextLine(Checked());
}

Co<std::string_view> StreamReader::PeekMore(size_t have) const {
  return PeekFurther(Checked(), have);
}

void StreamReader::ThrowTooMany(size_t n, size_t size) {
  throw std::out_of_range(absl::StrCat("StreamReader::Consume: ", n,
                                       " bytes, but only ", size,
                                       " were received"));
}

void StreamReader::ThrowEmpty() {
  throw std::runtime_error(
      "StreamReader: it is empty (default-constructed or moved from)");
}

}  // namespace coil::net
