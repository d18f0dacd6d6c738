// The separators of StreamReader: whatever way the input is chopped, the calls
// give what a simple model gives on the whole of it.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "coil/net/byte_stream.h"
#include "coil/net/stream_reader.h"
#include "coil/net/streams.h"
#include "coil/task/co.h"
#include "coil/task/run.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using coil::Co;
using coil::net::IncompleteReadError;
using coil::net::IoResult;
using coil::net::LimitOverrunError;
using coil::net::StreamReader;
using coil_testing::FuzzInput;
using coil_testing::Require;

// Gives its data in pieces whose sizes come one after the other.
class ChoppedStream final : public coil::net::ByteStream {
 public:
  ChoppedStream(std::string data, std::vector<uint8_t> sizes)
      : data_(std::move(data)), sizes_(std::move(sizes)) {}

  IoResult TryRead(ReadRequest& request) noexcept override {
    const absl::Span<char> room = request.ReadBuffer();
    size_t n = std::min(room.size(), data_.size() - at_);
    if (!sizes_.empty()) {
      n = std::min<size_t>(n, 1 + sizes_[next_++ % sizes_.size()]);
    }
    std::copy_n(data_.data() + at_, n, room.data());
    at_ += n;
    return IoResult::Bytes(n);
  }
  void StartRead(ReadRequest&) noexcept override {}
  bool CancelRead() noexcept override { return true; }
  IoResult TryWrite(absl::Span<const iovec>) noexcept override {
    return IoResult::Error(EPIPE);
  }
  void StartWrite(WriteRequest&) noexcept override {}
  bool CancelWrite() noexcept override { return true; }
  void ShutdownWrite() noexcept override {}
  void Close(bool) noexcept override {}

 private:
  const std::string data_;
  const std::vector<uint8_t> sizes_;
  size_t at_ = 0;
  size_t next_ = 0;
};

// What ReadUntil() gives: the shortest beginning that ends with a separator.
std::optional<size_t> FirstEnd(std::string_view rest,
                               const std::vector<std::string>& separators) {
  std::optional<size_t> first;
  for (const std::string& separator : separators) {
    const size_t at = rest.find(separator);
    if (at == std::string_view::npos) continue;
    const size_t end = at + separator.size();
    if (!first.has_value() || end < *first) first = end;
  }
  return first;
}

Co<void> Compare(FuzzInput& input) {
  const size_t limit = 1 + input.Byte();
  std::vector<uint8_t> sizes;
  for (uint8_t n = input.Byte() % 8; n > 0; --n) sizes.push_back(input.Byte());
  std::vector<uint8_t> calls;
  for (uint8_t n = input.Byte() % 32; n > 0; --n) calls.push_back(input.Byte());
  std::vector<std::string> separators;
  for (uint8_t n = 1 + input.Byte() % 3; n > 0; --n) {
    const size_t length = 1 + input.Byte() % 4;
    std::string separator(input.Bytes(length));
    if (separator.empty()) separator = "\n";
    separators.push_back(std::move(separator));
  }
  const std::string data(input.Rest());
  std::string_view rest = data;
  coil::net::StreamPair pair = coil::net::MakeStreams(
      std::make_unique<ChoppedStream>(data, std::move(sizes)), limit);
  const StreamReader& reader = pair.reader;
  for (const uint8_t call : calls) {
    std::string got;
    bool incomplete = false;
    std::optional<size_t> overrun;
    const size_t n = call / 4;
    try {
      switch (call % 4) {
        case 0:
          got = co_await reader.Read(static_cast<ptrdiff_t>(1 + n));
          break;
        case 1:
          got = co_await reader.ReadExactly(n);
          break;
        case 2:
          got = co_await reader.ReadLine();
          break;
        default:
          got = co_await reader.ReadUntil(separators);
      }
    } catch (const IncompleteReadError& error) {
      incomplete = true;
      got = error.partial();
    } catch (const LimitOverrunError& error) {
      overrun = error.consumed();
    }
    switch (call % 4) {
      case 0:
        Require(!got.empty() == !rest.empty() && got.size() <= 1 + n,
                "Read() gives nothing, or too much");
        break;
      case 1:
        Require(got.size() == std::min(n, rest.size()) &&
                    incomplete == (n > rest.size()),
                "ReadExactly() gives another number");
        break;
      case 2: {
        const size_t at = rest.find('\n');
        const size_t line = at == rest.npos ? rest.size() : at + 1;
        if (overrun.has_value()) {
          // The line, or what was received of it, is dropped: go on where the
          // reader says that it is.
          Require(line > limit, "ReadLine() refuses a short line");
          co_return;
        }
        Require(got.size() == line, "ReadLine() gives another line");
        break;
      }
      default: {
        const std::optional<size_t> end = FirstEnd(rest, separators);
        if (overrun.has_value()) {
          Require(!end.has_value() || *end > limit,
                  "ReadUntil() refuses what is within its limit");
          // No separator begins in what may be taken.
          const std::string taken = co_await reader.ReadExactly(*overrun);
          Require(
              rest.substr(0, taken.size()) == taken && taken.size() == *overrun,
              "ReadUntil() has consumed what it refused");
          Require(!end.has_value() || *overrun < *end,
                  "ReadUntil() gives a separator away");
          rest.remove_prefix(taken.size());
          continue;
        }
        Require(incomplete == !end.has_value(), "ReadUntil() sees another end");
        Require(got.size() == end.value_or(rest.size()),
                "ReadUntil() stops at another separator");
      }
    }
    Require(rest.substr(0, got.size()) == got, "bytes are lost or changed");
    rest.remove_prefix(got.size());
  }
  const std::string all = co_await reader.ReadAll();
  Require(all == rest, "the rest is not what is left");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const runner =
      new coil::Runner({.on_interrupt = coil::InterruptPolicy::kLeaveAlone});
  FuzzInput input(data, size);
  runner->Run(Compare(input));
  return 0;
}
