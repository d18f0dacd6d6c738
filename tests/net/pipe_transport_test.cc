// Pipes in callback style.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "coil/net/pipe_transports.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Record;
using coil_testing::Recorder;
using coil_testing::RecordPtr;
using coil_testing::RunNet;
using coil_testing::Turns;

class PipeTransportTest : public coil_testing::NetTest {};

RecordPtr NewRecord() { return std::make_shared<Record>(); }

template <class F>
std::string ThrownBy(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST_F(PipeTransportTest, FromOneEndToTheOther) {
  RunNet([]() -> Co<void> {
    PipeEnds ends = MakePipe();
    RecordPtr reads = NewRecord();
    RecordPtr writes = NewRecord();
    reads->keep_open = true;  // of no effect
    auto [reader, reading] = co_await ConnectReadPipe(
        [&] { return std::make_shared<Recorder>(reads); },
        std::move(ends.read_end));
    auto [writer, writing] = co_await ConnectWritePipe(
        [&] { return std::make_shared<Recorder>(writes); },
        std::move(ends.write_end));
    EXPECT_TRUE(writer->CanWriteEof());
    writer->Write("hello");
    co_await Eventually([&] { return reads->data == "hello"; });
    const std::string text(1 << 20, 'p');
    writer->Write(text);
    EXPECT_GT(writer->GetWriteBufferSize(), 0u);
    writer->WriteEof();
    EXPECT_TRUE(writer->IsClosing());
    co_await Eventually([&] { return reads->lost && writes->lost; });
    EXPECT_TRUE(reads->data == "hello" + text);
    EXPECT_EQ(reads->log.back(), "lost");
    EXPECT_EQ(reads->Count("eof"), 1);
    EXPECT_EQ(writes->Log(), "made, pause, resume, lost");
  });
}

TEST_F(PipeTransportTest, AnEndHasOneDirection) {
  RunNet([]() -> Co<void> {
    PipeEnds ends = MakePipe();
    RecordPtr reads = NewRecord();
    RecordPtr writes = NewRecord();
    co_await ConnectReadPipe([&] { return std::make_shared<Recorder>(reads); },
                             std::move(ends.read_end));
    EXPECT_EQ(ThrownBy([&] { reads->transport->Write("x"); }),
              "Transport::Write: this is the end of a pipe that is read from");
    EXPECT_FALSE(reads->transport->CanWriteEof());
    EXPECT_EQ(ThrownBy([&] { reads->transport->WriteEof(); }),
              "Transport::WriteEof: this kind of transport cannot be closed in "
              "one direction; ask CanWriteEof()");
    reads->transport->PauseReading();
    EXPECT_FALSE(reads->transport->IsReading());
    reads->transport->Close();
    co_await Eventually([&] { return reads->lost; });
    EXPECT_EQ(
        co_await ErrorOf(ConnectWritePipe(
            [&] { return std::make_shared<Recorder>(writes); }, PipeEnd())),
        "fstat fd -1: Bad file descriptor");
  });
}

TEST_F(PipeTransportTest, ThatTheReadersHaveGoneIsNoticedAtOnce) {
  for (const bool queued : {false, true}) {
    SCOPED_TRACE(queued);
    RunNet([queued]() -> Co<void> {
      PipeEnds ends = MakePipe();
      RecordPtr writes = NewRecord();
      auto [writer, writing] = co_await ConnectWritePipe(
          [&] { return std::make_shared<Recorder>(writes); },
          std::move(ends.write_end));
      co_await Turns();
      if (queued) writer->Write(std::string(1 << 20, 'q'));
      ends.read_end.Close();
      co_await Eventually([&] { return writes->lost; });
      EXPECT_EQ(writes->log.back(),
                queued ? "lost: send to a pipe: Broken pipe" : "lost");
    });
  }
}

}  // namespace
}  // namespace coil::net
