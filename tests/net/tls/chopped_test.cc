// TLS over a stream that takes and gives one byte, or nothing, at a time: every
// boundary of every record is a place to stop and to go on (T48, T62).

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "coil/loop/os_error.h"
#include "coil/net/byte_stream.h"
#include "coil/net/internal/liveness.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/co.h"
#include "coil/task/shield.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil::net {
namespace {

using coil_testing::ClientContext;
using coil_testing::Echo;
using coil_testing::RunNet;
using coil_testing::ServerContext;

// Two ends in memory. Each call moves at most `most` bytes, and by the luck of
// the seed none; what waits is told in a later turn of the loop.
class Pipe {
 public:
  struct Settings {
    size_t most = 1;
    size_t capacity = 100;
    uint32_t seed = 1;
    // The wire is cut after so many bytes in both directions.
    size_t cut_after = SIZE_MAX;
  };

  class End final : public ByteStream {
   public:
    explicit End(std::shared_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}
    ~End() override {
      Close(false);
      if (other_ != nullptr) other_->other_ = nullptr;
      for (End*& end : pipe_->ends_) {
        if (end == this) end = nullptr;
      }
    }

    IoResult TryRead(ReadRequest& request) noexcept override {
      if (closed_) return IoResult::Error(ECONNABORTED);
      if (in_.empty()) {
        return in_end_ ? IoResult::Bytes(0) : IoResult::WouldBlock();
      }
      if (pipe_->Unlucky()) return IoResult::WouldBlock();
      const absl::Span<char> room = request.ReadBuffer();
      const size_t n =
          in_.copy(room.data(), std::min(room.size(), pipe_->settings.most));
      in_.erase(0, n);
      return IoResult::Bytes(n);
    }
    void StartRead(ReadRequest& request) noexcept override { read_ = &request; }
    bool CancelRead() noexcept override {
      read_ = nullptr;
      return true;
    }
    IoResult TryWrite(absl::Span<const iovec> pieces) noexcept override {
      if (closed_) return IoResult::Error(ECONNABORTED);
      if (other_ == nullptr || other_->closed_) return IoResult::Error(EPIPE);
      if (pipe_->Unlucky()) return IoResult::WouldBlock();
      const size_t room = pipe_->settings.capacity - other_->in_.size();
      size_t n = std::min(pieces[0].iov_len, pipe_->settings.most);
      n = std::min(n, room);
      if (n == 0) return IoResult::WouldBlock();
      pipe_->passed += n;
      if (pipe_->passed > pipe_->settings.cut_after) {
        in_end_ = other_->in_end_ = true;
      } else {
        other_->in_.append(static_cast<const char*>(pieces[0].iov_base), n);
      }
      return IoResult::Bytes(n);
    }
    void StartWrite(WriteRequest& request) noexcept override {
      write_ = &request;
    }
    bool CancelWrite() noexcept override {
      write_ = nullptr;
      return true;
    }
    void ShutdownWrite() noexcept override { other_->in_end_ = true; }
    void Close(bool) noexcept override {
      if (std::exchange(closed_, true)) return;
      if (other_ != nullptr) other_->in_end_ = true;
      if (read_ != nullptr) {
        const internal::Liveness::Guard guard(alive_);
        std::exchange(read_, nullptr)->OnRead(IoResult::Error(ECONNABORTED));
        if (guard.dead()) return;
      }
      if (write_ != nullptr) {
        std::exchange(write_, nullptr)
            ->OnWritten(IoResult::Error(ECONNABORTED));
      }
    }

    // Tells those who wait, if there is something to tell.
    void Pump() {
      if (read_ != nullptr) {
        const IoResult result = TryRead(*read_);
        const internal::Liveness::Guard guard(alive_);
        if (!result.Blocked()) std::exchange(read_, nullptr)->OnRead(result);
        if (guard.dead()) return;
      }
      if (write_ != nullptr) {
        iovec piece;
        write_->WritePieces(absl::MakeSpan(&piece, 1));
        const IoResult result = TryWrite(absl::MakeConstSpan(&piece, 1));
        if (!result.Blocked()) {
          std::exchange(write_, nullptr)->OnWritten(result);
        }
      }
    }

   private:
    friend class Pipe;
    std::shared_ptr<Pipe> pipe_;
    End* other_ = nullptr;
    std::string in_;
    bool in_end_ = false;
    bool closed_ = false;
    ReadRequest* read_ = nullptr;
    WriteRequest* write_ = nullptr;
    internal::Liveness alive_;
  };

  explicit Pipe(Settings settings_in)
      : settings(settings_in), state_(settings_in.seed) {}

  static std::pair<std::unique_ptr<End>, std::unique_ptr<End>> MakeEnds(
      const std::shared_ptr<Pipe>& pipe) {
    auto a = std::make_unique<End>(pipe);
    auto b = std::make_unique<End>(pipe);
    a->other_ = b.get();
    b->other_ = a.get();
    pipe->ends_[0] = a.get();
    pipe->ends_[1] = b.get();
    return {std::move(a), std::move(b)};
  }

  // Moves the bytes, as long as it runs.
  static Co<void> PumpForever(std::shared_ptr<Pipe> pipe) {
    for (;;) {
      for (End* const& end : pipe->ends_) {
        if (end != nullptr) end->Pump();
      }
      co_await Yield();
    }
  }

  bool Unlucky() {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 24) < 77;  // three in ten
  }

  Settings settings;
  size_t passed = 0;

 private:
  uint32_t state_;
  End* ends_[2] = {};
};

Co<void> Serve(StreamReader reader, StreamWriter writer) {
  try {
    co_await writer.StartTls(ServerContext());
    co_await Echo(reader, writer);
    co_await writer.Close();
  } catch (const OsError&) {
    // The client sees it, too.
  }
}

Co<void> Send(StreamWriter writer, std::string data) {
  co_await writer.Write(data);
}

// What comes back of `data`, or the error.
Co<std::string> Exchange(Pipe::Settings settings, std::string data) {
  const auto pipe = std::make_shared<Pipe>(settings);
  auto ends = Pipe::MakeEnds(pipe);
  auto [client_reader, client_writer] = MakeStreams(std::move(ends.first));
  auto [server_reader, server_writer] = MakeStreams(std::move(ends.second));
  Task<void> pump = CreateTask(Pipe::PumpForever(pipe));
  Task<void> server = CreateTask(Serve(server_reader, server_writer));
  std::string result;
  try {
    SecureOptions options;
    options.ServerHostname("localhost");
    co_await client_writer.StartTls(ClientContext(), options);
    Task<void> sending = CreateTask(Send(client_writer, data));
    result = co_await client_reader.ReadExactly(data.size());
    co_await sending;
    co_await client_writer.Close();
  } catch (const std::exception& error) {
    result = error.what();
  }
  client_writer.Abort();
  co_await CancelAndWait(server);
  server_writer.Abort();
  co_await CancelAndWait(pump);
  co_return result;
}

TEST(ChoppedTest, ReliabilityT48OneByteAtATime) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const std::string data(3000 + seed, static_cast<char>('a' + seed));
    Pipe::Settings settings;
    settings.seed = seed;
    RunNet([&]() -> Co<void> {
      EXPECT_EQ(co_await Exchange(settings, data), data);
    });
  }
}

TEST(ChoppedTest, MuchAtATime) {
  for (const size_t most : {7, 1000, 20000, 300000}) {
    SCOPED_TRACE(most);
    std::string data;
    for (int i = 0; data.size() < 300000; ++i) data += std::to_string(i);
    Pipe::Settings settings;
    settings.most = most;
    settings.capacity = 2 * most;
    RunNet([&]() -> Co<void> {
      EXPECT_TRUE(co_await Exchange(settings, data) == data);
    });
  }
}

// Wherever the wire is cut, nobody hangs and nobody takes a part for the whole.
TEST(ChoppedTest, ReliabilityT59CutAnywhere) {
  const std::string data(500, 'd');
  int failed = 0;
  for (size_t cut = 0; cut < 6000; cut = cut < 50 ? cut + 7 : cut * 21 / 20) {
    SCOPED_TRACE(cut);
    Pipe::Settings settings;
    settings.most = 50;
    settings.cut_after = cut;
    RunNet([&]() -> Co<void> {
      const std::string result = co_await Exchange(settings, data);
      if (result == data) co_return;
      EXPECT_NE(result.find("TLS"), std::string::npos) << result;
      ++failed;
    });
  }
  EXPECT_GT(failed, 30);
}

// And wherever the client is cancelled, or the whole loop ends.
TEST(ChoppedTest, ReliabilityT62CancelledAnywhere) {
  for (int turns = 0; turns < 4000;
       turns = turns < 30 ? turns + 3 : turns * 9 / 8) {
    SCOPED_TRACE(turns);
    Pipe::Settings settings;
    settings.most = 40;
    RunNet([&]() -> Co<void> {
      Task<std::string> task =
          CreateTask(Exchange(settings, std::string(300, 'x')));
      for (int i = 0; i < turns && !task.Done(); ++i) co_await Yield();
      co_await CancelAndWait(task);
    });
    RunNet([&]() -> Co<void> {
      Task<std::string> task =
          CreateTask(Exchange(settings, std::string(300, 'x')));
      for (int i = 0; i < turns && !task.Done(); ++i) co_await Yield();
    });
  }
}

}  // namespace
}  // namespace coil::net
