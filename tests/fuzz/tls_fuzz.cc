// What a peer may send instead of TLS: before, within and after the handshake.
// Nothing of it may reach the program as data that was not sent.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/byte_stream.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/net/tls/tls_testing.h"

namespace {

using coil::Co;
using coil::CreateTask;
using coil::Task;
using coil::net::IoResult;
using coil::net::MakeStreams;
using coil::net::SecureOptions;
using coil::net::StreamPair;
using coil::net::TlsContext;
using coil_testing::FuzzInput;
using coil_testing::Require;

// Two ends in memory. What the first writes passes an attacker, who changes it
// from the byte `from` on.
struct Wire {
  std::string to_first;
  std::string to_second;
  bool closed = false;
  size_t passed = 0;
  size_t from = SIZE_MAX;
  std::string injected;
  bool replaces = false;  // what comes behind is not passed on
};

class WireEnd final : public coil::net::ByteStream {
 public:
  WireEnd(std::shared_ptr<Wire> wire, bool first)
      : wire_(std::move(wire)), first_(first) {}
  ~WireEnd() override { Close(false); }

  IoResult TryRead(ReadRequest& request) noexcept override {
    std::string& in = first_ ? wire_->to_first : wire_->to_second;
    if (in.empty()) {
      return wire_->closed ? IoResult::Bytes(0) : IoResult::WouldBlock();
    }
    const absl::Span<char> room = request.ReadBuffer();
    const size_t n = in.copy(room.data(), room.size());
    in.erase(0, n);
    return IoResult::Bytes(n);
  }
  void StartRead(ReadRequest& request) noexcept override { read_ = &request; }
  bool CancelRead() noexcept override {
    read_ = nullptr;
    return true;
  }
  IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override {
    if (wire_->closed) return IoResult::Error(EPIPE);
    std::string bytes;
    for (const iovec& piece : pieces) {
      bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    const size_t size = bytes.size();
    if (first_) Attack(&bytes);
    (first_ ? wire_->to_second : wire_->to_first) += bytes;
    return IoResult::Bytes(size);
  }
  void StartWrite(WriteRequest&) noexcept override {}
  bool CancelWrite() noexcept override { return true; }
  void ShutdownWrite() noexcept override {}
  void Close(bool) noexcept override {
    wire_->closed = true;
    if (read_ != nullptr) {
      std::exchange(read_, nullptr)->OnRead(IoResult::Error(ECONNABORTED));
    }
  }

  // True if somebody who waited was told something.
  bool Pump() {
    if (read_ == nullptr) return false;
    ReadRequest& request = *read_;
    const IoResult result = TryRead(request);
    if (result.Blocked()) return false;
    read_ = nullptr;
    request.OnRead(result);
    return true;
  }

 private:
  void Attack(std::string* bytes) {
    Wire& wire = *wire_;
    const size_t begin = wire.passed;
    wire.passed += bytes->size();
    if (wire.from >= wire.passed) return;
    const size_t at = wire.from > begin ? wire.from - begin : 0;
    if (wire.from >= begin) {
      if (wire.replaces) bytes->resize(at);
      bytes->insert(at, wire.injected);
    } else if (wire.replaces) {
      bytes->clear();
    }
  }

  std::shared_ptr<Wire> wire_;
  const bool first_;
  ReadRequest* read_ = nullptr;
};

const TlsContext& Server() {
  static const auto* const context =
      new TlsContext(coil_testing::ServerContext());
  return *context;
}

SecureOptions Forever() {
  return SecureOptions()
      .HandshakeTimeout(absl::InfiniteDuration())
      .ShutdownTimeout(absl::InfiniteDuration());
}

constexpr std::string_view kSecret = "the only line\n";

// The server, to which the bytes are all that a client says.
Co<void> Garbage(std::string bytes, bool client) {
  auto wire = std::make_shared<Wire>();
  wire->to_second = std::move(bytes);
  auto end = std::make_unique<WireEnd>(wire, false);
  StreamPair pair = MakeStreams(std::move(end));
  bool secured = true;
  SecureOptions options = Forever();
  if (client) options.ServerHostname("localhost");
  const TlsContext context = client ? coil_testing::ClientContext() : Server();
  Task<void> upgrade = CreateTask(pair.writer.StartTls(context, options));
  for (int i = 0; i < 3; ++i) co_await coil::Yield();
  wire->closed = true;
  upgrade.Cancel();
  const coil::Outcome<void> outcome = co_await coil::Settle(upgrade);
  secured = outcome.Ok();
  pair.writer.Abort();
  Require(!secured, "a handshake without a peer has succeeded");
}

// A handshake and a line, and an attacker between client and server.
Co<void> Attacked(FuzzInput& input) {
  auto wire = std::make_shared<Wire>();
  wire->from = static_cast<size_t>(input.Byte()) << 8 | input.Byte();
  wire->replaces = input.Byte() % 2 == 1;
  wire->injected = std::string(input.Rest());
  auto first = std::make_unique<WireEnd>(wire, true);
  auto second = std::make_unique<WireEnd>(wire, false);
  WireEnd* const one = first.get();
  WireEnd* const other = second.get();
  StreamPair client = MakeStreams(std::move(first));
  StreamPair server = MakeStreams(std::move(second));
  SecureOptions options = Forever();
  options.ServerHostname("localhost");
  std::string received;
  auto serve = [&]() -> Co<void> {
    try {
      co_await server.writer.StartTls(Server(), Forever());
      for (;;) {
        const std::string part = co_await server.reader.Read(1000);
        if (part.empty()) break;
        received += part;
      }
    } catch (const coil::OsError&) {
    }
  };
  auto ask = [&]() -> Co<void> {
    try {
      co_await client.writer.StartTls(coil_testing::ClientContext(), options);
      co_await client.writer.Write(kSecret);
    } catch (const coil::OsError&) {
    }
  };
  Task<void> serving = CreateTask(std::ref(serve));
  Task<void> asking = CreateTask(std::ref(ask));
  for (int quiet = 0; quiet < 3; ++quiet) {
    co_await coil::Yield();
    if (one->Pump()) quiet = 0;
    if (other->Pump()) quiet = 0;
  }
  serving.Cancel();
  asking.Cancel();
  co_await coil::Settle(serving);
  co_await coil::Settle(asking);
  client.writer.Abort();
  server.writer.Abort();
  Require(received.empty() || received == kSecret,
          "the server has received what the client did not send");
  Require(wire->passed > wire->from || received == kSecret,
          "what nobody has touched does not arrive");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const runner =
      new coil::Runner({.on_interrupt = coil::InterruptPolicy::kLeaveAlone});
  FuzzInput input(data, size);
  const uint8_t kind = input.Byte();
  if (kind % 4 == 0) {
    runner->Run(Attacked(input));
  } else {
    runner->Run(Garbage(std::string(input.Rest()), kind % 4 == 1));
  }
  return 0;
}
